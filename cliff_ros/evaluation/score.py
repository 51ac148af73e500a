"""People against people: all measures of a recording with exact truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from cliff_ros.evaluation import metrics
from cliff_ros.people import Person


def score(frames: Iterable[tuple[Sequence[Person], Sequence[Person]]], min_iou: float = 0.5) -> dict:
    """Accuracy over images, each given as (predicted people, true people).

    People are matched by their boxes. Means over all matched people where the field uses means (mm), medians
    where a few outliers would hide the rest; None where there was nothing to measure.
    """
    pairs: list[tuple[Person, Person]] = []
    number_true = number_predicted = 0
    for predicted, true in frames:
        number_predicted, number_true = number_predicted + len(predicted), number_true + len(true)
        pairs += [(predicted[i], true[j]) for i, j in metrics.match(_boxes(predicted), _boxes(true), min_iou)]
    counts = {
        'people_true': number_true, 'people_predicted': number_predicted, 'people_matched': len(pairs),
        'recall': len(pairs) / number_true if number_true else None,
        'precision': len(pairs) / number_predicted if number_predicted else None,
    }
    return counts | (_errors(pairs) if pairs else dict.fromkeys(_NAMES))


def _errors(pairs: Sequence[tuple[Person, Person]]) -> dict[str, float | None]:
    def both(name: str) -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.array([getattr(person, name) for person in side])
                     for side in zip(*pairs, strict=True))

    joints, rotations, joints2d = both('joints'), both('rotations'), both('joints2d')
    roots = [side[:, 0] for side in rotations]
    pixels = metrics.reprojection_error(*joints2d)
    fractions = metrics.box_fraction(pixels, both('box')[1])
    meshes = [(a, b) for a, b in pairs if a.vertices is not None and b.vertices is not None]
    values = (
        metrics.mpjpe(*joints).mean(), metrics.pa_mpjpe(*joints).mean(),
        np.mean([metrics.mpvpe(a.vertices, b.vertices, a.joints[0], b.joints[0]) for a, b in meshes])
        if meshes else None,
        metrics.mpjae(*rotations).mean(),
        np.median(metrics.rotation_error(*roots)), metrics.flip_rate(*roots),
        np.median(metrics.translation_error(*(side[:, 0] for side in joints))),
        np.nanmedian(pixels), np.nanmedian(fractions),
    )
    return {name: None if value is None else float(value) for name, value in zip(_NAMES, values, strict=True)}


_NAMES = ('mpjpe_mm', 'pa_mpjpe_mm', 'mpvpe_mm', 'mpjae_deg', 'root_rotation_deg_median', 'flip_rate',
          'translation_m_median', 'reprojection_px_median', 'reprojection_box_fraction_median')


def _boxes(people: Sequence[Person]) -> np.ndarray:
    return np.array([person.box for person in people]).reshape(-1, 4)
