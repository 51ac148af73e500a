"""What comes in: images with their CameraInfo and, where asked for, boxes.

Everything here runs in the executor's thread and only moves references: a few microseconds a message.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from cliff_ros.people import Box
from cliff_ros.ros.inputs.delivery import Delivery
from cliff_ros.ros.inputs.detections import Detections, FoundBoxes, detections_type
from cliff_ros.ros.inputs.limits import (
    MOST_DETECTIONS_BYTES,
    MOST_INFO_BYTES,
    check_bytes,
    check_stamp,
    is_fresh,
    is_of_frame,
    most_image_bytes,
)
from cliff_ros.ros.inputs.loss import Losses
from cliff_ros.ros.inputs.matching import BoxPairing, InfoPairing
from cliff_ros.ros.inputs.stamps import StampWatch
from cliff_ros.ros.inputs.wire import RawPicture, read_camera_info, read_compressed_image, read_detections, read_image
from cliff_ros.ros.runtime.settings import CliffSettings


@dataclass(frozen=True)
class Incoming:
    """An image with all that is needed to look for people in it.

    info: the serialized CameraInfo; None where the image is to be used uncalibrated.
    boxes: as they came, None where the built-in detector is to be asked.
    received: on the node's clock; ``clock``: the same moment of time.perf_counter().
    """

    image: RawPicture
    received: Time
    clock: float
    info: bytes | None = None
    boxes: list[Box] | None = None


class Inputs:
    """The subscriptions of the active node; ``deliver`` gets each image that is complete."""

    def __init__(
        self,
        node: Node,
        settings: CliffSettings,
        deliver: Callable[[Incoming], None],
        complain: Callable[[str, str], None],
    ) -> None:
        self.received = 0
        self.since = self.last_image = time.monotonic()
        self.last_info: float | None = None
        self.last_boxes: float | None = None  # boxes came
        self.last_match: float | None = None  # boxes came that belong to an image
        self.detections = Detections(settings, complain)
        self._node = node
        self._settings = settings
        self._deliver = deliver
        self._infos: InfoPairing[Incoming, bytes] = InfoPairing()
        self._boxes: BoxPairing[Incoming, FoundBoxes] | None = None
        self._complain = complain
        self._subscriptions: list[Delivery] = []
        self._most_image_bytes = most_image_bytes(settings.max_image_pixels)
        self.losses = Losses()
        compressed = settings.image_transport == 'compressed'
        self._read = read_compressed_image if compressed else read_image
        self.image_type = CompressedImage if compressed else Image
        self.info_topic, self.image_topic, self.detections_topic = map(
            node.resolve_topic_name, ('camera_info', 'image', 'detections')
        )
        self._stamps = StampWatch(self.image_topic, node.get_clock(), complain)
        if settings.detector == 'topic':
            self._boxes = BoxPairing(settings.detections_tolerance)

    def open(self) -> None:
        """Subscribe."""
        # CameraInfo first: the executor looks in this order, so an image finds its own already there. Some publish it
        # once, for whoever comes later.
        self._subscribe(CameraInfo, 'camera_info', self._on_info, raw=True, latched=True)
        if self._boxes is not None:
            self._subscribe(
                detections_type(), 'detections', partial(self._on_detections, self._boxes), raw=True, depth=5
            )
        self.images = self._subscribe(
            self.image_type, 'image', self._on_image, raw=True, reliability=self._settings.image_reliability
        )

    def close(self) -> None:
        """Unsubscribe from images, CameraInfo and boxes."""
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()

    @property
    def has_info(self) -> bool:
        """Whether any CameraInfo came yet, whatever its stamp."""
        return self._infos.latest is not None

    @property
    def pairs_came(self) -> bool:
        """Whether an image ever came together with its own CameraInfo."""
        return self._infos.paired

    @property
    def uses_detections(self) -> bool:
        """Whether boxes come from a topic (parameter ``detector`` is 'topic')."""
        return self._boxes is not None

    @property
    def unmatched(self) -> int:
        """Images for which no boxes came."""
        return self._boxes.unmatched if self._boxes else 0

    @property
    def nearest_miss(self) -> float | None:
        """How far [s] the stamps of boxes and images were apart at best, since the last boxes that had an image."""
        return self._boxes.nearest_miss if self._boxes else None

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None], **options: Any) -> Delivery:
        delivery = Delivery(self._node, kind, topic, callback, self._complain, **options)
        self._subscriptions.append(delivery)
        delivery.open()
        return delivery

    def _on_image(self, raw: bytes) -> None:
        clock = time.perf_counter()
        self.received += 1
        self.last_image = time.monotonic()
        check_bytes(raw, 'an image', self._most_image_bytes, 'check the camera driver, or raise max_image_pixels')
        image = self._read(raw)
        check_stamp(image.stamp)
        self._stamps(image.stamp)
        self.losses.image(image.stamp, len(raw))
        incoming = Incoming(image, self._node.get_clock().now().to_msg(), clock)
        if (
            not self.has_info
            and self._settings.uncalibrated_fallback
            and self.last_image - self.since >= self._settings.camera_info_timeout
        ):
            self._calibrated(incoming)
            return
        for earlier, info in self._infos.image(image.stamp, incoming):
            self._calibrated(replace(earlier, info=info))

    def _on_info(self, raw: bytes) -> None:
        check_bytes(raw, 'a CameraInfo', MOST_INFO_BYTES)
        # Read as a whole: one that is damaged must not take the place of a good one.
        self.last_info = time.monotonic()
        stamp = read_camera_info(raw).stamp
        self.losses.info(stamp)
        for incoming, info in self._infos.info(stamp, raw):
            self._calibrated(replace(incoming, info=info))

    def _calibrated(self, incoming: Incoming) -> None:
        if not is_fresh(incoming.info, incoming.image.stamp, self._settings.camera_info_max_age, self._complain):
            return
        if self._boxes is None:
            self._deliver(incoming)
            return
        for earlier, boxes in self._boxes.image(incoming.image.stamp, incoming):
            self._deliver_boxes(earlier, boxes)

    def _on_detections(self, pairing: BoxPairing[Incoming, FoundBoxes], raw: bytes) -> None:
        self.last_boxes = time.monotonic()
        check_bytes(raw, 'an array of detections', MOST_DETECTIONS_BYTES)
        message = read_detections(raw)
        found = FoundBoxes(message.frame_id, self.detections.boxes(message))
        for incoming, boxes in pairing.boxes(message.stamp, found):
            self._deliver_boxes(incoming, boxes)

    def _deliver_boxes(self, incoming: Incoming, found: FoundBoxes) -> None:
        self.last_match = time.monotonic()
        if is_of_frame(found.frame_id, incoming.image.frame_id, self._settings.detections_frame, self._complain):
            self._deliver(replace(incoming, boxes=found.boxes))
