"""The data sets that ``cliff evaluate`` knows.

To add one, write a module with a class that iterates over `Sample` and has a length, add its row to `DATASETS`
and its line to `open_dataset`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.errors import InputError
from cliff_ros.people import People

# name: what it is, in the user's words.
DATASETS = {'synthetic': 'rendered people in everyday poses, never trained on, with exact truth'}


class Sample(Protocol):
    """An image and who is in it.

    image: (H, W, 3) uint8 RGB. people: who is asked for, with true ``box``, ``rotations``, ``joints``,
    ``joints2d`` and, where there are any, ``vertices``. ignored: (M, 4) boxes of people not asked for.
    """

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        ...

    @property
    def camera(self) -> Camera:
        """The camera that took the image, its lens included."""
        ...

    @property
    def people(self) -> People:
        """Whom to find, as they truly are: meters in the camera's optical frame, boxes and ``joints2d`` in pixels."""
        ...

    @property
    def ignored(self) -> np.ndarray:
        """(M, 4) left, top, right, bottom [px]: a prediction there is neither found nor a false alarm."""
        ...


class Dataset(Protocol):
    """Samples in a fixed order; how many."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...


def open_dataset(
    name: str,
    seed: int,
    frames: int,
    sizes: Sequence[tuple[int, int]],
    look: str = 'plain',
    visible: float | None = None,
) -> Dataset:
    """A data set of `DATASETS`. seed, frames, sizes (width, height), look and visible say what to render."""
    if name == 'synthetic':
        from cliff_ros.evaluation.synthetic import SyntheticScenes

        return SyntheticScenes(seed, frames, sizes, look, visible)
    raise InputError(f"there is no data set '{name}': choose from {', '.join(DATASETS)}")
