"""Tracking and smoothing: ids, coasting, odd time steps, and filters against analytic truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from cliff_ros.body import load_body
from cliff_ros.people import Box, Person
from cliff_ros.track import ConstantVelocity, Place, PoseState, Smoother, Tracker, is_hidden, same_as, so3
from cliff_ros.track.assignment import assign
from cliff_ros.track.identity import without_jumps


def box_at(x: float, y: float = 200.0, height: float = 200.0, **kwargs) -> Box:
    return Box([x - 0.2 * height, y - height / 2, x + 0.2 * height, y + height / 2], **kwargs)


# --- association -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 7).flatmap(
        lambda columns: st.lists(
            st.lists(st.sampled_from([0.0, 0.0, 0.2, 0.5, 0.55, 0.9, 1.0]), min_size=columns, max_size=columns),
            min_size=1,
            max_size=7,
        )
    )
)
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
        assert set(tracks) == {1, 2}
        if i == 0:
            left = min(tracks.values(), key=lambda track: track.box.xyxy[0]).id
    assert tracks[left].box.xyxy[0] > 400 and tracks[left].born == 0


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
    assert (coasting.misses, coasting.boxed) == (1, 0.9)
    assert coasting.box.xyxy[0] == pytest.approx(box_at(200).xyxy[0], abs=3)
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
    assert again.id == 1 and np.isfinite(again.box.xyxy).all()
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
    np.testing.assert_allclose(by_id[40].box.xyxy, box_at(300).xyxy)  # believed at once, not smoothed across
    twice = tracker.update([box_at(300, id=40, score=0.9), box_at(500, id=40, score=0.5)], 0.2)
    assert {track.id: track.box.xyxy[0] for track in twice}[40] == pytest.approx(box_at(300).xyxy[0], abs=1)
    assert len({track.id for track in twice}) == len(twice)


@pytest.mark.parametrize(
    ('steps', 'needed'),
    [([], 1), ([1 / 30], 2), ([0.1, 0.1], 2), ([0.0], 1), ([0.2, 0.2], 1), ([0.03, 0.03, 0.9], 2), ([100.0], 1)],
)
def test_how_often_to_look_follows_the_rate(steps, needed):
    """One pause is no rate; the same image again says nothing of it; it outlives a bag that starts again."""
    tracker, stamp = Tracker(), 5.0
    tracker.update([], stamp)
    for step in steps:
        stamp += step
        tracker.update([], stamp)
    assert tracker.hits_needed() == needed
    tracker.update([], 0.0)
    assert tracker.hits_needed() == needed
    tracker.reset()
    assert tracker.hits_needed() == 1


def test_tentative_people_begin_again_where_they_are_missed_and_others_do_not():
    (track,) = Tracker().update([box_at(100)], 0.0)
    for stamp, seen in ((0.0, True), (0.1, False), (0.2, True)):
        track.hit(stamp, needed=2) if seen else track.miss(stamp)
        assert not track.confirmed
    track.hit(0.3, needed=2)
    track.miss(0.4)
    track.miss(0.5)
    assert track.confirmed
    track.miss(0.9)  # nobody has seen them for too long
    assert not track.confirmed and track.hits == 0


def test_between_detections_boxes_move_on():
    tracker = Tracker()
    for i in range(0, 20, 2):
        tracker.update([box_at(100 + 10 * i)], i / 20)
        track = tracker.update(None, (i + 1) / 20)[0]
    assert track.misses == 0 and track.box.measured is None
    assert track.box.xyxy[0] == pytest.approx(box_at(100 + 10 * 19).xyxy[0], abs=4)
    assert (track.box.place(smoothed=False) == track.box.xyxy).all()


def test_smoothed_boxes_jitter_less_than_measured_ones():
    tracker, rng = Tracker(), np.random.default_rng(1)
    truth = 100 + 3.0 * np.arange(90)
    smoothed, measured = [], []
    for i, x in enumerate(truth):
        box = box_at(x + rng.normal(0, 6))
        smoothed.append(tracker.update([box], i / 30)[0].box.xyxy[0] + 40 - x)
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
            Box(track.box.place())  # refuses what is not a box
        assert sum(not track.misses for track in tracks) == len(boxes)


# --- motion ----------------------------------------------------------------------------------------------

FAR = np.array([0.5, 0.2, 5.0])


@given(st.lists(st.floats(0.0, 0.2), min_size=30, max_size=60))
def test_velocity_is_right_whatever_the_time_steps(steps):
    stamp, velocity = 0.0, np.array([1.0, -0.5, 0.3])
    place = Place(0.0, FAR)
    assert (place.velocity == 0).all()
    for step in steps:
        stamp += step
        said = place.update(stamp, FAR + velocity * stamp)
        np.testing.assert_allclose(said, FAR + velocity * stamp)
    if stamp > 1.0:
        np.testing.assert_allclose(place.velocity, velocity, atol=0.15)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.033, 0.1, 0.5]), st.floats(-3, 3), st.floats(1, 20)), max_size=20))
def test_nobody_is_said_to_move_faster_than_people_can(steps):
    place = Place(0.0, FAR)
    for step, x, z in steps:
        before, stamp = place.said, place.stamp + step
        place.update(stamp, np.array([x, 0.2, z]))
        if step:
            assert np.linalg.norm(place.said - before) <= 7.5 * step * (1 + 1e-9)
        assert np.linalg.norm(place.velocity) <= 7.5 * (1 + 1e-9)


def test_a_wrong_distance_is_approached_along_the_ray_and_hardly_a_velocity():
    place = Place(0.0, FAR)
    for i in range(1, 20):
        place.update(i / 30, FAR)
    said = place.update(20 / 30, 1.5 * FAR)
    np.testing.assert_allclose(np.cross(said, FAR), 0, atol=1e-9)  # the body stays on the person in the image
    assert np.linalg.norm(said) == pytest.approx(np.linalg.norm(FAR) + 7.5 / 30)
    assert np.linalg.norm(place.velocity) < 2
    assert np.linalg.norm(place.update(21 / 30, FAR) - FAR) < 1e-9


def test_who_can_be_where():
    """A place is known worse along its ray than across; without a time step nothing is known of speeds."""
    place, aside = Place(0.0, FAR), np.array([1.0, 0, 0])
    assert place.reaches(0.1, FAR + aside) and not place.reaches(0.1, FAR + 1.5 * aside)
    assert place.reaches(0.01, FAR + 0.2 * aside) and not place.reaches(0.01, FAR + 0.5 * aside)
    assert place.reaches(0.01, 1.25 * FAR) and not place.reaches(0.01, 1.5 * FAR) and place.reaches(0.5, 1.5 * FAR)
    assert place.reaches(0.0, FAR + 5 * aside)


def test_another_look_moves_the_place_and_not_the_velocity():
    place = Place(0.0, FAR)
    for i in range(1, 30):
        place.update(i / 15, FAR + [i / 15, 0, 0])
    velocity = place.velocity
    place.look_elsewhere()
    for i in range(30, 60):
        said = place.update(i / 15, 1.1 * (FAR + [i / 15, 0, 0]))
        assert np.linalg.norm(place.velocity - velocity) < 0.15
    np.testing.assert_allclose(said, 1.1 * (FAR + [59 / 15, 0, 0]))


def test_coasting_goes_on_and_is_what_the_next_place_is_reached_from():
    place = Place(0.0, FAR)
    for i in range(1, 30):
        place.update(i / 15, FAR + [0.8 * i / 15, 0, 0])
    place.coast(30 / 15)
    np.testing.assert_allclose(place.coast(32 / 15), FAR + [0.8 * 32 / 15, 0, 0], atol=0.01)
    place.update(33 / 15, FAR + [0.8 * 33 / 15, 0, 0])
    np.testing.assert_allclose(place.velocity, [0.8, 0, 0], atol=0.05)


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
unit = (
    st.tuples(*3 * [st.floats(-1, 1)])
    .filter(lambda v: np.linalg.norm(v) > 0.1)
    .map(lambda v: np.array(v) / np.linalg.norm(v))
)


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
    drifted = Rotation.random(24, 0).as_matrix() + np.random.default_rng(0).normal(0, 1e-4, (24, 3, 3))
    fixed = so3.orthonormal(drifted)
    np.testing.assert_allclose(fixed @ fixed.swapaxes(1, 2), np.tile(np.eye(3), (24, 1, 1)), atol=1e-6)


# --- smoothing -------------------------------------------------------------------------------------------


class ById(Smoother):
    """Keeps the states of people by their ids, as tracks do."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[int, PoseState] = {}

    def __call__(self, ids, stamp, rotations, betas, pelvis):
        for i, id in enumerate(ids):
            if not self.follows(self.states.get(id), stamp):
                self.states[id] = PoseState(stamp, rotations[i], betas[i], pelvis[i])
        return super().__call__([self.states[id] for id in ids], stamp, rotations, betas, pelvis)


