"""AGORA's measures: who is who by the 2D joints, and errors divided by how many are found (Patel et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_IOU = 0.1


@dataclass(frozen=True)
class Matches:
    """Of one image. pairs: (predicted, true) indices. missed: true ones. false: predicted ones who are nobody."""

    pairs: tuple[tuple[int, int], ...]
    missed: tuple[int, ...]
    false: tuple[int, ...]


def match(predicted: Sequence[np.ndarray], true: Sequence[np.ndarray], valid: Sequence[bool] | np.ndarray) -> Matches:
    """Match people by their 2D joints (24 or more, 2) [px], nearest pair first, if the boxes around the joints overlap.

    Distances are of SMPL's 24 joints, boxes hold all that there are. valid: who of the true ones is asked for.
    Every step of the official procedure is followed, also where it surprises: who is nearest to somebody not asked for
    is a false positive unless another true person is left for them, and every pair that is near but does not overlap
    uses up one prediction.
    """
    valid = np.asarray(valid, bool)
    num_predicted, num_true = len(predicted), len(true)
    taken, used, pairs = np.zeros(num_true, bool), np.zeros(num_predicted, bool), []
    if num_predicted and num_true:
        a, b = (np.array([np.asarray(one, np.float64)[:24, :2] for one in side]) for side in (predicted, true))
        # The official code's distance is the matrix 2-norm of the differences (24, 2), not a sum over the joints.
        distance = np.linalg.norm(a[:, None] - b[None], 2, axis=(2, 3))
        overlap = _overlap(_extents(predicted), _extents(true))
        wasted = 0
        for cell in np.argsort(distance, axis=None, kind='stable').tolist():
            if taken.all() or used.sum() + wasted >= num_predicted:
                break
            i, j = divmod(cell, num_true)
            apart = overlap[i, j] < MIN_IOU
            if not apart and (used[i] or taken[j]):
                continue
            wasted += apart
            if not valid[j]:
                taken[j] = True
            elif not apart:
                used[i] = taken[j] = True
                pairs.append((i, j))
    found = {j for _, j in pairs}
    return Matches(
        tuple(pairs),
        tuple(j for j in range(num_true) if valid[j] and j not in found),
        tuple(np.flatnonzero(~used).tolist()),
    )


def _extents(people: Sequence[np.ndarray]) -> np.ndarray:
    """The boxes (N, 4) around the 2D joints of people."""
    points = [np.asarray(one, np.float64)[:, :2] for one in people]
    return np.array([np.concatenate([one.min(0), one.max(0)]) for one in points])


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU (N, M) of boxes (N, 4) and (M, 4), which hold the pixels at both of their ends."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]) + 1
    shared = np.maximum(sides, 0).prod(-1)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2] + 1).prod(-1) for boxes in (a, b))
    return shared / (area_a[:, None] + area_b[None] - shared)


def summary(
    matches: Sequence[Matches], mpjpe: Sequence[float] | np.ndarray, mve: Sequence[float] | np.ndarray
) -> dict[str, float]:
    """AGORA's table, of the matches of every image and the errors [mm] of everybody who was matched.

    ``f1``, ``precision`` and ``recall`` are rounded to two digits, as the official code does before it divides by
    them; ``nmje_mm`` and ``nmve_mm`` are the errors over F1.
    """
    found = sum(len(one.pairs) for one in matches)
    missed, false = sum(len(one.missed) for one in matches), sum(len(one.false) for one in matches)
    f1 = _rounded(found, found + 0.5 * (false + missed)) if found + missed else 0.0
    joints, vertices = (float(np.mean(values)) if len(values) else float('nan') for values in (mpjpe, mve))
    return {
        'precision': _rounded(found, found + false),
        'recall': _rounded(found, found + missed),
        'f1': f1,
        'mpjpe_mm': joints,
        'mve_mm': vertices,
        'nmje_mm': joints / f1 if f1 else float('nan'),
        'nmve_mm': vertices / f1 if f1 else float('nan'),
    }


def _rounded(part: float, whole: float) -> float:
    return round(part / whole, 2) if whole else 0.0
