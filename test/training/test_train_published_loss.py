"""Training CLIFF's networks: what a configuration may say, and the loss against figures by hand."""

from __future__ import annotations

from dataclasses import fields

import pytest
import yaml
from places import ROOT

torch = pytest.importorskip('torch')

from cliff_ros.body import load_body
from cliff_ros.errors import InputError
from cliff_ros.training.published.config import (
    Augmentation,
    DataSource,
    LossWeights,
    TrainingConfig,
    Validation,
    load_config,
)
from cliff_ros.training.published.objective import Keypoints, anchors_of, objective

# ---- configuration


@pytest.mark.parametrize('name', sorted(path.stem for path in (ROOT / 'config/training').glob('*.yaml')))
def test_shipped_configurations_are_valid(name) -> None:
    config = load_config(name)
    assert config.data and config.output.startswith('out/')
    if name == 'real_data':
        assert [source.weight for source in config.data] == [0.4, 0.1, 0.2, 0.1, 0.2]


@pytest.mark.parametrize(
    'text, sentence',
    [
        ('netwrok: resnet50', "no option 'netwrok': did you mean 'network'"),
        ('losses: {poses: 1}', "no option 'losses.poses': did you mean 'pose'"),
        ('data: [{kind: synthetic, wieght: 1}]', r"no option 'data\[0\].wieght': did you mean 'weight'"),
        ('xyz: 1', "no option 'xyz': there are network, output"),
        ('network: resnet', "'network' must be one of .*did you mean 'resnet50'"),
        ('steps: many', "'steps' must be a whole number, not 'many'"),
        ('steps: 0', "'steps' must lie in 1 .. "),
        ('location: 1', "'location' must be true or false"),
        ('augmentation: {flip: 2}', "'augmentation.flip' must lie in 0 .. 1"),
        ('losses: 3', "'losses' must hold keys"),
        ('data: {kind: synthetic}', "'data' must be a list"),
        ('data: []', "'data' is empty"),
        ('data: [{kind: synthetic, weight: 0}]', "every weight in 'data' is 0"),
        ('data: [{kind: bedlam, images: a}]', r"'data\[0\].labels' is missing"),
        ('data: [{kind: synthetic, labels: a}]', 'has no meaning for synthetic people'),
        ('data: [{kind: 3dpw, labels: a, images: b, turn: 45}]', 'must be 0, 90, 180 or 270'),
        ('initial_network: a.pt\ninitial_backbone: b.pth\ndata: [{kind: synthetic}]', 'already has an encoder'),
        ('network: embedded\nlocation: false\ndata: [{kind: synthetic}]', 'without location'),
        ('weight_decay: 0.1\ndata: [{kind: synthetic}]', 'belongs to optimizer: adamw'),
        ('- a', 'holds no options'),
        ('a: [', 'is not YAML'),
    ],
)
def test_wrong_configurations_are_refused_in_a_sentence(tmp_path, text, sentence) -> None:
    (tmp_path / 'wrong.yaml').write_text(text)
    with pytest.raises(InputError, match=sentence):
        load_config(tmp_path / 'wrong.yaml')


def test_configurations_are_found_changed_and_typed(tmp_path) -> None:
    config = load_config('cliff_resnet50', {'steps': 5, 'losses.pose': 2, 'augmentation.flip': 0})
    assert (config.steps, config.losses.pose, config.augmentation.flip) == (5, 2.0, 0.0)
    (tmp_path / 'my.yaml').write_text('learning_rate: 1e-4\nclip: 3\ndata:\n- {kind: synthetic}\n')
    config = load_config(tmp_path / 'my.yaml')
    assert config.learning_rate == 1e-4 and config.clip == 3.0 and type(config.clip) is float
    with pytest.raises(InputError, match='one of: cliff_hrnet_w48, cliff_resnet50, embedded, real_data'):
        load_config('cliff_resnet')
    with pytest.raises(InputError, match='cannot read'):
        load_config(tmp_path / 'none.yaml')


def test_every_option_is_documented_with_its_default() -> None:
    text = (ROOT / 'docs/training.md').read_text()
    for kind in (TrainingConfig, LossWeights, Augmentation, DataSource, Validation):
        for field in fields(kind):
            spec = field.metadata['spec']
            default = '' if spec.group or spec.items else yaml.safe_dump(field.default).split('\n')[0].strip("'")
            default = '0.0001' if default == '1.0e-04' else default
            assert f'| `{field.name}` | {default} | {spec.description}' in text, f'{kind.__name__}.{field.name}'


# ---- loss


def people(count: int = 3) -> dict[str, torch.Tensor]:
    """Truth of people off the axis, exactly as their 3D joints say."""
    generator = torch.Generator().manual_seed(0)
    keypoints = Keypoints(load_body())
    rotations, _ = torch.linalg.qr(torch.eye(3) + 0.3 * torch.randn(count, 24, 3, 3, generator=generator))
    rotations = rotations * torch.linalg.det(rotations)[..., None, None]
    rotations[:, 0] = torch.diag(torch.tensor([1.0, -1, -1])) @ rotations[:, 0]
    betas = torch.randn(count, 10, generator=generator) * 0.5
    translation = torch.tensor([[1.0, 0.2, 3.0], [-2.0, 0, 4], [0.5, -0.5, 5]])[:count]
    points = keypoints(betas, rotations) + translation[:, None]
    image = points[..., :2] / points[..., 2:]
    location = torch.cat([image.mean(1), torch.full((count, 1), 0.6)], 1)
    one = torch.ones(count)
    return dict(
        rotations=rotations,
        betas=betas,
        joints=points[:, :24],
        location=location,
        keypoints=(image - location[:, None, :2]) / 0.6,
        confidence=torch.ones(count, 29),
        betas_known=one,
        rotations_known=torch.ones(count, 24),
        joints_known=torch.ones(count, 24),
        placed=one,
        translation=translation,
    )


