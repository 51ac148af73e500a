"""Stage 1: the encoder learns keypoints, relative depths, facing, and what its crop does not show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from cliff_ros.body import NUM_JOINTS
from cliff_ros.body.tensors import constant
from cliff_ros.cliff.embedded import CROP_HEIGHT, CROP_WIDTH, NEVER, EmbeddedCliff, KeypointEncoder, Maps
from cliff_ros.cliff.lifting import NUM_KEYPOINTS
from cliff_ros.training.augment import augment, inside
from cliff_ros.training.loop import LAST, Log, Progress, Stage
from cliff_ros.training.losses import facing_of
from cliff_ros.training.pool import CropPool
from cliff_ros.training.progress import channels_last, channels_last_of, half_precision, rounded

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
                x = EmbeddedCliff.normalize(images)
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
    seen_at = {name: torch.cat(values).float() for name, values in found.items()}

    def percent(name: str) -> float:
        return seen_at[name].mean().item() * 100 if len(seen_at[name]) else 0.0

    return {
        'mean_percent': percent('error'),
        'median_percent': seen_at['error'].median().item() * 100,
        'pck@0.1': (seen_at['error'] < 0.1).float().mean().item() * 100,
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
        heatmaps = encoder.maps(channels_last(EmbeddedCliff.normalize(images))).heatmaps
        encoder.outside.bias.copy_(heatmaps.float().logsumexp(-1).mean(0) - 3)


class Supply(Protocol):
    """Where crops come from while training goes on: a `Feeder`, or what stands before one."""

    def take(self, most: int) -> list[tuple]:
        """Of at most so many files, images and rows for `CropPool.add`."""
        ...


class KeypointStage(Stage[KeypointEncoder]):
    """The encoder learns from crops of the pool, on its device, and from whatever the feeder finds meanwhile.

    validation: crops to judge by; batch, rate: 0 for those of the device; looks: strength of the augmentation; written:
    called with the averaged encoder after each look but the last.
    """

    name, key = 'keypoints', 'encoder'

    def __init__(
        self,
        pool: CropPool,
        validation: CropPool,
        encoder: KeypointEncoder,
        progress: Progress,
        feeder: Supply | None = None,
        checkpoint: Path | None = None,
        batch: int = 0,
        rate: float = 0.0,
        looks: float = 1.0,
        every: float = 150.0,
        log: Log = print,
        written: Callable[[KeypointEncoder], None] | None = None,
    ) -> None:
        torch.manual_seed(0)
        self.pool, self.validation, self.feeder = pool, validation, feeder
        self.looks, self.written, kind = looks, written, pool.device.type
        self.batch = batch or BATCH.get(kind, 64)
        encoder = channels_last_of(encoder, pool.device).train()
        learn_outside(encoder, pool)
        super().__init__(encoder, rate or RATE.get(kind, 2.5e-3), progress, checkpoint, every, log)

    @property
    def batch_size(self) -> int:
        """Crops in a batch; fewer once the device ran out of memory."""
        return self.batch

    def take(self) -> None:
        """Move at most two files' crops from the feeder into the pool."""
        if self.feeder:
            for tensors in self.feeder.take(2):
                self.pool.add(*tensors)

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Of random crops of the pool, by `loss_on`."""
        return loss_on(self.module, *self.pool.batch(self.batch), self.looks)

    def shrink(self) -> bool:
        """Make batches a quarter smaller and let the pool grow no more; False where batches have 64 crops or fewer."""
        if self.batch <= 64:
            return False
        self.batch = self.batch * 3 // 4
        torch.cuda.empty_cache()
        self.pool.shrink()
        self.log(f'{self.name}: out of memory; batches of {self.batch} from here on, {len(self.pool)} crops at most')
        return True

    def look(self, when: str) -> None:
        """Log figures on the validation crops, of whole people and of parts of them; hand the averaged encoder to
        `written`, except at the last look."""
        self.log(f'{self.name}: {self.pool.taken} crops and {self.count} steps {when}')
        if len(self.validation):
            for name, parts in (('whole', False), ('parts', True)):
                self.log(f'validation, {name}:', rounded(validate(self.result, self.validation, parts)))
        if self.written and when != LAST:
            self.written(self.result)
