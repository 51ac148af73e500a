"""A process that died is started again by the launch file; from a file of the launch it knows how often, and waits.

The launch file brings the node up the first time. Later the node does so itself: in the graph the process that died is
still there for some seconds, and a request for a transition may go to it alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cliff_ros.ros.node import CliffNode

VARIABLE = 'CLIFF_ROS_STARTS'  # names the file
BRING_UP = 'CLIFF_ROS_BRING_UP'  # set: to active after a restart
RECENT = 600.0  # [s] in which restarts count for the next delay
LONGEST_DELAY = 60.0  # [s]


@dataclass(frozen=True)
class Restarts:
    """count: since the launch. delay [s]: to wait before anything is loaded. bring_up: whether to, then."""

    count: int = 0
    delay: float = 0.0
    bring_up: bool = False


def note_start(env: Mapping[str, str], now: float | None = None) -> Restarts:
    """Write down that the process starts, and look how often it did."""
    path, now = env.get(VARIABLE), time.time() if now is None else now
    if not path:
        return Restarts()
    starts: list[float] = []
    with suppress(OSError, ValueError):
        starts = [float(line) for line in Path(path).read_text().split()]
    with suppress(OSError), open(path, 'a') as file:  # without it the node runs, too
        file.write(f'{now:.3f}\n')
    recent = sum(0 <= now - start < RECENT for start in starts[1:])  # the first was no restart
    return Restarts(
        len(starts), min(LONGEST_DELAY, 2.0**recent) if recent else 0.0, bool(starts) and bool(env.get(BRING_UP))
    )


def environment(folder: Path, bring_up: bool) -> dict[str, str]:
    """The variables with which a process counts its starts in a folder of its launch."""
    return {VARIABLE: os.fspath(folder / 'starts'), **({BRING_UP: '1'} if bring_up else {})}


def recover(node: CliffNode, spin: Callable[[], None]) -> None:
    """Say that the process before this one died; bring the node up after a while, which is longer each time."""
    number, delay = node.restarts.count, node.restarts.delay

    def is_waiting() -> bool:
        return not node.stop_request and node.lifecycle_state[1] == 'unconfigured'

    node.complain(
        'restarted',
        f'The process of this node ended and was started again, {number} times since the launch: look above for the '
        'cause.',
    )
    end = time.monotonic() + delay
    node.status.begin(f'waiting {delay:.0f} s after restart {number}')
    while time.monotonic() < end and is_waiting():
        spin()
    node.status.end()
    if node.restarts.bring_up and is_waiting():
        node.bring_up()
