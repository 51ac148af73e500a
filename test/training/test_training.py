"""Training in one go: all stages at the same time leave graphs that the package can run; and what stages share."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('numba', reason='the synthetic world is drawn with numba')
pytest.importorskip('onnx')

from cliff_ros import assets
from cliff_ros.body import load_body
from cliff_ros.camera import Camera
from cliff_ros.cliff.embedded import EmbeddedCliff, KeypointEncoder, encoder_options, load_embedded
from cliff_ros.errors import InputError
from cliff_ros.people import Box, Frame
from cliff_ros.pipeline import Pipeline
from cliff_ros.training import detector, keypoints, recipe, weights
from cliff_ros.training.augment import augment, inside
from cliff_ros.training.averaging import AveragedWeights
from cliff_ros.training.loop import descend
from cliff_ros.training.losses import Skeleton, project, relative_depths
from cliff_ros.training.pool import BLOCK, CropPool, Feeder, crop_reader, pack, unpack
from cliff_ros.training.progress import Clock, half_precision
from cliff_ros.training.rendering import UNSEEN, Plan, Renderers, jobs
from cliff_ros.training.skeletons import SkeletonSampler

SMALL = dict(widths=(8, 16, 24, 32, 48), middle=32, blocks=(2, 1, 2, 1))
LITTLE = dict(
    crops=40,
    crop_part=20,
    stills=6,
    still_part=3,
    validation=40,
    validation_stills=3,
    most_crops=4,
    most_stills=1,
    backgrounds=2,
    nice=0,
)


@pytest.fixture(scope='module')
def skeleton():
    return Skeleton(load_body())


@pytest.fixture(scope='module')
def rendered(tmp_path_factory):
    """Work folder with all crops and stills of a little plan."""
    work = tmp_path_factory.mktemp('work')
    renderers = Renderers(Plan(work / 'rendered', **LITTLE), 2)
    deadline = time.monotonic() + 300
    while renderers.alive and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not renderers.alive, 'a renderer did not come to its end'
    return work


@pytest.fixture(scope='module')
def crops(rendered, skeleton):
    """A pool of 60 or more rendered crops, and their truth."""
    pool = CropPool(skeleton, capacity=BLOCK)
    for path in sorted((rendered / 'rendered' / 'crops').glob('*.npz')):
        pool.add(*crop_reader(False)(path))
    return pool


def settings(work: Path, output: Path, seconds: float, **options) -> recipe.Settings:
    return recipe.Settings(
        work,
        output,
        output,
        seconds,
        workers=2,
        device='cpu',
        plan=LITTLE,
        **dict(encoder=SMALL, detector=dict(widths=(8, 16, 24, 32)), batch=16) | options,
    )


@pytest.mark.slow
def test_one_go_makes_graphs_that_run_and_goes_on(rendered, tmp_path):
    output = tmp_path / 'output'
    assert recipe.train(settings(rendered, output, 36.0))
    log = (output / 'training.log').read_text()
    assert 'pck' in log and 'mpjpe_mm' in log and 'parts' in log and 'crops that the encoder did not see' in log
    assert 'recall' in (output / 'training_beside.log').read_text()
    pipeline = Pipeline(output / 'cliff_embedded.onnx', detector=output / 'detector_embedded.onnx', smoothing=False)
    camera = Camera(320, 240, np.array([[250.0, 0, 159.5], [0, 250.0, 119.5], [0, 0, 1]]))
    frame = Frame(np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8), camera)
    pipeline(frame)
    (person,) = pipeline(frame, boxes=[Box(np.array([120, 40, 180, 220]))])
    assert np.isfinite(person.vertices).all() and person.vertices.shape == (6890, 3)
    trained = load_embedded(output / 'cliff_embedded.onnx')
    assert encoder_options(trained.state_dict()) == SMALL  # as large as asked for

    # the weights alone make the same graph: what a machine that is given back leaves behind
    weights.export_trained(output, tmp_path / 'again')
    again = load_embedded(tmp_path / 'again' / 'cliff_embedded.onnx')
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in again.state_dict().items())

    # its time is over; with more of it, a second start goes on where the first was
    with pytest.raises(InputError, match='--work'):
        recipe.train(settings(rendered, output, 36.0))
    steps = torch.load(rendered / 'keypoints.pt', weights_only=True)['step']
    took = json.loads((rendered / 'elapsed.json').read_text())  # more than 36 s where the machine is busy
    assert recipe.train(settings(rendered, output, max(54.0, 1.5 * took)))
    assert f'resuming at step {steps}' in (output / 'training.log').read_text()
    assert torch.load(rendered / 'keypoints.pt', weights_only=True)['step'] > steps


@pytest.mark.slow
def test_a_trained_network_is_a_start(rendered, tmp_path):
    """The training of the shipped weights goes on: they change little, and the regressor skips the skeletons."""
    work = tmp_path / 'work'
    work.mkdir()
    (work / 'rendered').symlink_to(rendered / 'rendered')
    before = load_embedded().state_dict()
    assert recipe.train(settings(work, tmp_path, 36.0, start=assets.NETWORK))
    after = load_embedded(tmp_path / 'cliff_embedded.onnx').state_dict()
    for name in ('regressor.leave.weight', 'encoder.stage8.0.first.0.weight'):
        assert (after[name] - before[name]).abs().max() < 0.2, name
    changed = torch.load(work / 'keypoints.pt', weights_only=True)['encoder']['stage8.0.first.0.weight']
    assert not torch.equal(changed, before['encoder.stage8.0.first.0.weight'])
    assert not (work / 'skeletons.pt').exists()


def test_what_a_training_lacks_is_said(rendered, tmp_path, crops):
    with pytest.raises(InputError, match='weights'):
        weights.export_trained(tmp_path, tmp_path)
    torch.save(dict(encoder={}, optimizer={}, elapsed=0.0, step=0), tmp_path / 'keypoints.pt')
    with pytest.raises(InputError, match='older version'):
        keypoints.KeypointStage(
            crops, crops, KeypointEncoder(**SMALL), lambda step: step / 2, checkpoint=tmp_path / 'keypoints.pt'
        ).run()
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match='GPU'):
            assert recipe.Settings(tmp_path, tmp_path, tmp_path, 1.0, device='cuda').torch_device


def test_weights_are_written_in_files_that_are_not_too_large(tmp_path, monkeypatch):
    model = EmbeddedCliff(SMALL)
    monkeypatch.setattr(weights, 'MOST_FILE', 100_000)
    weights.write_weights(model.encoder, tmp_path, 'encoder')
    files = sorted(tmp_path.glob('encoder*.pt'))
    assert len(files) > 2
    read = weights.read_weights_of(tmp_path, 'encoder')
    for name, value in model.encoder.state_dict().items():
        wanted = value.half().float() if value.is_floating_point() and value.numel() >= 1024 else value
        assert torch.equal(read[name], wanted), name


@pytest.mark.parametrize('count', [1, 2, 3, 14])
def test_renderers_do_all_and_nothing_twice(count):
    first = [list(itertools.islice(jobs(index, count), 40)) for index in range(count)]
    done = [job for some in first for job in some]
    assert len(set(done)) == len(done) and done.count(('validation crops', 0)) == 1
    assert ('validation stills', 0) in done
    for kind in ('crops', 'stills'):
        numbers = {number for name, number in done if name == kind}
        assert numbers >= set(range(8 * count // 2))  # none is left out
    stills = sum(name == 'stills' for name, _ in done) / len(done)
    assert 0.15 < stills < 0.4


def test_what_the_encoder_sees_the_regressor_does_not(rendered):
    seen, unseen = (
        {int(path.name[6:12]) for path in (rendered / 'rendered' / folder).glob('crops_*.npz')}
        for folder in ('crops', 'unseen')
    )
    assert seen and unseen and not seen & unseen and all(seed % UNSEEN == UNSEEN - 1 for seed in unseen)


def test_a_pool_fills_while_it_is_drawn_from_and_keeps_the_newest(skeleton):
    from cliff_ros.synthetic.crops import LABEL

    pool = CropPool(skeleton, capacity=32, block=8)
    labels = np.zeros(50, LABEL)
    labels['rotations'], labels['translation'][:, 2], labels['location'][:, 2] = np.eye(3), 3, 0.5
    labels['betas'][:, 0] = np.arange(50)
    images = np.broadcast_to(np.arange(50, dtype=np.uint8)[:, None, None, None], (50, 4, 3, 3)).copy()
    for start, end in ((0, 5), (5, 30), (30, 50)):  # across blocks, and around the end
        pool.add(torch.from_numpy(images[start:end]), torch.from_numpy(pack(labels[start:end])))
        crops, truth = pool.batch(400)
        number = crops[:, 0, 0, 0].float()
        torch.testing.assert_close(truth['betas'][:, 0], number)  # pictures stay with their labels
        assert set(number.int().tolist()) <= set(range(max(0, end - 32), end))
        assert len(set(number.int().tolist())) > min(end, 32) * 0.9 - 3
    assert len(pool) == 32 and pool.taken == 50
    once = torch.cat([crops[:, 0, 0, 0] for crops, _ in pool.once(5)])
    assert sorted(once.tolist()) == list(range(18, 50))
    truth = unpack(pool.blocks[0][1])
    torch.testing.assert_close(truth['depths'], relative_depths(truth, skeleton))


def test_files_reach_the_pool_as_they_come(tmp_path):
    (tmp_path / 'a_1.npz').write_text('one')
    (tmp_path / 'a_9.partial.npz').write_text('half a file')
    feeder = Feeder(tmp_path, 'a_*.npz', lambda path: (path.read_text(),), keep=False)
    assert feeder.take_all(timeout=60) == [('one',)]
    (tmp_path / 'a_2.partial.npz').write_text('two')
    (tmp_path / 'a_2.partial.npz').rename(tmp_path / 'a_2.npz')
    assert feeder.take_all(timeout=60) == [('two',)] and feeder.take() == []
    feeder.close()
    assert [path.name for path in tmp_path.iterdir()] == ['a_9.partial.npz']  # what was read is gone


@pytest.mark.parametrize('parts', [0.0, 1.0])
def test_labels_of_changed_crops_are_of_what_they_show(crops, skeleton, parts):
    """Keypoints, depths and location are those of the body that is then projected into the new crop."""
    torch.manual_seed(4)
    images, truth = crops.batch(64)
    _, changed = augment(images, truth, turns=False, parts=parts)
    people = truth['present'] > 0.5
    changed = {name: value[people] for name, value in changed.items()}
    joints = skeleton(changed['betas'], changed['rotations']) + changed['translation'][:, None]
    location = changed['location']
    seen = (project(joints) - location[:, None, :2]) / location[:, 2, None, None]
    torch.testing.assert_close(seen, changed['keypoints'][:, :24], atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(relative_depths(changed, skeleton), changed['depths'], atol=2e-3, rtol=1e-3)
    smaller = changed['location'][:, 2] < truth['location'][people, 2] * 0.97
    assert smaller.float().mean() > 0.5 if parts else not smaller.any()
    assert (inside(changed['keypoints']).sum(1) >= 5).float().mean() > 0.95


def test_changed_crops_show_what_their_keypoints_say():
    """A picture whose colors say where each pixel is, turned, mirrored, cut: colors at keypoints stay."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(96.0), indexing='ij')
    images = torch.stack([x, y, 0 * x], -1).to(torch.uint8).expand(200, -1, -1, -1)
    places = torch.rand(200, 29, 2) * torch.tensor([0.6, 0.8]) - torch.tensor([0.3, 0.4])
    truth = dict(
        keypoints=places,
        depths=torch.zeros(200, 24),
        present=torch.ones(200),
        rotations=torch.eye(3).expand(200, 24, 3, 3),
        translation=torch.tensor([[0.0, 0, 3]]).expand(200, 3),
        location=torch.tensor([[0.0, 0, 0.5]]).expand(200, 3),
    )
    for flips in (0.0, 1.0):
        seen, changed = augment(images, truth, parts=0.5, looks=0.0, flips=flips)
        keypoints = changed['keypoints']
        if flips:
            from cliff_ros.cliff.lifting import MIRROR_KEYPOINTS

            keypoints = keypoints[:, MIRROR_KEYPOINTS]
        grid = torch.stack([keypoints[..., 0] / 0.375, keypoints[..., 1] / 0.5], -1)[:, :, None]
        colors = torch.nn.functional.grid_sample(seen * 62 + 118, grid, align_corners=False)[..., 0]
        wanted = torch.stack([places[..., 0] * 128 + 47.5, places[..., 1] * 128 + 63.5], 1)
        well = (keypoints[..., 0].abs() < 0.36) & (keypoints[..., 1].abs() < 0.48)
        off = (colors[:, :2] - wanted).abs().amax(1)[well]
        assert well.float().mean() > 0.5 and off.max() < 1.1


