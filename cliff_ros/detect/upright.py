"""Detectors know people who stand upright in the image: one that was taken otherwise is turned for them."""

from __future__ import annotations

import cv2
import numpy as np

from cliff_ros.people import Box

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def turned(image: np.ndarray, upright: int) -> np.ndarray:
    """An image (H, W, 3) turned clockwise by upright degrees, a multiple of 90."""
    return image if upright == 0 else cv2.rotate(image, _TURNS[upright])


def turned_back(box: Box, upright: int, width: int, height: int) -> Box:
    """The box of an image turned so, in the pixels of the image as it was, which is width x height."""
    left, top, right, bottom = box.xyxy
    right_edge, bottom_edge = width - 1, height - 1  # pixel centers lie at integers
    xyxy = {
        0: box.xyxy,
        90: (top, bottom_edge - right, bottom, bottom_edge - left),
        180: (right_edge - right, bottom_edge - bottom, right_edge - left, bottom_edge - top),
        270: (right_edge - bottom, left, right_edge - top, right),
    }[upright]
    return Box(np.array(xyxy), box.score, box.id)
