"""What the node says of itself in the diagnostics: its state, why it failed, what takes long."""

from __future__ import annotations

import time
from collections.abc import Iterable

from cliff_ros.ros.runtime.diagnostics import State


class Status:
    """lifecycle: name of the state. failure: why the node could not go on; empty where nothing failed."""

    def __init__(self) -> None:
        self.lifecycle = 'unconfigured'
        self.failure = ''
        self._doing: tuple[str, float] | None = None  # what takes long, and when it began

    def begin(self, what: str) -> None:
        """Something that takes long begins."""
        self._doing = what, time.monotonic()

    def progress(self, done: float, what: str) -> None:
        """What it is busy with, and how much (0..1) is done; in any thread."""
        doing = self._doing
        self._doing = (f'{what}, {done:.0%}' if done else what), doing[1] if doing else time.monotonic()

    def end(self) -> None:
        """It is over."""
        self._doing = None

    def state(self, facts: Iterable[tuple[str, str]]) -> State:
        """All of that, now."""
        doing = self._doing
        seconds = f'{doing[0]} ({time.monotonic() - doing[1]:.0f} s)' if doing else ''
        return State(self.lifecycle, self.failure, seconds, tuple(facts))
