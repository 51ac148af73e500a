"""Stage 1: the encoder learns keypoints, relative depths, facing, and what its crop does not show."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cliff_ros.body import NUM_JOINTS
from cliff_ros.body.tensors import constant
from cliff_ros.cliff.embedded import CROP_HEIGHT, CROP_WIDTH, NEVER, EmbeddedCliff, KeypointEncoder, Maps
from cliff_ros.cliff.lifting import NUM_KEYPOINTS
from cliff_ros.errors import InputError
from cliff_ros.training.augment import augment, inside
from cliff_ros.training.losses import facing_of
from cliff_ros.training.pool import CropPool, Feeder
from cliff_ros.training.progress import Average, Losses, channels_last, half_precision, rounded, save, set_rate, step

RATE = {'cpu': 2.5e-3, 'cuda': 3.5e-3}  # of learning, at its highest
BATCH = {'cpu': 64, 'cuda': 1024}
SIGMA = 0.022  # [crop heights] of the target heatmaps
SUMMARY = 5.0  # weight of the whole pose in the free features
PARTS = 0.2  # of the crops are made crops of a part
# Of each keypoint's errors, as HRNet has it for COCO: limbs are what is hard to find, their ends most.
IMPORTANCE = [
    1.7 if k in (7, 8, 10, 11, 20, 21, 22, 23) else 1.3 if k in (4, 5, 18, 19) else 0.8 for k in range(NUM_KEYPOINTS)
]


def keypoint_losses(encoder: KeypointEncoder, maps: Maps, truth: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The encoder's loss and its parts, from what its `maps` gives, in float32."""
    heatmaps, keypoints, present = maps.heatmaps, truth['keypoints'], truth['present']
    importance = constant(heatmaps.device, IMPORTANCE)
    shown, people = inside(keypoints).float(), present.sum().clamp(min=1)
    mask = shown * present[:, None] * importance
    counted = mask.sum().clamp(min=1)
    # A Gaussian is the product of one along x and one along y, and so are the sums over the map.
    n, height, width = len(keypoints), CROP_HEIGHT // 4, CROP_WIDTH // 4
    x, y = encoder.grid[:width, 0], encoder.grid[::width, 1]
    along_x, along_y = (_gaussian(keypoints[..., k], axis) for k, axis in enumerate((x, y)))
    logits = heatmaps.view(n, -1, height, width)
    probability = heatmaps.softmax(-1).view_as(logits)
    wanted = ((logits @ along_x[..., None])[..., 0] * along_y).sum(-1)
    mean = torch.stack([probability.sum(2) @ x, probability.sum(3) @ y], -1)
    depth = (probability[:, :24].detach().flatten(2) * maps.depths).sum(-1)
    depth_off = ((depth - truth['depths']).abs().clamp(max=1) * importance[:NUM_JOINTS]).mean(1)
    total = heatmaps.logsumexp(-1)
    # The whole pose out of the free features, without peaks: where a heatmap settles on the wrong limb, and where the
    # crop does not show a joint, this still gives the middle of what is possible.
    guess, guessed_depth = maps.guess()
    whole = ((guess - keypoints.clamp(-1, 1)).abs().sum(2) * importance).mean(1) + (
        (guessed_depth - truth['depths'].clamp(-1, 1)).abs() * importance[:NUM_JOINTS]
    ).mean(1)
    seen = F.binary_cross_entropy_with_logits(total - maps.outside, shown, reduction='none').mean(1)
    parts = dict(
        heatmap=((total - wanted) * mask).sum() / counted,
        position=((mean - keypoints).abs().sum(-1) * mask).sum() / counted,
        depth=(depth_off * present).sum() / people,
        facing=(((maps.facing - facing_of(truth['rotations'])) ** 2).sum(1) * present).sum() / people,
        presence=F.binary_cross_entropy_with_logits(encoder.presence(maps.overview)[:, 0], present),
        whole=(whole * present).sum() / people,
        seen=(seen * present).sum() / people,
    )
    return (
        parts['heatmap']
        + 5 * parts['position']
        + 6 * parts['depth']
        + 0.5 * parts['facing']
        + parts['presence']
        + SUMMARY * parts['whole']
        + parts['seen']
    ), parts


def _gaussian(center: Tensor, axis: Tensor) -> Tensor:
    """Weights of sum one along `axis` (K,) about `center` (...): (..., K)."""
    return torch.softmax(-((center[..., None] - axis) ** 2) / (2 * SIGMA**2), -1)


