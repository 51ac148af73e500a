"""Where a body ends in an image, from a hundred of its vertices instead of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cliff_ros.body.model import BodyModel
from cliff_ros.camera import Camera

_DIRECTIONS = 14  # per joint


class Outline:
    """The vertices of a body that stick out farthest around each joint."""

    def __init__(self, body: BodyModel) -> None:
        directions = np.random.default_rng(0).normal(size=(_DIRECTIONS, 3))
        self.indices = farthest_vertices(body, np.unique(body.weights.argmax(1)).tolist(), directions)
        self._body = body.only(self.indices)

    def points(self, betas: np.ndarray, rotations: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(N, P, 3) [m]; betas (N, B), rotations (N, 24, 3, 3), translation (N, 3)."""
        return self._body(betas, rotations, translation)[1]

    def boxes(self, camera: Camera, betas: np.ndarray, rotations: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(N, 4) xyxy [raw px], cut at the image's border; NaN for who is not wholly before the lens or not in view."""
        pixels = camera.project(self.points(betas, rotations, translation))
        low, high = np.array([-0.5, -0.5]), np.array([camera.width, camera.height]) - 0.5
        boxes = np.concatenate([pixels.min(1).clip(low, high), pixels.max(1).clip(low, high)], 1)
        boxes[(boxes[:, 2:] - boxes[:, :2] < 2).any(1)] = np.nan
        return boxes


def farthest_vertices(body: BodyModel, joints: Sequence[int], directions: np.ndarray) -> np.ndarray:
    """Sorted indices (K,) of the vertices that stick out farthest in each direction, among those of each joint.

    directions: (D, 3), the same for all joints, or (len(joints), D, 3). A vertex belongs to the joint it follows most.
    """
    owner, found = body.weights.argmax(1), []
    for joint, some in zip(joints, np.broadcast_to(directions, (len(joints), *directions.shape[-2:])), strict=True):
        part = np.flatnonzero(owner == joint)
        found.append(part[(body.v_template[part] @ some.T).argmax(0)])
    return np.unique(found)
