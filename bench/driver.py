"""The other side of a node under test: a camera that waits for its answers."""

from __future__ import annotations

import struct
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from cliff_ros.camera import Camera
from cliff_ros.msg import SmplArray, Timing
from cliff_ros.ros.camera_node import image_message, info_message
from cliff_ros.ros.outputs.cdr import SENTINEL_STAMP, STAMP, Template, stamp_slot
from cliff_ros.ros.runtime import qos

FRAME_ID = 'camera_optical_frame'
OUTPUTS = {'people': (SmplArray, 'cliff/people'), 'tf': (TFMessage, 'tf'), 'mesh': (MarkerArray, 'cliff/mesh')}
# Where the first stamp stands: after the encapsulation, and where a sequence comes first after its length.
_STAMP_AT = {'people': 4, 'tf': 8, 'mesh': 8}
_EMPTY = 8  # [bytes] an array without elements
Stamp = tuple[int, int]


class NoAnswer(Exception):
    """The node did not answer in time."""


class Link:
    """The topics of one node under test, in the namespace ``name``.

    Subscribes to what the node publishes without unpacking it, so that what is measured is the node.
    """

    def __init__(self, driver: Driver, name: str) -> None:
        self.name, self._driver, node = name, driver, driver.node
        self.images = node.create_publisher(Image, f'/{name}/image', qos.reliable(2))
        self.infos = node.create_publisher(CameraInfo, f'/{name}/camera_info', qos.reliable(2))
        self.answers: dict[Stamp, dict[str, bytes]] = defaultdict(dict)
        self.timings: dict[Stamp, Timing] = {}
        self._seen: dict[Stamp, float] = {}
        self._templates: list[Template] = []
        self._info: CameraInfo | None = None
        for output, (kind, topic) in OUTPUTS.items():
            node.create_subscription(kind, f'/{name}/{topic}', self._listener(output), qos.reliable(10), raw=True)
        node.create_subscription(Timing, f'/{name}/cliff/timing', self._on_timing, qos.reliable(10))

    def load(self, camera: Camera, images: Sequence[np.ndarray]) -> None:
        """Have these images (H, W, 3) RGB ready to be sent, as bgr8."""
        header = Header(stamp=SENTINEL_STAMP, frame_id=FRAME_ID)
        self._templates = [Template(image_message(image, 'bgr8', header), {'stamp': stamp_slot(1)}) for image in images]
        self._info = info_message(camera)

    def send(self, index: int) -> Stamp:
        """Send an image, taken round the loop, stamped now."""
        now = self._driver.node.get_clock().now().nanoseconds
        stamp = now // 1_000_000_000, now % 1_000_000_000
        template = self._templates[index % len(self._templates)]
        template.fill('stamp', np.array(stamp, STAMP))
        self._info.header = Header(stamp=Time(sec=stamp[0], nanosec=stamp[1]), frame_id=FRAME_ID)
        self.infos.publish(self._info)
        self.images.publish(template.tobytes())
        return stamp

    def ask(self, index: int, patience: float = 30.0, attempts: int = 3) -> Stamp:
        """Send an image and wait until all answers to it have come; its stamp.

        Nodes take images with best effort, so one may get lost: then it is sent again. NoAnswer at last.
        """
        for _ in range(attempts):
            stamp = self.send(index)
            if self._driver.until(lambda stamp=stamp: self.answers[stamp].keys() == OUTPUTS.keys(), patience):
                return stamp
        raise NoAnswer(f'{self.name} sent {sorted(self.answers[stamp])} of {sorted(OUTPUTS)} in {patience:.0f} s')

    def latency(self, stamp: Stamp) -> float:
        """From sending an image to the last of its answers [ms]."""
        return 1e3 * (self._seen[stamp] - stamp[0] - 1e-9 * stamp[1])

    def people(self, stamp: Stamp) -> SmplArray:
        """The answer about one image, unpacked."""
        return deserialize_message(self.answers[stamp]['people'], SmplArray)

    def forget(self) -> None:
        """What was heard so far."""
        self.answers.clear()
        self.timings.clear()
        self._seen.clear()

    @property
    def connected(self) -> bool:
        """Whether the node listens to images and camera."""
        return self.images.get_subscription_count() > 0 and self.infos.get_subscription_count() > 0

    def _listener(self, output: str) -> Callable[[bytes], None]:
        def listen(raw: bytes) -> None:
            if len(raw) > _EMPTY:
                stamp = struct.unpack_from('<iI', raw, _STAMP_AT[output])
                self.answers[stamp][output] = raw
                self._seen[stamp] = time.time()

        return listen

    def _on_timing(self, message: Timing) -> None:
        self.timings[message.header.stamp.sec, message.header.stamp.nanosec] = message


class Driver:
    """Owns the ROS node of this process; to be used in a ``with`` block, after the environment is set."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node('bench', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._links: dict[str, Link] = {}

    def link(self, name: str) -> Link:
        """The link to the node of that name, made when first asked for."""
        if name not in self._links:
            self._links[name] = Link(self, name)
        return self._links[name]

    @property
    def connected(self) -> bool:
        """Whether any node listens."""
        return any(link.connected for link in self._links.values())

    def until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Receive until the condition holds; whether it did in time."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.01)
        return True

    def spin(self, seconds: float) -> None:
        """Receive for a while."""
        self.until(lambda: False, seconds)

    def play(
        self,
        link: Link,
        seconds: float,
        rate: float,
        choose: Callable[[int], int] = lambda count: count,
        each: Callable[[int], None] = lambda count: None,
    ) -> int:
        """Send images at a fixed rate whether or not answers come; how many were sent.

        choose: which image the n-th one is; each: called after the n-th was sent.
        """
        start, sent = time.monotonic(), 0
        while (due := start + sent / rate) < start + seconds:
            self.until(lambda due=due: time.monotonic() >= due, seconds)
            link.send(choose(sent))
            each(sent)
            sent += 1
        return sent

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *exc) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()
