"""``/diagnostics``: is it running, how fast, on what; and if not, what is missing and how to fix it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_msgs.msg import Header

from cliff_ros.ros.runtime.complaints import Complaints

WINDOW = 10.0  # [s] over which rates and percentiles are taken
RECENT = 1.25  # [s] a complaint counts after it occurred last
LOOK = 0.25  # [s] between looks: what is new is published at once, what is not when its time has come
MOST_SENTENCES = 8  # in the status itself


class Rate:
    """How often something happened lately. Filled by one thread, read by another."""

    def __init__(self) -> None:
        self._events: deque[tuple[float, float]] = deque(maxlen=2000)

    def add(self, value: float = 0.0) -> None:
        """It happened just now; ``value`` is what `recent` gives back, such as a latency [ms]."""
        self._events.append((time.monotonic(), value))

    def recent(self) -> tuple[float, np.ndarray]:
        """(events per second, their values)."""
        now = time.monotonic()
        events = [event for event in list(self._events) if event[0] >= now - WINDOW]
        if len(events) < 2:
            return 0.0, np.array([value for _, value in events])
        rate = (len(events) - 1) / max(now - events[0][0], 1e-3)
        return rate, np.array([value for _, value in events])


@dataclass(frozen=True)
class State:
    """What the node knows of itself.

    failure: why it could not be configured or activated, or cannot go on. doing: what takes long just now.
    """

    lifecycle: str
    failure: str = ''
    doing: str = ''
    facts: tuple[tuple[str, str], ...] = ()


class Diagnostics:
    """Publishes one status: OK, WARN with what goes wrong now, or ERROR with why nothing runs."""

    def __init__(self, node: Node, complaints: Complaints) -> None:
        self._node = node
        self._complaints = complaints
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.processed = Rate()
        self.people = 0
        self._said: tuple[str, str, frozenset[str]] | None = None  # what was said last, and when
        self._when = 0.0
        self._since = time.monotonic()
        self._heard: float | None = None  # when somebody first listened

    def reset(self) -> None:
        """Forget the rate, the latencies and the number of people: another activation begins."""
        self.processed = Rate()
        self.people = 0

    def publish(self, state: State, period: float = 0.0) -> None:
        """Say it, if that is new or was said ``period`` seconds ago. In the executor's thread."""
        now = time.monotonic()
        if self._heard is None and self._publisher.get_subscription_count():
            self._heard = now
        # What was said before anybody listened is said to those who came.
        at_start = self._heard is None or now - self._heard < RECENT
        recent = self._complaints.recent(now - self._since if at_start else RECENT)
        says = (state.lifecycle, state.failure, frozenset(c.kind for c in recent))
        if says == self._said and now - self._when < period - LOOK / 2:
            return
        self._said, self._when = says, now
        rate, latencies = self.processed.recent()
        if state.failure:
            level, message = DiagnosticStatus.ERROR, state.failure
        elif recent:
            level, message = DiagnosticStatus.WARN, ' | '.join(c.sentence for c in recent[:MOST_SENTENCES])
        elif state.lifecycle != 'active':
            level, message = DiagnosticStatus.OK, ': '.join(filter(None, (state.lifecycle, state.doing)))
        else:
            level, message = DiagnosticStatus.OK, f'{self.people} people, {rate:.1f} images/s'
        values = [('lifecycle', state.lifecycle), ('images per second', f'{rate:.2f}'), ('people', str(self.people))]
        if len(latencies):
            p50, p95 = np.percentile(latencies, (50, 95))
            values += [('latency p50 [ms]', f'{p50:.1f}'), ('latency p95 [ms]', f'{p95:.1f}')]
        last = self._complaints.last()
        if last:
            ago = time.monotonic() - last.when
            values.append(('last complaint', f'{last.sentence} ({last.count} times, last {ago:.0f} s ago)'))
        values += [(f'count of {c.kind}', str(c.count)) for c in sorted(self._complaints.all(), key=lambda c: c.kind)]
        values += state.facts
        name = self._node.get_fully_qualified_name()
        header = Header(stamp=self._node.get_clock().now().to_msg())
        status = DiagnosticStatus(
            level=level,
            name=f'{name[1:]}: people from images',
            message=message,
            hardware_id=name,
            values=[KeyValue(key=k, value=v) for k, v in values],
        )
        self._publisher.publish(DiagnosticArray(header=header, status=[status]))
