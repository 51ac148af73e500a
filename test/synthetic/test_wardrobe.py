"""The rich look: clothes that fit and follow the body, places that are seen and shine from where they are."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('numba', reason='the synthetic world is drawn with numba')
from cliff_ros import assets
from cliff_ros.render.raster import rasterize, vertex_normals
from cliff_ros.synthetic import fabrics, garments, outfits
from cliff_ros.synthetic.environments import Environment, load_environments, turned
from cliff_ros.synthetic.objects import MAKERS, Objects, _joined
from cliff_ros.synthetic.poses import euler_to_matrix, sample_poses
from cliff_ros.synthetic.scene import FACING_CAMERA, Canvas, Cast, Light, camera_rotation, sample_betas
from cliff_ros.synthetic.scenery import WORLD_FROM_LEVEL, Scenery


@pytest.fixture(scope='module')
def cast():
    return Cast(np.random.default_rng(0), num_textures=6, look='rich')


def posed(cast, rng, look):
    rotations = euler_to_matrix(sample_poses(rng, 1)[0])
    rotations[0] = FACING_CAMERA @ euler_to_matrix(np.array([0.0, rng.uniform(-180, 180), 0.0])) @ rotations[0]
    return cast.actor(sample_betas(rng, 1)[0], rotations.astype(np.float32), look)


def test_files_are_small():
    assert assets.WARDROBE.stat().st_size < 8e6
    assert assets.ENVIRONMENTS.stat().st_size < 2e6


def test_the_truth_is_the_bare_body(cast, monkeypatch):
    monkeypatch.setattr(outfits, 'PROCEDURAL', 0.0)
    rng = np.random.default_rng(1)
    for _ in range(6):
        look = cast.wardrobe.sample(rng)
        actor = posed(cast, rng, look)
        bare = cast.actor(actor.betas, actor.rotations, Cast(rng, cast.body, 1).wardrobe.sample(rng))
        np.testing.assert_allclose(actor.skin, bare.skin, atol=1e-6)
        np.testing.assert_allclose(actor.joints, bare.joints, atol=1e-6)


def test_every_piece_is_near_the_body_and_outside_of_it(cast):
    from scipy.spatial import cKDTree

    tree, normals = cKDTree(cast.body.v_template), cast.wardrobe.normals
    kinds = cast.wardrobe.garments.pieces
    assert {'top', 'legs', 'suit', 'shoes', 'hat', 'hair', 'brow'} <= set(kinds)
    for piece in sum(kinds.values(), []):
        distance, nearest = tree.query(piece.vertices)
        assert distance.max() < (0.45 if 'hair' in piece.name else 0.25), piece.name
        above = ((piece.vertices - cast.body.v_template[nearest]) * normals[nearest]).sum(1)
        assert np.median(above) > -0.001 and np.quantile(above, 0.02) > -0.015, piece.name
        assert (piece.uv >= 0).all() and (piece.uv <= 1).all()
        np.testing.assert_allclose(piece.weights.sum(1), 1, atol=1e-5)


def test_clothes_cover_the_skin_in_any_pose_and_shape(cast):
    """Bare thighs are drawn in another color: nothing of it shows through trousers."""
    rng, body = np.random.default_rng(2), cast.body
    thigh = np.zeros(len(body.v_template), bool)
    owner = body.weights.argmax(1)
    knee_y, hip_y = cast.wardrobe.joints[4, 1], cast.wardrobe.joints[1, 1]
    y = body.v_template[:, 1]
    thigh[np.isin(owner, [1, 2]) & (y > knee_y + 0.08) & (y < hip_y - 0.08)] = True
    for piece in cast.wardrobe.garments.pieces['legs']:
        if piece.vertices[:, 1].min() > -0.9:  # a skirt, hot pants
            continue
        through = total = 0
        faces, uv = fabrics.visible_faces(cast.wardrobe.faces, cast.wardrobe.garments.uv, piece.hides)
        for _ in range(3):
            look = outfits.Look(
                np.ones_like(body.v_template),
                None,
                faces,
                outfits.Material(uv),
                (piece.thing(outfits.Material(piece.uv, two_sided=True)),),
            )
            actor = posed(cast, rng, look)
            image, depth = np.zeros((160, 160, 3), np.float32), np.zeros((160, 160), np.float32)
            labels, k = np.zeros((160, 160), np.uint8), (160.0, 160.0, 79.5, 79.5)
            at = np.array([0, 0, 2.2], np.float32) - actor.joints[0]
            thigh_faces = faces[thigh[faces].all(1)]
            colors = np.zeros_like(actor.vertices)
            whole = body.faces[thigh[body.faces].all(1)].astype(np.int32)
            rasterize(actor.vertices + at, whole, colors, *k, image, depth, labels, 1)
            total += np.count_nonzero(labels)
            depth[:], labels[:] = 0, 0
            rasterize(actor.vertices + at, thigh_faces, colors, *k, image, depth, labels, 1)
            trousers = actor.things[0]
            both = np.concatenate([trousers.faces, trousers.faces[:, ::-1]])
            rasterize(trousers.vertices + at, both, np.zeros_like(trousers.vertices), *k, image, depth, labels, 2)
            through += np.count_nonzero(labels == 1)
        assert through < 0.02 * total, piece.name


def test_garments_grow_with_the_body(cast):
    piece = cast.wardrobe.garments.pieces['top'][0]
    look = outfits.Look(np.ones_like(cast.body.v_template), None, things=(piece.thing(outfits.Material(piece.uv)),))
    rest = np.tile(np.eye(3, dtype=np.float32), (24, 1, 1))
    for k in range(4):
        betas = np.zeros(10, np.float32)
        betas[k] = 2
        small, large = cast.actor(-betas, rest, look), cast.actor(betas, rest, look)
        index, share = piece.bound
        of_skin = ((large.skin - small.skin)[index] * share[..., None]).sum(1)
        np.testing.assert_allclose(large.things[0].vertices - small.things[0].vertices, of_skin, atol=0.012)


def test_without_faces_only_the_things_are_drawn(cast, monkeypatch):
    monkeypatch.setattr(outfits, 'PROCEDURAL', 0.0)
    actor = posed(cast, np.random.default_rng(8), cast.wardrobe.sample(np.random.default_rng(8)))
    drawn = list(actor.meshes(np.empty((0, 3), np.int32)))
    assert len(drawn) == len(actor.things) > 0
    assert len(list(actor.meshes(cast.body.faces))) == len(drawn) + 1


def test_what_is_held_out_is_not_in_training(cast):
    unseen = Cast(np.random.default_rng(0), cast.body, 2, look='unseen').wardrobe.garments
    for kind, pieces in cast.wardrobe.garments.pieces.items():
        names = {piece.name for piece in pieces}, {piece.name for piece in unseen.pieces[kind]}
        assert names[0] and names[1] and (not names[0] & names[1] or len(names[0]) < garments.HELD_OUT), kind
    assert not {id(skin) for skin in cast.wardrobe.garments.skins} & {id(skin) for skin in unseen.skins}
    textures = np.zeros((1, 256, 256, 3), np.float32)
    places = [Scenery(np.random.default_rng(0), textures, held).environments for held in (False, True)]
    assert len(places[0]) == 10 and len(places[1]) == 2 and not {id(p) for p in places[0]} & {id(p) for p in places[1]}


def test_people_look_different_and_the_same_for_a_seed(cast):
    def look(seed):
        rng = np.random.default_rng(seed)
        actor = cast.actor(
            np.zeros(10, np.float32),
            np.tile(np.diag([1.0, -1, -1]).astype(np.float32), (24, 1, 1)),
            cast.wardrobe.sample(rng),
        )
        canvas = Canvas(np.full((96, 64, 3), 90, np.uint8), 100, 100, 31.5, 47.5)
        canvas.draw(actor, np.array([0, -0.2, 2.4], np.float32), cast.body.faces, Light.sample(rng), 1)
        return canvas.finish()[0]

    np.testing.assert_array_equal(look(3), look(3))
    pictures = [look(seed) for seed in range(8)]
    assert all(np.abs(a - b).mean() > 1 for i, a in enumerate(pictures) for b in pictures[:i])
    assert all(np.isfinite(picture).all() for picture in pictures)


def test_a_rim_runs_where_the_field_is_zero(cast):
    wardrobe = cast.wardrobe
    y = wardrobe.vertices[:, 1]
    field = np.minimum(np.minimum(y - 0.05, 0.2 - y), 0.2 - np.abs(wardrobe.vertices[:, 0]))
    thing, hides = wardrobe._shell(np.random.default_rng(0), field, 0.005)
    assert hides.sum() > 50 and (field[hides] > 0).all()
    assert thing.vertices[:, 1].min() > 0.05 - 0.006 and thing.vertices[:, 1].max() < 0.2 + 0.006


def test_a_place_is_seen_where_it_is(cast):
    rng = np.random.default_rng(3)
    towards = np.array([0.3, 0.2, 0.9])
    towards /= np.linalg.norm(towards)
    panorama = np.zeros((512, 1024, 3), np.uint8)
    row = np.arccos(towards[1]) / np.pi * 512
    column = np.arctan2(towards[0], towards[2]) / (2 * np.pi) * 1024
    panorama[int(row) - 3 : int(row) + 4, int(column) - 3 : int(column) + 4] = 255
    place = Environment(panorama, np.zeros((4, 3), np.float32), np.zeros((2, 3), np.float32))
    for _ in range(20):
        camera = camera_rotation(rng.normal(0, 10), rng.normal(0, 5)) @ WORLD_FROM_LEVEL @ turned(rng)
        ray = camera @ towards
        view = place.view(camera, 320, 240, 100.0, 159.5, 119.5)[..., 0]
        pixel = ray[:2] / ray[2] * 100 + [159.5, 119.5]
        if ray[2] < 0.3 or (pixel < 5).any() or (pixel > [314, 234]).any():
            continue
        v, u = np.nonzero(view > 100)
        np.testing.assert_allclose([u.mean(), v.mean()], pixel, atol=1.5)
        break
    else:
        pytest.fail('never in view')


def test_light_comes_from_where_a_place_is_bright():
    rng = np.random.default_rng(4)
    for place in load_environments():
        camera = camera_rotation(10.0) @ WORLD_FROM_LEVEL @ turned(rng)
        light = place.light(camera).sample(rng)
        key = camera @ place.key[0]
        normals = np.stack([key, -key]).astype(np.float32)
        bright, dark = light(np.full((2, 3), 100, np.float32), normals, np.full((2, 3), 9, np.float32)).mean(1)
        assert 0 < dark < bright < 600


def test_things_stand_on_the_ground_and_are_drawn():
    rng = np.random.default_rng(5)
    for make in MAKERS:
        vertices, faces, colors, uv = _joined(make(rng))
        assert abs(vertices[:, 1].min()) < 0.12, make.__name__
        assert len(colors) == len(vertices) and len(uv) == len(faces)
        assert np.linalg.norm(vertex_normals(vertices, faces), axis=1).mean() > 0.8, make.__name__
    objects = Objects(rng, [(np.zeros((1, 1, 3), np.float32),)], stock=len(MAKERS))
    image = np.full((120, 90, 3), 128, np.uint8)
    objects.draw(image, rng, 45, 110, 80, Light.sample(rng))
    assert (image != 128).any(2).mean() > 0.03


def test_scenery_is_deterministic_and_lit():
    textures = np.zeros((2, 256, 256, 3), np.float32)
    stock, again = (
        Scenery(np.random.default_rng(6), textures).stock(np.random.default_rng(7), 6, 160, 120) for _ in range(2)
    )
    assert any(backdrop.lighting for backdrop in stock)
    for one, other in zip(stock, again, strict=True):
        assert one.image.shape == (120, 160, 3) and one.image.dtype == np.uint8
        np.testing.assert_array_equal(one.image, other.image)
