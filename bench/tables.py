"""The tables of docs/performance.md, from the reports of `make bench` and `make soak`.

    python -m bench.tables out/bench/report.json out/bench/soak.json [--into docs/performance.md]

With ``--into``, a table takes the place of what stands between ``<!-- name -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

RATIO_BARS = {'embedded_1': 5.0, 'embedded_4': 8.0, 'resnet50_1': 2.5}
FIRST_PERSON_MS, FURTHER_PERSON_MS = 4.0, 1.0
MESH_MS, START_S, GROWTH = 1.5, 3.0, 0.01
_NAMES = {'embedded_1': 'embedded, 1 person', 'embedded_4': 'embedded, 4 people', 'resnet50_1': 'ResNet-50, 1 person'}


def tables(report: dict) -> dict[str, str]:
    """All tables that a report has figures for, as Markdown by name."""
    makers = {
        'machine': ('machine', _machine),
        'versus': ('versus', _versus),
        'stages': ('versus', _stages),
        'our part': ('our_part', _our_part),
        'messages': ('versus', _traffic),
        'allocated': ('our_part', _allocated),
        'rate': ('at_camera_rate', _rate),
        'start': ('start', _start),
    }
    if 'faults_injected' in report:
        return {
            'fault soak machine': _machine(report['machine']),
            'fault soak': _fault_soak(report),
            'faults': _faults(report),
        }
    if 'growth' in report:
        return {'soak machine': _machine(report['machine']), 'soak': _soak(report)}
    return {name: make(report[part]) for name, (part, make) in makers.items() if part in report}


def text(report: dict) -> str:
    """All tables, one after the other."""
    return '\n\n'.join(tables(report).values())


def refresh(document: str, report: dict) -> str:
    """A document with the tables of a report in their places. ValueError where a place is missing."""
    return place(document, tables(report))


def place(document: str, contents: dict[str, str]) -> str:
    """A document with contents, by name, in their places. ValueError where a place is missing."""
    for name, content in contents.items():
        before, begin, after = document.partition(f'<!-- {name} -->\n')
        _, end, rest = after.partition('<!-- end -->')
        if not (begin and end):
            raise ValueError(f"the document has no place for the table '{name}'")
        document = f'{before}{begin}{content}\n{end}{rest}'
    return document


def _soak(report: dict) -> str:
    sizes = report['memory_mb']
    return table(
        ['soak', ''],
        [
            ['duration', f'{report["seconds"] / 60:.0f} min at {report["rate"]:.0f} Hz, {report["people"]} people'],
            ['images answered', f'{report["answered"]} of {report["sent"]}'],
            ['ids given', f'{report["ids"]}'],
            ['share of a core', f'{100 * report["share_of_a_core"]:.0f} %'],
            ['memory at first, at last', f'{sizes[0]:.0f} MB, {sizes[-1]:.0f} MB'],
            ['growth after warm-up', f'{100 * report["growth"]:.2f} %'],
            ['bar [%]', _bar(100 * GROWTH, report['growth'] < GROWTH, '<')],
        ],
    )


def _fault_soak(report: dict) -> str:
    sizes, injected = report['memory_mb'], report['faults_injected']
    return table(
        ['soak with faults', '', 'bar'],
        [
            ['duration', f'{report["seconds"] / 60:.0f} min at {report["rate"]:.0f} Hz, {report["people"]} people', ''],
            ['faults', f'{injected}', ''],
            ['deaths', f'{report["deaths"]}', _bar(0, report['deaths'] == 0, '=')],
            *(
                [what, f'{done} of {of}; {late} later', _bar(of, done == of, '=')]
                for what, done, of, late in (
                    (
                        'named within 2 s',
                        report['faults_named'],
                        report['faults_to_name'],
                        report['named_at_all'] - report['faults_named'],
                    ),
                    (
                        'recovered within 2 s',
                        report['faults_recovered'],
                        injected,
                        report['recovered_at_all'] - report['faults_recovered'],
                    ),
                )
            ),
            ['memory at first, at last', f'{sizes[0]:.0f} MB, {sizes[-1]:.0f} MB', ''],
            [
                'growth after warm-up',
                f'{100 * report["memory_growth"]:.2f} %',
                _bar(100 * GROWTH, report['memory_growth'] < GROWTH, '<') + ' %',
            ],
        ],
    )


def _faults(report: dict) -> str:
    """The slowest of each."""

    def slowest(rows: list[dict], *keys: str) -> str:
        values = [row.get(key) for row in rows for key in keys]
        return 'never' if None in values else f'{max(values):.1f}'

    by_name: dict[str, list[dict]] = {}
    for row in report['rows']:
        by_name.setdefault(row['fault'], []).append(row)
    return table(
        ['fault', 'times', 'named [s]', 'everybody seen [s]', 'sentence gone [s]', 'all well [s]'],
        [
            [
                name,
                len(rows),
                slowest(rows, 'named_s') if 'named_s' in rows[0] else '',
                slowest(rows, 'seen_s'),
                slowest(rows, 'gone_s') if 'gone_s' in rows[0] else '',
                slowest(rows, 'well_s'),
            ]
            for name, rows in sorted(by_name.items())
        ],
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return (
            '| '
            + ' | '.join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            + ' |'
        )

    rule = (
        '|' + '|'.join('-' * (width + 2) if i == 0 else '-' * (width + 1) + ':' for i, width in enumerate(widths)) + '|'
    )
    return '\n'.join([line(cells[0]), rule, *map(line, cells[1:])])


def allowed(people: int) -> float:
    """The most our part of a frame may take [ms]."""
    return FIRST_PERSON_MS + FURTHER_PERSON_MS * (people - 1)


def _machine(machine: dict) -> str:
    load, after = machine['load'], machine.get('load_after', machine['load'])
    versions = ', '.join(f'{name} {number}' for name, number in machine['versions'].items() if number)
    return (
        f'{machine["date"][:10]}, {machine["cores"]} cores of {machine["cpu"]}, load {load[0]:.1f} before and '
        f'{after[0]:.1f} after; Python {machine["python"]}, {versions}'
    )


def _versus(versus: dict) -> str:
    rows = []
    for name, result in versus.items():
        ours, naive = result['ours'], result['naive']
        rows.append(
            [
                _NAMES[name],
                f'{ours["answers_per_second"]:.1f}',
                f'{naive["answers_per_second"]:.2f}',
                f'{ours["latency_ms"]:.0f}',
                f'{naive["latency_ms"]:.0f}',
                f'{result["ratio"]:.1f}',
                _bar(RATIO_BARS[name], result['ratio'] >= RATIO_BARS[name], '>='),
                f'{result["cpu_ratio"]:.1f}',
            ]
        )
    return table(
        ['network, people', 'ours [1/s]', 'naive [1/s]', 'ours [ms]', 'naive [ms]', 'ratio', 'bar', 'CPU time ratio'],
        rows,
    )


def _stages(versus: dict) -> str:
    stages = {name: result['ours']['stages_ms'] for name, result in versus.items()}
    first = next(iter(stages.values()))
    return table(
        ['stage [ms]', *(_NAMES[name] for name in stages)],
        [[stage, *(f'{values[stage]:.2f}' for values in stages.values())] for stage in first],
    )


def _our_part(part: dict) -> str:
    rows = [
        [
            people,
            f'{row["ms"]:.1f}',
            f'{row["cpu_ms"]:.1f}',
            f'{row["network_ms"]:.1f}',
            _bar(allowed(int(people)), row['ms'] <= allowed(int(people)), '<='),
            f'{row["mesh_ms_per_person"]:.2f}',
            _bar(MESH_MS, row['mesh_ms_per_person'] <= MESH_MS, '<='),
        ]
        for people, row in part['by_people'].items()
    ]
    line, cpu = part['line']['ms'], part['line']['cpu_ms']
    head = ['people', 'our part [ms]', 'its CPU time [ms]', 'networks [ms]', 'bar', 'mesh per person [ms]', 'bar']
    return table(head, rows) + (
        f'\n\nFitted: {line["a"]:.2f} + {line["b"]:.2f} N ms; CPU time {cpu["a"]:.2f} + {cpu["b"]:.2f} N ms.'
    )


def _traffic(versus: dict) -> str:
    sizes = {name: result['ours']['bytes'] for name, result in versus.items()}
    outputs = next(iter(sizes.values()))
    return table(
        ['message [kB]', *(_NAMES[name] for name in sizes)],
        [[output, *(f'{of[output] / 1e3:.0f}' for of in sizes.values())] for output in outputs],
    )


def _allocated(part: dict) -> str:
    return table(
        ['people', 'most memory allocated at a time for a frame [kB]'],
        [[people, f'{peak / 1e3:.0f}'] for people, peak in part['peak_bytes'].items()],
    )


def _rate(rates: dict) -> str:
    return table(
        ['people', 'rate [Hz]', 'answered', 'share of a core', 'latency [ms]', '95 % within [ms]'],
        [
            [
                name.removeprefix('rate_'),
                f'{row["rate"]:.0f}',
                f'{row["answered"]} of {row["sent"]}',
                f'{100 * row["share_of_a_core"]:.0f} %',
                f'{row["latency_ms"]:.0f}',
                f'{row["latency_p95_ms"]:.0f}',
            ]
            for name, row in rates.items()
        ],
    )


def _start(start: dict) -> str:
    return table(
        ['process start', 's', 'bar'],
        [
            ['to listening', f'{start["listening_s"]:.2f}', ''],
            ['to the first person', f'{start["second_s"]:.2f}', _bar(START_S, start['second_s'] <= START_S, '<=')],
        ],
    )


def _bar(bar: float, met: bool, sign: str) -> str:
    return f'{sign} {bar:g} {"ok" if met else "MISSED"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('reports', nargs='+', type=Path, metavar='REPORT.json')
    parser.add_argument('--into', type=Path, metavar='FILE.md', help='replace the tables in this document')
    args = parser.parse_args()
    for path in args.reports:
        report = json.loads(path.read_text())
        if args.into:
            args.into.write_text(refresh(args.into.read_text(), report))
        else:
            print(text(report), end='\n\n')


if __name__ == '__main__':
    main()
