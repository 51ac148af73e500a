"""`make bench`: the real node against `naive_node`, and where its own time goes.

    python -m bench.run --output out/bench

Writes ``report.json`` and prints the tables of docs/performance.md (bench/tables.py). Nodes that are compared run
at the same time, as processes of their own, and are asked in turns: what else the machine does hits both.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench import tables
from bench.contestants import MEASURED, NAIVE, OURS, Contestants, enter_environment
from bench.driver import Driver, Link
from bench.frames import HEIGHT, WIDTH, crowd, filmed
from bench.machine import describe
from bench.measures import cpu_seconds, fit_line, median, percentile
from bench.networks import fixed_detector, random_resnet50
from cliff_ros.detect import load_detector

STAGES = ('decode', 'detect', 'track', 'crop', 'infer', 'smooth', 'publish', 'total')
CROWDS = (1, 2, 4, 8, 16, 32)
CAMERA_RATE = 30.0  # [Hz] at which the share of a CPU is measured


class Bench:
    """The experiments; each method is one and returns its part of the report.

    quick: few repeats, to see that everything works.
    """

    def __init__(self, folder: Path, driver: Driver, quick: bool = False) -> None:
        self.folder, self.driver, self.quick = folder, driver, quick
        self.films = {people: filmed(people) for people in (1, 4)}

    def versus(self, network: str, people: int) -> dict:
        """Both nodes on the same film, in turns."""
        trained = network == 'embedded'
        checkpoint, graph = ('embedded', 'embedded') if trained else map(str, random_resnet50(self.folder / 'networks'))
        rounds, frames = (2, (8, 2)) if self.quick else (5, (40, 6))
        ours, naive = self._link('ours', people), self._link('naive', people)
        with self._contestants() as nodes:
            # A random network's bodies end elsewhere than their boxes, and would all be looked at twice.
            nodes.launch(ours, OURS, autostart=True, model=graph, refine_boxes=trained)
            nodes.launch(naive, NAIVE, model=checkpoint)
            turns = [(link, nodes.join(link), count, []) for link, count in zip((ours, naive), frames, strict=True)]
            for _ in range(rounds):
                for link, pid, count, results in turns:
                    results.append(self._turn(link, pid, count))
        results = {link.name: _gather(results) for link, _, _, results in turns}
        ratios = np.divide(results['ours'].pop('rates'), results['naive'].pop('rates'))
        return {
            'network': network,
            'people': people,
            'ratio': median(ratios),
            'ratios': ratios.tolist(),
            'cpu_ratio': results['naive']['cpu_ms_per_frame'] / results['ours']['cpu_ms_per_frame'],
            **results,
        }

    def our_part(self) -> dict:
        """All of a frame but the networks' own run time, for up to 32 people."""
        camera, images = self.films[1]
        figure = max(load_detector('embedded')(images[0]), key=lambda box: box.score).xyxy
        link, scenes = self.driver.link('ours'), {}
        for people in CROWDS:
            image, boxes = crowd(images[0], figure, people)
            scenes[people] = (
                image,
                fixed_detector(self.folder / 'networks' / f'fixed_{people}.onnx', boxes, (WIDTH, HEIGHT)),
            )

        def lines(people: int, frames: int, *options: str) -> list[dict]:
            image, detector = scenes[people]
            link.load(camera, [image])
            path = self.folder / 'lines.jsonl'
            with self._contestants() as nodes:
                nodes.launch(
                    link, MEASURED, str(path), *options, autostart=True, detector=str(detector), presence_threshold=0.0
                )
                nodes.join(link)
                for index in range(frames):
                    link.ask(index)
            return [json.loads(line) for line in path.read_text().splitlines()][-frames:]

        taken: dict[int, list[dict]] = {people: [] for people in CROWDS}
        for _ in range(1 if self.quick else 2):
            for people in CROWDS:
                taken[people] += lines(people, 10 if self.quick else 40)
        by_people = {}
        for people, several in taken.items():
            column = {key: [line[key] for line in several] for key in several[0]}
            own = np.subtract(column['total'], column['network'])
            by_people[people] = {
                'people': median(column['people']),
                'ms': median(own),
                'p95_ms': percentile(own, 95),
                'cpu_ms': median(column['cpu']),
                'network_ms': median(column['network']),
                'mesh_ms_per_person': median(column['mesh']) / people,
            }
        fits = {name: fit_line(CROWDS, [part[name] for part in by_people.values()]) for name in ('ms', 'cpu_ms')}
        return {
            'by_people': {str(people): part for people, part in by_people.items()},
            'line': {name: {'a': a, 'b': b} for name, (a, b) in fits.items()},
            'peak_bytes': {
                str(people): median([line['peak_bytes'] for line in lines(people, 6, '--memory')]) for people in (1, 4)
            },
        }

    def at_camera_rate(self, people: int) -> dict:
        """The share of one CPU core that the node takes, and its latency."""
        link = self._link('ours', people)
        with self._contestants() as nodes:
            nodes.launch(link, OURS, autostart=True)
            pid = nodes.join(link)
            cpu, start = cpu_seconds(pid), time.monotonic()
            sent = self.driver.play(link, 3.0 if self.quick else 8.0, CAMERA_RATE)
            share = (cpu_seconds(pid) - cpu) / (time.monotonic() - start)
            self.driver.spin(0.5)
            latencies = [link.latency(stamp) for stamp in link.answers]
        return {
            'rate': CAMERA_RATE,
            'sent': sent,
            'answered': len(latencies),
            'share_of_a_core': share,
            'latency_ms': median(latencies),
            'latency_p95_ms': percentile(latencies, 95),
        }

    def start(self) -> dict:
        """From starting the process to the first person, before a camera that is already running."""
        link = self._link('ours', 1)
        listening, first_person = [], []
        for _ in range(2 if self.quick else 6):
            with self._contestants() as nodes:
                began, listens, index = time.perf_counter(), None, 0
                nodes.launch(link, OURS, autostart=True)
                while not any(link.people(stamp).people for stamp in link.answers if 'people' in link.answers[stamp]):
                    nodes.check(link.name)
                    link.send(index)
                    self.driver.spin(1 / CAMERA_RATE)
                    index += 1
                    if listens is None and link.connected:
                        listens = time.perf_counter() - began
                first_person.append(time.perf_counter() - began)
                listening.append(listens or first_person[-1])
        # The first one may find neither its files in memory nor its modules compiled.
        return {
            'first_s': first_person[0],
            'second_s': median(first_person[1:]),
            'worst_s': max(first_person[1:]),
            'listening_s': median(listening[1:]),
            'starts': len(first_person),
        }

    def _link(self, name: str, people: int) -> Link:
        camera, images = self.films[people]
        link = self.driver.link(name)
        link.load(camera, images)
        return link

    def _contestants(self) -> Contestants:
        return Contestants(self.folder / 'logs', self.driver)

    def _turn(self, link: Link, pid: int, count: int) -> dict:
        """One node's turn: an image is sent when all answers to the last one have come."""
        link.ask(0)  # wakes threads and caches
        link.forget()
        cpu, start = cpu_seconds(pid), time.perf_counter()
        stamps = [link.ask(index) for index in range(count)]
        elapsed, cpu = time.perf_counter() - start, cpu_seconds(pid) - cpu
        self.driver.spin(0.1)  # the last Timing comes after the answers
        turn = {
            'rate': count / elapsed,
            'cpu': 1e3 * cpu / count,
            'latencies': [link.latency(stamp) for stamp in stamps],
            'stages': [[getattr(timing, f'{stage}_ms') for stage in STAGES] for timing in link.timings.values()],
            'bytes': {'image': 3 * WIDTH * HEIGHT}
            | {output: len(raw) for output, raw in link.answers[stamps[-1]].items()},
        }
        link.forget()
        return turn


