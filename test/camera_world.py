"""A camera that does what it is told, the node on the tiny files, and what is heard of both: for tests of faults."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from conftest import FOCAL, FRAME, SIZE, Peer, cell_picture
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy

from cliff_ros.msg import SmplArray

ONE = cell_picture((2, 2))
SMALL = np.ascontiguousarray(ONE[::2, ::2])
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
QUICKLY = {'diagnostics_rate': 10.0, 'watchdog_timeout': 0.5, 'camera_info_timeout': 0.3}


@dataclass
class Camera:
    """What the camera does at present."""

    running: bool = True
    pixels: np.ndarray = field(default_factory=lambda: ONE)
    encoding: str = 'rgb8'
    frame_id: str = FRAME
    infos: bool = True
    info_size: tuple[int, int] = SIZE
    focal: float = FOCAL
    boxes: bool = True
    stamp: Callable[[float], float] = float  # of the time [s] of an image


class World:
    """A camera that sends whenever somebody waits, the node, and what is heard of it."""

    def __init__(self, node, peer: Peer, vision=None) -> None:
        self.node, self.peer, self.camera = node, peer, Camera()
        self.said = peer.listen(DiagnosticArray, '/diagnostics')
        self.people = peer.listen(SmplArray, '/cliff/people', BEST_EFFORT)
        self.images = peer.images
        self.vision = vision
        if vision:
            self.boxes = peer.node.create_publisher(vision.Detection2DArray, 'detections', 10)
        self.sent = 0.0
        self.start = 1_700_000_000.0

    def send(self) -> None:
        camera, now = self.camera, time.monotonic()
        if not camera.running or now - self.sent < 0.04:
            return
        self.sent = now
        seconds = camera.stamp(self.start + now)
        stamp = int(seconds), int(seconds % 1 * 1e9)
        if camera.infos:
            self.peer.infos.publish(self.peer.info(stamp, camera.frame_id, camera.info_size, camera.focal))
        image = self.peer.image(camera.pixels, stamp, FRAME, camera.encoding)
        self.images.publish(image)
        if self.vision and camera.boxes:
            found = self.vision.Detection2D()
            found.bbox.center.position.x, found.bbox.center.position.y = 200.0, 200.0
            found.bbox.size_x, found.bbox.size_y = 80.0, 160.0
            self.boxes.publish(self.vision.Detection2DArray(header=image.header, detections=[found]))

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> bool:
        """With the camera sending."""
        return self.peer.until(lambda: self.send() or condition(), seconds)

    @property
    def status(self) -> DiagnosticStatus:
        return self.said[-1].status[0]

    def is_said(self, level: bytes, words: str) -> bool:
        return bool(self.said) and self.status.level == level and words in self.status.message

    def is_well(self) -> bool:
        """The diagnostics say so, and somebody was seen a moment ago."""
        return bool(self.people) and len(self.people[-1].people) == 1 and self.is_said(OK, '1 people')

    def fault(self, name: str, level: bytes, words: str) -> None:
        del self.said[:-1]
        assert self.until(lambda: self.is_said(level, words)), (
            name,
            words,
            [(s.level, s.message) for m in self.said[-30:] for s in m.status][-1:],
        )

    def recover(self, name: str) -> None:
        del self.people[:], self.said[:-1]
        assert self.until(self.is_well), (name, self.status, len(self.people))
