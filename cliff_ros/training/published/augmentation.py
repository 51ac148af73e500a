"""How a person is seen differently each time: where the crop lies, how it is turned, and what happens to its pixels.

Where the crop lies (scale, jitter, a part of the body) is only a choice in the full frame: labels stay as they are.
Rotation and mirror change the camera, and the labels with it: see `sample.rolled` and `sample.mirrored`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from cliff_ros.crop.views import View
from cliff_ros.synthetic.camera_effects import camera_effects, occlude
from cliff_ros.synthetic.textures import make_textures, natural_color
from cliff_ros.training.published.config import Augmentation

# Keypoints of what may be all that is in a crop: head and shoulders, upper body, all but the shins, one side.
PARTS = (
    (12, 13, 14, 15, 16, 17, 24, 25, 26, 27, 28),
    (0, 3, 6, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 24, 25, 26, 27, 28),
    (0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 14, 15, 16, 17, 18, 19, 24, 25, 26, 27, 28),
    (0, 1, 4, 7, 10, 13, 15, 16, 18, 20),
    (0, 2, 5, 8, 11, 14, 15, 17, 19, 21),
)
_BEYOND = 0.12  # of a part's size: how far its box reaches beyond its keypoints
_SMALLEST = 8.0  # [px] side of a box


def box_of(
    box: np.ndarray, keypoints: np.ndarray, known: np.ndarray, options: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """A box (4,) like another detector's, or around a part of the body, for a person's box (4,) [px].

    keypoints: (29, 2) [px], of which those with ``known`` (29,) > 0 count.
    """
    if rng.random() < options.part:
        pick = list(PARTS[rng.integers(len(PARTS))])
        points = keypoints[pick][known[pick] > 0]
        if len(points) >= 4:
            low, high = points.min(0), points.max(0)
            beyond = _BEYOND * (high - low).max()
            box = np.concatenate([low - beyond, high + beyond])
    low, high = box[:2], box[2:]
    # mostly a little off, at times far: detectors' errors have heavy tails
    error = rng.standard_normal(4) * options.jitter * (high[1] - low[1]) * (2.5 if rng.random() < 0.1 else 1.0)
    low, high = low + error[:2], high + error[2:]
    factor = 1 + np.clip(rng.normal(0, options.scale), -options.scale, options.scale) if options.scale else 1.0
    center, half = (low + high) / 2, np.maximum((high - low) / 2 * factor, _SMALLEST / 2)
    return np.concatenate([center - half, center + half])


def angle_of(options: Augmentation, rng: np.random.Generator) -> float:
    """Degrees by which to turn a crop clockwise; 0 for most."""
    if not options.rotation or rng.random() >= options.rotation_probability:
        return 0.0
    return float(np.clip(rng.normal(0, options.rotation), -2 * options.rotation, 2 * options.rotation))


def rolled_view(view: View, degrees: float) -> View:
    """The view turned clockwise about its optical axis: its crop is the same, turned about its own center."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    axis = np.array([view.cx, view.cy])
    return replace(view, rotation=turn @ view.rotation, center=axis + turn[:2, :2] @ (view.center - axis))


def rolled_pixels(image: np.ndarray, degrees: float) -> np.ndarray:
    """A crop (h, w, 3) turned clockwise about its center; what it does not show is reflected at its borders."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


class Pixels:
    """Changes of color, camera and what stands in front; on crops (h, w, 3) uint8 RGB."""

    def __init__(self, options: Augmentation) -> None:
        self.options = options
        self.textures = make_textures(np.random.default_rng(0), 12) if options.occlusion else None

    def __call__(self, image: np.ndarray, rng: np.random.Generator, rendered: bool = False) -> np.ndarray:
        """rendered: synthetic crops have been behind things and in front of a camera already."""
        options = self.options
        if not rendered and self.textures is not None and rng.random() < options.occlusion:
            image = image.copy()  # also contiguous, where it was a mirrored view
            for _ in range(rng.integers(1, 4)):
                occlude(image, np.zeros(image.shape[:2], np.uint8), rng, self.textures, natural_color(rng))
        if not rendered and options.camera:
            image = camera_effects(image.astype(np.float32), rng, options.camera)
        if options.color:
            factor = rng.uniform(1 - options.color, 1 + options.color, 3)
            image = cv2.convertScaleAbs(image * factor)  # rounds and saturates
        return np.ascontiguousarray(image)


@lru_cache(maxsize=4)
def change_pixels(options: Augmentation) -> Pixels:
    """The changes for these options; their textures are made once in each process."""
    return Pixels(options)
