"""The fault table of `make soak`: what is done to a node that runs, and what it has to say of it.

A script is a generator: it prepares and does the harm until its first ``yield``, ends it until the second, and clears
up after that.
"""

from __future__ import annotations

import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from bench.fault_world import LARGER, MAIN, SECOND, State, World
from bench.mutations import mutate
from cliff_ros.msg import SmplArray
from cliff_ros.ros.runtime import qos, restarts

WARN, ERROR = DiagnosticStatus.WARN, DiagnosticStatus.ERROR
BEST_EFFORT = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
PATIENCE = 30.0  # [s] for what has to be so before a fault

Script = Callable[[World], Iterator[None]]


@dataclass(frozen=True)
class Fault:
    """words: of the sentence on /diagnostics; empty: there is nothing to complain of, people must go on to come.
    node: whose. hold: how long it lasts [s]. over: its cause has ended when the harm is done, as of a process that was
    killed and started again."""

    script: Script
    words: str = ''
    level: bytes = WARN
    node: str = MAIN
    hold: float = 4.0
    over: bool = False


def camera(**change: object) -> Script:
    """The camera does something else."""

    def script(world: World) -> Iterator[None]:
        world.state = replace(State(), **change)
        yield
        world.state = State()
        yield

    return script


def damaged(world: World) -> Iterator[None]:
    """Every message damaged at random."""
    rng = random.Random(world.sent)
    world.state = State(damage=lambda raw, is_image: mutate(rng, [raw]))
    yield
    world.state = State()
    yield


def another_camera(world: World) -> Iterator[None]:
    """It goes, and one comes that sends with best effort only; then the first comes back."""
    world.state = State(running=False)
    world.node.destroy_publisher(world.images)
    yield
    world.images = world.image_publisher(BEST_EFFORT)
    world.state = State()
    yield
    world.node.destroy_publisher(world.images)
    world.images = world.image_publisher(qos.reliable(2))


def subscriber(profile: QoSProfile) -> Script:
    """Somebody asks for more than the node offers."""

    def script(world: World) -> Iterator[None]:
        subscription = world.node.create_subscription(SmplArray, f'/{MAIN}/people', lambda message: None, profile)
        yield
        world.node.destroy_subscription(subscription)
        yield

    return script


def engine(word: str, bring_up: bool = False) -> Script:
    """The engine fails; bring_up: an operator brings the node up again."""

    def script(world: World) -> Iterator[None]:
        world.faults.publish(String(data=word))
        yield
        world.faults.publish(String(data='none'))
        if bring_up and not (world.change('configure') and world.change('activate')):
            raise RuntimeError('the node cannot be brought up')
        yield

    return script


def overload(world: World) -> Iterator[None]:
    """Each image takes twice as long as there is."""
    yield from engine(f'slow {2 / world.rate:.4f}')(world)


def deaf_subscriber(world: World) -> Iterator[None]:
    """A reliable subscriber that never reads: its process is stopped."""
    child = world.listener(f'/{MAIN}/people')
    child.send_signal(signal.SIGSTOP)
    yield
    child.kill()
    child.wait()
    yield


def no_clock(world: World) -> Iterator[None]:
    world.set(use_sim_time=True)
    yield
    world.set(use_sim_time=False)
    yield


def standing_clock(world: World) -> Iterator[None]:
    """/clock stops, and goes on."""
    from rosgraph_msgs.msg import Clock

    publisher, shown, running = world.node.create_publisher(Clock, '/clock', 10), time.time(), True

    def tick() -> None:
        nonlocal shown
        if running:
            shown = time.time()
        message = Clock()
        message.clock.sec, message.clock.nanosec = int(shown), int(shown % 1 * 1e9)
        publisher.publish(message)

    timer = world.node.create_timer(0.05, tick)
    world.set(use_sim_time=True)
    world.spin(2.0)
    running = False
    yield
    running = True
    yield
    world.set(use_sim_time=False)
    world.node.destroy_timer(timer)
    world.node.destroy_publisher(publisher)


def full_disk(world: World) -> Iterator[None]:
    """Nothing more can be written, not even the log, and there is something to be said."""
    pid = world.process(MAIN).pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    world.state = State(said='32FC7')
    yield
    world.state = State()
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def namesake(world: World) -> Iterator[None]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('cliff', context=context, start_parameter_services=False)
    yield
    node.destroy_node()
    context.try_shutdown()
    yield


def detector_dies(world: World) -> Iterator[None]:
    """Of a node that gets its boxes from elsewhere."""
    world.start(SECOND, 'bench.faulty_node', detector='topic', autostart=True)
    began = time.monotonic()
    if not world.until(lambda: world.well_at(SECOND, began) is not None, PATIENCE):
        raise TimeoutError('no people from boxes')
    world.state = State(boxes=False)
    yield
    world.state = State()
    yield
    world.end(SECOND)


