"""The node ``camera``: plays a video, a folder of images, a device or a synthetic scene as a ROS camera.

Publishes ``~/image_raw``, ``~/image_raw/compressed`` (JPEG) and ``~/camera_info`` with the same header,
stamped when they are sent. A synthetic scene also publishes the exact truth of every image as
cliff_ros/SmplArray on ``~/truth``, with the image's header.
"""

from __future__ import annotations

from cliff_ros import signals

if __name__ == '__main__':
    signals.end_at_once(0)  # before the imports that take long

import threading
import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from cliff_ros.camera import Camera
from cliff_ros.errors import CliffError
from cliff_ros.msg import SmplArray
from cliff_ros.ros.inputs.images import to_message_array
from cliff_ros.ros.outputs.batch import Batch
from cliff_ros.ros.outputs.people_message import PeopleMessage
from cliff_ros.ros.playback import Shot, shots
from cliff_ros.ros.runtime import qos
from cliff_ros.ros.runtime.complaints import Complaints
from cliff_ros.ros.runtime.guard import Guarded
from cliff_ros.ros.runtime.parameters import Parameters, When, parameter
from cliff_ros.ros.runtime.program import ros
from cliff_ros.ros.runtime.spinning import spin_once
from cliff_ros.signals import StopRequest
from cliff_ros.sources import Source, SyntheticSource, open_source

_ENCODINGS = {
    'rgb8': None,
    'bgr8': cv2.COLOR_RGB2BGR,
    'rgba8': cv2.COLOR_RGB2RGBA,
    'bgra8': cv2.COLOR_RGB2BGRA,
    'mono8': cv2.COLOR_RGB2GRAY,
}
_DELIVERY = 5.0  # [s] at most, for what was sent last: DDS notices a loss at the next heartbeat only, every 3 s
_SETTLE = 0.5  # [s] from the last subscriber to the first image: DDS matches topics one by one


@dataclass(frozen=True)
class CameraSettings:
    """The parameters of the node ``camera``."""

    source: str = parameter(
        'synthetic', "a video file, a folder of images, a device (0, /dev/video0), or 'synthetic[:seed]'", When.START
    )
    calibration: str = parameter('', 'camera_info YAML of a real source; empty: a guess', When.START)
    rate: float = parameter(0.0, 'images per second; 0: as the source says', When.START, range=(0.0, 1000.0))
    loop: bool = parameter(False, 'start over at the end', When.START)
    frame_id: str = parameter('camera_optical_frame', 'of the headers: an optical frame (REP-103)', When.START)
    encoding: str = parameter('rgb8', 'of the raw images', When.START, choices=tuple(_ENCODINGS))
    wait_for_subscribers: int = parameter(
        1, 'start when so many subscribe to the images, raw or compressed', When.START, range=(0, 100)
    )
    seconds: float = parameter(20.0, 'length of a synthetic scene [s]', When.START, range=(0.1, 3600.0))
    width: int = parameter(1280, 'of a synthetic scene [px]', When.START, range=(64, 8192))
    height: int = parameter(720, 'of a synthetic scene [px]', When.START, range=(64, 8192))
    people: int = parameter(3, 'in a synthetic scene', When.START, range=(0, 100))
    prerender: bool = parameter(
        True, 'draw a synthetic scene before playing it, so that playing costs little', When.START
    )


class _Closed(Exception):
    """The node was closed while its source was being prepared."""


