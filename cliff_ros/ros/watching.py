"""A node's people for a viewer: subscribes to what the node publishes and to the images it looks at; publishes nothing.

While nobody looks there is no subscription but the latched one.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from cliff_ros.body import BodyModel
from cliff_ros.camera import Camera
from cliff_ros.errors import CliffError, InputError
from cliff_ros.msg import SmplArray, SmplInfo
from cliff_ros.people import People
from cliff_ros.render.privacy import PEOPLE
from cliff_ros.ros.inputs.calibration import Calibration
from cliff_ros.ros.inputs.delivery import Delivery
from cliff_ros.ros.inputs.images import to_array
from cliff_ros.ros.inputs.limits import MOST_INFO_BYTES, check_bytes, most_image_bytes
from cliff_ros.ros.inputs.offers import type_name
from cliff_ros.ros.inputs.people_back import read_body, read_people
from cliff_ros.ros.inputs.wire import RawPicture, read_compressed_image, read_image
from cliff_ros.ros.runtime import qos
from cliff_ros.ros.runtime.complaints import Complaints
from cliff_ros.ros.runtime.guard import Guarded
from cliff_ros.ros.runtime.settings import CliffSettings
from cliff_ros.ros.runtime.spinning import spin_once
from cliff_ros.view.moment import Moment
from cliff_ros.view.viewer import Viewer

_PATIENCE = 1.0  # [s] between looks at the graph while the node is not there
_POLL = 0.2  # [s]
_KEPT, _KEPT_BYTES = 32, 96 << 20  # images that wait for their people
_LATEST = 10.0  # [s]: an older stamp is of another clock, and tells no latency

logger = logging.getLogger(__name__)


class _Node(Guarded, Node):
    def __init__(self, context: rclpy.Context) -> None:
        # Nobody may change or ask anything here: no services, no topic of its own.
        super().__init__('cliff_view', context=context, start_parameter_services=False, enable_rosout=False)
        self.complain = Complaints(self.get_logger())


class Watcher:
    """One of a viewer's cameras: the node of this name, '' for the first that is found. number: in the viewer.

    body: of the node, if it is not the embedded one.
    """

    def __init__(self, name: str = '', body: str = 'embedded', number: int = 0) -> None:
        self._wanted, self._given, self._number = name.strip(), body, number
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = _Node(self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        settings = CliffSettings()
        self._calibrations = [
            Calibration(made, self._node.complain)
            for made in (settings, CliffSettings(image_is_rectified=True))
        ]  # fmt: skip
        self._most = most_image_bytes(settings.max_image_pixels)
        self._body: BodyModel | None = None
        self._privacy = PEOPLE  # until the node has said
        self._info: bytes | None = None
        self._camera: Camera | None = None
        self._images: OrderedDict[tuple[int, int], RawPicture] = OrderedDict()
        self._inputs: list[Delivery] = []
        self._people: Any = None
        self._latched: Any = None
        self._viewer: Viewer | None = None
        self.found = ''
        self.received = self.without_image = 0

    def play(self, viewer: Viewer, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Until another camera is chosen, or ``stopped``; always True: a node may come back."""
        self._viewer = viewer
        looked, said = 0.0, ''
        try:
            while not stopped() and viewer.control.source == self._number:
                now = time.monotonic()
                if not viewer.watched:
                    self._stop()
                    said = ''
                elif self._people is None and now - looked > _PATIENCE:
                    looked = now
                    problem = self._start()
                    if problem != said:
                        said = problem
                        viewer.say(problem)
                spin_once(self._executor, self._node, self._node.complain, _POLL)
        finally:
            self._stop()
        return True

    def close(self) -> None:
        """Unsubscribe, and shut down the node and the rclpy context that it was given for itself."""
        self._stop()
        if self._latched is not None:
            self._node.destroy_subscription(self._latched)
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    # ---- subscriptions

    def _start(self) -> str:
        """Subscribe, if the node is there; else a sentence that says what is waited for."""
        name = self._find()
        if not name:
            which = f"the node '{self._wanted}'" if self._wanted else 'a node that publishes people'
            return f'Waiting for {which} (cliff_ros/SmplArray on ~/people): is it active, in this ROS_DOMAIN_ID?'
        self.found = name
        if self._latched is None:
            self._latched = self._node.create_subscription(
                SmplInfo, f'{name}/body', self._on_body, qos.latched(), raw=True
            )
        self._people = self._node.create_subscription(
            SmplArray, f'{name}/people', self._on_people, qos.reliable(5), raw=True
        )
        for kind, callback in ((CameraInfo, self._on_info), (Image, self._on_image), (CompressedImage, self._on_jpeg)):
            for topic in self._inputs_of(name, kind):
                latched = kind is CameraInfo
                delivery = Delivery(
                    self._node, kind, topic, callback, self._node.complain, raw=True, depth=2, latched=latched
                )
                delivery.open()
                self._inputs.append(delivery)
        return f'{name}: waiting for an image'

    def _stop(self) -> None:
        for delivery in self._inputs:
            delivery.close()
        self._inputs.clear()
        if self._people is not None:
            self._node.destroy_subscription(self._people)
            self._people = None
        self._images.clear()

    def _find(self) -> str:
        """The full name of the node, '' while it is not there."""
        kind, ending = type_name(SmplArray), '/people'
        topics = [topic for topic, types in self._node.get_topic_names_and_types() if kind in types]
        names = sorted(topic.removesuffix(ending) for topic in topics if topic.endswith(ending))
        if self._wanted:
            wanted = '/' + self._wanted.lstrip('/')
            return wanted if wanted in names else ''
        return names[0] if names else ''

    def _inputs_of(self, name: str, kind: type) -> list[str]:
        """The topics of a kind that the node itself listens to."""
        namespace, _, own = name.rpartition('/')
        try:
            heard = self._node.get_subscriber_names_and_types_by_node(own, namespace or '/')
        except Exception:  # noqa: BLE001  rclpy's error for a node that has just gone is of its own C library
            return []
        return [topic for topic, types in heard if type_name(kind) in types]

    # ---- messages, in the thread that plays

    def _on_body(self, raw: bytes) -> None:
        try:
            self._body, self._privacy = read_body(raw, self._given)
        except CliffError as error:
            if self._viewer is not None:
                self._viewer.say(str(error))
            raise

    def _on_info(self, raw: bytes) -> None:
        check_bytes(raw, 'a CameraInfo', MOST_INFO_BYTES)
        self._info = raw

    def _on_image(self, raw: bytes) -> None:
        check_bytes(raw, 'an image', self._most)
        self._keep(read_image(raw), len(raw))

    def _on_jpeg(self, raw: bytes) -> None:
        check_bytes(raw, 'an image', self._most)
        self._keep(read_compressed_image(raw), len(raw))

    def _keep(self, image: RawPicture, size: int) -> None:
        self._images[image.stamp] = image
        while len(self._images) > max(1, min(_KEPT, _KEPT_BYTES // size)):
            self._images.popitem(last=False)

    def _on_people(self, raw: bytes) -> None:
        viewer = self._viewer
        self.received += 1
        if viewer is None or self._body is None or not viewer.control.wants:
            return
        stamp, _, people = read_people(raw)
        image = self._images.pop(stamp, None)
        while self._images and next(iter(self._images)) < stamp:  # nobody will be found in these any more
            self._images.popitem(last=False)
        pixels = None
        if image is not None and self._info is not None:
            pixels, order = to_array(image)
            height, width = pixels.shape[:2]
            self._camera = self._fitting(image.frame_id, (width, height), people)
            pixels = pixels if order == 'rgb' else pixels[..., ::-1]
        else:
            self.without_image += 1
        if self._camera is None:
            viewer.say(f'{self.found}: people came, but no image or CameraInfo that belongs to them')
            return
        viewer.show(
            Moment(
                self._camera, people, self._body, pixels, stamp[0] + 1e-9 * stamp[1], self._latency(stamp), {},
                f'{self.found}: {self.received} answers, {self.without_image} without their image',
                self._privacy,
            )
        )  # fmt: skip

    def _fitting(self, frame_id: str, size: tuple[int, int], people: People) -> Camera:
        """The camera as the node took it: of the image as received, or of a rectified one if that fits better."""
        found: list[tuple[float, Camera]] = []
        problem: InputError | None = None
        for calibration in self._calibrations:
            try:
                camera = calibration.camera(self._info, frame_id, size)
            except InputError as error:
                problem = problem or error
                continue
            errors = [np.abs(camera.project(person.joints) - person.joints2d) for person in people]
            found.append((float(np.nanmedian(errors)) if errors else 0.0, camera))
        if not found:
            assert problem is not None
            raise problem
        return min(found, key=lambda pair: round(pair[0], 2))[1]

    def _latency(self, stamp: tuple[int, int]) -> float | None:
        now = self._node.get_clock().now().nanoseconds
        age = (now - (stamp[0] * 10**9 + stamp[1])) * 1e-9
        return 1e3 * age if 0 <= age < _LATEST else None
