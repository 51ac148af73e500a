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
from conftest import Peer
from places import ROOT

pytest.importorskip('launch_ros', reason='launch_ros is not installed (it comes with a ROS 2 distribution)')

from launch import LaunchContext, LaunchDescription, LaunchDescriptionSource
from launch.actions import DeclareLaunchArgument
from launch.launch_description_sources import PythonLaunchDescriptionSource
from sensor_msgs.msg import CameraInfo

from cliff_ros.engine import ENGINES
from cliff_ros.ros.runtime import middleware

LAUNCH = ROOT / 'launch'
WORDS = 60.0  # [s] at most until the launch says what is waited for

real_launch = pytest.mark.skipif(shutil.which('ros2') is None, reason='the command ros2 is not installed')


def declared(name: str) -> dict[str, DeclareLaunchArgument]:
    source: LaunchDescriptionSource = PythonLaunchDescriptionSource(str(LAUNCH / name))
    description: LaunchDescription = source.get_launch_description(LaunchContext())
    return {argument.name: argument for argument in description.get_launch_arguments()}


def test_cliff_launch_describes_its_arguments() -> None:
    arguments = declared('cliff.launch.py')
    assert set(arguments) == {
        'image',
        'camera_info',
        'detections',
        'params_file',
        'namespace',
        'model',
        'body',
        'engine',
        'detector',
        'image_transport',
        'tf_prefix',
        'autostart',
        'respawn',
        'rviz',
        'rviz_frame',
        'use_sim_time',
        'log_level',
    }
    assert arguments['engine'].choices == ['', *ENGINES]
    assert arguments['rviz'].choices == ['true', 'false', 'True', 'False', 'auto']
    for argument in arguments.values():
        assert argument.description != 'no description given', argument.name


def test_demo_launch_takes_the_arguments_of_both_nodes() -> None:
    arguments = declared('demo.launch.py')
    assert {'source', 'calibration', 'rate', 'seconds', 'width', 'height', 'loop'} <= set(arguments)
    assert set(declared('cliff.launch.py')) <= set(arguments)
    for argument in arguments.values():
        assert argument.description != 'no description given', argument.name


