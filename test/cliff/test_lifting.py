"""The embedded network's regressor: its geometry is that of the losses and of the body, and its tries improve."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch')

from cliff_ros.body import load_body
from cliff_ros.cliff.embedded import EmbeddedCliff, load_embedded
from cliff_ros.cliff.lifting import NUM_OUTPUTS, UNIT, LiftingRegressor, pack_features
from cliff_ros.crop.translation import full_translation
from cliff_ros.training.losses import Skeleton, aligned, in_full_frame, mirror, project, relative_depths

FEW = 50


@pytest.fixture(scope='module')
def regressor():
    torch.manual_seed(0)
    return LiftingRegressor(width=32, corrector=16)


@pytest.fixture(scope='module')
def people(regressor):
    """Random bodies before random cameras: rotations in the camera and SMPL's, betas, crop camera, location."""
    turned, betas, camera = regressor.decode(0.3 * torch.randn(FEW, NUM_OUTPUTS))
    location = torch.cat([torch.rand(FEW, 2) * 1.6 - 0.8, 0.3 + torch.rand(FEW, 1)], 1)
    return turned, regressor.relative(turned), betas, camera, location


@pytest.fixture(scope='module')
def skeleton():
    return Skeleton(load_body())


def place(location):
    """bbox_info's center and size, shaped as the regressor's methods want them."""
    return location[:, None, :2], location[:, None, 2:]


def test_joints_are_those_of_smpl(regressor, skeleton, people):
    turned, rotations, betas, _, _ = people
    torch.testing.assert_close(regressor.joints(turned, betas), skeleton(betas, rotations), atol=1e-5, rtol=0)
    identity = (rotations.mT @ rotations - torch.eye(3)).abs().max()
    assert identity < 1e-5


def test_what_is_seen_is_what_the_losses_project(regressor, skeleton, people):
    _, rotations, betas, camera, location = people
    joints = skeleton(betas, rotations)
    seen = regressor.seen(joints, camera, *place(location))
    translation = full_translation(camera, location)
    nothing_left = in_full_frame(
        joints, camera, location, (seen[..., :2] * location[:, None, 2:] + location[:, None, :2])
    )
    assert nothing_left.abs().max() < 1e-5
    truth = dict(betas=betas, rotations=rotations, translation=translation, location=location)
    torch.testing.assert_close(seen[..., 2], relative_depths(truth, skeleton), atol=1e-5, rtol=0)
    image = (project(joints + translation[:, None]) - location[:, None, :2]) / location[:, None, 2:]
    torch.testing.assert_close(seen[..., :2], image, atol=1e-5, rtol=0)


def test_keypoints_and_depths_are_lifted_to_the_joints_they_are_of(regressor, skeleton, people):
    _, rotations, betas, camera, location = people
    joints = skeleton(betas, rotations)
    seen = regressor.seen(joints, camera, *place(location))
    lifted = regressor.bones(seen[..., :2], seen[..., 2:], *place(location))
    points = lifted[:, :72].view(-1, 24, 3) / UNIT
    pelvis = full_translation(camera, location)[:, 2] + joints[:, 0, 2]
    unit = (pelvis * location[:, 2])[:, None, None]
    torch.testing.assert_close(points * unit, joints - joints[:, :1], atol=1e-4, rtol=0)
    directions = lifted[:, 72:].view(-1, 23, 3)
    bones = joints[:, 1:] - joints[:, regressor.parents[1:]]
    along = torch.nn.functional.cosine_similarity(directions, bones, dim=2)
    assert along.min() > 0.999 and directions.norm(dim=2).max() < 1


def test_mirrored_crops_in_mirrored_places_give_mirrored_people():
    """In SMPL, camera and all: what is looked at both ways cannot prefer the left to the right."""
    torch.manual_seed(0)
    model, crops = load_embedded(), torch.randn(4, 3, 128, 96)
    location = torch.tensor([[-0.6, 0.1, 0.4], [0.3, -0.2, 0.8], [0.0, 0.0, 0.5], [0.9, 0.4, 0.2]])
    there = location * torch.tensor([-1.0, 1.0, 1.0])
    with torch.no_grad():
        rotations, betas, camera = model(crops, model.bbox_info(location))
        turned = model(crops.flip(3), model.bbox_info(there))
    # the losses' mirror, which moves SMPL's labels, is another piece of code
    wanted = mirror(
        dict(rotations=rotations, translation=full_translation(camera, location), location=location),
        torch.ones(4, dtype=torch.bool),
    )
    torch.testing.assert_close(turned[0], wanted['rotations'], atol=1e-3, rtol=0)
    torch.testing.assert_close(turned[1], betas, atol=1e-3, rtol=0)
    torch.testing.assert_close(full_translation(turned[2], there), wanted['translation'], atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(there, wanted['location'])


def test_the_shipped_regressor_corrects_itself_by_what_it_sees():
    """From exact keypoints and depths, of people whom it never saw, every try is nearer than the one before."""
    pytest.importorskip('numba')
    from cliff_ros.training.losses import facing_of
    from cliff_ros.training.skeletons import SkeletonSampler

    skeleton, model = Skeleton(load_body()), load_embedded()
    truth, keypoints = SkeletonSampler(skeleton, pool=2000, seed=77).batch(600)
    sure = torch.full((len(keypoints), 29), -1.0)
    features = pack_features(
        keypoints,
        sure,
        relative_depths(truth, skeleton),
        facing_of(truth['rotations']),
        torch.ones(len(keypoints), 29),
        torch.zeros(len(keypoints), 128),
    )
    joints = skeleton(truth['betas'], truth['rotations'])
    image = project(joints + truth['translation'][:, None])
    with torch.no_grad():
        tries = model.regressor.tries(features, EmbeddedCliff.bbox_info(truth['location']))
        in_image = [
            in_full_frame(skeleton(betas, rotations), camera, truth['location'], image).norm(dim=2).mean()
            for rotations, betas, camera in tries
        ]
        pose = [
            (a - b).norm(dim=2).mean()
            for a, b in (aligned(skeleton(betas, rotations), joints) for rotations, betas, _ in tries)
        ]
    assert in_image[0] > in_image[1] > in_image[2] and in_image[2] < 0.03
    assert pose[0] > pose[2] and pose[2] < 0.05
