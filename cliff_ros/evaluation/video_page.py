"""What came of a recording, as a page for people: how many, how fast, how steady, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cliff_ros.render.page import Chart, Page, Pictures, Table

_PARTS = 24  # of a recording, in the chart over time
_STEADINESS = {
    'mesh_box_iou_median': 'boxes of mesh and detector overlap (IoU)',
    'joint_step_mm_median': 'joints move about the pelvis from frame to frame [mm]',
}


def video_page(report: dict[str, Any], counts: Sequence[int], pictures: tuple[list[np.ndarray], list[str]]) -> Page:
    """report: of ``cliff video``; counts: people in each frame; pictures of one size, and their captions."""
    seen, stages = report['plausibility'], report['stage_ms']
    page = Page(
        f'cliff video: {report["source"]}',
        f'{report["frames"]} frames, {report["fps"]:.1f} frames/s, engine {report["engine"]}, model {report["model"]}',
    )
    parts = [part for part in np.array_split(np.asarray(counts), min(_PARTS, max(1, len(counts)))) if len(part)]
    starts = np.cumsum([0, *map(len, parts)])
    page.add(Chart('People per frame', [f'from {i}' for i in starts[:-1]], [float(part.mean()) for part in parts]))
    page.add(Chart('Time by stage, median', list(stages), [stage['p50'] for stage in stages.values()], 'ms'))
    heights = seen['body_height_m']
    rows = [[name, str(seen['frames_per_id'][name]), f'{height:.2f}'] for name, height in heights.items()]
    page.add(Table('Everybody who was followed', ['id', 'frames', 'height at rest [m]'], rows))
    known = {label: seen[key] for key, label in _STEADINESS.items() if seen[key] is not None}
    page.add(Table('Plausibility', ['', ''], [[label, f'{value:.3g}'] for label, value in known.items()]))
    page.add(Pictures('Pictures', *pictures))
    return page