def _gather(turns: list[dict]) -> dict:
    """What the turns of one node amount to."""
    latencies = [latency for turn in turns for latency in turn['latencies']]
    stages = [row for turn in turns for row in turn['stages']]
    summary = {
        'rates': [turn['rate'] for turn in turns],
        'answers_per_second': median([turn['rate'] for turn in turns]),
        'latency_ms': median(latencies),
        'latency_p95_ms': percentile(latencies, 95),
        'cpu_ms_per_frame': median([turn['cpu'] for turn in turns]),
        'bytes': turns[-1]['bytes'],
    }
    if stages:  # the naive node does not publish them
        summary['stages_ms'] = dict(zip(STAGES, np.median(stages, axis=0).tolist(), strict=True))
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--output', type=Path, default=Path('out/bench'), metavar='DIR')
    parser.add_argument('--quick', action='store_true', help='few repeats, to see that everything works')
    parser.add_argument(
        '--only',
        nargs='+',
        choices=EXPERIMENTS,
        default=list(EXPERIMENTS),
        metavar='NAME',
        help=f'some of {", ".join(EXPERIMENTS)}',
    )
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    enter_environment(args.output / 'logs')
    report: dict = {'machine': describe()}
    with Driver() as driver:
        print('Drawing the films', file=sys.stderr)
        bench = Bench(args.output, driver, args.quick)
        for name in (bar := tqdm(args.only, bar_format='{desc:<11} {bar:24} {n}/{total} [{elapsed}]')):
            bar.set_description(name)
            part, method, *arguments = EXPERIMENTS[name]
            result = method(bench, *arguments)
            if part == name:
                report[name] = result
            else:
                report.setdefault(part, {})[name] = result
    report['ratio'] = {name: versus['ratio'] for name, versus in report.get('versus', {}).items()}
    report['machine']['load_after'] = describe()['load']
    path = args.output / 'report.json'
    path.write_text(json.dumps(report, indent=2) + '\n')
    print(tables.text(report))
    print(f'\n{path}')
    return 0


# Name: where its result goes in the report, and what makes it.
EXPERIMENTS = {
    'embedded_1': ('versus', Bench.versus, 'embedded', 1),
    'embedded_4': ('versus', Bench.versus, 'embedded', 4),
    'resnet50_1': ('versus', Bench.versus, 'resnet50', 1),
    'our_part': ('our_part', Bench.our_part),
    'rate_1': ('at_camera_rate', Bench.at_camera_rate, 1),
    'rate_4': ('at_camera_rate', Bench.at_camera_rate, 4),
    'start': ('start', Bench.start),
}

if __name__ == '__main__':
    raise SystemExit(main())
