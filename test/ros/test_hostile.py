"""Messages that nobody should send: none ends the node, each is named, and the next good image is answered."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from conftest import FRAME, cell_picture
from places import ROOT

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage

from cliff_ros.errors import InputError
from cliff_ros.msg import SmplArray
from cliff_ros.ros.inputs.codecs import picture_size
from cliff_ros.ros.inputs.images import to_array, to_message_array
from cliff_ros.ros.inputs.limits import check_bytes, most_image_bytes
from cliff_ros.ros.inputs.wire import read_detections, read_image

ONE = cell_picture((2, 2))
NAN = float('nan')


def overwritten(raw: bytes, at: int, new: bytes) -> bytes:
    return raw[:at] + new + raw[at + len(new) :]


def uint32(value: int) -> bytes:
    return struct.pack('<I', value)


def padded(at: int, size: int = 4) -> int:
    """The next place in a message at which numbers of that size may stand."""
    return at + -(at - 4) % size


FRAME_LENGTH = 12  # encapsulation 4, stamp 8
HEIGHT_AT = padded(FRAME_LENGTH + 4 + len(FRAME) + 1)
ENCODING_LENGTH = HEIGHT_AT + 8
STEP_AT = padded(ENCODING_LENGTH + 4 + len('rgb8') + 1 + 1)


def big_endian_image(message) -> bytes:
    """As a middleware on a big-endian machine writes it."""

    def text(value: str) -> bytes:
        return struct.pack('>I', len(value) + 1) + value.encode() + b'\0'

    out = struct.pack('>iI', message.header.stamp.sec, message.header.stamp.nanosec) + text(message.header.frame_id)
    out += bytes(-len(out) % 4) + struct.pack('>II', message.height, message.width) + text(message.encoding) + b'\0'
    out += bytes(-len(out) % 4) + struct.pack('>II', message.step, len(message.data))
    return b'\0\0\0\0' + out + bytes(message.data)


# name: (what is done to a good image's bytes, the kind by which it is counted)
IMAGES = {
    'nothing at all': (lambda raw: b'', ''),  # the middleware may or may not deliver that
    'one byte': (lambda raw: raw[:1], ''),
    'empty': (lambda raw: raw[:4], 'refused: wire_truncated'),
    'cut at 40': (lambda raw: raw[:40], 'refused: wire_truncated'),
    'without its last pixels': (lambda raw: raw[:-100], 'refused: wire_truncated'),
    'a text of 2^31 bytes': (lambda raw: overwritten(raw, FRAME_LENGTH, uint32(1 << 31)), 'refused: wire_truncated'),
    'a text of 2^32 - 1 bytes': (
        lambda raw: overwritten(raw, FRAME_LENGTH, uint32((1 << 32) - 1)),
        'refused: wire_truncated',
    ),
    'a text without end': (lambda raw: overwritten(raw, FRAME_LENGTH + 4, b'a\0b'), 'refused: wire_text'),
    'a frame of 100 kB': (lambda raw: overwritten(raw, FRAME_LENGTH, uint32(100_000)), 'refused: wire_name'),
    'the flag of big endian': (lambda raw: b'\0\0' + raw[2:], 'refused: wire_truncated'),
    'another representation': (lambda raw: b'\0\7' + raw[2:], 'refused: wire_representation'),
    'a stamp of two billion nanoseconds': (
        lambda raw: overwritten(raw, 8, uint32(2_000_000_000)),
        'refused: image_stamp',
    ),
    'no pixels': (lambda raw: overwritten(raw, HEIGHT_AT, uint32(0)), 'refused: image_empty'),
    '2^31 rows': (lambda raw: overwritten(raw, HEIGHT_AT, uint32(1 << 31)), 'refused: image_large'),
    '2^32 - 1 columns': (lambda raw: overwritten(raw, HEIGHT_AT + 4, uint32((1 << 32) - 1)), 'refused: image_large'),
    'a long step': (lambda raw: overwritten(raw, STEP_AT, uint32((1 << 32) - 1)), 'refused: image_truncated'),
    'no step': (lambda raw: overwritten(raw, STEP_AT, uint32(0)), 'refused: image_step'),
    '2^32 - 1 bytes': (lambda raw: overwritten(raw, STEP_AT + 4, uint32((1 << 32) - 1)), 'refused: wire_truncated'),
}
K_AT = padded(padded(padded(HEIGHT_AT + 8) + 4 + len('plumb_bob') + 1) + 4, 8) + 8 * 5
INFOS = {
    'nothing at all': (lambda raw: b'', ''),
    'one byte': (lambda raw: raw[:1], ''),
    'of 8 bytes': (lambda raw: raw[:8], 'refused: wire_truncated'),
    'cut': (lambda raw: raw[:-60], 'refused: wire_truncated'),
    'a text of 2^31 bytes': (lambda raw: overwritten(raw, FRAME_LENGTH, uint32(1 << 31)), 'refused: wire_truncated'),
    'the flag of big endian': (lambda raw: b'\0\0' + raw[2:], 'refused: wire_truncated'),
    '2^31 coefficients': (
        lambda raw: overwritten(raw, padded(HEIGHT_AT + 8 + 4 + len('plumb_bob') + 1), uint32(1 << 31)),
        'refused: wire_count',
    ),
    'padding of 100 kB': (lambda raw: raw + bytes(100_000), 'refused: message_large'),
    'K is not a number': (lambda raw: overwritten(raw, K_AT, struct.pack('<d', NAN)), 'refused: camera'),
    'K is infinite': (lambda raw: overwritten(raw, K_AT, struct.pack('<d', float('inf'))), 'refused: camera'),
    'K is enormous': (lambda raw: overwritten(raw, K_AT, struct.pack('<d', 1e308)), 'refused: camera'),
    'K is tiny': (lambda raw: overwritten(raw, K_AT, struct.pack('<d', 1e-308)), 'refused: camera'),
}


def kinds(node) -> dict[str, int]:
    return {c.kind: c.count for c in node.complain.all()}


class Camera:
    """Sends good images until one is answered."""

    def __init__(self, peer):
        self.peer, self.second = peer, 100
        self.people = peer.listen(SmplArray, '/cliff/people')

    def is_answered(self, send=None) -> bool:
        self.second += 1
        for attempt in range(40):
            (send or self.peer.show)(ONE, (self.second, attempt))
            if self.peer.until(lambda: self.people and self.people[-1].header.stamp.sec == self.second, 0.5):
                return len(self.people[-1].people) == 1
        return False


@pytest.fixture
def logged(cliff):
    """(node, the lines of its log) of a node with these parameters."""

    def make(**parameters):
        node, lines = cliff(**parameters), []
        node.complain._logger = type('Logger', (), {'warning': staticmethod(lines.append)})
        node.complain.PERIOD = 3600.0  # nothing is said again because a test takes long
        return node, lines

    return make


def assert_survived(node, camera: Camera, lines: list[str], send, cases: dict, before: dict[str, int]) -> None:
    """Send each case three times over the graph; it is counted, and a good image is answered afterwards."""

    def counted(kind: str) -> int:
        return sum(count for other, count in kinds(node).items() if other.startswith(kind))

    for name, (_, kind) in cases.items():
        earlier = counted(kind)
        for _ in range(3):
            send(name)
        # Best effort may lose them: until one was heard.
        assert not kind or camera.peer.until(lambda: counted(kind) > earlier or send(name)), (name, kinds(node))  # noqa: B023
        assert camera.is_answered(), (name, lines)
    fresh = set(kinds(node)) - set(before)
    assert len(lines) == len(set(lines)) <= len(kinds(node)), lines  # once per kind
    assert not [kind for kind in fresh if kind.startswith('failed')], lines


def test_hostile_images_and_camera_infos(logged, peer):
    node, lines = logged()
    camera = Camera(peer)
    peer.bring_up()
    assert camera.is_answered()
    image, info = serialize_message(peer.image(ONE, (1, 0))), serialize_message(peer.info((1, 0)))
    before = kinds(node)
    stamp = iter(range(1, 10_000))

    def send_image(name: str) -> None:
        # With its CameraInfo, so that what is wrong with the pixels is looked at.
        now = uint32(next(stamp))
        peer.infos.publish(overwritten(info, 4, now))
        damaged = IMAGES[name][0](image)
        peer.images.publish(overwritten(damaged, 4, now)[: len(damaged)])
        peer.spin(0.02)

    def send_info(name: str) -> None:
        now = uint32(next(stamp))
        damaged = INFOS[name][0](info)
        peer.infos.publish(overwritten(damaged, 4, now)[: len(damaged)])
        peer.images.publish(overwritten(image, 4, now))
        peer.spin(0.02)

    assert_survived(node, camera, lines, send_image, IMAGES, before)
    assert_survived(node, camera, lines, send_info, INFOS, before)

    def show_big_endian(pixels, stamp) -> None:
        peer.infos.publish(peer.info(stamp))
        peer.images.publish(big_endian_image(peer.image(pixels, stamp)))

    assert camera.is_answered(show_big_endian)

    heard = len(lines)
    for i in range(300):
        peer.infos.publish(peer.info((90, i)))
        peer.images.publish(peer.image(ONE, (90, i), encoding=f'unknown_{i}\n[ERROR] forged'))
        peer.spin(0.002)
    assert camera.is_answered()
    assert kinds(node)['refused: image_encoding'] > 1 and len(lines) <= heard + 2
    assert all(line.isprintable() and len(line) < 1010 for line in lines)


def detection_bytes(vision, stamp, **changes) -> bytes:
    found = vision.Detection2D(id=changes.get('id', '7'))
    found.bbox.center.position.x, found.bbox.center.position.y = changes.get('x', 200.0), changes.get('y', 200.0)
    found.bbox.size_x, found.bbox.size_y = changes.get('w', 80.0), changes.get('h', 160.0)
    result = vision.ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = changes.get('class_id', 'person'), changes.get('score', 0.9)
    found.results = [result] * changes.get('results', 1)
    message = vision.Detection2DArray(detections=[found] * changes.get('detections', 1))
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = changes.get('frame_id', FRAME)
    return serialize_message(message)


COUNT_AT = padded(FRAME_LENGTH + 4 + len(FRAME) + 1)
DETECTIONS = {
    'of 8 bytes': (lambda raw: raw[:8], 'refused: wire_truncated'),
    'cut': (lambda raw: raw[:-60], 'refused: wire_truncated'),
    'a text of 2^31 bytes': (lambda raw: overwritten(raw, FRAME_LENGTH, uint32(1 << 31)), 'refused: wire_truncated'),
    '2^31 detections': (lambda raw: overwritten(raw, COUNT_AT, uint32(1 << 31)), 'refused: wire_count'),
    'the flag of big endian': (lambda raw: b'\0\0' + raw[2:], 'refused: wire_'),
    'a centre far away': ({'x': 1e17}, 'detections: numbers'),
    'a centre nowhere': ({'y': NAN}, 'detections: numbers'),
    'no size': ({'w': 1e-20, 'h': 1e-20}, 'detections: numbers'),
    'a size without end': ({'w': float('inf')}, 'detections: numbers'),
    'less than a pixel': ({'w': 0.01}, 'detections: size'),
    'larger than everything': ({'w': 9e5, 'h': 9e5}, 'detections: size'),
    'outside': ({'x': 9000.0}, 'detections: outside'),
    'a score that is no number': ({'score': NAN}, 'detections: numbers'),
    'an id of 5,000 digits': ({'id': '1' * 5000}, ''),
    'a negative id': ({'id': '-1'}, ''),
    'the highest id': ({'id': str((1 << 31) - 1)}, ''),
    'a class of 100 kB': ({'class_id': 'x' * 100_000}, ''),
    '5,000 detections': ({'detections': 5000, 'results': 0}, 'refused: wire_count'),
    '20,000 hypotheses': ({'detections': 2, 'results': 10_000}, 'refused: wire_count'),
}


def test_hostile_detections(logged, peer, vision):
    node, lines = logged(detector='topic')
    camera = Camera(peer)
    boxes = peer.node.create_publisher(vision.Detection2DArray, 'detections', 10)
    peer.bring_up()
    assert peer.until(boxes.get_subscription_count)

    def show(pixels, stamp) -> None:
        peer.show(pixels, stamp)
        peer.spin(0.02)
        boxes.publish(detection_bytes(vision, stamp))

    good = Camera.is_answered
    camera.is_answered = lambda: good(camera, show)
    assert camera.is_answered()
    before, stamp = kinds(node), iter(range(1, 10_000))

    def send(name: str) -> None:
        second, change = next(stamp), DETECTIONS[name][0]
        peer.show(ONE, (second, 0))
        peer.spin(0.02)
        raw = detection_bytes(vision, (second, 0), **({} if callable(change) else change))
        boxes.publish(change(raw) if callable(change) else raw)
        peer.spin(0.02)

    assert_survived(node, camera, lines, send, DETECTIONS, before)
    # Who comes without an id after the highest of all still gets one that the messages can hold.
    assert max(person.id for message in camera.people for person in message.people) < 1 << 31


def bomb(width: int, height: int) -> bytes:
    """A PNG of black pixels: a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    packed = zlib.compressobj(9)
    rows = b''.join(packed.compress(bytes(3 * width + 1)) for _ in range(min(height, 500))) + packed.flush()
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
        + chunk(b'IDAT', rows)
        + chunk(b'IEND', b'')
    )


