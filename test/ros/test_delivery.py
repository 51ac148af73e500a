"""Images arrive: subscriptions follow what publishers offer, and what gets lost is said; over a real graph."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Peer, cell_picture
from places import ROOT

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Log
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from cliff_ros.msg import SmplArray
from cliff_ros.ros.inputs.loss import Losses, missing
from cliff_ros.ros.inputs.offers import BEST_EFFORT, LATCHED, RELIABLE, VOLATILE, Wanted, choose
from cliff_ros.ros.runtime import middleware, qos

ONE = cell_picture((2, 2))
TINY = np.zeros((8, 8, 3), np.uint8)


def profile(reliability=RELIABLE, durability=VOLATILE, depth=10) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=reliability, durability=durability)


# ---- the choice


@pytest.mark.parametrize(
    'offered, options, wanted',
    [
        ([], {}, Wanted(BEST_EFFORT, VOLATILE)),
        ([profile()], {}, Wanted(RELIABLE, VOLATILE)),
        ([profile(), profile(BEST_EFFORT)], {}, Wanted(BEST_EFFORT, VOLATILE)),
        ([profile(ReliabilityPolicy.UNKNOWN)], {}, Wanted(BEST_EFFORT, VOLATILE)),
        ([profile()], {'reliability': 'best_effort'}, Wanted(BEST_EFFORT, VOLATILE)),
        ([profile(BEST_EFFORT)], {'reliability': 'reliable'}, Wanted(RELIABLE, VOLATILE)),
        ([profile(durability=LATCHED)], {}, Wanted(RELIABLE, VOLATILE)),
        ([profile(durability=LATCHED)], {'latched': True}, Wanted(RELIABLE, LATCHED)),
        ([profile(durability=LATCHED), profile()], {'latched': True}, Wanted(RELIABLE, VOLATILE)),
        ([profile(BEST_EFFORT, LATCHED)], {'latched': True}, Wanted(BEST_EFFORT, VOLATILE)),
    ],
)
def test_the_most_that_all_publishers_offer_is_chosen(offered, options, wanted):
    assert choose(offered, **options) == wanted


class Graph:
    """What one sees of the node's inputs from outside."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.log = peer.listen(Log, '/rosout', QoSProfile(depth=1000, durability=LATCHED))
        self.diagnostics = peer.listen(DiagnosticArray, '/diagnostics')

    def asks(self, topic: str) -> list[tuple[ReliabilityPolicy, DurabilityPolicy]]:
        """What the node's subscriptions of a topic ask for."""
        return [
            (info.qos_profile.reliability, info.qos_profile.durability)
            for info in self.peer.node.get_subscriptions_info_by_topic(topic)
            if info.node_name == 'cliff'
        ]

    def settles(self, topic: str, *asked) -> bool:
        return self.peer.until(lambda: self.asks(topic) == [asked], 60.0)

    def logged(self, words: str) -> int:
        return sum(words in line.msg for line in self.log)

    def complains(self, words: str, timeout: float = 60.0) -> bool:
        return self.peer.until(
            lambda: any(words in status.message for array in self.diagnostics for status in array.status), timeout
        )


@pytest.fixture
def graph(peer):
    return Graph(peer)


@pytest.fixture
def cliff_process(start, tiny_files):
    """``cliff_process(parameter=value)``: the node as a process, brought to active."""

    def run(remappings=None, **parameters) -> subprocess.Popen:
        return start(
            'cliff_ros.ros.node',
            remappings,
            **{
                **tiny_files,
                'autostart': 'true',
                'score_threshold': 0.6,
                'num_threads': 1,
                'diagnostics_rate': 5.0,
                **parameters,
            },
        )

    return run


def test_the_subscription_follows_publishers_that_come_and_go(cliff_process, graph, peer):
    cliff_process()
    assert graph.settles('/image', BEST_EFFORT, VOLATILE)  # nobody is there: whoever comes first is reached
    assert peer.images
    assert graph.settles('/image', RELIABLE, VOLATILE)
    assert peer.until(lambda: graph.logged("'/image' is received reliably, as /peer offers") == 1)
    other = Peer()
    publisher = other.node.create_publisher(Image, 'image', profile(BEST_EFFORT))
    assert graph.settles('/image', BEST_EFFORT, VOLATILE)
    assert peer.until(lambda: graph.logged("'/image' is now received with best effort, as /peer offers") == 1)
    assert other.until(lambda: publisher.get_subscription_count() == 1)
    other.close()
    assert graph.settles('/image', RELIABLE, VOLATILE)
    assert peer.until(lambda: graph.logged("'/image' is now received reliably") == 1)
    assert graph.logged("'/image' is") == 3
    # A camera that is started anew keeps what it had.
    peer.node.destroy_publisher(peer.images)
    peer.spin(1.5)
    assert graph.asks('/image') == [(RELIABLE, VOLATILE)] and graph.logged("'/image' is") == 3
    assert not graph.logged('Traceback') and not graph.complains('qos', 0.0)


