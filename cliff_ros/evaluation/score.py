"""People against people: the errors of each, and what they come to over all or some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from cliff_ros.arrays import Bools, Floats
from cliff_ros.evaluation import metrics
from cliff_ros.people import People, Person

# Column of `Scores` -> key of a summary, and how it gets there. Means where the field uses means (mm), medians
# where a few outliers would hide the rest.
_SUMS: dict[str, tuple[str, Callable[[Floats], np.floating[Any]]]] = {
    'mpjpe_mm': ('mpjpe_mm', np.mean),
    'mpjpe_visible_mm': ('mpjpe_visible_mm', np.mean),
    'pa_mpjpe_mm': ('pa_mpjpe_mm', np.mean),
    'mpvpe_mm': ('mpvpe_mm', np.mean),
    'mpjae_deg': ('mpjae_deg', np.mean),
    'root_rotation_deg': ('root_rotation_deg_median', np.median),
    'yaw_deg': ('flip_rate', lambda errors: np.mean(np.abs(errors) > metrics.FLIP)),
    'translation_m': ('translation_m_median', np.median),
    'reprojection_px': ('reprojection_px_median', np.median),
    'reprojection_box_fraction': ('reprojection_box_fraction_median', np.median),
}


def score(frames: Iterable[tuple[Iterable[Person], Iterable[Person]]], min_iou: float = 0.5) -> dict[str, Any]:
    """Accuracy over images, each given as (predicted people, true people): see `Scores`."""
    scores = Scores(min_iou)
    for predicted, true in frames:
        scores.add(predicted, true)
    return scores.summary()


def accuracy(columns: dict[str, np.ndarray], where: np.ndarray | slice = slice(None)) -> dict[str, float | None]:
    """The errors of `Scores.columns` summed up over some people; None where there was nothing to measure."""
    sums = {}
    for column, (key, statistic) in _SUMS.items():
        values = columns[column][where]
        values = values[np.isfinite(values)]
        sums[key] = float(statistic(values)) if len(values) else None
    return sums


class Scores:
    """Gathers the errors of images, one by one (:meth:`add`), and sums them up.

    People are matched by their boxes, of which at least min_iou must overlap.
    """

    def __init__(self, min_iou: float = 0.5) -> None:
        self.min_iou = min_iou
        self._rows: dict[str, list[Any]] = {name: [] for name in ('group', 'pelvis', 'found', *_SUMS)}
        self._counts: dict[str, Counter[str]] = {}
        self.joint_errors: list[Floats] = []  # (24,) [mm] about the pelvis, of everybody who was found

    def add(
        self,
        predicted: Iterable[Person],
        true: Iterable[Person],
        ignored: npt.ArrayLike = (),
        group: str = '',
        size: tuple[int, int] | None = None,
    ) -> None:
        """One image.

        ignored: (M, 4) boxes of people who are not asked for: a prediction there, of nobody else, is neither
        right nor wrong. group: a name for images that are also summed up on their own. size: (width, height) [px]
        of the image, which says whose joints are in it; None: all are.
        """
        predicted, true, unasked = People.of(predicted), People.of(true), np.asarray(ignored, np.float64)
        pairs = metrics.match(predicted.box, true.box, self.min_iou)
        lost = np.delete(np.arange(len(predicted)), [i for i, _ in pairs])
        self._counts.setdefault(group, Counter()).update(
            predicted=len(predicted),
            ignored=len(unasked),
            left_out=int(metrics.left_out(predicted.box[lost], unasked).sum()),
        )
        errors = _errors(predicted[[i for i, _ in pairs]], true[[j for _, j in pairs]], size)
        for i, j in pairs:
            self.joint_errors.append(metrics.joint_errors(predicted.joints[i], true.joints[j]))
        found = {j: row for row, (_, j) in enumerate(pairs)}
        for j in range(len(true)):
            self._rows['group'].append(group)
            self._rows['pelvis'].append(true.joints[j, 0])
            self._rows['found'].append(j in found)
            for name in _SUMS:
                self._rows[name].append(errors[name][found[j]] if j in found else np.nan)

    @property
    def groups(self) -> list[str]:
        """Their names, in the order in which they came."""
        return list(self._counts)

    def columns(self) -> dict[str, np.ndarray]:
        """A row for each true person.

        ``group`` str; ``pelvis`` (N, 3) [m], true; ``found`` bool; and float, NaN where nobody was found or
        there is nothing to compare: ``mpjpe_mm``, ``mpjpe_visible_mm`` (`metrics.mpjpe_visible`: of the joints in the
        image), ``pa_mpjpe_mm``, ``mpvpe_mm``, ``mpjae_deg``, ``root_rotation_deg``, ``yaw_deg`` (signed),
        ``translation_m``, ``reprojection_px``, ``reprojection_box_fraction``.
        """
        columns = {name: np.array(values, np.float64) for name, values in self._rows.items() if name != 'group'}
        return columns | {
            'group': np.array(self._rows['group'], str),
            'found': columns['found'].astype(bool),
            'pelvis': columns['pelvis'].reshape(-1, 3),
        }

    def summary(self, group: str | None = None) -> dict[str, Any]:
        """Counts, recall, precision and errors over all images, or those of a group.

        ``people_ignored`` are those not asked for; ``people_left_out`` the predictions of them.
        """
        columns = self.columns()
        chosen = self._counts if group is None else {group: self._counts.get(group, Counter())}
        where = np.isin(columns['group'], list(chosen))
        counts = sum(chosen.values(), Counter())
        true, matched = int(where.sum()), int(columns['found'][where].sum())
        judged = counts['predicted'] - counts['left_out']
        return {
            'people_true': true,
            'people_predicted': counts['predicted'],
            'people_matched': matched,
            'people_ignored': counts['ignored'],
            'people_left_out': counts['left_out'],
            'recall': matched / true if true else None,
            'precision': matched / judged if judged else None,
            **accuracy(columns, where),
        }


def _errors(predicted: People, true: People, size: tuple[int, int] | None) -> dict[str, Floats]:
    """Columns of errors of people (N) who are found, against whom they are (N), in an image of that size."""
    if not true:
        return {}
    joints, rotations = (predicted.joints, true.joints), (predicted.rotations, true.rotations)
    pelvis, roots = (predicted.joints[:, 0], true.joints[:, 0]), (predicted.rotations[:, 0], true.rotations[:, 0])
    pixels = metrics.reprojection_error(predicted.joints2d, true.joints2d)
    low, high = (-np.inf, np.inf) if size is None else (-0.5, np.array(size) - 0.5)
    visible: Bools = np.all((true.joints2d > low) & (true.joints2d < high), axis=2)
    return {
        'mpjpe_mm': metrics.mpjpe(*joints),
        'mpjpe_visible_mm': metrics.mpjpe_visible(*joints, visible),
        'pa_mpjpe_mm': metrics.pa_mpjpe(*joints),
        'mpvpe_mm': _vertex_errors(predicted, true),
        'mpjae_deg': metrics.mpjae(*rotations),
        'root_rotation_deg': metrics.rotation_error(*roots),
        'yaw_deg': metrics.yaw_error(*roots),
        'translation_m': metrics.translation_error(*pelvis),
        'reprojection_px': pixels,
        'reprojection_box_fraction': metrics.box_fraction(pixels, true.box),
    }


def _vertex_errors(predicted: People, true: People) -> Floats:
    if predicted.vertices is None or true.vertices is None:
        return np.full(len(true), np.nan)
    return metrics.mpvpe(predicted.vertices, true.vertices, predicted.joints[:, 0], true.joints[:, 0])
