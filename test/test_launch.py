"""The launch files, as descriptions and run by the real `ros2 launch`.

PyPI has neither: where no distribution or workspace brings them, all of this skips.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

pytest.importorskip('launch_ros', reason='launch_ros is not installed (it comes with a ROS 2 distribution)')

from launch import LaunchContext, LaunchDescription, LaunchDescriptionSource  # noqa: E402
from launch.actions import DeclareLaunchArgument  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402

from cliff_ros.engine import ENGINES  # noqa: E402

LAUNCH = Path(__file__).resolve().parents[1] / 'launch'
WORDS = 60.0  # [s] at most until the launch says what is waited for

real_launch = pytest.mark.skipif(shutil.which('ros2') is None, reason='the command ros2 is not installed')


def declared(name: str) -> dict[str, DeclareLaunchArgument]:
    source: LaunchDescriptionSource = PythonLaunchDescriptionSource(str(LAUNCH / name))
    description: LaunchDescription = source.get_launch_description(LaunchContext())
    return {argument.name: argument for argument in description.get_launch_arguments()}


def test_cliff_launch_describes_its_arguments() -> None:
    arguments = declared('cliff.launch.py')
    assert set(arguments) == {
        'image', 'camera_info', 'detections', 'params_file', 'namespace', 'model', 'body', 'engine',
        'detector', 'autostart', 'rviz', 'use_sim_time', 'log_level'}
    assert arguments['engine'].choices == ['', *ENGINES]
    assert arguments['rviz'].choices == ['true', 'false', 'auto']
    for argument in arguments.values():
        assert argument.description != 'no description given', argument.name


def test_demo_launch_takes_the_arguments_of_both_nodes() -> None:
    arguments = declared('demo.launch.py')
    assert {'source', 'calibration', 'rate', 'seconds', 'loop'} <= set(arguments)
    assert set(declared('cliff.launch.py')) <= set(arguments)
    for argument in arguments.values():
        assert argument.description != 'no description given', argument.name


class Launched:
    """A running `ros2 launch`, with what it has said so far."""

    def __init__(self, arguments: tuple[str, ...], domain: int) -> None:
        env = {'AMENT_PREFIX_PATH': sys.prefix, **os.environ, 'ROS_DOMAIN_ID': str(domain)}
        # A shell's background jobs ignore SIGINT, and children inherit that.
        self.process = subprocess.Popen(
            ['ros2', 'launch', 'cliff_ros', *arguments], env=env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
        self.lines: list[str] = []
        threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True).start()

    @property
    def output(self) -> str:
        return ''.join(self.lines)

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + WORDS
        while not re.search(words, self.output):
            assert self.process.poll() is None, f'it ended:\n{self.output}'
            assert time.monotonic() < deadline, f'no {words!r} in:\n{self.output}'
            time.sleep(0.1)

    def kill(self) -> None:
        """Leave nothing behind: a launch that is killed does not end its nodes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def launched(*arguments: str, domain: int) -> Iterator[Launched]:
    launch = Launched(arguments, domain)
    try:
        yield launch
        launch.process.send_signal(signal.SIGINT)
        assert launch.process.wait(20) == 0, launch.output
        assert launch.output.count('has finished cleanly') == launch.output.count('started with pid')
    finally:
        launch.kill()


@pytest.fixture
def domain() -> int:
    return 1 + os.getpid() % 100


@pytest.mark.slow
@real_launch
def test_demo_brings_the_node_to_active_and_people_arrive(domain: int) -> None:
    import rclpy
    from rclpy.qos import qos_profile_sensor_data

    from cliff_ros.msg import SmplArray

    with launched('demo.launch.py', 'seconds:=2', 'rviz:=false', domain=domain) as launch:
        launch.wait_for('/cliff is active')
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node('launch_test', context=context)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        arrays: list[SmplArray] = []
        node.create_subscription(SmplArray, '/cliff/people', arrays.append, qos_profile_sensor_data)
        deadline = time.monotonic() + 60
        while not any(array.people for array in arrays):
            assert time.monotonic() < deadline, f'{len(arrays)} arrays, nobody in them:\n{launch.output}'
            executor.spin_once(timeout_sec=0.2)
        assert arrays[-1].header.frame_id == 'camera_optical_frame'
        node.destroy_node()
        rclpy.shutdown(context=context)


@pytest.mark.slow
@real_launch
def test_launch_says_what_to_do_when_the_node_cannot_be_configured(domain: int) -> None:
    arguments = ('cliff.launch.py', 'namespace:=robot', 'model:=/nowhere/model.onnx')
    with launched(*arguments, domain=domain) as launch:
        launch.wait_for('/robot/cliff could not be configured.*ros2 lifecycle set /robot/cliff configure')
        assert '/nowhere/model.onnx' in launch.output


@pytest.mark.slow
@real_launch
def test_unknown_engine_is_refused_with_the_choices(domain: int) -> None:
    launch = Launched(('cliff.launch.py', 'engine:=abacus'), domain)
    assert launch.process.wait(30) == 1
    assert 'tensorrt' in launch.output
