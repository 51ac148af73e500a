"""The people of `golden/metrics.json`: the same arrays here and where the official evaluation code was run."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def people(seed: int = 0, count: int = 40) -> dict[str, np.ndarray]:
    """True and predicted joints (N, 24, 3) and vertices (N, 300, 3) [m], parent-relative rotations (N, 24, 3, 3)."""
    rng = np.random.default_rng(seed)
    joints, vertices = rng.normal(0, 0.4, (count, 24, 3)), rng.normal(0, 0.4, (count, 300, 3))
    # From one image to the next people move a little, as in a recording.
    joints = joints[:1] + np.cumsum(rng.normal(0, 0.01, joints.shape), 0)
    turn = Rotation.from_rotvec(rng.normal(0, 0.06, (count, 3))).as_matrix()
    scale, shift = rng.uniform(0.95, 1.06, (count, 1, 1)), rng.normal(0, 1, (count, 1, 3))
    predicted = scale * (joints + rng.normal(0, 0.02, joints.shape)) @ turn + shift
    rotations = Rotation.from_rotvec(rng.normal(0, 0.6, (count * 24, 3))).as_matrix().reshape(count, 24, 3, 3)
    off = Rotation.from_rotvec(rng.normal(0, 0.3, (count * 24, 3))).as_matrix().reshape(count, 24, 3, 3)
    return dict(
        joints=joints,
        predicted=predicted,
        vertices=vertices,
        predicted_vertices=scale * (vertices + rng.normal(0, 0.05, vertices.shape)) @ turn + shift,
        rotations=rotations,
        predicted_rotations=rotations @ off,
    )


def crowd(seed: int) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """2D joints [px] of predicted (24, 2) and of true people (45, 2) of one image, and who of the latter counts."""
    rng = np.random.default_rng([seed, 1])
    places = rng.uniform([300, 300], [3500, 1800], (int(rng.integers(1, 9)), 1, 2))
    true = [place + rng.normal(0, 60, (45, 2)) for place in places]
    seen = [one[:24] + rng.normal(0, 25, 2) + rng.normal(0, 10, (24, 2)) for one in true if rng.random() < 0.8]
    wrong = [rng.uniform(300, 2500, (1, 2)) + rng.normal(0, 60, (24, 2)) for _ in range(rng.integers(0, 3))]
    predicted = [*seen, *wrong]
    return [predicted[i] for i in rng.permutation(len(predicted))], true, rng.random(len(true)) < 0.8
