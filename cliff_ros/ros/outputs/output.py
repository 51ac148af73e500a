"""What an output is: one topic, on which something is said of every image.

A new one is a file beside this one, and a line in ``publishers.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, ClassVar

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from std_msgs.msg import Header

from cliff_ros.people import Frame
from cliff_ros.pipeline import Pipeline
from cliff_ros.ros.outputs.batch import Batch
from cliff_ros.ros.runtime import qos
from cliff_ros.ros.runtime.settings import CliffSettings

FAREWELL = Duration(seconds=0.3)  # how long a subscriber may take to acknowledge the last message


@dataclass(frozen=True)
class Setup:
    """What outputs are made from when the node is configured."""

    node: LifecycleNode
    settings: CliffSettings
    pipeline: Pipeline
    complain: Callable[[str, str], None]


@dataclass(frozen=True)
class Processed:
    """One image, the people in it, and how it went.

    received, started: on the node's clock; arrived: when it was received, done: when its people were known, both of
    time.perf_counter(). stages: name -> ms, of all before publishing. counts: images received, processed and dropped
    since activation, this one included.
    """

    batch: Batch
    frame: Frame
    received: Time
    started: Time
    arrived: float
    stages: dict[str, float]
    counts: tuple[int, int, int]
    done: float = field(default_factory=perf_counter)


class Output(ABC):
    """One topic. `wanted` and `publish` are called in the worker's thread, the rest in the executor's.

    settings: the node's parameters, replaced whole when a live one changes.
    """

    topic: ClassVar[str]
    message: ClassVar[type]  # of what is published; or its serialized bytes are
    depth: ClassVar[int] = 10  # messages kept for subscribers that are slow
    latched: ClassVar[bool] = False  # the last message is for those who come later too
    needs_vertices: ClassVar[bool] = False  # `publish` reads the meshes, which are made while such an output is wanted
    has_last_word: ClassVar[bool] = False  # what `clear` publishes must have arrived before the topic goes

    def __init__(self, setup: Setup) -> None:
        """Make the publisher."""
        self.settings = setup.settings
        self._node = setup.node
        self.publisher: LifecyclePublisher[Any] = setup.node.create_lifecycle_publisher(
            self.message,
            self.topic,
            qos.latched() if self.latched else qos.reliable(self.depth),
            qos_overriding_options=qos.overridable(),
            event_callbacks=qos.publisher_events(setup.node.resolve_topic_name(self.topic), setup.complain),
        )

    @classmethod
    def is_enabled(cls, settings: CliffSettings) -> bool:
        """Whether the node has this topic."""
        return True

    def wanted(self) -> bool:
        """Whether anybody listens: only then is anything made for it."""
        return self.heard()

    @abstractmethod
    def publish(self, processed: Processed) -> None:
        """Say what there is to say of an image."""

    def start(self) -> None:  # noqa: B027  most have nothing to say
        """The node is active: say what holds for all images."""

    def clear(self, header: Header) -> None:  # noqa: B027  most leave nothing behind
        """Nobody is there any more: let what is shown vanish. header: now, in the frame of the last image."""

    def heard(self) -> bool:
        """Whether anybody subscribes."""
        return self.publisher.get_subscription_count() > 0

    def close(self) -> None:
        """Take the topic away."""
        if self.has_last_word and self.heard():
            self.publisher.wait_for_all_acked(FAREWELL)
        self._node.destroy_lifecycle_publisher(self.publisher)
