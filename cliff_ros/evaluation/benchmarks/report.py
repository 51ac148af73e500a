"""A benchmark's figures as a person reads them: ours, the published ones, and the difference."""

from __future__ import annotations

from typing import Any

import numpy as np

from cliff_ros.evaluation.benchmarks.protocols import PROTOCOLS
from cliff_ros.evaluation.benchmarks.published import PUBLISHED, beside
from cliff_ros.evaluation.benchmarks.registry import Benchmark
from cliff_ros.evaluation.benchmarks.run import Result, summarize
from cliff_ros.evaluation.tables import ANGLES, DISTANCES

NAMES = {
    'mpjpe_mm': 'MPJPE [mm]',
    'pa_mpjpe_mm': 'PA-MPJPE [mm]',
    'pve_mm': 'PVE [mm]',
    'mve_mm': 'MVE [mm]',
    'pa_mve_mm': 'PA-MVE [mm]',
    'mpjae_deg': 'MPJAE [deg]',
    'mpjae_pa_deg': 'PA-MPJAE [deg]',
    'jitter_10m_s3': 'jitter [10 m/s3]',
    'pck_percent': 'PCK at 50 mm [%]',
    'auc': 'AUC',
    'nmje_mm': 'NMJE [mm]',
    'nmve_mm': 'NMVE [mm]',
    'f1': 'F1',
    'error_box_percent': 'error [% of box]',
    'pck5_percent': 'PCK at 5 % [%]',
    'pck10_percent': 'PCK at 10 % [%]',
}


def report(benchmark: Benchmark, result: Result, model: str, dialect: str) -> dict[str, Any]:
    """All figures as JSON has them; the published row and how far ours is from it."""
    figures = summarize(benchmark, result)
    first = figures.get(benchmark.protocols[0], {}) | figures.get('agora', {})
    row = beside(benchmark.name, model, dialect)
    return {
        'people': len(result.people['person']) if result.people else 0,
        'people_lost': result.lost,
        'protocols': {
            name: {'text': PROTOCOLS[name].text} | values for name, values in figures.items() if name in PROTOCOLS
        },
        'agora': figures.get('agora'),
        'published': [
            {'name': one.name, 'source': one.source, **one.figures} for one in PUBLISHED.get(benchmark.name, ())
        ],
        'beside': None
        if row is None
        else {
            'name': row.name,
            'source': row.source,
            'same_network': row.fits == (model, dialect),
            'difference': {
                name: first[name] - value for name, value in row.figures.items() if first.get(name) is not None
            },
        },
        'by_angle_off_axis': _binned(benchmark, result, 'off_axis_deg', ANGLES),
        'by_distance': _binned(benchmark, result, 'distance_m', DISTANCES),
    }


def _binned(benchmark: Benchmark, result: Result, by: str, edges: tuple[float, ...]) -> dict[str, dict[str, Any]]:
    """'low-high' -> n and the means of the first protocol."""
    if not result.people:
        return {}
    columns, table = result.columns[benchmark.protocols[0]], {}
    for low, high in zip(edges, [*edges[1:], np.inf], strict=True):
        where = (result.people[by] >= low) & (result.people[by] < high)
        if where.any():
            name = f'{low}-{high}' if np.isfinite(high) else f'{low}+'
            table[name] = {'n': int(where.sum())} | {
                key: float(np.nanmean(values[where])) for key, values in columns.items() if values.ndim == 1
            }
    return table


def render(found: dict[str, Any]) -> str:
    """The report as text."""
    lines = []
    rows = found['published']
    for name, values in found['protocols'].items():
        lines += ['', f'  {name}: {values["text"]}']
        keys = [key for key in NAMES if values.get(key) is not None]
        lines.append(f'    {"":<32}' + ''.join(f'{NAMES[key]:>18}' for key in keys))
        lines.append(f'    {"this network":<32}' + ''.join(f'{values[key]:>18.2f}' for key in keys))
        if name != next(iter(found['protocols'])):
            continue
        lines += [
            f'    {row["name"]:<32}' + ''.join(f'{row[key]:>18.2f}' if key in row else f'{"-":>18}' for key in keys)
            for row in rows
        ]
        if found['beside']:
            off = found['beside']['difference']
            whose = 'the same network' if found['beside']['same_network'] else 'another network'
            lines.append(
                f'    {"difference":<32}'
                + ''.join(f'{off[key]:>+18.2f}' if key in off else f'{"-":>18}' for key in keys)
                + f'   from {found["beside"]["name"]} ({whose})'
            )
    if found['agora']:
        known = [f'{NAMES.get(key, key)} {value:.2f}' for key, value in found['agora'].items() if value is not None]
        lines += ['', f'  AGORA: {", ".join(known)}']
    for title, key in (('angle off axis, deg', 'by_angle_off_axis'), ('distance, m', 'by_distance')):
        if found[key]:
            first = next(iter(found[key].values()))
            keys = [name for name in NAMES if name in first]
            lines += ['', f'  {title:<20}{"people":>10}' + ''.join(f'{NAMES[name]:>18}' for name in keys)]
            lines += [
                f'  {name:<20}{row["n"]:>10}' + ''.join(f'{row[key]:>18.1f}' for key in keys)
                for name, row in found[key].items()
            ]
    if found['people_lost']:
        lines += ['', f'  {found["people_lost"]} people got no body and are in no figure']
    return '\n'.join(lines)