def still(noise: float, seed: int = 0, frames: int = 120):
    """A person at rest, measured with noise [rad, m along the ray, beta]."""
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(24, seed).as_matrix()
    for i in range(frames):
        yield (
            (
                i / 30,
                (rotations @ so3.exp(rng.normal(0, noise, (24, 3))))[None],
                (np.ones(10) + rng.normal(0, noise, 10))[None],
                (np.array([0.5, 0.2, 4.0]) + rng.normal(0, noise, 3) * [0.1, 0.1, 1])[None],
            ),
            rotations,
        )


def test_a_person_at_rest_is_reported_calmer_than_measured():
    smoother, errors, raw = ById(), [], []
    for (stamp, rotations, betas, pelvis), truth in still(0.1):
        out_rotations, out_betas, out_pelvis = smoother([7], stamp, rotations, betas, pelvis)
        np.testing.assert_allclose(np.linalg.det(out_rotations), 1, atol=1e-9)
        for store, value in ((errors, (out_rotations, out_pelvis)), (raw, (rotations, pelvis))):
            store.append(
                [
                    np.linalg.norm(so3.log(truth.swapaxes(1, 2) @ value[0][0])),
                    np.linalg.norm(value[1][0] - [0.5, 0.2, 4.0]),
                ]
            )
    assert (np.mean(errors[30:], 0) < 0.6 * np.mean(raw[30:], 0)).all()
    # The shape is a mean of all frames: its error falls with their square root.
    assert np.abs(out_betas - 1).mean() < 0.2 * 0.1


