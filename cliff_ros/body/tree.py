"""Down SMPL's tree in NumPy: what parent-relative rotations make of the joints. `Kinematics` does it in PyTorch."""

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


def world_positions(rest: np.ndarray, world: np.ndarray) -> np.ndarray:
    """Places (..., 24, 3) of the joints, for joints at rest (..., 24, 3) and orientations by `world_rotations`."""
    position = rest.copy()
    for joint in range(1, NUM_JOINTS):
        parent = PARENTS[joint]
        bone = rest[..., joint, :] - rest[..., parent, :]
        position[..., joint, :] = position[..., parent, :] + (world[..., parent, :, :] @ bone[..., None])[..., 0]
    return position
