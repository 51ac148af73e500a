"""Vectorized arithmetic on boxes: (N, 4) arrays of left, top, right, bottom."""

from __future__ import annotations

import numpy as np

from cliff_ros.arrays import Floats, Rows


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every box of a (N, 4) with every box of b (M, 4): (N, M)."""
    overlap, area_a, area_b = _overlap(a, b)
    union = area_a[:, None] + area_b[None] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def inside(a: Floats, b: Floats) -> Floats:
    """The share (N, M) of every box of a (N, 4) that lies in every box of b (M, 4)."""
    overlap, area, _ = _overlap(a, b)
    return np.divide(overlap, area[:, None], out=np.zeros_like(overlap), where=area[:, None] > 0)


def _overlap(a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
    """Intersections (N, M), and the areas of a (N,) and of b (M,)."""
    a, b = np.reshape(a, (-1, 4)), np.reshape(b, (-1, 4))
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    sides = np.maximum(np.minimum(a[:, None, 2:], b[None, :, 2:]) - low, 0)
    return sides[..., 0] * sides[..., 1], (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)


def widen(boxes: Floats, fraction: float) -> Floats:
    """Boxes (N, 4) grown on every side by a fraction of their own width and height."""
    boxes = np.reshape(boxes, (-1, 4))
    margin = fraction * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1)


def nms(boxes: Floats, scores: Floats, threshold: float) -> Rows:
    """Greedy non-maximum suppression: indices of the boxes that stay, best score first."""
    order = np.argsort(-scores, kind='stable')
    overlaps = iou(boxes[order], boxes[order]) > threshold
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~overlaps[i, i + 1 :]
    return order[alive]


def to_center(xyxy: Floats) -> Floats:
    """(..., 4) left, top, right, bottom -> center x, center y, width, height."""
    centered: Floats = xyxy @ _TO_CENTER
    return centered


def from_center(cxcywh: Floats) -> Floats:
    """Inverse of `to_center`."""
    xyxy: Floats = cxcywh @ _FROM_CENTER
    return xyxy


_TO_CENTER = np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]])
_FROM_CENTER = np.linalg.inv(_TO_CENTER)
