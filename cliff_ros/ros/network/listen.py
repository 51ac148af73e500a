"""Listens to a ROS graph for some seconds: names, QoS, rates, sizes, stamps, frames. Publishes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

from cliff_ros.errors import InputError
from cliff_ros.ros.inputs.wire import read_camera_info, read_compressed_image, read_image, read_stamp
from cliff_ros.ros.network.faults import CLOCK, IMAGE, INFO, JPEG, PEOPLE
from cliff_ros.ros.network.heard import Endpoint, Heard, Topic
from cliff_ros.ros.outputs.frame_names import parents_and_children

_TF = 'tf2_msgs/msg/TFMessage'
# Those whose first field is a header, and whose beginning tells nothing else.
_HEADED = (
    PEOPLE,
    'cliff_ros/msg/SmplInfo',
    'cliff_ros/msg/Timing',
    'vision_msgs/msg/Detection2DArray',
    'diagnostic_msgs/msg/DiagnosticArray',
)
_LISTENED = {IMAGE, JPEG, INFO, CLOCK, _TF, 'visualization_msgs/msg/MarkerArray', *_HEADED}
_VARIABLES = (
    'ROS_DOMAIN_ID',
    'RMW_IMPLEMENTATION',
    'ROS_AUTOMATIC_DISCOVERY_RANGE',
    'ROS_LOCALHOST_ONLY',
    'ROS_STATIC_PEERS',
    'ROS_DISCOVERY_SERVER',
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'CYCLONEDDS_URI',
)
_DISCOVERY = 1.0  # [s] in which most of a graph is known
_SOMEBODY = 5.0  # [s] at most until the first other node is known
_MOST_STAMPS = 1000


def listen(seconds: float, progress: Callable[[float], object] = lambda fraction: None) -> Heard:
    """What is heard in so many seconds, after one for names. progress: told 0..1."""
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node('cliff_doctor', context=context, start_parameter_services=False, enable_rosout=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    heard = Heard(seconds, environment={name: os.environ[name] for name in _VARIABLES if name in os.environ})
    subscribed: dict[str, Any] = {}
    try:
        _wait_for_somebody(node)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < _DISCOVERY + seconds:
            for name, types in node.get_topic_names_and_types():
                topic = heard.topics.setdefault(name, Topic(name, tuple(types)))
                topic.types = tuple(types)
                if name not in subscribed and passed > _DISCOVERY / 2:
                    subscribed[name] = _subscribe(node, topic, heard)
            executor.spin_once(timeout_sec=0.05)
            progress(passed / (_DISCOVERY + seconds))
        _who(node, heard)
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
    return heard


def _wait_for_somebody(node: Node) -> None:
    """On a busy network names take a while."""
    end = time.monotonic() + _SOMEBODY
    while len(node.get_node_names()) < 2 and time.monotonic() < end:
        time.sleep(0.1)


def _subscribe(node: Node, topic: Topic, heard: Heard) -> Any:
    """Asks for little, so that every publisher fits: best effort, unless what was published before is kept."""
    publishers = [info.qos_profile for info in node.get_publishers_info_by_topic(topic.name)]
    message = _class_of(topic.type)
    if message is None or topic.type not in _LISTENED or not publishers:
        return None
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in publishers)
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in publishers)
    profile = QoSProfile(
        depth=10,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched and reliable else DurabilityPolicy.VOLATILE,
    )
    topic.listened = True

    def note(raw: bytes) -> None:
        topic.received += 1
        topic.bytes += len(raw)
        with suppress(InputError):  # a damaged message is counted all the same
            _read(topic, raw, heard)

    return node.create_subscription(message, topic.name, note, profile, raw=True)


def _read(topic: Topic, raw: bytes, heard: Heard) -> None:
    came, kind = time.time(), topic.type
    if kind == IMAGE:
        image = read_image(raw)
        topic.size = image.width, image.height
        topic.frames.add(image.frame_id)
    elif kind == JPEG:
        topic.frames.add(read_compressed_image(raw).frame_id)
    elif kind == INFO:
        info = read_camera_info(raw)
        topic.size, topic.calibrated = (info.width, info.height), bool(info.k.any())
        topic.frames.add(info.frame_id)
    elif kind == _TF:
        for parent, child in parents_and_children(raw):
            heard.parents.setdefault(child.lstrip('/'), set()).add((parent.lstrip('/'), topic.name))
        return
    elif kind not in _HEADED:
        return
    if len(topic.stamps) < _MOST_STAMPS:
        seconds, nanoseconds = read_stamp(raw)
        topic.stamps.append((came, seconds + 1e-9 * nanoseconds))


def _who(node: Node, heard: Heard) -> None:
    own = node.get_name()
    for topic in heard.topics.values():
        topic.publishers = [_endpoint(info) for info in node.get_publishers_info_by_topic(topic.name)]
        subscribers = node.get_subscriptions_info_by_topic(topic.name)
        topic.subscribers = [_endpoint(info) for info in subscribers if info.node_name != own]
    for name, namespace in node.get_node_names_and_namespaces():
        if name != own:
            heard.nodes.append(f'{namespace.rstrip("/")}/{name}')


def _endpoint(info: TopicEndpointInfo) -> Endpoint:
    profile = info.qos_profile
    name = 'an unnamed node' if 'UNKNOWN' in info.node_name else f'{info.node_namespace.rstrip("/")}/{info.node_name}'
    return Endpoint(
        name,
        info.topic_type,
        profile.reliability == ReliabilityPolicy.RELIABLE,
        profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
    )


def _class_of(kind: str) -> Any:
    """The Python class of a type such as sensor_msgs/msg/Image; None where its package is not installed."""
    package, _, name = kind.partition('/msg/')
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError):
        return None
