"""Poses out of drawn and recorded motions (`cliff_ros/data/poses.npz`, tools/bake_motions.py), varied."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cliff_ros import assets
from cliff_ros.body.names import MIRROR, NUM_JOINTS

# How often each kind is shown: what procedural poses lack comes first.
SHARES = dict(
    sit=0.15,
    kneel=0.11,
    crawl=0.11,
    fall=0.1,
    lie=0.04,
    pick_up=0.12,
    crouch=0.07,
    roll=0.05,
    jump=0.05,
    dance=0.05,
    act=0.05,
    fight=0.03,
    swim=0.02,
    run=0.02,
    walk=0.02,
    stand=0.01,
)
# [deg] by which joints differ from the motion's: trunk and legs little, arms more
SPREAD = np.full(NUM_JOINTS, 5.0)
SPREAD[[16, 17, 18, 19, 20, 21]] = 9.0
SPREAD[[0, 10, 11]] = 3.0


@lru_cache(maxsize=1)
def load() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Quaternions (N, 24, 4) x, y, z, w of SMPL's joints, the clip (N,) each is of, and the indices of every kind."""
    with np.load(assets.POSES) as file:
        q = file['quaternions'].astype(np.float32) / 32767
        kinds, names = file['kinds'], file['names'].tolist()
        return q, file['clips'], {name: np.flatnonzero(kinds == k) for k, name in enumerate(names)}


def sample(rng: np.random.Generator, n: int, shares: dict[str, float] | None = None) -> np.ndarray:
    """(n, 24, 3) angles [deg] of n people, as `poses.sample_poses` gives them.

    Between two frames, half of them mirrored, each joint a little different.
    """
    shares = shares or SHARES
    q, clips, of_kind = load()
    share = np.array(list(shares.values()))
    kinds = rng.choice(len(shares), n, p=share / share.sum())
    index = np.zeros(n, int)
    for k, name in enumerate(shares):
        where = np.flatnonzero(kinds == k)
        index[where] = of_kind[name][rng.integers(len(of_kind[name]), size=len(where))]
    beside = (index + 1) % len(q)
    beside = np.where(clips[beside] == clips[index], beside, index)
    a, b = q[index], q[beside]
    b = b * np.where((a * b).sum(-1, keepdims=True) < 0, -1, 1)
    between = a + rng.random((n, 1, 1)).astype(np.float32) * (b - a)
    flip = rng.random(n) < 0.5
    between[flip] = between[flip][:, MIRROR] * np.array([1, -1, -1, 1], np.float32)
    spread = SPREAD[:, None] * rng.gamma(2, 0.5, (n, 1, 1))
    return matrix_to_euler(quaternion_to_matrix(between)) + rng.standard_normal((n, NUM_JOINTS, 3)) * spread


def quaternion_to_matrix(q: np.ndarray) -> np.ndarray:
    """(..., 4) x, y, z, w of any length -> (..., 3, 3)."""
    x, y, z, w = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - z * w),
        2 * (x * z + y * w),
        2 * (x * y + z * w),
        1 - 2 * (x * x + z * z),
        2 * (y * z - x * w),
        2 * (x * z - y * w),
        2 * (y * z + x * w),
        1 - 2 * (x * x + y * y),
    ]
    return np.stack(rows, -1).reshape(*q.shape[:-1], 3, 3)


def matrix_to_euler(m: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 3) degrees with m = Rx Ry Rz: the inverse of `poses.euler_to_matrix`."""
    x = np.arctan2(-m[..., 1, 2], m[..., 2, 2])
    y = np.arctan2(m[..., 0, 2], np.hypot(m[..., 0, 0], m[..., 0, 1]))
    # With x known, y and z follow without the singularity's ambiguity: Rx^T m = Ry Rz
    c, s = np.cos(x), np.sin(x)
    z = np.arctan2(c * m[..., 1, 0] + s * m[..., 2, 0], c * m[..., 1, 1] + s * m[..., 2, 1])
    return np.degrees(np.stack([x, y, z], -1))
