"""Contact sheets: many pictures on one page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cliff_ros.errors import InputError
from cliff_ros.files import write_bytes
from cliff_ros.render.overlay import put_text

_PAPER = (24, 26, 30)
_INK = (235, 235, 235)
_GAP = 8  # px


def contact_sheet(
    images: Sequence[np.ndarray],
    captions: Sequence[str] = (),
    *,
    title: str = '',
    columns: int | None = None,
    width: int = 1800,
) -> np.ndarray:
    """A page of pictures in rows, (H, width, 3) uint8 RGB.

    images : (h, w, 3) uint8 RGB, all of one size. captions : one line for each, or none.
    columns : as many as make the page about as wide as high, if None.
    """
    if not images:
        raise InputError('A contact sheet needs at least one picture.')
    h, w = images[0].shape[:2]
    if columns is None:
        columns = math.ceil(math.sqrt(len(images) * 1.3 * h / w))
    columns = max(1, min(columns, len(images)))
    tile_w = (width - (columns + 1) * _GAP) // columns
    tile_h = round(tile_w * h / w)
    interpolation = cv2.INTER_AREA if tile_w < w else cv2.INTER_CUBIC
    rows = math.ceil(len(images) / columns)
    head = 52 if title else 0
    page = np.full((head + rows * (tile_h + _GAP) + _GAP, width, 3), _PAPER, np.uint8)
    if title:
        cv2.putText(page, title, (_GAP + 6, 36), cv2.FONT_HERSHEY_SIMPLEX, 0.8, _INK, 1, cv2.LINE_AA)
    for i, image in enumerate(images):
        tile = cv2.resize(image, (tile_w, tile_h), interpolation=interpolation)
        if i < len(captions):
            put_text(tile, captions[i], (0, tile_h), max(0.4, tile_w / 1100), _INK)
        y, x = head + _GAP + (i // columns) * (tile_h + _GAP), _GAP + (i % columns) * (tile_w + _GAP)
        page[y : y + tile_h, x : x + tile_w] = tile
    return page


class Picks:
    """Pictures picked evenly from a stream of unknown length, shrunk to what a contact sheet needs."""

    def __init__(self, wanted: int = 12, longest: int = 640) -> None:
        self._wanted, self._longest, self._stride, self._seen = wanted, longest, 1, 0
        self._kept: list[tuple[np.ndarray, str]] = []

    def add(self, image: np.ndarray, caption: str) -> None:
        """Offer the next picture, (H, W, 3) uint8."""
        if self._seen % self._stride == 0:
            scale = min(1.0, self._longest / max(image.shape[:2]))
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            self._kept.append((small, caption))
            if len(self._kept) == 2 * self._wanted:  # too dense for what has come: keep every other
                del self._kept[1::2]
                self._stride *= 2
        self._seen += 1

    def kept(self) -> tuple[list[np.ndarray], list[str]]:
        """Pictures and captions of what was picked."""
        count = len(self._kept)
        chosen = sorted(set(np.linspace(0, count - 1, min(count, self._wanted)).round().astype(int).tolist()))
        kept = [self._kept[i] for i in chosen] if count else []
        return [image for image, _ in kept], [caption for _, caption in kept]

    def sheet(self, title: str = '') -> np.ndarray:
        """The contact sheet of what was picked; InputError if nothing was offered."""
        return contact_sheet(*self.kept(), title=title)


def save_png(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG: all or nothing. OutputError."""
    write_bytes(path, cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
