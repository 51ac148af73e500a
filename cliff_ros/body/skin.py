"""A body as other programs pose it: a mesh at rest, bones, and four weights a vertex (glTF, game engines, viewers).

Vertices that such a program makes are SMPL's but for pose blend shapes (``posedirs``), which bones cannot express, and
for weights beyond the four largest of a vertex. The embedded body has neither.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from cliff_ros.body.model import BodyModel
from cliff_ros.body.tree import world_rotations

INFLUENCES = 4


def rest_pose(body: BodyModel, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and joints (24, 3) of one shape in the T-pose, float32 [m], SMPL's axes.

    betas: (B,) of the body's num_betas or fewer.
    """
    betas = np.asarray(betas, np.float32)
    vertices = body.v_template + (betas @ body.shape_basis[: len(betas)]).reshape(-1, 3)
    return vertices.astype(np.float32), body.rest_joints(betas[None])[0]


def standing_height(body: BodyModel, betas: np.ndarray) -> float:
    """How tall somebody of this shape is, standing [m]."""
    return float(np.ptp(rest_pose(body, betas)[0][:, 1]))


@lru_cache(maxsize=4)
def four_weights(body: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """Joints (V, 4) uint16 that move each vertex most, and their weights (V, 4) float32, which add up to one."""
    joints = np.argsort(body.weights, axis=1)[:, : -INFLUENCES - 1 : -1]
    weights = np.take_along_axis(body.weights, joints, 1)
    weights = weights / weights.sum(1, keepdims=True)
    # A weight of nothing names joint 0: readers complain about others.
    return np.where(weights > 0, joints, 0).astype(np.uint16), weights.astype(np.float32)


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) as unit quaternions (..., 4), x y z w with w >= 0."""
    found = Rotation.from_matrix(np.asarray(rotations, np.float64).reshape(-1, 3, 3)).as_quat()
    found = np.where(found[:, 3:] < 0, -found, found)  # older SciPy, as in Humble, cannot do that itself
    return found.reshape(*np.shape(rotations)[:-2], 4)


def bone_orientations(rotations: np.ndarray) -> np.ndarray:
    """Parent-relative rotations (24, 3, 3) as orientations of the bones in the optical frame, (24, 4) x y z w."""
    return quaternions(world_rotations(np.asarray(rotations, np.float64)))
