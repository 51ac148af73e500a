"""Tracking and smoothing: ids, coasting, odd time steps, and filters against analytic truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from cliff_ros.people import Box, TrackState
from cliff_ros.track import ConstantVelocity, Motion, Smoother, Tracker, same_as, so3
from cliff_ros.track.assignment import assign


def box_at(x: float, y: float = 200.0, height: float = 200.0, **kwargs) -> Box:
    return Box([x - 0.2 * height, y - height / 2, x + 0.2 * height, y + height / 2], **kwargs)


# --- association -----------------------------------------------------------------------------------------

@settings(deadline=None, max_examples=300)
@given(st.integers(1, 7).flatmap(lambda columns: st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 0.2, 0.5, 0.55, 0.9, 1.0]), min_size=columns, max_size=columns),
    min_size=1, max_size=7)))
def test_assignment_gains_as_much_as_scipys(rows):
    gain = np.array(rows)
    pairs = assign(gain)
    assert len({row for row, _ in pairs}) == len(pairs) == len({column for _, column in pairs})
    assert all(gain[pair] > 0 for pair in pairs) and pairs == sorted(pairs)
    assert sum(gain[pair] for pair in pairs) == pytest.approx(gain[linear_sum_assignment(-gain)].sum())


def test_two_people_who_pass_each_other_keep_their_ids():
    tracker, rng = Tracker(), np.random.default_rng(0)
    for i in range(60):
        boxes = [box_at(100 + 8 * i + rng.normal(0, 2)), box_at(580 - 8 * i + rng.normal(0, 2), 230)]
        rng.shuffle(boxes)
        tracks = {track.id: track for track in tracker.update(boxes, i / 15)}
        assert set(tracks) == {1, 2} or i == 0
        assert tracks[min(tracks)].state is (TrackState.NEW if i == 0 else TrackState.OK)
        if i == 0:
            left = min(tracks.values(), key=lambda track: track.xyxy[0]).id
    assert tracks[left].xyxy[0] > 400
    assert tracks[left].age == pytest.approx(59 / 15)


def test_fast_people_at_a_low_rate_keep_their_ids():
    tracker = Tracker()
    for i in range(8):  # 1.2 widths per frame: boxes of successive frames do not touch
        tracks = tracker.update([box_at(100 + 96 * i)], i / 5)
        assert [track.id for track in tracks] == [1]


def test_people_coast_then_go_and_their_ids_are_never_used_again():
    tracker = Tracker(max_age=0.5)
    for i in range(10):
        tracker.update([box_at(100 + 10 * i)], i / 10)
    coasting = tracker.update([], 1.0)[0]
    assert coasting.state is TrackState.COASTING and coasting.unseen == pytest.approx(0.1)
    assert coasting.xyxy[0] == pytest.approx(box_at(200).xyxy[0], abs=3)
    assert tracker.update([box_at(210)], 1.1)[0].id == 1  # found again
    for stamp in (1.2, 1.4, 1.6):
        assert len(tracker.update([], stamp)) == 1
    assert tracker.update([], 1.7) == []
    assert [track.id for track in tracker.update([box_at(210)], 1.8)] == [2]


def test_slow_cameras_keep_ids_although_every_step_is_longer_than_the_memory():
    tracker = Tracker(max_age=0.5)
    assert {tracker.update([box_at(100)], float(i))[0].id for i in range(5)} == {1}


def test_time_that_stands_still_goes_back_or_jumps():
    tracker = Tracker()
    tracker.update([box_at(100)], 1.0)
    again = tracker.update([box_at(104)], 1.0)[0]
    assert again.id == 1 and np.isfinite(again.xyxy).all()
    assert tracker.update([box_at(104)], 0.0)[0].id == 2
    assert tracker.update([box_at(104)], 100.0)[0].id == 3
    tracker.reset()
    assert tracker.update([box_at(104)], 100.0)[0].id == 4


def test_ids_from_outside_are_kept():
    tracker = Tracker()
    first = tracker.update([box_at(100, id=40), box_at(300)], 0.0)
    assert {track.id for track in first} == {40, 41}
    swapped = tracker.update([box_at(300, id=40), box_at(100)], 0.1)
    by_id = {track.id: track for track in swapped}
    np.testing.assert_allclose(by_id[40].xyxy, box_at(300).xyxy)  # believed at once, not smoothed across
    twice = tracker.update([box_at(300, id=40, score=0.9), box_at(500, id=40, score=0.5)], 0.2)
    assert {track.id: track.xyxy[0] for track in twice}[40] == pytest.approx(box_at(300).xyxy[0], abs=1)
    assert len({track.id for track in twice}) == len(twice)


def test_min_hits_delays_the_first_report():
    tracker = Tracker(min_hits=3)
    seen = [tracker.update([box_at(100 + i)], i / 10) for i in range(4)]
    assert [len(tracks) for tracks in seen] == [0, 0, 1, 1]
    assert seen[2][0].state is TrackState.NEW and seen[3][0].state is TrackState.OK


def test_between_detections_boxes_move_on():
    tracker = Tracker()
    for i in range(0, 20, 2):
        tracker.update([box_at(100 + 10 * i)], i / 20)
        track = tracker.predict((i + 1) / 20)[0]
    assert track.state is TrackState.OK and track.measured is None
    assert track.xyxy[0] == pytest.approx(box_at(100 + 10 * 19).xyxy[0], abs=4)
    assert track.box(smoothed=False).id == track.id == 1


def test_smoothed_boxes_jitter_less_than_measured_ones():
    tracker, rng = Tracker(), np.random.default_rng(1)
    truth = 100 + 3.0 * np.arange(90)
    smoothed, measured = [], []
    for i, x in enumerate(truth):
        box = box_at(x + rng.normal(0, 6))
        smoothed.append(tracker.update([box], i / 30)[0].xyxy[0] + 40 - x)
        measured.append(box.xyxy[0] + 40 - x)
    assert np.std(smoothed[20:]) < 0.75 * np.std(measured[20:])
    assert abs(np.mean(smoothed[20:])) < 2


steps = st.lists(st.sampled_from([0.0, 0.03, 0.1, 0.7, 5.0, -1.0]), min_size=1, max_size=12)


@settings(max_examples=50)
@given(steps, st.integers(0, 2**32 - 1))
def test_whatever_comes_ids_are_unique_and_boxes_are_boxes(steps, seed):
    tracker, rng, stamp, dead, before = Tracker(), np.random.default_rng(seed), 0.0, set(), set()
    for step in steps:
        stamp += step
        boxes = [box_at(*rng.uniform(0, 400, 2), rng.uniform(20, 300)) for _ in range(rng.integers(0, 5))]
        tracks = tracker.update(boxes, stamp)
        ids = {track.id for track in tracks}
        assert len(ids) == len(tracks) and not ids & dead
        dead |= before - ids
        before = ids
        for track in tracks:
            track.box()  # refuses what is not a box
        assert sum(track.state is not TrackState.COASTING for track in tracks) == len(boxes)


# --- motion ----------------------------------------------------------------------------------------------

@given(st.lists(st.floats(0.0, 0.2), min_size=30, max_size=60))
def test_velocity_is_right_whatever_the_time_steps(steps):
    motion, stamp, velocity = Motion(), 0.0, np.array([1.0, -0.5, 0.3])
    assert (motion([1], 0.0, np.zeros((1, 3))) == 0).all()
    for step in steps:
        stamp += step
        out = motion([1], stamp, velocity[None] * stamp)
        assert np.isfinite(out).all()
    if stamp > 1.0:
        np.testing.assert_allclose(out[0], velocity, atol=0.1)


def test_motion_starts_afresh_after_a_gap_and_forgets():
    motion = Motion()
    for i in range(20):
        motion([1], i / 10, np.array([[i / 10, 0, 3]]))
    assert (motion([1], 9.0, np.array([[7.0, 0, 3]])) == 0).all()
    motion.keep(set())
    assert (motion([1], 9.1, np.array([[8.0, 0, 3]])) == 0).all()
    assert motion([], 9.2, np.empty((0, 3))).shape == (0, 3)


def test_kalman_filter_agrees_with_matrices():
    rng = np.random.default_rng(3)
    fast = ConstantVelocity(np.zeros(2), 0.1, 2.0, 1.0)
    x, P = np.zeros((2, 2)), np.diag([0.01, 1.0])  # rows: position, velocity
    for dt in (0.1, 0.0, 0.3, 0.05):
        z = rng.normal(size=2)
        fast.predict(dt)
        fast.update(z)
        F, q = np.array([[1, dt], [0, 1]]), np.array([[dt**2 / 2], [dt]])
        x, P = F @ x, F @ P @ F.T + 4.0 * q @ q.T
        K = P[:, :1] / (P[0, 0] + 0.01)
        x, P = x + K @ (z - x[0])[None], P - K @ P[:1]
        np.testing.assert_allclose([fast.position, fast.velocity], x, atol=1e-12)


# --- rotations -------------------------------------------------------------------------------------------

angles = st.one_of(st.floats(0, np.pi), st.sampled_from([0.0, 1e-12, 1e-7, np.pi - 1e-7, np.pi - 1e-3]))
unit = st.tuples(*3 * [st.floats(-1, 1)]).filter(lambda v: np.linalg.norm(v) > 0.1
                                                  ).map(lambda v: np.array(v) / np.linalg.norm(v))


@given(unit, angles)
def test_exp_and_log_agree_with_scipy(axis, angle):
    vector = axis * angle
    matrix = so3.exp(vector)
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)
    back = so3.log(matrix[None])[0]
    np.testing.assert_allclose(so3.exp(back), matrix, atol=1e-8)
    if angle < np.pi - 1e-6:
        np.testing.assert_allclose(back, vector, atol=1e-7)


def test_orthonormal_removes_drift():
    drifted = Rotation.random(24, rng=0).as_matrix() + np.random.default_rng(0).normal(0, 1e-4, (24, 3, 3))
    fixed = so3.orthonormal(drifted)
    np.testing.assert_allclose(fixed @ fixed.swapaxes(1, 2), np.tile(np.eye(3), (24, 1, 1)), atol=1e-6)


# --- smoothing -------------------------------------------------------------------------------------------

def still(noise: float, seed: int = 0, frames: int = 120):
    """A person at rest, measured with noise [rad, m along the ray, beta]."""
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(24, rng=seed).as_matrix()
    for i in range(frames):
        yield (i / 30, (rotations @ so3.exp(rng.normal(0, noise, (24, 3))))[None],
               (np.ones(10) + rng.normal(0, noise, 10))[None],
               (np.array([0.5, 0.2, 4.0]) + rng.normal(0, noise, 3) * [0.1, 0.1, 1])[None]), rotations


def test_a_person_at_rest_is_reported_calmer_than_measured():
    smoother, errors, raw = Smoother(), [], []
    for (stamp, rotations, betas, pelvis), truth in still(0.1):
        out_rotations, out_betas, out_pelvis = smoother([7], stamp, rotations, betas, pelvis)
        np.testing.assert_allclose(np.linalg.det(out_rotations), 1, atol=1e-9)
        for store, value in ((errors, (out_rotations, out_pelvis)), (raw, (rotations, pelvis))):
            store.append([np.linalg.norm(so3.log(truth.swapaxes(1, 2) @ value[0][0])),
                          np.linalg.norm(value[1][0] - [0.5, 0.2, 4.0])])
    assert (np.mean(errors[30:], 0) < 0.6 * np.mean(raw[30:], 0)).all()
    # The shape is a mean of all frames: its error falls with their square root.
    assert np.abs(out_betas - 1).mean() < 0.2 * 0.1


def test_first_measurement_comes_back_and_exact_input_stays():
    smoother = Smoother()
    for (stamp, rotations, betas, pelvis), _ in still(0.0, frames=5):
        out = smoother([1], stamp, rotations, betas, pelvis)
        for got, want in zip(out, (rotations, betas, pelvis), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-7)


def test_fast_turns_are_followed():
    smoother, speed = Smoother(), 6.0  # rad/s, about one turn a second
    for i in range(45):
        turn = so3.exp(np.array([0, speed * i / 30, 0]))
        rotations = np.tile(turn, (1, 24, 1, 1))
        out, _, _ = smoother([1], i / 30, rotations, np.zeros((1, 10)), np.array([[0, 0, 3.0]]))
    lag = np.linalg.norm(so3.log(out[0].swapaxes(1, 2) @ rotations[0]), axis=-1) / speed
    assert (lag < 0.06).all()  # seconds


def test_walking_sideways_lags_little():
    smoother = Smoother()
    for i in range(60):
        pelvis = np.array([[1.4 * i / 30, 0, 4.0]])
        _, _, out = smoother([1], i / 30, np.tile(np.eye(3), (1, 24, 1, 1)), np.zeros((1, 10)), pelvis)
    assert np.abs(out - pelvis).max() < 0.06  # 43 ms


@settings(max_examples=30)
@given(steps, st.integers(0, 100))
def test_whatever_the_time_steps_rotations_stay_rotations(steps, seed):
    smoother, rng, stamp = Smoother(), np.random.default_rng(seed), 0.0
    for step in steps:
        stamp += step
        rotations = Rotation.random(48, rng=rng).as_matrix().reshape(2, 24, 3, 3)
        pelvis = rng.normal(size=(2, 3)) + [0, 0, 5]
        out = smoother([1, 2], stamp, rotations, rng.normal(size=(2, 10)), pelvis)
        assert all(np.isfinite(value).all() for value in out)
        identity = out[0] @ out[0].swapaxes(-1, -2)
        np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-6)
        if step < 0 or step > 0.5:
            np.testing.assert_allclose(out[0], rotations, atol=1e-9)


def test_the_same_image_twice_changes_nothing():
    smoother = Smoother()
    data = list(still(0.2, frames=3))
    for (stamp, rotations, betas, pelvis), _ in data:
        before = smoother([1], stamp, rotations, betas, pelvis)
    after = smoother([1], stamp, *data[0][0][1:])
    for got, want in zip(after, before, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_people_do_not_mix_and_are_forgotten():
    together, alone = Smoother(), Smoother()
    first, second = list(still(0.1, 1, 10)), list(still(0.1, 2, 10))
    for ((stamp, *a), _), ((_, *b), _) in zip(first, second, strict=True):
        both = together([5, 9], stamp, *(np.concatenate(pair) for pair in zip(a, b, strict=True)))
        single = alone([5], stamp, *a)
    for got, want in zip(both, single, strict=True):
        np.testing.assert_allclose(got[:1], want, atol=1e-12)
    together.keep({9})
    stamp, *measured = first[0][0]
    np.testing.assert_allclose(together([5], 0.4, *measured)[2], measured[2], atol=1e-9)
    assert together([], 0.5, np.empty((0, 24, 3, 3)), np.empty((0, 10)), np.empty((0, 3)))[0].shape[0] == 0


@given(st.integers(0, 6), st.integers(0, 2 ** 32 - 1))
def test_of_copies_of_one_person_the_highest_rank_stays(copies, seed):
    rng = np.random.default_rng(seed)
    one = rng.uniform(0, 100, (24, 2))
    people = [one + rng.normal(0, 1, (24, 2)) for _ in range(copies)] + [one + [300, 0]]
    rank = rng.permutation(len(people)).astype(float)
    who = same_as(np.array(people), rank)
    assert who[-1] == copies
    if copies:
        assert (who[:-1] == np.argmax(rank[:-1])).all()
    nowhere = np.full((2, 24, 2), np.nan)
    assert same_as(nowhere, np.zeros(2)).tolist() == [0, 1] and same_as(np.empty((0, 24, 2)), np.empty(0)).shape == (0,)


def test_corrected_boxes_outweigh_detections():
    """Somebody who walks right; detections are 20 % too high and off to the left, corrections are right."""
    tracker = Tracker()
    for i in range(20):
        x = 300 + 4 * i
        track, = tracker.update([box_at(x - 15, height=240.0)], i / 15)
        smoothed = tracker.correct(track.id, box_at(x).xyxy)
    np.testing.assert_allclose(smoothed, box_at(x).xyxy, atol=4)
    np.testing.assert_allclose(track.xyxy, box_at(x).xyxy, atol=14)   # what the next crop is cut from
    track, = tracker.update([box_at(x - 15, height=240.0)], 20 / 15)
    track, = tracker.update([box_at(x - 15, height=240.0)], 21 / 15)
    for i in range(22, 40):   # corrections end: detections count as before
        track, = tracker.update([box_at(x - 15, height=240.0)], i / 15)
    np.testing.assert_allclose(track.xyxy, box_at(x - 15, height=240.0).xyxy, atol=4)