def test_first_measurement_comes_back_and_exact_input_stays():
    smoother = ById()
    for (stamp, rotations, betas, pelvis), _ in still(0.0, frames=5):
        out = smoother([1], stamp, rotations, betas, pelvis)
        for got, want in zip(out, (rotations, betas, pelvis), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-7)


def test_fast_turns_are_followed():
    smoother, speed = ById(), 6.0  # rad/s, about one turn a second
    for i in range(45):
        turn = so3.exp(np.array([0, speed * i / 30, 0]))
        rotations = np.tile(turn, (1, 24, 1, 1))
        out, _, _ = smoother([1], i / 30, rotations, np.zeros((1, 10)), np.array([[0, 0, 3.0]]))
    lag = np.linalg.norm(so3.log(out[0].swapaxes(1, 2) @ rotations[0]), axis=-1) / speed
    assert (lag < 0.06).all()  # seconds


def test_walking_sideways_lags_little():
    smoother = ById()
    for i in range(60):
        pelvis = np.array([[1.4 * i / 30, 0, 4.0]])
        _, _, out = smoother([1], i / 30, np.tile(np.eye(3), (1, 24, 1, 1)), np.zeros((1, 10)), pelvis)
    assert np.abs(out - pelvis).max() < 0.06  # 43 ms


@settings(max_examples=30)
@given(steps, st.integers(0, 100))
def test_whatever_the_time_steps_rotations_stay_rotations(steps, seed):
    smoother, rng, stamp = ById(), np.random.default_rng(seed), 0.0
    for step in steps:
        stamp += step
        rotations = Rotation.random(48, rng).as_matrix().reshape(2, 24, 3, 3)
        pelvis = rng.normal(size=(2, 3)) + [0, 0, 5]
        out = smoother([1, 2], stamp, rotations, rng.normal(size=(2, 10)), pelvis)
        assert all(np.isfinite(value).all() for value in out)
        identity = out[0] @ out[0].swapaxes(-1, -2)
        np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-6)
        if step < 0 or step > 0.5:
            np.testing.assert_allclose(out[0], rotations, atol=1e-9)


