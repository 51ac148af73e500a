"""SIGINT and SIGTERM in our programs: heard from the first instruction on, answered only where that is safe.

Python's own answer is a KeyboardInterrupt wherever the program is just then: a traceback while modules are imported,
an abort inside of a C++ library. Ours: as long as nothing needs clearing up, the process just ends (`end_at_once`);
later a node remembers the signal and looks at it where it can stop (`StopRequest`), a training likewise, until a second
one (`asking`), and a command is interrupted once, so that it writes what it has (`interrupting`).

Needs the standard library only, and starts no thread: programs import it before anything else.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPT = int(signal.SIGINT)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 1.2  # [s] for what was begun when somebody asked for the end
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for sign in SIGNALS:
        signal.signal(sign, handler)
    # Our launchers start Python with both blocked: what came before the first instruction is delivered now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end_at_once(status: int | None = None) -> None:
    """From now on a signal ends the process without a word.

    status: of the process; None: 128 + the signal's number, as shells have it.
    """

    def end(sign: int, frame: FrameType | None) -> None:
        os._exit(128 + sign if status is None else status)

    _handle(end)


class StopRequest:
    """Whether somebody asked the process to end. Truthy from the first signal on; further ones change nothing."""

    def __init__(self) -> None:
        self.sign = 0  # the number of the first signal

    def listen(self) -> StopRequest:
        """Take over from `end_at_once`. In the main thread."""

        def remember(sign: int, frame: FrameType | None) -> None:
            self.sign = self.sign or sign

        _handle(remember)
        return self

    def __bool__(self) -> bool:
        return self.sign != 0


@contextmanager
def interrupting() -> Iterator[StopRequest]:
    """The first signal raises KeyboardInterrupt, once; what is being written then is left alone by a second one, and
    the third ends the process. Handlers are put back in the end. In the main thread.
    """
    request, count = StopRequest(), 0

    def interrupt(sign: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count == 1:
            request.sign = sign
            raise KeyboardInterrupt
        if count > 2:
            os._exit(128 + sign)

    with _handled(interrupt):
        yield request


@contextmanager
def asking() -> Iterator[StopRequest]:
    """The first signal is remembered. A second raises KeyboardInterrupt, and so does time: ``PATIENCE`` [s] after the
    first, unless whoever remembers has said that it is `heard`. Handlers are put back in the end. In the main thread.
    """
    request = StopRequest()

    def ask(sign: int, frame: FrameType | None) -> None:
        if request:
            raise KeyboardInterrupt
        request.sign = sign
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def lose_patience(sign: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, lose_patience)
    try:
        with _handled(ask):
            yield request
    finally:
        heard()
        signal.signal(signal.SIGALRM, before)


def heard() -> None:
    """What `asking` remembers is being answered: no impatience any more."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)


@contextmanager
def loading() -> Iterator[StopRequest]:
    """A signal ends the process at once, with 128 + its number: for a time in which nothing is written.

    An interruption while a library is imported becomes whatever error that makes of it, or an abort. Handlers are put
    back in the end. In the main thread.
    """

    def end(sign: int, frame: FrameType | None) -> None:
        if 'multiprocessing' in sys.modules:  # whose processes would look for their parent only when they are up
            for child in sys.modules['multiprocessing'].active_children():
                child.kill()
        os._exit(128 + sign)

    with _handled(end):
        yield StopRequest()


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {sign: signal.getsignal(sign) for sign in SIGNALS}
    _handle(handler)
    try:
        yield
    finally:
        for sign, earlier in before.items():
            signal.signal(sign, earlier)


def leave_interrupts_to_parent() -> None:
    """In a process that another of ours started and ends: Ctrl-C reaches both, and is the other's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_with_parent(sign: int) -> None:
    """Have Linux send this process a signal when the one that started it is gone, however that ended."""
    if sys.platform == 'linux':
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, sign)


def leave(status: int) -> NoReturn:
    """End the process when everything is cleared up.

    Without Python's own farewell, in which threads of libraries that still run (a model that is loading, DDS) meet an
    interpreter that is half gone, and abort.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
