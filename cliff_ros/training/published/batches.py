"""Which crops make up which batch, and the processes that prepare them.

The mixture has no state: what is in a batch follows from its number alone, whatever the number of processes or the
step at which a training went on.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cliff_ros import signals
from cliff_ros.errors import CliffError
from cliff_ros.training.losses import as_truth
from cliff_ros.training.published.config import Augmentation
from cliff_ros.training.published.crop_sources import Source

Key = tuple[int, int, int, int]  # source, item, step, place in the batch


class Mixture(Dataset):
    """Crops of several sources, by `Key`."""

    def __init__(self, sources: Sequence[Source], augmentation: Augmentation | None, seed: int) -> None:
        self.sources, self.augmentation, self.seed = tuple(sources), augmentation, seed

    def __getitem__(self, key: Key) -> tuple[np.ndarray, np.ndarray]:
        source, item, step, place = key
        rng = np.random.default_rng([self.seed, step, place])
        return self.sources[source].crop(item, rng, self.augmentation)


class BatchPlan:
    """The keys of every batch, from step ``start`` to the last, of one of ``processes`` processes.

    Every source has its share of each batch, up to rounding that evens out, and gives all of its items in a new
    order before the first comes again.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        weights: Sequence[float],
        batch: int,
        steps: int,
        seed: int,
        start: int = 0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.lengths, self.batch, self.steps, self.seed, self.start = tuple(lengths), batch, steps, seed, start
        self.process, self.processes = process, processes
        self.ends = np.cumsum(weights) / np.sum(weights)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self.start, self.steps):
            yield self.keys(step)[self.process :: self.processes]

    def keys(self, step: int) -> list[Key]:
        """Of the whole batch, all processes together."""
        before, after = self._drawn(step), self._drawn(step + 1)
        drawn = [
            (source, self._item(source, n))
            for source in range(len(self.lengths))
            for n in range(before[source], after[source])
        ]
        order = np.random.default_rng([self.seed, step, 1]).permutation(self.batch)
        return [(*drawn[i], step, place) for place, i in enumerate(order.tolist())]

    def _drawn(self, steps: int) -> list[int]:
        """How many items each source has given after so many steps; together, exactly the batches."""
        ends = np.rint(self.ends * steps * self.batch).astype(np.int64)
        return np.diff(ends, prepend=0).tolist()

    def _item(self, source: int, n: int) -> int:
        length = self.lengths[source]
        if not length:
            return n
        epoch, place = divmod(n, length)
        if self._orders.get(source, (-1,))[0] != epoch:
            self._orders[source] = epoch, np.random.default_rng([self.seed, source, epoch, 2]).permutation(length)
        return int(self._orders[source][1][place])


def collate(items: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Crops (B, h, w, 3) uint8 and the truth, one tensor per name."""
    images, truths = zip(*items, strict=True)
    return torch.from_numpy(np.stack(images)), as_truth(np.stack(truths))


def loader(
    mixture: Mixture, plan: BatchPlan, workers: int, pin_memory: bool, together: Callable[[list], Any] = collate
) -> DataLoader:
    """Batches in the order of the plan, each put ``together``, prepared ahead by ``workers`` processes."""
    return DataLoader(
        mixture,
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=together,
        pin_memory=pin_memory,
        worker_init_fn=_one_thread,
        prefetch_factor=2 if workers else None,
        generator=torch.Generator(),
    )  # its own: PyTorch's global one belongs to the training


def in_sentences(batches: DataLoader) -> Iterator:
    """The batches; an error of a preparing process comes as it was raised there, without its traceback."""
    try:
        yield from batches
    except CliffError as error:
        lines = str(error).rstrip().splitlines()
        if len(lines) < 2:
            raise
        raise type(error)(lines[-1].partition(f'{type(error).__name__}: ')[2] or lines[-1]) from None


def _one_thread(worker: int) -> None:
    signals.leave_interrupts_to_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
