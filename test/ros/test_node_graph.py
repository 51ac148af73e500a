"""The node ``cliff`` over a real graph: what comes out, and what it says when it cannot."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from conftest import CELL, FRAME, SIZE, Peer, cell_picture

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CompressedImage, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from cliff_ros import assets
from cliff_ros.body import load_body
from cliff_ros.body.names import JOINT_NAMES, PARENTS
from cliff_ros.msg import SmplArray, SmplInfo, Timing
from cliff_ros.ros.inputs.images import to_message_array

EMPTY, ONE, TWO = cell_picture(), cell_picture((2, 2)), cell_picture((2, 1), (2, 6))


def place(transform):
    v, q = transform.transform.translation, transform.transform.rotation
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    matrix[:3, 3] = v.x, v.y, v.z
    return matrix


def lookup(transforms, source, target=FRAME):
    """Pose of ``source`` in ``target``, composed along the tree."""
    parents = {t.child_frame_id: t for t in transforms}
    matrix = np.eye(4)
    while source != target:
        matrix = place(parents[source]) @ matrix
        source = parents[source].header.frame_id
    return matrix


def points(messages):
    return np.array([(p.x, p.y, p.z) for p in messages])


def vertices_of(smpl):
    """The mesh rebuilt from the message alone, as a consumer would."""
    rotations = Rotation.from_quat([(q.x, q.y, q.z, q.w) for q in smpl.rotations]).as_matrix()
    translation = [smpl.translation.x, smpl.translation.y, smpl.translation.z]
    return load_body()(np.array([smpl.betas]), rotations[None], np.array([translation]))[1][0]


def test_people_tf_and_markers_of_one_image_agree(cliff, peer):
    cliff(smoothing=True)  # makes joints and mesh from what is reported, whatever the tiny network said
    people, tf = peer.listen(SmplArray, '/cliff/people'), peer.listen(TFMessage, '/tf')
    mesh, skeleton = peer.listen(MarkerArray, '/cliff/mesh'), peer.listen(MarkerArray, '/cliff/skeleton')
    timing = peer.listen(Timing, '/cliff/timing')
    peer.bring_up()
    peer.spin(0.5)
    stamp = (1_700_000_000, 123_456_789)
    peer.show(TWO, stamp)
    assert peer.until(lambda: people and tf and mesh and skeleton and timing)

    sent = peer.image(TWO, stamp).header
    assert people[0].header == sent and timing[0].header == sent
    assert all(person.header == sent for person in people[0].people)
    assert len(people[0].people) == 2 and len({person.id for person in people[0].people}) == 2
    left = people[0].people[0]
    center = np.array([1.5, 2.5]) * CELL - 0.5
    np.testing.assert_allclose(left.box, [*(center - (30, 80)), *(center + (30, 80))], atol=1.0)

    assert all(t.header.stamp == sent.stamp for t in tf[0].transforms)
    assert len(tf[0].transforms) == 48
    for person in people[0].people:
        for j, name in enumerate(JOINT_NAMES):
            frame = f'smpl_{person.id}' + (f'/{name}' if j else '')
            pose = lookup(tf[0].transforms, frame)
            np.testing.assert_allclose(pose[:3, 3], points([person.joints[j]])[0], atol=1e-4)
        q = person.rotations[0]
        np.testing.assert_allclose(
            lookup(tf[0].transforms, f'smpl_{person.id}')[:3, :3],
            Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(),
            atol=1e-4,
        )

    faces = load_body().faces
    assert [m.id for m in mesh[0].markers] == [person.id for person in people[0].people]
    for marker, person in zip(mesh[0].markers, people[0].people, strict=True):
        assert marker.header == sent and (marker.type, marker.action) == (Marker.TRIANGLE_LIST, Marker.ADD)
        np.testing.assert_allclose(points(marker.points), vertices_of(person)[faces.reshape(-1)], atol=1e-4)
    bones, joints = skeleton[0].markers[0], skeleton[0].markers[2]
    np.testing.assert_allclose(points(joints.points), points(left.joints), atol=1e-6)
    np.testing.assert_allclose(points(bones.points)[:2], points([left.joints[PARENTS[1]], left.joints[1]]), atol=1e-6)

    assert (timing[0].frames_received, timing[0].frames_processed, timing[0].frames_dropped) == (1, 1, 0)
    assert timing[0].people == 2 and 0 < timing[0].infer_ms < timing[0].total_ms


def test_empty_scenes_publish_empty_arrays_and_clear_the_markers(cliff, peer):
    cliff(coast=0.0)
    people, skeleton = peer.listen(SmplArray, '/cliff/people'), peer.listen(MarkerArray, '/cliff/skeleton')
    tf = peer.listen(TFMessage, '/tf')
    peer.bring_up()
    peer.spin(0.5)
    peer.show(ONE, (10, 0))
    assert peer.until(lambda: people and skeleton)
    shown = {(m.ns, m.id) for m in skeleton[0].markers}
    peer.show(EMPTY, (10, 100_000_000))
    assert peer.until(lambda: len(people) == 2)
    assert people[1].header == peer.image(EMPTY, (10, 100_000_000)).header and people[1].people == []
    assert peer.until(
        lambda: shown == {(m.ns, m.id) for message in skeleton for m in message.markers if m.action == Marker.DELETE}
    )
    assert len(tf) == 1


def test_deactivation_clears_up_and_nothing_comes_after(cliff, peer):
    cliff()
    people, mesh = peer.listen(SmplArray, '/cliff/people'), peer.listen(MarkerArray, '/cliff/mesh')
    peer.bring_up()
    peer.spin(0.5)
    peer.show(ONE, (10, 0))
    assert peer.until(lambda: people and mesh)
    assert peer.change('deactivate')
    assert peer.until(lambda: len(people) == 2 and len(mesh) == 2)
    assert people[1].people == [] and people[1].header.frame_id == FRAME
    assert [(m.id, m.action) for m in mesh[1].markers] == [(mesh[0].markers[0].id, Marker.DELETE)]
    peer.show(ONE, (11, 0))
    peer.spin(0.3)
    assert len(people) == 2


def test_up_and_down_ten_times(cliff, peer):
    node = cliff()
    people = peer.listen(SmplArray, '/cliff/people')
    threads = set()
    for round_ in range(10):
        peer.bring_up()
        assert peer.state() == 'active'
        before = len(people)
        assert peer.until(lambda: peer.node.count_publishers('/cliff/people'))
        for attempt in range(50):  # best effort: the first image may go before everybody knows everybody
            peer.show(ONE, (100 + round_, attempt))
            if peer.until(lambda before=before: len(people) > before, 0.5):
                break
        assert len(people) > before and len(people[-1].people) == 1
        threads.add(node.worker)
        assert peer.change('deactivate') and peer.change('cleanup')
        assert peer.state() == 'unconfigured'
    assert len(threads) == 10 and not any(worker._thread.is_alive() for worker in threads)
    assert node.worker is node.pipeline is node.inputs is node.outputs is None
    assert len(list(node.publishers)) == len(list(cliff().publishers))
    assert not [s for s in node.subscriptions if s.topic_name in ('/image', '/camera_info')]


def test_who_comes_late_still_gets_the_body(cliff, peer):
    cliff()
    peer.bring_up()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    infos = peer.listen(SmplInfo, '/cliff/body', latched)
    assert peer.until(lambda: infos)
    body, info = load_body(), infos[0]
    assert (info.body_sha256, info.body_licence) == (body.sha256, body.licence)
    assert info.engine.startswith('onnx') and info.model == 'tiny'
    assert list(info.joint_names) == list(JOINT_NAMES) and list(info.parents) == PARENTS.tolist()
    np.testing.assert_array_equal(np.array(info.faces).reshape(-1, 3), body.faces)
    assert bytes(info.body_npz) == assets.BODY.read_bytes()


def test_overlay_and_compressed_images(cliff, peer):
    import cv2

    cliff(image_transport='compressed')
    overlay = peer.listen(Image, '/cliff/overlay')
    camera = peer.node.create_publisher(CompressedImage, 'image', 10)
    assert peer.change('configure') and peer.change('activate')
    assert peer.until(lambda: camera.get_subscription_count() and peer.infos.get_subscription_count())
    peer.spin(0.5)
    header = peer.image(ONE, (5, 6)).header
    jpeg = cv2.imencode('.jpg', ONE)[1]
    peer.infos.publish(peer.info((5, 6)))
    camera.publish(CompressedImage(header=header, format='jpeg', data=to_message_array(jpeg)))
    assert peer.until(lambda: overlay, 60.0)  # the first time compiles the rasteriser
    drawn = np.frombuffer(overlay[0].data, np.uint8).reshape(SIZE[1], SIZE[0], 3)
    assert overlay[0].header == header and overlay[0].encoding == 'rgb8'
    assert np.abs(drawn.astype(int) - ONE).max(-1).astype(bool).mean() > 0.005


def test_boxes_from_the_topic_detections(cliff, peer, vision):
    cliff(detector='topic', detections_class='person')
    people = peer.listen(SmplArray, '/cliff/people')
    boxes = peer.node.create_publisher(vision.Detection2DArray, 'detections', 10)
    peer.bring_up()
    assert peer.until(boxes.get_subscription_count)
    peer.spin(0.5)

    def detection(x, name, text):
        found = vision.Detection2D(id=text)
        found.bbox.center.position.x, found.bbox.center.position.y = x, 240.0
        found.bbox.size_x, found.bbox.size_y = 60.0, 200.0
        result = vision.ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = name, 0.75
        found.results.append(result)
        return found

    for i in range(3):
        peer.show(EMPTY, (10, i * 100_000_000))
        peer.spin(0.2)
    header = peer.image(EMPTY, (10, 100_000_000)).header  # of the second image
    boxes.publish(
        vision.Detection2DArray(
            header=header,
            detections=[
                detection(100.0, 'person', '42'),
                detection(300.0, 'chair', '7'),
                detection(500.0, 'person', '43'),
            ],
        )
    )
    assert peer.until(lambda: people)
    peer.spin(0.3)
    assert len(people) == 1 and people[0].header == header
    assert [person.id for person in people[0].people] == [42, 43]
    np.testing.assert_allclose(people[0].people[0].box, [70, 140, 130, 340], atol=1e-3)
    assert people[0].people[0].score == 0.75


def test_frames_that_come_too_fast_are_dropped_and_counted(cliff, peer):
    node = cliff()
    timing = peer.listen(Timing, '/cliff/timing')
    peer.bring_up()
    peer.spin(0.5)
    peer.show(EMPTY, (10, 0))
    assert peer.until(lambda: timing)
    image = peer.image(EMPTY, (11, 0))
    slow = node.pipeline.detector

    def slowly(*args):
        time.sleep(0.3)
        return slow(*args)

    node.pipeline.detector = slowly
    for i in range(8):
        image.header.stamp.nanosec = i
        peer.infos.publish(peer.info((11, i)))
        peer.images.publish(image)
        peer.spin(0.02)
    peer.spin(0.1)
    assert peer.until(lambda: node.worker.mailbox.received == node.inputs.received)
    peer.spin(1.0)
    last = timing[-1]
    assert last.frames_dropped > 0
    assert last.frames_processed + last.frames_dropped == last.frames_received
    # The newest frame wins: it is the one that is not dropped.
    assert last.header.stamp.nanosec == last.frames_received - 2


# ---- what goes wrong is said once, in one sentence, and the node lives on


def truncated(peer):
    image = peer.image(ONE, (1, 0))
    image.data = image.data[:1000]
    return image, peer.info((1, 0))


def wrong_step(peer):
    image = peer.image(ONE, (1, 0))
    image.step = 7
    return image, peer.info((1, 0))


def empty(peer):
    image = peer.image(ONE, (1, 0))
    image.height = 0
    return image, peer.info((1, 0))


def good_image(**info):
    return lambda peer: (peer.image(ONE, (1, 0)), peer.info((1, 0), **info))


BAD = [
    (lambda peer: (peer.image(ONE, (1, 0), encoding='hsv9'), peer.info((1, 0))), "'hsv9' is not supported"),
    (truncated, 'truncated'),
    (wrong_step, 'step'),
    (empty, 'is empty'),
    (good_image(focal=0.0), 'not calibrated'),
    (good_image(size=(320, 240)), 'CameraInfo describes 320x240'),
    (good_image(frame_id='lidar'), "'lidar'"),
]


@pytest.fixture
def active(cliff, peer):
    """An active node, and what it says in the diagnostics."""
    node = cliff(diagnostics_rate=10.0)
    said = peer.listen(DiagnosticArray, '/diagnostics')
    people = peer.listen(SmplArray, '/cliff/people')
    peer.bring_up()
    peer.spin(0.5)
    return node, said, people


def test_bad_images_are_refused_with_a_sentence_and_good_ones_go_on(active, peer):
    node, said, people = active
    logged = []
    node.complain._logger = type('Logger', (), {'warning': staticmethod(logged.append)})
    for n, (make, words) in enumerate(BAD):
        image, info = make(peer)
        for repeat in range(3):
            image.header.stamp.sec = info.header.stamp.sec = 10 * n + repeat
            peer.infos.publish(info)
            peer.images.publish(image)
            peer.spin(0.05)
        assert peer.until(lambda words=words: any(words in line for line in logged)), (words, logged)
        assert sum(words in line for line in logged) == 1, logged  # once, not for each image
        assert peer.until(lambda words=words: words in said[-1].status[0].message)
        assert said[-1].status[0].level == DiagnosticStatus.WARN
        before = len(people)
        peer.show(ONE, (10 * n + 5, 0))
        assert peer.until(lambda before=before: len(people) > before), words
        assert len(people[-1].people) == 1
    assert len(logged) == len(BAD)
    assert all(line.endswith('.') for line in logged)


def test_missing_camera_info_is_said_with_the_topics_there_are(cliff, peer):
    node = cliff(diagnostics_rate=10.0, camera_info_timeout=0.2)
    said = peer.listen(DiagnosticArray, '/diagnostics')
    people = peer.listen(SmplArray, '/cliff/people')
    peer.node.create_publisher(type(peer.info((0, 0))), '/other/camera_info', 1)
    peer.bring_up()
    peer.node.destroy_publisher(peer.infos)
    peer.spin(0.5)
    for i in range(3):
        peer.images.publish(peer.image(ONE, (1 + i, 0)))
        peer.spin(0.2)
    assert peer.until(lambda: "no CameraInfo on '/camera_info'" in said[-1].status[0].message)
    assert '/other/camera_info' in said[-1].status[0].message and people == []
    assert node.inputs.received >= 3


def test_silence_is_explained(cliff, peer):
    cliff(diagnostics_rate=10.0, watchdog_timeout=0.5)
    said = peer.listen(DiagnosticArray, '/diagnostics')
    peer.bring_up()
    assert peer.until(lambda: said and "No image on '/image'" in said[-1].status[0].message)
    assert 'peer publishes it but sends nothing' in said[-1].status[0].message
    peer.node.destroy_publisher(peer.images)
    other = Peer()
    other.node.create_publisher(CompressedImage, 'image', 1)
    assert peer.until(lambda: 'image_transport' in said[-1].status[0].message)
    other.close()


def test_without_calibration_the_focal_length_can_be_guessed(cliff, peer):
    cliff(uncalibrated_fallback=True, camera_info_timeout=0.0)
    people = peer.listen(SmplArray, '/cliff/people')
    peer.bring_up()
    peer.spin(0.5)
    peer.images.publish(peer.image(ONE, (1, 0)))
    assert peer.until(lambda: people and people[-1].people)
    before = len(people)
    peer.infos.publish(peer.info((2, 0), focal=0.0))
    peer.images.publish(peer.image(ONE, (2, 0)))
    assert peer.until(lambda: len(people) > before)


def test_incompatible_qos_is_said(cliff, peer):
    node = cliff(watchdog_timeout=60.0)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.listen(SmplArray, '/cliff/people', latched)
    peer.bring_up()
    assert peer.until(node.complain.last)
    sentence = node.complain.last().sentence
    assert "subscriber of '/cliff/people'" in sentence and 'durability' in sentence


def test_qos_of_inputs_can_be_overridden(cliff, peer):
    node = cliff(**{'qos_overrides./image.subscription.reliability': 'reliable'})
    peer.bring_up()
    subscription = next(s for s in node.subscriptions if s.topic_name == '/image')
    assert subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert peer.change('deactivate') and peer.change('activate')  # declared a second time


# ---- parameters


def test_wrong_parameters_are_refused_with_a_sentence(active, peer):
    node, _, _ = active
    assert 'max_people' in peer.set(max_people=0)
    assert 'Wrong parameter type' in peer.set(smoothing='yes')
    assert 'cleanup' in peer.set(model='other.onnx')  # not while it runs
    assert 'autostart' in peer.set(autostart=True)
    assert node.get_parameter('max_people').value == 32
    assert peer.set(max_people=3, min_hits=2, smoothing=True, score_threshold=0.7, overlay_opacity=0.5, coast=0.1) == ''
    options = node.pipeline.options
    assert (options.max_people, options.min_hits, options.smoothing, options.score_threshold) == (3, 2, True, 0.7)
    assert node.pipeline.detector.threshold == 0.7 and all(
        output.settings.overlay_opacity == 0.5 for output in node.outputs
    )


@pytest.mark.parametrize(
    'name, value, words, better',
    [
        ('model', '/nowhere/model.onnx', 'does not exist', None),
        ('engine', 'abacus', 'must be one of auto', 'onnx'),
        ('score_threshold', 'high', 'must be a number', 0.6),
        ('max_people', 1000, '1 .. 128', 4),
        ('tf_prefix', '/robot', 'leave out the leading /', 'robot/'),
        ('detector', 'topic', 'vision_msgs', None),
    ],
)
def test_what_cannot_be_configured_says_why_and_can_be_mended(
    cliff, peer, tiny_files, monkeypatch, name, value, words, better
):
    monkeypatch.setitem(sys.modules, 'vision_msgs.msg', None)  # as if it were not installed
    cliff(diagnostics_rate=10.0, **{name: value})
    said = peer.listen(DiagnosticArray, '/diagnostics')
    assert not peer.change('configure') and peer.state() == 'unconfigured'
    assert peer.until(lambda: said and words in said[-1].status[0].message), said[-1].status[0].message
    assert said[-1].status[0].level == DiagnosticStatus.ERROR
    assert peer.set(**{name: better if better is not None else tiny_files[name]}) == ''
    assert peer.change('configure') and peer.change('activate')


def test_whole_numbers_do_for_numbers_and_typing_errors_are_noticed(cliff, capfd):
    node = cliff(coast=1, scor_threshold=0.4)
    assert node.get_parameter('coast').value == 1.0
    assert node.parameters.settings().coast == 1.0
    assert "did you mean 'score_threshold'" in capfd.readouterr().err


def test_every_parameter_is_described(cliff):
    node = cliff()
    for name in node.parameters._specs:
        descriptor = node.describe_parameter(name)
        assert descriptor.description and descriptor.type, name