def test_the_same_image_twice_changes_nothing():
    smoother = ById()
    data = list(still(0.2, frames=3))
    for (stamp, rotations, betas, pelvis), _ in data:
        before = smoother([1], stamp, rotations, betas, pelvis)
    after = smoother([1], stamp, *data[0][0][1:])
    for got, want in zip(after, before, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_people_do_not_mix():
    together, alone = ById(), ById()
    first, second = list(still(0.1, 1, 10)), list(still(0.1, 2, 10))
    for ((stamp, *a), _), ((_, *b), _) in zip(first, second, strict=True):
        both = together([5, 9], stamp, *(np.concatenate(pair) for pair in zip(a, b, strict=True)))
        single = alone([5], stamp, *a)
    for got, want in zip(both, single, strict=True):
        np.testing.assert_allclose(got[:1], want, atol=1e-12)


def test_another_look_puts_somebody_elsewhere_at_once():
    smoother, still_rotations = ById(), np.tile(np.eye(3), (1, 24, 1, 1))
    for i in range(5):
        pelvis = np.array([[0.1 * i, 0, 4.0]])
        smoother([1], i / 30, still_rotations, np.zeros((1, 10)), pelvis)
    smoother.states[1].move_to(1.1 * pelvis[0])
    np.testing.assert_allclose(smoother([1], 5 / 30, still_rotations, np.zeros((1, 10)), 1.1 * pelvis)[2], 1.1 * pelvis)


def test_who_is_found_where_nobody_can_get_is_somebody_else():
    """Unless an id came with the box, or nobody ever heard of them."""
    for reported, named in ((True, False), (False, False), (True, True)):
        tracker = Tracker()
        (track,) = tracker.update([box_at(100, id=7 if named else None)], 0.0)
        track.place = Place(0.0, FAR)
        if reported:
            nothing = np.zeros((24, 3))
            track.person = Person(
                track.id,
                1.0,
                box_at(100).xyxy,
                np.zeros(10),
                np.tile(np.eye(3), (24, 1, 1)),
                np.zeros(3),
                nothing,
                nothing[:, :2],
            )
        assert without_jumps(tracker, [track], FAR[None] + 0.5, 0.1) == [track] and track.place is not None
        (who,) = without_jumps(tracker, [track], FAR[None] + [3.0, 0, 0], 0.1)
        if reported and not named:
            assert who.id == 2 and who.place is None and track.misses == 1 and who in tracker.tracks
        else:
            assert who is track and who.place is None


# --- who is there ----------------------------------------------------------------------------------------


@given(st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_of_copies_of_one_person_the_highest_rank_stays(copies, seed):
    rng = np.random.default_rng(seed)
    one = rng.uniform(0, 100, (24, 2))
    people = [one + rng.normal(0, 1, (24, 2)) for _ in range(copies)] + [one + [300, 0]]
    rank = rng.permutation(len(people)).astype(float)
    who = same_as(np.array(people), rng.uniform(4.0, 4.4, len(people)), rank)
    assert who[-1] == copies
    if copies:
        assert (who[:-1] == np.argmax(rank[:-1])).all()
    nowhere = np.full((2, 24, 2), np.nan)
    assert same_as(nowhere, np.ones(2), np.zeros(2)).tolist() == [0, 1]
    assert same_as(np.empty((0, 24, 2)), np.empty(0), np.empty(0)).shape == (0,)


def standing(x: float, z: float, focal: float = 500.0) -> np.ndarray:
    """(24, 2): joints of the body at rest, upright and before a camera at the height of its pelvis."""
    joints = load_body().rest_joints(np.zeros((1, 10)))[0]
    joints = (joints - joints[0]) * [1, -1, -1] + [x, 0, z]
    return focal * joints[:, :2] / joints[:, 2:]


@pytest.mark.parametrize(
    ('aside', 'behind', 'people'),
    [(0.25, 1.0, 2), (0.0, 1.6, 2), (0.6, 0.0, 2), (0.0, 0.4, 1), (0.1, 0.3, 1), (0.05, -0.5, 1)],
)
def test_equal_poses_at_different_distances_are_two_people(aside, behind, people):
    """Two looks at one person put them up to a tenth nearer or farther."""
    joints2d = np.array([standing(0, 4.0), standing(aside, 4.0 + behind)])
    assert len(set(same_as(joints2d, np.array([4.0, 4.0 + behind]), np.array([1.0, 0.0])))) == people


def test_who_is_behind_somebody_cannot_be_seen():
    near, focal = standing(0, 3.0), 500.0
    for x, z, hidden in ((0.0, 25.0, True), (0.0, 3.1, False), (1.5, 9.0, False), (0.9, 4.0, False), (0.0, 2.0, False)):
        assert is_hidden(standing(x, z), z, near[None], np.array([3.0]), focal) is hidden
    assert not is_hidden(np.full((24, 2), np.nan), 9.0, near[None], np.array([3.0]), focal)


def test_corrected_boxes_outweigh_detections():
    """Somebody who walks right; detections are 20 % too high and off to the left, corrections are right."""
    tracker = Tracker()
    for i in range(20):
        x = 300 + 4 * i
        (track,) = tracker.update([box_at(x - 15, height=240.0)], i / 15)
        cut = track.box.xyxy
        track.box.correct(box_at(x).xyxy)
    np.testing.assert_allclose(track.box.xyxy, box_at(x).xyxy, atol=4)
    np.testing.assert_allclose(cut, box_at(x).xyxy, atol=14)  # what the crop was cut from
    (track,) = tracker.update([box_at(x - 15, height=240.0)], 20 / 15)
    (track,) = tracker.update([box_at(x - 15, height=240.0)], 21 / 15)
    for i in range(22, 40):  # corrections end: detections count as before
        (track,) = tracker.update([box_at(x - 15, height=240.0)], i / 15)
    np.testing.assert_allclose(track.box.xyxy, box_at(x - 15, height=240.0).xyxy, atol=4)
