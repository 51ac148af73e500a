"""Checkpoints: every dialect recognized, everything else refused in a sentence, nothing ever executed."""

from __future__ import annotations

import os
import sys
import types

import pytest

torch = pytest.importorskip('torch', reason='checkpoints need the extra torch')
safetensors_torch = pytest.importorskip('safetensors.torch', reason='checkpoints need the extra torch')

from cliff_ros import cli
from cliff_ros.cliff import load_model
from cliff_ros.cliff.checkpoints import FORMAT, PUBLISHED, _names, _shapes, write_model
from cliff_ros.cliff.dialects import DIALECTS
from cliff_ros.errors import ModelError


def state_of(architecture) -> dict:
    """A full state dict in the dialect's names that takes no room: every tensor is one number, expanded."""
    shapes, prefix, number = _shapes(architecture), DIALECTS[architecture.dialect].prefix, torch.tensor(0.25)
    return {prefix + theirs: number.expand(shapes[ours]) for ours, theirs in _names(architecture).items()}


def saved(tmp_path, content, name='checkpoint.pt', **options):
    path = tmp_path / name
    torch.save(content, path, **options)
    return path


@pytest.fixture(scope='module')
def official():
    return state_of(PUBLISHED[0])


@pytest.mark.parametrize('architecture', PUBLISHED, ids='-'.join)
def test_recognized_from_its_tensors(architecture, tmp_path):
    form = DIALECTS[architecture.dialect]
    path = saved(tmp_path, {form.container: state_of(architecture), 'epoch': 5, 'step': 6095})
    model = load_model(path)
    assert (model.dialect, model.body) == (architecture.dialect, architecture.body)
    assert model.name == f'cliff_{architecture.encoder}'
    assert (model.spec.height, model.spec.width) == form.crop
    assert not model.training
    assert model.num_betas == (11 if architecture.body == 'smplx' else 10)


def test_prefix_and_container_may_be_missing(official, tmp_path):
    bare = {key.removeprefix('module.'): value for key, value in official.items()}
    assert load_model(saved(tmp_path, {'model': bare})).dialect == 'official'
    assert load_model(saved(tmp_path, bare)).dialect == 'official'
    old = saved(tmp_path, {'model': official}, _use_new_zipfile_serialization=False)
    assert load_model(old).dialect == 'official'


def test_bedlam_leftovers_are_ignored(tmp_path, monkeypatch):
    """The trainer leaves a configuration (a dict subclass), body buffers and unused layers in the file."""
    config = types.ModuleType('yacs.config')
    config.CfgNode = type('CfgNode', (dict,), {'__module__': 'yacs.config'})
    monkeypatch.setitem(sys.modules, 'yacs', types.ModuleType('yacs'))
    monkeypatch.setitem(sys.modules, 'yacs.config', config)
    settings = config.CfgNode(BACKBONE='hrnet_w48-conv')
    settings.frozen = True
    extra = (
        'model.backbone.final_layer.weight',
        'model.head.downsample_module.0.weight',
        'model.smpl.smplx.v_template',
        'smplx.betas',
        'J_regressor',
    )
    state = state_of(PUBLISHED[2]) | {key: torch.zeros(3) for key in extra}
    path = saved(tmp_path, {'state_dict': state, 'hyper_parameters': {'MODEL': settings}}, 'bedlam.ckpt')
    monkeypatch.undo()
    assert load_model(path).dialect == 'bedlam'


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda s: s.pop('module.fc1.weight'), ('official dialect', 'resnet50', 'fc1.weight, which is missing')),
        (lambda s: s.update({'module.fc3.weight': torch.zeros(2)}), ('fc3.weight, which is unknown',)),
        (lambda s: s.update({'module.deccam.bias': torch.zeros(4)}), ('deccam.bias', '(4,) instead of (3,)')),
        (lambda s: [s.pop(key) for key in list(s) if '.layer4.' in key], ('and', 'more')),
    ],
)
def test_what_fits_none_is_refused_with_the_nearest(official, tmp_path, change, words):
    state = dict(official)
    change(state)
    with pytest.raises(ModelError) as caught:
        load_model(saved(tmp_path, {'model': state}))
    for word in words:
        assert word in str(caught.value)
    assert '\n' not in str(caught.value)


def test_weights_must_be_finite(official, tmp_path):
    state = official | {'module.fc1.bias': torch.full((1024,), torch.nan)}
    with pytest.raises(ModelError, match='fc1.bias.*not finite'):
        load_model(saved(tmp_path, {'model': state}))


