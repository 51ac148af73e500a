"""Numbers that need no ground truth: do people fit their boxes, move steadily, have human sizes?"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Any

import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.camera import Camera
from cliff_ros.people import People


class Plausibility:
    """Watches a run frame by frame (:meth:`add`), then sums up (:meth:`report`)."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self._overlaps: list[float] = []

    def add(self, people: People) -> None:
        """Compare the detected box with the box around the projected mesh, where there is a mesh."""
        limits = np.array([self.camera.width, self.camera.height] * 2) - 1
        if people.vertices is None:
            return
        for box, vertices in zip(people.box, people.vertices, strict=True):
            pixels = self.camera.project(vertices)
            if np.isfinite(pixels).all():
                mesh = np.concatenate([pixels.min(0), pixels.max(0)])
                # Detectors see no further than the image's edge.
                self._overlaps.append(_overlap(np.clip(mesh, 0, limits), np.clip(box, 0, limits)))

    def report(self, columns: dict[str, np.ndarray], body: BodyModel) -> dict[str, Any]:
        """Of the columns of a :class:`~cliff_ros.results.PeopleTable`; None where there was nothing."""
        ids = np.unique(columns['id'])
        betas = {str(i): np.median(columns['betas'][columns['id'] == i], 0) for i in ids}
        distance = np.linalg.norm(columns['joints'][:, 0], axis=-1)
        return {
            'ids': len(ids),
            'frames_per_id': {str(i): int((columns['id'] == i).sum()) for i in ids},
            'distance_m': {
                'min': _or_none(np.min, distance),
                'median': _or_none(np.median, distance),
                'max': _or_none(np.max, distance),
            },
            'body_height_m': {i: _height(shape, body) for i, shape in betas.items()},
            'mesh_box_iou_median': _or_none(np.median, self._overlaps),
            'joint_step_mm_median': _or_none(np.median, _joint_steps(columns) * 1e3),
        }


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two xyxy boxes."""
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner
    return float(inner / union) if union > 0 else 0.0


def _joint_steps(columns: dict[str, np.ndarray]) -> np.ndarray:
    """How far each joint moves relative to the pelvis from one frame to the next [m]."""
    steps = []
    for i in np.unique(columns['id']):
        mine = columns['id'] == i
        relative = columns['joints'][mine] - columns['joints'][mine][:, :1]
        neighbours = np.diff(columns['frame'][mine]) == 1
        steps.append(np.linalg.norm(np.diff(relative, axis=0), axis=-1)[neighbours, 1:].reshape(-1))
    return np.concatenate(steps) if steps else np.zeros(0)


def _height(betas: np.ndarray, body: BodyModel) -> float:
    """Of the body at rest, sole to crown [m]."""
    rest = np.tile(np.eye(3, dtype=np.float32), (1, 24, 1, 1))
    _, vertices = body(betas[None].astype(np.float32), rest, np.zeros((1, 3), np.float32))
    return float(np.ptp(vertices[0, :, 1]))


def _or_none(statistic: Callable[[Any], Any], values: Sized) -> float | None:
    return float(statistic(values)) if len(values) else None
