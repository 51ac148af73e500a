"""`cliff evaluate`: its measures against known truth, and the real pipeline over a few rendered scenes."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cliff_ros import cli
from cliff_ros.body import load_body
from cliff_ros.evaluation import metrics
from cliff_ros.evaluation.run import Evaluation
from cliff_ros.evaluation.score import Scores, score
from cliff_ros.evaluation.synthetic import FIRST_SEED, SyntheticScenes
from cliff_ros.evaluation.tables import by_angle_off_axis, by_distance, render
from cliff_ros.people import Person
from cliff_ros.pipeline import Pipeline
from cliff_ros.synthetic.stills import StillSampler

seeds = st.integers(0, 2**32 - 1)
SIZES = (320, 240), (480, 270)
BOX = np.array([100, 100, 150, 220.0])


# ---- yaw slope -------------------------------------------------------------------------------------


@given(seeds, st.floats(-1.2, 0.5), st.floats(-20, 20), st.floats(0, 0.25), st.integers(-2, 2))
@settings(deadline=None, max_examples=30)
def test_the_yaw_slope_is_found_under_noise_flips_and_turns(seed, slope, offset, flipped, turns):
    rng = np.random.default_rng(seed)
    azimuths = rng.uniform(-50, 50, 300)
    errors = offset + slope * azimuths + rng.normal(0, 6, 300)
    errors += 180 * (rng.random(300) < flipped) + 360 * turns
    got, low, high = metrics.yaw_slope(errors, azimuths, resamples=60)
    assert got == pytest.approx(slope, abs=0.08)
    assert low <= got <= high and high - low < 0.15


def test_least_squares_would_be_misled_by_flips():
    azimuths = np.linspace(-40, 40, 81)
    errors = -0.5 * azimuths + np.where(azimuths > 25, 175, 0)
    assert np.polyfit(azimuths, errors, 1)[0] > 1
    assert metrics.yaw_slope(errors, azimuths, resamples=50)[0] == pytest.approx(-0.5, abs=1e-3)


@given(seeds, st.floats(-1, 1))
@settings(deadline=None, max_examples=20)
def test_a_network_that_only_sees_the_crop_has_slope_minus_one(seed, blindness):
    rng = np.random.default_rng(seed)
    n = 40
    azimuths = rng.uniform(-60, 60, n)
    # Upright people, leaning a little, facing any way: SMPL's y axis is up, the optical frame's down.
    true = (
        Rotation.from_euler('y', rng.uniform(-180, 180, (n, 1)), degrees=True)
        * Rotation.from_euler('x', rng.uniform(-30, 30, (n, 1)), degrees=True)
        * Rotation.from_euler('z', 180, degrees=True)
    ).as_matrix()
    predicted = Rotation.from_euler('y', -blindness * azimuths[:, None], degrees=True).as_matrix() @ true
    errors = metrics.yaw_error(predicted, true)
    assert metrics.yaw_slope(errors, azimuths, resamples=5)[0] == pytest.approx(-blindness, abs=1e-6)


def test_the_interval_shrinks_with_people_and_holds_the_truth():
    rng = np.random.default_rng(0)
    widths = []
    for n in (60, 600):
        held = 0
        for _ in range(10):
            azimuths = rng.uniform(-40, 40, n)
            _, low, high = metrics.yaw_slope(-0.3 * azimuths + rng.normal(0, 12, n), azimuths, resamples=60)
            held += low <= -0.3 <= high
        widths.append(high - low)
        assert held >= 7  # of 10 intervals of 95 %
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize(
    'errors, azimuths', [([], []), ([1, 2], [0, 10]), ([1, 2, 3], [5, 5, 5]), ([180, -179, 178, 180], [-20, 0, 10, 30])]
)
def test_no_line_no_slope(errors, azimuths):
    assert np.isnan(metrics.yaw_slope(np.array(errors), np.array(azimuths))).all()


# ---- people who are not asked for ------------------------------------------------------------------


def shifted(box: np.ndarray, x: float, y: float = 0) -> np.ndarray:
    return box + [x, y, x, y]


def test_what_is_left_out():
    head = np.array([110, 100, 140, 140.0])  # in the box, but a tenth of it
    twice = np.array([75, 40, 175, 280.0])  # holds the box
    half_out = np.array([140, 100, 180, 140.0])
    predicted = np.array([BOX, shifted(BOX, 15), shifted(BOX, 30), head, twice, half_out])
    assert metrics.left_out(predicted, BOX[None]).tolist() == [True, True, False, True, False, False]
    assert metrics.left_out(predicted, np.zeros((0, 4))).tolist() == [False] * 6
    assert metrics.left_out(np.zeros((0, 4)), BOX[None]).shape == (0,)
    assert metrics.left_out(predicted, np.array([BOX, half_out]))[5]


def boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    corner = rng.uniform(0, 150, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(30, 120, (n, 2))], 1)


def person(box=BOX, pelvis=(0.0, 0.0, 4.0), turn: float = 0.0, vertices=None) -> Person:
    """Somebody upright and stiff, whose joints lie around the pelvis."""
    rotations = np.tile(np.eye(3), (24, 1, 1))
    rotations[0] = Rotation.from_euler('y', turn, degrees=True).as_matrix() @ np.diag([1.0, -1, -1])
    shape = np.random.default_rng(0).normal(0, 0.3, (24, 3))
    joints = (shape - shape[0]) @ rotations[0].T + pelvis
    return Person(
        id=0,
        score=1.0,
        box=np.asarray(box, float),
        betas=np.zeros(10),
        rotations=rotations,
        translation=np.zeros(3),
        joints=joints,
        joints2d=100 * joints[:, :2],
        vertices=vertices,
    )


@given(seeds, st.integers(0, 5), st.integers(0, 5), st.integers(0, 4))
def test_ignored_people_change_neither_recall_nor_make_precision_worse(seed, predicted, true, ignored):
    rng = np.random.default_rng(seed)
    predicted, true, ignored = boxes(rng, predicted), boxes(rng, true), boxes(rng, ignored)
    without = metrics.recall_precision([(predicted, true)])
    recall, precision = metrics.recall_precision([(predicted, true, ignored)])
    np.testing.assert_equal(recall, without[0])
    assert np.isnan(precision) or precision >= without[1]
    scores = Scores()
    scores.add([person(box) for box in predicted], [person(box) for box in true], ignored)
    summary = scores.summary()
    assert summary['people_predicted'] == len(predicted) and summary['people_ignored'] == len(ignored)
    for name, value in ('recall', recall), ('precision', precision):
        assert summary[name] == (None if np.isnan(value) else pytest.approx(value))


def test_somebody_asked_for_is_found_also_where_an_ignored_person_stands():
    scores = Scores()
    scores.add(
        [person(BOX), person(shifted(BOX, 20)), person(shifted(BOX, 300))], [person(BOX)], shifted(BOX, 12)[None]
    )
    summary = scores.summary()
    assert (summary['people_matched'], summary['people_left_out']) == (1, 1)
    assert summary['recall'] == 1 and summary['precision'] == 0.5


# ---- tables ----------------------------------------------------------------------------------------


def at(angle: float, distance: float, **more) -> Person:
    """Somebody at that angle off the axis [deg], upwards to the right, and that distance [m]."""
    aside = np.sin(np.radians(angle)) / np.sqrt(2)
    return person(pelvis=distance * np.array([aside, -aside, np.cos(np.radians(angle))]), **more)


def test_people_are_sorted_by_angle_and_distance():
    places = [(1, 1.5), (7, 2.5), (8, 2.6), (29.9, 5), (30.1, 13), (49, 8), (70, 40)]
    scores = Scores()
    for number, place in enumerate(places):
        turned = at(*place, turn=float(number))
        scores.add([turned] if number != 2 else [], [at(*place)])
    columns = scores.columns()
    angles, distances = by_angle_off_axis(columns), by_distance(columns)
    assert {name: row['n'] for name, row in angles.items()} == {
        '0-5': 1,
        '5-10': 2,
        '10-15': 0,
        '15-20': 0,
        '20-25': 0,
        '25-30': 1,
        '30-50': 2,
        '50+': 1,
    }
    assert {name: row['n'] for name, row in distances.items()} == {
        '0-2': 1,
        '2-3': 2,
        '3-4': 0,
        '4-6': 1,
        '6-9': 1,
        '9-14': 1,
        '14+': 1,
    }
    assert angles['5-10']['recall'] == 0.5 and angles['5-10']['found'] == 1
    assert angles['30-50']['root_rotation_deg_median'] == pytest.approx(4.5)
    assert distances['14+']['root_rotation_deg_median'] == pytest.approx(6)
    assert angles['10-15']['recall'] is None and angles['10-15']['mpjpe_mm'] is None


def test_a_bin_says_what_the_score_of_its_people_says():
    near = [(at(2, 3, turn=5.0), at(2, 3)), (at(3, 3.5, turn=120.0), at(3, 3.5))]
    far = [(at(20, 10, turn=1.0), at(20, 10))]
    scores = Scores()
    for group, pairs in ('near', near), ('far', far):
        for predicted, true in pairs:
            scores.add([predicted], [true], group=group)
    alone = score([([predicted], [true]) for predicted, true in near])
    row = by_angle_off_axis(scores.columns())['0-5']
    assert alone['mpjpe_mm'] > 1 and alone['flip_rate'] == 0.5
    assert {key: value for key, value in row.items() if key in alone} == {
        key: value for key, value in alone.items() if key in row
    }
    assert scores.groups == ['near', 'far'] and scores.summary('near') == alone
    assert scores.summary()['people_true'] == 3


# ---- the command -----------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def scenes():
    return list(SyntheticScenes(5, 4, SIZES))


def test_scenes_are_held_out_and_exact(scenes):
    sampler = StillSampler(FIRST_SEED + 5, everyday=True, look='plain')
    body = load_body()
    for index, scene in enumerate(scenes):
        width, height = SIZES[index % 2]
        np.testing.assert_array_equal(scene.image, sampler.scene(width, height).image)
        assert scene.image.shape == (height, width, 3) and scene.camera.size == (width, height)
        assert scene.ignored.shape[1] == 4
        for someone in scene.people:
            joints, vertices = body(someone.betas[None], someone.rotations[None], someone.translation[None])
            np.testing.assert_allclose(someone.joints, joints[0], atol=1e-4)
            np.testing.assert_allclose(someone.vertices, vertices[0], atol=1e-4)
            np.testing.assert_allclose(someone.joints2d, scene.camera.project(someone.joints), atol=0.01)
            assert (someone.box[2:] > someone.box[:2]).all()
            assert (someone.box > -0.51).all() and (someone.box < np.tile([width, height], 2)).all()
    assert sum(len(scene.people) for scene in scenes) > 0


def evaluate(folder, *more) -> dict:
    report = folder / 'deep' / 'report.json'
    assert (
        cli.main(
            [
                'evaluate',
                '--seed',
                '5',
                '--frames',
                '4',
                '--size',
                '320x240',
                '480x270',
                '--engine',
                'onnx',
                '--report',
                str(report),
                *more,
            ]
        )
        == 0
    )
    return json.loads(report.read_text())


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp('evaluate')
    return evaluate(folder, '--sheet', str(folder / 'sheet.png')), folder


def accurate(report: dict) -> dict:
    """A report without its times."""
    if not isinstance(report, dict):
        return report
    return {key: accurate(value) for key, value in report.items() if not (key.endswith('_median') and '_ms_' in key)}


@pytest.mark.parametrize('visible', [0.75, 0.5, 0.4])
def test_the_lower_border_cuts_people_where_it_is_told_to(visible):
    people = 0
    for still in SyntheticScenes(3, 6, ((320, 240),), visible=visible):
        for person in still.people:
            y = person.vertices[:, 1] / person.vertices[:, 2] * still.camera.f + still.camera.cy
            assert (239.5 - y.min()) / np.ptp(y) == pytest.approx(visible, abs=0.011)
            assert person.box[3] == 239.5 and person.box[1] == pytest.approx(y.min(), abs=0.01)
            people += 1
    assert people >= 3


def test_only_joints_in_the_image_count_and_from_the_neck_on():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 0.3, (2, 24, 3))
    predicted = true + [0.5, 0, 1]  # all of a body beside itself is no error of its joints
    visible = np.zeros((2, 24), bool)
    visible[:, [12, 15, 16, 17]] = True
    predicted[:, 0] += 9
    predicted[:, 15] += [0, 0.04, 0]
    np.testing.assert_allclose(metrics.mpjpe_visible(predicted, true, visible), 10, atol=1e-6)
    visible[1] = False
    assert np.isnan(metrics.mpjpe_visible(predicted, true, visible)[1])


def test_people_who_are_cut_are_asked_for_in_a_report(tmp_path):
    report = evaluate(tmp_path, '--visible', '0.5')
    assert report['visible'] == 0.5 and 0 <= report['recall'] <= 1 and report['people_true'] > 0
    assert report['mpjpe_visible_mm'] is None or 0 < report['mpjpe_visible_mm'] < 1000


def test_the_report_has_all_measures(report, scenes):
    report, folder = report
    measures = {
        'mpjpe_mm',
        'mpjpe_visible_mm',
        'pa_mpjpe_mm',
        'mpvpe_mm',
        'root_rotation_deg_median',
        'flip_rate',
        'recall',
        'reprojection_box_fraction_median',
        'translation_m_median',
    }
    times = {'detector_ms_median', 'network_ms_median', 'network_ms_per_crop_median'}
    counts = {'people_true', 'people_predicted', 'people_matched', 'people_ignored', 'people_left_out'}
    assert {'yaw_slope', 'yaw_slope_interval', 'precision', 'frames', *measures, *times, *counts} <= set(report)
    assert set(report['by_size']) == {'320x240', '480x270'}
    for of in report['by_size'].values():
        assert {'precision', *measures, *times, *counts} <= set(of) and of['frames'] == 2
    people = sum(len(scene.people) for scene in scenes)
    for table in report['by_angle_off_axis'], report['by_distance'], report['by_size']:
        assert sum(row.get('n', row.get('people_true')) for row in table.values()) == people
        assert all(measures <= set(row) for row in table.values())
    assert report['complete'] and report['frames'] == 4 and report['people_true'] == people
    assert report['people_matched'] > 0 and 0 < report['mpjpe_mm'] < 1000 and report['detector_ms_median'] > 0
    assert report['engine'].startswith('onnx') and len(report['model_sha256']) == 64
    assert cv2.imread(str(folder / 'sheet.png')).shape[1] == 1800


def test_a_seed_gives_the_same_figures_again(report, tmp_path):
    assert accurate(evaluate(tmp_path)) == accurate(report[0])


def test_true_boxes_find_everybody_and_cost_no_detector(scenes):
    evaluation = Evaluation(Pipeline(engine='onnx', detector='none', smoothing=False), true_boxes=True)
    for scene in scenes:
        evaluation.add(scene)
    report = evaluation.report()
    assert report['people_predicted'] == report['people_true'] > 0
    assert report['recall'] == report['precision'] == 1 and report['detector_ms_median'] is None


def test_the_table_reads_at_a_glance(report):
    report = report[0]
    text = render(report)
    line = next(line for line in text.splitlines() if 'MPJPE)' in line)
    assert f'{report["mpjpe_mm"]:.0f} mm' in line
    assert '320x240' in text and 'angle off axis' in text and max(map(len, text.splitlines())) <= 110
    one = report | {'by_size': {'320x240': report['by_size']['320x240']}}
    assert '320x240' not in render(one)


def test_nobody_there_and_nobody_found_are_said_as_nothing(scenes):
    evaluation = Evaluation(Pipeline(engine='onnx', smoothing=False))
    empty = evaluation.report()
    assert empty['frames'] == 0 and empty['recall'] is None and 'MPJPE' in render(empty)
    scene = next(scene for scene in scenes if scene.people)
    assert evaluation.add(replace(scene, image=np.zeros_like(scene.image))) == []
    report = evaluation.report()
    assert report['recall'] == 0 and report['precision'] is None and report['network_ms_median'] is None
    assert report['yaw_slope'] is None and report['mpjpe_mm'] is None and 'MPJPE' in render(report)


def test_interrupted_it_still_reports_what_was_done(tmp_path, monkeypatch, capsys):
    add, done = Evaluation.add, []

    def add_two(self, sample):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(sample)
        return add(self, sample)

    monkeypatch.setattr(Evaluation, 'add', add_two)
    path = tmp_path / 'report.json'
    assert cli.main(['evaluate', '--frames', '4', '--size', '320x240', '--report', str(path)]) == 130
    content = json.loads(path.read_text())
    assert not content['complete'] and content['frames'] == 2
    assert 'interrupted after 2 of 4 images' in capsys.readouterr().err


@pytest.mark.parametrize(
    'arguments, sentence',
    [
        (['--frames', '0'], 'must be at least 1'),
        (['--seed', '-1'], 'must be at least 0'),
        (['--size', '32x32'], 'at least 64 pixels'),
        (['--visible', '1.2'], 'visible share of people must be'),
        (['--model', 'absent.onnx'], 'absent.onnx does not exist'),
        (['--detector', 'absent.onnx'], 'absent.onnx does not exist'),
        (['--body', 'absent.npz'], 'no body model at'),
        (['--sheet', 'sheet.mp4'], 'name it *.png'),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(arguments, sentence, capsys):
    assert cli.main(['evaluate', *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('cliff evaluate: ') and sentence in error and len(error.splitlines()) == 1


@pytest.mark.parametrize('arguments', [['--size', 'large'], ['--dataset', 'nonsense'], ['--frames', 'few']])
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(['evaluate', *arguments])
    assert stopped.value.code == 2 and 'usage' in capsys.readouterr().err
