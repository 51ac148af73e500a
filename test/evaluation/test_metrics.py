"""Measures against analytic truth, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cliff_ros.body.names import PARENTS
from cliff_ros.evaluation import metrics
from cliff_ros.evaluation.score import score
from cliff_ros.people import Person

seeds = st.integers(0, 2**32 - 1)


def skeleton(seed: int, people: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, (people, 24, 3))


@given(seeds, st.floats(0.1, 10), st.tuples(*3 * [st.floats(-20, 20)]))
def test_pa_mpjpe_is_blind_to_similarity_transforms(seed, scale, offset):
    true = skeleton(seed)
    turn = Rotation.random(None, seed).as_matrix()
    moved = scale * true @ turn.T + np.array(offset)
    np.testing.assert_allclose(metrics.pa_mpjpe(moved, true), 0, atol=1e-8)
    np.testing.assert_allclose(metrics.procrustes(moved, true), true, atol=1e-10)
    noisy = true + skeleton(seed + 1) * 0.1
    moved = scale * noisy @ turn.T + np.array(offset)
    np.testing.assert_allclose(metrics.pa_mpjpe(moved, true), metrics.pa_mpjpe(noisy, true), rtol=1e-8)


@given(seeds)
def test_procrustes_is_the_least_squares_optimum(seed):
    true, predicted = skeleton(seed), skeleton(seed + 1)
    best = metrics.procrustes(predicted, true)
    rng = np.random.default_rng(seed)
    for _ in range(5):  # any small further similarity makes it worse
        turn = Rotation.from_rotvec(rng.normal(0, 0.01, 3)).as_matrix()
        other = (1 + rng.normal(0, 0.01)) * best @ turn.T + rng.normal(0, 0.01, 3)
        assert (((best - true) ** 2).sum((1, 2)) <= ((other - true) ** 2).sum((1, 2)) + 1e-12).all()


def test_procrustes_does_not_mirror():
    true = skeleton(0)
    mirrored = true * [-1, 1, 1]
    assert (metrics.pa_mpjpe(mirrored, true) > 50).all()
    point = np.ones((1, 24, 3))
    assert np.isfinite(metrics.procrustes(point, true[:1])).all()


@given(seeds, st.tuples(*3 * [st.floats(-20, 20)]))
def test_known_offsets(seed, offset):
    true, offset = skeleton(seed), np.array(offset)
    np.testing.assert_allclose(metrics.mpjpe(true + offset, true), 0, atol=1e-9)
    np.testing.assert_allclose(metrics.mpjpe(true + offset, true, root=None), 1e3 * np.linalg.norm(offset), atol=1e-9)
    np.testing.assert_allclose(
        metrics.translation_error(true[:, 0] + offset, true[:, 0]), np.linalg.norm(offset), atol=1e-9
    )
    one = true.copy()
    one[:, 5, 1] += 0.24
    np.testing.assert_allclose(metrics.mpjpe(one, true), 10)  # 240 mm on one joint of 24
    np.testing.assert_allclose(metrics.mpvpe(one, true, one[:, 0], true[:, 0]), 10)


@given(seeds, st.floats(0, 180))
def test_rotation_errors_are_the_angle_between(seed, angle):
    rng = np.random.default_rng(seed)
    true = Rotation.random(72, rng).as_matrix().reshape(3, 24, 3, 3)
    axis = rng.normal(size=3)
    turn = Rotation.from_rotvec(np.radians(angle) * axis / np.linalg.norm(axis)).as_matrix()
    np.testing.assert_allclose(metrics.rotation_error(true @ turn, true), angle, atol=1e-6)
    np.testing.assert_allclose(metrics.joint_angle_error(true @ turn, true), angle, atol=1e-6)
    # A root that is off turns every global orientation by the same angle.
    off = true.copy()
    off[:, 0] = turn @ off[:, 0]
    np.testing.assert_allclose(metrics.mpjae(off, true), angle, atol=1e-6)
    np.testing.assert_allclose(metrics.joint_angle_error(off, true), 0, atol=1e-5)


def test_global_rotations_follow_the_tree():
    rotations = Rotation.random(24, 0).as_matrix()[None]
    world = metrics.global_rotations(rotations)
    want, joint = rotations[0, 23], 23
    while (joint := PARENTS[joint]) >= 0:
        want = rotations[0, joint] @ want
    np.testing.assert_allclose(world[0, 23], want, atol=1e-12)


@given(st.floats(-179, 179), st.floats(-179, 179), st.floats(-40, 40))
def test_yaw_is_read_from_above(true, error, lean):
    def facing(degrees):
        # SMPL's rest axes are y up: upside down in the optical frame, then about the camera's vertical.
        return (
            Rotation.from_euler('y', degrees, degrees=True)
            * Rotation.from_euler('x', lean, degrees=True)
            * Rotation.from_euler('z', 180, degrees=True)
        ).as_matrix()

    got = metrics.yaw_error(facing(true + error), facing(true))
    assert got == pytest.approx(error, abs=1e-6)
    assert metrics.yaw(facing(30.0)) == pytest.approx(30)
    assert metrics.flip_rate(facing(true + error)[None], facing(true)[None]) == (abs(error) > 90)


def test_reprojection_counts_what_is_visible():
    true = np.zeros((2, 24, 2))
    predicted = true + [3, 4]
    true[0, 0] = np.nan
    visible = np.zeros((2, 24), bool)
    visible[0] = True
    np.testing.assert_allclose(metrics.reprojection_error(predicted, true), [5, 5])
    np.testing.assert_allclose(metrics.reprojection_error(predicted, true, visible), [5, np.nan])
    np.testing.assert_allclose(metrics.box_fraction(np.array([5.0]), [[0, 0, 30, 100]]), [0.05])


def test_matching_takes_the_best_total_overlap():
    true = np.array([[0, 0, 10, 10], [4, 0, 14, 10.0]])
    predicted = np.array([[2, 0, 12, 10], [0, 0, 10, 10], [50, 50, 60, 60.0]])
    assert sorted(metrics.match(predicted, true)) == [(0, 1), (1, 0)]
    assert metrics.match(predicted[2:], true) == []
    assert metrics.match(np.empty((0, 4)), true) == []
    recall, precision = metrics.recall_precision([(predicted, true), (np.empty((0, 4)), true)])
    assert (recall, precision) == (0.5, 2 / 3)
    assert np.isnan(metrics.recall_precision([])).all()


def person(seed: int, **changes) -> Person:
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(24, seed).as_matrix()
    base = Person(
        id=seed,
        score=1.0,
        box=np.array([100.0 * seed, 0, 100 * seed + 50, 100]),
        betas=np.zeros(10),
        rotations=rotations,
        translation=np.zeros(3),
        joints=rng.normal(size=(24, 3)),
        joints2d=rng.normal(size=(24, 2)),
        vertices=rng.normal(size=(50, 3)),
    )
    return base.with_(**changes)


def test_score_of_a_perfect_and_of_an_offset_answer():
    true = [person(0), person(1)]
    perfect = score([(true, true)])
    assert perfect['recall'] == perfect['precision'] == 1
    for name, value in perfect.items():
        if name not in ('recall', 'precision') and not name.startswith('people'):
            assert value == pytest.approx(0, abs=1e-5), name
    moved = [p.with_(joints=p.joints + [0, 0, 0.5], joints2d=p.joints2d + [0, 4]) for p in true]
    report = score([(moved[:1], true), ([], true)])
    assert (report['people_true'], report['people_predicted'], report['people_matched']) == (4, 1, 1)
    assert report['recall'] == 0.25 and report['translation_m_median'] == pytest.approx(0.5)
    assert report['reprojection_px_median'] == pytest.approx(4)
    assert report['reprojection_box_fraction_median'] == pytest.approx(0.04)


def test_score_of_nothing_is_none_throughout():
    report = score([])
    assert report['people_true'] == 0 and report['recall'] is None and report['mpjpe_mm'] is None
    flat = [person(0, vertices=None)]
    assert score([(flat, flat)])['mpvpe_mm'] is None