def loss_on(
    encoder: KeypointEncoder, images: Tensor, truth: dict[str, Tensor], looks: float = 1.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """As `keypoint_losses`, of crops (B, 128, 96, 3) uint8 that are changed at random."""
    with torch.no_grad():
        x, truth = augment(images, truth, parts=PARTS, looks=looks)
    with half_precision(images.device):
        maps = encoder.maps(channels_last(x))
    return keypoint_losses(encoder, maps.float(), truth)


@torch.no_grad()
def validate(encoder: KeypointEncoder, pool: CropPool, parts: bool = False, most: int = 3000) -> dict[str, float]:
    """Figures of one look. parts: of crops of a part of each person, the same every time."""
    device, training = pool.device, encoder.training
    encoder.eval()
    found: dict[str, list[Tensor]] = {}

    def keep(**values: Tensor) -> None:
        for name, value in values.items():
            found.setdefault(name, []).append(value)

    # nothing random of the training changes by that
    with torch.random.fork_rng(devices=[device] if device.type == 'cuda' else []):
        torch.manual_seed(0)
        seen = 0
        for images, truth in pool.once(250):
            if parts:
                x, truth = augment(images, truth, turns=False, parts=1.0, looks=0.0, flips=0.0)
            else:
                x = EmbeddedCliff.normalise(images)
            with half_precision(device):
                maps = encoder.maps(channels_last(x))
            keypoints, _, depth, confidence = encoder.read(maps.float())
            present, want = truth['present'] > 0.5, truth['keypoints']
            shown, people = inside(want), present[:, None].expand(-1, NUM_KEYPOINTS)
            off = (keypoints - want.clamp(-1, 1)).norm(dim=-1)
            chest = truth['rotations'][:, 0, :, 2]
            keep(
                error=off[shown & people],
                outside=off[~shown & people],
                depth=(depth - truth['depths']).abs()[present].flatten(),
                facing=((maps.facing[:, :3].float() * chest).sum(1) < 0)[present],
                presence=(encoder.presence(maps.overview.float())[:, 0] > 0) != present,
                missed=(confidence < 0.5)[shown & people],
                imagined=(confidence > 0.5)[~shown & people],
            )
            seen += len(images)
            if seen >= most:
                break
    encoder.train(training)
    found = {name: torch.cat(values).float() for name, values in found.items()}

    def percent(name: str) -> float:
        return found[name].mean().item() * 100 if len(found[name]) else 0.0

    return {
        'mean_percent': percent('error'),
        'median_percent': found['error'].median().item() * 100,
        'pck@0.1': (found['error'] < 0.1).float().mean().item() * 100,
        'outside_percent': percent('outside'),
        'depth_percent': percent('depth'),
        'facing_wrong_percent': percent('facing'),
        'presence_wrong_percent': percent('presence'),
        'inside_missed_percent': percent('missed'),
        'outside_imagined_percent': percent('imagined'),
    }


@torch.no_grad()
def learn_outside(encoder: KeypointEncoder, pool: CropPool) -> None:
    """Start an encoder that never said what is outside of its crop where it says so of one keypoint in twenty."""
    if (encoder.outside.bias == NEVER).all():
        images, _ = pool.batch(256)
        heatmaps = encoder.maps(channels_last(EmbeddedCliff.normalise(images))).heatmaps
        encoder.outside.bias.copy_(heatmaps.float().logsumexp(-1).mean(0) - 3)


def train(
    pool: CropPool,
    validation: CropPool,
    encoder: KeypointEncoder,
    progress: Callable[[int], float],
    feeder: Feeder | None = None,
    checkpoint: Path | None = None,
    batch: int = 0,
    rate: float = 0.0,
    looks: float = 1.0,
    every: float = 150.0,
    log=print,
    look: Callable[[KeypointEncoder], None] | None = None,
) -> KeypointEncoder:
    """Train on crops of the pool, on its device, and of whatever the feeder finds meanwhile; returns the average (EMA).

    progress: after so many steps, 0 to 1, for one cosine; checkpoint: to go on from where there is one; batch, rate: 0
    for those of the device; looks: strength of the augmentation; every: seconds from one validation to the next, after
    each of which `look` is called with the averaged encoder.
    """
    torch.manual_seed(0)
    device = pool.device
    batch, rate = batch or BATCH.get(device.type, 64), rate or RATE.get(device.type, 2.5e-3)
    encoder = encoder.to(device, memory_format=torch.channels_last).train()
    learn_outside(encoder, pool)
    average = Average(encoder, copy.deepcopy(encoder))
    parameters = list(encoder.parameters())
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=1e-3, fused=True)
    count = samples = 0
    if checkpoint and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        if 'average' not in state:
            raise InputError(f"'{checkpoint}' is of an older version of this training: delete it, or change --work")
        encoder.load_state_dict(state['encoder'])
        average.module.load_state_dict(state['average'])
        optimizer.load_state_dict(state['optimizer'])
        count, average.steps = state['step'], state['step']
        torch.manual_seed(count)
        log(f'keypoints: resuming at step {count}')
    means, started = Losses(log, name='keypoints'), time.monotonic()
    saved = started

    def keep() -> None:
        if checkpoint:
            save(
                checkpoint,
                encoder=encoder.state_dict(),
                average=average.module.state_dict(),
                optimizer=optimizer.state_dict(),
                step=count,
            )

    def report(when: str) -> None:
        log(f'keypoints: {pool.taken} crops and {count} steps {when}')
        if len(validation):
            for name, parts in (('whole', False), ('parts', True)):
                log(f'validation, {name}:', rounded(validate(average.module, validation, parts)))

    try:
        begun = count
        while (over := progress(count)) < 1 or count == begun:  # one step at least
            if feeder:
                for tensors in feeder.take(2):
                    pool.add(*tensors)
            set_rate(optimizer, rate, over, count)
            try:
                loss, parts = loss_on(encoder, *pool.batch(batch), looks)
                step(loss, optimizer, parameters)
            except torch.OutOfMemoryError:
                if batch <= 64:
                    raise
                batch, loss = batch * 3 // 4, None
                torch.cuda.empty_cache()
                pool.shrink()
                log(f'keypoints: out of memory; batches of {batch} from here on, {len(pool)} crops at most')
                continue
            average.update()
            count += 1
            samples += batch
            now = time.monotonic()
            means.add(count, now - started, samples, parts)
            if now - saved > every:
                saved = now
                report('so far')
                keep()
                if look:
                    look(average.module)
    except KeyboardInterrupt:
        keep()
        raise
    keep()
    report('in all')
    return average.module
