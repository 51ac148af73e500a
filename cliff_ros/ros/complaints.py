"""What is wrong and what to do about it: one sentence each, in the log and in the diagnostics."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Complaint:
    kind: str
    sentence: str
    when: float   # time.monotonic() of its latest occurrence
    count: int


class Complaints:
    """Logs each kind of complaint once, then at most every ``PERIOD`` seconds; remembers the latest.

    May be used from any thread.
    """

    PERIOD = 10.0

    def __init__(self, logger) -> None:
        self._logger = logger
        self._logged: dict[str, float] = {}
        self._latest: dict[str, Complaint] = {}

    def __call__(self, kind: str, sentence: str) -> None:
        """Complain; the same ``kind`` is not logged again for a while, whatever the sentence."""
        now = time.monotonic()
        before = self._latest.get(kind)
        self._latest[kind] = Complaint(kind, sentence, now, before.count + 1 if before else 1)
        if now - self._logged.get(kind, -self.PERIOD) >= self.PERIOD:
            self._logged[kind] = now
            self._logger.warning(sentence)

    def recent(self, seconds: float) -> list[Complaint]:
        """The complaints that occurred in the last seconds, newest first."""
        since = time.monotonic() - seconds
        return sorted((c for c in list(self._latest.values()) if c.when >= since), key=lambda c: -c.when)

    def last(self) -> Complaint | None:
        return max(list(self._latest.values()), key=lambda c: c.when, default=None)
