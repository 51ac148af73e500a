"""What the publishers of a topic offer, and what a subscription asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
LATCHED, VOLATILE = DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE

RELIABILITIES = ('auto', 'reliable', 'best_effort')  # values of the parameter image_reliability
UNKNOWN = '_NODE_NAME_UNKNOWN_'  # rmw's
_ENDLESS = 1 << 63  # [ns] 0 in a profile of ours, a large number in one of the graph


@dataclass(frozen=True)
class Wanted:
    """What a subscription asks for."""

    reliability: ReliabilityPolicy = BEST_EFFORT
    durability: DurabilityPolicy = VOLATILE


def choose(offered: Sequence[QoSProfile], reliability: str = 'auto', latched: bool = False) -> Wanted:
    """The most that all publishers offer.

    offered: one profile per publisher; with none, the choice that reaches whoever comes first.
    reliability: one of RELIABILITIES. latched: whether what was published before the start is wanted as well.
    """
    if reliability == 'auto':
        reliable = bool(offered) and all(profile.reliability == RELIABLE for profile in offered)
    else:
        reliable = reliability == 'reliable'
    # A late message is sent to those who ask for reliable delivery only.
    kept = reliable and latched and bool(offered) and all(profile.durability == LATCHED for profile in offered)
    return Wanted(RELIABLE if reliable else BEST_EFFORT, LATCHED if kept else VOLATILE)


def type_name(kind: type) -> str:
    """Such as sensor_msgs/msg/Image."""
    return f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'


def names_of(publishers: Sequence[TopicEndpointInfo]) -> str:
    """Such as '/camera and /left/camera'."""
    return ' and '.join(
        sorted(
            {
                f'{info.node_namespace.rstrip("/")}/{info.node_name}' if info.node_name != UNKNOWN else 'a publisher'
                for info in publishers
            }
        )
    )


def unmet_policy(offered: QoSProfile, asked: QoSProfile) -> str:
    """Which of the policies of two incompatible profiles it is."""
    if offered.reliability == BEST_EFFORT and asked.reliability == RELIABLE:
        return 'reliability'
    if offered.durability == VOLATILE and asked.durability == LATCHED:
        return 'durability'
    if 0 < asked.deadline.nanoseconds < (offered.deadline.nanoseconds or _ENDLESS):
        return 'deadline'
    return 'liveliness'


def overrides(node: Node, topic: str) -> frozenset[str]:
    """The policies that the user set for subscriptions of a topic."""
    prefix = f'qos_overrides.{topic}.subscription.'
    return frozenset(
        name[len(prefix) :] for name in getattr(node, '_parameter_overrides', {}) if name.startswith(prefix)
    )
