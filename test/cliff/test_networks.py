"""The networks: as published, as the authors compute them, collapsed, and ready for export."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

torch = pytest.importorskip('torch', reason='networks need the extra torch')

import published

from cliff_ros.cliff.checkpoints import PUBLISHED, _names, _shapes
from cliff_ros.cliff.dialects import DIALECTS
from cliff_ros.cliff.network import InferenceHead, build
from cliff_ros.cliff.regressor import Regressor
from cliff_ros.cliff.rotation import matrix_from_6d, matrix_to_6d


@pytest.mark.parametrize(
    ('architecture', 'tensors', 'parameters', 'encoder'),
    [(PUBLISHED[0], 331, 26_980_573, 23_508_032), (PUBLISHED[1], 1967, 78_893_405, 75_420_864)],
)
def test_sizes_are_those_of_the_published_networks(architecture, tensors, parameters, encoder):
    with torch.device('meta'):
        model = build(*architecture)
    assert len(model.state_dict()) == tensors
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(p.numel() for p in model.encoder.parameters()) == encoder


def test_tensors_have_the_published_names():
    resnet, hrnet, pose = (set(_names(PUBLISHED[i]).values()) for i in (0, 1, 2))
    for names in (resnet, hrnet):
        assert {'init_pose', 'fc1.weight', 'fc2.bias', 'decpose.weight', 'deccam.bias'} <= names
        assert 'encoder.bn1.running_var' in names
    assert {'encoder.layer1.0.downsample.1.running_mean', 'encoder.layer4.2.conv3.weight'} <= resnet
    assert {
        'encoder.transition1.0.0.weight',
        'encoder.transition1.1.0.1.bias',
        'encoder.transition3.3.0.0.weight',
        'encoder.stage2.0.branches.1.3.bn2.weight',
        'encoder.stage2.0.fuse_layers.0.1.0.weight',
        'encoder.stage4.2.fuse_layers.3.0.2.1.running_var',
        'encoder.incre_modules.3.0.downsample.0.weight',
        'encoder.downsamp_modules.2.0.bias',
        'encoder.final_layer.0.bias',
    } <= hrnet
    assert {
        'backbone.downsample_stage_1.6.weight',
        'backbone.downsample_stage_3.1.running_var',
        'head.fc1.weight',
    } <= pose
    assert _shapes(PUBLISHED[0])['regressor.fc1.weight'] == (1024, 2208)
    assert _shapes(PUBLISHED[2])['regressor.fc1.weight'] == (1024, 720 + 3 + 132 + 11 + 3)
    assert _shapes(PUBLISHED[3])['regressor.fc1.weight'] == (1024, 720 + 3 + 144 + 10 + 3)


@pytest.mark.slow
@pytest.mark.parametrize('name', published.AUTHORS)
def test_agrees_with_the_authors_code(name, tmp_path):
    """Seeded weights in the authors' layout, through load_model, against what their own code made of them."""
    (dialect, encoder, body), _, batches = published.AUTHORS[name]
    form, expected, model = DIALECTS[dialect], published.results(name), published.load(name, tmp_path)
    assert (model.dialect, model.name, model.body) == (dialect, f'cliff_{encoder}', body)
    head = InferenceHead(model)
    for batch in batches:
        crops, location = map(torch.from_numpy, published.inputs(model, batch, int(expected['seed'])))
        bbox_info = model.bbox_info(location)
        with torch.no_grad():
            features = model.encoder(model.normalize(crops))
            rotations, betas, camera = model.features_to_parameters(features, bbox_info)
            collapsed = head(features, location)
        outputs = 'rotations', 'betas', 'camera', 'bbox_info', 'translation'
        want = {key: expected[f'{key}_{batch}'] for key in outputs}
        regressed = want['rotations'].shape[1]
        np.testing.assert_allclose(bbox_info, want['bbox_info'], atol=1e-5)
        np.testing.assert_allclose(rotations[:, :regressed], want['rotations'], atol=1e-4)
        assert rotations[:, regressed:].equal(torch.eye(3).expand(batch, 24 - regressed, 3, 3))
        np.testing.assert_allclose(betas, want['betas'], atol=1e-4)
        np.testing.assert_allclose(camera, want['camera'], atol=1e-4)

        scale = torch.tensor([form.side, 1, 1])
        for got, loop in zip(collapsed, (rotations, betas, camera * scale), strict=True):
            np.testing.assert_allclose(got, loop, atol=1e-4)
        translation = _translation(collapsed[2], location)
        np.testing.assert_allclose(translation, want['translation'], rtol=2e-4, atol=2e-4)


