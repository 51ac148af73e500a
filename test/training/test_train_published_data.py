"""Data for training the published networks: labels stay true through every augmentation, layouts are read exactly."""

from __future__ import annotations

import pickle
from dataclasses import replace

import cv2
import miniatures
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip('torch')

from cliff_ros.body import load_body
from cliff_ros.crop.views import CropSpec
from cliff_ros.datasets.bedlam import Bedlam, in_root
from cliff_ros.datasets.cameras import Cameras
from cliff_ros.datasets.cliff_gt import CliffGT
from cliff_ros.datasets.sample import Sample, face_of
from cliff_ros.datasets.threedpw import ThreeDPW
from cliff_ros.errors import InputError, ModelError
from cliff_ros.evaluation.bodies import BodyFolder
from cliff_ros.evaluation.regressed import J14
from cliff_ros.synthetic.actor import FACE_VERTICES
from cliff_ros.synthetic.poses import euler_to_matrix, sample_poses
from cliff_ros.synthetic.scene import FACING_CAMERA
from cliff_ros.track.so3 import log
from cliff_ros.training import losses
from cliff_ros.training.published.augmentation import box_of
from cliff_ros.training.published.batches import BatchPlan, Mixture, collate
from cliff_ros.training.published.config import Augmentation, DataSource, TrainingConfig
from cliff_ros.training.published.crop_sources import Bodies, Photographs, truth_of_label
from cliff_ros.training.published.objective import Keypoints
from cliff_ros.training.published.sample import MIRROR_KEYPOINTS, mirrored
from cliff_ros.training.published.validation import ValidationSet

SIZE = WIDTH, HEIGHT = 250, 190  # a pixel's color says where it is
PLAIN, OFFICIAL = CropSpec(128, 96), CropSpec(256, 192, integer_rectangle=True)
GEOMETRY = Augmentation(
    flip=0.5, rotation=40.0, rotation_probability=0.7, jitter=0.1, part=0.3, occlusion=0.0, color=0.0, camera=0.0
)
WHERE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope='module')
def image(tmp_path_factory):
    """A file whose red is x and green is y."""
    path = tmp_path_factory.mktemp('images') / 'where.png'
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 2], pixels[..., 1] = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    cv2.imwrite(str(path), pixels)
    return path


def somebody(seed: int) -> dict[str, np.ndarray]:
    """betas, rotations and translation of a person in front of the camera, often at the border of the image."""
    rng = np.random.default_rng(seed)
    rotations = euler_to_matrix(sample_poses(rng, 1))[0].astype(np.float64)
    heading = euler_to_matrix(np.array([0, rng.uniform(-180, 180), 0]))
    rotations[0] = FACING_CAMERA @ heading @ rotations[0]
    z = rng.uniform(2.2, 6)
    return dict(
        betas=rng.normal(0, 0.5, 10),
        rotations=rotations,
        translation=np.array([rng.uniform(-0.5, 0.5) * z, rng.uniform(-0.3, 0.3) * z, z]),
    )


def intrinsics(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed + 1000)
    f = rng.uniform(130, 300)
    return np.array([[f, 0, rng.uniform(100, 150)], [0, f * rng.uniform(0.97, 1.03), rng.uniform(80, 110)], [0, 0, 1]])