class CameraNode(Guarded, Node):
    """See the module; ``play`` is for a thread of its own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('camera', **kwargs)
        self.complain = Complaints(self.get_logger())
        self.settings = Parameters(self, CameraSettings).settings()
        self.sent = 0
        self._stopped = threading.Event()
        self._info = CameraInfo()
        self._people = PeopleMessage()

        def publisher(kind: type, topic: str, depth: int = 5) -> Publisher[Any]:
            profile = qos.reliable(depth)
            made: Publisher[Any] = self.create_publisher(kind, topic, profile, qos_overriding_options=qos.overridable())
            return made

        self._infos = publisher(CameraInfo, '~/camera_info')
        self._images = publisher(Image, '~/image_raw')
        self._compressed = publisher(CompressedImage, '~/image_raw/compressed')
        self._truth = publisher(SmplArray, '~/truth', 100)

    def play(self) -> None:
        """Send every image when its time has come; returns at the end, or when the node is closed.

        Raises CliffError for a source that cannot be played. What takes long is done here and not in the main thread,
        which hears signals.
        """
        settings = self.settings
        source = open_camera(settings)
        self._info = info_message(source.camera)
        period = 1.0 / (settings.rate or source.fps)
        shots_of_source = shots(source, settings.loop, settings.prerender, self._tell_progress)
        first = next(shots_of_source, None)  # whatever has to be prepared is now
        if first is None or not self._wait_for_subscribers():
            return
        self._send(first)
        due = time.monotonic()
        for shot in shots_of_source:
            if not source.live:
                # After a delay go on from there: catching up would be a burst that no camera makes.
                due = max(due + period, time.monotonic() - period)
                self._stopped.wait(max(0.0, due - time.monotonic()))
            if self._stopped.is_set():
                return
            self._send(shot)
        end = time.monotonic() + _DELIVERY
        for publisher in (self._infos, self._images, self._compressed, self._truth):
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, end - time.monotonic())))
        self.get_logger().info(f'The end: {self.sent} images sent.')

    def close(self) -> None:
        """Let ``play`` return."""
        self._stopped.set()

    def _send(self, shot: Shot) -> None:
        stamp = self.get_clock().now().to_msg()
        header = self._info.header = Header(stamp=stamp, frame_id=self.settings.frame_id)
        # CameraInfo first: it is small, so it is there when the image arrives.
        self._infos.publish(self._info)
        if _heard(self._images):
            self._images.publish(image_message(shot.image, self.settings.encoding, header))
        if _heard(self._compressed):
            self._compressed.publish(compressed_message(shot.image, header))
        if shot.truth is not None and _heard(self._truth):
            batch = Batch((stamp.sec, stamp.nanosec), header.frame_id, shot.truth)
            self._truth.publish(self._people.serialize(batch))
        self.sent += 1

    def _wait_for_subscribers(self) -> bool:
        """False if the node was closed meanwhile."""
        wanted = self.settings.wait_for_subscribers
        if wanted == 0:
            return True
        self.get_logger().info(f'Waiting for {wanted} subscriber(s) of {self._images.topic_name}.')
        while self._images.get_subscription_count() + self._compressed.get_subscription_count() < wanted:
            if self._stopped.wait(0.05):
                return False
        return not self._stopped.wait(_SETTLE)

    def _tell_progress(self, done: int, of: int) -> None:
        if self._stopped.is_set():
            raise _Closed
        if done % 25 == 0 or done == of:
            self.get_logger().info(f'Drawing the scene: {done}/{of}')


def open_camera(settings: CameraSettings) -> Source:
    """The source that the parameters name. Raises InputError where it is missing or makes no sense."""
    kind, _, seed = settings.source.partition(':')
    rate = settings.rate or None
    if kind != 'synthetic' or (seed and not seed.isdigit()) or settings.calibration:
        return open_source(settings.source, settings.calibration or None, rate, settings.loop)
    from cliff_ros.synthetic import Sequence

    scene: dict[str, Any] = {
        'seed': int(seed or 0),
        'width': settings.width,
        'height': settings.height,
        'seconds': settings.seconds,
        'people': settings.people,
    }
    if rate:
        scene['fps'] = rate
    return SyntheticSource(Sequence(**scene))


def info_message(camera: Camera) -> CameraInfo:
    """A CameraInfo without header."""
    R = np.eye(3) if camera.R is None else camera.R
    P = np.column_stack([camera.K, np.zeros(3)]) if camera.P is None else camera.P
    return CameraInfo(
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=[float(v) for v in camera.d] or [0.0] * 5,
        k=camera.K.reshape(-1),
        r=R.reshape(-1),
        p=P.reshape(-1),
    )


def image_message(image: np.ndarray, encoding: str, header: Header) -> Image:
    """image: (H, W, 3) RGB."""
    conversion = _ENCODINGS[encoding]
    pixels = image if conversion is None else cv2.cvtColor(image, conversion)
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=pixels.size // height,
        data=to_message_array(pixels),
    )


def compressed_message(image: np.ndarray, header: Header) -> CompressedImage:
    """image: (H, W, 3) RGB."""
    _, jpeg = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return CompressedImage(header=header, format='rgb8; jpeg compressed bgr8', data=to_message_array(jpeg))


def _heard(publisher: Publisher[Any]) -> bool:
    return publisher.get_subscription_count() > 0


def _play(node: CameraNode, stop: StopRequest, failures: list[str]) -> None:
    """Spin until the source has ended, or somebody asks the process to."""

    def play() -> None:
        try:
            node.play()
        except _Closed:
            pass
        except CliffError as error:  # a source may turn out to be damaged half way through
            failures.append(str(error))
        except Exception:
            if not stop:  # then the context goes while an image is on its way
                raise

    player = threading.Thread(target=play, name='camera_player', daemon=True)
    player.start()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stop and player.is_alive() and rclpy.ok():
            spin_once(executor, node, node.complain, 0.1)
    finally:
        node.close()
        player.join(0.5)


def main(args: list[str] | None = None) -> int:
    """Play until the source ends or a signal comes; exit status 1, with the reason in the log, where that fails."""
    failures: list[str] = []
    with ros(args) as stop:
        try:
            _play(CameraNode(), stop, failures)
        except CliffError as error:
            failures.append(str(error))
        finally:
            for sentence in failures:
                rclpy.logging.get_logger('camera').error(sentence)
    return 1 if failures else 0


if __name__ == '__main__':
    signals.leave(main())
