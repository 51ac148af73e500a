"""Benchmarks: the same work is compared, and figures mean what they say. Nothing here depends on how long it takes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT

for package in ('torch', 'smplx', 'onnx'):
    pytest.importorskip(package, reason='the benchmarks need it')
pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from rclpy.serialization import deserialize_message
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from bench import naive_node, tables
from bench.cost import Device, cost
from bench.frames import HEIGHT, WIDTH, crowd, filmed, frame_of
from bench.measures import cpu_seconds, fit_line, growth, memory
from bench.networks import fixed_detector, random_resnet50
from cliff_ros import Box, Pipeline
from cliff_ros.detect import load_detector
from cliff_ros.msg import SmplArray
from cliff_ros.ros.outputs.batch import Batch
from cliff_ros.ros.outputs.markers import MeshMarkers
from cliff_ros.ros.outputs.people_message import PeopleMessage
from cliff_ros.ros.outputs.transforms import TransformMessage

RNG = np.random.default_rng(0)


@pytest.fixture(scope='module')
def film():
    return filmed(1)


@pytest.fixture(scope='module')
def resnet50(tmp_path_factory):
    return tuple(map(str, random_resnet50(tmp_path_factory.mktemp('resnet50'))))


class TestNaiveNodeDoesTheSameWork:
    @pytest.mark.parametrize('network', ['embedded', 'resnet50'])
    def test_same_people_from_the_same_image(self, film, network, request):
        checkpoint, graph = ('embedded', 'embedded') if network == 'embedded' else request.getfixturevalue('resnet50')
        camera, images = film
        image = images[0]
        naive, pipeline = naive_node.NaiveCliff(checkpoint, 'embedded'), Pipeline(graph, engine='onnx', smoothing=False)
        rectified = naive.rectify(image, camera.K, camera.d)
        assert len(naive.detector(rectified)) == 1 == len(pipeline.detector(image))
        # From the same box, which the lens moves: as their detector would see it in the rectified image.
        (box,) = pipeline.detector(image)
        x0, y0, x1, y1 = box.xyxy
        sides = camera.undistort([[x0, (y0 + y1) / 2], [(x0 + x1) / 2, y0], [x1, (y0 + y1) / 2], [(x0 + x1) / 2, y1]])
        naive.detector = lambda image: [Box(sides[[0, 1, 2, 3], [0, 1, 0, 1]], box.score)]
        theirs = naive(rectified, camera.K)
        (ours,) = pipeline(frame_of(image, camera), [box])
        # What is left: they sample twice, and their crops begin at whole pixels.
        distance = np.linalg.norm(ours.translation)
        assert np.linalg.norm(ours.translation - theirs['translation'][0]) < 0.01 * distance
        to_pelvis = [person - person[0] for person in (ours.joints, theirs['joints'][0])]
        assert np.median(np.linalg.norm(to_pelvis[0] - to_pelvis[1], axis=1)) < 0.02
        assert ours.vertices.shape == theirs['vertices'][0].shape

    def test_same_messages_for_the_same_people(self, film):
        camera, images = film
        pipeline = Pipeline(engine='onnx', smoothing=False)
        people = pipeline(frame_of(images[0], camera, 1.5))
        batch, faces = Batch((1, 500_000_000), 'camera', people), pipeline.body.faces
        header = Header(frame_id='camera')
        header.stamp.sec, header.stamp.nanosec = batch.stamp
        arrays = {
            'scores': people.score,
            'boxes': people.box,
            'rotations': people.rotations,
            'betas': people.betas,
            'joints': people.joints,
            'translation': people.translation,
        }

        ours = deserialize_message(PeopleMessage().serialize(batch), SmplArray)
        theirs = naive_node.people_message(header, arrays, camera.K, camera.d)
        assert [person.header for person in ours.people] == [person.header for person in theirs.people]
        for one, other in zip(ours.people, theirs.people, strict=True):
            np.testing.assert_allclose(one.joints2d, other.joints2d, atol=1e-2)
            for a, b in zip(one.rotations, other.rotations, strict=True):
                assert abs(a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w) > 1 - 1e-9
            np.testing.assert_allclose([[p.x, p.y, p.z] for p in one.joints], [[p.x, p.y, p.z] for p in other.joints])

        ours = deserialize_message(TransformMessage().serialize(batch), TFMessage).transforms
        theirs = naive_node.transforms(header, arrays).transforms
        name = f'smpl_{people[0].id}'
        assert [(frame.header.frame_id, frame.child_frame_id.replace(name, 'smpl_1')) for frame in ours] == [
            (frame.header.frame_id.replace('smpl_1', name), frame.child_frame_id) for frame in theirs
        ]
        for one, other in zip(ours, theirs, strict=True):
            a, b = one.transform.translation, other.transform.translation
            np.testing.assert_allclose([a.x, a.y, a.z], [b.x, b.y, b.z], atol=1e-6)

        (ours,) = deserialize_message(MeshMarkers(faces).serialize(batch), MarkerArray).markers
        (theirs,) = naive_node.markers(header, people.vertices, faces.astype(np.int64)).markers
        assert (ours.header, ours.type, len(ours.points)) == (theirs.header, theirs.type, len(theirs.points))
        for i in RNG.integers(0, len(ours.points), 50):
            assert ours.points[i] == theirs.points[i]


class TestWhatIsMeasuredWith:
    def test_the_fixed_detector_finds_its_boxes(self, film, tmp_path):
        _, images = film
        _, boxes = crowd(images[0], np.array([500.0, 100, 700, 600]), 32)
        detector = load_detector(fixed_detector(tmp_path / 'fixed.onnx', boxes, (WIDTH, HEIGHT)))
        for image in (images[0], np.zeros_like(images[0])):
            found = np.array([box.xyxy for box in detector(image)])
            order, wanted = np.lexsort(found.round().T), np.lexsort(boxes.round().T)
            np.testing.assert_allclose(found[order], boxes[wanted], atol=0.01)

    def test_two_boxes_with_one_middle_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match='same cell'):
            fixed_detector(tmp_path / 'fixed.onnx', np.array([[0, 0, 90, 200], [1, 0, 91, 200]]), (WIDTH, HEIGHT))

    def test_a_crowd_shows_the_person_in_every_box(self, film):
        _, images = film
        image, boxes = crowd(images[0], np.array([500.0, 100, 700, 600]), 8)
        assert boxes.shape == (8, 4) and image.shape == images[0].shape
        cut = [image[int(y0 + 0.5) : int(y1 + 0.5), int(x0 + 0.5) : int(x1 + 0.5)] for x0, y0, x1, y1 in boxes]
        assert all(np.array_equal(cut[0], other) for other in cut)
        with pytest.raises(ValueError, match='at most 32'):
            crowd(images[0], boxes[0], 33)

    def test_a_frame_is_never_copied(self, film, tmp_path):
        """After arrival no buffer of the size of the image is made, for any number of people."""
        import tracemalloc

        camera, images = film
        _, boxes = crowd(images[0], np.array([500.0, 100, 700, 600]), 4)
        pipeline = Pipeline(
            engine='onnx',
            presence_threshold=0.0,
            detector=fixed_detector(tmp_path / 'fixed.onnx', boxes, (WIDTH, HEIGHT)),
        )
        frame = frame_of(images[0], camera)
        pipeline(frame, vertices=False)
        tracemalloc.start()
        try:
            people = pipeline(frame, vertices=False)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # What the detector sees is a quarter of it for a moment, while it is made smaller.
        assert len(people) == 4 and peak < 0.6 * frame.image.nbytes


class TestFigures:
    def test_a_line_through_points_on_a_line(self):
        x = np.array([1, 2, 4, 8, 16, 32])
        assert np.allclose(fit_line(x, 3.25 + 0.75 * x), (3.25, 0.75))

    def test_a_line_weighs_relative_errors(self):
        x = np.array([1.0, 2, 4, 8, 16, 32])
        y = 3 + x
        y[-1] *= 1.1  # the largest would pull a plain fit's start far below zero
        a, b = fit_line(x, y)
        plain_b, plain_a = np.polyfit(x, y, 1)
        assert abs(a - 3) < abs(plain_a - 3) and abs(b - 1) < 0.12

    @pytest.mark.parametrize(
        ('series', 'expected'),
        [
            (np.full(600, 200.0), 0.0),
            (200 + RNG.normal(0, 2, 600), 0.0),  # noise
            (200 * (1 + 0.05 * np.arange(600) / 540), 0.05),  # a leak: 5 % over what is kept
            (np.r_[np.linspace(100, 200, 60), np.full(540, 200.0)], 0.0),  # the warm-up
            (np.r_[np.full(300, 200.0), np.full(20, 260.0), np.full(280, 200.0)], 0.0),  # a peak
            (np.r_[np.full(330, 200.0), np.full(270, 210.0)], 0.1),  # a step half way: as a line it rises twice as much
        ],
    )
    def test_growth_of_memory(self, series, expected):
        assert growth(series) == pytest.approx(expected, abs=0.003)

    def test_too_short_a_series_has_no_growth(self):
        with pytest.raises(ValueError, match='too few'):
            growth([1.0, 2.0, 3.0])

    def test_what_the_kernel_says_of_a_process(self):
        code = 'x = bytearray(b"1") * 50_000_000\nfor _ in range(3_000_000): pass\nprint(flush=True); input()'
        with subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            assert 50 < memory(process.pid) < 120
            assert cpu_seconds(process.pid) > 0
            process.communicate(b'\n')

    def test_cost_of_a_network(self, resnet50):
        one, four = (cost(resnet50[1], people) for people in (1, 4))
        assert 7e9 < one.flops < 9e9  # ResNet-50 has 4.1 G multiply-adds at 224 x 224; a crop has 0.98 as many pixels
        assert four.flops == pytest.approx(4 * one.flops, rel=0.01) and four.weights == one.weights
        slow_memory = Device('', flops=1e18, bandwidth=1e9)
        assert one.floor(slow_memory) == pytest.approx(one.bytes / 1e9)


def test_tables_say_what_is_met_and_what_is_missed():
    part = {
        'by_people': {
            str(n): {'ms': ms, 'cpu_ms': ms, 'network_ms': 2.0, 'mesh_ms_per_person': mesh}
            for n, ms, mesh in ((1, 3.9, 0.5), (32, 35.2, 1.6))
        },
        'line': {'ms': {'a': 2.5, 'b': 1.0}, 'cpu_ms': {'a': 2.4, 'b': 0.9}},
        'peak_bytes': {'1': 1e6},
    }
    text = tables.text(
        {
            'machine': {
                'date': '2026-01-02T03:04',
                'cpu': 'a CPU',
                'cores': 2,
                'python': '3.11',
                'load': [0.5, 0, 0],
                'versions': {'numpy': '2', 'torch': None},
            },
            'our_part': part,
        }
    )
    first, many = (next(line for line in text.splitlines() if line.startswith(f'| {n} ')) for n in (1, 32))
    assert '<= 4 ok' in first and '<= 1.5 ok' in first
    assert '<= 35 MISSED' in many and '<= 1.5 MISSED' in many
    assert '2.50 + 1.00 N ms' in text and 'torch' not in text


def test_the_document_has_a_place_for_every_table():
    document = (ROOT / 'docs' / 'performance.md').read_text()
    machine = {
        'date': '2026-01-02T03:04',
        'cpu': 'CPU',
        'cores': 2,
        'python': '3.11',
        'load': [0.5, 0, 0],
        'versions': {},
    }
    speed = {'answers_per_second': 1.0, 'latency_ms': 1.0, 'stages_ms': {'total': 1.0}, 'bytes': {'image': 1000}}
    row = {'ms': 1.0, 'cpu_ms': 1.0, 'network_ms': 2.0, 'mesh_ms_per_person': 0.5}
    line = {'a': 1.0, 'b': 1.0}
    report = {
        'machine': machine,
        'start': {'listening_s': 1.0, 'second_s': 1.25},
        'versus': {'embedded_1': {'ratio': 9.0, 'cpu_ratio': 8.0, 'ours': speed, 'naive': speed}},
        'our_part': {'by_people': {'1': row}, 'line': {'ms': line, 'cpu_ms': line}, 'peak_bytes': {'1': 1e6}},
        'at_camera_rate': {
            'rate_1': {
                'rate': 30.0,
                'answered': 9,
                'sent': 10,
                'share_of_a_core': 0.5,
                'latency_ms': 1.0,
                'latency_p95_ms': 2.0,
            }
        },
    }
    soak = {
        'machine': machine,
        'seconds': 60.0,
        'rate': 30.0,
        'people': 4,
        'answered': 1,
        'sent': 2,
        'ids': 3,
        'share_of_a_core': 0.5,
        'growth': 0.02,
        'memory_mb': [100.0, 102.0],
    }
    once = tables.refresh(tables.refresh(document, report), soak)
    assert '| 1.25 | <= 3 ok |' in once and '< 1 MISSED' in once
    assert tables.refresh(tables.refresh(once, soak), report) == once
    with pytest.raises(ValueError, match="no place for the table 'soak machine'"):
        tables.refresh('', soak)


@pytest.mark.slow
def test_the_benchmark_runs_and_reports(tmp_path):
    run = subprocess.run(
        [
            sys.executable,
            '-m',
            'bench.run',
            '--quick',
            '--output',
            str(tmp_path),
            '--only',
            'embedded_1',
            'rate_1',
            'start',
        ],
        cwd=ROOT,
        timeout=500,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads((tmp_path / 'report.json').read_text())
    versus = report['versus']['embedded_1']
    assert report['ratio'] == {'embedded_1': versus['ratio']} and versus['ratio'] > 0
    assert len(versus['ratios']) == 2 and versus['cpu_ratio'] > 0
    for node in ('ours', 'naive'):
        assert versus[node]['bytes']['mesh'] > 900_000 and versus[node]['answers_per_second'] > 0
    # The same messages, but for the bytes of different colors and names: of one size.
    assert versus['ours']['bytes'] == versus['naive']['bytes']
    assert set(versus['ours']['stages_ms']) >= {'crop', 'infer', 'publish', 'total'}
    rate = report['at_camera_rate']['rate_1']
    assert 0 < rate['answered'] <= rate['sent'] and rate['share_of_a_core'] > 0
    assert report['start']['second_s'] >= report['start']['listening_s'] > 0
    assert tables.text(report)
