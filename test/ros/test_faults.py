"""The fault table: after each the sentence on /diagnostics at the right level, and everything as before at its end."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import onnxruntime
import pytest
from conftest import FOCAL, HEIGHT, WIDTH, Peer
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from camera_world import BEST_EFFORT, ERROR, OK, ONE, QUICKLY, SMALL, WARN, Camera, World
from lifecycle_msgs.msg import Transition
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from cliff_ros.errors import EngineError
from cliff_ros.msg import SmplArray
from cliff_ros.ros.runtime import diagnostics
from cliff_ros.ros.runtime.complaints import Complaints


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


ASKED = {'reliability': 'reliable', 'durability': 'transient_local', 'deadline': 100_000_000}  # [ns]


@pytest.mark.parametrize('policy', ASKED)
def test_a_camera_that_offers_less_than_the_user_asks_for(cliff, peer, policy):
    override = ASKED[policy]
    world = World(cliff(**QUICKLY, **{f'qos_overrides./image.subscription.{policy}': override}), peer)
    peer.node.destroy_publisher(world.images)
    world.images = peer.node.create_publisher(Image, 'image', BEST_EFFORT)
    assert peer.change('configure') and peer.change('activate')
    world.fault(policy, WARN, f'asks for ({policy})')
    assert f'qos_overrides./image.subscription.{policy} asks for too much' in world.status.message
    peer.node.destroy_publisher(world.images)
    offered = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, deadline=Duration(seconds=0.1))
    world.images = peer.node.create_publisher(Image, 'image', offered)
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
    observer, works = world.node.configured.pipeline._observer, world.node.configured.pipeline._observer.understand

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
    run = onnxruntime.InferenceSession.run
    for error, words in (  # in the detector, too, which comes first
        (ort_errors.Fail('[ONNXRuntimeError] : 1 : FAIL : Gemm'), 'could not run the detector: [ONNX'),
        (ort_errors.RuntimeException('bad allocation: Failed to allocate memory'), 'too little memory to run'),
        (MemoryError(), 'too little memory to run'),
    ):
        monkeypatch.setattr(onnxruntime.InferenceSession, 'run', failing(error))
        world.fault(words, WARN, words)
        monkeypatch.setattr(onnxruntime.InferenceSession, 'run', run)
        world.recover(words)
    observer.understand = failing(EngineError('the GPU is gone: restart the node', lost=True))
    world.fault('lost', ERROR, 'The GPU is gone')
    assert world.until(lambda: world.node.lifecycle_state[1] == 'unconfigured')
    assert world.peer.change('configure') and world.peer.change('activate')
    world.recover('lost')


def test_twice_as_many_images_as_can_be_worked_on(world):
    world = world()
    observer, works = world.node.configured.pipeline._observer, world.node.configured.pipeline._observer.understand

    def slow(*args):
        time.sleep(0.2)  # the camera sends five in that time
        return works(*args)

    observer.understand = slow
    world.fault('overload', WARN, 'faster than this node can work on them')
    del world.people[:]
    assert world.until(lambda: len(world.people) > 5)  # the newest are answered all the same
    assert all(len(message.people) == 1 for message in world.people)
    assert world.node.configured.worker.mailbox.dropped > 5
    observer.understand = works
    world.recover('overload')


LISTENER = """import rclpy
from cliff_ros.msg import SmplArray
rclpy.init()
node = rclpy.create_node('listener')
node.create_subscription(SmplArray, '/cliff/people', lambda message: None, 1000)
rclpy.spin(node)
"""


def test_a_reliable_subscriber_that_never_reads(world):
    world = world()
    listener = subprocess.Popen([sys.executable, '-c', LISTENER])
    try:
        assert world.until(lambda: world.peer.node.count_subscribers('/cliff/people') == 2)
        world.recover('somebody listens')
        listener.send_signal(signal.SIGSTOP)
        del world.people[:]
        assert world.until(lambda: len(world.people) > 60)  # more than anybody keeps for it
        world.recover('nobody reads')
    finally:
        listener.kill()
        listener.wait()
    world.recover('nobody listens')


def test_a_full_disk(ros, start, peer, tiny_files, tmp_path, monkeypatch):
    """Nothing can be written any more, not even the log: what is to be said still is, and people are found."""
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path))
    node = start('cliff_ros.ros.node', **as_words(tiny_files), autostart='true')
    world = World(None, peer)
    world.recover('at the start')
    limits = resource.prlimit(node.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    sizes = {path: path.stat().st_size for path in tmp_path.iterdir()}
    for encoding in ('32FC7', 'rgba8'):
        world.camera = Camera(encoding=encoding)
        world.fault(encoding, WARN, {'32FC7': "'32FC7' is not supported", 'rgba8': 'step'}[encoding])
        world.camera = Camera()
        world.recover(encoding)
    assert sizes == {path: path.stat().st_size for path in tmp_path.iterdir()}
    assert node.poll() is None


def as_words(tiny_files: dict) -> dict[str, object]:
    """Parameters of a node on the tiny files, as a command line has them."""
    values = {
        **tiny_files,
        'engine': 'onnx',
        'score_threshold': 0.6,
        'num_threads': 1,
        'smoothing': False,
        'diagnostics_rate': 10.0,
    }
    return {name: json.dumps(value) if isinstance(value, bool) else value for name, value in values.items()}


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
    parameters = as_words(tiny_files)
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
    images = world.node.active.inputs.images
    before = images._subscription
    giant = np.zeros((4 * HEIGHT, 4 * WIDTH, 3), np.uint8)
    world.camera = Camera(pixels=giant, info_size=(4 * WIDTH, 4 * HEIGHT), focal=4 * FOCAL)
    assert world.until(lambda: images._largest > giant.nbytes)
    assert images._subscription is before  # as long as they come
    world.camera = Camera()
    world.recover('giant')
    assert world.until(lambda: images._subscription is not before and images._handover is None)
    world.recover('another subscription')
    received, largest = world.node.active.inputs.received, images._largest
    assert world.until(lambda: world.node.active.inputs.received > received + 20)
    assert largest < 2_000_000
    assert len({s for s in world.node.subscriptions if s.topic_name == '/image'}) == 1


def test_what_is_new_is_said_at_once_and_all_else_in_its_time(ros, monkeypatch):
    node = ros.create_node('said')
    try:
        complaints = Complaints(node.get_logger())
        said, status = [], diagnostics.Diagnostics(node, complaints)
        monkeypatch.setattr(status, '_publisher', Listened(said))
        for _ in range(3):
            status.publish(diagnostics.State('active'), 1000.0)
        assert len(said) == 1
        complaints('kind', 'One thing.')
        for _ in range(3):
            complaints('kind', 'The same thing.')
            status.publish(diagnostics.State('active'), 1000.0)
        assert [message.status[0].level for message in said] == [OK, WARN]
        status.publish(diagnostics.State('inactive'), 1000.0)
        status.publish(diagnostics.State('inactive'), 0.0)
        assert len(said) == 4
        # What was said before anybody listened is said to whoever comes.
        monkeypatch.setattr(diagnostics, 'RECENT', 0.0)
        status.publish(diagnostics.State('active'), 1000.0)
        assert said[-1].status[0].level == OK
        late, unheard = [], diagnostics.Diagnostics(node, complaints)
        complaints('kind', 'Before anybody listens.')
        monkeypatch.setattr(unheard, '_publisher', Listened(late, 0))
        unheard.publish(diagnostics.State('active'))
        assert late[-1].status[0].message == 'Before anybody listens.'
    finally:
        node.destroy_node()


class Listened:
    """A publisher with so many subscribers."""

    def __init__(self, said: list, count: int = 1) -> None:
        self.publish, self.get_subscription_count = said.append, lambda: count


def test_what_was_loaded_is_freed_with_the_configuration(cliff, peer):
    """Networks take much memory, and a node that lost its engine again and again must not keep them all."""
    node = cliff()
    peer.bring_up()
    loaded = weakref.ref(node.configured.pipeline), weakref.ref(node.configured.pipeline.engine)
    node.configured.worker.call(lambda: node._refuse(EngineError('the GPU is gone', lost=True)))
    assert peer.until(lambda: node.lifecycle_state[1] == 'unconfigured')
    assert peer.until(lambda: [one() for one in loaded] == [None, None], 5.0)
