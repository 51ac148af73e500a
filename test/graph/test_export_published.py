"""The published networks as runtime graphs: uint8 crops in, what the authors' code computes out."""

from __future__ import annotations

import numpy as np
import pytest

torch, onnx = pytest.importorskip('torch'), pytest.importorskip('onnx')

import published

from cliff_ros import cli
from cliff_ros.body import BodyModel, load_body
from cliff_ros.cliff.checkpoints import write_model
from cliff_ros.cliff.network import Cliff, build
from cliff_ros.engine import load_engine
from cliff_ros.errors import InputError
from cliff_ros.graph.export import export_graph


def smplx_sized_body() -> BodyModel:
    """As many vertices and betas as SMPL-X has, with pose correctives, on SMPL's tree."""
    embedded, rng = load_body(), np.random.default_rng(0)
    of = rng.integers(0, embedded.num_vertices, 10_475)
    regressor = np.zeros((24, 10_475))
    regressor[np.arange(24), rng.integers(0, 10_475, 24)] = 1
    return BodyModel.from_arrays(
        {
            'v_template': embedded.v_template[of],
            'shapedirs': rng.normal(0, 0.01, (10_475, 3, 300)),
            'posedirs': rng.normal(0, 1e-3, (10_475, 3, 207)),
            'weights': embedded.weights[of],
            'J_regressor': regressor,
            'kintree_table': np.stack([embedded.parents, np.arange(24)]),
            'f': np.zeros((1, 3), int),
        },
        name='as large as SMPL-X',
    )


@pytest.fixture(scope='module')
def smplx_network() -> Cliff:
    torch.manual_seed(0)
    return build('bedlam', 'hrnet_w48_pose', 'smplx').eval()


@pytest.mark.parametrize(
    ('name', 'batches'),
    [
        ('official_resnet50', (1, 3, 8)),
        pytest.param('official_hrnet_w48', (1, 3), marks=pytest.mark.slow),
        pytest.param('bedlam_smplx', (1, 3), marks=pytest.mark.slow),
        pytest.param('mmhuman3d_resnet50', (8,), marks=pytest.mark.slow),
    ],
)
def test_the_graph_gives_what_the_authors_code_gives(name, batches, tmp_path):
    model, expected = published.load(name, tmp_path), published.results(name)
    body = load_body() if model.body == 'smpl' else smplx_sized_body()
    path = tmp_path / 'graph.onnx'
    metadata = export_graph(model, body, path)
    assert (metadata.model, metadata.dialect) == (model.name, model.dialect)
    engine = load_engine(path, 'onnx', threads=1)
    assert engine.spec == model.spec
    worst = dict.fromkeys(('rotations', 'betas', 'camera', 'body'), 0.0)
    for batch in batches:
        crops, location = published.inputs(model, batch, int(expected['seed']))
        got = engine(crops, location)
        want = {key: expected[f'{key}_{batch}'] for key in ('rotations', 'betas', 'camera', 'translation')}
        # The graph's s refers to the crop's height; theirs to the box that they call the size.
        want['camera'] = want['camera'] * [model.conventions.side, 1, 1]
        regressed = want['rotations'].shape[1]
        assert np.array_equal(
            got['rotations'][:, regressed:], np.broadcast_to(np.eye(3), (batch, 24 - regressed, 3, 3))
        )
        got['rotations'], full = got['rotations'][:, :regressed], got['rotations']
        for key in ('rotations', 'betas', 'camera'):
            worst[key] = max(worst[key], np.abs(got[key] - want[key]).max())
        np.testing.assert_allclose(got['translation'], want['translation'], rtol=2e-4, atol=2e-4)
        joints, vertices = body(got['betas'], full, got['translation'])
        for key, value in (('joints', joints), ('vertices', vertices)):
            # Random weights may put people 150 m away, where a float32 is coarser than a hundredth of a millimeter.
            coarse = 2 * np.spacing(np.abs(value))
            worst['body'] = max(worst['body'], (np.abs(got[key] - value) - coarse).max())
    assert max(worst['rotations'], worst['betas'], worst['camera']) <= 1e-4, worst
    assert worst['body'] <= 1e-5, worst  # m


def test_betas_are_refused_a_body_of_the_other_kind(smplx_network, tmp_path, capsys):
    path = tmp_path / 'graph.onnx'
    with pytest.raises(InputError, match='regresses smplx.*6890 vertices: give the body'):
        export_graph(smplx_network, load_body(), path)
    with pytest.raises(InputError, match='regresses smpl,.*10475 vertices'):
        export_graph(build('official', 'resnet50'), smplx_sized_body(), path)
    write_model(smplx_network, tmp_path / 'bedlam.safetensors')
    assert cli.main(['export', str(tmp_path / 'bedlam.safetensors'), str(path)]) == 2
    assert 'regresses smplx' in capsys.readouterr().err
    assert not path.exists() and not list(tmp_path.glob('*.partial*'))
