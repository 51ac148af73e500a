"""SMPL's joints: order, tree and left/right pairs (Loper et al. 2015)."""

from __future__ import annotations

import numpy as np

JOINT_NAMES = (
    'pelvis',
    'left_hip',
    'right_hip',
    'spine1',
    'left_knee',
    'right_knee',
    'spine2',
    'left_ankle',
    'right_ankle',
    'spine3',
    'left_foot',
    'right_foot',
    'neck',
    'left_collar',
    'right_collar',
    'head',
    'left_shoulder',
    'right_shoulder',
    'left_elbow',
    'right_elbow',
    'left_wrist',
    'right_wrist',
    'left_hand',
    'right_hand',
)
PARENTS = np.array([-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21])
# MIRROR[j] is the joint that joint j becomes in a mirrored image.
MIRROR = np.array([0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22])
NUM_JOINTS = 24
_MORE_THAN_SMPL = 10_000  # vertices: SMPL has 6890, SMPL-X 10475


def kind_of_body(num_vertices: int) -> str:
    """Whose betas a body of so many vertices has: ``'smpl'`` or ``'smplx'``."""
    return 'smplx' if num_vertices > _MORE_THAN_SMPL else 'smpl'
