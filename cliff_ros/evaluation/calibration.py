"""Whether probabilities mean what they say: of all that are called 80 % sure, do 80 % come true?"""

from __future__ import annotations

import numpy as np

BINS = 10


def reliability(probabilities: np.ndarray, outcomes: np.ndarray, bins: int = BINS) -> dict[str, list]:
    """The reliability diagram of probabilities (N,) in 0..1 and outcomes (N,) bool, in bins of equal width.

    ``low``, ``high``: edges of each bin, which holds its lower edge (the last one both). ``count``: how many fall into
    it. ``said``, ``came``: their mean probability, and the share that came true; None in an empty bin.
    """
    probabilities, outcomes = np.asarray(probabilities, float), np.asarray(outcomes, float)
    if probabilities.shape != outcomes.shape:
        raise ValueError(f'{len(probabilities)} probabilities do not go with {len(outcomes)} outcomes')
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError('probabilities lie between 0 and 1')
    edges = np.linspace(0, 1, bins + 1)
    place = np.minimum(np.searchsorted(edges, probabilities, side='right') - 1, bins - 1)
    count = np.bincount(place, minlength=bins)
    said, came = (
        [float(total / n) if n else None for total, n in zip(np.bincount(place, values, bins), count, strict=True)]
        for values in (probabilities, outcomes)
    )
    return {'low': edges[:-1].tolist(), 'high': edges[1:].tolist(), 'count': count.tolist(), 'said': said, 'came': came}


def expected_calibration_error(probabilities: np.ndarray, outcomes: np.ndarray, bins: int = BINS) -> float:
    """Mean distance of what was said from what came, over bins weighted by how many they hold (Guo et al., ICML 2017).

    0 is right. NaN without any.
    """
    diagram = reliability(probabilities, outcomes, bins)
    gaps = [
        n * abs(said - came)
        for n, said, came in zip(diagram['count'], diagram['said'], diagram['came'], strict=True)
        if n
    ]
    return sum(gaps) / sum(diagram['count']) if gaps else float('nan')
