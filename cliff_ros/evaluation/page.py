"""Evaluations as pages for people: error by joint, by angle off the axis, by distance, and the worst images."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from cliff_ros.body import JOINT_NAMES
from cliff_ros.render.page import Chart, Page, Pictures, Table

MOST_PICTURES = 12
_TILE = (480, 360)  # [px] width, height


class Worst:
    """The images with the largest errors, of those that are offered one by one."""

    def __init__(self, most: int = MOST_PICTURES) -> None:
        self._most = most
        self._kept: list[tuple[float, int, np.ndarray, str]] = []

    def wants(self, error: float) -> bool:
        """Whether a picture of that error would be kept: drawing it may be dear."""
        return np.isfinite(error) and (len(self._kept) < self._most or error > self._kept[0][0])

    def add(self, error: float, number: int, picture: np.ndarray, caption: str) -> None:
        """A picture (H, W, 3) uint8 RGB of the image with that number."""
        entry = (error, number, tile(picture), caption)
        (heapq.heappush if len(self._kept) < self._most else heapq.heappushpop)(self._kept, entry)

    def section(self, title: str) -> Pictures:
        """Worst first."""
        kept = sorted(self._kept, key=lambda entry: -entry[0])
        return Pictures(title, [picture for *_, picture, _ in kept], [caption for *_, caption in kept])


def tile(picture: np.ndarray) -> np.ndarray:
    """The picture in the middle of a tile of the common size."""
    height, width = picture.shape[:2]
    scale = min(_TILE[0] / width, _TILE[1] / height)
    small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    found = np.zeros((_TILE[1], _TILE[0], 3), np.uint8)
    top, left = (_TILE[1] - small.shape[0]) // 2, (_TILE[0] - small.shape[1]) // 2
    found[top : top + small.shape[0], left : left + small.shape[1]] = small
    return found


def joints_chart(errors: np.ndarray, title: str = 'Error by joint') -> Chart:
    """Mean error of each of SMPL's joints, of errors (N, 24) [mm]."""
    if not len(errors):
        return Chart(title, [], [])
    means = np.nanmean(errors, 0)
    order = np.argsort(-means)
    return Chart(title, [JOINT_NAMES[j].replace('_', ' ') for j in order], [float(means[j]) for j in order], 'mm')


def bins_chart(title: str, bins: dict[str, dict[str, Any]], key: str = 'mpjpe_mm', unit: str = 'mm') -> Chart:
    """A figure by bins, as `tables` and `benchmarks.report` make them; empty bins are left out."""
    shown = {name: row for name, row in bins.items() if row['n']}
    labels = [f'{name} ({row["n"]})' for name, row in shown.items()]
    return Chart(title, labels, [row.get(key) for row in shown.values()], unit)


def figures_table(title: str, figures: dict[str, Any], names: dict[str, str] | None = None) -> Table:
    """Numbers by name; whatever is none is left out."""
    names = names or {key: key for key in figures}
    known = {key: figures[key] for key in names if isinstance(figures.get(key), (int, float))}
    return Table(title, ['', ''], [[names[key], f'{value:.4g}'] for key, value in known.items()])


def page_of(
    title: str, text: str, tables: Sequence[Table], found: dict[str, Any], errors: np.ndarray, worst: Pictures, key: str
) -> Page:
    """The page of an evaluation. found: the report, with its bins; key: of the figure that is drawn by bins."""
    page = Page(title, text)
    for table in tables:
        page.add(table)
    page.add(joints_chart(errors))
    page.add(bins_chart('Error by angle off the optical axis [deg]', found['by_angle_off_axis'], key))
    page.add(bins_chart('Error by distance [m]', found['by_distance'], key))
    page.add(worst)
    return page
