"""Down SMPL's tree: what parent-relative rotations make of each joint's orientation. `Kinematics` does it in torch."""

from __future__ import annotations

import numpy as np

from cliff_ros.body.names import NUM_JOINTS, PARENTS


def world_rotations(rotations: np.ndarray) -> np.ndarray:
    """Orientations (..., 24, 3, 3) of the joints, in the root's frame of reference, of the same type.

    rotations: (..., 24, 3, 3) parent-relative, the root's first.
    """
    world = rotations.copy()
    for joint in range(1, NUM_JOINTS):
        world[..., joint, :, :] = world[..., PARENTS[joint], :, :] @ rotations[..., joint, :, :]
    return world