def pixels_of(K: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points[:, :2] / points[:, 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]


def keypoints_of(person: dict[str, np.ndarray]) -> np.ndarray:
    """(29, 3) [m], by the whole body's own forward function."""
    joints, vertices = load_body()(*(person[name][None] for name in ('betas', 'rotations', 'translation')))
    return np.concatenate([joints[0], vertices[0, FACE_VERTICES]]).astype(np.float64)


def project(truth: np.ndarray) -> np.ndarray:
    """The truth's 3D joints as the truth's 2D joints should be."""
    joints = truth['joints'].astype(np.float64)
    return (joints[:, :2] / joints[:, 2:] - truth['location'][:2]) / truth['location'][2]


# ---- augmentation


@WHERE
@given(seed=st.integers(0, 10**6), flip=st.booleans(), spec=st.sampled_from([PLAIN, OFFICIAL]))
def test_labels_lie_where_the_augmented_crop_shows_them(image, seed, flip, spec) -> None:
    person, K = somebody(seed), intrinsics(seed)
    people = Photographs([Sample(image, K, **person)], spec, Bodies(load_body()))
    crop, truth = people.crop(0, np.random.default_rng(seed), replace(GEOMETRY, flip=float(flip)))
    raw = pixels_of(K, keypoints_of(person))
    order = MIRROR_KEYPOINTS if flip else np.arange(29)
    u = truth['keypoints'] * spec.height + [spec.width / 2 - 0.5, spec.height / 2 - 0.5]
    inside = ((raw > 2) & (raw < np.array(SIZE) - 3)).all(1)[order] & (
        (u > 1) & (u < np.array([spec.width, spec.height]) - 2)
    ).all(1)
    found = cv2.remap(crop.astype(np.float32), u[None].astype(np.float32), None, cv2.INTER_LINEAR)[0]
    # the authors round the rectangle to whole pixels; colors are whole numbers, remap counts in 1/32 pixels
    tolerance = 0.8 if spec is PLAIN else 1.6
    assert np.abs(found[:, :2] - raw[order])[inside].max(initial=0) < tolerance
    assert truth['confidence'].all()


@WHERE
@given(seed=st.integers(0, 10**6))
def test_labels_agree_with_each_other_after_augmentation(image, seed) -> None:
    people = Photographs([Sample(image, intrinsics(seed), **somebody(seed))], PLAIN, Bodies(load_body()))
    _, truth = people.crop(0, np.random.default_rng(seed), GEOMETRY)
    assert truth['placed'] and truth['joints_known'].all() and truth['betas_known']
    # the full frame's camera sees the 3D joints where the crop's labels say
    np.testing.assert_allclose(project(truth), truth['keypoints'][:24], atol=2e-4)
    # and the body, from its parameters, has those joints: only the place is free
    joints = load_body().joints(truth['betas'][None], truth['rotations'][None], np.zeros((1, 3)))[0]
    np.testing.assert_allclose(joints - joints[0], truth['joints'] - truth['joints'][0], atol=1e-3)
    assert truth['location'][2] > 0


def test_augmentation_does_all_that_it_should(image) -> None:
    person = Photographs([Sample(image, intrinsics(3), **somebody(3))], PLAIN, Bodies(load_body()))
    plain_crop, plain = person.crop(0, np.random.default_rng(0), None)
    again, _ = person.crop(0, np.random.default_rng(1), None)
    np.testing.assert_array_equal(plain_crop, again)
    locations, roots, sizes = [], [], []
    for seed in range(100):
        _, truth = person.crop(0, np.random.default_rng(seed), GEOMETRY)
        locations.append(truth['location'][:2])
        roots.append(truth['rotations'][0])
        sizes.append(truth['location'][2])
    # rolls and mirrors leave the depth of every axis alone, up to a mirror's sign
    depths, plain_root = np.abs(np.stack(roots)[:, 2]), np.abs(plain['rotations'][0])
    np.testing.assert_allclose(depths, np.tile(plain_root[2], (100, 1)), atol=1e-5)
    unrolled = np.array([np.allclose(np.abs(root), plain_root, atol=1e-4) for root in roots])
    assert 0.15 < unrolled.mean() < 0.45  # 0.7 are rolled
    assert np.std(sizes) > 0.1 * plain['location'][2] and np.ptp(locations, 0).min() > 0.05


def test_pixels_change_only_as_asked(image) -> None:
    person = Photographs([Sample(image, intrinsics(3), **somebody(3))], PLAIN, Bodies(load_body()))
    nothing = Augmentation(flip=0, rotation=0, scale=0, jitter=0, part=0, occlusion=0, color=0, camera=0)
    plain, before = person.crop(0, np.random.default_rng(0), None)
    for name, value in (('color', 0.5), ('occlusion', 1.0), ('camera', 1.0)):
        crop, truth = person.crop(0, np.random.default_rng(5), replace(nothing, **{name: value}))
        assert np.abs(crop.astype(int) - plain).max() > 5
        np.testing.assert_array_equal(truth, before)
    crop, _ = person.crop(0, np.random.default_rng(5), nothing)
    np.testing.assert_array_equal(crop, plain)


def test_boxes_err_like_a_detector() -> None:
    box, rng = np.array([100.0, 50, 160, 250]), np.random.default_rng(0)
    options = Augmentation(part=0, scale=0, jitter=0.04)
    boxes = np.stack([box_of(box, np.zeros((29, 2)), np.zeros(29), options, rng) for _ in range(4000)])
    assert np.abs((boxes - box).mean(0)).max() < 1
    deviation = (boxes - box).std(0) / 200
    assert (0.035 < deviation).all() and (deviation < 0.06).all()
    tall = box_of(box, np.full((29, 2), 120.0), np.ones(29), Augmentation(part=1.0, scale=0, jitter=0), rng)
    assert (tall[2:] - tall[:2]).min() >= 8  # all keypoints in one place still give a box


def test_mirror_is_the_embedded_recipes() -> None:
    label = np.zeros(
        (),
        np.dtype(
            [
                (name, 'f4', shape)
                for name, shape in (
                    ('betas', 10),
                    ('rotations', (24, 3, 3)),
                    ('translation', 3),
                    ('location', 3),
                    ('keypoints', (29, 2)),
                )
            ]
        ),
    )
    person = somebody(1)
    for name in ('betas', 'rotations', 'translation'):
        label[name] = person[name]
    label['location'] = (0.2, -0.1, 0.8)
    points = keypoints_of(person)
    label['keypoints'] = (points[:, :2] / points[:, 2:] - label['location'][:2]) / 0.8
    truth = truth_of_label(label, load_body())
    np.testing.assert_allclose(project(truth), truth['keypoints'][:24], atol=1e-5)
    ours = mirrored(truth)
    theirs = losses.mirror(
        {name: torch.from_numpy(label[name][None].copy()) for name in ('rotations', 'translation', 'location')},
        torch.tensor([True]),
    )
    np.testing.assert_allclose(ours['rotations'], theirs['rotations'][0])
    np.testing.assert_allclose(ours['location'], theirs['location'][0])
    np.testing.assert_allclose(project(ours), ours['keypoints'][:24], atol=1e-5)
    np.testing.assert_array_equal(mirrored(ours), truth)
    for name, left, right in (('confidence', 25, 26), ('joints_known', 20, 21), ('rotations_known', 4, 5)):
        truth[name][left] = 0  # what is not known of the left becomes unknown of the right
        assert mirrored(truth)[name][right] == 0 and mirrored(truth)[name][left] == 1


def test_another_bodys_shape_is_not_learned_from_rendered_people() -> None:
    other = replace(load_body(), sha256='another')
    label = np.zeros(
        (),
        np.dtype(
            [
                ('betas', 'f4', 10),
                ('rotations', 'f4', (24, 3, 3)),
                ('translation', 'f4', 3),
                ('location', 'f4', 3),
                ('keypoints', 'f4', (29, 2)),
            ]
        ),
    )
    label['rotations'] = np.eye(3)
    truth = truth_of_label(label, other)
    assert not truth['betas_known'] and truth['joints_known'].all() and truth['rotations_known'].all()


# ---- layouts


def corner(pixels: np.ndarray) -> np.ndarray:
    """As data sets count: from the corner of the image."""
    return pixels + 0.5


def test_bedlam(image, tmp_path) -> None:
    people = [somebody(seed) for seed in range(3)]
    K = np.array([[200.0, 0, WIDTH / 2], [0, 200, HEIGHT / 2], [0, 0, 1]])
    centered = K - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    points = np.stack([pixels_of(centered, keypoints_of(person)) for person in people])
    smplx_order = points[:, [*range(24), 24, 26, 25, 28, 27]]  # nose, right eye, left eye, right ear, left ear
    external = np.tile(np.eye(4), (3, 1, 1))
    external[:, :3, 3] = [0.5, -0.2, 1.0]
    content = dict(
        imgname=np.array([image.name] * 3),
        center=np.full((3, 2), 100.0),
        scale=np.full(3, 0.5),
        pose_cam=np.stack([log(p['rotations']).ravel() for p in people]),
        shape=np.stack([np.append(p['betas'], 0) for p in people]),
        trans_cam=np.stack([p['translation'] for p in people]) - external[:, :3, 3],
        cam_ext=external,
        cam_int=np.tile(K, (3, 1, 1)),
        gtkps=corner(smplx_order),
        gender=np.array(['neutral'] * 3),
    )
    np.savez(tmp_path / 'scene.npz', **content)
    source = Photographs(Bedlam(tmp_path / 'scene.npz', image.parent), PLAIN, Bodies(load_body()))
    for i, person in enumerate(people):
        _, truth = source.crop(i, np.random.default_rng(0), None)
        np.testing.assert_allclose(truth['rotations'], person['rotations'], atol=1e-5)
        np.testing.assert_allclose(truth['joints'], keypoints_of(person)[:24], atol=1e-4)
        np.testing.assert_allclose(project(truth), truth['keypoints'][:24], atol=1e-4)
        assert truth['location'][2] * 200 == pytest.approx(1.1 * 100)  # their box, our margin
    # SMPL-X: its joints and poses, not its shape
    content['pose_cam'] = np.concatenate([content['pose_cam'][:, :66], np.zeros((3, 99))], 1)
    np.savez(tmp_path / 'smplx.npz', **content)
    _, truth = Photographs(Bedlam(tmp_path / 'smplx.npz', image.parent), PLAIN, Bodies(load_body())).crop(
        0, np.random.default_rng(0), None
    )
    assert not truth['betas_known'] and not truth['joints_known'].any() and not truth['placed']
    assert truth['rotations_known'].tolist() == truth['confidence'][:24].tolist() == [1] * 22 + [0] * 2
    # men's labels need a man's body
    content['gender'] = np.array(['male'] * 3)
    content['pose_cam'] = np.zeros((3, 72))
    np.savez(tmp_path / 'men.npz', **content)
    with pytest.raises(InputError, match='body_male'):
        Photographs(Bedlam(tmp_path / 'men.npz', image.parent), PLAIN, Bodies(load_body()))
    bodies = Bodies(load_body(), male=load_body())
    _, truth = Photographs(Bedlam(tmp_path / 'men.npz', image.parent), PLAIN, bodies).crop(
        0, np.random.default_rng(0), None
    )
    assert not truth['betas_known'] and truth['joints_known'].all()


def test_images_that_are_stored_turned(image, tmp_path) -> None:
    stored = cv2.rotate(cv2.imread(str(image)), cv2.ROTATE_90_COUNTERCLOCKWISE)
    cv2.imwrite(str(tmp_path / 'turned.png'), stored)
    upright = Sample(image, intrinsics(5), **somebody(5))
    turned = replace(upright, image=tmp_path / 'turned.png', turn=90)
    bodies = Bodies(load_body())
    (a, truth_a), (b, truth_b) = (
        Photographs([sample], PLAIN, bodies).crop(0, np.random.default_rng(0), None) for sample in (upright, turned)
    )
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(truth_a, truth_b)


def test_cliff_gt(image, tmp_path) -> None:
    person, focal = somebody(2), float(np.hypot(*SIZE))
    K = np.array([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1]])
    pixels = pixels_of(K, keypoints_of(person))
    part = np.zeros((24, 3))
    part[[8, 9, 19, 20, 2], :2] = corner(pixels[[17, 16, 24, 25, 2]])  # shoulders, nose, left eye, right hip
    part[[8, 9, 19, 20, 2], 2] = 1
    S = np.zeros((24, 4))
    S[:6] = [1, 2, 3, 1]
    content = dict(
        imgname=np.array([image.name] * 2),
        center=np.tile([[80.0, 90]], (2, 1)),
        scale=np.full(2, 0.66),
        part=np.stack([part, part]),
        pose=np.stack([log(person['rotations']).ravel()] * 2),
        shape=np.stack([person['betas']] * 2),
        has_smpl=np.array([1, 0]),
        global_t=np.stack([person['translation']] * 2),
        focal_l=np.full(2, focal),
        S=np.stack([S, S]),
    )
    np.savez(tmp_path / 'gt.npz', **content)
    source = Photographs(CliffGT(tmp_path / 'gt.npz', image.parent), OFFICIAL, Bodies(load_body()))
    _, truth = source.crop(0, np.random.default_rng(0), None)
    np.testing.assert_allclose(truth['joints'], keypoints_of(person)[:24], atol=1e-4)
    # the authors' location, with the image's center counted from its corner
    np.testing.assert_allclose(
        truth['location'], [(80 - WIDTH / 2) / focal, (90 - HEIGHT / 2) / focal, 132 / focal], rtol=1e-5
    )
    known = np.flatnonzero(truth['confidence'])
    assert known.tolist() == [16, 17, 24, 25]  # annotators' hips do not count where the body is known
    np.testing.assert_allclose(truth['keypoints'][[16, 17]], project(truth)[[16, 17]], atol=1e-4)
    _, truth = source.crop(1, np.random.default_rng(0), None)
    assert np.flatnonzero(truth['confidence']).tolist() == [2, 16, 17, 24, 25]
    assert not truth['rotations_known'].any() and not truth['placed']
    # nor their hips in 3D, which are not SMPL's: such people are compared about the mean of their other joints
    assert np.flatnonzero(truth['joints_known']).tolist() == [4, 5, 7, 8]
    # without 2D joints, those of the body
    np.savez(tmp_path / 'bare.npz', **{k: v for k, v in content.items() if k not in ('part', 'has_smpl', 'S')})
    _, truth = Photographs(CliffGT(tmp_path / 'bare.npz', image.parent), OFFICIAL, Bodies(load_body())).crop(
        1, np.random.default_rng(0), None
    )
    np.testing.assert_allclose(project(truth), truth['keypoints'][:24], atol=1e-4)