@pytest.mark.parametrize('content', [[1, 2], {'model': 3}, {'state_dict': {'epoch': 1}}, 7])
def test_other_content_is_refused(content, tmp_path):
    with pytest.raises(ModelError, match='not a CLIFF checkpoint'):
        load_model(saved(tmp_path, content))


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('notes.pt', b'these are notes, not weights'),
        ('empty.ckpt', b''),
        ('empty.safetensors', b''),
        ('notes.safetensors', b'these are notes, not weights'),
    ],
)
def test_other_files_are_refused(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=name):
        load_model(path)


def test_half_a_file_is_refused(official, tmp_path):
    path = saved(tmp_path, {'model': official})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match='damaged'):
        load_model(path)


def test_missing_file():
    with pytest.raises(ModelError, match="no checkpoint at 'nowhere.pt'"):
        load_model('nowhere.pt')


class Evil:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('where', ['inside', 'alone'])
def test_malicious_checkpoint_runs_nothing_and_is_refused_by_name(official, tmp_path, where, zipped):
    marker = tmp_path / 'was_here'
    evil = Evil(os.system, f'touch {marker}')
    content = evil if where == 'alone' else {'model': official, 'callbacks': [evil]}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=f"{os.system.__module__}.system'.*refused"):
        load_model(path)
    assert not marker.exists()


def test_allowed_stand_in_cannot_call(tmp_path, monkeypatch):
    """What the configuration's stand-in lets through is a plain dictionary, not its code."""
    config = types.ModuleType('yacs.config')
    marker = tmp_path / 'was_here'

    class CfgNode(dict):
        def __setstate__(self, state):
            marker.touch()

    CfgNode.__module__, CfgNode.__qualname__ = 'yacs.config', 'CfgNode'
    config.CfgNode = CfgNode
    monkeypatch.setitem(sys.modules, 'yacs', types.ModuleType('yacs'))
    monkeypatch.setitem(sys.modules, 'yacs.config', config)
    node = CfgNode()
    node.attribute = 1
    with pytest.raises(ModelError, match='not a CLIFF checkpoint'):
        load_model(saved(tmp_path, {'hyper_parameters': node}))
    assert not marker.exists()


def test_an_unsafe_torch_opens_no_checkpoint(official, tmp_path, monkeypatch):
    """CVE-2025-32434: up to 2.5.1 weights_only=True did not hold."""
    path = saved(tmp_path, {'model': official})
    monkeypatch.setattr(torch, '__version__', torch.torch_version.TorchVersion('2.5.1+cpu'))
    with pytest.raises(ModelError, match='not opened.*2.5.1.*CVE-2025-32434.*torch>=2.6'):
        load_model(path)


def test_own_format_round_trip(official, tmp_path):
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.rand(value.shape, generator=generator) for key, value in official.items()}
    model = load_model(saved(tmp_path, {'model': state}))
    path = tmp_path / 'model.safetensors'
    assert 'research' in model.licence  # of the published weights
    model.licence = 'all rights reserved'
    write_model(model, path, 'checkpoint.pt', 'ab12')
    again = load_model(path)
    for attribute in ('dialect', 'body', 'name', 'spec', 'licence'):
        assert getattr(again, attribute) == getattr(model, attribute)
    for key, tensor in model.state_dict().items():
        assert again.state_dict()[key].equal(tensor), key
    assert not again.training


@pytest.mark.parametrize(
    ('metadata', 'words'),
    [
        ({}, 'cliff convert'),
        ({'format': FORMAT, 'dialect': 'klingon', 'encoder': 'resnet50', 'body': 'smpl'}, 'cliff convert'),
        ({'format': FORMAT, 'dialect': 'official', 'encoder': 'resnet50', 'body': 'smpl'}, 'damaged'),
    ],
)
def test_other_safetensors_are_refused(metadata, words, tmp_path):
    path = tmp_path / 'other.safetensors'
    safetensors_torch.save_file({'x': torch.zeros(3)}, path, metadata)
    with pytest.raises(ModelError, match=words):
        load_model(path)


def test_convert_command(official, tmp_path, capsys):
    source = saved(tmp_path, {'model': official})
    target = tmp_path / 'made' / 'model.safetensors'
    assert cli.main(['convert', str(source), str(target)]) == 0
    assert 'official dialect' in capsys.readouterr().out
    assert load_model(target).dialect == 'official'
    for arguments, words in (
        ([str(tmp_path / 'absent.pt'), str(target)], 'no file'),
        ([str(source), str(tmp_path / 'x.onnx')], 'TARGET'),
        ([str(target), str(target)], 'same file'),
        ([str(source), str(target), '--h36m', 'x.npy'], '--h36m'),
    ):
        assert cli.main(['convert', *arguments]) == 2
        assert words in capsys.readouterr().err
