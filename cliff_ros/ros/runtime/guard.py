"""No callback of a node lets an error escape into the executor, where it would end the process."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import SetParametersResult
from rosgraph_msgs.msg import Clock

from cliff_ros.errors import InputError
from cliff_ros.ros.inputs.wire import read_stamp
from cliff_ros.ros.runtime.complaints import Complaints, sentence_of

if TYPE_CHECKING:  # what it is mixed into
    from rclpy.node import Node
else:
    Node = object

Callback = Callable[..., Any]


class Guarded(Node):
    """Mixed into a node before rclpy's class: guards every callback that is registered with the node.

    Also those that rclpy registers itself: for its services, and for /clock. What goes wrong is said by ``complain``,
    which the node has before it is spun.
    """

    complain: Complaints

    def create_subscription(self, msg_type: type, topic: str, callback: Callback, *args: Any, **kwargs: Any) -> Any:
        """As rclpy's, with callback and QoS events guarded; a time on /clock that is none is refused."""
        if msg_type is Clock and not kwargs.get('raw'):  # rclpy's own: it would take any bytes for a time
            callback, kwargs['raw'] = _reading_clock(callback), True
        guarded = self._guard(f"Message on '{self.resolve_topic_name(topic)}'", callback)
        return super().create_subscription(msg_type, topic, guarded, *args, **self._events_guarded(topic, kwargs))

    def create_publisher(self, msg_type: type, topic: str, *args: Any, **kwargs: Any) -> Any:
        """As rclpy's, with its QoS events guarded."""
        return super().create_publisher(msg_type, topic, *args, **self._events_guarded(topic, kwargs))

    def create_lifecycle_publisher(self, msg_type: type, topic: str, *args: Any, **kwargs: Any) -> Any:
        """As rclpy's, with its QoS events guarded; only for lifecycle nodes."""
        kwargs = self._events_guarded(topic, kwargs)
        return super().create_lifecycle_publisher(msg_type, topic, *args, **kwargs)  # type: ignore[misc]  # if it has

    def create_timer(self, timer_period_sec: float, callback: Callback | None, *args: Any, **kwargs: Any) -> Any:
        """As rclpy's, with a guarded callback: after an error the timer goes on."""
        guarded = callback and self._guard('What is done now and then', callback)
        return super().create_timer(timer_period_sec, guarded, *args, **kwargs)

    def create_guard_condition(self, callback: Callback, *args: Any, **kwargs: Any) -> Any:
        """As rclpy's, with a guarded callback."""
        return super().create_guard_condition(self._guard('What was asked for', callback), *args, **kwargs)

    def create_service(self, srv_type: type, srv_name: str, callback: Callback, *args: Any, **kwargs: Any) -> Any:
        """As rclpy's, with a guarded callback (`guard_request`): whoever asks gets an answer also after an error."""
        return super().create_service(srv_type, srv_name, self.guard_request(srv_name, callback), *args, **kwargs)

    def guard_request(self, srv_name: str, callback: Callback) -> Callback:
        """The callback of a service, guarded. Who asked gets an answer all the same: the empty one."""
        return self._guard(f"Request to '{srv_name}'", callback, lambda error, request, response: response)

    def add_on_set_parameters_callback(self, callback: Callback) -> None:
        """As rclpy's, with a guarded callback: where it fails the change is refused, with the error as the reason."""
        super().add_on_set_parameters_callback(
            self._guard(
                'Parameter',
                callback,
                lambda error, parameters: SetParametersResult(successful=False, reason=sentence_of(error)),
            )
        )

    def _guard(self, what: str, callback: Callback, instead: Callback | None = None) -> Callback:
        """The callback; where it fails complain, and return ``instead(error, *arguments)``.

        what: the thing it works on, for the sentence.
        """

        @wraps(callback)  # rclpy looks at its signature
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return callback(*args, **kwargs)
            except Exception as error:
                self.complain.failure(what, error)
                return None if instead is None else instead(error, *args)

        return guarded

    def _events_guarded(self, topic: str, kwargs: dict[str, Any]) -> dict[str, Any]:
        events = kwargs.get('event_callbacks')
        for name, callback in vars(events).items() if events is not None else ():
            if callable(callback):
                setattr(events, name, self._guard(f"Event of '{topic}'", callback))
        return kwargs


def read_clock(raw: bytes) -> Clock:
    """A serialized rosgraph_msgs/Clock. Raises InputError where it holds no time."""
    seconds, nanoseconds = read_stamp(raw)
    if seconds < 0 or nanoseconds >= 1_000_000_000:
        raise InputError(f'{seconds} s and {nanoseconds} ns are no time: check who publishes /clock.', 'clock_time')
    message = Clock()
    message.clock.sec, message.clock.nanosec = seconds, nanoseconds
    return message


def _reading_clock(callback: Callable[[Clock], None]) -> Callable[[bytes], None]:
    return lambda raw: callback(read_clock(raw))
