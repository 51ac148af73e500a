"""The demo's numbers, from recordings whose right answers are known."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cliff_ros.body import load_body
from cliff_ros.camera import Camera
from cliff_ros.demo.recording import STEPS, Messages, Recording
from cliff_ros.demo.report import make_report
from cliff_ros.demo.run import Scene
from cliff_ros.demo.table import failure, render, rows
from cliff_ros.people import People, Person

CAMERA = Camera.uncalibrated(640, 480)
SCENE = Scene(seconds=1.0, rate=10.0, width=640, height=480)
FRAMES = SCENE.frames
PERIOD = 10**8  # ns
START = 1_700_000_000 * 10**9


def person(person_id, x, turn=0.0, z=4.0):
    """Somebody upright, turned about the vertical by ``turn`` degrees."""
    rotations = np.tile(np.eye(3), (1, 24, 1, 1))
    rotations[0, 0] = Rotation.from_euler('y', turn, degrees=True).as_matrix() @ np.diag([1.0, -1.0, -1.0])
    body = load_body()
    translation = np.array([[x, 0.0, z]])
    joints, vertices = body(np.zeros((1, 10)), rotations, translation)
    pixels = CAMERA.project(vertices[0])
    return Person(
        id=person_id,
        score=0.9,
        box=np.concatenate([pixels.min(0), pixels.max(0)]),
        betas=np.zeros(10),
        rotations=rotations[0],
        translation=translation[0],
        joints=joints[0],
        joints2d=CAMERA.project(joints[0]),
    )


def messages(people, latency=0.0, frame_id='camera_optical_frame', drop=()):
    kept = [n for n in range(FRAMES) if n not in drop]
    stamps = np.array([START + n * PERIOD for n in kept], np.int64)
    return Messages(stamps, [frame_id] * len(kept), stamps + int(1e6 * latency), [People.of(people(n)) for n in kept])


def truth(n):
    return [person(1, -0.8 + 0.02 * n), person(2, 0.8, turn=30.0)]


def recording(estimate, **changes):
    stamps = estimate.stamps
    fields = {
        'camera': CAMERA,
        'truth': messages(truth),
        'estimate': estimate,
        'tf_stamps': np.repeat(stamps, 2),
        'tf_children': ['smpl_1', 'smpl_1/head'] * len(stamps),
        'tf_translations': np.reshape(
            [[people[0].joints[0] if people else np.zeros(3), np.zeros(3)] for people in estimate.people], (-1, 3)
        ),
        'mesh_markers': np.array([len(people) for people in estimate.people]),
        'mesh_stamps': stamps,
        'timing': np.tile(np.arange(1.0, 1.0 + len(STEPS)), (len(stamps), 1)),
        'counters': {'frames_received': FRAMES, 'frames_processed': len(stamps), 'frames_dropped': 0},
        'info': {'model': 'm', 'engine': 'onnx', 'body': 'b', 'body_licence': 'CC0-1.0'},
        'body_npz': b'npz',
        'images': {int(stamp): b'jpeg' for stamp in stamps},
    }
    return Recording(**fields | changes)


def test_a_perfect_run():
    report = make_report(recording(messages(truth, latency=40.0)), SCENE)
    assert report['frames_sent'] == report['frames_processed'] == report['stamps_matched'] == FRAMES
    assert report['people_true'] == report['people_matched'] == 2 * FRAMES
    assert report['recall'] == report['precision'] == 1
    for key in (
        'mpjpe_mm',
        'pa_mpjpe_mm',
        'root_rotation_deg_median',
        'translation_m_median',
        'reprojection_px_median',
        'reprojection_box_fraction_median',
    ):
        assert report[key] == pytest.approx(0, abs=1e-3), key
    assert report['latency_ms'] == pytest.approx({'p50': 40.0, 'p95': 40.0, 'p99': 40.0})
    assert report['rate_hz'] == pytest.approx(10.0)
    assert report['markers_received'] == report['tf_received'] == report['tf_stamps_matched'] == 2 * FRAMES
    assert report['tf_pelvis_difference_m_max'] == pytest.approx(0, abs=1e-9)
    assert report['headers_altered'] == 0 and report['node_ms']['detect'] == {'p50': 2.0, 'p95': 2.0}
    assert failure(report) is None and all(row.within is not False for row in rows(report))
    json.dumps(report)


def test_people_moved_in_space_have_only_a_wrong_place():
    # 5 % further away along the ray: the picture hardly changes, the pose not at all.
    estimate = messages(lambda n: [person(p.id, 1.05 * p.translation[0], 30.0 * (p.id == 2), z=4.2) for p in truth(n)])
    report = make_report(recording(estimate), SCENE)
    assert report['recall'] == 1
    assert report['mpjpe_mm'] == pytest.approx(0, abs=0.01)
    assert report['root_rotation_deg_median'] == pytest.approx(0, abs=0.05)
    assert 0.2 < report['translation_m_median'] < 0.21
    assert 0 < report['reprojection_px_median'] < 20


def test_people_turned_have_a_wrong_direction_but_the_right_pose():
    estimate = messages(lambda n: [person(p.id, p.translation[0], 10.0 + 30.0 * (p.id == 2)) for p in truth(n)])
    report = make_report(recording(estimate), SCENE)
    assert report['root_rotation_deg_median'] == pytest.approx(10.0, abs=0.01)
    assert report['mpjpe_mm'] > 5
    assert report['pa_mpjpe_mm'] == pytest.approx(0, abs=0.05)


def test_missed_people_and_people_who_are_not_there():
    estimate = messages(lambda n: [truth(n)[0], person(9, 3.0)])
    report = make_report(recording(estimate), SCENE)
    assert report['recall'] == 0.5 and report['precision'] == 0.5
    assert report['people_matched'] == FRAMES
    assert failure(report) is None  # half is the floor
    missed = [row.label for row in rows(report) if row.within is False]
    assert missed == ['people found (recall, IoU 0.5)', 'found people who are there (precision)']


def test_ids_that_change_are_counted():
    estimate = messages(lambda n: [p.with_(id=p.id + 10 * (n >= 5)) for p in truth(n)])
    assert make_report(recording(estimate), SCENE)['id_switches'] == 2
    assert make_report(recording(messages(truth)), SCENE)['id_switches'] == 0


def test_frames_left_out_are_no_missed_people():
    report = make_report(recording(messages(truth, drop=(3, 4))), SCENE)
    assert (report['frames_sent'], report['frames_processed']) == (10, 8)
    assert report['people_true'] == 16 and report['recall'] == 1
    assert rows(report)[0].within is False


@pytest.mark.parametrize(
    'estimate, sentence',
    [
        (messages(truth, drop=range(FRAMES)), 'answered none'),
        (messages(truth, frame_id='another_frame'), 'do not carry'),
        (messages(lambda n: []), 'nobody was found'),
        (messages(lambda n: truth(n)[:1] if n < 5 else []), 'only 25 %'),
        (messages(truth, drop=range(6)), 'only 4 of 10'),
    ],
)
def test_what_did_not_work_is_said(estimate, sentence):
    report = make_report(recording(estimate), SCENE)
    assert sentence in failure(report)
    render(report)


@pytest.mark.parametrize(
    'changes, sentence',
    [
        ({'tf_stamps': np.zeros(0, np.int64), 'tf_children': [], 'tf_translations': np.zeros((0, 3))}, '/tf'),
        ({'tf_stamps': np.full(2 * FRAMES, 5)}, "do not carry their image's stamp"),
        ({'mesh_markers': np.zeros(0, np.int64)}, 'no mesh marker'),
        ({'info': {}, 'body_npz': b''}, 'SmplInfo'),
        ({'truth': messages(truth, drop=range(FRAMES))}, 'the camera sent no image'),
    ],
)
def test_what_did_not_arrive_is_said(changes, sentence):
    report = make_report(recording(messages(truth), **changes), SCENE)
    assert sentence in failure(report)
    render(report)


def test_headers_altered_are_counted_by_stamp_and_frame():
    estimate = messages(truth)
    estimate.stamps[3] += 1
    assert make_report(recording(estimate), SCENE)['headers_altered'] == 1


def test_the_table_reads_at_a_glance():
    text = render(make_report(recording(messages(truth, latency=400.0)), SCENE), color=False)
    assert 'camera to consumer, 95 % within' in text
    line = next(line for line in text.splitlines() if '95 % within' in line)
    assert '400 ms' in line and line.endswith('MISSED')
    assert '\033' not in text and '\033' in render(make_report(recording(messages(truth)), SCENE), color=True)


def test_a_recording_survives_the_disk(tmp_path):
    before = recording(messages(truth, latency=25.0))
    before.save(tmp_path)
    after = Recording.load(tmp_path)
    assert make_report(after, SCENE)['mpjpe_mm'] == pytest.approx(0, abs=1e-3)
    assert after.estimate.headers == before.estimate.headers
    assert after.images == before.images and after.body_npz == b'npz' and after.info == before.info
    assert after.tf_children == before.tf_children
    one, two = (side.estimate.people[4][1] for side in (before, after))
    np.testing.assert_allclose(two.joints, one.joints, atol=1e-6)
    np.testing.assert_allclose(after.camera.K, CAMERA.K)
