"""A benchmark in parts, for several processes or machines: the same figures as in one go."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.errors import InputError
from cliff_ros.evaluation import agora
from cliff_ros.evaluation.benchmarks.run import Result, failures
from cliff_ros.files import write_aside
from cliff_ros.scale.run import Outcome, Unit, plan, run_units

WORK = 'cliff_ros.evaluation.benchmarks.parts:work'
IMAGES = 64  # in a part
_ARGUMENTS = (
    'dataset', 'root', 'split', 'cameras', 'skip_damaged', 'boxes', 'focal', 'body', 'model', 'engine', 'detector',
    'limit',
)  # fmt: skip


def work(arguments: dict[str, Any], first: int, last: int, path: str) -> dict[str, Any]:
    """Images first .. last - 1 of a benchmark; their result goes into a file."""
    from cliff_ros.evaluation.benchmarks.open import open_runner

    args = argparse.Namespace(**arguments)
    runner, damaged = _runner(json.dumps(arguments, sort_keys=True), lambda: open_runner(args, lambda error: None)), []
    numbers = runner.images
    runner.images = numbers[first:last]
    results = []
    try:
        for result, error in failures(runner, args.skip_damaged):
            if error is not None:
                damaged.append(str(error))
            elif result is not None:
                if result.people:
                    result.people['number'] += first
                results.append(result)
    finally:
        runner.images = numbers
    save(Path(path), Result.merge(results))
    return {'frames': last - first, 'damaged': damaged, 'done': len(results)}


_RUNNERS: dict[str, Any] = {}


def _runner(key: str, make: Callable[[], Any]) -> Any:
    """A process that does several parts loads labels and network once."""
    if key not in _RUNNERS:
        _RUNNERS.clear()
        _RUNNERS[key] = make()
    return _RUNNERS[key]


def together(args: argparse.Namespace, images: int, note: Callable[[InputError], None]) -> tuple[Result, int]:
    """The result of all images, and how many they were. InputError where a part did not work."""
    from tqdm import tqdm

    with tempfile.TemporaryDirectory() as folder, tqdm(total=images, unit='image') as bar:
        units, results, done = _units(args, images, Path(folder)), [], 0
        told = lambda number, outcome: bar.update((outcome.value or {}).get('frames', 0))  # noqa: E731
        coming = run_units(WORK, units, Path(folder) / 'units', args.workers, args.ray, told)
        for unit, outcome in zip(units, coming, strict=True):
            if outcome.value is None:
                raise InputError(outcome.error)
            for sentence in outcome.value['damaged']:
                note(InputError(sentence))
            results.append(load(Path(unit['path'])))
            done += outcome.value['done']
        return Result.merge(results), done


def plan_text(args: argparse.Namespace, images: int) -> str:
    """What a million images would cost, by the first part."""
    with tempfile.TemporaryDirectory() as folder:
        unit = _units(args, images, Path(folder))[0]
        found = plan(WORK, unit, lambda outcome: (outcome.value or {}).get('frames', 0))
    if isinstance(found, Outcome):
        raise InputError(f'the first part does not work: {found.error}')
    return found.text(args.plan, args.workers)


def _units(args: argparse.Namespace, images: int, folder: Path) -> list[Unit]:
    arguments = {name: getattr(args, name) for name in _ARGUMENTS}
    arguments |= {name: str(arguments[name]) for name in ('root', 'body', 'model')}
    size = max(1, min(IMAGES, -(-images // max(1, args.workers))))
    return [
        {
            'arguments': arguments,
            'first': first,
            'last': min(first + size, images),
            'path': str(folder / f'part_{first:09d}.npz'),
        }
        for first in range(0, images, size)
    ]


def save(path: Path, result: Result) -> None:
    """Write a result: arrays by 'columns/protocol/name' and 'people/name'."""
    arrays = {f'people/{name}': values for name, values in result.people.items()}
    for protocol, columns in result.columns.items():
        arrays |= {f'columns/{protocol}/{name}': values for name, values in columns.items()}
    matches = [[one.pairs, one.missed, one.false] for one in result.matches]
    arrays['about'] = np.array(json.dumps({'lost': result.lost, 'matches': matches}))
    with write_aside(path) as partial, open(partial, 'wb') as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Result:
    """What `save` wrote."""
    found = Result()
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            kind, _, rest = key.partition('/')
            if kind == 'people':
                found.people[rest] = file[key]
            elif kind == 'columns':
                protocol, _, name = rest.rpartition('/')
                found.columns.setdefault(protocol, {})[name] = file[key]
        about = json.loads(str(file['about']))
    found.lost = about['lost']
    found.matches = [
        agora.Matches(tuple((i, j) for i, j in pairs), tuple(missed), tuple(false))
        for pairs, missed, false in about['matches']
    ]
    return found
