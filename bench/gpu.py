"""On a machine with an NVIDIA GPU: engines against each other and against the floor, and the node end to end.

    python -m bench.gpu --output out/bench

Needs the extras 'torch' (with CUDA) and, for its rows, 'tensorrt'. Writes ``gpu.json`` and prints the tables.
Engines: embedded network and ResNet-50 with random weights, 1 to 32 people, crops in, people out, with the mesh.
The floor: arithmetic and memory traffic of the network at the rates that this GPU reaches in one large product
and one large copy. The node: from the image's stamp to the last output handed to the middleware.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from bench.contestants import OURS, Contestants, enter_environment
from bench.cost import Device, cost
from bench.driver import Driver, Link, NoAnswer
from bench.frames import HEIGHT, WIDTH, crowd, filmed
from bench.machine import describe
from bench.measures import median, percentile
from bench.networks import fixed_detector, random_resnet50
from bench.tables import table
from cliff_ros.camera import Camera
from cliff_ros.detect import load_detector
from cliff_ros.engine import Engine, load_engine
from cliff_ros.errors import CliffError

PEOPLE = (1, 2, 4, 8, 16, 32)
SIZES = {'720p': 1.0, '1080p': 1.5}
REPEATS, FRAMES = 50, 200
BUILD_PATIENCE = 1800.0  # [s]


def peaks() -> Device:
    """What this GPU does: one half-precision product of large matrices, one copy of a large array."""
    import torch

    matrix = torch.randn(8192, 8192, device='cuda', dtype=torch.float16)
    block = torch.empty(1 << 30, device='cuda', dtype=torch.uint8)
    product = _seconds(lambda: matrix @ matrix, torch.cuda.synchronize)
    copy = _seconds(block.clone, torch.cuda.synchronize)
    return Device(torch.cuda.get_device_name(), 2 * 8192**3 / product, 2 * block.numel() / copy)


def engines(graph: str, device: Device) -> dict:
    """[ms] per call of each engine, and the floor, by the number of people."""
    import torch

    from cliff_ros.engine.torch_engine import TorchEngine

    kinds: dict[str, Callable] = {
        'PyTorch fp32': lambda: TorchEngine(graph, half=False),
        'PyTorch': lambda: TorchEngine(graph),
        'torch.compile': lambda: TorchEngine(graph, compile=True),
    }
    if find_spec('tensorrt') is not None:
        kinds['TensorRT'] = lambda: load_engine(graph, 'tensorrt', max_people=PEOPLE[-1])
    times = {'floor': {people: 1e3 * cost(graph, people).floor(device) for people in PEOPLE}}
    for name, make in kinds.items():
        times[name] = _per_call(make())
        torch.cuda.empty_cache()
    return times


def node(driver: Driver, folder: Path) -> dict:
    """Stamp to published [ms], p50 and p99, by image size and number of people, embedded network."""
    camera, images = filmed(1)
    figure = max(load_detector('embedded')(images[0]), key=lambda box: box.score).xyxy
    results: dict[str, dict] = {}
    for size, factor in SIZES.items():
        results[size] = {}
        for people in PEOPLE:
            image, boxes = crowd(images[0], figure, people)
            width, height = round(WIDTH * factor), round(HEIGHT * factor)
            detector = fixed_detector(
                folder / 'networks' / f'fixed_{size}_{people}.onnx', (boxes + 0.5) * factor - 0.5, (width, height)
            )
            link = driver.link('ours')
            link.load(_enlarged(camera, factor), [cv2.resize(image, (width, height))])
            with Contestants(folder / 'logs', driver) as nodes:
                nodes.launch(link, OURS, autostart=True, detector=str(detector), presence_threshold=0.0)
                nodes.join(link, warm_up=10, patience=BUILD_PATIENCE)
                stamps = [link.ask(index) for index in range(FRAMES)]
                driver.spin(0.3)
                times = [_stamp_to_published(link, stamp) for stamp in stamps if stamp in link.timings]
                infer = [link.timings[stamp].infer_ms for stamp in stamps if stamp in link.timings]
            results[size][people] = {
                'p50_ms': median(times),
                'p99_ms': percentile(times, 99),
                'infer_ms': median(infer),
            }
    return results


def start(driver: Driver, folder: Path) -> dict:
    """From starting the process to the first person [s], with an empty engine cache and with a filled one."""
    camera, images = filmed(1)
    link, cache = driver.link('ours'), folder / 'cache'
    link.load(camera, images)
    shutil.rmtree(cache, ignore_errors=True)
    os.environ['XDG_CACHE_HOME'] = str(cache.resolve())
    seconds = {}
    for name in ('empty', 'filled'):
        with Contestants(folder / 'logs', driver) as nodes:
            began = time.perf_counter()
            nodes.launch(link, OURS, autostart=True)
            while not link.connected:
                nodes.check(link.name)
                driver.spin(0.02)
                if time.perf_counter() - began > BUILD_PATIENCE:
                    raise NoAnswer(f'the node does not listen after {BUILD_PATIENCE:.0f} s')
            index = 0
            while not link.answers:
                link.send(index)
                driver.spin(0.03)
                index += 1
            seconds[name] = time.perf_counter() - began
    return seconds


def text(report: dict) -> str:
    """All tables, as Markdown."""
    parts = [
        f'{report["device"]["name"]}: {report["device"]["flops"] / 1e12:.0f} TFLOP/s (fp16 product), '
        f'{report["device"]["bandwidth"] / 1e9:.0f} GB/s (copy)'
    ]
    for network, times in report['engines'].items():
        parts.append(
            table(
                [f'{network} [ms]', *(f'{people}' for people in PEOPLE)],
                [[name, *(f'{row[people]:.2f}' for people in PEOPLE)] for name, row in times.items()],
            )
        )
    parts.append(
        table(
            ['stamp to published [ms]', *(f'{people}' for people in PEOPLE)],
            [
                [f'{size} {key}', *(f'{row[people][f"{key}_ms"]:.1f}' for people in PEOPLE)]
                for size, row in report['node'].items()
                for key in ('p50', 'p99', 'infer')
            ],
        )
    )
    parts.append(
        table(
            ['process start to first person', 's'],
            [[f'{name} engine cache', f'{value:.1f}'] for name, value in report['start_s'].items()],
        )
    )
    return '\n\n'.join(parts)


def _per_call(engine: Engine) -> dict[int, float]:
    """[ms], from crops in this machine's memory to people in it, by the number of people."""
    import torch

    rng, times = np.random.default_rng(0), {}
    for people in PEOPLE:
        crops = rng.integers(0, 256, (people, engine.spec.height, engine.spec.width, 3), np.uint8)
        call = partial(engine, crops, np.tile(np.float32([0, 0, 0.5]), (people, 1)))
        times[people] = 1e3 * _seconds(call, torch.cuda.synchronize)
    return times


