"""The embedded body: SMPL's format and tree, smplx's numbers, a person's proportions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cliff_ros import assets
from cliff_ros.body import JOINT_NAMES, MIRROR, PARENTS, BodyModel, load_body
from cliff_ros.body.outline import Outline
from cliff_ros.camera import Camera
from cliff_ros.errors import ModelError

LEFT_RIGHT = [(i, n, JOINT_NAMES.index(n.replace('left', 'right'))) for i, n in enumerate(JOINT_NAMES) if 'left' in n]


def random_pose(seed: int, batch: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rotations = Rotation.from_rotvec(rng.normal(0, 0.5, (batch * 24, 3))).as_matrix().reshape(batch, 24, 3, 3)
    return rng.normal(0, 1, (batch, 10)), rotations, rng.normal(0, 2, (batch, 3))


def test_it_has_smpls_format():
    body = load_body()
    assert body.v_template.shape == (6890, 3) and body.shapedirs.shape == (6890, 3, 10)
    assert body.weights.shape == (6890, 24) and np.allclose(body.weights.sum(1), 1, atol=1e-5)
    assert (np.count_nonzero(body.weights, axis=1) <= 4).all()
    assert np.allclose(body.J_regressor.sum(1), 1, atol=1e-4) and (body.J_regressor >= 0).all()
    assert (body.parents == PARENTS).all() and len(body.joint_names) == 24
    assert body.faces.min() == 0 and body.faces.max() == 6889
    assert body.licence == 'CC0-1.0' and len(body.sha256) == 64


def test_it_is_built_like_a_person():
    body = load_body()
    joints = body.rest_joints(np.zeros((1, 10)))[0]
    height = np.ptp(body.v_template[:, 1])
    assert 1.6 < height < 1.9
    assert joints[15, 1] > joints[9, 1] > joints[0, 1] > joints[4, 1] > joints[7, 1]  # head, chest, pelvis, knee, ankle
    for left, _, right in LEFT_RIGHT:
        assert MIRROR[left] == right
        assert joints[left, 0] > 0.01 > -0.01 > joints[right, 0]  # SMPL: x points to the person's left
        assert np.allclose(joints[left] * [-1, 1, 1], joints[right], atol=0.01)
    assert joints[10, 2] > joints[7, 2] + 0.05  # toes in front of the ankles: z points forward
    upper, lower = np.linalg.norm(joints[18] - joints[16]), np.linalg.norm(joints[20] - joints[18])
    assert 0.2 < lower < upper < 0.35
    # faces are counter-clockwise seen from outside: the signed volume is a person's
    a, b, c = (body.v_template[body.faces[:, k]].astype(float) for k in range(3))
    assert 0.05 < np.einsum('ij,ij->i', a, np.cross(b, c)).sum() / 6 < 0.1


def test_the_first_shape_coefficient_is_height():
    body = load_body()
    tall = body.v_template + body.shapedirs[..., 0]
    assert np.ptp(tall[:, 1]) - np.ptp(body.v_template[:, 1]) == pytest.approx(0.116, abs=0.02)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_rigid_motion_of_the_root_moves_everything_rigidly(seed):
    body = load_body()
    betas, rotations, translation = random_pose(seed, 1)
    joints, vertices = body(betas, rotations, translation)
    turn = Rotation.random(random_state=seed).as_matrix()
    turned = rotations.copy()
    turned[:, 0] = turn @ rotations[:, 0]
    rest_pelvis = body.rest_joints(betas)[0, 0]
    other_joints, other_vertices = body(betas, turned, translation)
    pivot = rest_pelvis + translation[0]
    assert np.allclose((joints[0] - pivot) @ turn.T + pivot, other_joints[0], atol=1e-4)
    assert np.allclose((vertices[0] - pivot) @ turn.T + pivot, other_vertices[0], atol=1e-4)


def test_joints_alone_are_the_joints_of_the_mesh():
    body = load_body()
    pose = random_pose(5)
    assert np.allclose(body.joints(*pose), body(*pose)[0], atol=1e-6)


def test_smplx_loads_the_file_unchanged_and_agrees():
    torch, smplx = pytest.importorskip('torch'), pytest.importorskip('smplx')
    from smplx.utils import Struct

    with np.load(assets.BODY) as file:
        reference = smplx.SMPL('embedded', data_struct=Struct(**file), batch_size=3)
    betas, rotations, translation = random_pose(1)
    rotvec = torch.tensor(
        Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec().reshape(3, 72), dtype=torch.float32
    )
    out = reference(
        betas=torch.tensor(betas, dtype=torch.float32),
        global_orient=rotvec[:, :3],
        body_pose=rotvec[:, 3:],
        transl=torch.tensor(translation, dtype=torch.float32),
    )
    joints, vertices = load_body()(betas, rotations, translation)
    assert np.abs(vertices - out.vertices.detach().numpy()).max() < 1e-5
    assert np.abs(joints - out.joints[:, :24].detach().numpy()).max() < 1e-5
    # the landmarks that smplx looks up by vertex number are where they should be
    rest = reference(betas=torch.zeros(3, 10)).joints[0].detach().numpy()
    nose, right_eye, left_eye, right_ear, left_ear = rest[24:29]
    assert nose[2] > max(right_eye[2], left_eye[2]) > max(right_ear[2], left_ear[2])
    assert left_eye[0] > 0.02 and left_ear[0] > 0.05 and right_eye[0] < -0.02 and right_ear[0] < -0.05


def test_pose_correctives_are_applied_where_a_body_has_them():
    torch, smplx = pytest.importorskip('torch'), pytest.importorskip('smplx')
    from smplx.utils import Struct

    with np.load(assets.BODY) as file:
        arrays = dict(file)
    arrays['posedirs'] = np.random.default_rng(0).normal(0, 1e-3, (6890, 3, 207)).astype(np.float32)
    reference = smplx.SMPL('corrected', data_struct=Struct(**arrays))
    betas, rotations, translation = random_pose(2, 1)
    rotvec = torch.tensor(Rotation.from_matrix(rotations[0]).as_rotvec().reshape(1, 72), dtype=torch.float32)
    out = reference(
        betas=torch.tensor(betas, dtype=torch.float32),
        global_orient=rotvec[:, :3],
        body_pose=rotvec[:, 3:],
        transl=torch.tensor(translation, dtype=torch.float32),
    )
    _, vertices = BodyModel.from_arrays(arrays)(betas, rotations, translation)
    assert np.abs(vertices - out.vertices.detach().numpy()).max() < 1e-5


def test_a_missing_file_and_a_wrong_file_are_refused(tmp_path):
    with pytest.raises(ModelError, match='no body model at'):
        load_body(tmp_path / 'nothing.npz')
    with np.load(assets.BODY) as file:
        arrays = dict(file)
    with pytest.raises(ModelError, match="no array 'weights'"):
        BodyModel.from_arrays({k: v for k, v in arrays.items() if k != 'weights'})
    with pytest.raises(ModelError, match="'v_template' has shape"):
        BodyModel.from_arrays(arrays | {'v_template': np.zeros((6890, 2))})
    with pytest.raises(ModelError, match='not finite'):
        BodyModel.from_arrays(arrays | {'v_template': np.full((6890, 3), np.nan)})


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_outline_is_the_meshs(seed):
    body, camera = (
        load_body(),
        Camera(640, 480, np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]), d=(-0.1, 0, 0, 0)),
    )
    betas, rotations, translation = random_pose(seed)
    translation = translation * [0.3, 0.2, 0.2] + [0, 0, 5]
    boxes = Outline(body).boxes(camera, betas, rotations, translation)
    for box, vertices in zip(boxes, body(betas, rotations, translation)[1], strict=True):
        pixels = camera.project(vertices)
        low, high = pixels.min(0).clip([-0.5, -0.5], [639.5, 479.5]), pixels.max(0).clip([-0.5, -0.5], [639.5, 479.5])
        np.testing.assert_allclose(box, [*low, *high], atol=0.08 * max(high - low))


def test_nobody_has_an_outline_behind_the_camera():
    camera = Camera.uncalibrated(640, 480)
    betas, rotations, _ = random_pose(0)
    places = np.array([[0, 0, -4.0], [0, 0, 4.0], [40.0, 0, 4.0]])
    boxes = Outline(load_body()).boxes(camera, betas, rotations, places)
    assert np.isfinite(boxes).all(1).tolist() == [False, True, False]