@pytest.mark.slow
def test_a_keypoint_outside_of_the_crop_is_said_to_be_and_guessed(crops):
    """The shipped encoder, taught a little with crops of parts of people, tells the two apart."""
    encoder = load_embedded().encoder
    before = keypoints.validate(encoder, crops, parts=True)
    encoder = keypoints.KeypointStage(
        crops, crops, encoder, lambda step: step / 25, batch=32, rate=2e-3, looks=0.0, log=lambda *words: None
    ).run()
    after = keypoints.validate(encoder, crops, parts=True)
    wrong = [figures['inside_missed_percent'] + figures['outside_imagined_percent'] for figures in (before, after)]
    assert wrong[0] > 99 and wrong[1] < 95


def test_half_precision_trains(crops, monkeypatch):
    """As on a GPU: bfloat16 where the processor has it or not, all losses and gradients finite and near float32's."""
    losses = []
    for enabled in (False, True):
        monkeypatch.setattr(
            keypoints, 'half_precision', lambda device, on=enabled: torch.autocast('cpu', torch.bfloat16, enabled=on)
        )
        torch.manual_seed(0)
        encoder = KeypointEncoder(**SMALL).to(memory_format=torch.channels_last)
        loss, _ = keypoints.loss_on(encoder, *crops.batch(16))
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert half_precision('cpu').device == 'cpu'


