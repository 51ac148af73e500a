"""Shared fixtures: a ROS graph of our own, and small files that stand for the trained ones."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import cached_property

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # as the installed programs do

import numpy as np
import pytest

SIZE = WIDTH, HEIGHT = 640, 480
FOCAL = 500.0
FRAME = 'camera_optical_frame'
CELL = 80  # raw pixels: the tiny detector sees 8x8 cells of its 64x64 input


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path, parent):
    """Collect our modules the ordinary way, also where launch_testing's plugin is present (a sourced workspace).

    That plugin imports every module while their *folder* is collected: a single module that skips itself, for want of
    an optional package, then takes all others along. None of ours is a launch test.
    """
    return pytest.Module.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(items):
    """`make test` runs two processes side by side: one has all that talks over ROS, so that no two graphs disturb each
    other, and begins at once, as that takes longest. Other tests of a file stay together, and share what they make.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group('graph' if 'ros' in item.fixturenames else item.path.name))
    items.sort(key=lambda item: item.get_closest_marker('xdist_group').args[0] != 'graph')


def cell_picture(*cells: tuple[int, int]) -> np.ndarray:
    """An image in which the tiny detector finds a person at each (row, column) and nobody else."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for row, column in cells:
        image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 255
    return image


@pytest.fixture(scope='session')
def tiny_files(tmp_path_factory) -> dict[str, str]:
    """``model``: a runtime graph that always sees the resting body. ``detector``: finds white cells."""
    pytest.importorskip('onnx', reason='the tiny graphs of these tests are built with onnx')
    from graphs import FLOAT, runtime_graph, save, tensor
    from onnx import helper

    from cliff_ros.body import load_body

    folder = tmp_path_factory.mktemp('tiny')
    rows = np.zeros((1, 4, 84), np.float32)
    y, x = np.divmod(np.arange(64), 8)
    rows[0, :, :64] = [x * 8 + 4, y * 8 + 4, np.full(64, 6), np.full(64, 16)]
    n = helper.make_node
    nodes = [
        n('AveragePool', ['images'], ['cells'], kernel_shape=[8, 8], strides=[8, 8]),
        n('ReduceMean', ['cells'], ['gray'], axes=[1], keepdims=1),
        n('Reshape', ['gray', 'flat'], ['scores']),
        n('Pad', ['scores', 'pads'], ['all_scores']),
        n('Concat', ['rows', 'all_scores'], ['output'], axis=1),
    ]
    constants = {'flat': np.array([1, 1, 64], np.int64), 'pads': np.array([0, 0, 0, 0, 0, 20], np.int64), 'rows': rows}
    detector = save(
        folder / 'cells.onnx',
        nodes,
        [tensor('images', [1, 3, 64, 64], FLOAT)],
        [tensor('output', [1, 5, 84])],
        constants,
    )
    return {
        'model': str(runtime_graph(folder / 'rest.onnx', load_body())),
        'detector': str(detector),
        'refine_boxes': False,
    }  # the tiny graph sees a body of one size in every box: following it leads astray


def _free_domain() -> int:
    """A DDS domain whose first discovery port nobody on this machine has taken (DDSI-RTPS 2.2, 9.6.1)."""
    for domain in random.sample(range(1, 101), 100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', 7400 + 250 * domain + 10))
            except OSError:
                continue
            return domain
    pytest.fail('all DDS domains are taken on this machine')


@pytest.fixture(scope='session')
def ros():
    """rclpy in a DDS domain of this test run, which does not leave the machine."""
    rclpy = pytest.importorskip('rclpy', reason='needs ROS 2')
    pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', str(_free_domain()))
        if os.environ.get('ROS_DISTRO') == 'humble':
            patch.setenv('ROS_LOCALHOST_ONLY', '1')
        else:
            patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        # Shared memory that killed processes of earlier tests left behind can swallow small messages.
        patch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
        rclpy.init(domain_id=int(os.environ['ROS_DOMAIN_ID']))
        yield rclpy
        rclpy.try_shutdown()


@pytest.fixture(scope='session')
def vision(ros):
    """The module vision_msgs.msg; where vision_msgs is not installed, built once (half a minute) into build/."""
    from bench.vision import NotBuilt, messages

    try:
        return messages()
    except NotBuilt as error:
        pytest.skip(str(error))


class Peer:
    """The other side: a camera, and somebody who listens."""

    def __init__(self, namespace: str = '') -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import CameraInfo

        # A context of its own, as a process of its own would have: DDS sees two participants.
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=int(os.environ['ROS_DOMAIN_ID']))
        self.node = rclpy.create_node('peer', namespace=namespace, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.infos = self.node.create_publisher(CameraInfo, 'camera_info', 10)
        self.heard: dict[str, list] = {}

    @cached_property
    def images(self):
        """The publisher of raw images."""
        from sensor_msgs.msg import Image

        return self.node.create_publisher(Image, 'image', 10)

    def listen(self, kind: type, topic: str, qos=50) -> list:
        """The list that fills with the messages of a topic."""
        messages = self.heard.setdefault(topic, [])
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def until(self, condition, timeout: float = 20.0) -> bool:
        """Spin until the condition holds; whether it did."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                return False
            self.executor.spin_once(timeout_sec=0.02)
        return True

    def spin(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def image(self, pixels: np.ndarray, stamp: tuple[int, int], frame_id: str = FRAME, encoding: str = 'rgb8'):
        """An Image message."""
        from builtin_interfaces.msg import Time
        from sensor_msgs.msg import Image
        from std_msgs.msg import Header

        header = Header(stamp=Time(sec=stamp[0], nanosec=stamp[1]), frame_id=frame_id)
        height, width = pixels.shape[:2]
        return Image(
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            step=pixels.nbytes // height,
            data=pixels.tobytes(),
        )

    def info(self, stamp: tuple[int, int], frame_id: str = FRAME, size=SIZE, focal: float = FOCAL):
        """A CameraInfo message."""
        from builtin_interfaces.msg import Time
        from sensor_msgs.msg import CameraInfo
        from std_msgs.msg import Header

        width, height = size
        k = [focal, 0.0, width / 2 - 0.5, 0.0, focal, height / 2 - 0.5, 0.0, 0.0, 1.0 if focal else 0.0]
        k = k if focal else [0.0] * 9
        header = Header(stamp=Time(sec=stamp[0], nanosec=stamp[1]), frame_id=frame_id)
        return CameraInfo(header=header, width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5, k=k)

    def change(self, transition: str, node: str = '/cliff') -> bool:
        """Ask a lifecycle node for a transition; whether it succeeded."""
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request()
        request.transition.label = transition
        return self.call(ChangeState, f'{node}/change_state', request).success

    def state(self, node: str = '/cliff') -> str:
        from lifecycle_msgs.srv import GetState

        return self.call(GetState, f'{node}/get_state', GetState.Request()).current_state.label

    def set(self, node: str = '/cliff', **values) -> str:
        """Set parameters; the reasons given where they are refused."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        results = self.call(SetParameters, f'{node}/set_parameters', request).results
        return ' '.join(result.reason for result in results if not result.successful)

    def call(self, kind: type, name: str, request):
        """The response of a service."""
        client = self.node.create_client(kind, name)
        try:
            assert self.until(client.service_is_ready), f'{name} is not there'
            future = client.call_async(request)
            assert self.until(future.done, 60.0), f'{name} does not answer'
            return future.result()
        finally:
            self.node.destroy_client(client)

    def bring_up(self) -> None:
        """Configure and activate the node, and wait until it listens to this camera."""
        assert self.change('configure') and self.change('activate')
        assert self.until(lambda: self.images.get_subscription_count())
        assert self.until(lambda: self.infos.get_subscription_count())

    def show(self, pixels: np.ndarray, stamp: tuple[int, int]) -> None:
        """Publish an image with its CameraInfo."""
        self.infos.publish(self.info(stamp))
        self.images.publish(self.image(pixels, stamp))

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def peer(ros):
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def cliff(ros, tiny_files):
    """``cliff(namespace, parameter=value, ...)``: the node on the tiny files, spinning in a thread; unconfigured."""
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter

    from cliff_ros.ros.node import CliffNode
    from cliff_ros.ros.runtime.spinning import spin_once

    nodes = []

    class Opened(CliffNode):
        """What its states hold, by one name each, for tests that look inside; None in the other states."""

        worker = property(lambda self: self.configured and self.configured.worker)
        pipeline = property(lambda self: self.configured and self.configured.pipeline)
        outputs = property(lambda self: self.configured and self.configured.outputs)
        inputs = property(lambda self: self.active and self.active.inputs)
        watchdog = property(lambda self: self.active and self.active.watchdog)

    def make(namespace: str = '', **parameters) -> CliffNode:
        values = {
            **tiny_files,
            'engine': 'onnx',
            'score_threshold': 0.6,
            'num_threads': 1,
            'smoothing': False,
            **parameters,
        }
        node = Opened(
            namespace=namespace, parameter_overrides=[Parameter(name, value=value) for name, value in values.items()]
        )
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        running = threading.Event()
        running.set()

        def spin() -> None:
            while running.is_set():
                spin_once(executor, node, node.complain, 0.05)

        thread = threading.Thread(target=spin, daemon=True)
        thread.start()
        nodes.append((node, executor, thread, running))
        return node

    yield make
    for node, executor, thread, running in nodes:
        running.clear()
        thread.join(10)
        executor.shutdown()
        node.destroy_node()


@pytest.fixture
def start(ros):
    """``start(module, parameters, remappings)`` runs a node as a process, as a user would."""
    children = []

    def run(module: str, remappings: dict[str, str] | None = None, **parameters) -> subprocess.Popen:
        words = [word for name, value in parameters.items() for word in ('-p', f'{name}:={value}')]
        words += [word for name, topic in (remappings or {}).items() for word in ('-r', f'{name}:={topic}')]
        # A shell's background jobs ignore SIGINT, and children inherit that.
        child = subprocess.Popen(
            [sys.executable, '-m', module, '--ros-args', *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        children.append(child)
        return child

    yield run
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()
