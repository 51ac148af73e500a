"""The one thread that owns the engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, Generic, TypeVar

from cliff_ros.ros.inputs.mailbox import Mailbox

Item = TypeVar('Item')
Result = TypeVar('Result')


class Worker(Generic[Item]):
    """Runs ``handle(item)`` for the newest item of its mailbox, always in the same thread.

    GPU contexts belong to the thread that made them, so loading goes through ``call`` and
    happens in this thread too. An exception in ``handle`` goes to ``on_error`` and the thread lives on.
    """

    def __init__(self, handle: Callable[[Item], None], on_error: Callable[[Exception], None]) -> None:
        self.mailbox: Mailbox[Item] = Mailbox()
        self._handle = handle
        self._on_error = on_error
        self._calls: deque[tuple[Callable[[], object], Future[Any]]] = deque()
        self._running = True
        # A daemon: a process that is told to stop while a model loads must not wait for it.
        self._thread = Thread(target=self._run, name='cliff_worker', daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int:
        """The thread's threading.get_ident()."""
        ident = self._thread.ident
        assert ident is not None  # it was started
        return ident

    def submit(self, function: Callable[[], Result]) -> Future[Result]:
        """Have ``function`` run in the worker's thread, after what it is doing now."""
        future: Future[Result] = Future()
        self._calls.append((function, future))
        self.mailbox.wake()
        return future

    def call(self, function: Callable[[], Result]) -> Result:
        """Run ``function`` in the worker's thread, after what it is doing now; its result or exception."""
        return self.submit(function).result()

    def drain(self) -> None:
        """Forget what waits in the mailbox and return when the thread is idle."""
        self.mailbox.reset()
        self.call(lambda: None)

    def stop(self, patience: float | None = None) -> None:
        """End the thread after what it is doing now; wait for that at most ``patience`` seconds."""
        self._running = False
        self.mailbox.wake()
        self._thread.join(patience)

    def _run(self) -> None:
        while self._running:
            item = self.mailbox.take()
            while self._calls:
                function, future = self._calls.popleft()
                try:
                    future.set_result(function())
                except Exception as error:
                    future.set_exception(error)
            if item is not None and self._running:
                try:
                    self._handle(item)
                except Exception as error:
                    self._on_error(error)