def camera_of(truth: dict[str, torch.Tensor]) -> torch.Tensor:
    """(s, tx, ty) that puts the person at the true translation: the paper's equation 4, solved."""
    t, location = truth['translation'], truth['location']
    return torch.stack(
        [2 / (location[:, 2] * t[:, 2]), t[:, 0] - location[:, 0] * t[:, 2], t[:, 1] - location[:, 1] * t[:, 2]], 1
    )


def test_the_truth_has_no_loss() -> None:
    truth = people()
    _, parts = objective(
        truth['rotations'], truth['betas'], camera_of(truth), truth, Keypoints(load_body()), LossWeights()
    )
    for name in ('reprojection', 'joints', 'pose', 'betas'):
        assert parts[name] < 1e-10, name


def test_losses_by_hand() -> None:
    truth, keypoints = people(2), Keypoints(load_body())
    rotations, betas, camera = truth['rotations'].clone(), truth['betas'] + 0.5, camera_of(truth)
    rotations[0, 5] = -rotations[0, 5]
    camera[:, 1] += 0.1  # everybody 0.1 m to the right
    weights = LossWeights(reprojection=2.0, joints=3.0, pose=5.0, betas=7.0, scale=11.0)
    total, parts = objective(rotations, betas, camera, truth, keypoints, weights)
    # 4 x the squares of a rotation matrix (3), over its 9 elements, in one of 48 rotations
    assert parts['pose'].item() == pytest.approx(4 * 3 / 9 / 48, rel=1e-5)
    assert parts['betas'].item() == pytest.approx(0.25, rel=1e-5)
    assert parts['scale'].item() == pytest.approx(torch.exp(-10 * camera[:, 0]).square().mean().item(), rel=1e-4)
    # pixels of a camera with f = 1000, divided by the box size, 600 pixels
    points = keypoints(betas, rotations) + truth['translation'][:, None] + torch.tensor([0.1, 0, 0])
    pixels = 1000 * points[..., :2] / points[..., 2:]
    wanted = 1000 * (truth['keypoints'] * 0.6 + truth['location'][:, None, :2])
    assert parts['reprojection'].item() == pytest.approx(((pixels - wanted) / 600).square().mean().item(), rel=1e-4)
    joints = keypoints(betas, rotations)[:, :24]
    mine, true = joints - joints[:, 1:3].mean(1)[:, None], truth['joints'] - truth['joints'][:, 1:3].mean(1)[:, None]
    assert parts['joints'].item() == pytest.approx((mine - true).square().mean().item(), rel=1e-4)
    assert total.item() == pytest.approx(sum(getattr(weights, k) * v.item() for k, v in parts.items()), rel=1e-5)


def test_crop_loss_is_blind_to_the_place_in_the_frame() -> None:
    truth, keypoints = people(2), Keypoints(load_body())
    camera = torch.tensor([[0.8, 0.1, 0.2], [1.1, -0.2, 0]])
    arguments = (truth['rotations'], truth['betas'], camera)
    elsewhere = truth | {'location': truth['location'] + torch.tensor([0.5, 0.3, 0.2])}
    weights = LossWeights()

    def reprojection(target, full_frame):
        return objective(*arguments, target, keypoints, weights, full_frame)[1]['reprojection'].item()

    assert reprojection(truth, False) == pytest.approx(reprojection(elsewhere, False), rel=1e-4)
    assert abs(reprojection(truth, True) - reprojection(elsewhere, True)) > 1e-3
    # HMR's camera: f = 5000 px at 224 px, tz = 2 f / (224 s)
    points = keypoints(truth['betas'], truth['rotations'])
    tz = 2 * 5000 / (224 * camera[:, :1])
    pixels = 5000 * (points[..., :2] + camera[:, None, 1:]) / (points[..., 2] + tz)[..., None]
    wanted = (pixels / 224 - truth['keypoints']).square().mean()
    assert reprojection(truth, False) == pytest.approx(wanted.item(), rel=1e-3)


def test_what_is_not_known_is_not_learned() -> None:
    truth, keypoints = people(2), Keypoints(load_body())
    unknown = {
        name: torch.zeros_like(value) if name.endswith('known') or name == 'confidence' else value
        for name, value in truth.items()
    }
    wrong = torch.eye(3).repeat(2, 24, 1, 1).requires_grad_()
    betas, camera = torch.ones(2, 10, requires_grad=True), torch.tensor([[1.0, 0, 0]] * 2)
    total, _ = objective(wrong, betas, camera, unknown, keypoints, LossWeights(scale=0.0))
    total.backward()
    assert total == 0 and not wrong.grad.any() and not betas.grad.any()
    half = truth | {'confidence': torch.tensor([[1.0] * 29, [0.0] * 29])}
    _, parts = objective(wrong, betas, camera, half, keypoints, LossWeights())
    first = {name: value[:1] for name, value in truth.items()}
    _, alone = objective(wrong[:1], betas[:1], camera[:1], first, keypoints, LossWeights())
    assert parts['reprojection'].item() == pytest.approx(alone['reprojection'].item(), rel=1e-5)


def test_joints_without_hips_are_compared_about_their_own_mean() -> None:
    known = torch.zeros(3, 24)
    known[0], known[1, [4, 5, 7, 8]], known[2, 4] = 1, 1, 1
    anchors = anchors_of(known)
    assert anchors[0].nonzero().flatten().tolist() == [1, 2]
    assert torch.allclose(anchors[1, [4, 5, 7, 8]], torch.tensor(0.25)) and anchors.sum(1).tolist() == [1, 1, 0]
