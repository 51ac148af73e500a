"""An independent consumer of the node's topics: ``python -m cliff_ros.demo.recorder FOLDER``.

It shares nothing with the camera and the node but DDS. While they run it only notes when which bytes
arrived, so that watching costs little; the bytes are read after SIGINT (or SIGTERM), and the
:class:`~cliff_ros.demo.recording.Recording` is saved. Every second it prints counts as one JSON line.
"""

from __future__ import annotations

from cliff_ros import signals

if __name__ == '__main__':
    signals.end_at_once(0)  # before the imports that take long

import argparse
import json
import struct
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import Point, Vector3
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from cliff_ros.camera import Camera
from cliff_ros.demo.recording import COUNTERS, STEPS, Messages, Recording
from cliff_ros.errors import OutputError
from cliff_ros.msg import SmplArray, SmplInfo, Timing
from cliff_ros.ros.inputs.people_back import people_of
from cliff_ros.ros.inputs.wire import RawImage, read_image
from cliff_ros.ros.runtime.program import ros

_JPEG_QUALITY = 92
_EVERYTHING = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
_SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_MARKERS_HEAD = struct.Struct('<4xIiI')  # CDR: encapsulation, number of markers, stamp of the first


class Recorder(Node):
    """Keeps (time received [ns], bytes) of every message; of images a JPEG, of meshes only their head."""

    def __init__(self, camera: str, node: str) -> None:
        super().__init__('cliff_recorder')
        self.tapes: dict[str, list[tuple[int, bytes]]] = {}
        self.images: dict[int, Future[bytes]] = {}
        self.meshes: list[tuple[int, int]] = []
        # One thread, so that compressing never keeps a message waiting to be noted.
        self._compressor = ThreadPoolExecutor(1)
        self._tape('truth', SmplArray, f'{camera}/truth', _EVERYTHING)
        self._tape('camera_info', CameraInfo, f'{camera}/camera_info', _SENSOR)
        self._tape('people', SmplArray, f'{node}/people', _EVERYTHING)
        self._tape('timing', Timing, f'{node}/timing', _EVERYTHING)
        self._tape('body', SmplInfo, f'{node}/body', _LATCHED)
        self._tape('tf', TFMessage, '/tf', _EVERYTHING)
        self.create_subscription(Image, f'{camera}/image_raw', self._image, _SENSOR, raw=True)
        self.create_subscription(MarkerArray, f'{node}/mesh', self._mesh, _EVERYTHING, raw=True)

    def counts(self) -> dict[str, int]:
        """How many messages came on each topic."""
        return {name: len(tape) for name, tape in self.tapes.items()} | {
            'images': len(self.images),
            'mesh': len(self.meshes),
        }

    def _tape(self, name: str, message_type: type, topic: str, qos: QoSProfile) -> None:
        tape = self.tapes[name] = []
        self.create_subscription(message_type, topic, lambda raw: tape.append((time.time_ns(), raw)), qos, raw=True)

    def _image(self, raw: bytes) -> None:
        image = read_image(raw)
        seconds, nanoseconds = image.stamp
        self.images[seconds * 10**9 + nanoseconds] = self._compressor.submit(_jpeg, image)

    def _mesh(self, raw: bytes) -> None:
        # An empty array has no first marker.
        whole = len(raw) >= _MARKERS_HEAD.size
        count, seconds, nanoseconds = _MARKERS_HEAD.unpack_from(raw) if whole else (0, 0, 0)
        self.meshes.append((count, seconds * 10**9 + nanoseconds))

    def recording(self) -> Recording:
        """Read all bytes."""
        infos = self._messages('camera_info', CameraInfo)
        transforms = [t for _, message in self._messages('tf', TFMessage) for t in message.transforms]
        timings = [message for _, message in self._messages('timing', Timing)]
        bodies = [message for _, message in self._messages('body', SmplInfo)]
        counts, stamps = zip(*self.meshes, strict=True) if self.meshes else ((), ())
        return Recording(
            camera=Camera.from_info(infos[0][1]) if infos else None,
            truth=self._people('truth'),
            estimate=self._people('people'),
            tf_stamps=np.array([_nanoseconds(t.header) for t in transforms], np.int64),
            tf_children=[t.child_frame_id for t in transforms],
            tf_translations=np.reshape([_xyz(t.transform.translation) for t in transforms], (-1, 3)),
            mesh_markers=np.array(counts, np.int64),
            mesh_stamps=np.array(stamps, np.int64),
            timing=np.reshape([[getattr(t, f'{step}_ms') for step in STEPS] for t in timings], (-1, len(STEPS))),
            counters={name: int(getattr(timings[-1], name)) for name in COUNTERS} if timings else {},
            info={name: getattr(bodies[-1], name) for name in ('model', 'engine', 'body', 'body_licence')}
            if bodies
            else {},
            body_npz=bytes(bodies[-1].body_npz) if bodies else b'',
            images={stamp: jpeg.result() for stamp, jpeg in self.images.items()},
        )

    def _messages(self, name: str, message_type: type[Any]) -> list[tuple[int, Any]]:
        return [(received, deserialize_message(raw, message_type)) for received, raw in self.tapes[name]]

    def _people(self, name: str) -> Messages:
        messages = self._messages(name, SmplArray)
        return Messages(
            stamps=np.array([_nanoseconds(message.header) for _, message in messages], np.int64),
            frame_ids=[message.header.frame_id for _, message in messages],
            received=np.array([received for received, _ in messages], np.int64),
            people=[people_of(message) for _, message in messages],
        )


def _jpeg(image: RawImage) -> bytes:
    rows = np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)[:, : image.width * 3]
    pixels = rows.reshape(image.height, image.width, 3)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if image.encoding == 'rgb8' else pixels
    return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def _nanoseconds(header: Header) -> int:
    return int(header.stamp.sec * 10**9 + header.stamp.nanosec)


def _xyz(vector: Vector3 | Point) -> tuple[float, float, float]:
    return vector.x, vector.y, vector.z


def main(argv: list[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM, then save into the folder; exit status 1 if that fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--camera', default='/camera', help='namespace of the camera')
    parser.add_argument('--node', default='/cliff', help='name of the node')
    args = parser.parse_args(argv)

    status = 0
    with ros() as stop:
        recorder = Recorder(args.camera, args.node)
        executor = SingleThreadedExecutor()
        executor.add_node(recorder)
        told = time.monotonic()
        while not stop:
            executor.spin_once(timeout_sec=0.1)
            if time.monotonic() - told >= 1.0:
                told = time.monotonic()
                print(json.dumps(recorder.counts()), flush=True)
        print(json.dumps(recorder.counts()), flush=True)
        try:
            recorder.recording().save(args.folder)
            print('saved', flush=True)
        except OutputError as error:
            print(f'recorder: {error}', flush=True)
            status = 1
        recorder.destroy_node()
    return status


if __name__ == '__main__':
    signals.leave(main())
