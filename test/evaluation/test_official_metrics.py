"""Benchmarks' measures against what the benchmarks' own evaluation code returned, and against figures by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from golden_metrics import crowd, people
from hypothesis import given
from hypothesis import strategies as st
from places import ROOT

from cliff_ros.body import load_body
from cliff_ros.errors import ModelError
from cliff_ros.evaluation import agora, metrics, motion
from cliff_ros.evaluation.regressed import J14, about_pelvis, h36m_joints, h36m_regressor

GOLDEN = json.loads((ROOT / 'test' / 'golden' / 'metrics.json').read_text())
WHO = people()
SAME = dict(rel=1e-9)


def close(got, want):
    assert float(np.mean(got)) == pytest.approx(want, **SAME)


def test_emdb():
    want, joints, predicted = GOLDEN['emdb'], WHO['joints'], WHO['predicted']
    close(metrics.mpjpe(predicted, joints, metrics.MID_HIP), want['mpjpe'])
    close(metrics.pa_mpjpe(predicted, joints), want['pa_mpjpe'])
    hips = (metrics.root_of(side, metrics.MID_HIP)[:, 0] for side in (predicted, joints))
    close(metrics.mpvpe(WHO['predicted_vertices'], WHO['vertices'], *hips), want['mve'])
    close(metrics.pa_mpvpe(WHO['predicted_vertices'], WHO['vertices'], predicted, joints), want['pa_mve'])
    rotations = WHO['predicted_rotations'], WHO['rotations']
    # Their angles come out of OpenCV, which sees a rotation off by rounding through an SVD.
    assert metrics.mpjae(*rotations).mean() == pytest.approx(want['mpjae'], rel=1e-6)
    assert metrics.mpjae_pa(*rotations, predicted, joints).mean() == pytest.approx(want['mpjae_pa'], rel=1e-6)
    close(motion.jitter(predicted), want['jitter'])
    close(motion.jitter(joints), want['jitter_true'])


def test_3dpw_challenge():
    want, joints, predicted = GOLDEN['3dpw'], WHO['joints'], WHO['predicted']
    errors = metrics.joint_errors(predicted, joints)
    close(errors, want['mpjpe'])
    errors = errors[:, list(metrics.PCK_JOINTS)]
    assert 0.2 < metrics.pck(errors) < 0.8  # else the next two lines would compare little
    close(metrics.pck(errors), want['pck'])
    close(metrics.auc(errors), want['auc'])
    rotations = WHO['predicted_rotations'], WHO['rotations']
    assert metrics.mpjae_pa(*rotations, predicted, joints).mean() == pytest.approx(want['mpjae_pa'], rel=1e-6)


def test_agora():
    want, matches = GOLDEN['agora'], []
    close(metrics.mpjpe(WHO['predicted'], WHO['joints'], metrics.MID_HIP), want['mpjpe'])
    for seed, image in enumerate(want['matches']):
        matches.append(agora.match(*crowd(seed)))
        assert sorted(map(list, matches[-1].pairs)) == image['pairs'], seed
        assert list(matches[-1].missed) == image['missed'] and list(matches[-1].false) == image['false'], seed
    table = agora.summary(matches, [80.0, 100.0], [70.0])
    assert {name: table[name] for name in ('precision', 'recall', 'f1')} == {
        name: want[name] for name in ('precision', 'recall', 'f1')
    }
    assert table['nmje_mm'] == pytest.approx(90 / want['f1']) and table['nmve_mm'] == pytest.approx(70 / want['f1'])


def test_agora_of_nobody():
    one = np.random.default_rng(0).uniform(0, 100, (24, 2))
    assert agora.match([], [one], [True]) == agora.Matches((), (0,), ())
    assert agora.match([one], [], []) == agora.Matches((), (), (0,))
    assert agora.match([one], [one], [False]) == agora.Matches((), (), (0,))
    assert agora.summary([], [], [])['f1'] == 0 and np.isnan(agora.summary([], [], [])['nmje_mm'])


@given(st.integers(0, 2**32 - 1))
def test_the_transform_of_joints_applied_to_the_joints_is_procrustes(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, 3, 24, 3))
    fit = metrics.Similarity.between(source, target)
    np.testing.assert_allclose(np.linalg.det(fit.rotation), 1, atol=1e-9)
    np.testing.assert_allclose(fit(source), metrics.procrustes(source, target))
    np.testing.assert_allclose(
        metrics.pa_mpvpe(source, target, source, target), metrics.pa_mpjpe(source, target), rtol=1e-9
    )


def test_pck_and_auc_by_hand():
    errors = np.array([[0.0, 49.9], [50.0, 200.0]])
    assert metrics.pck(errors) == 0.75 and metrics.pck(errors, 49.9) == 0.5
    assert metrics.auc(np.zeros((2, 3))) == 1 and metrics.auc(np.full((2, 3), 500.0)) == 0
    # Found from 100 mm on: the curve rises between 99 and 100 and is one up to 199.
    assert metrics.auc(np.full((1, 1), 100.0)) == pytest.approx((99 + 0.5) / 199, rel=1e-4)
    assert np.isnan(metrics.pck([])) and np.isnan(metrics.auc([]))


def test_motion_by_hand():
    t = np.arange(10.0)[:, None, None] / 30
    cubic = np.tile([1.0, 0, 0], (10, 24, 1)) * t**3  # jerk 6 m/s^3
    assert motion.jitter(cubic) == pytest.approx(6 / 10 * 15 / 24)
    assert motion.jitter(cubic, still=()) == pytest.approx(6 / 10)
    assert np.isnan(motion.jitter(cubic[:3]))
    fall = np.tile([0, 9.81 / 2, 0], (10, 24, 1)) * t**2
    np.testing.assert_allclose(motion.acceleration(fall, fps=30), 9810)
    np.testing.assert_allclose(motion.acceleration_error(fall, 0 * fall, fps=30), 9810)
    np.testing.assert_allclose(motion.acceleration_error(fall + t, fall), 0, atol=1e-9)  # a steady drift is none


def test_fourteen_joints_are_regressed_from_the_mesh():
    rng = np.random.default_rng(0)
    regressor = rng.random((17, 50))
    regressor /= regressor.sum(1, keepdims=True)
    vertices = rng.normal(size=(3, 50, 3))
    joints = h36m_joints(vertices, regressor)
    np.testing.assert_allclose(joints[1], regressor @ vertices[1])
    chosen, pelvis = about_pelvis(joints)
    assert chosen.shape == (3, 14, 3) and len(set(J14)) == 14
    np.testing.assert_allclose(chosen[:, 3], joints[:, 1] - joints[:, 0])
    np.testing.assert_allclose(about_pelvis(joints + 7)[0], chosen, atol=1e-9)
    with pytest.raises(ModelError, match='J_regressor_h36m'):
        h36m_regressor(load_body())