def test_a_step_that_is_not_finite_is_left_out():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], 0.1, fused=True)
    descend((weight * torch.nan).sum(), optimizer, [weight])
    assert torch.equal(weight.detach(), torch.ones(3))
    descend(weight.sum(), optimizer, [weight])
    assert (weight < 1).all()


def test_the_average_follows_weights_and_batch_norms():
    net = torch.nn.BatchNorm2d(2)
    average = AveragedWeights(net, 0.5)
    mean = average.module
    with torch.no_grad():
        net.weight.fill_(3.0)
        net.running_mean.fill_(1.0)
        net.num_batches_tracked.fill_(7)
    average.update_parameters(net)  # the first steps count little
    torch.testing.assert_close(mean.weight, torch.full((2,), 1 + 2 * 10 / 11))
    for _ in range(30):
        average.update_parameters(net)
    assert mean.num_batches_tracked == 7 and not mean.training and not mean.weight.requires_grad
    torch.testing.assert_close(mean.weight, torch.full((2,), 3.0))
    torch.testing.assert_close(mean.running_mean, torch.ones(2))


def test_the_clock_tells_stages_their_share():
    clock = Clock.start(100.0, elapsed=50.0)
    assert clock.progress((0.4, 0.6)) == pytest.approx(0.5, abs=0.02) and clock.progress((0.6, 0.7)) == 0
    assert clock.progress((0.0, 0.2)) > 1


