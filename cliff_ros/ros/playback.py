"""What a played camera shows: images and, of synthetic scenes, the people in them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cliff_ros.people import People
from cliff_ros.sources import Source, SyntheticSource

if TYPE_CHECKING:
    from cliff_ros.synthetic import Sequence  # brings a compiler along


@dataclass(frozen=True)
class Shot:
    """An image (H, W, 3) RGB and, where known, the exact people in it (without vertices)."""

    image: np.ndarray
    truth: People | None = None


def shots(source: Source, loop: bool, prerender: bool, progress: Callable[[int, int], None]) -> Iterator[Shot]:
    """The shots of a source in order.

    prerender: draw a synthetic scene before the first shot; ``progress(done, of)`` hears how far that is.
    """
    if not isinstance(source, SyntheticSource):
        for frame in source:
            yield Shot(frame.image)
        return
    scene: Iterable[Shot] = _Scene(source.sequence)
    if prerender:
        scene = _drawn(source.sequence, progress)
    while True:
        yield from scene
        if not loop:
            return


class _Scene:
    """Draws each image when it is asked for."""

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence

    def __iter__(self) -> Iterator[Shot]:
        for i in range(len(self._sequence)):
            yield Shot(self._sequence.image(i), self._sequence.truth(i).with_(vertices=None))


def _drawn(sequence: Sequence, progress: Callable[[int, int], None]) -> list[Shot]:
    """All shots. Their pixels (20 s at 1280x720: 830 MB) are in a file that vanishes with the process."""
    count, camera = len(sequence), sequence.camera
    shape = count, camera.height, camera.width, 3
    pixels = np.memmap(tempfile.TemporaryFile(), np.uint8, 'w+', shape=shape)
    drawn = []
    for i, shot in enumerate(_Scene(sequence)):
        pixels[i] = shot.image
        drawn.append(Shot(pixels[i], shot.truth))
        progress(i + 1, count)
    return drawn
