"""Who is there twice, and who cannot be there at all.

Detectors give two boxes of different size to somebody, and the network sees the same joints twice; or they give one to
a part of somebody, in which the network sees a whole person, small and far away, who would be hidden.
"""

from __future__ import annotations

import numpy as np

from cliff_ros.arrays import Floats, Rows
from cliff_ros.body.names import PARENTS

# What two looks at one person differ by at most, each alone: the mean distance of the joints in the image, in heights
# of the larger, and the logarithm of the distance. In 1,400 rendered images (`cliff evaluate`'s, seeds 1 to 3) people
# were found twice 42 times with joints within 0.15; of these 37 had distances within 0.15, the others 0.19 to 0.41.
# No two people had joints within 0.26.
SAME, SAME_DISTANCE = 0.15, 0.25
BEHIND = 1.1  # times as far away as somebody is who can only be behind them
HIDDEN = 0.9  # share of the joints behind somebody else by which a person cannot be seen
# [m] about the bone that ends in each joint (the first one has none), for most people: what they hide.
THICK = np.array(
    [
        0.17,
        0.15,
        0.15,
        0.17,
        0.10,
        0.10,
        0.17,
        0.09,
        0.09,
        0.17,
        0.08,
        0.08,
        0.14,
        0.14,
        0.14,
        0.16,
        0.13,
        0.13,
        0.09,
        0.09,
        0.08,
        0.08,
        0.08,
        0.08,
    ]
)
_PARENTS = PARENTS[1:]


def same_as(joints2d: Floats, distance: Floats, rank: Floats) -> Rows:
    """(N,) int: who each one is, so that nobody is there twice: of two that are the same, the one of higher rank.

    joints2d: (N, J, 2) [px]; who cannot be projected (NaN) is nobody's double. distance: (N,) [m]; equal poses at
    different distances are two people. rank: (N,).
    """
    who = np.arange(len(joints2d))
    if len(joints2d) < 2:
        return who
    heights = np.ptp(joints2d[..., 1], axis=1)
    apart = np.linalg.norm(joints2d[:, None] - joints2d[None], axis=-1).mean(-1)
    apart /= np.maximum(heights[:, None], heights[None])
    deep = np.log(distance)
    same = (apart / SAME) ** 2 + ((deep[:, None] - deep[None]) / SAME_DISTANCE) ** 2 < 1
    order = np.argsort(-rank, kind='stable')
    for place, i in enumerate(order):
        if who[i] == i:
            later = order[place + 1 :]
            who[later[same[i, later] & (who[later] == later)]] = i
    return who


def is_hidden(joints2d: Floats, distance: float, others2d: Floats, others: Floats, focal: float) -> bool:
    """Whether somebody cannot be seen, because one of others is before all of them.

    joints2d: (24, 2) [px] and distance [m] of somebody; others2d: (N, 24, 2) and others: (N,) of others; focal [px].
    """
    low, high = joints2d.min(0), joints2d.max(0)
    for their, near in zip(others2d, others, strict=True):
        if distance < BEHIND * near:
            continue
        radius = THICK * (focal / near)
        if (low < their.min(0) - radius[0]).any() or (high > their.max(0) + radius[0]).any():
            continue
        start = their[_PARENTS]
        bone, to = their[1:] - start, joints2d[:, None] - start
        along = np.clip((to * bone).sum(-1) / np.maximum((bone * bone).sum(-1), 1e-9), 0, 1)
        apart = np.linalg.norm(to - along[..., None] * bone, axis=-1)
        if (apart < radius[1:]).any(1).mean() >= HIDDEN:
            return True
    return False
