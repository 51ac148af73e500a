"""Nothing happens: the node says why, with the parameter that mends it."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
from conftest import FRAME, SIZE, Peer, cell_picture

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from cliff_ros.errors import InputError
from cliff_ros.msg import SmplArray
from cliff_ros.ros.inputs.images import to_array
from cliff_ros.ros.runtime.complaints import Complaints
from cliff_ros.ros.runtime.core_log import CoreLog
from cliff_ros.ros.runtime.worker import Worker

EMPTY, ONE = cell_picture(), cell_picture((2, 2))


def told(said, *words) -> bool:
    """Whether the newest diagnostics warn with all of these words."""
    return (
        bool(said)
        and said[-1].status[0].level == DiagnosticStatus.WARN
        and all(word in said[-1].status[0].message for word in words)
    )


# ---- time


def test_without_a_clock_diagnostics_go_on_and_name_it(cliff, peer):
    cliff(use_sim_time=True, diagnostics_rate=10.0, watchdog_timeout=0.5)
    said = peer.listen(DiagnosticArray, '/diagnostics')
    assert peer.until(lambda: said), 'silent before activation'
    peer.bring_up()
    assert peer.until(lambda: told(said, '/clock', 'use_sim_time to false'))
    assert told(said, "No image on '/image'") or peer.until(lambda: told(said, "No image on '/image'"))

    clocks, time = peer.node.create_publisher(Clock, '/clock', 10), Clock()
    assert peer.until(clocks.get_subscription_count)

    def tick() -> bool:
        time.clock.sec += 1
        clocks.publish(time)
        return said[-1].header.stamp.sec > 5 and '/clock' not in said[-1].status[0].message

    assert peer.until(tick, 30.0)
    assert peer.until(lambda: told(said, '/clock has not moved'))


def test_a_stale_camera_info_is_said_and_refused_where_asked(cliff, peer):
    cliff(diagnostics_rate=10.0, watchdog_timeout=0.5, camera_info_max_age=30.0)
    said, people = peer.listen(DiagnosticArray, '/diagnostics'), peer.listen(SmplArray, '/cliff/people')
    peer.bring_up()
    second = iter(range(1000, 9000, 1))

    def paired() -> bool:
        peer.show(ONE, (next(second), 0))
        return peer.until(lambda: people, 0.5)

    assert peer.until(paired)
    last = people[-1].header.stamp.sec

    def alone(age: int) -> None:
        peer.images.publish(peer.image(ONE, (last + age, next(second))))
        peer.spin(0.05)

    assert peer.until(lambda: alone(20) or told(said, "no CameraInfo on '/camera_info'", 'camera_info_max_age'))
    assert people[-1].header.stamp.sec == last + 20
    assert peer.until(lambda: alone(40) or told(said, 'older than the image', 'camera_info_max_age'))
    assert people[-1].header.stamp.sec == last + 20


# ---- boxes from elsewhere


@pytest.fixture
def detector(cliff, peer, vision):
    """``run(wrong, *words)``: show images and have a detector answer them, wrongly until these words are said."""
    publisher = peer.node.create_publisher(vision.Detection2DArray, 'detections', 10)
    state = {'second': 10}

    def run(
        words=(),
        wanted=None,
        stamp=0.0,
        frame_id=FRAME,
        class_id='person',
        box=(200.0, 240.0, 60.0, 200.0),
        **parameters,
    ):
        if 'said' not in state:
            cliff(detector='topic', diagnostics_rate=10.0, watchdog_timeout=0.6, **parameters)
            state['said'] = peer.listen(DiagnosticArray, '/diagnostics')
            state['people'] = peer.listen(SmplArray, '/cliff/people')
            peer.bring_up()
            assert peer.until(publisher.get_subscription_count)
        said, people = state['said'], state['people']

        def once() -> bool:
            state['second'] += 1
            now = state['second']
            peer.show(EMPTY, (now, 500_000_000))
            peer.spin(0.05)
            message = vision.Detection2DArray()
            seconds = now + 0.5 + stamp
            message.header.stamp.sec = int(seconds)
            message.header.stamp.nanosec = int(round(seconds % 1 * 1e9))
            message.header.frame_id = frame_id
            found = vision.Detection2D()
            found.bbox.center.position.x, found.bbox.center.position.y, found.bbox.size_x, found.bbox.size_y = box
            result = vision.ObjectHypothesisWithPose()
            result.hypothesis.class_id, result.hypothesis.score = class_id, 0.9
            found.results = [result]
            message.detections = [found]
            publisher.publish(message)
            peer.spin(0.05)
            if wanted is not None:
                return bool(people) and len(people[-1].people) == wanted and people[-1].header.stamp.sec > now - 3
            return told(said, *words)

        assert peer.until(once, 30.0), said[-1].status[0].message
        return people

    return run


def test_a_detector_that_restamps(detector):
    detector(('match no image', '0.200 s apart', 'detections_tolerance to more than 0.200'), stamp=0.2)


def test_boxes_of_another_time(detector):
    detector(('match no image', 'copy header.stamp'), stamp=4000.0)


def test_a_wrong_class(detector):
    detector(("none of class 'person'", "'0'", 'set detections_class'), class_id='0', detections_class='person')
    detector(wanted=1)


def test_a_class_that_was_seen_once_is_right(detector, peer):
    people = detector(wanted=1, detections_class='person')
    count = len(people)
    detector(wanted=0, class_id='chair')
    assert len(people) > count
    peer.spin(0.8)
    assert not [s for m in peer.heard['/diagnostics'] for s in m.status if 'detections_class' in s.message]


def test_another_cameras_boxes(detector):
    detector(
        ("in frame 'rear_camera'", f"image in '{FRAME}'", "detections_frame to 'rear_camera'"), frame_id='rear_camera'
    )


def test_boxes_whose_frame_has_another_name(detector):
    detector(wanted=1, frame_id='rear_camera', detections_frame='rear_camera')


def test_boxes_without_a_frame(detector):
    detector(wanted=1, frame_id='')


def test_normalized_boxes(detector):
    detector(('fractions', 'detections_normalized to true'), box=(0.3, 0.5, 0.1, 0.4))


def test_normalized_boxes_where_they_are_asked_for(detector):
    people = detector(wanted=1, box=(0.25, 0.5, 0.1, 0.4), detections_normalized=True)
    expected = np.array([0.2, 0.3, 0.3, 0.7]) * (*SIZE, *SIZE) - 0.5
    np.testing.assert_allclose(people[-1].people[0].box, expected, atol=1)


def test_pixels_where_fractions_are_asked_for(detector):
    detector(('640x480', 'detections_normalized to false'), detections_normalized=True)


def test_boxes_of_a_larger_image(detector):
    detector(
        ("None of the detector's boxes", '640x480', '(1500, 900)', 'remap `image`'), box=(1500.0, 900.0, 200.0, 500.0)
    )


# ---- what the core says


def test_what_the_pipeline_warns_of_reaches_log_and_diagnostics(cliff, peer):
    node = cliff(diagnostics_rate=10.0, max_people=1)
    said, people = peer.listen(DiagnosticArray, '/diagnostics'), peer.listen(SmplArray, '/cliff/people')
    lines = []
    node.complain._logger = type('Logger', (), {'warning': staticmethod(lines.append)})
    peer.bring_up()
    second = iter(range(10, 9000))
    two = cell_picture((2, 1), (2, 6))
    assert peer.until(lambda: peer.show(two, (next(second), 0)) or peer.until(lambda: people, 0.3))
    assert peer.until(lambda: told(said, 'more than max_people=1'))
    assert [line for line in lines if 'max_people=1' in line]
    assert peer.change('deactivate') and peer.change('cleanup')
    assert not logging.getLogger('cliff_ros').handlers


def test_two_nodes_in_one_process_do_not_mix_up_what_their_pipelines_say(cliff, ros):
    nodes = {'a': cliff('a', max_people=1), 'b': cliff('b', max_people=2)}
    two = cell_picture((2, 1), (2, 6))
    peers = {name: Peer(name) for name in nodes}
    try:
        people = {name: peer.listen(SmplArray, 'cliff/people') for name, peer in peers.items()}
        for name, peer in peers.items():
            assert peer.change('configure', f'/{name}/cliff') and peer.change('activate', f'/{name}/cliff')
        for name, peer in peers.items():
            second = iter(range(10, 9000))
            assert peer.until(
                lambda peer=peer, second=second, name=name: (
                    peer.show(two, (next(second), 0)) or peer.until(lambda: people[name], 0.3)
                )
            )
        sentences = {
            name: ' '.join(c.sentence for c in node.complain.all() if c.kind.startswith('core'))
            for name, node in nodes.items()
        }
        assert 'max_people=1' in sentences['a'] and 'max_people' not in sentences['b'], sentences
    finally:
        for peer in peers.values():
            peer.close()


# ---- complaints


class Log:
    def __init__(self):
        self.lines = []
        self.warning = self.lines.append


def test_complaints_are_bounded_whatever_they_hold():
    log = Log()
    complain = Complaints(log)
    for i in range(300):
        complain(f'kind {i}', f'forged\n[ERROR] line \x1b[2J {i}' + 'x' * 5000)
    assert len(log.lines) <= Complaints.MOST_KINDS + 1 and sum(c.count for c in complain.all()) == 300
    assert all(line.isprintable() and len(line) <= Complaints.LONGEST + 3 for line in log.lines)


def test_what_goes_on_is_logged_ever_less_often(monkeypatch):
    log, now = Log(), [100.0]
    monkeypatch.setattr('cliff_ros.ros.runtime.complaints.time.monotonic', lambda: now[0])
    complain, logged = Complaints(log), []
    for _ in range(3600):  # an hour, every second
        before = len(log.lines)
        complain('one', 'One.')
        if len(log.lines) > before:
            logged.append(now[0] - 100.0)
        now[0] += 1.0
    assert logged[:6] == [0.0, 10.0, 30.0, 70.0, 150.0, 310.0] and len(logged) < 14
    now[0] += 2000.0  # long gone
    complain('one', 'One.')
    complain('one', 'One.')
    now[0] += 11.0
    before = len(log.lines)
    complain('one', 'One.')
    assert len(log.lines) == before + 1


def test_complaints_from_many_threads_are_all_counted():
    complain = Complaints(Log())
    threads = [threading.Thread(target=lambda: [complain('one', 'One.') for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert complain.last().count == 8000 and len(complain._logger.lines) == 1


def test_kinds_of_failures_are_our_own_words():
    complain = Complaints(Log())
    for name in ('8UC9', '32FC1', 'evil\nname' * 99):
        with pytest.raises(InputError) as error:
            to_array(Image(height=3, width=7, encoding=name, step=21, data=bytes(63)))
        complain.failure('Image', error.value)
    assert [(c.kind, c.count) for c in complain.all()] == [('refused: image_encoding', 3)]
    assert len(complain.last().sentence) < 600


# ---- the core's warnings


def test_warnings_of_the_core_go_to_the_node_whose_thread_it_is(caplog):
    heard: dict[str, list] = {'a': [], 'b': []}
    workers = {name: Worker(lambda item: None, lambda error: None) for name in heard}
    logs = {
        name: CoreLog(workers[name].ident, lambda kind, sentence, name=name: heard[name].append((kind, sentence)))
        for name in heard
    }
    core = logging.getLogger('cliff_ros.pipeline')
    for log in logs.values():
        log.open()
    try:
        for name, worker in workers.items():
            for _ in range(3):
                worker.call(lambda name=name: core.warning('somebody is lost in %s', name))
            worker.call(lambda: core.info('not worth a word'))
        core.warning('of nobody')  # this thread is no node's
        logs['b'].close()
        workers['b'].call(lambda: core.error('to the only one there is'))
    finally:
        for log in logs.values():
            log.close()
    core.warning('nobody listens')
    assert [sentence for _, sentence in heard['a']] == 3 * ['Somebody is lost in a.'] + ['To the only one there is.']
    assert [sentence for _, sentence in heard['b']] == 3 * ['Somebody is lost in b.']
    assert len({kind for kind, _ in heard['a']}) == 2 and heard['a'][0][0].startswith('core: test_silence:')
    assert not logging.getLogger('cliff_ros').handlers
    for worker in workers.values():
        worker.stop()
