"""What other programs make of bones and four weights is the body that we pose ourselves."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cliff_ros.body import load_body
from cliff_ros.body.skin import bone_orientations, four_weights, quaternions, rest_pose, standing_height

BODY = load_body()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_skinned_by_bones_it_is_the_body(seed):
    rng = np.random.default_rng(seed)
    betas, translation = rng.normal(0, 1, 10).astype(np.float32), rng.normal(0, 2, 3)
    rotations = Rotation.from_rotvec(rng.normal(0, 0.5, (24, 3))).as_matrix()
    joints, expected = BODY(betas[None], rotations[None], translation[None])
    vertices, rest = rest_pose(BODY, betas)
    which, weights = four_weights(BODY)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    turns = Rotation.from_quat(bone_orientations(rotations)).as_matrix()
    moved = np.einsum('vkij,vkj->vki', turns[which], vertices[:, None] - rest[which]) + joints[0][which]
    np.testing.assert_allclose((weights[..., None] * moved).sum(1), expected[0], atol=2e-4)


def test_quaternions_and_height():
    rotations = Rotation.random(50, random_state=0).as_matrix().reshape(5, 10, 3, 3)
    found = quaternions(rotations)
    assert found.shape == (5, 10, 4) and (found[..., 3] >= 0).all()
    np.testing.assert_allclose(Rotation.from_quat(found.reshape(-1, 4)).as_matrix(), rotations.reshape(-1, 3, 3))
    assert 1.6 < standing_height(BODY, np.zeros(10)) < 1.9
