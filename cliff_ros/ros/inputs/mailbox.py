"""A mailbox with one slot: the newest item wins, what it replaces is counted."""

from __future__ import annotations

import time
from threading import Condition
from typing import Generic, TypeVar

Item = TypeVar('Item')


class Mailbox(Generic[Item]):
    """Hands the newest item from one thread to another.

    A reader that is slower than the writer skips items instead of falling behind, so what it works on is
    never older than one item. ``received`` counts what was put in, ``dropped`` what was replaced unread.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._item: Item | None = None
        self._woken = False
        self.received = 0
        self.dropped = 0

    def put(self, item: Item) -> None:
        """Leave an item for the reader, instead of one that is still unread. Does not wait for the reader."""
        with self._changed:
            self.received += 1
            if self._item is not None:
                self.dropped += 1
            self._item = item
            self._changed.notify()
        time.sleep(0)  # lets go of the interpreter: the reader would get it 0.4 ms later

    def take(self) -> Item | None:
        """Wait for an item and empty the slot; None after ``wake``."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._woken)
            self._woken = False
            item, self._item = self._item, None
            return item

    def wake(self) -> None:
        """Let a waiting ``take`` return, with or without an item."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def reset(self) -> None:
        """Empty the slot and count from zero."""
        with self._changed:
            self._item = None
            self.received = self.dropped = 0
