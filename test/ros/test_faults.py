"""The fault table: after each the sentence on /diagnostics at the right level, and everything as before at its end."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from conftest import FOCAL, FRAME, HEIGHT, SIZE, WIDTH, Peer, cell_picture

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from cliff_ros.errors import EngineError
from cliff_ros.msg import SmplArray
from cliff_ros.ros.runtime import diagnostics

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


@pytest.fixture(autouse=True)
def quick_diagnostics(monkeypatch):
    monkeypatch.setattr(diagnostics, 'RECENT', 0.7)  # [s] a complaint counts after it occurred last


@pytest.fixture
def world(cliff, peer):
    def make(vision=None, **parameters) -> World:
        world = World(cliff(**QUICKLY | parameters), peer, vision)
        peer.bring_up()
        world.recover('at the start')
        return world

    return make


# name: (what the camera does, the words, the level). It ends with a camera as before.
CAMERA_FAULTS = {
    'stops': ({'running': False}, "No image on '/image'", WARN),
    'another resolution, not calibrated': ({'pixels': SMALL}, 'CameraInfo describes 640x480', WARN),
    'an encoding that nobody knows': ({'encoding': '32FC7'}, "'32FC7' is not supported", WARN),
    'an encoding that does not fit the bytes': ({'encoding': 'rgba8'}, 'step', WARN),
    'not calibrated': ({'focal': 0.0}, 'not calibrated', WARN),
    "another camera's calibration": ({'frame_id': 'lidar'}, "'lidar'", WARN),
    'calibration stops': ({'infos': False}, "no CameraInfo on '/camera_info'", WARN),
    'calibration of another size': ({'info_size': (320, 240)}, 'CameraInfo describes 320x240', WARN),
    'stamps equal': ({'stamp': lambda now: 1_800_000_000.0}, 'stand still', WARN),
    'stamps zero': ({'stamp': lambda now: 0.0}, 'are zero', WARN),
    'stamps far back': ({'stamp': lambda now: now - 1e9}, 'went back', WARN),
    'stamps far ahead': ({'stamp': lambda now: now + 4e8}, "ahead of this node's clock", WARN),
}
# What a camera may change at any time: nothing to complain of.
CAMERA_CHANGES = {
    'resolution with its calibration': {'pixels': SMALL, 'info_size': (WIDTH // 2, HEIGHT // 2), 'focal': FOCAL / 2},
    'encoding': {'encoding': 'bgr8'},
    'mono': {'encoding': 'mono8', 'pixels': np.ascontiguousarray(ONE[..., 0])},
    'calibration': {'focal': FOCAL * 1.2},
}


def test_what_the_camera_does(world):
    world = world()
    for name, (change, words, level) in CAMERA_FAULTS.items():
        world.camera = Camera(**change)
        world.fault(name, level, words)
        world.camera = Camera()
        world.recover(name)
    for name, change in CAMERA_CHANGES.items():
        world.camera = Camera(**change)
        before = world.node.active.counts()[1]
        world.recover(name)
        assert world.until(lambda before=before: world.node.active.counts()[1] > before + 3), name
        world.camera = Camera()
        world.recover(name)
    # It goes and another comes, which sends with best effort and can be had no other way.
    world.camera = Camera(running=False)
    world.peer.node.destroy_publisher(world.images)
    world.fault('gone', WARN, 'nobody publishes it')
    world.images = world.peer.node.create_publisher(Image, 'image', BEST_EFFORT)
    world.camera = Camera()
    world.recover('another comes')
    assert world.node.lifecycle_state[1] == 'active'


QOS = {
    'reliability': QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
    'durability': QoSProfile(
        depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.TRANSIENT_LOCAL
    ),
    'deadline': QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, deadline=Duration(seconds=0.1)),
}


def test_subscribers_that_ask_for_more_than_is_offered(world):
    world = world(**{'qos_overrides./cliff/people.publisher.reliability': 'best_effort'})
    assert world.people  # who asks for what there is gets it
    for name, profile in QOS.items():
        subscription = world.peer.node.create_subscription(SmplArray, '/cliff/people', lambda message: None, profile)
        world.fault(name, WARN, f'asks for more than this node offers ({name})')
        world.peer.node.destroy_subscription(subscription)
        world.recover(name)


@pytest.mark.parametrize('policy', ['reliability', 'durability'])
def test_a_camera_that_offers_less_than_the_user_asks_for(cliff, peer, policy):
    override = {'reliability': 'reliable', 'durability': 'transient_local'}[policy]
    world = World(cliff(**QUICKLY, **{f'qos_overrides./image.subscription.{policy}': override}), peer)
    peer.node.destroy_publisher(world.images)
    world.images = peer.node.create_publisher(Image, 'image', BEST_EFFORT)
    assert peer.change('configure') and peer.change('activate')
    world.fault(policy, WARN, f'asks for ({policy})')
    peer.node.destroy_publisher(world.images)
    world.images = peer.node.create_publisher(
        Image, 'image', QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    )
    world.recover(policy)


def test_a_detector_that_dies(world, vision):
    world = world(vision, detector='topic')
    world.camera = Camera(boxes=False)
    world.fault('detector dies', WARN, "no boxes on '/detections'")
    world.peer.node.destroy_publisher(world.boxes)
    world.fault('detector is gone', WARN, 'start the detector')
    world.boxes = world.peer.node.create_publisher(vision.Detection2DArray, 'detections', 10)
    world.camera = Camera()
    world.recover('detector')


def test_an_engine_that_fails_and_one_that_is_lost(world, monkeypatch):
    world = world()
    observer, works = world.node.pipeline._observer, world.node.pipeline._observer.understand

    def failing(error: Exception):
        def understand(*args):
            raise error

        return understand

    for error, words in (
        (EngineError('the network failed on this image'), 'The network failed on this image'),
        (MemoryError('out of memory'), 'MemoryError'),
        (ZeroDivisionError('by chance'), 'ZeroDivisionError'),
    ):
        observer.understand = failing(error)
        world.fault(words, WARN, words)
        observer.understand = works
        world.recover(words)
    observer.understand = failing(EngineError('the GPU is gone: restart the node', lost=True))
    world.fault('lost', ERROR, 'The GPU is gone')
    assert world.until(lambda: world.node.lifecycle_state[1] == 'unconfigured')
    assert world.peer.change('configure') and world.peer.change('activate')
    world.recover('lost')


def test_a_clock_that_stops(world):
    from rosgraph_msgs.msg import Clock

    world = world()
    assert world.peer.set(use_sim_time=True) == ''
    world.fault('no clock', WARN, 'nobody publishes /clock')
    clocks, clock = world.peer.node.create_publisher(Clock, '/clock', 10), Clock()
    clock.clock.sec = 1_900_000_000
    ticking = True
    send = world.send

    def tick_and_send() -> None:
        clock.clock.nanosec = (clock.clock.nanosec + 100) % 1_000_000_000
        if ticking:
            clocks.publish(clock)
        send()

    world.send = tick_and_send
    world.recover('clock')
    ticking = False
    world.fault('clock stands', WARN, '/clock has not moved')
    ticking = True
    world.recover('clock stands')
    assert world.peer.set(use_sim_time=False) == ''


STATES = {
    'unconfigured': (),
    'configuring': ('configure',),
    'inactive': ('configure',),
    'active': ('configure', 'activate'),
    'finalized': ('configure', 'shutdown'),
}


@pytest.mark.parametrize('state', STATES)
def test_killed_in_any_state_and_started_again_it_works(ros, start, tiny_files, state):
    parameters = {
        **tiny_files,
        'engine': 'onnx',
        'score_threshold': 0.6,
        'num_threads': 1,
        'smoothing': False,
        'diagnostics_rate': 10.0,
    }
    parameters = {name: json.dumps(value) if isinstance(value, bool) else value for name, value in parameters.items()}
    child = start('cliff_ros.ros.node', **parameters)
    before = Peer()
    try:
        for transition in STATES[state][:-1] if state == 'configuring' else STATES[state]:
            assert before.change(transition)
        if state == 'configuring':
            from lifecycle_msgs.srv import ChangeState

            client = before.node.create_client(ChangeState, '/cliff/change_state')
            assert before.until(client.service_is_ready)
            client.call_async(ChangeState.Request(transition=Transition(label='configure')))
            before.until(lambda: before.state() == 'configuring', 5.0)
        else:
            assert before.state() == state
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        before.close()
    start('cliff_ros.ros.node', **parameters)
    after = Peer()  # has never met the one that was killed
    try:
        people = after.listen(SmplArray, '/cliff/people')
        after.bring_up()
        for attempt in range(40):
            after.show(ONE, (10, attempt))
            if after.until(lambda: people and len(people[-1].people) == 1, 0.5):
                break
        assert people and after.state() == 'active'
    finally:
        after.close()


def test_room_for_a_giant_image_is_not_kept(world, monkeypatch):
    from cliff_ros.ros.inputs import delivery

    monkeypatch.setattr(delivery, 'GIANT', 2_000_000)
    world = world()
    images = world.node.inputs.images
    before = images._subscription
    giant = np.zeros((4 * HEIGHT, 4 * WIDTH, 3), np.uint8)
    world.camera = Camera(pixels=giant, info_size=(4 * WIDTH, 4 * HEIGHT), focal=4 * FOCAL)
    assert world.until(lambda: images._largest > giant.nbytes)
    assert images._subscription is before  # as long as they come
    world.camera = Camera()
    world.recover('giant')
    assert world.until(lambda: images._subscription is not before and images._handover is None)
    world.recover('another subscription')
    received, largest = world.node.inputs.received, images._largest
    assert world.until(lambda: world.node.inputs.received > received + 20)
    assert largest < 2_000_000
    assert len({s for s in world.node.subscriptions if s.topic_name == '/image'}) == 1