def test_skeletons_are_cut_as_people_are(skeleton):
    truth, places = SkeletonSampler(skeleton, pool=500).batch(2000)
    assert len(places) == 2000
    shown = inside(places)
    assert 0.2 < 1 - shown[:, 7].float().mean() < 0.5  # ankles
    assert (shown.sum(1) >= 5).float().mean() > 0.9
    joints = skeleton(truth['betas'], truth['rotations']) + truth['translation'][:, None]
    seen = (project(joints) - truth['location'][:, None, :2]) / truth['location'][:, 2, None, None]
    torch.testing.assert_close(seen, places[:, :24], atol=1e-4, rtol=1e-4)


def test_detector_targets_are_of_the_smallest_box_that_is_near():
    boxes = torch.full((1, 4, 5), -1.0)
    boxes[0, 0] = torch.tensor([0, 0, 127, 95, 1.0])
    boxes[0, 1] = torch.tensor([40, 30, 79, 69, 1.0])
    boxes[0, 2] = torch.tensor([96, 0, 127, 31, 0.0])
    heat, distance, mask, counts = detector.targets(boxes, 128, 96)
    assert heat.shape == (1, 1, 12, 16) and (heat >= 0.999).sum() == 2
    row, column = 6, 7  # of the small one's center (60, 50)
    assert heat[0, 0, row, column] == 1 and mask[0, 0, row, column] == 1
    at = torch.tensor([column, row]) * 8.0 + 4
    wanted = torch.log(torch.tensor([at[0] - 40.5, at[1] - 30.5, 79.5 - at[0], 69.5 - at[1]]) / 4)
    torch.testing.assert_close(distance[0, :, row, column], wanted)
    assert counts[0, 0, 0, 14] == 0 and counts[0, 0, 11, 0] == 1  # in what may be found; elsewhere