class Launched:
    """A running `ros2 launch`, with what it has said so far."""

    def __init__(self, arguments: tuple[str, ...], domain: int, **more: str) -> None:
        env = {'AMENT_PREFIX_PATH': sys.prefix, **os.environ, 'ROS_DOMAIN_ID': str(domain), **more}
        if 'FASTDDS_BUILTIN_TRANSPORTS' not in more:  # other tests of this run set it
            env.pop('FASTDDS_BUILTIN_TRANSPORTS', None)
        # A shell's background jobs ignore SIGINT, and children inherit that.
        self.process = subprocess.Popen(
            ['ros2', 'launch', 'cliff_ros', *arguments],
            env=env,
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.lines: list[str] = []
        self.deaths = 0  # processes that the test has killed
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

    def environment(self, program: str) -> dict[str, str]:
        """Of a process that the launch has started."""
        self.wait_for(rf'{program}-\d+.*started with pid')
        pid = re.search(rf'{program}-\d+\].*started with pid \[(\d+)\]', self.output)[1]
        entries = Path('/proc', pid, 'environ').read_text().split('\0')
        return dict(entry.split('=', 1) for entry in entries if '=' in entry)

    def kill(self) -> None:
        """Leave nothing behind: a launch that is killed does not end its nodes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def launched(*arguments: str, domain: int, **environment: str) -> Iterator[Launched]:
    launch = Launched(arguments, domain, **environment)
    try:
        yield launch
        launch.process.send_signal(signal.SIGINT)
        assert launch.process.wait(20) == 0, launch.output
        clean = launch.output.count('has finished cleanly')
        assert clean + launch.deaths == launch.output.count('started with pid'), launch.output
    finally:
        launch.kill()


@pytest.fixture
def domain() -> int:
    return 1 + os.getpid() % 100


@pytest.fixture
def peer(domain: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    """Somebody in the domain of the launch."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
    peer = Peer()
    yield peer
    peer.close()


def stamps(messages: list) -> set[tuple[int, int]]:
    return {(message.header.stamp.sec, message.header.stamp.nanosec) for message in messages}


@pytest.mark.slow
@real_launch
def test_demo_brings_the_node_to_active_and_people_arrive(domain: int, peer: Peer) -> None:
    """All images that the camera sends, 2.8 MB each, reach the node. Processing them is another matter."""
    from cliff_ros.msg import SmplArray, Timing

    with launched('demo.launch.py', 'seconds:=2', 'rviz:=False', domain=domain) as launch:
        launch.wait_for('/cliff is active')
        arrays, timing = peer.listen(SmplArray, '/cliff/people'), peer.listen(Timing, '/cliff/timing')
        infos = peer.listen(CameraInfo, '/camera/camera_info')
        assert peer.until(lambda: any(array.people for array in arrays), 60.0), launch.output
        assert arrays[-1].header.frame_id == 'camera_optical_frame'
        assert peer.until(lambda: timing, 60.0)

        def sent_since(stamp: tuple[int, int]) -> int:
            return sum(other > stamp for other in stamps(infos))

        first = timing[-1]
        start = first.header.stamp.sec, first.header.stamp.nanosec
        assert peer.until(lambda: sent_since(start) >= 75, 60.0)
        last = timing[-1]
        sent = sum(start < other <= (last.header.stamp.sec, last.header.stamp.nanosec) for other in stamps(infos))
        assert last.frames_received - first.frames_received >= 0.9 * sent, launch.output
        assert re.search("'/camera/image_raw' is received reliably, as /camera offers", launch.output)


@pytest.mark.slow
@real_launch
def test_the_demo_goes_into_a_namespace_with_topics_frames_and_rviz(domain: int, peer: Peer, tmp_path: Path) -> None:
    import yaml
    from tf2_msgs.msg import TFMessage

    from cliff_ros.msg import SmplArray

    kept = fake_rviz(tmp_path)
    people, tf = peer.listen(SmplArray, '/robot/cliff/people'), peer.listen(TFMessage, '/tf', 100)
    prefixes = os.pathsep.join([str(tmp_path), os.environ.get('AMENT_PREFIX_PATH', sys.prefix)])
    with launched(
        'demo.launch.py',
        'namespace:=robot',
        'rviz:=true',
        'image_transport:=compressed',
        'engine:=onnx',
        'seconds:=2',
        'width:=640',
        'height:=360',
        domain=domain,
        AMENT_PREFIX_PATH=prefixes,
    ) as launch:
        assert peer.until(lambda: any(array.people for array in people) and tf, 90.0), launch.output
        assert people[-1].header.frame_id == 'robot/camera_optical_frame'
        roots = {t.child_frame_id for m in tf for t in m.transforms if t.header.frame_id == people[-1].header.frame_id}
        assert roots and all(root.startswith('robot/smpl_') for root in roots)
        assert "'/robot/camera/image_raw/compressed' is received reliably" in launch.output
        assert peer.until(kept.exists, 60.0)
    config = yaml.safe_load(kept.read_text())['Visualization Manager']
    assert config['Global Options']['Fixed Frame'] == 'robot/camera_optical_frame'
    assert '/robot/cliff/mesh' in [display['Topic']['Value'] for display in config['Displays'] if 'Topic' in display]


def fake_rviz(prefix: Path) -> Path:
    """An ament prefix with a package rviz2, whose program keeps its configuration in the file that is returned."""
    kept, program = prefix / 'kept.rviz', prefix / 'lib' / 'rviz2' / 'rviz2'
    index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    for folder in (index, program.parent):
        folder.mkdir(parents=True)
    (index / 'rviz2').touch()
    program.write_text(f'#!/bin/sh\ncp "$2" {kept}.part && mv {kept}.part {kept}\n')
    program.chmod(0o755)
    return kept


@pytest.mark.slow
@real_launch
def test_arguments_reach_the_node_and_the_user_keeps_his_transports(domain: int, peer: Peer) -> None:
    from rcl_interfaces.srv import GetParameters

    arguments = (
        'cliff.launch.py',
        'namespace:=/robot/left/',
        'autostart:=False',
        'use_sim_time:=True',
        'tf_prefix:=eye_',
        'image_transport:=raw',
    )
    with launched(*arguments, domain=domain, FASTDDS_BUILTIN_TRANSPORTS='UDPv4') as launch:
        names = ['use_sim_time', 'tf_prefix', 'image_transport']
        answer = peer.call(GetParameters, '/robot/left/cliff/get_parameters', GetParameters.Request(names=names))
        sim_time, tf_prefix, transport = answer.values
        assert (sim_time.bool_value, tf_prefix.string_value, transport.string_value) == (True, 'eye_', 'raw')
        assert not any('PROFILES' in name for name in launch.environment('cliff_node'))


@pytest.mark.slow
@real_launch
def test_processes_get_a_profile_that_is_gone_with_the_launch(domain: int, tmp_path: Path) -> None:
    with launched('demo.launch.py', 'seconds:=2', 'rviz:=false', 'autostart:=false', domain=domain) as launch:
        profiles = [
            Path(value)
            for program in ('camera_node', 'cliff_node')
            for name, value in launch.environment(program).items()
            if 'PROFILES' in name
        ]
        if not profiles and middleware.beside_the_network({}, tmp_path) == {}:
            pytest.skip('too little shared memory')
        assert len(profiles) == 2 and all('UDPv4' in profile.read_text() for profile in profiles)
        launch.wait_for('Drawing the scene')
    assert not any(profile.exists() for profile in profiles)


@pytest.mark.slow
@real_launch
def test_a_params_file_that_is_not_there_is_refused(domain: int) -> None:
    launch = Launched(('cliff.launch.py', 'params_file:=/nowhere/mine.yaml'), domain)
    assert launch.process.wait(30) == 1
    assert "params_file '/nowhere/mine.yaml' is not there" in launch.output and 'cliff.yaml' in launch.output
    assert 'Traceback' not in launch.output and 'started with pid' not in launch.output


@pytest.mark.slow
@real_launch
def test_launch_says_what_to_do_when_the_node_cannot_be_configured(domain: int) -> None:
    arguments = ('cliff.launch.py', 'namespace:=robot', 'model:=/nowhere/model.onnx')
    with launched(*arguments, domain=domain) as launch:
        launch.wait_for('/robot/cliff could not be configured.*ros2 lifecycle set /robot/cliff configure')
        assert '/nowhere/model.onnx' in launch.output


@pytest.mark.slow
@real_launch
def test_a_node_that_is_killed_comes_back_to_active_and_says_how_often(domain: int, peer: Peer) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    said = peer.listen(DiagnosticArray, '/diagnostics')

    def values() -> dict[str, str]:
        return {value.key: value.value for value in said[-1].status[0].values} if said else {}

    with launched('cliff.launch.py', 'engine:=onnx', domain=domain) as launch:
        launch.wait_for('/cliff is active')
        for count in (1, 2):
            assert peer.until(lambda count=count: values().get('restarts') == str(count - 1), 30.0), launch.output
            pids = re.findall(r'cliff_node-\d+\].*started with pid \[(\d+)\]', launch.output)
            os.kill(int(pids[-1]), signal.SIGKILL)
            assert peer.until(
                lambda count=count: (
                    values() and values()['restarts'] == str(count) and values()['lifecycle'] == 'active'
                ),
                60.0,
            ), launch.output
            assert any(f'{count} times since the launch' in status.message for m in said for status in m.status)
        launch.wait_for('(?s)/cliff is active.*/cliff is active.*/cliff is active')
        launch.deaths = 2


@pytest.mark.slow
@real_launch
def test_without_respawn_a_node_that_dies_stays_away(domain: int) -> None:
    with launched('cliff.launch.py', 'respawn:=false', 'autostart:=false', domain=domain) as launch:
        launch.environment('cliff_node')
        pid = re.search(r'started with pid \[(\d+)\]', launch.output)[1]
        os.kill(int(pid), signal.SIGKILL)
        launch.wait_for('process has died')
        time.sleep(2.0)  # twice the delay after which it would be there again
        assert launch.output.count('started with pid') == 1
        launch.deaths = 1


@pytest.mark.slow
@real_launch
def test_unknown_engine_is_refused_with_the_choices(domain: int) -> None:
    launch = Launched(('cliff.launch.py', 'engine:=abacus'), domain)
    assert launch.process.wait(30) == 1
    assert 'tensorrt' in launch.output
