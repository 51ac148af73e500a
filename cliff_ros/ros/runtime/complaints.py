"""What is wrong and what to do about it: one sentence each, in the log and in the diagnostics."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from cliff_ros.errors import CliffError


class Log(Protocol):
    """Of a node."""

    def warning(self, message: str, /) -> object:
        """Write a line."""


@dataclass(frozen=True)
class Complaint:
    """One kind of complaint: its sentence, and how often it was made."""

    kind: str
    sentence: str
    when: float  # time.monotonic() of its latest occurrence
    count: int


class Complaints:
    """Logs each kind of complaint once, and again as long as it goes on, but ever less often; remembers the latest.

    ``PERIOD`` [s] passes before the first repetition, then twice as long each time, up to ``LONGEST_PERIOD``. After
    as long without it, a kind counts as new.

    May be used from any thread. A kind is a name of our own, never text from a message: whoever sends us something
    could fill the log otherwise. ``MOST_KINDS`` and ``LONGEST`` bound memory and diagnostics whatever happens.
    """

    PERIOD, LONGEST_PERIOD = 10.0, 640.0
    MOST_KINDS = 100
    LONGEST = 1000

    def __init__(self, logger: Log) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._due: dict[str, tuple[float, float]] = {}  # when to log a kind again, and the period after that
        self._latest: dict[str, Complaint] = {}

    def __call__(self, kind: str, sentence: str) -> None:
        """Complain; the same ``kind`` is not logged again for a while, whatever the sentence."""
        sentence = harmless(sentence, self.LONGEST)
        now = time.monotonic()
        with self._lock:
            if kind not in self._latest and len(self._latest) >= self.MOST_KINDS:
                kind = 'others'
            before = self._latest.get(kind)
            self._latest[kind] = Complaint(kind, sentence, now, before.count + 1 if before else 1)
            due, period = self._due.get(kind, (now, self.PERIOD))
            log = now >= due
            if log:
                if now - due > self.LONGEST_PERIOD:
                    period = self.PERIOD
                self._due[kind] = now + period, min(2 * period, self.LONGEST_PERIOD)
        if log:
            self._logger.warning(sentence)

    def failure(self, what: str, error: Exception) -> None:
        """Complain about something that cannot be used (CliffError), or about an error of our own."""
        if isinstance(error, CliffError):
            self(f'refused: {error.code or _origin(error)}', f'{what} refused: {sentence_of(error)}')
        else:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self(
                f'failed: {_origin(error)}',
                (
                    f'{what} could not be processed because of an error in cliff_ros ({where.name}, line '
                    f'{where.lineno}: {type(error).__name__}: {error}); please report it.'
                ),
            )

    def recent(self, seconds: float) -> list[Complaint]:
        """The complaints that occurred in the last seconds, newest first."""
        since = time.monotonic() - seconds
        return sorted((c for c in self.all() if c.when >= since), key=lambda c: -c.when)

    def last(self) -> Complaint | None:
        """The complaint that occurred latest; None if there was none."""
        return max(self.all(), key=lambda c: c.when, default=None)

    def all(self) -> list[Complaint]:
        """The latest complaint of every kind."""
        with self._lock:
            return list(self._latest.values())


def sentence_of(error: Exception) -> str:
    """The error's message (its type, if that is empty) with a capital at the beginning and a period at the end."""
    text = str(error).strip() or type(error).__name__
    return text[0].upper() + text[1:] + ('' if text.endswith('.') else '.')


def shortened(value: object, longest: int = 40) -> str:
    """A value from outside as it may stand in a sentence: as in Python, text quoted, and not longer than a name."""
    if isinstance(value, str):
        return repr(value if len(value) <= longest else f'{value[:longest]}...')
    # An array may have millions of values.
    text = repr(list(islice(value, longest)) if isinstance(value, Iterable) else value)
    return text if len(text) <= longest else f'{text[:longest]}...'


def harmless(sentence: str, longest: int = Complaints.LONGEST) -> str:
    """Without control characters, which could forge lines of a log; not longer than that."""
    if len(sentence) > longest:
        sentence = f'{sentence[:longest]}...'
    return sentence if sentence.isprintable() else ''.join(c if c.isprintable() else ' ' for c in sentence)


def _origin(error: Exception) -> str:
    """Where an error was raised, such as ``camera._check:201``: a name for errors that have no code."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    where = frames[-1]
    return f'{Path(where.filename).stem}.{where.name}:{where.lineno}'