def test_mirrored_crops_give_mirrored_keypoints():
    """The network looks at a crop both ways: it cannot prefer the left to the right."""
    from cliff_ros.cliff.embedded import KeypointEncoder
    from cliff_ros.cliff.lifting import MIRROR_KEYPOINTS, NUM_DEPTHS, NUM_KEYPOINTS

    torch.manual_seed(0)
    encoder = KeypointEncoder().eval()
    crops = torch.randn(3, 3, 128, 96)

    def look(x):
        features = encoder(x)
        places = features[:, : 2 * NUM_KEYPOINTS].view(3, NUM_KEYPOINTS, 2)
        sizes = [NUM_KEYPOINTS, NUM_DEPTHS, 6, NUM_KEYPOINTS, 128, 128, 1]
        return places, *features[:, 2 * NUM_KEYPOINTS :].split(sizes, 1)

    with torch.no_grad():
        straight, mirrored = look(crops), look(crops.flip(3))
    places = mirrored[0] * torch.tensor([-1.0, 1])
    torch.testing.assert_close(places, straight[0][:, MIRROR_KEYPOINTS], atol=1e-3, rtol=0)
    torch.testing.assert_close(mirrored[1], straight[1][:, MIRROR_KEYPOINTS], atol=1e-3, rtol=0)
    torch.testing.assert_close(mirrored[2], straight[2][:, MIRROR_KEYPOINTS[:NUM_DEPTHS]], atol=1e-3, rtol=0)
    torch.testing.assert_close(mirrored[3] * torch.tensor([-1.0, 1, 1, -1, 1, 1]), straight[3], atol=1e-4, rtol=0)
    torch.testing.assert_close(mirrored[4], straight[4][:, MIRROR_KEYPOINTS], atol=1e-3, rtol=0)
    assert torch.equal(straight[5], mirrored[6]) and torch.equal(straight[6], mirrored[5])  # the free features of each
    encoder.train()  # one look in training, where crops are mirrored at random
    with torch.no_grad():
        assert not torch.equal(encoder(crops)[:, :58], encoder(crops.flip(3))[:, :58])


def test_a_picture_that_fails_is_tried_again():
    from cliff_ros.training.rendering import _tried

    tries = iter([ZeroDivisionError, ZeroDivisionError, None, *[ZeroDivisionError] * 3])

    def picture():
        if error := next(tries):
            raise error
        return 'picture'

    assert _tried(picture) == 'picture'
    with pytest.raises(ZeroDivisionError):
        _tried(picture)
