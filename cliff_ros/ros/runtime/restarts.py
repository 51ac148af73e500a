"""A process that died is started again by the launch file; from a file of the launch it knows how often, and waits.

The launch file brings the node up the first time. Later the node does so itself: in the graph the process that died is
still there for some seconds, and a request for a transition may go to it alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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