def test_focal_lengths_are_known_given_or_refused(tmp_path) -> None:
    names = ['images/S9_Posing.60457274_000001.jpg', 'S1/Seq1/imageFrames/video_4/frame_000001.jpg']
    content = dict(imgname=np.array(names), center=np.zeros((2, 2)), scale=np.ones(2), part=np.ones((2, 24, 3)))
    np.savez(tmp_path / 'spin.npz', **content)
    with pytest.raises(InputError, match=r"nothing of focal lengths.*'S1/Seq1.*'cameras'.*'focal'"):
        CliffGT(tmp_path / 'spin.npz', tmp_path)
    (tmp_path / 'cameras.yaml').write_text('S1/Seq1/imageFrames/video_4: [1500, 1501, 1000, 1010]\n')
    people = CliffGT(tmp_path / 'spin.npz', tmp_path, 0, Cameras.read(tmp_path / 'cameras.yaml'))
    assert people[0].K[0, 0] == pytest.approx(1145.5, abs=0.1)  # not the diagonal, 1415.6
    np.testing.assert_array_equal(people[1].K, [[1500, 0, 1000], [0, 1501, 1010], [0, 0, 1]])
    assert CliffGT(tmp_path / 'spin.npz', tmp_path, 0, Cameras.read(focal='900'))[1].camera(100, 100).f == 900
    guess = CliffGT(tmp_path / 'spin.npz', tmp_path, 0, Cameras.read(focal='diagonal'))[1]
    assert guess.camera(300, 400).f == 500
    # a label that says it is believed, whatever is given
    np.savez(tmp_path / 'said.npz', **content, focal_l=np.full(2, 777.0))
    assert [p.camera(100, 100).f for p in CliffGT(tmp_path / 'said.npz', tmp_path, 0, Cameras.read(focal='9'))] == [
        777.0
    ] * 2
    with pytest.raises(InputError, match='nothing says'):
        Sample(tmp_path / 'a.jpg').camera(100, 100)
    for wrong in ('0', '-3', 'long'):
        with pytest.raises(InputError, match='focal'):
            Cameras.read(focal=wrong)
    (tmp_path / 'cameras.yaml').write_text('a: [1500, 1501, 1000]\n')
    with pytest.raises(InputError, match='list of cameras'):
        Cameras.read(tmp_path / 'cameras.yaml')


