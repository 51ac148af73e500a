"""Weights, crops and locations that anyone can make again from a seed: see golden/README.md."""

from __future__ import annotations

from zlib import crc32

import numpy as np

BATCHES = (1, 3, 8)
IMAGE_SIZE = (1280, 720)
FOCAL = 1100.0


def weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """A full state dict: every tensor from its own generator, seeded by its name: order plays no part.

    Batch norm statistics are far from the identity; convolutions keep the signal's size: all layers count.
    """
    return {
        key: _tensor(key, tuple(shape), np.random.default_rng([seed, crc32(key.encode())]))
        for key, shape in sorted(shapes.items())
    }


def _tensor(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    name = key.rpartition('.')[2]
    if name == 'num_batches_tracked':
        return np.int64(rng.integers(1000))
    uniform = 2 * rng.random(shape, np.float32) - 1
    if name == 'running_var':
        return 1 + uniform / 2
    if name == 'init_cam':
        return np.float32([[0.9, 0, 0]]) + uniform / 10
    if name == 'init_pose':
        return uniform
    if name == 'weight' and len(shape) == 1:
        return np.float32(0.5) + uniform / 4
    if name == 'weight':
        gain = np.float32(2 if len(shape) == 4 else 0.3)
        return uniform * np.sqrt(3 * gain / np.prod(shape[1:])).astype(np.float32)
    return uniform / 10


def crops(batch: int, height: int, width: int, seed: int) -> np.ndarray:
    """(batch, height, width, 3) uint8: 16 px tiles of colour with noise on them, so that people differ."""
    rng = np.random.default_rng([seed, batch])
    tiles = rng.integers(0, 200, (batch, height // 16, width // 16, 3))
    noise = rng.integers(0, 56, (batch, height, width, 3))
    return (tiles.repeat(16, 1).repeat(16, 2) + noise).astype(np.uint8)


def boxes(batch: int, seed: int) -> dict[str, np.ndarray]:
    """Where the crops are: ``center`` (batch, 2) and ``height`` (batch,) in pixels."""
    rng = np.random.default_rng([seed, batch, 1])
    center = rng.uniform((100, 100), (1180, 620), (batch, 2))
    return {'center': center, 'height': rng.uniform(150, 800, batch)}


def location(box: dict[str, np.ndarray]) -> np.ndarray:
    """(batch, 3) plain location of ``boxes``: the paper's Eq. 5, principal point at the image's centre."""
    offset = box['center'] - np.array(IMAGE_SIZE) / 2
    return np.concatenate([offset, box['height'][:, None]], 1) / FOCAL


# Of people, xyxy [px]: shrunk and enlarged crops, upright and wide boxes, two of them across the border.
PEOPLE = (
    (512.3, 96.8, 803.1, 655.4),
    (301.5, 420.25, 342.5, 517.75),
    (-60.7, 130.2, 215.9, 731.6),
    (930.4, 388.9, 1275.2, 560.1),
)


def photograph(seed: int) -> np.ndarray:
    """(720, 1280, 3) uint8 RGB: slow changes of colour and the noise of a sensor; the same on every machine.

    In whole numbers throughout, as sines and resizing differ from one library to the next.
    """
    width, height = IMAGE_SIZE
    rng, cell = np.random.default_rng([seed, 2]), 80
    coarse = rng.integers(20, 236, (height // cell + 1, width // cell + 1, 3))
    y, x = np.arange(height), np.arange(width)
    row, column, down, right = y // cell, x // cell, (y % cell)[:, None, None], (x % cell)[:, None]
    rows = coarse[row] * (cell - down) + coarse[row + 1] * down
    smooth = rows[:, column] * (cell - right) + rows[:, column + 1] * right
    return (smooth // cell**2 + rng.integers(-12, 13, smooth.shape)).astype(np.uint8)
