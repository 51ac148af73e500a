"""An image made to fit a detector's input, and its boxes brought back."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from cliff_ros.people import Box

GRAY = 114


class Letterbox:
    """An image (H, W, 3) resized to ``inside`` (height, width), then padded with gray at the right and bottom
    to ``outside``. ``pixels`` is the result, channels in the image's order.
    """

    def __init__(self, image: np.ndarray, inside: Sequence[int], outside: Sequence[int]) -> None:
        height, width = image.shape[:2]
        self._scale = np.array([width / inside[1], height / inside[0]])
        self.pixels = cv2.copyMakeBorder(
            _resized(image, inside[1], inside[0]),
            0,
            outside[0] - inside[0],
            0,
            outside[1] - inside[1],
            cv2.BORDER_CONSTANT,
            value=(GRAY,) * 3,
        )

    def boxes(self, xyxy: np.ndarray, scores: np.ndarray) -> list[Box]:
        """Boxes (N, 4) of the padded image in the pixels of the original; those without area are left out.

        Detectors count from the left edge of the first pixel, we from its center: hence the half pixel.
        """
        raw = xyxy * np.tile(self._scale, 2) - 0.5
        real = np.isfinite(raw).all(1) & (raw[:, 2:] > raw[:, :2]).all(1)
        return [Box(box, float(score)) for box, score in zip(raw[real], scores[real], strict=True)]


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bilinear; before that halved, which costs little, as long as two pixels or more would fall into one."""
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