def test_3dpw(image, tmp_path) -> None:
    body, K = load_body(), intrinsics(4)
    people = [somebody(6), somebody(7)]
    turn = euler_to_matrix(np.array([10.0, 25, -5])).astype(np.float64)
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = turn, [0.3, 0.1, 0.4]
    images = tmp_path / 'imageFiles' / 'walk_00'
    images.mkdir(parents=True)
    for i in range(3):
        (images / f'image_{i:05d}.jpg').write_bytes(image.read_bytes())  # by content, whatever the name
    content = dict(
        sequence='walk_00',
        genders=['m', 'f'],
        cam_intrinsics=K,
        img_frame_ids=np.arange(0, 6, 2),
        cam_poses=np.tile(camera, (3, 1, 1)),
        poses=[],
        trans=[],
        betas=[],
        poses2d=[],
        campose_valid=[],
    )
    for who, person in enumerate(people):
        rest = body.rest_joints(person['betas'][None])[0, 0]
        rotations = person['rotations'].copy()
        rotations[0] = turn.T @ rotations[0]
        place = turn.T @ (person['translation'] + rest - camera[:3, 3]) - rest
        content['poses'].append(np.tile(log(rotations).ravel(), (3, 1)))
        content['trans'].append(np.tile(place, (3, 1)))
        content['betas'].append(np.append(person['betas'], np.zeros(5)))
        content['poses2d'].append(np.ones((3, 3, 18)) * np.array([1, 1, who])[:, None, None])
        content['campose_valid'].append(np.array([1, 0, 1]))
    with (tmp_path / 'walk_00.pkl').open('wb') as file:
        pickle.dump(content, file, protocol=2)
    reader = ThreeDPW(tmp_path, tmp_path / 'imageFiles')
    # the man has no 2D joints in the last frame, nobody a valid camera in the second
    assert [(s.image.name, s.gender) for s in reader] == [
        ('image_00000.jpg', 'male'),
        ('image_00000.jpg', 'female'),
        ('image_00002.jpg', 'female'),
    ]
    source = Photographs(reader, PLAIN, Bodies(body, body, body))
    for index, person in ((0, people[0]), (2, people[1])):
        _, truth = source.crop(index, np.random.default_rng(0), None)
        np.testing.assert_allclose(truth['rotations'], person['rotations'], atol=1e-5)
        np.testing.assert_allclose(truth['joints'], keypoints_of(person)[:24], atol=1e-4)
        np.testing.assert_allclose(project(truth), truth['keypoints'][:24], atol=1e-4)
        inside = pixels_of(K, keypoints_of(person))
        center = truth['location'][:2] * np.sqrt(K[0, 0] * K[1, 1]) + K[:2, 2]
        visible = inside[((inside > 0) & (inside < SIZE)).all(1)]
        assert np.abs(center - (visible.min(0) + visible.max(0)) / 2).max() < 25  # the box is the body's


