"""The demo's verdict, as a person reads it: what was measured, against which bar."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

# Bars of the demo. Missing one is shown; only `failure` makes the demo fail, so that a slow machine does not.
_GREEN, _RED, _FAINT = 32, 31, 2


@dataclass(frozen=True)
class Row:
    """One measure. ``within`` is None where there is no bar."""

    label: str
    value: str
    bar: str = ''
    within: bool | None = None


def rows(report: dict) -> list[Row]:
    """The measures of a report in the order in which a person asks for them."""
    sent, processed, rate = report['frames_sent'], report['frames_processed'], report['scene']['rate']
    latency = report['latency_ms']
    return [
        Row('images answered', f'{processed} of {sent}', '>= 95 %', processed >= 0.95 * sent),
        _bar('answers per second', report['rate_hz'], '{:.1f} Hz', '>=', 0.97 * rate),
        _bar('people found (recall, IoU 0.5)', report['recall'], '{:.3f}', '>=', 0.95),
        _bar('found people who are there (precision)', report['precision'], '{:.3f}', '>=', 0.9),
        _bar('joint error, pelvis aligned (MPJPE)', report['mpjpe_mm'], '{:.0f} mm', '<=', 110),
        _plain('joint error, pose only (PA-MPJPE)', report['pa_mpjpe_mm'], '{:.0f} mm'),
        _plain('direction they face (root, median)', report['root_rotation_deg_median'], '{:.1f} deg'),
        _plain('place in the room (median)', report['translation_m_median'], '{:.2f} m'),
        _plain('joints in the image (median)', report['reprojection_px_median'], '{:.1f} px'),
        _bar('  as a fraction of the box height', report['reprojection_box_fraction_median'], '{:.3f}', '<=', 0.05),
        _bar('camera to consumer, half within', latency['p50'], '{:.0f} ms'),
        _bar('camera to consumer, 95 % within', latency['p95'], '{:.0f} ms', '<=', 150),
        _bar('camera to consumer, 99 % within', latency['p99'], '{:.0f} ms'),
        Row('headers altered', f'{report["headers_altered"]}', '0', report['headers_altered'] == 0),
        Row('transforms on /tf', f'{report["tf_received"]}', '> 0', report['tf_received'] > 0),
        Row(
            "  with an image's stamp",
            f'{report["tf_stamps_matched"]}',
            'all',
            report['tf_stamps_matched'] == report['tf_received'],
        ),
        Row('mesh markers', f'{report["markers_received"]}', '> 0', report['markers_received'] > 0),
    ]


def render(report: dict, color: bool | None = None) -> str:
    """The table as text."""
    color = sys.stdout.isatty() if color is None else color
    scene, lines = report['scene'], []
    lines.append(
        f'{scene["width"]}x{scene["height"]} at {scene["rate"]:g} Hz for {scene["seconds"]:g} s, '
        f'{scene["people"]} people, engine {report["engine"]}, {report["cpu_cores"]} CPU cores'
    )
    lines.append(_paint(f'  {"":<40}{"measured":>14}   bar', _FAINT, color))
    for row in rows(report):
        verdict = (
            ''
            if row.within is None
            else _paint('ok' if row.within else 'MISSED', _GREEN if row.within else _RED, color)
        )
        lines.append(f'  {row.label:<40}{row.value:>14}   {row.bar:<10} {verdict}'.rstrip())
    steps = '  '.join(f'{step} {ms["p50"]:.1f}' for step, ms in report['node_ms'].items())
    lines.append(_paint(f'  in the node, median ms: {steps}', _FAINT, color))
    return '\n'.join(lines)


def failure(report: dict) -> str | None:
    """Why the pipeline did not work, in one sentence; None if it did."""
    recall = report['recall'] or 0.0
    checks: list[tuple[bool, str]] = [
        (report['frames_sent'] == 0, 'the camera sent no image'),
        (report['frames_processed'] == 0, 'the node answered none of the images'),
        (report['headers_altered'] > 0, f"{report['headers_altered']} answers do not carry an image's header"),
        (not report['body_received'], 'the latched description of the body (SmplInfo) did not arrive'),
        (report['people_matched'] == 0, 'nobody was found'),
        (recall < 0.5, f'only {100 * recall:.0f} % of the people were found'),
        (report['tf_received'] == 0, 'no transform came on /tf'),
        (report['tf_stamps_matched'] < report['tf_received'], "transforms do not carry their image's stamp"),
        (report['markers_received'] == 0, 'no mesh marker came'),
        (
            report['frames_processed'] < 0.5 * report['frames_sent'],
            f'the node answered only {report["frames_processed"]} of {report["frames_sent"]} images',
        ),
    ]
    return next((sentence for failed, sentence in checks if failed), None)


def _bar(label: str, value: float | None, form: str, relation: str = '', limit: float = 0.0) -> Row:
    if value is None:
        return Row(
            label, 'nothing', f'{relation} {form.format(limit)}' if relation else '', False if relation else None
        )
    if not relation:
        return _plain(label, value, form)
    compare: Callable[[float, float], bool] = {'<=': float.__le__, '>=': float.__ge__}[relation]
    return Row(label, form.format(value), f'{relation} {limit:g}', compare(float(value), float(limit)))


def _plain(label: str, value: float | None, form: str) -> Row:
    return Row(label, 'nothing' if value is None else form.format(value))


def _paint(text: str, code: int, color: bool) -> str:
    return f'\033[{code}m{text}\033[0m' if color else text