@pytest.mark.parametrize('told', [True, False])
def test_no_image_is_lost_or_doubled_while_the_subscription_changes(cliff, peer, monkeypatch, told):
    """One after the other, through two changes: each arrives once, and its CameraInfo finds it.

    told: whether there are events that say when publishers match. Humble has none.
    """
    monkeypatch.setattr(qos, '_HAS_MATCHED', told)
    node = cliff()
    peer.bring_up()
    received, delivered = [], []
    # Beyond the pairing with CameraInfo, and before.
    node.inputs._deliver = lambda incoming: delivered.append(incoming.image.stamp)
    read = node.inputs._read

    def reading(raw):
        image = read(raw)
        received.append(image.stamp)
        return image

    node.inputs._read = reading
    sent = []

    def send(until) -> None:
        """One image after the other until then, and ten more."""
        more = 10
        while more:
            stamp = (100, len(sent))
            sent.append(stamp)
            peer.infos.publish(peer.info(stamp))
            peer.images.publish(peer.image(TINY, stamp))
            assert peer.until(lambda stamp=stamp: stamp in delivered), (stamp, node.inputs.images.wanted)
            peer.spin(0.02)
            more -= until()

    send(lambda: node.inputs.images.wanted.reliability == RELIABLE)
    other = Peer()
    other.node.create_publisher(Image, 'image', profile(BEST_EFFORT))
    send(lambda: node.inputs.images.wanted.reliability == BEST_EFFORT)
    other.close()
    send(lambda: node.inputs.images.wanted.reliability == RELIABLE)
    peer.spin(0.5)
    assert received == delivered == sent
    subscriptions = [s for s in node.subscriptions if s.topic_name == '/image']
    assert len(subscriptions) == 1


def test_calibration_that_was_published_once_before_the_start_arrives(cliff_process, graph, peer):
    peer.node.destroy_publisher(peer.infos)
    latched = peer.node.create_publisher(CameraInfo, 'camera_info', profile(durability=LATCHED, depth=1))
    latched.publish(peer.info((1, 0)))
    people = peer.listen(SmplArray, '/cliff/people')
    cliff_process()
    assert graph.settles('/camera_info', RELIABLE, LATCHED)
    assert peer.until(lambda: peer.images.publish(peer.image(ONE, (2, 0))) or peer.spin(0.2) or people)
    assert peer.until(
        lambda: graph.logged("'/camera_info' is received reliably, what was published before included") == 1
    )


@pytest.mark.parametrize(
    'parameter, value, asked, by',
    [
        ('image_reliability', 'best_effort', (BEST_EFFORT, VOLATILE), 'image_reliability'),
        (
            'qos_overrides./image.subscription.reliability',
            'best_effort',
            (BEST_EFFORT, VOLATILE),
            'qos_overrides./image',
        ),
        ('qos_overrides./image.subscription.durability', 'transient_local', (RELIABLE, LATCHED), '/peer offers'),
    ],
)
def test_a_parameter_decides_in_the_publishers_stead(cliff_process, graph, peer, parameter, value, asked, by):
    images = peer.node.create_publisher(Image, 'image', profile(durability=LATCHED))
    cliff_process(**{parameter: value})
    assert graph.settles('/image', *asked)
    assert peer.until(lambda: any("'/image' is" in line.msg and by in line.msg for line in graph.log))
    peer.spin(1.2)  # another look or two
    assert graph.asks('/image') == [asked] and images.get_subscription_count() == 1


def test_overrides_win_over_the_parameter_and_what_they_ask_in_vain_is_said(cliff_process, graph, peer):
    peer.node.create_publisher(Image, 'image', profile(BEST_EFFORT))
    override = 'qos_overrides./image.subscription.reliability'
    cliff_process(image_reliability='best_effort', **{override: 'reliable'})
    assert graph.complains(
        f"/peer offers less on '/image' than this node asks for (reliability), so nothing comes "
        f'from it: the parameter {override}'
    )
    assert graph.asks('/image') == [(RELIABLE, VOLATILE)]


# ---- what is lost


def test_gaps_in_the_stamps_of_a_steady_camera_are_counted():
    rng = np.random.default_rng(0)
    steady = 1e9 + np.arange(100) / 15 + rng.normal(0, 0.002, 100)
    assert missing(steady) == 0
    kept = np.sort(rng.choice(np.arange(1, 99), 30, replace=False))
    kept = np.concatenate([[0], kept, [99]])
    assert abs(missing(steady[kept]) - (100 - len(kept))) <= 2
    assert missing(1e9 + np.cumsum(rng.exponential(0.2, 100))) == 0  # one that is triggered
    assert missing(steady[:5]) == missing([]) == missing([1.0] * 50) == 0


def test_losses_are_those_that_the_middleware_counts_where_it_does():
    losses = Losses()
    assert losses.recent(told=10) == (0, 0)
    for n in range(20):
        losses.image((n, 0), 100)
    assert losses.recent(told=13) == (3, 23)
    assert losses.recent(told=None) == (0, 20)


