"""Accuracy broken down by where people stand, and a whole report as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cliff_ros.evaluation.score import accuracy

# Edges of the bins; the last bin has no end.
ANGLES = (0, 5, 10, 15, 20, 25, 30, 50)  # [deg]
DISTANCES = (0, 2, 3, 4, 6, 9, 14)  # [m]

# What a person asks for, in that order: label, key, form, factor.
ROWS = (
    ('images', 'frames', '{:.0f}', 1),
    ('people asked for', 'people_true', '{:.0f}', 1),
    ('people found (recall, IoU 0.5)', 'recall', '{:.3f}', 1),
    ('found people who are there (precision)', 'precision', '{:.3f}', 1),
    ('joint error, pelvis aligned (MPJPE)', 'mpjpe_mm', '{:.0f} mm', 1),
    ('joint error, in the image, neck aligned', 'mpjpe_visible_mm', '{:.0f} mm', 1),
    ('joint error, pose only (PA-MPJPE)', 'pa_mpjpe_mm', '{:.0f} mm', 1),
    ('mesh error, pelvis aligned (MPVPE)', 'mpvpe_mm', '{:.0f} mm', 1),
    ('direction they face (root, median)', 'root_rotation_deg_median', '{:.1f} deg', 1),
    ('front taken for back (flips)', 'flip_rate', '{:.1f} %', 100),
    ('place in the room (median)', 'translation_m_median', '{:.2f} m', 1),
    ('joints in the image (median)', 'reprojection_px_median', '{:.1f} px', 1),
    ('  of the box height', 'reprojection_box_fraction_median', '{:.1f} %', 100),
    ('detector, an image (median)', 'detector_ms_median', '{:.1f} ms', 1),
    ('network and body, an image (median)', 'network_ms_median', '{:.1f} ms', 1),
    ('network and body, a crop (median)', 'network_ms_per_crop_median', '{:.1f} ms', 1),
)
_COLUMNS = (
    ('people', 'n', '{:.0f}', 1),
    ('recall', 'recall', '{:.3f}', 1),
    ('MPJPE mm', 'mpjpe_mm', '{:.0f}', 1),
    ('PA mm', 'pa_mpjpe_mm', '{:.0f}', 1),
    ('root deg', 'root_rotation_deg_median', '{:.1f}', 1),
    ('flips %', 'flip_rate', '{:.1f}', 100),
    ('place m', 'translation_m_median', '{:.2f}', 1),
    ('2D % box', 'reprojection_box_fraction_median', '{:.1f}', 100),
)


def by_angle_off_axis(columns: dict[str, np.ndarray]) -> dict[str, dict]:
    """Bins of the angle between the optical axis and the true pelvis, of `Scores.columns`."""
    x, y, z = columns['pelvis'].T
    return _binned(columns, np.degrees(np.arctan2(np.hypot(x, y), z)), ANGLES)


def by_distance(columns: dict[str, np.ndarray]) -> dict[str, dict]:
    """Bins of the distance from the camera to the true pelvis, of `Scores.columns`."""
    return _binned(columns, np.linalg.norm(columns['pelvis'], axis=1), DISTANCES)


def _binned(columns: dict[str, np.ndarray], values: np.ndarray, edges: Sequence[float]) -> dict[str, dict]:
    """'low-high' -> ``n`` true people, ``found``, ``recall`` and the accuracy over those found."""
    table = {}
    for low, high in zip(edges, [*edges[1:], np.inf], strict=True):
        where = (values >= low) & (values < high)
        n, found = int(where.sum()), int(columns['found'][where].sum())
        name = f'{low}-{high}' if np.isfinite(high) else f'{low}+'
        table[name] = {'n': n, 'found': found, 'recall': found / n if n else None, **accuracy(columns, where)}
    return table


def render(report: dict) -> str:
    """The report of `Evaluation` as text: all images and each size, then by angle and distance."""
    sizes = report['by_size'] if len(report['by_size']) > 1 else {}
    lines = [f'  {"":<40}{"all":>12}' + ''.join(f'{size:>12}' for size in sizes)]
    for label, key, form, scale in ROWS:
        lines.append(
            f'  {label:<40}' + ''.join(f'{_cell(of, key, form, scale):>12}' for of in (report, *sizes.values()))
        )
    slope, (low, high) = report['yaw_slope'], report['yaw_slope_interval']
    if slope is not None and low is not None:
        lines += [
            f'  {"yaw error by azimuth (slope)":<40}{slope:>12.3f}   [{low:.3f}, {high:.3f}] (95 %)',
            '    0 is right; -1 is blind to where in the image people stand',
        ]
    for title, table in (('angle off axis, deg', 'by_angle_off_axis'), ('distance, m', 'by_distance')):
        lines += ['', f'  {title:<20}' + ''.join(f'{name:>10}' for name, *_ in _COLUMNS)]
        lines += [
            f'  {name:<20}' + ''.join(f'{_cell(row, key, form, scale):>10}' for _, key, form, scale in _COLUMNS)
            for name, row in report[table].items()
            if row['n']
        ]
    return '\n'.join(lines)


def _cell(of: dict, key: str, form: str, factor: float) -> str:
    value = of.get(key)
    return '-' if value is None else form.format(factor * value)