def killed(*transitions: str) -> Script:
    """A node is killed after some transitions, the last of which may be under way, and started again."""

    def script(world: World) -> Iterator[None]:
        starts = Path(world.folder / 'starts')
        starts.mkdir(exist_ok=True)
        (starts / 'starts').unlink(missing_ok=True)
        env = restarts.environment(starts, bring_up=True)
        world.start(SECOND, 'cliff_ros.ros.node', env)
        # Services of the one before are still in the graph: a request must not go to those alone.
        if not world.until(lambda: bool(world.said[SECOND]), PATIENCE):
            raise TimeoutError('the node says nothing')
        world.spin(0.5)
        for transition in transitions:
            if transition.endswith('...'):
                _begin(world, transition[:-3])
            elif not world.change(transition, SECOND):
                raise RuntimeError(f'{transition} failed')
        world.kill(SECOND)
        world.start(SECOND, 'cliff_ros.ros.node', env)
        yield
        yield
        world.end(SECOND)

    return script


def _begin(world: World, transition: str) -> None:
    """Ask for a transition without waiting for its end."""
    from lifecycle_msgs.srv import ChangeState

    client = world.node.create_client(ChangeState, f'/{SECOND}/change_state')
    if not world.until(client.service_is_ready, PATIENCE):
        raise TimeoutError('the node is not there')
    request = ChangeState.Request()
    request.transition.label = transition
    client.call_async(request)
    world.spin(0.1)
    world.node.destroy_client(client)


def wrong_stamps(stamp: Callable[[float], float]) -> Script:
    return camera(stamp=stamp)


def cut(raw: bytes, is_image: bool) -> bytes:
    return raw[: len(raw) // 2] if is_image else raw


def cut_info(raw: bytes, is_image: bool) -> bytes:
    return raw if is_image else raw[:-60]


AGAIN = 'was started again'
MORE = 'asks for more than this node offers'
FAULTS: dict[str, Fault] = {
    'camera stops': Fault(camera(running=False), "No image on '/image'"),
    'camera goes, another comes': Fault(another_camera, 'nobody publishes it'),
    'resolution changes': Fault(camera(scale=LARGER, info_scale=LARGER)),
    'resolution changes, calibration does not': Fault(camera(scale=LARGER), 'CameraInfo describes'),
    'encoding changes': Fault(camera(encoding='mono8')),
    'encoding nobody knows': Fault(camera(said='32FC7'), "'32FC7' is not supported"),
    'encoding that does not fit the bytes': Fault(camera(said='rgba8'), 'step'),
    'calibration changes': Fault(camera(zoom=1.1)),
    'calibration stops': Fault(camera(infos=False), 'no CameraInfo on'),
    'calibration of nothing': Fault(camera(zoom=0.0), 'not calibrated'),
    "another camera's calibration": Fault(camera(frame_id='lidar'), "'lidar'"),
    'stamps equal': Fault(wrong_stamps(lambda now: 1_700_000_000.0), 'stand still'),
    'stamps zero': Fault(wrong_stamps(lambda now: 0.0), 'are zero'),
    'stamps go back': Fault(wrong_stamps(lambda now: now - 1e8), 'went back', hold=1.0),
    'stamps far ahead': Fault(wrong_stamps(lambda now: now + 1e8), 'ahead of this'),
    'images cut off': Fault(camera(damage=cut), "Message on '/image' refused"),
    'calibration cut off': Fault(camera(damage=cut_info), "Message on '/camera_info' refused"),
    'messages damaged at random': Fault(damaged, 'refused'),
    'subscriber asks for a deadline': Fault(
        subscriber(QoSProfile(depth=1, deadline=Duration(seconds=0.1))), f'{MORE} (deadline)', hold=2.0
    ),
    'subscriber asks for what was before it': Fault(
        subscriber(QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)), f'{MORE} (durability)', hold=2.0
    ),
    'subscriber never reads': Fault(deaf_subscriber),
    'engine raises': Fault(engine('raise'), 'ONNX Runtime could not run the detector'),
    'engine out of memory': Fault(engine('memory'), 'too little memory'),
    'engine lost': Fault(engine('lost', bring_up=True), 'GPU is gone', ERROR),
    'overload 200 %': Fault(overload, 'faster than this node'),
    'no clock': Fault(no_clock, 'nobody publishes /clock'),
    'clock stops': Fault(standing_clock, '/clock has not moved'),
    'disk full': Fault(full_disk, "'32FC7' is not supported"),
    'another node of its name': Fault(namesake, 'another node of the name'),
    'detector dies': Fault(detector_dies, 'no boxes on', node=SECOND),
    'killed unconfigured': Fault(killed(), AGAIN, node=SECOND, over=True),
    'killed configuring': Fault(killed('configure...'), AGAIN, node=SECOND, over=True),
    'killed inactive': Fault(killed('configure'), AGAIN, node=SECOND, over=True),
    'killed active': Fault(killed('configure', 'activate'), AGAIN, node=SECOND, over=True),
    'killed deactivating': Fault(killed('configure', 'activate', 'deactivate...'), AGAIN, node=SECOND, over=True),
    'killed finalized': Fault(killed('configure', 'shutdown'), AGAIN, node=SECOND, over=True),
}
