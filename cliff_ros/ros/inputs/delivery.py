"""Subscriptions that ask for what their publishers offer: reliable delivery where all do, best effort otherwise.

Best effort reaches every publisher, but loses images larger than the middleware's shared memory (see middleware.py);
a reliable subscription gets them, and nothing from a best-effort publisher. So the graph is looked at again whenever
publishers come and go, and where the answer changes a second subscription takes over from the first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from cliff_ros.ros.inputs.offers import (
    LATCHED,
    RELIABLE,
    UNKNOWN,
    Wanted,
    choose,
    names_of,
    overrides,
    type_name,
    unmet_policy,
)
from cliff_ros.ros.runtime import qos

_PERIOD = 0.5  # [s] between looks at the graph, beside those that events cause; Humble has no matched event
_SILENCE = 1.0  # [s] without a message after which the old subscription of a silent topic ends
_PATIENCE = 5.0  # [s] in which the new subscription must deliver, and names be known

_BEGINNING = 4096  # bytes
GIANT = 32 << 20  # [bytes] of a message for which room is not kept ...
SMALLER = 15  # ... when so many in a row need less than half of it


@dataclass
class _Handover:
    """While two subscriptions exist: the old one delivers until the first message of the new one."""

    old: Subscription[Any]
    delivered: deque[Any] = field(default_factory=lambda: deque(maxlen=8))  # by the old one, since the new one exists
    since: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)  # when the old one delivered last

    def over(self) -> bool:
        now = time.monotonic()
        return now - self.last >= _SILENCE or now - self.since >= _PATIENCE


class Delivery:
    """One topic's subscription. All methods, and ``callback``, are for the executor's thread."""

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        complain: Callable[[str, str], None],
        *,
        raw: bool = False,
        depth: int = 1,
        reliability: str = 'auto',
        latched: bool = False,
    ) -> None:
        """latched: ask for what was published before the start, where all publishers keep it."""
        self.topic = node.resolve_topic_name(topic)
        self.lost: int | None = 0  # messages lost on the way since ``open``; None where the middleware does not count
        self.wanted = Wanted()
        self._node = node
        self._kind = kind
        self._name = topic
        self._callback = callback
        self._complain = complain
        self._raw, self._depth = raw, depth
        self._reliability, self._latched = reliability, latched
        self._overrides = overrides(node, self.topic)
        self._subscription: Subscription[Any] | None = None
        self._handover: _Handover | None = None
        self._said: tuple[Any, ...] | None = None
        self._unnamed = 0
        self._largest = self._smaller = 0  # bytes of the largest message, and how many of less than half came since

    def open(self) -> None:
        """Subscribe, and from then on follow the publishers."""
        self.wanted = self._choose(self._publishers())
        self._subscription = self._subscribe()
        # Not in the callback of an event itself: its subscription may be destroyed.
        self._look_again = self._node.create_guard_condition(self.look)
        # Steady: with use_sim_time the node's own clock may stand still.
        self._timer = self._node.create_timer(_PERIOD, self.look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.look()

    def close(self) -> None:
        """Unsubscribe and stop following the publishers; nothing happens if it is not open."""
        if self._subscription is None:
            return
        self._finish_handover()
        self._node.destroy_subscription(self._subscription)
        self._subscription = None
        self._node.destroy_timer(self._timer)
        self._node.destroy_guard_condition(self._look_again)

    @property
    def reliable(self) -> bool:
        """Whether lost messages are sent again."""
        return self._subscription is not None and self._subscription.qos_profile.reliability == RELIABLE

    @property
    def fixed_by(self) -> str:
        """The parameter that decides on the reliability in the publishers' stead; empty where none does."""
        override = f'qos_overrides.{self.topic}.subscription.reliability'
        return override if 'reliability' in self._overrides else 'image_reliability' * (self._reliability != 'auto')

    def look(self) -> None:
        """Compare what is asked for with what is offered now."""
        if self._subscription is None:
            return
        if self._handover and self._handover.over():
            self._finish_handover()
        publishers = self._publishers()
        if not publishers:
            return  # whoever comes back is likely to offer the same as before
        wanted = self._choose(publishers)
        if wanted != self.wanted:
            self._finish_handover()
            self.wanted = wanted
            self._handover = _Handover(self._subscription)
            self._subscription = self._subscribe()
        elif (
            self._largest > GIANT
            and self._smaller >= SMALLER
            and self._handover is None
            and wanted.durability != LATCHED
        ):  # which would come a second time
            # The middleware keeps room for the largest message that a topic's subscriptions ever got, as long as there
            # is one: no handover, rather miss an image.
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribe()
        profile = self._subscription.qos_profile
        self._say(publishers, profile)
        self._check(publishers, profile)

    def _choose(self, publishers: list[TopicEndpointInfo]) -> Wanted:
        wanted = choose([info.qos_profile for info in publishers], self._reliability, self._latched)
        # What is overridden stays, whatever is offered: no reason to subscribe anew.
        return Wanted(
            self.wanted.reliability if 'reliability' in self._overrides else wanted.reliability,
            self.wanted.durability if 'durability' in self._overrides else wanted.durability,
        )

    def _publishers(self) -> list[TopicEndpointInfo]:
        """Those that this topic can come from: others are complained about by the watchdog."""
        wanted = type_name(self._kind)
        return [info for info in self._node.get_publishers_info_by_topic(self.topic) if info.topic_type == wanted]

    def _subscribe(self) -> Subscription[Any]:
        profile = QoSProfile(depth=self._depth, reliability=self.wanted.reliability, durability=self.wanted.durability)
        made: list[Subscription[Any]] = []
        self._largest = self._smaller = 0

        def lost(event: Any) -> None:
            if made and made[0] is self._subscription:
                self.lost += event.total_count_change

        def receive(message: Any) -> None:
            self._receive(made[0], message)

        subscription, counts = qos.subscribe(
            self._node,
            self._kind,
            self._name,
            receive,
            profile,
            raw=self._raw,
            overridden=self._overrides,
            lost=lost,
            changed=lambda event: self._look_again.trigger(),
        )
        if not counts:
            self.lost = None
        made.append(subscription)
        return subscription

    def _receive(self, subscription: Subscription[Any], message: Any) -> None:
        if self._raw:
            is_smaller = 2 * len(message) < self._largest
            self._largest, self._smaller = max(self._largest, len(message)), self._smaller + 1 if is_smaller else 0
        handover = self._handover
        if handover is not None:
            if subscription is handover.old:
                handover.delivered.append(_mark(message))
                handover.last = time.monotonic()
            else:
                self._finish_handover()
                if _mark(message) in handover.delivered:
                    return
        elif subscription is not self._subscription:
            return  # was under way when its subscription ended
        self._callback(message)

    def _finish_handover(self) -> None:
        if self._handover is not None:
            self._node.destroy_subscription(self._handover.old)
            self._handover = None

    def _say(self, publishers: list[TopicEndpointInfo], profile: QoSProfile) -> None:
        """Log the choice once, and again when it is another."""
        choice = profile.reliability, profile.durability, self.fixed_by
        if choice == self._said:
            self._unnamed = 0
            return
        if any(info.node_name == UNKNOWN for info in publishers) and self._unnamed < _PATIENCE / _PERIOD:
            self._unnamed += 1  # the middleware learns the names a moment after the publishers
            return
        how = 'reliably' if profile.reliability == RELIABLE else 'with best effort'
        if self.fixed_by:
            why = f'as {self.fixed_by} says'
        else:
            less = [info for info in publishers if info.qos_profile.reliability != RELIABLE]
            why = f'as {names_of(less or publishers)} {"offers" if len(less or publishers) == 1 else "offer"}'
        kept = ', what was published before included' if profile.durability == LATCHED else ''
        now = ' now' if self._said else ''
        self._node.get_logger().info(f"'{self.topic}' is{now} received {how}{kept}, {why}.")
        self._said = choice

    def _check(self, publishers: list[TopicEndpointInfo], profile: QoSProfile) -> None:
        """Complain about publishers that do not offer what is asked for by a parameter."""
        for info in publishers:
            compatible, _ = qos_check_compatible(info.qos_profile, profile)
            if compatible == QoSCompatibility.ERROR:
                policy = unmet_policy(info.qos_profile, profile)
                override = f'qos_overrides.{self.topic}.subscription.{policy}'
                fixed = override if policy in self._overrides else self.fixed_by or override
                self._complain(
                    f'qos {self.topic}',
                    (
                        f"{names_of([info])} offers less on '{self.topic}' than this node asks for ({policy}), so "
                        f'nothing comes from it: the parameter {fixed} asks for too much, leave it out'
                        f'{" or set it to auto" if fixed == "image_reliability" else ""}.'
                    ),
                )


def _mark(message: Any) -> Any:
    """What tells a message from the one before: of a serialized image its header and first pixels, to keep it small."""
    return (len(message), message[:_BEGINNING]) if isinstance(message, bytes) else message
