"""`cliff doctor --network`: a real graph is heard as it is, and each fault is told from what only looks like one."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
from conftest import FRAME, SIZE

pytest.importorskip('rclpy', reason='needs ROS 2')

from cliff_ros import cli
from cliff_ros.commands.doctor_network import render
from cliff_ros.ros.network.faults import IMAGE, INFO, faults
from cliff_ros.ros.network.heard import Endpoint, Heard, Topic

NOW = 1_800_000_000.0


def camera(**changes) -> Heard:
    """A graph in which nothing is wrong: a camera, and a node that listens to it."""
    sends, hears = Endpoint('/camera', IMAGE, True, False), Endpoint('/cliff', IMAGE, True, False)
    heard = Heard(3.0, nodes=['/camera', '/cliff'], parents={FRAME: {('base', '/tf_static')}})
    for name, kind in (('/camera/image_raw', IMAGE), ('/camera/camera_info', INFO)):
        topic = Topic(name, (kind,), [sends], [hears], True, 45, 45 * 900_000)
        topic.stamps = [(NOW + i / 15, NOW + i / 15 - 0.02) for i in range(45)]
        topic.frames, topic.size, topic.calibrated = {FRAME}, SIZE, True
        heard.topics[name] = topic
    for name, value in changes.items():
        setattr(heard, name, value)
    return heard


def test_nothing_wrong_is_nothing_said():
    assert faults(camera()) == []
    assert 'Nothing is likely wrong' in render(camera(), [])


def _late(image, info, heard):
    image.stamps = [(came, stamp - 7200) for came, stamp in image.stamps]


def _ahead(image, info, heard):
    image.stamps = [(came, stamp + 5) for came, stamp in image.stamps]


def _unstamped(image, info, heard):
    image.stamps = [(came, 0.0) for came, _ in image.stamps]


def _frozen(image, info, heard):
    image.stamps = [(came, NOW) for came, _ in image.stamps[:5]]


def _other_frame(image, info, heard):
    info.frames = {'camera_link'}


def _other_size(image, info, heard):
    info.size = (1280, 720)


def _uncalibrated(image, info, heard):
    info.calibrated = False


def _no_info(image, info, heard):
    del heard.topics[info.name]


def _best_effort(image, info, heard):
    image.publishers = [Endpoint('/camera', IMAGE, False, False)]


def _lost(image, info, heard):
    image.publishers, image.subscribers, image.received, image.stamps = [Endpoint('/camera', IMAGE, False)], [], 0, []


def _nobody_publishes(image, info, heard):
    other = Topic('/cam/image_raw', (IMAGE,), image.publishers, [], True, 45, 1, image.stamps, image.frames, image.size)
    heard.topics |= {other.name: other, '/cam/camera_info': Topic('/cam/camera_info', (INFO,), info.publishers)}
    image.publishers, image.received, image.stamps = [], 0, []


def _twice(image, info, heard):
    heard.nodes.append('/cliff')


def _two_parents(image, info, heard):
    heard.parents[FRAME] = {('base', '/tf_static'), ('map', '/tf')}


def _loop(image, info, heard):
    heard.parents |= {'base': {('arm', '/tf')}, 'arm': {(FRAME, '/tf')}}


def _not_in_the_tree(image, info, heard):
    heard.parents = {'arm': {('base', '/tf')}}


def _two_trees(image, info, heard):
    heard.parents['wheel'] = {('odom', '/tf')}


def _alone(image, info, heard):
    heard.topics.clear()
    heard.nodes.clear()


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (_late, 'clocks of the machines differ'),
        (_ahead, 'in the future'),
        (_unstamped, 'are zero'),
        (_frozen, 'does not renew'),
        (_other_frame, 'optical frame for both'),
        (_other_size, 'publish the CameraInfo of this image'),
        (_uncalibrated, 'no calibration'),
        (_no_info, 'no CameraInfo beside it'),
        (_best_effort, 'asks for reliable delivery'),
        (_lost, 'fastdds.xml'),
        (_nobody_publishes, 'remap it to /cam/image_raw'),
        (_twice, '2 nodes have the name /cliff'),
        (_two_parents, 'by turns'),
        (_loop, 'above itself'),
        (_not_in_the_tree, 'not in the tree'),
        (_two_trees, '2 trees'),
        (_alone, 'Nobody is heard'),
    ],
)
def test_each_fault_is_named_and_marked(spoil, words):
    heard = camera()
    spoil(heard.topics['/camera/image_raw'], heard.topics['/camera/camera_info'], heard)
    found = faults(heard)
    assert any(words in fault.sentence for fault in found), found
    text = render(heard, found)
    assert all(fault.sentence in text for fault in found)
    for fault in found:
        if fault.where in heard.topics or fault.where in heard.parents:
            assert any(line.startswith('!!') and fault.where in line.split() for line in text.splitlines())


def test_a_simulated_clock_is_no_wrong_one():
    heard = camera()
    _late(*heard.topics.values(), heard)
    clock = Topic('/clock', ('rosgraph_msgs/msg/Clock',), [Endpoint('/sim', '', True, False)], [], True, 30)
    heard.topics['/clock'] = clock
    assert faults(heard) == []


def test_a_real_graph_is_heard(peer, tmp_path, capsys):
    from tf2_msgs.msg import TFMessage

    frames = peer.node.create_publisher(TFMessage, '/tf', 10)
    stop = threading.Event()

    def publish() -> None:
        picture = np.zeros((24, 32, 3), np.uint8)  # making a message of many bytes would keep the listener waiting
        while not stop.is_set():
            now = time.time_ns()
            stamp = now // 10**9, now % 10**9
            peer.infos.publish(peer.info(stamp, frame_id='camera_link'))
            peer.images.publish(peer.image(picture, stamp))
            frames.publish(_transform('map', FRAME))
            time.sleep(0.05)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        code = cli.main(['doctor', '--network', '--seconds', '2', '--report', str(tmp_path / 'heard.json')])
    finally:
        stop.set()
        thread.join()
    heard, said = json.loads((tmp_path / 'heard.json').read_text()), capsys.readouterr().out
    assert '/image' in heard['topics'], (heard, said)
    image = heard['topics']['/image']
    assert image['received'] >= 3 and image['size'] == [32, 24] and image['frames'] == [FRAME]
    assert image['publishers'][0]['node'] == '/peer' and image['publishers'][0]['reliable']
    assert heard['parents'][FRAME] == [['map', '/tf']]
    assert 'age' in said and '/image' in said and '/peer' in said
    assert code == 1 and any('optical frame for both' in fault['sentence'] for fault in heard['faults'])


def _transform(parent: str, child: str):
    from geometry_msgs.msg import TransformStamped
    from std_msgs.msg import Header
    from tf2_msgs.msg import TFMessage

    return TFMessage(transforms=[TransformStamped(header=Header(frame_id=parent), child_frame_id=child)])