def _translation(camera, location):
    depth = 2 / (location[:, 2:] * camera[:, :1])
    return torch.cat([camera[:, 1:] + location[:, :2] * depth, depth], 1)


@pytest.mark.parametrize(('num_joints', 'num_betas'), [(24, 10), (22, 11)])
def test_collapsed_regressor_is_the_loop(num_joints, num_betas):
    torch.manual_seed(0)
    regressor = Regressor(64, num_joints, num_betas, width=128).eval()
    for decoder in (regressor.decpose, regressor.decshape, regressor.deccam):
        torch.nn.init.normal_(decoder.weight, std=0.05)
    features, bbox_info = torch.randn(5, 64), torch.randn(5, 3)
    with torch.no_grad():
        loop = torch.cat(regressor(features, bbox_info), 1)
        collapsed = regressor.collapse()(torch.cat([features, bbox_info], 1))
    assert (loop - collapsed).abs().max() <= 1e-5
    means = regressor.init_pose, regressor.init_shape, regressor.init_cam
    assert (loop - torch.cat(means, 1)).abs().max() > 0.1


def test_training_drops_out_and_every_parameter_learns():
    torch.manual_seed(0)
    regressor = Regressor(32, width=64).train()
    inputs = torch.randn(4, 32), torch.randn(4, 3)
    first, second = (torch.cat(regressor(*inputs), 1) for _ in range(2))
    assert (first - second).abs().max() > 0
    first.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in regressor.parameters())


@given(arrays(np.float32, (3, 6), elements=st.floats(-4, 4, width=32)))
def test_6d_makes_rotations(sixd):
    columns = sixd.reshape(-1, 3, 2).astype(np.float64)
    area = np.linalg.norm(np.cross(columns[..., 0], columns[..., 1]), axis=-1)
    rotation = matrix_from_6d(torch.from_numpy(sixd)).numpy()
    assert np.isfinite(rotation).all()
    good = area > 0.05
    np.testing.assert_allclose(
        rotation[good] @ rotation[good].transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotation[good].shape), atol=1e-4
    )
    np.testing.assert_allclose(np.linalg.det(rotation[good]), 1, atol=1e-4)
    again = matrix_from_6d(matrix_to_6d(torch.from_numpy(rotation))).numpy()
    np.testing.assert_allclose(again[good], rotation[good], atol=1e-4)


def test_6d_is_interleaved():
    assert matrix_from_6d(torch.tensor([1.0, 0, 0, 1, 0, 0])).equal(torch.eye(3))
    # first column = elements 0, 2, 4: here y; second = elements 1, 3, 5: here z
    rotation = matrix_from_6d(torch.tensor([0.0, 0, 2, 0, 0, 3]))
    assert rotation.equal(torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]))


@settings(deadline=None)
@given(st.sampled_from(sorted(DIALECTS)), arrays(np.float64, (2, 3), elements=st.floats(-1, 1)))
def test_bbox_info_is_the_same_in_numpy_and_torch_and_affine(name, location):
    form = DIALECTS[name]
    info = form.bbox_info(location)
    np.testing.assert_allclose(info, form.bbox_info(torch.from_numpy(location)).numpy(), atol=1e-12)
    np.testing.assert_allclose(info, location * form.location_scale + form.location_offset, atol=1e-12)


def test_official_bbox_info_by_hand():
    # center 110 px right of and 55 px above the middle, 440 px high, f = 1100 px
    info = DIALECTS['official'].bbox_info(np.array([[0.1, -0.05, 0.4]]))
    np.testing.assert_allclose(info, [[0.28, -0.14, (0.4 - 0.24) / 0.06]], atol=1e-12)


def test_head_exports_with_a_free_batch(tmp_path):
    """The collapsed head through ONNX: what follows the encoder in every exported graph."""
    ort = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    torch.manual_seed(0)
    head = InferenceHead(build('bedlam', 'hrnet_w48_pose', 'smplx')).eval()
    path = tmp_path / 'head.onnx'
    inputs = ['features', 'location']
    torch.onnx.export(
        head,
        (torch.randn(2, 720), torch.randn(2, 3)),
        path,
        dynamo=False,
        opset_version=17,
        input_names=inputs,
        dynamic_axes={name: {0: 'batch'} for name in inputs},
    )
    session = ort.InferenceSession(path, providers=['CPUExecutionProvider'])
    for size in (1, 3, 8):
        features, location = torch.randn(size, 720), torch.rand(size, 3)
        got = session.run(None, {'features': features.numpy(), 'location': location.numpy()})
        for ours, theirs in zip(head(features, location), got, strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-5)
