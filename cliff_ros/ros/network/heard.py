"""What was heard of a ROS graph in some seconds, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Endpoint:
    """A publisher or subscriber. reliable, latched: of its QoS; None where the middleware does not say."""

    node: str
    type: str
    reliable: bool | None = None
    latched: bool | None = None


@dataclass
class Topic:
    """One topic. Times in seconds, of this machine's clock.

    types: all that somebody gives it. listened: whether we subscribed: only to what is known and small enough to copy.
    received, bytes: messages and their sizes together. stamps: of their headers, with when they came: (came, stamp).
    frames: header.frame_id of all. picture, info: width and height of the last image or CameraInfo.
    calibrated: of the last CameraInfo.
    """

    name: str
    types: tuple[str, ...]
    publishers: list[Endpoint] = field(default_factory=list)
    subscribers: list[Endpoint] = field(default_factory=list)
    listened: bool = False
    received: int = 0
    bytes: int = 0
    stamps: list[tuple[float, float]] = field(default_factory=list)
    frames: set[str] = field(default_factory=set)
    size: tuple[int, int] | None = None
    calibrated: bool | None = None

    @property
    def type(self) -> str:
        """The first of the types that it is given; '' where nobody gives one."""
        return self.types[0] if self.types else ''

    @property
    def mean_size(self) -> float:
        """Bytes of a message."""
        return self.bytes / self.received if self.received else 0.0

    @property
    def ages(self) -> list[float]:
        """How old each message's stamp was when it came [s]."""
        return [came - stamp for came, stamp in self.stamps]


@dataclass
class Heard:
    """Everything. parents: child frame -> the frames that somebody put it under, with who: (parent, topic).

    environment: variables that decide who hears whom. nodes: full names, one entry for each node of it.
    """

    seconds: float
    topics: dict[str, Topic] = field(default_factory=dict)
    nodes: list[str] = field(default_factory=list)
    parents: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def of_type(self, *types: str) -> list[Topic]:
        """Topics of these types, such as sensor_msgs/msg/Image, that somebody publishes."""
        return [t for t in self.topics.values() if t.publishers and set(types) & set(t.types)]


def kind(qos: Endpoint) -> str:
    """A QoS in a word or two."""
    if qos.reliable is None:
        return '?'
    return ('reliable' if qos.reliable else 'best effort') + (', latched' if qos.latched else '')
