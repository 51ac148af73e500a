"""A camera, a node and what is heard of it, for `make soak`: all that faults are done to (bench/faults.py)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from bench import vision
from bench.frames import filmed, frame_of
from cliff_ros.camera import Camera
from cliff_ros.demo.processes import Processes
from cliff_ros.msg import SmplArray
from cliff_ros.pipeline import Pipeline
from cliff_ros.ros.camera_node import image_message, info_message
from cliff_ros.ros.outputs.cdr import SENTINEL_STAMP, STAMP, Template, stamp_slot
from cliff_ros.ros.runtime import qos

FRAME_ID = 'camera_optical_frame'
PEOPLE = 2
NORMAL, LARGER = 0.5, 0.75  # of 1280x720
MAIN, SECOND = 'cliff', 'second/cliff'  # nodes: one that runs all the time, one that is started for some faults
OK = DiagnosticStatus.OK


class Film:
    """Images of a known number of people, with their calibration and boxes, at two sizes."""

    def __init__(self) -> None:
        camera, images = filmed(PEOPLE)
        pipeline = Pipeline(engine='onnx', smoothing=False)
        self.cameras, self.images, self.boxes = {}, {}, []
        for scale in (NORMAL, LARGER):
            size = round(camera.width * scale), round(camera.height * scale)
            K = camera.K.copy()
            K[:2] *= scale
            K[:2, 2] += 0.5 * scale - 0.5  # centers of pixels are at integers
            self.cameras[scale] = Camera(*size, K, camera.distortion_model, camera.d)
            self.images[scale] = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
        for image in self.images[NORMAL]:
            frame = frame_of(image, self.cameras[NORMAL])
            self.boxes.append([box.xyxy for box in pipeline.detector(frame.image, frame.order)])

    @cache  # noqa: B019  there is one film
    def messages(self, scale: float, encoding: str, said: str) -> list[Template]:
        """Serialised images in an encoding, which is said to be another."""
        out = []
        for image in self.images[scale]:
            message = image_message(image, encoding, Header(stamp=SENTINEL_STAMP, frame_id=FRAME_ID))
            message.encoding = said or encoding
            out.append(Template(message, {'stamp': stamp_slot(1)}))
        return out


@dataclass(frozen=True)
class State:
    """What the camera, the detector and the clock do at present.

    said: the encoding that images claim; empty: the one they have. damage: of a serialised message, told whether it is
    an image. stamp: of the time [s]. zoom: of the calibration; 0: there is none.
    """

    running: bool = True
    scale: float = NORMAL
    encoding: str = 'bgr8'
    said: str = ''
    frame_id: str = FRAME_ID
    infos: bool = True
    info_scale: float = NORMAL
    zoom: float = 1.0
    boxes: bool = True
    stamp: Callable[[float], float] = float
    damage: Callable[[bytes, bool], bytes] | None = None


@dataclass(frozen=True)
class Said:
    when: float  # time.monotonic()
    level: bytes
    message: str


class World:
    """Owns the ROS node of this process and the nodes under test; to be used in a ``with`` block."""

    def __init__(self, folder: Path, rate: float) -> None:
        """rate [Hz]: of the camera."""
        self.film, self.state, self.folder, self.rate = Film(), State(), folder, rate
        self.late = 0.0  # [s] this process was kept waiting at most, by whatever else runs
        self.processes = Processes(folder / 'logs', dict(os.environ))
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('soak', context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.said: dict[str, deque[Said]] = defaultdict(lambda: deque(maxlen=500))
        self.answers: dict[str, deque[tuple[float, float, int]]] = defaultdict(lambda: deque(maxlen=20_000))
        self.images = self.image_publisher(qos.reliable(2))
        self.infos = self.node.create_publisher(CameraInfo, '/camera_info', qos.reliable(2))
        self.faults = self.node.create_publisher(String, f'/{MAIN}/fault', 10)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 50)
        for name in (MAIN, SECOND):
            self.node.create_subscription(SmplArray, f'/{name}/people', self._listener(name), qos.reliable(10))
        self.sent, self._due = 0, time.monotonic()
        self.each: Callable[[], None] = lambda: None  # called about once a second
        self._next_second = 0.0
        self._info = {scale: info_message(camera) for scale, camera in self.film.cameras.items()}
        try:
            self.vision: ModuleType | None = vision.messages()
            self._boxes = self.node.create_publisher(self.vision.Detection2DArray, '/detections', 10)
        except vision.NotBuilt:
            self.vision = None

    def image_publisher(self, profile):
        return self.node.create_publisher(Image, '/image', profile)

    # ---- time goes on

    def until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Send and receive until the condition holds; whether it did in time."""
        end = time.monotonic() + timeout
        while not condition():
            now = time.monotonic()
            if now > end:
                return False
            if now >= self._next_second:
                self._next_second = now + 1.0
                self.each()
            if now >= self._due:
                self._due = max(self._due + 1.0 / self.rate, now - 1.0 / self.rate)
                self._send()
            before = time.monotonic()
            self._executor.spin_once(timeout_sec=max(0.0, min(0.01, self._due - before)))
            self.late = max(self.late, time.monotonic() - before - 0.01)
        return True

    def spin(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def _send(self) -> None:
        state, film = self.state, self.film
        if not state.running:
            return
        index = self.sent % len(film.images[NORMAL])
        self.sent += 1
        seconds = state.stamp(time.time())
        stamp = int(seconds), int(seconds % 1 * 1e9)
        header = Header(stamp=Time(sec=stamp[0], nanosec=stamp[1]), frame_id=state.frame_id)
        if state.infos:
            info = self._info[state.info_scale]
            k = info.k.copy()
            k[[0, 4]] *= state.zoom
            k *= state.zoom > 0
            info = CameraInfo(
                header=header,
                height=info.height,
                width=info.width,
                distortion_model=info.distortion_model,
                d=info.d,
                k=k,
            )
            self.infos.publish(state.damage(serialize_message(info), False) if state.damage else info)
        image = film.messages(state.scale, state.encoding, state.said)[index]
        image.fill('stamp', np.array(stamp, STAMP))
        raw = image.tobytes()
        self.images.publish(state.damage(raw, True) if state.damage else raw)
        if self.vision and state.boxes and self._boxes.get_subscription_count():
            self._boxes.publish(self._detections(header, film.boxes[index]))

    def _detections(self, header: Header, boxes: list[np.ndarray]):
        found = []
        for x0, y0, x1, y1 in boxes:
            one = self.vision.Detection2D()
            one.bbox.center.position.x, one.bbox.center.position.y = float(x0 + x1) / 2, float(y0 + y1) / 2
            one.bbox.size_x, one.bbox.size_y = float(x1 - x0), float(y1 - y0)
            found.append(one)
        return self.vision.Detection2DArray(header=header, detections=found)

    # ---- what is heard

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = status.name.partition(':')[0]
            self.said[name].append(Said(time.monotonic(), status.level, status.message))

    def _listener(self, name: str) -> Callable[[SmplArray], None]:
        def listen(message: SmplArray) -> None:
            stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
            self.answers[name].append((time.monotonic(), stamp, len(message.people)))

        return listen

    def said_at(self, name: str, level: bytes, words: str, since: float) -> float | None:
        """When a node first said so on /diagnostics since a moment; all on time.monotonic()."""
        return next(
            (s.when for s in self.said[name] if s.when >= since and s.level == level and words in s.message), None
        )

    def well_at(self, name: str, since: float) -> float | None:
        """When a node first said on /diagnostics that all is well and people are found."""
        return self.said_at(name, OK, ' people, ', since)

    def gone_at(self, name: str, words: str, since: float) -> float | None:
        """When a node first said something on /diagnostics, and that no more."""
        return next((s.when for s in self.said[name] if s.when >= since and words not in s.message), None)

    def seen_at(self, name: str, since: float) -> float | None:
        """When everybody was first seen in an image that was taken since a moment."""
        taken = time.time() - time.monotonic() + since
        return next(
            (
                when
                for when, stamp, count in self.answers[name]
                if when >= since and count == PEOPLE and taken <= stamp <= taken + when - since
            ),
            None,
        )

    def longest_gap(self, name: str, since: float) -> float:
        """Between two answers, until now [s]."""
        times = [since, *(when for when, *_ in self.answers[name] if when >= since), time.monotonic()]
        return float(np.diff(times).max())

    # ---- nodes

    def start(self, name: str, module: str, env: dict[str, str] | None = None, **parameters: object) -> None:
        """Start the node of that full name."""
        namespace = name.rpartition('/')[0]
        words = [word for key, value in parameters.items() for word in ('-p', f'{key}:={json.dumps(value)}')]
        for topic in ('image', 'camera_info', 'detections'):
            words += ['-r', f'{topic}:=/{topic}']
        self.processes.env = dict(os.environ) | (env or {})
        self.said[name].clear()
        self.answers[name].clear()
        self.processes.start(
            name.replace('/', '_'),
            ['-m', module, '--ros-args', *(['-r', f'__ns:=/{namespace}'] if namespace else []), *words],
        )

    def process(self, name: str) -> subprocess.Popen:
        return self.processes._children[name.replace('/', '_')]

    def end(self, name: str) -> None:
        """With SIGINT."""
        self.processes.stop(name.replace('/', '_'))

    def kill(self, name: str) -> None:
        child = self.process(name)
        child.send_signal(signal.SIGKILL)
        child.wait()

    def listener(self, topic: str) -> subprocess.Popen:
        """A subscriber in a process of its own, that has found the topic."""
        program = (
            'import rclpy; from cliff_ros.msg import SmplArray; rclpy.init(); node = rclpy.create_node("listener"); '
            f'node.create_subscription(SmplArray, {topic!r}, lambda message: None, 1000); rclpy.spin(node)'
        )
        before = self.node.count_subscribers(topic)
        child = subprocess.Popen([sys.executable, '-c', program])
        if not self.until(lambda: self.node.count_subscribers(topic) > before, 30.0):
            child.kill()
            raise TimeoutError(f'nobody listens to {topic}')
        return child

    # ---- services

    def call(self, kind: type, name: str, request, timeout: float = 30.0):
        """The response of a service. Raises TimeoutError."""
        client = self.node.create_client(kind, name)
        try:
            if not self.until(client.service_is_ready, timeout):
                raise TimeoutError(f'{name} is not there')
            future = client.call_async(request)
            if not self.until(future.done, timeout):
                raise TimeoutError(f'{name} does not answer')
            return future.result()
        finally:
            self.node.destroy_client(client)

    def change(self, transition: str, name: str = MAIN) -> bool:
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request()
        request.transition.label = transition
        return self.call(ChangeState, f'/{name}/change_state', request).success

    def lifecycle(self, name: str) -> str:
        from lifecycle_msgs.srv import GetState

        return self.call(GetState, f'/{name}/get_state', GetState.Request()).current_state.label

    def set(self, name: str = MAIN, **values: object) -> None:
        from rcl_interfaces.srv import SetParameters

        request = SetParameters.Request(
            parameters=[Parameter(key, value=value).to_parameter_msg() for key, value in values.items()]
        )
        self.call(SetParameters, f'/{name}/set_parameters', request)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exc) -> None:
        self.processes.__exit__(*exc)
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()