def test_a_compressed_image_is_judged_by_its_header(logged, peer):
    node, lines = logged(image_transport='compressed', max_image_pixels=1_000_000)
    camera = Camera(peer)
    images = peer.node.create_publisher(CompressedImage, 'image', 10)
    assert peer.change('configure') and peer.change('activate')
    assert peer.until(lambda: images.get_subscription_count() and peer.infos.get_subscription_count())

    def send(data: bytes, stamp) -> None:
        peer.infos.publish(peer.info(stamp))
        header = peer.image(ONE, stamp).header
        images.publish(CompressedImage(header=header, format='', data=to_message_array(np.frombuffer(data, np.uint8))))

    good = cv2.imencode('.png', ONE)[1].tobytes()
    assert camera.is_answered(lambda pixels, stamp: send(good, stamp))
    for i, data in enumerate((bomb(30_000, 30_000), b'\xff\xd8\xff\xd9', good[:50], b'BM' + bytes(99))):
        for n in range(3):
            send(data, (1 + i, n))
            peer.spin(0.02)
    assert camera.is_answered(lambda pixels, stamp: send(good, stamp))
    assert kinds(node)['refused: image_large'] and kinds(node)['refused: image_undecodable']
    assert 'max_image_pixels' in ' '.join(lines)


@pytest.mark.parametrize('use', [False, True])
def test_a_hostile_clock_does_not_end_the_node(logged, peer, use):
    node, lines = logged(use_sim_time=use)
    camera = Camera(peer)
    clocks = peer.node.create_publisher(Clock, '/clock', 10)
    peer.bring_up()
    assert not use or peer.until(clocks.get_subscription_count)
    time = Clock()
    time.clock.sec = 5
    good = serialize_message(time)
    for raw in (
        good[:4],
        good[:8],
        overwritten(good, 4, uint32(1 << 31)),
        overwritten(good, 8, uint32((1 << 32) - 1)),
        b'\0\7' + good[2:],
        good,
    ):
        for _ in range(3):
            clocks.publish(raw)
            peer.spin(0.02)
    assert camera.is_answered()
    if use:
        assert peer.until(lambda: node.get_clock().now().nanoseconds == 5_000_000_000)
        assert 'refused: wire_truncated' in kinds(node)


