"""The pipeline on a data set of still images: what it finds, how right it is, how long it takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cliff_ros.evaluation.datasets import Sample
from cliff_ros.evaluation.metrics import yaw_slope
from cliff_ros.evaluation.score import Scores
from cliff_ros.evaluation.tables import by_angle_off_axis, by_distance
from cliff_ros.people import Box, Frame, People
from cliff_ros.pipeline import Pipeline


class Evaluation:
    """Runs images one by one (:meth:`add`), then sums up (:meth:`report`).

    pipeline: without smoothing, since the images have nothing to do with each other.
    true_boxes: give the pipeline the true boxes of those asked for, in place of its detector's.
    """

    def __init__(self, pipeline: Pipeline, true_boxes: bool = False) -> None:
        self.pipeline, self.true_boxes = pipeline, true_boxes
        self.scores = Scores()
        self.last_error = float('nan')  # [mm] of whoever was found worst in the last image
        self._timings: list[tuple[str, int, dict[str, float]]] = []

    def add(self, sample: Sample) -> People:
        """The people whom the pipeline finds in one image."""
        self.pipeline.reset()
        boxes = [Box(person.box) for person in sample.people] if self.true_boxes else None
        people = self.pipeline(Frame(sample.image, sample.camera), boxes)
        before = len(self.scores.joint_errors)
        size = f'{sample.camera.width}x{sample.camera.height}'
        self.scores.add(people, sample.people, sample.ignored, size, sample.camera.size)
        errors = [error.mean() for error in self.scores.joint_errors[before:]]
        self.last_error = float(max(errors, default=np.nan))
        self._timings.append((size, people.num_crops, people.timings))
        return people

    def report(self) -> dict:
        """Counts, accuracy and times; None where there was nothing to measure.

        ``by_size``, ``by_angle_off_axis`` and ``by_distance`` break the same measures down. The network's times
        include the body that it poses and leave out images without a crop.
        """
        columns = self.scores.columns()
        found = columns['found']
        x, _, z = columns['pelvis'][found].T
        slope, low, high = map(_or_none, yaw_slope(columns['yaw_deg'][found], np.degrees(np.arctan2(x, z))))
        return {
            **self._times(),
            **self.scores.summary(),
            'yaw_slope': slope,
            'yaw_slope_interval': [low, high],
            'by_size': {size: self._times(size) | self.scores.summary(size) for size in self.scores.groups},
            'by_angle_off_axis': by_angle_off_axis(columns),
            'by_distance': by_distance(columns),
        }

    def _times(self, size: str | None = None) -> dict[str, float | None]:
        """How many images, of all or one size, and the medians over them."""
        chosen = [(crops, ms) for of, crops, ms in self._timings if size in (None, of)]
        network = [(ms['infer'], crops) for crops, ms in chosen if crops]
        return {
            'frames': len(chosen),
            'detector_ms_median': None if self.true_boxes else _median([ms['detect'] for _, ms in chosen]),
            'network_ms_median': _median([ms for ms, _ in network]),
            'network_ms_per_crop_median': _median([ms / crops for ms, crops in network]),
        }


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if len(values) else None


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
