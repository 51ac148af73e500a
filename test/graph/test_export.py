"""The exported graph is the network, the body and the camera: the same numbers as PyTorch and smplx' format."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch, onnx = pytest.importorskip('torch'), pytest.importorskip('onnx')

from cliff_ros import assets
from cliff_ros.body import load_body
from cliff_ros.cliff import load_model
from cliff_ros.cliff.embedded import EmbeddedCliff, load_embedded, round_to_half
from cliff_ros.crop.translation import full_translation
from cliff_ros.engine import load_engine
from cliff_ros.errors import ModelError
from cliff_ros.graph.export import HALF_SUFFIX, RuntimeGraph, export_graph, read_weights
from cliff_ros.graph.metadata import METADATA_KEY
from cliff_ros.training.losses import Skeleton, losses, mirror


def inputs(people: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(people)
    crops = rng.integers(0, 256, (people, 128, 96, 3), dtype=np.uint8)
    location = np.column_stack([rng.uniform(-0.5, 0.5, (people, 2)), rng.uniform(0.1, 1.2, people)])
    return crops, location.astype(np.float32)


@pytest.fixture(scope='module')
def random_model():
    """A network with random weights and batch norms that do something."""
    torch.manual_seed(0)
    model = EmbeddedCliff()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.regressor.leave.weight.data.normal_(0, 0.05)
    return round_to_half(model).eval()


def test_the_shipped_graph_agrees_with_pytorch_and_the_body():
    engine, model, body = load_engine('embedded', 'onnx'), load_model('embedded'), load_body()
    assert engine.metadata.body_sha256 == body.sha256
    for people in (1, 3, 8):
        crops, location = inputs(people)
        out = engine(crops, location)
        with torch.no_grad():
            rotations, betas, camera = model(
                model.normalize(torch.from_numpy(crops)), model.bbox_info(torch.from_numpy(location))
            )
        assert np.abs(out['rotations'] - rotations.numpy()).max() < 1e-4
        assert np.abs(out['betas'] - betas.numpy()).max() < 1e-4
        assert np.abs(out['camera'] - camera.numpy()).max() < 1e-4
        joints, vertices = body(out['betas'], out['rotations'], out['translation'])
        assert np.abs(out['joints'] - joints).max() < 1e-5
        assert np.abs(out['vertices'] - vertices).max() < 1e-5
        translation = full_translation(camera, torch.from_numpy(location))
        assert np.abs(out['translation'] / translation.numpy() - 1).max() < 1e-4


def test_weights_survive_the_graph(random_model, tmp_path):
    path = tmp_path / 'graph.onnx'
    metadata = export_graph(random_model, load_body(), path, note='a test')
    assert metadata.more['note'] == 'a test'
    large = [
        tensor
        for tensor in onnx.load(str(path)).graph.initializer
        if tensor.name.startswith('encoder.') and np.prod(tensor.dims) >= 1024
    ]
    assert large and all(tensor.name.endswith(HALF_SUFFIX) for tensor in large)  # rounded before: half the file
    again = load_embedded(path)
    for name, value in random_model.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(again.state_dict()[name], value), name
    crops, location = inputs(2)
    out = load_engine(path, 'onnx')(crops, location)
    with torch.no_grad():
        wanted = RuntimeGraph(random_model, load_body())(torch.from_numpy(crops), torch.from_numpy(location))
    for value, reference in zip(out.values(), wanted, strict=True):
        np.testing.assert_allclose(value, reference.numpy(), rtol=1e-5, atol=1e-4)


def test_a_graph_of_something_else_is_no_embedded_network(tmp_path):
    weights = read_weights(assets.NETWORK)
    proto = onnx.load(str(assets.NETWORK))
    del proto.graph.initializer[:]
    del proto.metadata_props[:]
    onnx.save(proto, str(tmp_path / 'empty.onnx'))
    assert len(weights) > 50
    with pytest.raises(ModelError, match='lacks the weights'):
        load_embedded(tmp_path / 'empty.onnx')


def test_the_shipped_files_are_small_and_say_what_they_are():
    metadata = {p.key: p.value for p in onnx.load(str(assets.NETWORK)).metadata_props}
    assert json.loads(metadata[METADATA_KEY])['licence'] == 'Apache-2.0'
    assert sum(f.stat().st_size for f in assets.NETWORK.parent.glob('*.onnx')) < 15e6


def test_the_training_skeleton_is_the_body():
    body, rng = load_body(), np.random.default_rng(0)
    betas = rng.normal(size=(4, 10)).astype(np.float32)
    rotations = np.linalg.qr(rng.normal(size=(4, 24, 3, 3)))[0].astype(np.float32)
    rotations *= np.linalg.det(rotations)[..., None, None]
    joints = Skeleton(body)(torch.from_numpy(betas), torch.from_numpy(rotations)).numpy()
    assert np.abs(joints - body.joints(betas, rotations, np.zeros((4, 3)))).max() < 1e-5


def test_the_loss_of_the_truth_is_zero_and_mirroring_twice_is_nothing():
    body, rng = load_body(), np.random.default_rng(1)
    skeleton, n = Skeleton(body), 3
    rotations = np.linalg.qr(rng.normal(size=(n, 24, 3, 3)))[0]
    rotations = torch.from_numpy((rotations * np.linalg.det(rotations)[..., None, None]).astype(np.float32))
    location = torch.tensor([[0.2, -0.1, 0.5]] * n)
    camera = torch.tensor([[1.0, 0.05, -0.1]] * n)
    truth = dict(
        rotations=rotations, betas=torch.zeros(n, 10), location=location, translation=full_translation(camera, location)
    )
    total, parts = losses(rotations, truth['betas'], camera, truth, skeleton)
    assert total < 1e-5, parts
    flip = torch.ones(n, dtype=torch.bool)
    back = mirror(mirror(truth, flip), flip)
    assert all(torch.allclose(back[name], truth[name], atol=1e-6) for name in truth)
    # a mirrored person's joints are the mirrored joints (the body is symmetric to a few millimeters)
    mirrored = mirror(truth, flip)
    from cliff_ros.body import MIRROR

    a = skeleton(truth['betas'], rotations)[:, torch.from_numpy(MIRROR)] * torch.tensor([-1.0, 1, 1])
    assert (skeleton(mirrored['betas'], mirrored['rotations']) - a).abs().max() < 0.02