def test_an_error_in_any_callback_stays_there(logged, peer, monkeypatch):
    node, lines = logged(diagnostics_rate=10.0)
    camera = Camera(peer)
    peer.bring_up()

    def fail(*args):
        raise ZeroDivisionError('on purpose')

    node.watchdog.check = fail
    assert peer.until(lambda: any('_report' in k or 'fail' in k for k in kinds(node)))
    monkeypatch.setattr(node.parameters, '_on_change', fail)
    assert 'On purpose.' in peer.set(max_people=3)
    node._stand_down_was = node._lost.callback
    monkeypatch.setattr(node, 'trigger_deactivate', fail)
    node.status.failure = 'lost'
    count = sum(kinds(node).values())
    node._lost.trigger()
    assert peer.until(lambda: sum(kinds(node).values()) > count)
    assert camera.is_answered()


def test_parameters_of_unknown_types_are_answered(logged, peer):
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import SetParameters

    logged()
    request = SetParameters.Request(parameters=[Parameter(name='max_people', value=ParameterValue(type=77))])
    assert peer.call(SetParameters, '/cliff/set_parameters', request).results == []
    assert len(peer.set(max_people='x')) > 10 and peer.set(max_people=4) == ''
    assert peer.state() == 'unconfigured'


def test_sizes_are_read_as_decoders_find_them():
    picture = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
    for codec, options in (
        ('.png', []),
        ('.jpg', []),
        ('.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        ('.jpg', [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
    ):
        data = cv2.imencode(codec, picture, options)[1].tobytes()
        assert picture_size(data) == (53, 37)
    for inserted in (b'\xff\xff\xff', b'garbage', b'\xff\0', b'\xff\xd0', b'\xff\xe1\0\x06\xff\xc0ab'):
        data = cv2.imencode('.jpg', picture)[1].tobytes()
        data = data[:2] + b'\xff\xe0\0\2' + inserted + data[2:]
        assert picture_size(data) == (53, 37), inserted
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is None or decoded.shape[:2] == (37, 53)


def test_a_png_of_damaged_chunks_is_not_given_to_the_decoder():
    picture = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
    good = cv2.imencode('.png', picture)[1].tobytes()
    at = good.index(b'IDAT')
    for data in (
        good[: at - 4] + b'\x7f\xff\xff\xff' + good[at:],
        good[: at + 9] + b'!' + good[at + 10 :],
        good[:-12],
        good[:8] + good[33:],
        good[:33] + good[8:],
        good[:33],
    ):
        assert picture_size(data) is None


def test_messages_larger_than_they_can_be_are_refused(ros):
    for raw, most, fits in ((bytes(100), 100, True), (bytes(101), 100, False)):
        if fits:
            check_bytes(raw, 'an image', most)
        else:
            with pytest.raises(InputError, match='101 bytes is larger than the 100'):
                check_bytes(raw, 'an image', most)
    assert most_image_bytes(1920 * 1080) > 8 * 1920 * 1080


def test_names_in_sentences_are_bounded():
    from sensor_msgs.msg import Image

    message = Image(height=1, width=1, step=3, data=bytes(3), encoding='x' * 10_000)
    with pytest.raises(InputError) as refusal:
        to_array(message)
    assert len(str(refusal.value)) < 600 and refusal.value.code == 'image_encoding'


def corpus(vision) -> dict[str, list[str]]:
    """Good messages of each kind, as hexadecimal digits."""
    from builtin_interfaces.msg import Time
    from sensor_msgs.msg import CameraInfo, Image
    from std_msgs.msg import Header

    header = Header(stamp=Time(sec=5, nanosec=6), frame_id='camera')
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    images = [
        Image(
            header=header,
            height=8,
            width=16,
            step=16 * size,
            encoding=encoding,
            data=pixels.tobytes()[: 16 * size * 8 * rows // 2],
        )
        for encoding, size, rows in (
            ('rgb8', 3, 2),
            ('bgra8', 4, 2),
            ('mono16', 2, 2),
            ('rgb16', 6, 2),
            ('bayer_rggb8', 1, 2),
            ('yuv422', 2, 2),
            ('nv12', 1, 3),
        )
    ]
    compressed = [
        CompressedImage(header=header, format=form, data=cv2.imencode(codec, pixels, options)[1].tobytes())
        for form, codec, options in (
            ('jpeg', '.jpg', []),
            ('rgb8; jpeg compressed bgr8', '.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
            ('png', '.png', []),
            ('bayer_rggb8; png compressed ', '.png', []),
        )
    ]
    infos = [
        CameraInfo(
            header=header,
            height=48,
            width=64,
            distortion_model=model,
            d=d,
            k=[50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0],
            r=np.eye(3).reshape(-1),
            p=[50.0, 0.0, 31.5, 0.0, 0.0, 50.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0],
        )
        for model, d in (
            ('plumb_bob', [0.0] * 5),
            ('plumb_bob', [-0.3, 0.1, 0.001, 0.002, 0.0]),
            ('rational_polynomial', [0.1, 0.1, 0.0, 0.0, 0.1, 0.2, 0.1, 0.0]),
            ('equidistant', [0.1, 0.01, 0.0, 0.0]),
        )
    ]
    time = Clock()
    time.clock.sec = 77
    seeds = {'image': images, 'compressed': compressed, 'camera_info': infos, 'clock': [time]}
    out = {kind: [serialize_message(message).hex() for message in messages] for kind, messages in seeds.items()}
    box = {'x': 30.0, 'y': 20.0, 'w': 20.0, 'h': 30.0, 'frame_id': 'camera'}
    out['detections'] = [
        detection_bytes(vision, (5, 6), **box, **more).hex()
        for more in ({}, {'detections': 3, 'results': 2}, {'results': 0, 'id': ''}, {'detections': 0})
    ]
    return out


def test_ten_thousand_mutations_of_each_message_crash_nothing(vision, tmp_path):
    (tmp_path / 'seeds.json').write_text(json.dumps(corpus(vision)))
    done = subprocess.run(
        [sys.executable, '-m', 'bench.mutations', tmp_path / 'seeds.json', '10000'],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = json.loads(done.stdout.splitlines()[-1])
    assert set(outcomes) == {'image', 'compressed', 'camera_info', 'detections', 'clock'}
    for kind, outcome in outcomes.items():
        assert outcome['taken'] + outcome['refused'] == 10_000, (kind, outcome, done.stderr[-3000:])
        assert outcome['refused'] > 500 and outcome['taken'] > 500, (kind, outcome)  # else they hit nothing
        assert outcome['without code'] == outcome['slow'] == 0, (kind, outcome)


def test_detections_are_read_as_rclpy_reads_them(vision):
    raw = detection_bytes(vision, (5, 6), detections=2, results=3, id='käse', class_id='person', score=0.25)
    got = read_detections(raw)
    assert (got.stamp, got.frame_id, len(got.detections)) == ((5, 6), FRAME, 2)
    assert got.detections[1] == ((200.0, 200.0, 80.0, 160.0), [('person', 0.25)] * 3, 'käse')


def test_big_endian_images_are_read(ros):
    from conftest import Peer

    peer = Peer()
    try:
        message = peer.image(ONE, (5, 6))
        raw = big_endian_image(message)
    finally:
        peer.close()
    got = read_image(raw)
    assert (got.stamp, got.frame_id, got.encoding) == ((5, 6), FRAME, 'rgb8')
    assert np.array_equal(to_array(got)[0], ONE)
