"""Where the time of one image goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """Measures one image's way through some stages.

    start: time.perf_counter() when it began; now, by default. ``stages``: name -> ms, of those that ended.
    """

    def __init__(self, start: float | None = None) -> None:
        self._start = perf_counter() if start is None else start
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures what happens inside."""
        begin = perf_counter()
        yield
        self.stages[name] = 1e3 * (perf_counter() - begin)

    @property
    def total(self) -> float:
        """Since it began [ms]."""
        return 1e3 * (perf_counter() - self._start)
