"""The picture of `bench.thresholds`: reliability diagrams, and found against too many.

python bench/thresholds_figure.py out/thresholds/thresholds.json thresholds.png    # any Python with matplotlib
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt

COLORS = ('#0b6e4f', '#5aa9e6', '#e59500', '#b3001b')


def draw(report: dict, path: Path) -> None:
    """report: of `bench.thresholds`."""
    curves = report['curves']
    rows = 1 + -(-len(curves) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(17, 4 * rows), squeeze=False)
    for axis, (name, one) in zip(axes[0], report['calibration'].items(), strict=False):
        _reliability(axis, one['reliability'], f'{name}: ECE {one["ece"]:.3f}')
    cells = [*axes[1:].flat]
    for axis, (name, of) in zip(cells, curves.items(), strict=False):
        _curves(axis, of, name)
    for axis in (*axes[0][len(report['calibration']) :], *cells[len(curves) :]):
        axis.axis('off')
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _reliability(axis, diagram: dict, title: str) -> None:
    filled = [i for i, n in enumerate(diagram['count']) if n]
    axis.plot([0, 1], [0, 1], color='.6', linewidth=1)
    axis.plot([diagram['said'][i] for i in filled], [diagram['came'][i] for i in filled], 'o-', color=COLORS[0])
    for i in filled:
        axis.annotate(
            str(diagram['count'][i]),
            (diagram['said'][i], diagram['came'][i]),
            fontsize=7,
            xytext=(3, -9),
            textcoords='offset points',
        )
    axis.set(title=title, xlabel='presence', ylabel='share that are people', xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def _curves(axis, curves: dict[str, list[dict]], name: str) -> None:
    """Found over too many; of rooms without people, too many over the threshold."""
    empty = all(point['found'] is None for curve in curves.values() for point in curve)
    for color, (key, curve) in zip((*COLORS, '.3'), curves.items(), strict=False):
        variable = 'score' if key == 'score' else 'presence'
        if empty:
            axis.plot(
                [point[variable] for point in curve],
                [point['too_many'] for point in curve],
                'o-',
                color=color,
                label=key,
                markersize=3,
            )
            continue
        axis.plot(
            [point['too_many'] for point in curve],
            [100 * point['found'] for point in curve],
            'o-',
            color=color,
            label=key,
            markersize=3,
        )
    axis.set(
        title=name,
        xlabel='threshold' if empty else 'too many, a frame',
        ylabel='too many, a frame' if empty else 'found [%]',
    )
    axis.legend(fontsize=7)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('report', type=Path)
    parser.add_argument('picture', type=Path)
    arguments = parser.parse_args()
    draw(json.loads(arguments.report.read_text()), arguments.picture)
