"""The parts of the ROS edge that need no graph: bytes, mailbox, matching, parameters of boxes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Quaternion, Vector3
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from cliff_ros.body import load_body
from cliff_ros.body.names import JOINT_NAMES, NUM_JOINTS, PARENTS
from cliff_ros.msg import Smpl, SmplArray
from cliff_ros.people import Box, People, Person
from cliff_ros.render.colors import color_of
from cliff_ros.ros.inputs.detections import Detections, Placement, person_id
from cliff_ros.ros.inputs.mailbox import Mailbox
from cliff_ros.ros.inputs.matching import BoxPairing, InfoPairing
from cliff_ros.ros.inputs.wire import (
    RawDetection,
    RawDetections,
    read_camera_info,
    read_compressed_image,
    read_image,
    read_stamp,
)
from cliff_ros.ros.outputs.batch import Batch, quaternions
from cliff_ros.ros.outputs.markers import LIFETIME, MeshMarkers, SkeletonMarkers
from cliff_ros.ros.outputs.people_message import PeopleMessage
from cliff_ros.ros.outputs.transforms import TransformMessage
from cliff_ros.ros.runtime.settings import CliffSettings
from cliff_ros.ros.runtime.worker import Worker

STAMP = (1_700_000_000, 123_456_789)


def make_people(count: int, seed: int = 0, vertices: int = 60) -> People:
    rng = np.random.default_rng(seed)
    return People(
        id=rng.integers(1, 1 << 31, count),
        score=rng.uniform(size=count),
        box=rng.uniform(0, 500, (count, 4)),
        betas=rng.normal(size=(count, 10)),
        rotations=Rotation.from_rotvec(rng.normal(size=(24 * count, 3))).as_matrix().reshape(count, 24, 3, 3),
        translation=rng.normal(size=(count, 3)),
        joints=rng.normal(size=(count, 24, 3)),
        joints2d=rng.uniform(0, 500, (count, 24, 2)),
        vertices=rng.normal(size=(count, vertices, 3)).astype(np.float32),
        track_state=rng.integers(0, 3, count).astype(np.uint8),
        velocity=rng.normal(size=(count, 3)),
        age=rng.uniform(0, 9, count),
    )


def make_header(frame_id: str) -> Header:
    return Header(stamp=Time(sec=STAMP[0], nanosec=STAMP[1]), frame_id=frame_id)


# ---- the slow reference: the same messages from Python objects


def slow_people(batch: Batch) -> SmplArray:
    def smpl(person: Person) -> Smpl:
        q = Rotation.from_matrix(person.rotations).as_quat(canonical=True)
        return Smpl(
            header=batch.header,
            id=person.id,
            score=person.score,
            box=person.box,
            track_state=int(person.track_state),
            age=person.age,
            betas=person.betas.tolist(),
            rotations=[Quaternion(x=x, y=y, z=z, w=w) for x, y, z, w in q.tolist()],
            translation=vector(person.translation),
            velocity=vector(person.velocity),
            joints=[Point(x=x, y=y, z=z) for x, y, z in person.joints.tolist()],
            joints2d=person.joints2d.reshape(-1),
        )

    return SmplArray(header=batch.header, people=[smpl(person) for person in batch.people])


def slow_marker(batch, person, ns, kind, size, points) -> Marker:
    marker = Marker(
        header=batch.header,
        ns=ns,
        id=person.id & 0x7FFFFFFF,
        type=kind,
        lifetime=LIFETIME,
        scale=Vector3(x=size, y=size, z=size),
        points=[Point(x=x, y=y, z=z) for x, y, z in points.tolist()],
    )
    marker.pose.orientation.w = 1.0
    marker.color.r, marker.color.g, marker.color.b = (value / 255 for value in color_of(person.id))
    marker.color.a = 1.0
    return marker


def vector(v) -> Vector3:
    return Vector3(x=float(v[0]), y=float(v[1]), z=float(v[2]))


def through_wire(message):
    return deserialize_message(serialize_message(message), type(message))


@pytest.mark.parametrize('count', range(6))
@pytest.mark.parametrize('frame_id', ['', 'c', 'cam', 'front_camera_optical_frame'])
class TestSplicedMessagesEqualTheSlowOnes:
    """Frame ids of all lengths move everything behind them."""

    def test_people(self, count, frame_id):
        message = PeopleMessage()
        for seed in (0, 1):  # a second time: the template is used again
            batch = Batch(STAMP, frame_id, make_people(count, seed))
            fast = deserialize_message(message.serialize(batch), SmplArray)
            slow = through_wire(slow_people(batch))
            for a, b in zip(fast.people, slow.people, strict=True):
                np.testing.assert_allclose(
                    [(q.x, q.y, q.z, q.w) for q in a.rotations], [(q.x, q.y, q.z, q.w) for q in b.rotations], atol=1e-12
                )
                a.rotations = b.rotations
            assert fast == slow

    def test_mesh(self, count, frame_id):
        faces = np.random.default_rng(3).integers(0, 60, (7, 3))
        markers = MeshMarkers(faces)
        for seed in (0, 1):
            batch = Batch(STAMP, frame_id, make_people(count, seed))
            fast = deserialize_message(markers.serialize(batch), MarkerArray)
            slow = MarkerArray(
                markers=[
                    slow_marker(batch, p, 'smpl_mesh', Marker.TRIANGLE_LIST, 1.0, p.vertices[faces.reshape(-1)])
                    for p in batch.people
                ]
            )
            assert fast == through_wire(slow)

    def test_skeleton(self, count, frame_id):
        markers = SkeletonMarkers()
        bones = np.array([(PARENTS[j], j) for j in range(1, NUM_JOINTS)]).reshape(-1)
        for seed in (0, 1):
            batch = Batch(STAMP, frame_id, make_people(count, seed))
            fast = deserialize_message(markers.serialize(batch), MarkerArray)
            slow = MarkerArray(
                markers=[
                    slow_marker(batch, person, name, kind, size, person.joints[which])
                    for name, kind, size, which in (
                        ('smpl_bones', Marker.LINE_LIST, 0.02, bones),
                        ('smpl_joints', Marker.SPHERE_LIST, 0.05, slice(None)),
                    )
                    for person in batch.people
                ]
            )
            assert fast == through_wire(slow)

    @pytest.mark.parametrize('joints', [True, False])
    def test_transforms(self, count, frame_id, joints):
        people = make_people(count)
        message = TransformMessage('robot/', joints)
        fast = deserialize_message(message.serialize(Batch(STAMP, frame_id, people)), TFMessage)
        assert len(fast.transforms) == count * (24 if joints else 1)
        for n, person in enumerate(people):
            places = {frame_id: (np.eye(3), np.zeros(3))}
            for j in range(24 if joints else 1):
                t = fast.transforms[n * (24 if joints else 1) + j]
                name = f'robot/smpl_{person.id}' + (f'/{JOINT_NAMES[j]}' if j else '')
                parent = fast.transforms[n * 24 + PARENTS[j]].child_frame_id if j else frame_id
                assert (t.header, t.child_frame_id) == (Header(stamp=make_header('').stamp, frame_id=parent), name)
                R, p = places[parent]
                v, q = t.transform.translation, t.transform.rotation
                turn = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
                places[name] = (R @ turn, p + R @ [v.x, v.y, v.z])
                np.testing.assert_allclose(places[name][1], person.joints[j], atol=1e-9)


def test_markers_of_those_who_left_are_deleted_once():
    markers = SkeletonMarkers()
    people = make_people(2)
    first, second = people
    markers.serialize(Batch(STAMP, 'cam', people))
    gone = markers.farewell(Batch(STAMP, 'cam', people[1:]))
    assert {(m.ns, m.id, m.action) for m in gone.markers} == {
        ('smpl_bones', first.id, Marker.DELETE),
        ('smpl_joints', first.id, Marker.DELETE),
    }
    assert markers.farewell(Batch(STAMP, 'cam', people[1:])) is None
    assert {m.id for m in markers.farewell().markers} == {second.id}


def test_mesh_of_the_embedded_body_has_a_constant_number_of_points():
    body = load_body()
    joints, vertices = body(np.zeros((1, 10)), np.tile(np.eye(3), (1, 24, 1, 1)), np.zeros((1, 3)))
    raw = MeshMarkers(body.faces).serialize(Batch(STAMP, 'cam', make_people(1).with_(vertices=vertices)))
    points = deserialize_message(raw, MarkerArray).markers[0].points
    corners = vertices[0][body.faces.reshape(-1)]
    np.testing.assert_allclose([(p.x, p.y, p.z) for p in points], corners, atol=1e-6)


@given(st.lists(st.tuples(*3 * [st.floats(-np.pi, np.pi)]), min_size=1, max_size=8))
def test_quaternions_agree_with_scipy(vectors):
    rotation = Rotation.from_rotvec(vectors)
    ours = quaternions(rotation.as_matrix())
    np.testing.assert_allclose(np.abs((ours * rotation.as_quat()).sum(1)), 1, atol=1e-9)
    assert (ours[:, 3] >= 0).all()


# ---- reading the wire


@given(st.text(max_size=9), st.integers(-(1 << 31), (1 << 31) - 1), st.integers(0, 999_999_999), st.binary(max_size=99))
def test_images_are_read_from_the_wire(frame_id, seconds, nanoseconds, data):
    frame_id = frame_id.replace('\0', '').encode(errors='ignore').decode()
    header = Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)
    message = Image(header=header, height=3, width=7, encoding='rgb8', is_bigendian=1, step=21, data=data)
    got = read_image(serialize_message(message))
    assert (got.stamp, got.frame_id) == ((seconds, nanoseconds), header.frame_id)
    assert (got.height, got.width, got.encoding, got.is_bigendian, got.step) == (3, 7, 'rgb8', 1, 21)
    assert bytes(got.data) == data
    small = read_compressed_image(serialize_message(CompressedImage(header=header, format='jpeg', data=data)))
    assert (small.stamp, small.frame_id, small.format, bytes(small.data)) == (
        (seconds, nanoseconds),
        header.frame_id,
        'jpeg',
        data,
    )
    assert read_stamp(serialize_message(CameraInfo(header=header))) == (seconds, nanoseconds)


@given(st.text(max_size=9), st.sampled_from(['', 'plumb_bob', 'equidistant']), st.integers(0, 14), st.integers(0, 999))
def test_camera_infos_are_read_from_the_wire(frame_id, model, coefficients, seed):
    frame_id = frame_id.replace('\0', '').encode(errors='ignore').decode()
    rng = np.random.default_rng(seed)
    message = CameraInfo(
        header=make_header(frame_id),
        height=480,
        width=640,
        distortion_model=model,
        d=rng.normal(size=coefficients),
        k=rng.normal(size=9),
        r=rng.normal(size=9),
        p=rng.normal(size=12),
        binning_x=1,
        binning_y=2,
    )
    message.roi.x_offset, message.roi.y_offset, message.roi.height, message.roi.width = 5, 6, 7, 8
    got = read_camera_info(serialize_message(message))
    assert (got.stamp, got.frame_id, got.distortion_model) == (STAMP, frame_id, model)
    for name in 'dkrp':
        np.testing.assert_array_equal(getattr(got, name), getattr(message, name))
    for name in ('height', 'width', 'binning_x', 'binning_y'):
        assert getattr(got, name) == getattr(message, name)
    for name in ('x_offset', 'y_offset', 'height', 'width'):
        assert getattr(got.roi, name) == getattr(message.roi, name)


# ---- mailbox and worker


@given(st.lists(st.integers(), min_size=1, max_size=20))
def test_the_mailbox_hands_over_the_newest_and_counts_the_rest(items):
    mailbox = Mailbox()
    for item in items:
        mailbox.put(item)
    assert mailbox.take() == items[-1]
    assert (mailbox.received, mailbox.dropped) == (len(items), len(items) - 1)


def test_the_worker_uses_one_thread_and_survives_errors():
    threads, seen, errors, done = set(), [], [], threading.Event()

    def handle(item):
        threads.add(threading.get_ident())
        if item == 1:
            raise ValueError('one')
        seen.append(item)
        done.set()

    worker = Worker(handle, errors.append)
    threads.add(worker.call(threading.get_ident))
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 / 0)
    worker.mailbox.put(1)
    worker.call(lambda: None)
    worker.mailbox.put(2)
    assert done.wait(5)
    worker.drain()
    worker.stop()
    assert seen == [2] and len(threads) == 1 and threading.get_ident() not in threads
    assert [str(error) for error in errors] == ['one']


# ---- which CameraInfo and which boxes belong to an image


def test_without_pairs_the_latest_info_serves_at_once():
    pairing = InfoPairing()
    assert pairing.image((1, 0), 'a') == []
    assert pairing.info((0, 5), 'info') == [('a', 'info')]
    assert pairing.image((2, 0), 'b') == [('b', 'info')]


@pytest.mark.parametrize('info_first', [True, False])
def test_pairs_are_kept_together_when_the_info_changes(info_first):
    pairing = InfoPairing()
    got = []
    for t in range(1, 6):
        steps = [lambda t=t: pairing.image((t, 0), f'image {t}'), lambda t=t: pairing.info((t, 0), f'info {t}')]
        for step in reversed(steps) if info_first else steps:
            got += step()
    assert got == [(f'image {t}', f'info {t}') for t in range(1, 6)]


def test_an_image_never_waits_beyond_the_next():
    pairing = InfoPairing()
    pairing.info((1, 0), 'one')
    assert pairing.image((1, 0), 'a') == [('a', 'one')]
    assert pairing.image((2, 0), 'b') == []
    assert pairing.image((3, 0), 'c') == [('b', 'one'), ('c', 'one')]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=40))
def test_pairing_neither_loses_nor_repeats_images(steps):
    pairing = InfoPairing()
    count, got = 0, []
    for is_image, t in steps:
        if is_image:
            count += 1
            got += pairing.image((t, 0), count)
        else:
            got += pairing.info((t, 0), t)
    numbers = [number for number, _ in got]
    # Without gaps; what came before the first CameraInfo, and the one that waits now, are missing.
    assert not numbers or numbers == list(range(numbers[0], numbers[-1] + 1))
    assert not numbers or count - numbers[-1] <= 1


def test_boxes_find_their_image_and_older_ones_are_let_go():
    pairing = BoxPairing(tolerance=0.01)
    for t in range(3):
        assert pairing.image((t, 0), f'image {t}') == []
    assert pairing.boxes((1, 4_000_000), 'boxes') == [('image 1', 'boxes')]
    assert pairing.unmatched == 1
    assert pairing.boxes((1, 0), 'late') == []
    assert pairing.image((5, 0), 'x') == [] and pairing.boxes((7, 0), 'early') == []
    assert pairing.image((7, 0), 'y') == [('y', 'early')]


@settings(max_examples=50)
@given(st.integers(17, 60))
def test_images_without_boxes_do_not_pile_up(count):
    pairing = BoxPairing(tolerance=0.01)
    for t in range(count):
        pairing.image((t, 0), t)
    assert pairing.unmatched == count - 16


def detection(x, y, w, h, text='', hypotheses=()):
    return RawDetection((x, y, w, h), list(hypotheses), text)


def boxes_of(detections, class_id='', said=None):
    said = [] if said is None else said
    reader = Detections(CliffSettings(detections_class=class_id), lambda kind, sentence: said.append((kind, sentence)))
    return reader.boxes(RawDetections((0, 0), 'camera', detections))


def test_detections_become_boxes():
    detections = [
        detection(100.0, 50.0, 20.0, 40.0, '7', [('person', 0.8)]),
        detection(10.0, 10.0, 4.0, 4.0, 'cat-1', [('cat', 0.9)]),
    ]
    boxes = boxes_of(detections)
    assert [(box.id, box.score) for box in boxes] == [(7, 0.8), (person_id('cat-1'), 0.9)]
    np.testing.assert_allclose(boxes[0].xyxy, [90, 30, 110, 70])
    assert [box.id for box in boxes_of(detections, 'person')] == [7]
    assert boxes_of([detection(1.0, 1.0, 2.0, 2.0, '', [('p', 1.5)])])[0].score == 1.0


def test_classes_that_are_left_out_are_remembered_in_bounds():
    reader = Detections(CliffSettings(detections_class='person'), lambda kind, sentence: None)
    reader.boxes(RawDetections((0, 0), '', [detection(9.0, 9.0, 5.0, 5.0)]))
    assert reader.other_classes == ['none at all'] and not reader.wanted_seen
    reader.boxes(
        RawDetections((0, 0), '', [detection(9.0, 9.0, 5.0, 5.0, '', [('x' * 1000 + str(i), 1.0)]) for i in range(100)])
    )
    assert len(reader.other_classes) < 10 and max(map(len, reader.other_classes)) < 60 and not reader.wanted_seen
    reader.boxes(RawDetections((0, 0), '', [detection(9.0, 9.0, 5.0, 5.0, '', [('chair', 0.1), ('person', 1.0)])]))
    assert reader.wanted_seen


NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize(
    'box, score',
    [
        ((10.0, 10.0, 0.0, 4.0), 1.0),
        ((NAN, 1.0, 2.0, 2.0), 1.0),
        ((1e17, 1.0, 2.0, 2.0), 1.0),
        ((1.0, -1e17, 2.0, 2.0), 1.0),
        ((1.0, 1.0, 1e-20, 1e-20), 1.0),
        ((1.0, 1.0, -5.0, 2.0), 1.0),
        ((1.0, 1.0, INF, 2.0), 1.0),
        ((1.0, 1.0, 1e300, 1e300), 1.0),
        ((9.0, 9.0, 4.0, 4.0), NAN),
        ((9.0, 9.0, 4.0, 4.0), INF),
        ((9.0, 9.0, 4.0, 4.0), -INF),
    ],
)
def test_boxes_and_scores_that_cannot_be_are_left_out_and_said(box, score):
    said = []
    good = detection(100.0, 50.0, 20.0, 40.0, '7', [('person', 0.8)])
    bad = detection(*box, '8', [('person', score)])
    assert [box.id for box in boxes_of([bad, good], 'person', said)] == [7]
    assert [kind for kind, _ in said] == ['detections: numbers'] and '1 of 2' in said[0][1]


def test_ids_of_detectors():
    assert person_id('') is None and person_id('12') == 12 and person_id('-1') is None
    assert person_id('alice') == person_id('alice') != person_id('bob')
    for text in ('99999999999', '1' * 5000, str(2**30), str(2**31 - 1), '\ud800', '²', '-', '٣' * 5000):
        assert 0 <= person_id(text) < 1 << 30, text


def placed(*boxes, **settings):
    said = []
    placement = Placement(CliffSettings(**settings), lambda kind, sentence: said.append((kind, sentence)))
    found = placement([Box(np.array(box, float), id=i) for i, box in enumerate(boxes)], (640, 480))
    return found, [kind for kind, _ in said], ' '.join(sentence for _, sentence in said)


def test_boxes_are_brought_into_their_image():
    found, kinds, _ = placed((10, 20, 110, 220), (-50, -50, 5, 5))
    assert [box.id for box in found] == [0, 1] and kinds == []
    found, kinds, sentence = placed((0.1, 0.2, 0.3, 0.9))
    assert found == [] and kinds == ['detections: normalized'] and 'detections_normalized' in sentence
    found, kinds, _ = placed((0.25, 0.5, 0.5, 1.0), detections_normalized=True)
    np.testing.assert_allclose(found[0].xyxy, [159.5, 239.5, 319.5, 479.5])
    found, kinds, sentence = placed((900, 500, 1000, 700), (-90, 0, -40, 90))
    assert found == [] and kinds == ['detections: outside'] and '640x480' in sentence and '`image`' in sentence
    found, kinds, sentence = placed((100, 50, 200, 300), detections_normalized=True)
    assert found == [] and kinds == ['detections: outside'] and 'detections_normalized to false' in sentence
    found, kinds, _ = placed((100, 50, 200, 300), (5, 5, 5.5, 90), (-9e5, -9e5, 9e5, 9e5))
    assert [box.id for box in found] == [0] and kinds == ['detections: size']
    assert placed() == ([], [], '')
