"""Images come faster than they can be worked on: the newest are, and how many are left out is said."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from cliff_ros.ros.inputs.mailbox import Mailbox

WINDOW = 1.0  # [s] over which images are counted
TOO_MANY = 0.4  # of those that came; at twice what can be worked on it is a half
AT_LEAST = 5  # images in the window: fewer say nothing


class Overload:
    """Watches how many images the mailbox lets go."""

    def __init__(self, mailbox: Mailbox[Any], complain: Callable[[str, str], None]) -> None:
        self._mailbox = mailbox
        self._complain = complain
        self._looks: deque[tuple[float, int, int]] = deque(maxlen=1000)  # when, received, dropped

    def check(self, now: float) -> None:
        """Complain where too many are dropped. Call it now and then; now: time.monotonic()."""
        received, dropped = self._mailbox.received, self._mailbox.dropped
        if self._looks and received < self._looks[-1][1]:  # the mailbox was reset
            self._looks.clear()
        goes_on = bool(self._looks) and dropped > self._looks[-1][2]
        self._looks.append((now, received, dropped))
        while len(self._looks) > 1 and self._looks[1][0] <= now - WINDOW:
            self._looks.popleft()
        then, earlier, let_go = self._looks[0]
        came, left_out = received - earlier, dropped - let_go
        if not goes_on or now - then < WINDOW or came < AT_LEAST or left_out < TOO_MANY * came:
            return
        rate = came / (now - then)
        self._complain(
            'overload',
            (
                f'Images come at {rate:.0f} Hz, faster than this node can work on them: {left_out} of the last {came} '
                'were left out, the newest are taken. Lower the rate of the camera, lower max_people, raise '
                'detection_interval, or let another engine or machine run the network.'
            ),
        )
