"""Crops in memory, on the device that trains: filled while others still render, drawn from at random."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from cliff_ros.training.data import load_shard
from cliff_ros.training.losses import Skeleton, relative_depths

# What training reads of a label (synthetic.crops.LABEL, by name), and what is computed from it once.
FIELDS = {
    'betas': (10,),
    'rotations': (24, 3, 3),
    'translation': (3,),
    'location': (3,),
    'keypoints': (29, 2),
    'present': (),
    'depths': (24,),
}
_SIZES = [int(np.prod(shape)) for shape in FIELDS.values()]
BLOCK = 8192  # crops that are allocated together: tensors stay far below 2^31 elements
MIXED = 8  # blocks in a batch


def pack(labels: np.ndarray) -> np.ndarray:
    """Records of LABEL -> float32 rows (N, 315); the depths are zero still."""
    rows = [
        np.ascontiguousarray(labels[name], np.float32).reshape(len(labels), -1) for name in FIELDS if name != 'depths'
    ]
    return np.concatenate([*rows, np.zeros((len(labels), 24), np.float32)], 1)


def unpack(rows: Tensor) -> dict[str, Tensor]:
    """Rows (N, 315) -> labels by name: views."""
    parts = rows.split(_SIZES, 1)
    return {name: part.reshape(len(rows), *shape) for (name, shape), part in zip(FIELDS.items(), parts, strict=True)}


class CropPool:
    """Crops (h, w, 3) uint8 and their labels on a device, of which the newest `capacity` are kept.

    skeleton: on that device, for the relative depths.
    """

    def __init__(
        self, skeleton: Skeleton, device: torch.device | str = 'cpu', capacity: int = 400_000, block: int = BLOCK
    ) -> None:
        self.skeleton, self.device, self.block = skeleton, torch.device(device), block
        self.capacity = max(block, capacity // block * block)
        self.blocks: list[tuple[Tensor, Tensor]] = []
        self.taken = 0  # ever

    def __len__(self) -> int:
        return min(self.taken, self.capacity)

    def add(self, images: Tensor, rows: Tensor) -> None:
        """images (N, h, w, 3) uint8 and rows of `pack`, both on the CPU, best pinned. Nothing waits for the copy."""
        start = 0
        while start < len(images):
            at = self.taken % self.capacity
            index, first = divmod(at, self.block)
            count = min(self.block - first, len(images) - start)
            if index == len(self.blocks):
                self._grow(images.shape[1:])
                if index == len(self.blocks):  # there is no room: the pool is full from now on
                    continue
            kept_images, kept_rows = self.blocks[index]
            kept_images[first : first + count].copy_(images[start : start + count], non_blocking=True)
            new = kept_rows[first : first + count]
            new.copy_(rows[start : start + count], non_blocking=True)
            truth = unpack(new)
            new[:, -24:] = relative_depths(truth, self.skeleton)
            start += count
            self.taken += count

    def _grow(self, shape: tuple[int, ...]) -> None:
        try:
            self.blocks.append(
                (
                    torch.empty((self.block, *shape), dtype=torch.uint8, device=self.device),
                    torch.empty((self.block, sum(_SIZES)), device=self.device),
                )
            )
        except (torch.OutOfMemoryError, MemoryError):
            if not self.blocks:
                raise
            self.shrink()

    def shrink(self) -> None:
        """No further blocks: the device has no room for them."""
        self.capacity = self.block * len(self.blocks)

    def batch(self, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        """`size` crops at random, of up to eight blocks: images (B, h, w, 3) uint8 and their truth."""
        lengths = self._lengths()
        total, parts = sum(lengths), min(MIXED, size)
        picks: dict[int, int] = {}
        for k in range(parts):  # a block as often as it is long
            at, index = int(torch.randint(total, ()).item()), 0  # on the CPU: nothing waits
            while at >= lengths[index]:
                at -= lengths[index]
                index += 1
            picks[index] = picks.get(index, 0) + size // parts + (k < size % parts)
        found = []
        for index, count in picks.items():
            chosen = torch.randint(lengths[index], (count,), device=self.device)
            found.append([kept.index_select(0, chosen) for kept in self.blocks[index]])
        images, rows = (torch.cat(kept) for kept in zip(*found, strict=True))
        return images, unpack(rows)

    def once(self, size: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Every crop once, in batches that all but the last of a block are as large."""
        for (images, rows), length in zip(self.blocks, self._lengths(), strict=True):
            for start in range(0, length, size):
                end = min(length, start + size)
                yield images[start:end], unpack(rows[start:end])

    def _lengths(self) -> list[int]:
        last = len(self.blocks) - 1
        return [self.block if i < last else len(self) - last * self.block for i in range(len(self.blocks))]

    def bytes_per_crop(self) -> int:
        """Of a crop's image and labels together, on the device; IndexError while the pool is empty."""
        images, rows = self.blocks[0]
        return images[0].numel() + rows[0].numel() * 4


