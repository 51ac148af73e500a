"""What the core says by ``logging`` (it knows no ROS) reaches the node's log and diagnostics."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_CORE = logging.getLogger('cliff_ros')


class _Router(logging.Handler):
    """Gives each warning to the node in whose worker's thread it was made."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.bridges: dict[int, CoreLog] = {}

    def emit(self, record: logging.LogRecord) -> None:
        bridges = dict(self.bridges)
        bridge = None if record.thread is None else bridges.get(record.thread)
        if bridge is None and len(bridges) == 1:  # a thread of a library: whose, is clear
            bridge = next(iter(bridges.values()))
        if bridge is not None:
            try:
                bridge.hear(record)
            except Exception:
                self.handleError(record)
        elif logging.lastResort is not None and not logging.root.handlers:
            logging.lastResort.handle(record)  # as if we were not there


_router = _Router()
_lock = threading.Lock()


class CoreLog:
    """Passes on what the core warns of in one thread, as long as it is open.

    complain: gets a kind, which is a place in our source, and the warning as a sentence.
    """

    def __init__(self, thread: int, complain: Callable[[str, str], None]) -> None:
        self._thread = thread
        self._complain = complain

    def open(self) -> None:
        """Begin to pass on warnings; another that is opened later for the same thread takes over."""
        with _lock:
            _router.bridges = {**_router.bridges, self._thread: self}
            if _router not in _CORE.handlers:
                _CORE.addHandler(_router)

    def close(self) -> None:
        """Pass on no more; after the last one is closed the core logs as before."""
        with _lock:
            _router.bridges = {thread: bridge for thread, bridge in _router.bridges.items() if bridge is not self}
            if not _router.bridges:
                _CORE.removeHandler(_router)

    def hear(self, record: logging.LogRecord) -> None:
        """Complain about one record; its kind is the module and line that logged it."""
        text = record.getMessage()
        ending = '' if text.endswith(('.', '!', '?')) else '.'
        self._complain(f'core: {record.module}:{record.lineno}', f'{text[:1].upper()}{text[1:]}{ending}')
