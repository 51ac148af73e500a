"""``~/timing``: where the time of each image went."""

from __future__ import annotations

import time
from contextlib import contextmanager

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from cliff_ros.msg import Timing


class Stopwatch:
    """Measures one image's way through the worker.

    start: time.perf_counter() when the image reached the node.
    """

    def __init__(self, start: float) -> None:
        self._start = start
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str):
        """Measures what happens inside, in ms."""
        begin = time.perf_counter()
        yield
        self.stages[name] = 1e3 * (time.perf_counter() - begin)

    @property
    def total(self) -> float:
        """Since the image reached the node [ms]."""
        return 1e3 * (time.perf_counter() - self._start)


def timing_message(header: Header, received: Time, started: Time, published: Time, stages: dict[str, float],
                   total: float, people: int, counts: tuple[int, int, int]) -> Timing:
    """stages: name -> ms, as in the fields ``<name>_ms``; counts: frames received, processed, dropped."""
    frames_received, frames_processed, frames_dropped = counts
    return Timing(
        header=header, received=received, started=started, published=published, total_ms=total, people=people,
        frames_received=frames_received, frames_processed=frames_processed, frames_dropped=frames_dropped,
        **{f'{name}_ms': float(ms) for name, ms in stages.items()})
