"""Training CLIFF's networks end to end: first weights, and trainings that really run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import published
import pytest
import yaml
from places import ROOT

torch = pytest.importorskip('torch')
pytest.importorskip('onnx')
pytest.importorskip('safetensors')

from cliff_ros import cli
from cliff_ros.body import load_body
from cliff_ros.cliff import load_model
from cliff_ros.cliff.dialects import DIALECTS
from cliff_ros.cliff.network import Cliff, build
from cliff_ros.errors import InputError, ModelError
from cliff_ros.synthetic import crops
from cliff_ros.track.so3 import log
from cliff_ros.training.averaging import AveragedWeights
from cliff_ros.training.published.config import (
    Augmentation,
    DataSource,
    TrainingConfig,
    Validation,
    changed,
    load_config,
)
from cliff_ros.training.published.crop_sources import Rendered, Rendering, render_missing, stream_seed
from cliff_ros.training.published.logs import Scalars
from cliff_ros.training.published.means import fit_means, read_means
from cliff_ros.training.published.networks import Trainee, blind, make_network, read_backbone, write_network
from cliff_ros.training.published.trainer import CHECKPOINT, rate_factor, train

SYNTHETIC = (DataSource(),)


# ---- first weights


def test_backbone_files(tmp_path) -> None:
    source = build('official', 'resnet50').encoder
    state = {k: v for k, v in source.state_dict().items() if not k.endswith('num_batches_tracked')}  # as old files
    state['fc.weight'], state['fc.bias'] = torch.zeros(1000, 2048), torch.zeros(1000)
    torch.save(state, tmp_path / 'torchvision.pth')
    torch.save({'state_dict': {f'module.{k}': v for k, v in state.items()}}, tmp_path / 'wrapped.pth')
    from safetensors.torch import save_file

    save_file(state, tmp_path / 'timm.safetensors')
    encoder = build('official', 'resnet50').encoder
    for name in ('torchvision.pth', 'wrapped.pth', 'timm.safetensors'):
        torch.nn.init.zeros_(encoder.layer4[2].conv3.weight)
        read_backbone(encoder, tmp_path / name)
        assert torch.equal(encoder.layer4[2].conv3.weight, source.layer4[2].conv3.weight), name
    for change, sentence in (
        ({'layer1.0.conv1.weight': None}, "lacks the tensor 'layer1.0.conv1.weight'"),
        ({'conv1.weight': torch.zeros(64, 3, 3, 3)}, "'conv1.weight' has shape"),
        ({'attention.weight': torch.zeros(1)}, "holds the tensor 'attention.weight'"),
    ):
        changed_state = {k: v for k, v in (state | change).items() if v is not None}
        torch.save(changed_state, tmp_path / 'other.pth')
        with pytest.raises(ModelError, match=sentence):
            read_backbone(encoder, tmp_path / 'other.pth')
    torch.save({'conv1.weight': print}, tmp_path / 'evil.pth')
    with pytest.raises(ModelError, match='refused'):
        read_backbone(source, tmp_path / 'evil.pth')
    with pytest.raises(ModelError, match='there is no file'):
        read_backbone(source, tmp_path / 'none.pth')


def test_hrnet_backbone_file(tmp_path) -> None:
    encoder = build('official', 'hrnet_w48').encoder
    state = encoder.state_dict() | {'classifier.weight': torch.zeros(1000, 2048), 'classifier.bias': torch.zeros(1000)}
    torch.save(state, tmp_path / 'hrnetv2_w48_imagenet_pretrained.pth')
    config = TrainingConfig(
        network='hrnet_w48', data=SYNTHETIC, initial_backbone=str(tmp_path / 'hrnetv2_w48_imagenet_pretrained.pth')
    )
    made = make_network(config).encoder.state_dict()
    assert all(torch.equal(made[key], value) for key, value in encoder.state_dict().items())


def test_mean_parameters(tmp_path) -> None:
    model = build('official', 'resnet50')
    pose = np.arange(144, dtype=np.float32)
    np.savez(tmp_path / 'means.npz', pose=pose, shape=np.ones(10), cam=np.array([0.9, 0, 0]))
    read_means(model, tmp_path / 'means.npz')
    assert model.regressor.init_pose[0].tolist() == pose.tolist() and model.regressor.init_shape.sum() == 10
    np.savez(tmp_path / 'means.npz', pose=pose)
    with pytest.raises(ModelError, match='smpl_mean_params'):
        read_means(model, tmp_path / 'means.npz')


def test_without_location_the_network_stays_blind() -> None:
    torch.manual_seed(0)
    encoder = torch.nn.Flatten()
    encoder.num_features = 40
    model = Cliff(encoder, DIALECTS['official']).eval()
    blind(model)
    features = torch.randn(2, 40)
    near, far = (model.inference_head()(features, torch.tensor([[x, 0, 0.4]] * 2)) for x in (0.0, 0.7))
    assert all(torch.equal(a, b) for a, b in zip(near, far, strict=True))
    # training with zeros in place of the location keeps it so
    model.normalize = lambda crops: crops.float()[:, :, None, None]  # features in place of crops
    trainee = Trainee(model, location=False)
    optimizer = torch.optim.Adam(model.regressor.parameters(), 1e-2)
    for _ in range(2):
        out = trainee(features, torch.tensor([[0.5, 0.2, 0.4]] * 2))
        sum(part.square().mean() for part in out).backward()
        optimizer.step()
    assert not model.regressor.fc1.weight[:, 40:43].any() and model.regressor.fc1.weight.grad[:, :40].any()


def test_rates() -> None:
    step = TrainingConfig(data=SYNTHETIC, steps=100)
    assert [rate_factor(step, s) for s in (0, 49, 50, 99)] == pytest.approx([1, 1, 0.1, 0.1])  # the paper's
    cosine = replace(step, schedule='cosine', warmup=10, final_factor=0.01)
    assert [rate_factor(cosine, s) for s in (0, 100)] == pytest.approx([0.1, 0.01])
    assert rate_factor(cosine, 50) == pytest.approx(0.505)


def test_logs_go_on_where_the_checkpoint_was(tmp_path) -> None:
    logs = Scalars(tmp_path, 0)
    for step in (5, 10, 15):
        logs.write(step, {'train/loss': 1.0 / step})
    logs.close()
    with (tmp_path / 'scalars.jsonl').open('a') as file:
        file.write('{"step": 2')  # cut short
    logs = Scalars(tmp_path, 10)
    logs.write(15, {'train/loss': 2.0})
    logs.close()
    lines = [json.loads(line) for line in (tmp_path / 'scalars.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines] == [5, 10, 15] and lines[-1]['train/loss'] == 2.0
    assert logs.has_tensorboard == any((tmp_path / 'tensorboard').glob('events*'))


# ---- trainings


@pytest.fixture(scope='module')
def shards(tmp_path_factory) -> str:
    """60 rendered crops, in two files, easy ones: a few steps are to show that something is learned."""
    folder = tmp_path_factory.mktemp('shards')
    sampler = crops.CropSampler(0, num_backgrounds=4, negatives=0.2, everyday=True, whole=True, look='plain')
    for shard in range(2):
        images, labels = zip(*(sampler.sample() for _ in range(30)), strict=True)
        np.savez(folder / f'crops_{shard:06d}.npz', images=np.stack(images), labels=np.stack(labels))
    return str(folder)


def tiny(output: Path, shards: str, **changes) -> TrainingConfig:
    """A training of the smallest network for a few steps."""
    data = (DataSource(kind='synthetic', shards=shards, num_shards=2),)
    return TrainingConfig(
        **{
            **dict(
                network='embedded',
                output=str(output),
                steps=8,
                batch=8,
                learning_rate=1e-3,
                workers=0,
                threads=1,
                log_every=2,
                checkpoint_every=4,
                average=0.9,
                data=data,
            ),
            **changes,
        }
    )


def losses_of(output: Path) -> list[float]:
    lines = [json.loads(line) for line in (output / 'scalars.jsonl').read_text().splitlines()]
    return [line['train/loss'] for line in lines if 'train/loss' in line]


def test_a_training_learns_stops_goes_on_and_leaves_a_graph(tmp_path, shards, monkeypatch) -> None:
    follow, stops_at = AveragedWeights.update_parameters, set()

    def follow_then(self, model):
        follow(self, model)
        torch.rand(1)  # as dropout would, which this network has not
        if int(self.n_averaged) in stops_at:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(AveragedWeights, 'update_parameters', follow_then)
    config = tiny(tmp_path / 'whole', shards, steps=32, learning_rate=3e-4)
    path = train(config)
    found = losses_of(tmp_path / 'whole')
    assert len(found) == 16 and np.median(found[8:]) < 0.85 * found[0]  # single batches of eight are noisy
    whole = torch.load(tmp_path / 'whole' / CHECKPOINT, weights_only=True)
    assert whole['step'] == 32 and not torch.equal(
        whole['model']['regressor.leave.weight'], whole['average']['regressor.leave.weight']
    )
    # the same, stopped after 7 steps as by Ctrl-C, and with another number of workers from then on
    halves = replace(config, output=str(tmp_path / 'halves'))
    stops_at.add(7)
    with pytest.raises(KeyboardInterrupt):
        train(halves)
    assert torch.load(tmp_path / 'halves' / CHECKPOINT, weights_only=True)['step'] == 7
    stops_at.clear()
    train(replace(halves, workers=1))
    again = torch.load(tmp_path / 'halves' / CHECKPOINT, weights_only=True)
    for part in ('model', 'average'):
        assert all(torch.equal(value, again[part][name]) for name, value in whole[part].items()), part
    assert torch.equal(again['random'][0]['cpu'], whole['random'][0]['cpu'])
    # what it leaves is the average, as the node runs it
    from cliff_ros.engine.onnx_engine import OnnxEngine

    engine = OnnxEngine(path, threads=1)
    crops = np.zeros((1, 128, 96, 3), np.uint8)
    location = np.array([[0.1, 0.1, 0.6]], np.float32)
    result = engine(crops, location)
    model = load_model('embedded')
    model.load_state_dict(whole['average'])
    from cliff_ros.cliff.embedded import round_to_half

    with torch.no_grad():
        rotations, _, _ = round_to_half(model.eval())(
            model.normalize(torch.from_numpy(crops)), model.bbox_info(torch.from_numpy(location))
        )
    np.testing.assert_allclose(result['rotations'], rotations, atol=2e-3)
    report = json.loads((tmp_path / 'whole' / 'report.json').read_text())
    assert report['steps'] == 32 and report['config']['batch'] == 8


def test_a_training_does_not_go_on_as_another(tmp_path, shards) -> None:
    config = tiny(tmp_path, shards, steps=2, checkpoint_every=1)
    train(config)
    with pytest.raises(InputError, match="trained with another 'batch'"):
        train(replace(config, batch=4))
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    state['sampler']['lengths'] = [5]
    torch.save(state, tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match='the data have changed'):
        train(config)
    (tmp_path / CHECKPOINT).write_bytes(b'half a file')
    with pytest.raises(ModelError, match='damaged'):
        train(config)
    assert changed(asdict(config), replace(config, workers=3)) is None
    with pytest.raises(InputError, match='multiple of 3'):
        train(tiny(tmp_path / 'new', shards, accumulate=3))


def test_parts_of_a_batch_add_up(tmp_path, shards) -> None:
    """Except for batch statistics: so compare the losses that the first step reports."""
    found = []
    for parts in (1, 4):
        output = tmp_path / str(parts)
        train(tiny(output, shards, steps=1, log_every=1, accumulate=parts))
        found.append(losses_of(output)[0])
    assert found[0] == pytest.approx(found[1], rel=0.3) and found[0] != found[1]


def test_people_rendered_while_training_are_those_of_shards(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(crops, 'CropSampler', partial(crops.CropSampler, num_backgrounds=3))  # soon ready
    spec, body = build('official', 'resnet50').spec, load_body()
    stream = Rendering(7, spec, body)
    found = [stream.crop(0, np.random.default_rng(0), None) for _ in range(2)]
    paths = render_missing(tmp_path, [stream_seed(7, 0)], 2, spec, 1)
    shard = Rendered(paths, spec, body)
    assert len(shard) == 2 and render_missing(tmp_path, [stream_seed(7, 0)], 2, spec, 1) == paths
    for i, (image, truth) in enumerate(found):
        same, again = shard.crop(i, np.random.default_rng(0), None)
        assert image.shape == (256, 192, 3)
        np.testing.assert_array_equal(image, same)
        np.testing.assert_array_equal(truth, again)
        joints = truth['joints'].astype(np.float64)
        seen = (joints[:, :2] / joints[:, 2:] - truth['location'][:2]) / truth['location'][2]
        np.testing.assert_allclose(seen, truth['keypoints'][:24], atol=1e-4)
    # turned about its center, a crop shows what it showed
    turned, truth = shard.crop(
        0, np.random.default_rng(0), Augmentation(flip=1.0, rotation=1e-3, rotation_probability=1.0, color=0.0)
    )
    assert np.abs(turned[:, ::-1].astype(int) - found[0][0]).mean() < 2
    np.testing.assert_allclose(truth['location'], found[0][1]['location'] * [-1, 1, 1], atol=1e-3)


def test_a_training_on_photographs(tmp_path, shards) -> None:
    with np.load(Path(shards) / 'crops_000000.npz') as file:
        images, labels = file['images'], file['labels']
    for i in range(4):
        cv2.imwrite(str(tmp_path / f'{i}.png'), images[i][..., ::-1])
    np.savez(
        tmp_path / 'labels.npz',
        imgname=np.array([f'{i}.png' for i in range(4)]),
        center=np.full((4, 2), 60.0),
        scale=np.full(4, 0.6),
        pose=log(labels['rotations'][:4].astype(np.float64)).reshape(4, 72),
        shape=labels['betas'][:4],
        global_t=np.array([[0, 0.2, 3]] * 4),
    )
    source = DataSource(kind='cliff_gt', labels=str(tmp_path / 'labels.npz'), images=str(tmp_path), focal='diagonal')
    mixed = (replace(source, weight=3.0), DataSource(shards=shards, num_shards=2, weight=1.0))
    config = tiny(
        tmp_path / 'out',
        shards,
        steps=2,
        log_every=1,
        workers=1,
        data=mixed,
        validation=Validation(every=1, samples=3, data=(source,)),
    )
    train(config)
    lines = [json.loads(line) for line in (tmp_path / 'out' / 'scalars.jsonl').read_text().splitlines()]
    figures = [line for line in lines if 'validation/0_cliff_gt/mpjpe_mm' in line]
    assert [line['step'] for line in figures] == [1, 2]
    assert all(0 < value < 1e4 for value in figures[-1].values())
    (tmp_path / '2.png').unlink()  # found out by a process that prepares crops, told in its one sentence
    with pytest.raises(InputError, match=r"^cannot read the image '.*2.png': get it again[^\n]*$"):
        train(replace(config, output=str(tmp_path / 'again'), validation=Validation()))


@pytest.mark.slow
def test_resnet50_from_a_configuration_to_a_graph(tmp_path, shards) -> None:
    config = dict(
        network='resnet50',
        output=str(tmp_path / 'out'),
        steps=2,
        batch=2,
        workers=0,
        threads=1,
        data=[dict(kind='synthetic', shards=shards, num_shards=2)],
    )
    (tmp_path / 'my.yaml').write_text(yaml.safe_dump(config))
    assert (
        cli.main(['train', '--config', str(tmp_path / 'my.yaml'), '--set', 'log_every=1', 'augmentation.rotation=20'])
        == 0
    )
    written = tmp_path / 'out' / 'cliff_resnet50.safetensors'
    model = load_model(written)
    saved = torch.load(tmp_path / 'out' / CHECKPOINT, weights_only=True)['average']
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert cli.main(['export', str(written), str(tmp_path / 'cliff.onnx')]) == 0
    from cliff_ros.engine.onnx_engine import OnnxEngine

    engine = OnnxEngine(tmp_path / 'cliff.onnx', threads=1)
    assert engine.metadata.licence == model.licence == 'unknown: decided by the training data'
    result = engine(np.zeros((1, 256, 192, 3), np.uint8), np.array([[0, 0, 0.3]], np.float32))
    assert np.isfinite(result['vertices']).all() and result['vertices'].shape == (1, 6890, 3)
    # and a training goes on from it
    again = make_network(replace(load_config(tmp_path / 'my.yaml'), initial_network=str(written)))
    assert torch.equal(again.regressor.fc1.weight, model.regressor.fc1.weight) and again.licence == model.licence
    with pytest.raises(ModelError, match='goes on from'):
        make_network(replace(load_config(tmp_path / 'my.yaml'), network='hrnet_w48', initial_network=str(written)))


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path, shards) -> None:
    config = asdict(tiny(tmp_path / 'out', shards, steps=4, log_every=1))
    (tmp_path / 'two.yaml').write_text(yaml.safe_dump(json.loads(json.dumps(config))))
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}
    command = [
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc-per-node',
        '2',
        '-m',
        'cliff_ros.cli',
        'train',
        '--config',
        str(tmp_path / 'two.yaml'),
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert '2 process(es)' in result.stdout and '1 process(es)' not in result.stdout  # one of them talks
    state = torch.load(tmp_path / 'out' / CHECKPOINT, weights_only=True)
    assert state['step'] == 4 and len(state['random']) == 2
    written = tmp_path / 'out' / 'cliff_embedded.onnx'
    written.unlink()
    assert train(tiny(tmp_path / 'out', shards, steps=4, log_every=1)) == written  # alone: nothing is left to learn
    # together they saw what one process sees: the first loss, before any step, is of the same people
    train(tiny(tmp_path / 'one', shards, steps=1, log_every=1))
    assert losses_of(tmp_path / 'out')[0] == pytest.approx(losses_of(tmp_path / 'one')[0], rel=0.3)
    assert len(losses_of(tmp_path / 'out')) == 4


def test_the_embedded_network_is_written_as_a_graph(tmp_path) -> None:
    model = make_network(TrainingConfig(network='embedded', initial_network='embedded', data=SYNTHETIC))
    path = write_network(model, load_body(), tmp_path)
    again = make_network(TrainingConfig(network='embedded', initial_network=str(path), data=SYNTHETIC))
    name = 'regressor.leave.weight'
    assert torch.equal(again.state_dict()[name], model.state_dict()[name])


def test_the_mean_person_is_fitted_or_given_and_no_t_pose(tmp_path) -> None:
    config = TrainingConfig(data=SYNTHETIC)
    pose = make_network(config).regressor.init_pose[0].unflatten(0, (24, 3, 2))
    assert pose[0].flatten().tolist() == [1, 0, 0, -1, 0, 0]
    arms = pose[[16, 17], 1, 0]  # a T-pose's upper arms are level; people's hang, left and right alike
    assert arms[0] < -0.3 and arms[1] == pytest.approx(-arms[0], abs=0.1)
    again = make_network(replace(config, mean_parameters='fit')).regressor.init_pose
    assert torch.equal(again[0], pose.flatten())
    # labels: the mean of the people whom they know, none of them without a pose
    people = np.zeros((4, 72))
    people[:, 5] = [0.2, 0.4, 0.2, 0.4]  # left hips
    labels = dict(imgname=np.array(['a'] * 4), center=np.zeros((4, 2)), scale=np.ones(4), part=np.ones((4, 24, 3)))
    np.savez(tmp_path / 'gt.npz', **labels, pose=people, shape=np.arange(40.0).reshape(4, 10), focal_l=np.ones(4))
    source = DataSource('cliff_gt', labels=str(tmp_path / 'gt.npz'), images=str(tmp_path))
    model = build('official', 'resnet50')
    assert fit_means(model, TrainingConfig(data=(source,))) == 4
    assert torch.atan2(model.regressor.init_pose[0, 8], model.regressor.init_pose[0, 6]).item() == pytest.approx(0.3)
    assert model.regressor.init_shape[0].tolist() == list(range(15, 25))
    np.savez(tmp_path / 'bare.npz', **labels, focal_l=np.ones(4))
    bare = replace(source, labels=str(tmp_path / 'bare.npz'))
    with pytest.raises(ModelError, match='mean_parameters'):
        make_network(TrainingConfig(data=(bare,)))
    # of a checkpoint
    other = published.load('mmhuman3d_resnet50', tmp_path)
    read_means(model, tmp_path / 'mmhuman3d_resnet50.pth')
    assert torch.equal(model.regressor.init_pose, other.regressor.init_pose)


def test_a_training_goes_on_from_any_dialect(tmp_path) -> None:
    published.load('mmhuman3d_resnet50', tmp_path)
    config = TrainingConfig(data=SYNTHETIC, initial_network=str(tmp_path / 'mmhuman3d_resnet50.pth'))
    model = make_network(config)
    assert model.dialect == 'mmhuman3d'
    crops, location = published.inputs(model, 2, 0)
    with torch.no_grad():
        rotations, betas, camera = Trainee(model.eval(), True)(torch.from_numpy(crops), torch.from_numpy(location))
        head = model.inference_head()(
            model.encoder(model.normalize(torch.from_numpy(crops))), torch.from_numpy(location)
        )
    # The scale is relative to the crop's height, as a graph's.
    for got, want in zip((rotations, betas, camera), head, strict=True):
        torch.testing.assert_close(got, want, atol=2e-4, rtol=2e-4)