class Feeder:
    """Reads files of a folder in a thread, in the order in which they appear; `take` hands over what was read.

    read: of a path, the tensors for `take`; keep: leave the files where they are, for another start; else they are
    deleted once they are read. pinned: the copy to a GPU then needs nobody's attention.
    """

    def __init__(self, folder: Path, pattern: str, read: Callable[[Path], tuple], keep: bool = True) -> None:
        self.folder, self.pattern, self.read, self.keep = folder, pattern, read, keep
        self._seen: set[Path] = set()
        self._ready: queue.Queue = queue.Queue(maxsize=8)
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            found = [
                path
                for path in sorted(self.folder.glob(self.pattern))
                if path not in self._seen and '.partial' not in path.name
            ]
            for path in found:
                try:
                    value = self.read(path)
                except (OSError, ValueError, BadZipFile) as error:
                    print(f'{path}: {error}', flush=True)
                    value = None
                self._seen.add(path)
                if not self.keep:
                    path.unlink(missing_ok=True)
                while value is not None and not self._stop.is_set():
                    try:
                        self._ready.put(value, timeout=0.2)
                        break
                    except queue.Full:
                        pass
                if self._stop.is_set():
                    return
            self._caught_up.set()
            self._stop.wait(0.3)

    def take(self, most: int = 8) -> list[tuple]:
        """What was read since, at most so many files; never waits."""
        found: list[tuple] = []
        while len(found) < most:
            try:
                found.append(self._ready.get_nowait())
            except queue.Empty:
                break
        return found

    def take_all(self, least: int = 1, timeout: float = 600.0) -> list[tuple]:
        """All files that are there now, after waiting for the first `least`."""
        found: list[tuple] = []
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found += self.take()
            if len(found) >= least and self._caught_up.is_set() and self._ready.empty():
                break
            time.sleep(0.05)
        return found

    def close(self) -> None:
        """Stop reading, and wait up to 10 s for the thread; what was read before can still be taken."""
        self._stop.set()
        self._thread.join(10)


def crop_reader(pinned: bool) -> Callable[[Path], tuple[Tensor, Tensor]]:
    """Of a shard, images and rows for `CropPool.add`."""

    def read(path: Path) -> tuple[Tensor, Tensor]:
        images, labels = load_shard(path)
        pictures, rows = torch.from_numpy(images), torch.from_numpy(pack(labels))
        return (pictures.pin_memory(), rows.pin_memory()) if pinned else (pictures, rows)

    return read


def of_folder(
    folder: Path, skeleton: Skeleton, pattern: str = 'crops_*.npz', device: torch.device | str = 'cpu'
) -> CropPool:
    """A pool of all shards in a folder."""
    paths = [path for path in sorted(folder.glob(pattern)) if '.partial' not in path.name]
    read, pool = crop_reader(False), CropPool(skeleton, device, capacity=1 << 40)
    for path in paths:
        pool.add(*read(path))
    return pool
