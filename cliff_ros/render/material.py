"""What a surface looks like: a texture with its smaller copies, recolored, and a pattern on top."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

WHITE = (np.full((1, 1, 4), 255, np.uint8),)
NO_PATTERN = (np.zeros((1, 1, 3), np.float32),)
AS_IT_IS = np.eye(3, 4, dtype=np.float32)


@dataclass(frozen=True)
class Material:
    """uv (F, 3, 2) float32: column and row of every corner, 0..1; texture and pattern: from large to small, each half
    of the one before; recolor, repeats, amount, two_sided: see `raster.rasterize_textured`; size: how much of the world
    [m] the texture's width covers."""

    uv: np.ndarray
    texture: tuple[np.ndarray, ...] = WHITE
    size: float = 1.0
    recolor: np.ndarray | None = None
    pattern: tuple[np.ndarray, ...] = NO_PATTERN
    repeats: float = 1.0
    amount: float = 0.0
    two_sided: bool = False

    def at(self, scale: float):
        """Texture, recolor, pattern, repeats, amount as the rasterizers ask for them; scale [px/m] of the drawing."""
        pixels = self.size * scale
        return (
            _level(self.texture, pixels),
            AS_IT_IS if self.recolor is None else self.recolor,
            _level(self.pattern, pixels / self.repeats),
            np.float32(self.repeats),
            np.float32(self.amount),
        )


def _level(pyramid: tuple[np.ndarray, ...], pixels: float) -> np.ndarray:
    """The copy with about a texel for a pixel."""
    finer = np.log2(max(pyramid[0].shape[1], 1) / max(pixels, 1e-3))
    return pyramid[int(min(max(finer + 0.3, 0), len(pyramid) - 1))]


def pyramid(image: np.ndarray, smallest: int = 32) -> tuple[np.ndarray, ...]:
    """An image (H, W, C) and its halves."""
    result = [np.ascontiguousarray(image)]
    while min(result[-1].shape[:2]) > smallest:
        height, width = result[-1].shape[:2]
        result.append(cv2.resize(result[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return tuple(result)
