"""Names of frames that are ours alone: a frame that two nodes put under two parents jumps between them."""

from __future__ import annotations

import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from tf2_msgs.msg import TFMessage

_PERIOD = 1.0  # [s] between looks at what others publish
_DEPTH = 100  # of their latest messages
_MEMORY = 1000  # names and messages of ours
# Count, stamp, names and place of the first transform. What the middleware may change lies before and behind.
_KEY = slice(4, 260)


def frame_prefix(setting: str, namespace: str) -> str:
    """What goes before smpl_<id>.

    setting: the parameter tf_prefix; 'auto' for the namespace of the node, such as '/robot' -> 'robot/'.
    """
    if setting != 'auto':
        return setting
    inner = namespace.strip('/')
    return f'{inner}/' if inner else ''


def parents_and_children(raw: bytes) -> list[tuple[str, str]]:
    """The frames (parent, child) in a serialized TFMessage, up to where it is damaged.

    Anybody may publish on /tf, so lengths are not believed: nothing is read or made beyond the bytes there are.
    """
    found: list[tuple[str, str]] = []
    if raw[:2] != b'\x00\x01':  # plain little-endian CDR, as every middleware writes it on x86 and ARM
        return found
    body, at = raw[4:], 4

    def string() -> str:
        nonlocal at
        at += -at % 4
        (length,) = struct.unpack_from('<I', body, at)
        at += 4 + length
        if at > len(body):
            raise ValueError('a string ends beyond the message')
        return body[at - length : at - 1].decode('utf-8', 'replace')

    with suppress(struct.error, ValueError):
        (count,) = struct.unpack_from('<I', body)
        for _ in range(count):
            at += -at % 4 + 8  # the stamp
            found.append((string(), string()))
            at += -at % 8 + 56  # translation and rotation
    return found


class _Polled(CallbackGroup):
    """Keeps a subscription out of the executor: messages wait in the middleware, where they cost next to nothing."""

    def can_execute(self, entity: object) -> bool:
        return False

    def beginning_execution(self, entity: object) -> bool:
        return False

    def ending_execution(self, entity: object) -> None:
        pass


class FrameWatch:
    """Complains when somebody else publishes a frame of ours on /tf.

    A robot's /tf carries hundreds of messages a second: only a hundred of them are looked at, once a second, and
    only while there are other publishers. All but ``note`` is for the executor's thread.
    """

    def __init__(self, node: Node, prefix: str, complain: Callable[[str, str], None]) -> None:
        self._node = node
        self._needle = f'{prefix}smpl_'.encode()
        self._complain = complain
        self._names: OrderedDict[str, None] = OrderedDict()
        self._ours: deque[bytes] = deque(maxlen=_MEMORY)
        self._topic = node.resolve_topic_name('/tf')
        self._group = _Polled()
        self._subscription: Subscription[TFMessage] | None = None
        self._timer = node.create_timer(_PERIOD, self.look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def listeners(self) -> int:
        """How many of the subscribers of /tf are this object."""
        return int(self._subscription is not None)

    def close(self) -> None:
        """Stop looking, and unsubscribe from /tf."""
        self._node.destroy_timer(self._timer)
        self._unsubscribe()

    def note(self, names: Iterable[str], message: bytes) -> None:
        """Remember frames that are about to be published, and their message. From any one thread."""
        for name in names:
            self._names[name] = None
            self._names.move_to_end(name)
        while len(self._names) > _MEMORY:
            self._names.popitem(last=False)
        self._ours.append(message[_KEY])

    def look(self) -> None:
        """Go through what others published lately."""
        if self._node.count_publishers(self._topic) < 2:  # nobody but us
            self._unsubscribe()
            return
        if self._subscription is None:
            self._subscription = self._node.create_subscription(
                TFMessage,
                '/tf',
                lambda message: None,
                raw=True,
                callback_group=self._group,
                qos_profile=QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT),
            )
        messages = [
            raw for raw in _take(self._subscription) if self._needle in raw
        ]  # before ours are listed: none is missed
        ours = set(self._ours)
        for raw in messages:
            if raw[_KEY] not in ours and self._collides(raw):
                return

    def _collides(self, raw: bytes) -> bool:
        """Complain if one of our frames is in a message of somebody else; whether it is."""
        names = set(self._names.copy())
        for parent, child in parents_and_children(raw):
            if child in names:
                self._complain(
                    'tf names',
                    (
                        f"{self._others()} publishes the frame '{child}' on {self._topic} too, below '{parent}', and a "
                        f'frame can have one parent only: give this node names of its own with the parameter tf_prefix '
                        f"(such as 'left/'), or start it in a namespace."
                    ),
                )
                return True
        return False

    def _others(self) -> str:
        us = self._node.get_name(), self._node.get_namespace()
        names = {
            f'{info.node_namespace.rstrip("/")}/{info.node_name}'
            for info in self._node.get_publishers_info_by_topic(self._topic)
            if (info.node_name, info.node_namespace) != us
        }
        return ' or '.join(sorted(names)) if 0 < len(names) <= 3 else 'Somebody else'

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None


def _take(subscription: Subscription[TFMessage]) -> list[bytes]:
    """What waits in the middleware."""
    messages: list[bytes] = []
    with subscription.handle:
        while len(messages) < _DEPTH:
            taken = subscription.handle.take_message(TFMessage, True)
            if taken is None:
                break
            messages.append(bytes(taken[0]))
    return messages
