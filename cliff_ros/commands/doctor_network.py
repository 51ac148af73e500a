"""``cliff doctor --network``: what this machine hears, as a table, with the likely fault marked."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cliff_ros.errors import InputError
from cliff_ros.files import write_json

_RED, _FAINT = 31, 2
_MOST_FRAMES = 60  # lines of the tree


def run_network(seconds: float, report: Path | None) -> int:
    """Listen, and say what was heard. 1 if something is likely wrong."""
    if not 0.5 <= seconds <= 600:
        raise InputError('--seconds must be 0.5 to 600.')
    try:
        from cliff_ros.ros.network.faults import faults
        from cliff_ros.ros.network.listen import listen
    except ImportError as error:
        raise InputError(f'Listening needs ROS 2 ({error}): source your workspace; cliff doctor tells more.') from error
    from tqdm import tqdm

    with tqdm(total=100, desc='listening', bar_format='{desc} {bar:30}', disable=not sys.stderr.isatty()) as bar:
        heard = listen(seconds, lambda fraction: bar.update(round(100 * fraction) - bar.n))
    found = faults(heard)
    print(render(heard, found, sys.stdout.isatty()))
    if report:
        content = asdict(heard)
        content['parents'] = {child: sorted(parents) for child, parents in heard.parents.items()}
        for topic in content['topics'].values():
            topic['frames'] = sorted(topic['frames'])
        write_json(report, content | {'faults': [asdict(fault) for fault in found]})
    return 1 if found else 0


def render(heard: Any, found: list, color: bool = False) -> str:
    """The table, the tree of frames, and the faults in words."""
    from cliff_ros.ros.network.heard import kind

    marked = {fault.where for fault in found}
    lines = [f'\n{len(heard.nodes)} nodes: {", ".join(sorted(set(heard.nodes))) or "none"}', '']
    rows = [('topic', 'type', 'from', 'to', 'QoS', 'Hz', 'size', 'age', 'frame')]
    for name, topic in sorted(heard.topics.items()):
        ages = sorted(topic.ages)
        rows.append(
            (
                name,
                topic.type.replace('/msg/', '/'),
                str(len(topic.publishers)),
                str(len(topic.subscribers)),
                ' / '.join(sorted({kind(publisher) for publisher in topic.publishers})),
                f'{topic.received / heard.seconds:.1f}' if topic.listened else '-',
                _size(topic.mean_size) if topic.received else '',
                f'{1e3 * ages[len(ages) // 2]:.0f} ms' if ages else '',
                ', '.join(sorted(topic.frames)),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        bad = number > 0 and row[0] in marked
        text = '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        lines.append(_paint(f'{"!!" if bad else "  "} {text}', _RED if bad else (0 if number else _FAINT), color))
    lines += ['', *_tree(heard, marked, color)]
    for fault in found:
        lines.append(_paint('!! ', _RED, color) + fault.sentence)
    if not found:
        lines.append('Nothing is likely wrong with what was heard.')
    return '\n'.join(lines)


def _tree(heard: Any, marked: set[str], color: bool) -> list[str]:
    """Frames below each other."""
    below: dict[str, list[str]] = {}
    for child, parents in heard.parents.items():
        for parent, _ in parents:
            below.setdefault(parent, []).append(child)
    roots = sorted(set(below) - set(heard.parents))
    lines: list[str] = [f'{len(heard.parents)} frames'] if below else ['no frames on /tf']

    def show(frame: str, depth: int, path: frozenset[str]) -> None:
        bad = frame in marked
        lines.append(_paint(f'{"!!" if bad else "  "} {"  " * depth}{frame}', _RED if bad else 0, color))
        for child in sorted(below.get(frame, ())):
            if child not in path and len(lines) <= _MOST_FRAMES:
                show(child, depth + 1, path | {child})

    for root in roots:
        show(root, 0, frozenset({root}))
    if len(lines) > _MOST_FRAMES:
        lines.append('   ...')
    return [*lines, '']


def _size(size: float) -> str:
    for unit in ('B', 'kB'):
        if size < 1000:
            return f'{size:.0f} {unit}'
        size /= 1000
    return f'{size:.1f} MB'


def _paint(text: str, code: int, color: bool) -> str:
    return f'\033[{code}m{text}\033[0m' if color and code else text
