"""Small images cut from a large one along a given path; black outside it. Knows no cameras.

Pixel centers lie at integers. Every function takes (H, W, 3) uint8, possibly a view with padded rows, and
writes to ``out`` (h, w, 3), contiguous, where given.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

# cv2.remap takes no NaN. Here it reads only border, also after shrinking.
NOWHERE = -1e6


def rectangle(
    image: np.ndarray, begin: np.ndarray, end: np.ndarray, size: tuple[int, int], out: np.ndarray | None = None
) -> np.ndarray:
    """Whole pixels ``begin`` to ``end`` (x, y; exclusive), then resized to (w, h) without antialiasing.

    To the letter what CLIFF's authors do, in floating point as they do: cv2.resize of whole numbers cuts
    off, and is 0.13 gray levels too dark on average. cv2.warpAffine weighs pixels with still less
    precision: on sharp images it is several gray levels off.
    """
    (left, top), (right, bottom) = begin.tolist(), end.tolist()
    height, width = image.shape[:2]
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if not inside.size or (end - begin == 1).all():  # OpenCV 4.5.4, of Ubuntu 22.04, takes no image of one pixel
        resized = np.empty((size[1], size[0], 3), np.uint8) if out is None else out
        resized[:] = inside[0, 0] if inside.size else 0
        return resized
    border = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    if any(border):
        inside = cv2.copyMakeBorder(inside, *border, cv2.BORDER_CONSTANT)
    resized = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return cv2.convertScaleAbs(resized, dst=out)  # rounds


def warp(
    image: np.ndarray,
    to_image: np.ndarray,
    size: tuple[int, int],
    antialias: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Pixels of a (w, h) crop taken from where the homography ``to_image`` (3, 3) sends them."""
    if antialias:
        x, y = size[0] - 1.0, size[1] - 1.0
        corners = cv2.perspectiveTransform(np.array([[[0, 0], [x, 0]], [[0, y], [x, y]]]), to_image)
        image, to_small = _shrink(image, corners, size)
        to_image = to_small @ to_image
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if to_image[2, :2].any():
        return cv2.warpPerspective(image, to_image, size, dst=out, flags=flags)
    return cv2.warpAffine(image, to_image[:2] / to_image[2, 2], size, dst=out, flags=flags)


def remap(image: np.ndarray, path: np.ndarray, antialias: bool = False, out: np.ndarray | None = None) -> np.ndarray:
    """Pixels of a crop taken from ``path`` (h, w, 2) float32, which may hold NOWHERE."""
    if antialias:
        height, width = path.shape[:2]
        nodes = path[np.ix_(_some(height), _some(width))]
        image, to_small = _shrink(image, nodes, (width, height))
        path = cv2.transform(path, to_small[:2])
    return cv2.remap(image, path, None, cv2.INTER_LINEAR, dst=out)  # type: ignore[call-overload]  # None is right


@lru_cache
def _some(count: int) -> np.ndarray:
    """Every eighth index, and the last."""
    return np.r_[0:count:8, count - 1]


@dataclass(frozen=True)
class Blocks:
    """A part of an image to be averaged over square blocks before it is sampled.

    factor: side of a block [px]; 1: nothing to average. begin, end: (2,) first pixel x, y, and beyond the last.
    """

    factor: int
    begin: np.ndarray
    end: np.ndarray


def blocks_read(path: np.ndarray, shape: tuple[int, int]) -> Blocks | None:
    """The blocks that a crop reads, so that fewer than two are left per pixel of it; None where it reads nothing.

    path: (h, w, 2) pixels that the crop's pixels read; shape: (H, W) of the image.
    """
    return _blocks(path, path.shape[1::-1], shape)


def _blocks(path: np.ndarray, size: tuple[int, int], shape: tuple[int, int]) -> Blocks | None:
    across = float(np.hypot(*(path[0, -1] - path[0, 0]))) / (size[0] - 1)
    down = float(np.hypot(*(path[-1, 0] - path[0, 0]))) / (size[1] - 1)
    factor = int(min(across, down, *shape)) if min(across, down) >= 2 else 1
    if factor > 3:
        factor -= factor % 2  # halving costs a fifth of any other average
    if factor == 1:
        return Blocks(1, np.zeros(2, int), np.array(shape[::-1]))
    read = path[path[..., 0] > NOWHERE]
    begin, end = np.zeros(2, int), np.zeros(2, int)
    for axis, length in enumerate(shape[::-1]):
        # One block more than is read on each side, as bilinear sampling reaches for the neighbors.
        first, last = np.clip([read[:, axis].min() - factor, read[:, axis].max() + factor + 1], 0, length)
        blocks = min(int(np.ceil((last - first) / factor)), length // factor)
        begin[axis] = min(int(first), length - blocks * factor)
        end[axis] = begin[axis] + blocks * factor
    return None if (end == begin).any() else Blocks(factor, begin, end)


def _shrink(image: np.ndarray, path: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image that a crop reads, averaged over blocks: fewer than two are left per pixel.

    path: (.., .., 2) pixels that the crop reads: some of them, at least its corners.
    Returns the small image and the (3, 3) matrix, a scale and a shift, from pixels to its pixels.
    """
    blocks = _blocks(path, size, image.shape[:2])
    if blocks is None:
        return np.zeros((2, 2, 3), np.uint8), np.eye(3)
    factor, begin, end = blocks.factor, blocks.begin, blocks.end
    if factor == 1:
        return image, np.eye(3)
    to_small = np.diag([1 / factor, 1 / factor, 1.0])
    to_small[:2, 2] = (0.5 - begin) / factor - 0.5
    small = image[begin[1] : end[1], begin[0] : end[0]]
    while factor > 1:
        if factor % 2 == 0:
            height, width = small.shape[0] // 2, small.shape[1] // 2
            small, factor = cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA), factor // 2
        else:  # the same averages in less time: INTER_AREA is fast at halving only
            middle = slice(factor // 2, None, factor)
            small, factor = np.ascontiguousarray(cv2.blur(small, (factor, factor))[middle, middle]), 1
    if small.shape[:2] == (1, 1):  # OpenCV 4.5.4 takes no image of one pixel; beyond its edge there is black anyway
        small = np.pad(small, ((0, 1), (0, 1), (0, 0)))
    return small, to_small
