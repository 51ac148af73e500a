"""The experiment of docs/why-cliff.md: each variant sees what it says, and the figures say what they are named for."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from places import ROOT

torch = pytest.importorskip('torch')
pytest.importorskip('numba')

from bench import claim
from cliff_ros.body import load_body
from cliff_ros.cliff.lifting import GLOBAL_FEATURES, NUM_FEATURES, pack_features
from cliff_ros.synthetic.crops import CropSampler
from cliff_ros.training.losses import HMR_FOCAL, Skeleton, in_crop, in_full_frame, project
from cliff_ros.training.skeletons import SkeletonSampler

VARIANTS = {variant.key: variant for variant in claim.VARIANTS}


@pytest.fixture(scope='module')
def people():
    """Truth and keypoints of projected people, and the skeleton they were made with."""
    skeleton = Skeleton(load_body())
    truth, keypoints = SkeletonSampler(skeleton, pool=2000, seed=5).batch(3000)
    return truth, keypoints, skeleton


def camera_of(truth):
    """The crop camera (s, tx, ty) that puts people where they are: equation 4 of the paper, solved for it."""
    x, y, z = truth['translation'].T
    cx, cy, b = truth['location'].T
    return torch.stack([2 / (b * z), x - cx * z, y - cy * z], 1)


def test_there_is_one_variant_for_each_choice():
    choices = [(variant.location, variant.full_frame) for variant in claim.VARIANTS]
    assert sorted(choices) == [(False, False), (False, True), (True, False), (True, True)]


@pytest.mark.parametrize('key', VARIANTS)
def test_only_variants_with_location_see_it(key):
    torch.manual_seed(0)
    regressor, features = claim.PlainRegressor(32), torch.randn(4, NUM_FEATURES)
    torch.nn.init.normal_(regressor.leave.weight)
    here, there = torch.tensor([[-0.8, 0.1, 0.3]] * 4), torch.tensor([[0.8, -0.1, 0.9]] * 4)
    told_here, told_there = (regressor(features, VARIANTS[key].told(at)) for at in (here, there))
    same = all(map(torch.equal, told_here, told_there))
    assert same is not VARIANTS[key].location


def test_nobody_sees_what_was_taught_in_the_cameras_frame():
    """Depths, facing and the free features tell where a crop was; the blind must not read it there."""
    torch.manual_seed(0)
    regressor, features = claim.PlainRegressor(32), torch.randn(4, NUM_FEATURES)
    torch.nn.init.normal_(regressor.leave.weight)
    keypoints, depths = torch.zeros(4, NUM_FEATURES), torch.zeros(4, NUM_FEATURES)
    keypoints[:, :58], depths[:, 87:] = 1, 1
    seen, *others = (regressor(features + change, torch.zeros(4, 3)) for change in (0, depths, keypoints))
    assert [all(map(torch.equal, seen, other)) for other in others] == [True, False]


def test_the_full_frame_loss_is_zero_at_the_truth_and_the_crop_loss_is_not(people):
    truth, _, skeleton = people
    for variant in claim.VARIANTS:
        _, parts = variant.loss(truth['rotations'], truth['betas'], camera_of(truth), truth, skeleton)
        assert all(parts[name] < 1e-5 for name in ('root', 'pose', 'betas', 'joints'))
        if variant.full_frame:
            assert parts['reprojection'] < 1e-4
        else:
            assert parts['reprojection'] > 0.01  # seen from elsewhere, the true body does not fit its own crop


def test_the_crop_loss_does_not_know_where_the_crop_is(people):
    truth, keypoints, skeleton = people
    joints, camera = skeleton(truth['betas'], truth['rotations']), camera_of(truth)
    elsewhere = truth['location'] * torch.tensor([-1.0, 2.0, 0.5]) + torch.tensor([0.3, 0, 0])
    residuals = {}
    for residual in (in_crop, in_full_frame):  # the same picture in the crop, the crop at two places
        residuals[residual] = [
            residual(joints, camera, at, keypoints[:, :24] * at[:, 2, None, None] + at[:, None, :2])
            for at in (truth['location'], elsewhere)
        ]
    assert torch.allclose(*residuals[in_crop], atol=1e-4)
    assert not torch.allclose(*residuals[in_full_frame], atol=0.01)


def test_the_crop_loss_is_zero_for_somebody_seen_by_the_crop_camera(people):
    truth, _, skeleton = people
    joints = skeleton(truth['betas'], truth['rotations'])
    camera = torch.tensor([[0.9, 0.02, 0.2]]).expand(len(joints), 3)
    far = joints + torch.tensor([0.02, 0.2, 2 * HMR_FOCAL / 0.9])
    location = truth['location']
    image = HMR_FOCAL * project(far) * location[:, 2, None, None] + location[:, None, :2]
    assert in_crop(joints, camera, location, image).abs().max() < 1e-4


def test_nobody_is_taught_the_depth(people):
    truth, _, skeleton = people
    camera = camera_of(truth).requires_grad_()
    total, parts = VARIANTS['neither'].loss(truth['rotations'], truth['betas'], camera, truth, skeleton)
    (gradient,) = torch.autograd.grad(total, camera, retain_graph=True)
    (expected,) = torch.autograd.grad(15 * parts['reprojection'], camera)
    assert torch.allclose(gradient, expected, atol=1e-6)


def test_trained_on_2d_alone_the_blind_turn_people_with_the_azimuth(people):
    """The claim in small: exact keypoints in the crop, and nothing else that could tell where the crop was."""
    truth, keypoints, skeleton = people
    nothing = torch.zeros(len(keypoints), GLOBAL_FEATURES)
    features = pack_features(keypoints, nothing[:, :29], nothing[:, :24], nothing[:, :6], nothing[:, :29], nothing)
    azimuth, off_axis = claim.directions(truth, skeleton)
    slopes = {}
    for key in ('cliff', 'neither'):
        regressor = claim.train(VARIANTS[key], 0, features, truth, skeleton, steps=150, batch=256, log=lambda *_: None)
        errors = claim.errors(VARIANTS[key], regressor, features, truth, skeleton)
        slopes[key] = claim.figures(errors, azimuth, off_axis)['yaw_slope']
    assert abs(slopes['cliff']) < 0.2 and slopes['neither'] < -0.4


def test_a_seed_fixes_a_training(people):
    truth, keypoints, skeleton = people
    features = torch.randn(len(keypoints), NUM_FEATURES)
    first, again, other = (
        claim.train(VARIANTS['cliff'], seed, features, truth, skeleton, 3, 32, log=lambda *_: None).state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_figures_find_what_was_put_in():
    rng = np.random.default_rng(0)
    azimuth = rng.uniform(-50, 50, 4000)
    off_axis = np.abs(azimuth)
    yaw = (-0.6 * azimuth + rng.normal(0, 8, 4000) + 180 * (rng.random(4000) < 0.04) + 180) % 360 - 180
    person = dict(
        yaw=yaw,
        root=np.where(off_axis < 10, 4.0, 7.0),
        mpjpe=off_axis,
        pa_mpjpe=off_axis,
        translation=np.where(off_axis < 25, 0.1, 0.3),
        depth=np.full(4000, -0.05),
    )
    found = claim.figures(person, azimuth, off_axis)
    assert found['yaw_slope'] == pytest.approx(-0.6, abs=0.02)
    assert found['root_on_axis'] == 4 and found['root_far'] == 7 and found['translation_far'] == 0.3
    assert found['flips_all'] == pytest.approx(0.04, abs=0.01) and found['depth_all'] == pytest.approx(-0.05)
    assert found['root_by_angle'].tolist() == [4] + [7] * (len(claim.EDGES) - 2)
    for k, (low, high) in enumerate(zip(claim.EDGES[:-1], claim.EDGES[1:-1], strict=False)):
        assert low < found['mpjpe_by_angle'][k] < high


def test_the_interval_over_seeds_is_students():
    found = claim.over_seeds([1.0, 2.0, 3.0])
    assert found['mean'] == 2 and found['high'] - 2 == pytest.approx(4.3027 / np.sqrt(3), abs=1e-4)
    assert found['low'] == pytest.approx(4 - found['high'])
    assert np.isnan(claim.over_seeds([np.arange(3.0)])['low']).all()


def test_borders_differ_only_beyond_the_image():
    """Black, mirrored, or the scene going on; people who are whole in the image are not touched."""
    options = dict(num_backgrounds=3, fov=(90.0, 120.0), negatives=0.0, inside=0.999, whole=True, everyday=True)
    samplers = {border: CropSampler(3, border=border, **options) for border in ('black', 'reflect', 'scene')}
    crossed = 0
    for _ in range(160):
        made = {border: sampler.sample() for border, sampler in samplers.items()}
        black, reflected, scene = (made[border][0] for border in ('black', 'reflect', 'scene'))
        labels = [label for _, label in made.values()]
        assert all(label == labels[0] for label in labels)
        seen = black.any(2)
        assert np.array_equal(reflected[seen], scene[seen])
        columns = np.flatnonzero(~seen.any(0))
        if not 2 <= len(columns) < 40 or np.ptp(columns) >= len(columns) or (columns[0] > 0 and columns[-1] < 95):
            continue
        crossed += 1
        assert not np.array_equal(reflected[:, columns], scene[:, columns])
        assert reflected[:, columns].any()
        x = (labels[0]['keypoints'][:, 0] + 0.375) * 128 - 0.5
        assert (x > columns[-1] - 1).all() if columns[0] == 0 else (x < columns[0] + 1).all()
        edge, inwards = (columns[-1], 1) if columns[0] == 0 else (columns[0], -1)
        steps = np.arange(1, len(columns))  # the mirror lies between two columns, or on one
        mirrored = [
            np.array_equal(reflected[:, edge - inwards * steps], reflected[:, edge + inwards * (steps + by)])
            for by in (0, 1, 2)
        ]
        assert any(mirrored)
    assert crossed >= 3


@pytest.mark.slow
def test_the_whole_experiment_runs_and_is_not_repeated(tmp_path):
    bench = load_bench()

    def run():
        return bench.report(bench.Experiment(tmp_path, shards=1, held_out=1, shard_size=60, workers=1), [0, 1], steps=4)

    first = run()
    assert first['settings']['held_out'] == 60 and len(first['cpu_seconds']) == 8
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path.is_file()}
    again = run()
    assert made == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path.is_file()}
    assert bench.tables(again) == bench.tables(first)
    assert bench.tables(first).count('\n') > 30 and set(first['bars'].values()) <= {True, False}


def load_bench():
    path = ROOT / 'bench' / 'why_cliff.py'
    spec = importlib.util.spec_from_file_location('why_cliff', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