def _enlarged(camera: Camera, factor: float) -> Camera:
    K = np.diag([factor, factor, 1.0]) @ camera.K
    K[:2, 2] += (factor - 1) / 2  # pixel centers lie at integers
    return Camera(round(camera.width * factor), round(camera.height * factor), K, camera.distortion_model, camera.d)


def _stamp_to_published(link: Link, stamp: tuple[int, int]) -> float:
    published = link.timings[stamp].published
    return 1e3 * (published.sec - stamp[0] + 1e-9 * (published.nanosec - stamp[1]))


def _seconds(call: Callable, synchronize: Callable) -> float:
    for _ in range(5):
        call()
    synchronize()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        call()
        synchronize()
        times.append(time.perf_counter() - begin)
    return median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--output', type=Path, default=Path('out/bench'), metavar='DIR')
    args = parser.parse_args()
    try:
        import torch

        there = torch.cuda.is_available()
    except ImportError:
        there = False
    if not there:
        print('There is no GPU that PyTorch can use: this measures nothing without one.', file=sys.stderr)
        return 2
    args.output.mkdir(parents=True, exist_ok=True)
    enter_environment(args.output / 'logs')
    device = peaks()
    report = {'machine': describe(), 'device': vars(device), 'engines': {}}
    for name, graph in (('embedded', 'embedded'), ('ResNet-50', random_resnet50(args.output / 'networks')[1])):
        report['engines'][name] = engines(str(graph), device)
    try:
        with Driver() as driver:
            report['start_s'] = start(driver, args.output)
            report['node'] = node(driver, args.output)
    except (CliffError, NoAnswer) as error:
        print(error, file=sys.stderr)
        return 1
    path = args.output / 'gpu.json'
    path.write_text(json.dumps(report, indent=2) + '\n')
    print(text(report))
    print(f'\n{path}')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
