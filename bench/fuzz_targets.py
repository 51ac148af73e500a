"""What `make fuzz` feeds damaged input to, in a process of its own.

    python -m bench.fuzz_targets NAME SEED BOARD NOTES

A target is a list of good inputs, made here, and a function that takes bytes; only CliffError may leave it. BOARD is a
file of shared memory in which the parent sees how far we are and what we were given last, also when we have died; NOTES
gets one line of JSON for each kind of escape.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import mmap
import random
import re
import resource
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.fuzz_seeds import (
    METADATA,
    camera_infos,
    clocks,
    compressed,
    detections,
    frames,
    images,
    onnx_file,
    parameter_values,
    pickles,
    safetensors,
    training_configs,
    zips,
)
from bench.mutations import CALIBRATION, READERS, mutate, repaired
from cliff_ros.errors import CliffError

HEADER = struct.Struct('<QQQQ')  # iterations, refused, escapes, length of the input under way
BOARD_SIZE, LARGEST = 1 << 22, 1 << 21
MEMORY = 8 << 30
TOKENS = [
    b'null',
    b'[]',
    b'{}',
    b'-1',
    b'0',
    b'1e999',
    b'.nan',
    b'.inf',
    b'"x"',
    b'true',
    b'[[1]]',
    b'{a: 1}',
    b'&a [*a]',
    b'9' * 400,
    b'!!binary x',
    b'!!python/object:os.system x',
    b"''",
    b'\xff\xfe',
    b'1.5',
    b'[1, x]',
    b'2021-01-01',
    b'2021-99-99',
    b'[[[[[[1]]]]]]',
    b'!!int x',
    b'!!float x',
    b'? a',
    b'<<: 1',
]
DEEP = b'[' * 3000  # takes long


class Target(NamedTuple):
    """seeds: good inputs. run: takes one. text: words are exchanged too. needs: modules that it imports late, imported
    before the first input: on a busy machine that takes long."""

    seeds: Callable[[], list[bytes]]
    run: Callable[[bytes], object]
    text: bool = False
    needs: tuple[str, ...] = ()


def read_frames(raw: bytes) -> None:
    from cliff_ros.ros.outputs.frame_names import parents_and_children

    parents_and_children(raw)


# ---- files


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix='cliff_fuzz_'))  # the parent takes it away


def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def run(raw: bytes) -> object:
        path = folder() / name
        path.write_bytes(raw)
        return read(path)

    return run


def camera_files() -> list[bytes]:
    from cliff_ros.camera import Camera
    from cliff_ros.ros.inputs.wire import read_camera_info

    path, out = folder() / 'good.yaml', []
    for raw in camera_infos()[:4]:
        Camera.from_info(read_camera_info(raw)).to_yaml(path)
        out.append(path.read_bytes())
    return out


def read_camera_file(path: Path) -> None:
    from cliff_ros.camera import Camera

    Camera.from_yaml(path).ray(np.zeros((1, 2)))


def read_training_config(path: Path) -> None:
    from cliff_ros.training.published.config import load_config

    load_config(path)


def read_body_file(path: Path) -> None:
    from cliff_ros.body import files
    from cliff_ros.body.model import BodyModel

    # In this process, where there is a choice: starting a child for each file would take most of the time.
    BodyModel.from_arrays(getattr(files, 'parse_body', files.read_body)(path))


def read_graph(path: Path) -> None:
    from cliff_ros.graph import metadata as graph
    from cliff_ros.graph.onnx_file import OnnxFile

    file = OnnxFile(path)
    list(file.nodes())
    file.without('vertices')
    metadata = graph.read_metadata(file, path)
    metadata.nobody(True)


def read_checkpoint(path: Path) -> None:
    from cliff_ros.cliff.checkpoints import read_model

    read_model(path)


# ---- parameters


class _Parameters:
    node = None

    def __call__(self, raw: bytes) -> None:
        import rclpy
        from rclpy.parameter import Parameter

        from cliff_ros.ros.runtime.parameters import Parameters
        from cliff_ros.ros.runtime.settings import CliffSettings

        if self.node is None:
            rclpy.init(args=['--ros-args', '--log-level', 'fatal'])
            type(self).node = rclpy.create_node('fuzzed', enable_rosout=False)
            self.parameters = Parameters(self.node, CliffSettings)
        name, _, rest = raw.partition(b'\0')
        kind, data = (rest[0] if rest else 0) % 10, rest[1:]
        numbers = np.frombuffer(data[: len(data) // 8 * 8], '<i8')
        floats = np.frombuffer(data[: len(data) // 8 * 8], '<f8')
        text = data.decode('latin-1')
        value = (
            None,
            bool(data[:1] > b'\0'),
            int(numbers[0]) if len(numbers) else 0,
            float(floats[0]) if len(floats) else 0.0,
            text,
            [data[i : i + 1] for i in range(len(data))],
            [bool(byte & 1) for byte in data],
            numbers.tolist(),
            floats.tolist(),
            text.split(),
        )[kind]
        parameter = Parameter(name.decode('latin-1'), Parameter.Type(kind), value)
        from rclpy.exceptions import ParameterNotDeclaredException

        self.parameters.locked = bool(len(raw) & 1)
        try:
            result = self.node.set_parameters_atomically([parameter])
        except ParameterNotDeclaredException:  # rclpy's service answers with it
            return
        assert result.successful or result.reason
        self.parameters.current()


def compressed_input(raw: bytes) -> object:
    return READERS['compressed'](repaired(raw) if len(raw) % 3 else raw)


TARGETS: dict[str, Target] = {
    'image': Target(images, READERS['image']),
    'compressed': Target(compressed, compressed_input),
    'camera_info': Target(camera_infos, READERS['camera_info']),
    'detections': Target(detections, READERS['detections']),
    'tf': Target(frames, read_frames),
    'clock': Target(clocks, READERS['clock']),
    'camera_yaml': Target(camera_files, from_file('camera.yaml', read_camera_file), text=True),
    'training_yaml': Target(training_configs, from_file('training.yaml', read_training_config), text=True),
    'pickle': Target(pickles, from_file('body.pkl', read_body_file)),
    'npz': Target(zips, from_file('body.npz', read_body_file)),
    'onnx': Target(lambda: [onnx_file(json.dumps(METADATA).encode())], from_file('graph.onnx', read_graph)),
    'graph_metadata': Target(
        lambda: [json.dumps(METADATA).encode()],
        from_file(
            'metadata.onnx', lambda path: read_graph(path) if path.write_bytes(onnx_file(path.read_bytes())) else None
        ),
        text=True,
    ),
    'safetensors': Target(
        safetensors, from_file('network.safetensors', read_checkpoint), needs=('cliff_ros.cliff.checkpoints',)
    ),
    'parameters': Target(parameter_values, _Parameters()),
}


def damaged(rng: random.Random, seeds: list[bytes], text: bool) -> bytes:
    if not text or rng.random() < 0.3:
        return mutate(rng, seeds)[:LARGEST]
    raw = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 2, 4))):
        words = list(re.finditer(rb'[^\s,:\[\]{}]+|\[[^\[\]]*\]', raw))
        if words:
            word = rng.choice(words)
            token = DEEP if rng.random() < 0.003 else rng.choice(TOKENS)
            raw = raw[: word.start()] + token + raw[word.end() :]
    return raw[:LARGEST]


def main(name: str, seed: int, board_path: str, notes_path: str) -> None:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    np.seterr(all='ignore')
    import warnings

    import cv2

    warnings.simplefilter('ignore')
    cv2.setNumThreads(1)
    target = TARGETS[name]
    for module in target.needs:
        import_module(module)
    seeds = target.seeds()
    if name in ('camera_info', 'detections'):
        import bench.mutations

        bench.mutations.CAMERA = CALIBRATION.camera(camera_infos()[0], 'camera', (64, 48))
    rng, known = random.Random(f'{name} {seed}'), set()
    with open(board_path, 'r+b') as file:
        board = mmap.mmap(file.fileno(), BOARD_SIZE)
    iterations, refused, escapes, _ = HEADER.unpack_from(board)
    for turn in itertools.count():
        raw = seeds[turn] if turn < len(seeds) and not iterations else damaged(rng, seeds, target.text)
        board[HEADER.size : HEADER.size + len(raw)] = raw
        HEADER.pack_into(board, 0, iterations, refused, escapes, len(raw))
        try:
            target.run(raw)
        except CliffError:
            refused += 1
        except Exception as error:
            escapes += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f'{type(error).__name__} {Path(where.filename).name}:{where.lineno}'
            if place not in known and len(known) < 20:
                known.add(place)
                with open(notes_path, 'a') as notes:
                    notes.write(
                        json.dumps({'place': place, 'error': traceback.format_exc()[-1500:], 'input': raw[:4000].hex()})
                        + '\n'
                    )
        iterations += 1


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
