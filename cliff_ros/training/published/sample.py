"""What a crop's truth is in training, and what becomes of it when the crop is turned or mirrored."""

from __future__ import annotations

import numpy as np

from cliff_ros.body import MIRROR, NUM_JOINTS
from cliff_ros.cliff.lifting import MIRROR_KEYPOINTS
from cliff_ros.datasets.sample import NUM_BETAS, NUM_KEYPOINTS

# The truth of one crop. Lengths [m] in the frame of the view that it was taken from; what is not known is zero.
TRUTH = np.dtype(
    [
        ('rotations', 'f4', (NUM_JOINTS, 3, 3)),
        ('rotations_known', 'f4', NUM_JOINTS),
        ('betas', 'f4', NUM_BETAS),
        ('betas_known', 'f4'),
        ('joints', 'f4', (NUM_JOINTS, 3)),
        ('joints_known', 'f4', NUM_JOINTS),
        ('placed', 'f4'),  # 1: joints are where they are in the view; 0: only relative to each other
        ('location', 'f4', 3),  # (cx/f, cy/f, b/f) of the crop
        ('keypoints', 'f4', (NUM_KEYPOINTS, 2)),  # [crop heights] from the crop's center
        ('confidence', 'f4', NUM_KEYPOINTS),
    ]
)


def rolled(truth: np.ndarray, degrees: float) -> np.ndarray:
    """The truth of a crop that was turned clockwise about its center: the view turns about its optical axis.

    Turning an image about a crop's center and turning the camera about its axis give the same crop, but only the
    latter is something that a camera can see: so the place of the crop in the full frame turns too, and every
    label stays exact.
    """
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    truth = truth.copy()
    truth['rotations'][0] = turn @ truth['rotations'][0]
    truth['joints'] = truth['joints'] @ turn.T
    truth['location'][:2] = turn[:2, :2] @ truth['location'][:2]
    truth['keypoints'] = truth['keypoints'] @ turn[:2, :2].T
    return truth


def mirrored(truth: np.ndarray) -> np.ndarray:
    """The truth of the mirrored crop: the full frame mirrors about its optical axis, and left becomes right."""
    m = np.array([-1.0, 1.0, 1.0])
    truth = truth.copy()
    truth['rotations'] = (truth['rotations'] * m[:, None] * m)[MIRROR]
    truth['joints'] = (truth['joints'] * m)[MIRROR]
    truth['location'] *= m
    truth['keypoints'] = (truth['keypoints'] * m[:2])[MIRROR_KEYPOINTS]
    for name, order in (('rotations_known', MIRROR), ('joints_known', MIRROR), ('confidence', MIRROR_KEYPOINTS)):
        truth[name] = truth[name][order]
    return truth
