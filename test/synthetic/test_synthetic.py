"""The synthetic world: deterministic, and its truth is what is drawn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('numba')

from cliff_ros.body import load_body
from cliff_ros.camera import Camera
from cliff_ros.crop.views import CropSpec, crop, view_of
from cliff_ros.people import Box
from cliff_ros.render.raster import rasterize, shade
from cliff_ros.synthetic import Sequence, furniture, motions
from cliff_ros.synthetic.actor import FACE_VERTICES
from cliff_ros.synthetic.belongings import Thing, cuboid
from cliff_ros.synthetic.crops import CROP_HEIGHT, CROP_WIDTH, CropSampler
from cliff_ros.synthetic.framing import MAIN, shows_person, within
from cliff_ros.synthetic.poses import KINDS, euler_to_matrix, sample_poses
from cliff_ros.synthetic.scene import Cast, Extras, Light, canvas
from cliff_ros.synthetic.stills import StillSampler


@pytest.fixture(scope='module')
def sequence():
    return Sequence(seed=3, width=640, height=360, seconds=2.0, people=3)


def test_poses_are_rotations_of_every_kind():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        matrices = euler_to_matrix(sample_poses(rng, 50, {kind: 1.0}))
        assert np.allclose(matrices @ matrices.swapaxes(-1, -2), np.eye(3), atol=1e-5)
        assert np.allclose(np.linalg.det(matrices), 1, atol=1e-5)


def test_knees_bend_backwards_only():
    body, rng = load_body(), np.random.default_rng(1)
    matrices = euler_to_matrix(sample_poses(rng, 300, {'walk': 0.5, 'crouch': 0.5}))
    matrices[:, 0] = np.eye(3)
    joints = body.joints(np.zeros((300, 10)), matrices, np.zeros((300, 3)))
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        thigh, shin = joints[:, knee] - joints[:, hip], joints[:, ankle] - joints[:, knee]
        assert (np.cross(thigh, shin)[:, 0] > 0).mean() > 0.95  # about x, the person's left


def test_motions_survive_the_way_through_angles():
    quaternions, clips, of_kind = motions.load()
    matrices = motions.quaternion_to_matrix(quaternions.astype(float))
    assert np.abs(euler_to_matrix(motions.matrix_to_euler(matrices)) - matrices).max() < 1e-6
    assert len(quaternions) == len(clips) > 1500 and set(motions.SHARES) == set(of_kind)
    assert Path(motions.__file__).parents[1].joinpath('data/poses.npz').stat().st_size < 1.5e6


def test_motions_are_what_they_are_called():
    """In the body: lying is flat, kneeling and sitting are low, walking is upright; knees bend backwards."""
    body, rng = load_body(), np.random.default_rng(0)

    def joints(kind, n=150):
        rotations = euler_to_matrix(motions.sample(rng, n, {kind: 1.0}))
        return body.joints(np.zeros((n, 10)), rotations, np.zeros((n, 3)))

    for kind, low, high in (
        ('walk', 0.9, 1),
        ('run', 0.7, 1),
        ('stand', 0.9, 1),
        ('lie', -0.35, 0.35),
        ('crawl', -0.6, 0.8),
    ):
        trunk = joints(kind)
        up = (trunk[:, 12, 1] - trunk[:, 0, 1]) / np.linalg.norm(trunk[:, 12] - trunk[:, 0], axis=1)
        assert low < np.median(up) <= high, kind
    heights = {kind: np.median(np.ptp(joints(kind)[..., 1], axis=1)) for kind in ('walk', 'kneel', 'lie', 'crouch')}
    assert heights['lie'] < heights['crouch'] < heights['walk'] and heights['kneel'] < 0.8 * heights['walk']
    legs = joints('crouch')
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        thigh, shin = legs[:, knee] - legs[:, hip], legs[:, ankle] - legs[:, knee]
        cosine = (thigh * shin).sum(1) / np.linalg.norm(thigh, axis=1) / np.linalg.norm(shin, axis=1)
        bend = np.degrees(np.arccos(cosine))
        assert np.median(bend) > 50


def test_a_motion_is_shown_from_both_sides():
    """The left arm does what the right one does as often."""
    rng, n = np.random.default_rng(2), 3000
    rotations = euler_to_matrix(motions.sample(rng, n, {'fight': 1.0}))
    joints = load_body().joints(np.zeros((n, 10)), rotations, np.zeros((n, 3)))
    left, right = (np.linalg.norm(joints[:, wrist] - joints[:, 12], axis=1) for wrist in (20, 21))
    assert abs(left.mean() - right.mean()) < 0.02


def test_who_sits_has_something_below_that_hides_little_of_them():
    rng = np.random.default_rng(0)
    cast = Cast(rng, num_textures=3)
    seated, standing = (Extras(rng, cast, mix, 64) for mix in ({'sit': 1.0}, {'walk': 1.0}))
    found = 0
    for _ in range(30):
        actor, away = next(seated), np.float32([0, 0, 4])
        seat = furniture.under(rng, actor, away, seated.tilt, cast.textures)
        if seat is None:
            continue
        found += 1
        boards = seat.things[0].vertices @ seated.tilt
        body = actor.skin @ seated.tilt
        assert boards[:, 1].max() < body[:, 1].max() + 0.1  # [m] nothing below the floor
        below = np.hypot(*(boards - actor.joints[0] @ seated.tilt)[:, [0, 2]].T) < 0.3
        assert np.abs(boards[below, 1].min() - (actor.joints[0] @ seated.tilt)[1]) < 0.8
        picture = canvas(np.zeros((96, 96, 3), np.uint8), 90, 90, 48, 48, 2)
        light = Light.sample(rng)
        picture.draw(actor, away, cast.body.faces, light, 1)
        alone = picture.alone
        picture.draw(seat, away, furniture.NO_FACES, light, 0)
        assert np.count_nonzero(picture.labels == 1) / 4 > 0.3 * alone
    assert found > 15
    assert all(
        furniture.under(rng, next(standing), np.float32([0, 0, 4]), standing.tilt, cast.textures) is None
        for _ in range(20)
    )


def test_who_touches_stands_on_the_same_floor_near_by():
    rng = np.random.default_rng(1)
    cast = Cast(rng, num_textures=3)
    extras, met = Extras(rng, cast, {'stand': 1.0}, 64, tilted=0.5), 0
    for _ in range(40):
        actor, tilt = next(extras), extras.tilt
        other, other_tilt = next(extras), extras.tilt
        pair = furniture.touching(rng, actor, tilt, other, other_tilt)
        if pair is None:
            continue
        met += 1
        partner, offset = pair
        assert abs(((partner.skin + offset) @ tilt)[:, 1].max() - (actor.skin @ tilt)[:, 1].max()) < 1e-3
        apart = (partner.joints[0] + offset - actor.joints[0]) @ tilt
        assert 0.2 < np.hypot(apart[0], apart[2]) < 0.9
        joints, vertices = cast.body(partner.betas[None], partner.rotations[None], np.zeros((1, 3)))
        np.testing.assert_allclose(vertices[0], partner.skin, atol=1e-4)
        np.testing.assert_allclose(joints[0], partner.joints, atol=1e-4)
    assert met > 10


def test_a_sequence_is_the_same_every_time(sequence):
    again = Sequence(seed=3, width=640, height=360, seconds=2.0, people=3)
    assert np.array_equal(sequence.image(7), again.image(7))
    assert np.array_equal(sequence.image(7), sequence.image(7))
    for a, b in zip(sequence.truth(7), again.truth(7), strict=True):
        assert np.array_equal(a.vertices, b.vertices) and np.array_equal(a.box, b.box)
    assert not np.array_equal(sequence.image(0), Sequence(4, 640, 360, seconds=2.0).image(0))


def test_truth_is_consistent(sequence):
    body = load_body()
    for index in (0, 15, 29):
        for person in sequence.truth(index):
            joints, vertices = body(person.betas[None], person.rotations[None], person.translation[None])
            assert np.abs(joints[0] - person.joints).max() < 1e-5
            assert np.abs(vertices[0] - person.vertices).max() < 1e-5
            assert np.abs(sequence.camera.project(person.joints) - person.joints2d).max() < 1e-6
            assert person.joints[:, 2].min() > 0


def test_people_stand_on_the_floor_and_move_smoothly(sequence):
    floors, pelvises = [], []
    for index in range(len(sequence)):
        people = sequence.truth(index)
        level = [p.vertices @ sequence.rotation for p in people]
        floors += [v[:, 1].max() for v in level]
        pelvises.append({p.id: p.joints[0] for p in people})
    assert np.ptp(floors) < 1e-4
    for before, after in pairwise(pelvises):
        for i in before.keys() & after.keys():
            assert np.linalg.norm(after[i] - before[i]) * sequence.fps < 3.0  # [m/s]


def test_the_picture_shows_people_where_the_truth_says(sequence):
    """Erasing the people changes the image inside the silhouettes of the truth, and hardly anywhere else."""
    index = 5
    bare = Sequence(seed=3, width=640, height=360, seconds=2.0, people=3)
    for role in bare._roles:
        role.things.clear()  # what is carried is not the person
    drawn = bare.image(index).astype(int)
    empty = Sequence(seed=3, width=640, height=360, seconds=2.0, people=3)
    empty._roles = []
    changed = np.abs(drawn - empty.image(index).astype(int)).max(2) > 45
    silhouette = np.zeros(changed.shape, np.uint8)
    depth = np.zeros(changed.shape, np.float32)
    for person in sequence.truth(index):
        k = sequence.camera.K
        rasterize(
            person.vertices.astype(np.float32),
            sequence.cast.body.faces,
            np.zeros((6890, 3), np.float32),
            k[0, 0],
            k[1, 1],
            k[0, 2],
            k[1, 2],
            np.zeros((*changed.shape, 3), np.float32),
            depth,
            silhouette,
            1,
        )
    inside = silhouette > 0
    near = np.zeros_like(inside)  # clothes and hair stand off the body by some pixels
    for dy in range(-6, 7):
        for dx in range(-6, 7):
            near |= np.roll(inside, (dy, dx), (0, 1))
    assert inside.sum() > 3000
    assert changed[inside].mean() > 0.5
    assert changed[~near].mean() < 0.02


def test_a_rendered_crop_is_the_crop_of_a_frame():
    """The training crops and the crops cut at run time obey one geometry: keypoints agree to a fraction of a pixel."""
    camera = Camera(640, 480, np.array([[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]]))
    spec = CropSpec(CROP_HEIGHT, CROP_WIDTH, antialias=True)
    rng = np.random.default_rng(0)
    for _ in range(20):
        low = rng.uniform(20, 250, 2)
        view = view_of(Box(np.concatenate([low, low + rng.uniform(60, 180, 2)])), camera, spec)
        # a dot of light at a known pixel lands where the location feature says
        u, v = np.round(view.center + rng.uniform(-0.3, 0.3, 2) * view.size * [0.7, 0.9]).astype(int)
        image = np.zeros((480, 640, 3), np.uint8)
        image[v - 3 : v + 4, u - 3 : u + 4] = 255
        patch = crop(image, camera, view, spec).astype(float).mean(2)
        y, x = np.mgrid[:CROP_HEIGHT, :CROP_WIDTH]
        found = np.array([(patch * x).sum(), (patch * y).sum()]) / patch.sum()
        in_crop = ((u - camera.cx) / camera.f - view.location[0], (v - camera.cy) / camera.f - view.location[1])
        keypoint = np.array(in_crop) / view.location[2]  # crop heights from the center, as labels have it
        expected = keypoint * CROP_HEIGHT + [CROP_WIDTH / 2 - 0.5, CROP_HEIGHT / 2 - 0.5]
        assert np.abs(found - expected).max() < 0.2  # the sub-pixel accuracy of a dot's center of mass


def test_crops_are_deterministic_and_labeled():
    images, labels = zip(*(CropSampler(11, num_backgrounds=4).sample() for _ in range(2)), strict=True)
    assert np.array_equal(*images) and labels[0] == labels[1]
    sampler = CropSampler(12, num_backgrounds=4)
    for _ in range(15):
        image, label = sampler.sample()
        assert image.shape == (CROP_HEIGHT, CROP_WIDTH, 3) and image.dtype == np.uint8
        body = load_body()
        joints = body.joints(label['betas'][None], label['rotations'][None], label['translation'][None])[0]
        x, y, b = label['location']
        projected = (joints[:, :2] / joints[:, 2:] - [x, y]) / b
        assert np.abs(projected - label['keypoints'][:24]).max() * CROP_HEIGHT < 0.01  # pixels of the crop


def test_negatives_are_marked_and_show_no_more_than_a_forearm():
    sampler, present, drawn = CropSampler(13, num_backgrounds=4, negatives=0.5), [], 0
    for _ in range(150):
        composed = sampler._compose()
        image, label = sampler._photograph(composed, *composed.canvas.finish())
        present.append(label['present'])
        inside = within(label['keypoints'], np.zeros(2), np.array([0.375, 0.5]))
        if label['present']:
            assert shows_person(inside) and label['seen'].sum() <= inside.sum()
        elif composed.canvas.alone:  # somebody was drawn, and the box is not of them
            drawn += 1
            assert not label['seen'].any()
            assert not shows_person(inside & within(composed.placed.keypoints, np.zeros(2), composed.placed.half))
    assert 0.3 < np.mean(present) < 0.7 and drawn > 5


def test_what_is_a_picture_of_a_person():
    def of(*names):
        return shows_person(np.isin(np.arange(29), names))

    assert of(15, 24, 25, 26)  # a face
    assert of(12, 15, 16, 17) and of(4, 5, 7, 8)  # head and shoulders; both shins
    assert of(18, 20, 22) is False and of(7, 10) is False  # a forearm with its hand; a foot
    assert of(1, 4, 7) is None and of(15) is None


def test_robots_see_people_near_and_cut():
    """Of a third of the people the feet, the knees or the hips are not seen; some are taller than the image is high."""
    sampler = CropSampler(21, num_backgrounds=4, negatives=0.0)
    labels = np.array([sampler.sample()[1] for _ in range(500)])
    hidden = ~(labels['seen'] > 0)
    ankles, knees, hips = (hidden[:, pair].all(1) for pair in ([7, 8], [4, 5], [1, 2]))
    assert 0.2 < ankles.mean() < 0.45 and 0.08 < knees.mean() < 0.3 and 0.04 < hips.mean() < 0.2
    heights = np.ptp(labels['keypoints'][..., 1], axis=1)
    assert (heights > 1.5).mean() > 0.04 and (heights < 0.6).mean() > 0.05
    assert (labels['translation'][:, 2] < 0.8).mean() > 0.03  # [m]
    assert labels['present'].all() and np.isfinite(labels['keypoints']).all()
    assert labels['seen'][:, MAIN].sum(1).min() >= 2


def test_whole_people_are_whole():
    sampler = CropSampler(22, num_backgrounds=4, negatives=0.0, whole=True, inside=0.999)
    for _ in range(40):
        placed = sampler._compose().placed
        assert placed.cover is None and within(placed.keypoints, np.zeros(2), placed.half * 1.01).all()


@pytest.mark.parametrize('size', [(256, 192), (224, 224)])
def test_crops_for_other_networks_and_without_borders(size):
    sampler = CropSampler(14, num_backgrounds=4, size=size, fov=(100, 110), negatives=0.0, border='scene', whole=True)
    for _ in range(5):
        image, label = sampler.sample()
        assert image.shape == (*size, 3) and label['present'] == 1
        assert (image.max(axis=(0, 2)) > 0).all()  # no black column, wherever the person stands


@pytest.mark.parametrize(('everyday', 'near'), [(False, None), (True, None), (True, 0.7)])
def test_stills_ask_for_whom_they_show_exactly(everyday, near):
    body = load_body()
    sampler, again = (StillSampler(2, num_backgrounds=3, everyday=everyday, near=near) for _ in range(2))
    for size in ((320, 180), (240, 320), (320, 240), (400, 300)) * 2:
        still = sampler.scene(*size)
        assert np.array_equal(still.image, again.scene(*size).image)
        assert still.image.shape == (size[1], size[0], 3) and still.image.dtype == np.uint8
        assert still.ignored.shape[1] == 4
        for person in still.people:
            joints, vertices = body(person.betas[None], person.rotations[None], person.translation[None])
            np.testing.assert_allclose(joints[0], person.joints, atol=1e-5)
            pixels = still.camera.project(vertices[0])
            limit = np.array(size) - 0.5
            np.testing.assert_allclose(person.box[:2], np.maximum(np.nanmin(pixels, 0), -0.5), atol=0.01)
            np.testing.assert_allclose(person.box[2:], np.minimum(np.nanmax(pixels, 0), limit), atol=0.01)


def test_a_head_and_shoulders_at_half_a_meter_are_asked_for():
    sampler, heights = StillSampler(3, num_backgrounds=3, everyday=True, near=0.8), []
    for _ in range(60):
        still = sampler.scene(320, 240)
        for person in still.people:
            heights.append(np.ptp(person.vertices[:, 1] / person.vertices[:, 2]) * still.camera.f / 240)
            assert framing_shows(still.camera, person)
    assert np.mean(np.array(heights) > 1.3) > 0.2 and max(heights) > 2.5


def framing_shows(camera, person) -> bool:
    points = np.concatenate([person.joints, person.vertices[FACE_VERTICES]])
    size = np.array([camera.width, camera.height])
    return shows_person(within(camera.project(points), size / 2, size / 2))


def test_a_bent_image_is_the_straight_one_seen_through_the_lens():
    """A grid of dots, drawn straight and bent by the sampler, lands where the bent camera projects it."""
    sampler = StillSampler(0, num_backgrounds=1)
    straight = Camera(640, 480, np.array([[420.0, 0, 319.5], [0, 420.0, 239.5], [0, 0, 1]]))
    points = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 6), np.linspace(-0.35, 0.35, 5), [1.0]), -1).reshape(-1, 3)
    image = np.zeros((480, 640, 3), np.float32)
    for u, v in straight.project(points):
        y, x = np.mgrid[:480, :640]
        image += np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8.0)[..., None].astype(np.float32)
    bent = straight
    while bent is straight:
        out, _, bent = sampler._bent(image, np.zeros((480, 640), np.uint8), straight)
    for u, v in bent.project(points):
        if not (15 < u < 624 and 15 < v < 464):
            continue
        left, top = int(u) - 8, int(v) - 8
        window = out[top : top + 17, left : left + 17, 0]
        y, x = np.mgrid[top : top + 17, left : left + 17]
        found = np.array([(window * x).sum(), (window * y).sum()]) / window.sum()
        np.testing.assert_allclose(found, [u, v], atol=0.25)


def test_what_people_carry_moves_with_them_and_is_not_them():
    cast = Cast(np.random.default_rng(0), num_textures=3)
    shape = cuboid([0, 0.3, -0.25], [0.3, 0.4, 0.2])
    count = len(shape[0])
    thing = Thing(
        *shape,
        np.full((count, 3), 90, np.float32),
        np.tile(np.int32([9, 0, 0, 0]), (count, 1)),
        np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
    )
    look = cast.wardrobe.sample(np.random.default_rng(1))
    upright = np.tile(np.eye(3, dtype=np.float32), (24, 1, 1))
    turned = upright.copy()
    turned[0] = euler_to_matrix(np.array([0.0, 90.0, 0.0]))
    bare, dressed = (cast.actor(np.zeros(10, np.float32), turned, look, things) for things in ((), (thing,)))
    assert np.array_equal(bare.skin, dressed.skin) and not bare.things
    before = cast.actor(np.zeros(10, np.float32), upright, look, (thing,)).things[0].vertices
    pelvis = cast.belongings.joints[0]
    np.testing.assert_allclose(dressed.things[0].vertices, (before - pelvis) @ turned[0].T + pelvis, atol=1e-5)


def test_shade_draws_only_the_person_and_nearer_people_in_front():
    body = load_body()
    upright = np.tile(np.eye(3), (1, 24, 1, 1))
    upright[0, 0] = np.diag([1, -1, -1])
    _, vertices = body(np.zeros((1, 10)), upright, np.array([[0, 0.2, 4.0]]))
    image = np.zeros((240, 320, 3), np.uint8)
    shade(vertices[0], body.faces, 300, 159.5, 119.5, image, color=(255, 0, 0), alpha=1)
    rows, columns = np.nonzero(image.max(2))
    assert 100 < np.ptp(rows) < 160 and abs(columns.mean() - 159.5) < 5
    assert image[..., 1].max() == 0
    depth = np.zeros(image.shape[:2], np.float32)
    near = np.zeros_like(image)
    shade(vertices[0], body.faces, 300, 159.5, 119.5, near, color=(255, 0, 0), alpha=1, depth=depth)
    shade(vertices[0] + [0, 0, 2], body.faces, 300, 159.5, 119.5, near, color=(0, 255, 0), alpha=1, depth=depth)
    assert near[120, 160, 0] > 0 and near[120, 160, 1] == 0
    shade(vertices[0] - [0, 0, 9], body.faces, 300, 159.5, 119.5, near)  # behind the camera: nothing happens
