"""One person, once: detectors give two boxes of different size to somebody, the network sees the same joints twice."""

from __future__ import annotations

import numpy as np

SAME = 0.15  # mean distance of the joints of two answers about one person, in heights of the larger


def same_as(joints2d: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """(N,) int: who each one is, so that nobody is there twice: of two that are the same, the one of higher rank.

    joints2d: (N, J, 2) [px]; who cannot be projected (NaN) is nobody's double. rank: (N,).
    """
    who = np.arange(len(joints2d))
    if len(joints2d) < 2:
        return who
    heights = np.ptp(joints2d[..., 1], axis=1)
    apart = np.linalg.norm(joints2d[:, None] - joints2d[None], axis=-1).mean(-1)
    same = apart < SAME * np.maximum(heights[:, None], heights[None])
    order = np.argsort(-rank, kind='stable')
    for place, i in enumerate(order):
        if who[i] == i:
            later = order[place + 1:]
            who[later[same[i, later] & (who[later] == later)]] = i
    return who