def test_images_that_get_lost_are_told_from_silence_with_the_remedy(cliff_process, graph, peer):
    # 25 MB in 380 datagrams a time: more than the socket of a process holds, so most are incomplete.
    big = peer.image(np.zeros((2160, 3840, 3), np.uint8), (1, 0))
    images = peer.node.create_publisher(Image, 'image', profile(BEST_EFFORT, depth=1))
    cliff_process()
    assert peer.until(images.get_subscription_count, 60.0)
    # Small ones in between, which arrive: from them the middleware knows what is missing.
    stamps = iter(range(2, 10**6))

    def said() -> bool:
        for message in (big, peer.image(TINY, (next(stamps), 0))):
            images.publish(message)
            peer.spin(0.1)
        return graph.complains('got lost on the way', 0.0)

    assert peer.until(said, 60.0)
    assert graph.complains('best effort', 0.0) and graph.complains('offer reliable delivery', 0.0)
    assert graph.complains('FASTDDS_DEFAULT_PROFILES_FILE', 0.0)


def test_calibration_without_images_is_told_from_silence(cliff_process, graph, peer):
    assert peer.images
    cliff_process(watchdog_timeout=1.0)
    assert graph.complains('peer publishes it but sends nothing')
    n = iter(range(10**6))

    def said() -> bool:
        peer.infos.publish(peer.info((next(n), 0)))
        peer.spin(0.1)
        return graph.complains('CameraInfo arrives', 0.0)

    assert peer.until(said, 60.0)
    assert graph.complains('lost on the way, or it sends none', 0.0)


# ---- the transport profile

PROFILES = 'FASTDDS_DEFAULT_PROFILES_FILE'
needs_memory = pytest.mark.skipif(middleware._free() < 128 << 20, reason='needs 128 MB of shared memory')


@needs_memory
def test_the_shipped_profile_is_the_one_that_launch_files_use(tmp_path):
    env = middleware.beside_the_network({}, tmp_path)
    ours = Path(env[PROFILES]).read_text()
    shipped = (ROOT / 'config' / 'fastdds.xml').read_text()
    start, end = shipped.index('<!--'), shipped.index('-->') + len('-->\n')
    assert shipped[:start] + shipped[end:] == ours
    assert 'FASTRTPS_DEFAULT_PROFILES_FILE' in middleware.beside_the_network({'ROS_DISTRO': 'humble'}, tmp_path)


def test_what_the_user_decided_stays(tmp_path, monkeypatch):
    for decided in (
        {PROFILES: 'my.xml'},
        {'FASTRTPS_DEFAULT_PROFILES_FILE': 'my.xml'},
        {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'},
        {'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp'},
    ):
        assert middleware.beside_the_network(decided, tmp_path) == {}
    with monkeypatch.context() as patch:
        patch.setattr(middleware, '_free', lambda: 64 << 20)  # Docker's default: two processes take a quarter
        profile = middleware.beside_the_network({}, tmp_path)
        assert f'<segment_size>{8 << 20}<' in Path(next(iter(profile.values()))).read_text()
        patch.setattr(middleware, '_free', lambda: 4 << 20)
        assert middleware.beside_the_network({}, tmp_path) == {}
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'DEFAULT_FASTDDS_PROFILES.xml').touch()
    assert middleware.beside_the_network({}, tmp_path) == {}


SENDER = """
import sys, time, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('sender')
publisher = node.create_publisher(Image, 'large', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
number = 0
while rclpy.ok():
    number += 1
    publisher.publish(Image(height=number, data=bytes(int(sys.argv[1]))))
    time.sleep(0.2)
"""
LISTENER = """
import time, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('listener')
heard = []
node.create_subscription(Image, 'large', heard.append, QoSProfile(
    depth=50, reliability=ReliabilityPolicy.BEST_EFFORT), raw=True)
numbers, end = [], time.monotonic() + 60
while (not numbers or numbers[-1] < numbers[0] + 20) and time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.1)
    numbers += [deserialize_message(heard.pop(0), Image).height for _ in heard[:1]]
print(len(numbers))
"""


@needs_memory
@pytest.mark.skipif(
    'rmw_fastrtps' not in pytest.importorskip('rclpy').get_rmw_implementation_identifier(),
    reason='it is Fast DDS that reads the profile',
)
@pytest.mark.parametrize('size, listener', [(2_764_800, 'DEFAULT'), (1_000, 'UDPv4')])
def test_with_the_profile_images_arrive_and_those_who_have_udp_only_are_reached(ros, tmp_path, size, listener):
    """Best-effort images of 1280x720 from one process to another; and small ones over UDP, as from another machine."""
    env = {name: value for name, value in os.environ.items() if name != 'FASTDDS_BUILTIN_TRANSPORTS'}
    sender = subprocess.Popen(
        [sys.executable, '-c', SENDER, str(size)],
        stderr=subprocess.DEVNULL,
        env=env | middleware.beside_the_network({}, tmp_path),
    )
    try:
        said = subprocess.run(
            [sys.executable, '-c', LISTENER],
            env=env | {'FASTDDS_BUILTIN_TRANSPORTS': listener},
            text=True,
            capture_output=True,
            timeout=120,
        )
    finally:
        sender.send_signal(signal.SIGINT)  # not killed: its shared memory would stay
        sender.wait(20)
    assert said.returncode == 0 and 18 <= int(said.stdout) <= 21, said  # of 21; without the profile 2
