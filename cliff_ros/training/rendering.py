"""Processes that render crops and stills into files until they are told to stop; others train on them meanwhile.

Everything is deterministic: a file's name says its seed. A second start skips samplers all of whose files are there.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros import signals
from cliff_ros.files import write_aside
from cliff_ros.training.data import VALIDATION_SHARD

# Of the crops and of the detector's frames: wild poses, much in front of people, strong camera effects. The others are
# everyday scenes, which most users have: with only wild ones a small network spends itself on what is hardly seen.
WILD_CROPS, WILD_STILLS = 2, 5  # of five, of ten samplers
UNSEEN = 4  # every which sampler's crops the encoder does not see: of those it saw, it is too sure, says the regressor
STILLS = 0.36  # of the renderers' time: with .22, 19,000 steps saw the same 11,000 frames again and again


@dataclass(frozen=True)
class Plan:
    """What is rendered, and where to.

    first: number and seed of the first sampler. crops, stills: of one sampler, in so many files of crop_part and
    still_part; no more than most_crops and most_stills samplers (0: until told to stop). backgrounds: of a sampler.
    """

    folder: Path
    first: int = 0
    crops: int = 8000
    crop_part: int = 1000
    stills: int = 600
    still_part: int = 150
    validation: int = 3000
    validation_stills: int = 300
    most_crops: int = 0
    most_stills: int = 0
    backgrounds: int = 0
    nice: int = 10  # who trains comes first

    @property
    def seen(self) -> Path:
        """Folder of the crops that the encoder learns from."""
        return self.folder / 'crops'

    @property
    def unseen(self) -> Path:
        """Folder of the crops that the encoder never sees, whose features the regressor learns from."""
        return self.folder / 'unseen'

    @property
    def frames(self) -> Path:
        """Folder of the stills that the detector learns from."""
        return self.folder / 'stills'

    @property
    def held_out(self) -> Path:
        """Folder of the crops and stills that all are validated on."""
        return self.folder / 'validation'

    def make_folders(self) -> None:
        """Make the four folders, parents included, where they are missing."""
        for folder in (self.seen, self.unseen, self.frames, self.held_out):
            folder.mkdir(parents=True, exist_ok=True)


class Renderers:
    """Processes that render a plan, one at least. They end when `stop` is called, or their parent is gone."""

    def __init__(self, plan: Plan, count: int) -> None:
        plan.make_folders()
        count = max(1, count)
        context = multiprocessing.get_context('spawn')
        self._stop = context.Event()
        self._processes = [
            context.Process(target=_render, args=(plan, index, count, self._stop, os.getpid()), daemon=True)
            for index in range(count)
        ]
        with _one_thread():
            for process in self._processes:
                process.start()

    @property
    def alive(self) -> int:
        """How many of the processes still render."""
        return sum(process.is_alive() for process in self._processes)

    def stop(self, wait: float = 20.0) -> None:
        """Ask all to end and wait so many seconds in total; those that are late are terminated, then killed."""
        self._stop.set()
        deadline = time.monotonic() + wait
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
        late = [process for process in self._processes if process.is_alive()]
        for process in late:
            process.terminate()
        for process in late:
            process.join(0.5)
            if process.is_alive():
                process.kill()
                process.join()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """What is started within computes on one thread each: they are as many as there are cores."""
    names = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'NUMBA_NUM_THREADS')
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, '1'))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def jobs(index: int, count: int) -> Iterator[tuple[str, int]]:
    """Endless (kind, number) of renderer `index` of `count`; what is validated on comes first. No two do the same."""
    if index == 0:
        yield 'validation crops', 0
    if index == count - 1:
        yield 'validation stills', 0
    drawers = int(STILLS * count)  # of stills, where there are enough renderers for each to do one thing
    if drawers:
        kind, index, count = (
            ('stills', index - (count - drawers), drawers)
            if index >= count - drawers
            else ('crops', index, count - drawers)
        )
        for number in itertools.count(index, count):
            yield kind, number
    for k in itertools.count():
        if k % 4 == 1:
            yield 'stills', k // 4 * count + index
        else:
            yield 'crops', (k // 4 * 3 + (k % 4 > 1) * (k % 4 - 1)) * count + index


def _render(plan: Plan, index: int, count: int, stop: Event, parent: int) -> None:
    signals.leave_interrupts_to_parent()
    signals.end_with_parent(signal.SIGKILL)  # what it writes is whole or absent
    with contextlib.suppress(OSError):
        os.nice(plan.nice)
    import cv2

    cv2.setNumThreads(1)

    def over() -> bool:
        return stop.is_set() or os.getppid() != parent

    failures = 0
    for kind, number in jobs(index, count):
        if over() or failures > 5:
            return
        try:
            if kind == 'validation crops':
                _crops(plan, VALIDATION_SHARD, plan.validation, plan.held_out, True, over, index)
            elif kind == 'validation stills':
                _stills(plan, VALIDATION_SHARD, plan.validation_stills, plan.held_out, True, over, index)
            elif kind == 'crops' and not 0 < plan.most_crops <= number:
                folder = plan.unseen if number % UNSEEN == UNSEEN - 1 else plan.seen
                everyday = number * WILD_CROPS % 5 >= WILD_CROPS
                _crops(plan, plan.first + number, plan.crops, folder, everyday, over, index)
            elif kind == 'stills' and not 0 < plan.most_stills <= number:
                everyday = number * WILD_STILLS % 10 >= WILD_STILLS
                _stills(plan, 1 + plan.first + number, plan.stills, plan.frames, everyday, over, index)
            elif 0 < plan.most_crops <= number and 0 < plan.most_stills <= number:
                return
        except Exception:  # noqa: BLE001  the next sampler may do better
            failures += 1
            traceback.print_exc()


def _tried(function, times: int = 3):
    """What it gives, at the third time if need be: one picture that fails must not end a renderer, nor go unsaid."""
    for _ in range(times - 1):
        try:
            return function()
        except Exception:  # noqa: BLE001
            traceback.print_exc()
    return function()


def _crops(plan: Plan, seed: int, total: int, folder: Path, everyday: bool, over, renderer: int) -> None:
    parts = range((total + plan.crop_part - 1) // plan.crop_part)
    paths = [folder / f'crops_{seed:06d}_{part:02d}.npz' for part in parts]
    if all(path.exists() for path in paths):
        return
    from cliff_ros.synthetic.crops import LABEL, CropSampler

    started = time.monotonic()
    options: dict[str, Any] = dict(num_backgrounds=plan.backgrounds) if plan.backgrounds else {}
    sampler = CropSampler(seed, everyday=everyday, **options)
    ready = time.monotonic() - started
    for part, path in zip(parts, paths, strict=True):
        count = min(plan.crop_part, total - part * plan.crop_part)
        images, labels = np.empty((count, sampler.height, sampler.width, 3), np.uint8), np.empty(count, LABEL)
        for i in range(count):
            if over():
                return
            images[i], labels[i] = _tried(sampler.sample)
        if not path.exists():
            with write_aside(path, sync=False) as partial:
                np.savez(partial, images=images, labels=labels)
    if renderer == 0:
        passed = time.monotonic() - started
        print(f'renderer 0: {total} crops in {passed:.0f} s, {ready:.1f} of them until the first', flush=True)


def _stills(plan: Plan, seed: int, total: int, folder: Path, everyday: bool, over, renderer: int) -> None:
    parts = range((total + plan.still_part - 1) // plan.still_part)
    paths = [folder / f'stills_{seed:06d}_{part:02d}.npz' for part in parts]
    if all(path.exists() for path in paths):
        return
    from cliff_ros.synthetic.stills import NEAR, StillSampler
    from cliff_ros.training.data import render_stills

    options: dict[str, Any] = dict(num_backgrounds=plan.backgrounds) if plan.backgrounds else {}
    sampler = StillSampler(seed, everyday=everyday, near=NEAR, **options)
    for part, path in zip(parts, paths, strict=True):
        if over():
            return
        _tried(
            lambda path=path, part=part: render_stills(
                sampler, path, min(plan.still_part, total - part * plan.still_part)
            )
        )
