"""Quality of service: inputs take what every publisher offers, outputs offer what subscribers may ask for."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:   # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

Complain = Callable[[str, str], None]


def newest(depth: int = 1) -> QoSProfile:
    """For inputs: best effort, the newest messages only."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


def reliable(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """For what is said once: those who come later get it too."""
    return QoSProfile(
        depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def overridable() -> QoSOverridingOptions:
    """Lets parameters ``qos_overrides.<topic>.<publisher|subscription>.<policy>`` change a profile."""
    return QoSOverridingOptions.with_default_policies()


def subscription_events(topic: str, complain: Complain) -> SubscriptionEventCallbacks:
    return SubscriptionEventCallbacks(incompatible_qos=lambda event: complain(
        f'qos {topic}',
        f"A publisher of '{topic}' offers less than this node asks for ({_policy(event)}), so nothing comes "
        f"from it: set the parameter qos_overrides.{topic}.subscription.{_policy(event)} to what it offers "
        f'(`ros2 topic info -v {topic}` shows it).'))


def publisher_events(topic: str, complain: Complain) -> PublisherEventCallbacks:
    return PublisherEventCallbacks(incompatible_qos=lambda event: complain(
        f'qos {topic}',
        f"A subscriber of '{topic}' asks for more than this node offers ({_policy(event)}), so it receives "
        f"nothing: relax the subscriber, or set the parameter "
        f"qos_overrides.{topic}.publisher.{_policy(event)} "
        f'(`ros2 topic info -v {topic}` shows both).'))


def _policy(event) -> str:
    """Such as 'reliability'."""
    return qos_policy_name_from_kind(event.last_policy_kind).lower()
