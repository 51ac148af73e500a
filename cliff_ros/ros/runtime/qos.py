"""Quality of service: inputs ask for what publishers offer (delivery.py), outputs offer what anybody may ask for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks, UnsupportedEventTypeError

Complain = Callable[[str, str], None]
Event = Callable[[Any], None]

_HAS_MATCHED = 'matched' in inspect.signature(SubscriptionEventCallbacks.__init__).parameters  # not in Humble
_ALWAYS_DECLARED = ('history', 'depth')


def reliable(depth: int) -> QoSProfile:
    """Reliable delivery; ``depth`` messages are kept for subscribers that are slow."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """For what is said once: those who come later get it too."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def overridable() -> QoSOverridingOptions:
    """Lets parameters ``qos_overrides.<topic>.<publisher|subscription>.<policy>`` change a profile."""
    return QoSOverridingOptions.with_default_policies()


def subscribe(
    node: Node,
    kind: type,
    topic: str,
    callback: Callable[[Any], None],
    profile: QoSProfile,
    *,
    raw: bool,
    overridden: Collection[str],
    changed: Event,
    lost: Event,
) -> tuple[Subscription[Any], bool]:
    """Subscribe to a topic with a profile that may be another the next time; and whether losses will be told.

    overridden: policies that the user set by ``qos_overrides.<topic>.subscription.<policy>``. Only those become
    parameters, since a parameter that was declared once would win against every later profile.
    changed: called when publishers match, leave, or do not match. lost: called with how many messages got lost.
    """
    options = QoSOverridingOptions(
        [
            policy
            for policy in QoSPolicyKind.__members__.values()
            if policy.name.lower() in (*_ALWAYS_DECLARED, *overridden)
        ]
    )

    def make(**events: Any) -> Subscription[Any]:
        return node.create_subscription(
            kind,
            topic,
            callback,
            profile,
            raw=raw,
            qos_overriding_options=options,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=changed, **events),
        )

    try:
        return make(message_lost=lost, **({'matched': changed} if _HAS_MATCHED else {})), True
    except UnsupportedEventTypeError:  # by this middleware
        return make(), False


def publisher_events(topic: str, complain: Complain) -> PublisherEventCallbacks:
    """Has a publisher complain when a subscriber asks for a policy that it does not offer."""
    return PublisherEventCallbacks(
        incompatible_qos=lambda event: complain(
            f'qos {topic}',
            f"A subscriber of '{topic}' asks for more than this node offers ({_policy(event)}), so it receives "
            f'nothing: relax the subscriber, or set the parameter '
            f'qos_overrides.{topic}.publisher.{_policy(event)} '
            f'(`ros2 topic info -v {topic}` shows both).',
        )
    )


def _policy(event: Any) -> str:
    """Such as 'reliability'."""
    return qos_policy_name_from_kind(event.last_policy_kind).lower()