@pytest.mark.parametrize(
    'change, sentence',
    [
        (dict(center=np.zeros((2, 3))), "'center' has shape"),
        (dict(scale=None), "no array 'scale'"),
        (dict(imgname=None), "no array 'imgname'"),
        (dict(part=None, pose=None), "neither 'pose' nor 'part'"),
    ],
)
def test_labels_of_another_layout_are_refused(tmp_path, change, sentence) -> None:
    content = (
        dict(
            imgname=np.array(['a', 'b']),
            center=np.zeros((2, 2)),
            scale=np.ones(2),
            part=np.zeros((2, 24, 3)),
            pose=np.zeros((2, 72)),
            shape=np.zeros((2, 10)),
        )
        | change
    )
    np.savez(tmp_path / 'gt.npz', **{k: v for k, v in content.items() if v is not None})
    with pytest.raises(InputError, match=sentence):
        CliffGT(tmp_path / 'gt.npz', tmp_path)


def test_files_that_run_code_are_refused(tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return print, ('it ran',)

    with (tmp_path / 'evil.pkl').open('wb') as file:
        pickle.dump({'poses': Evil()}, file)
    with pytest.raises(InputError, match='nothing of it was run'):
        ThreeDPW(tmp_path, tmp_path)
    np.savez(tmp_path / 'evil.npz', imgname=np.array([Evil()], object))
    with pytest.raises(InputError, match='more than numbers.*nothing of it was run'):
        CliffGT(tmp_path / 'evil.npz', tmp_path)
    with pytest.raises(InputError, match='there are no .pkl files'):
        ThreeDPW(tmp_path / 'nothing', tmp_path)


def test_missing_images_are_named(tmp_path) -> None:
    with pytest.raises(InputError, match='gone.jpg'):
        Photographs([Sample(tmp_path / 'gone.jpg', **somebody(0))], PLAIN, Bodies(load_body()))


# ---- mixing


def test_batches_mix_by_weight_and_skip_nothing() -> None:
    plan = BatchPlan([50, 7, 0], [0.5, 0.3, 0.2], batch=10, steps=40, seed=3)
    keys = [key for batch in plan for key in batch]
    counts = np.bincount([key[0] for key in keys])
    assert counts.tolist() == [200, 120, 80]
    for source, length in ((0, 50), (1, 7)):
        seen = np.zeros(length, int)
        for batch in plan:
            np.add.at(seen, [key[1] for key in batch if key[0] == source], 1)
            assert np.ptp(seen) <= 1  # every item comes before any comes again
    assert len({key[2:] for key in keys}) == len(keys)  # no two crops are changed alike


def test_batches_do_not_depend_on_processes_or_interruptions() -> None:
    def batches(**how):
        return list(BatchPlan([50, 7], [0.6, 0.4], batch=8, steps=12, seed=1, **how))

    whole = batches()
    assert batches(start=5) == whole[5:]
    halves = [batches(process=p, processes=2) for p in range(2)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(batch) for batch in whole]
    assert whole != list(BatchPlan([50, 7], [0.6, 0.4], batch=8, steps=12, seed=2))


def test_the_same_key_gives_the_same_crop(image) -> None:
    source = Photographs([Sample(image, intrinsics(3), **somebody(3))], PLAIN, Bodies(load_body()))
    mixture = Mixture([source], Augmentation(), seed=1)
    (a, truth), (b, _) = mixture[0, 0, 4, 2], mixture[0, 0, 4, 2]
    np.testing.assert_array_equal(a, b)
    assert (mixture[0, 0, 5, 2][0] != a).any()
    images, batch = collate([(a, truth)] * 3)
    assert images.shape == (3, 128, 96, 3) and batch['keypoints'].shape == (3, 29, 2)


def test_the_face_is_the_whole_bodys() -> None:
    person = {name: value[None] for name, value in somebody(9).items()}
    joints, vertices = load_body()(**person)
    small_joints, small = face_of(load_body())(**person)
    np.testing.assert_allclose(small_joints, joints, atol=1e-6)
    np.testing.assert_allclose(small, vertices[:, FACE_VERTICES], atol=1e-6)


def test_validation_on_3dpw_measures_what_is_published(tmp_path) -> None:
    shots = miniatures.shots(1, people=2)
    miniatures.threedpw(tmp_path / '3dpw', shots * 2, 'validation')
    folder = BodyFolder(miniatures.bodies(tmp_path / 'bodies'))
    bodies = Bodies(*(folder.body(gender) for gender in ('neutral', 'male', 'female')))
    source = DataSource(
        '3dpw', labels=str(tmp_path / '3dpw/sequenceFiles/validation'), images=str(tmp_path / '3dpw/imageFiles')
    )
    config = TrainingConfig(data=(DataSource(),))
    people = ValidationSet(source, config, OFFICIAL, bodies)
    truth = [people.people.crop(i, np.random.default_rng(0), None)[1] for i in people.pick]
    rotations = torch.from_numpy(np.stack([one['rotations'] for one in truth]))
    betas = torch.from_numpy(np.stack([shots[0].people[i // 2].betas for i in people.pick])).float()
    bent = rotations.clone()
    bent[:, 18] = torch.from_numpy(euler_to_matrix(np.array([0, 0, 60.0]))).float()  # left elbows
    found = [
        people.measure(
            lambda images, location, turned=turned: (turned, betas, torch.tensor([[0.9, 0, 0]] * len(betas))),
            Keypoints(bodies.neutral),
            torch.device('cpu'),
        )
        for turned in (rotations, bent)
    ]
    assert found[0]['mpjpe_mm'] < 0.1 and found[0]['pve_mm'] < 0.1
    vertices = [bodies.neutral(betas.numpy(), side.numpy(), np.zeros((len(betas), 3)))[1] for side in (rotations, bent)]
    regressor = folder.body().J_regressor_h36m
    true, off = ((regressor @ side)[:, list(J14)] - (regressor @ side)[:, :1] for side in vertices)
    assert found[1]['mpjpe_mm'] == pytest.approx(1e3 * np.linalg.norm(true - off, axis=-1).mean(), rel=1e-3)
    assert found[1]['mpjpe_mm'] > 5
    with pytest.raises(ModelError, match='J_regressor_h36m'):
        ValidationSet(source, config, OFFICIAL, Bodies(load_body(), load_body(), load_body()))


def test_smplx_labels_teach_their_joints_where_there_is_a_body(tmp_path) -> None:
    shots = miniatures.shots(2, people=1)
    miniatures.bedlam(tmp_path / 'bedlam', shots)
    (labels,) = in_root(tmp_path / 'bedlam')
    bare = Photographs(labels, PLAIN, Bodies(load_body())).crop(1, np.random.default_rng(0), None)[1]
    assert not bare['joints_known'].any() and bare['rotations_known'].sum() == 22
    bodies = Bodies(load_body(), folder=BodyFolder(miniatures.bodies(tmp_path / 'bodies')))
    truth = Photographs(labels, PLAIN, bodies).crop(1, np.random.default_rng(0), None)[1]
    assert np.flatnonzero(truth['joints_known']).tolist() == list(range(22)) and truth['placed']
    np.testing.assert_allclose(truth['joints'][:22], shots[1].people[0].joints[:22], atol=2e-4)
    np.testing.assert_allclose(project(truth)[:22], truth['keypoints'][:22], atol=1e-3)
    assert not truth['betas_known']
    assert bodies['male'].num_vertices == 6890  # found in the folder
