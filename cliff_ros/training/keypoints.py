"""Stage 1: the encoder learns keypoints, relative depths and facing on rendered crops."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliff_ros.body import MIRROR, NUM_JOINTS
from cliff_ros.cliff import lifting
from cliff_ros.cliff.embedded import CROP_HEIGHT, CROP_WIDTH, EmbeddedCliff, KeypointEncoder
from cliff_ros.cliff.lifting import GLOBAL_FEATURES
from cliff_ros.errors import InputError
from cliff_ros.training.data import load_shard
from cliff_ros.training.losses import Skeleton, as_truth, mirror, relative_depths
from cliff_ros.training.progress import Losses, set_rate

MIRROR_KEYPOINTS = torch.from_numpy(lifting.MIRROR_KEYPOINTS)
RATE = 2.5e-3  # of learning, at its highest
SIGMA = .022  # [crop heights] of the target heatmaps
SUMMARY = 5.  # weight of the whole pose in the free features
# Of each keypoint's errors, as HRNet has it for COCO: limbs are what is hard to find, their ends most.
IMPORTANCE = torch.tensor([.8] * 29)
IMPORTANCE[[4, 5, 18, 19]] = 1.3
IMPORTANCE[[7, 8, 10, 11, 20, 21, 22, 23]] = 1.7


class CropStore:
    """All shards of a folder in memory, in random batches; new shards join when `refresh` finds them."""

    def __init__(self, folder: Path, skeleton: Skeleton, limit: int = 80, seed: int = 0,
                 pattern: str = 'crops_[0-8]*.npz') -> None:
        self.folder, self.skeleton, self.limit, self.pattern = folder, skeleton, limit, pattern
        self.rng = np.random.default_rng(seed)
        self._shards: dict[Path, tuple[np.ndarray, dict[str, Tensor]]] = {}
        self.refresh()

    def refresh(self) -> int:
        """Look for new shards; keep the newest `limit`. Returns the number of crops."""
        found = sorted(p for p in self.folder.glob(self.pattern) if '.partial' not in p.name)[-self.limit:]
        for path in found:
            if path not in self._shards:
                self._shards[path] = prepare(path, self.skeleton)
        self._shards = {path: self._shards[path] for path in found}
        return len(self)

    def __len__(self) -> int:
        return sum(len(images) for images, _ in self._shards.values())

    def once(self, size: int) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """Every crop once, in order."""
        for images, truth in self._shards.values():
            for i in range(0, len(images), size):
                yield images[i:i + size], {name: value[i:i + size] for name, value in truth.items()}

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """Endless; each batch mixes four shards."""
        while True:
            paths = list(self._shards)
            parts = []
            for k in self.rng.choice(len(paths), 4):
                images, truth = self._shards[paths[k]]
                pick = self.rng.integers(len(images), size=size // 4)
                parts.append((images[pick], {name: value[pick] for name, value in truth.items()}))
            yield (np.concatenate([p[0] for p in parts]),
                   {name: torch.cat([p[1][name] for p in parts]) for name in parts[0][1]})


def prepare(path: Path, skeleton: Skeleton) -> tuple[np.ndarray, dict[str, Tensor]]:
    """A shard's images and truth, with the relative depths of the joints."""
    images, labels = load_shard(path)
    truth = as_truth(labels)
    truth['depths'] = relative_depths(truth, skeleton)
    return images, truth


def augment(images: np.ndarray, truth: dict[str, Tensor], geometric: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
    """Mirror, colour, and (for keypoints only: it is not a camera) rotation and scale in the image plane."""
    n = len(images)
    flip = torch.rand(n) < .5
    truth = mirror(truth, flip)
    sign = torch.where(flip, -1., 1.)
    angle, scale = torch.randn(n) * .12 * geometric, torch.exp(torch.randn(n) * .06 * geometric)
    shift = torch.randn(n, 2) * .02 * geometric
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    to_input = torch.stack([cos * sign, -sin * sign, sin, cos], 1).view(n, 2, 2)
    keypoints = (torch.linalg.inv(to_input) @ (truth['keypoints'] - shift[:, None]).mT).mT
    keypoints = torch.where(flip[:, None, None], keypoints[:, MIRROR_KEYPOINTS], keypoints)
    depths = torch.where(flip[:, None], truth['depths'][:, torch.from_numpy(MIRROR)], truth['depths'])
    x = EmbeddedCliff.normalise(torch.from_numpy(_warp(images, to_input.numpy(), shift.numpy())))
    x = x * (1 + .15 * torch.randn(n, 3, 1, 1)) + .2 * torch.randn(n, 3, 1, 1)
    return x, truth | dict(keypoints=keypoints, depths=depths)


def _warp(images: np.ndarray, to_input: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Images (N, h, w, 3) in which p [crop heights from the centre] shows what was at to_input p + shift."""
    height, width = images.shape[1:3]
    center = np.array([width / 2 - .5, height / 2 - .5])
    warped = np.empty_like(images)
    for image, a, b, out in zip(images, to_input, shift, warped, strict=True):
        matrix = np.column_stack([a, height * b + center - a @ center])
        cv2.warpAffine(image, matrix, (width, height), dst=out, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                       borderMode=cv2.BORDER_REPLICATE)
    return warped


def facing_of(rotations: Tensor) -> Tensor:
    """(B, 6): where the chest points and where the head points up to, in the camera."""
    return torch.cat([rotations[:, 0, :, 2], rotations[:, 0, :, 1]], 1)


def inside(keypoints: Tensor) -> Tensor:
    return (keypoints[..., 0].abs() < .375) & (keypoints[..., 1].abs() < .5)


class Summary(nn.Module):
    """Joints and their relative depths out of the encoder's free features alone: (B, 128) -> (B, 24, 3), crop heights.

    Only training has it. It makes the free features tell the whole pose, without peaks: where a heatmap settles on the
    wrong limb, these still give the middle of what is possible, and the regressor reads both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.leave = nn.Linear(GLOBAL_FEATURES, NUM_JOINTS * 3)

    def forward(self, overview: Tensor) -> Tensor:
        return self.leave(overview).unflatten(1, (NUM_JOINTS, 3))

    def loss(self, overview: Tensor, truth: dict[str, Tensor]) -> Tensor:
        """Mean distance along the axes, of people who are there; joints far outside the crop count as near ones."""
        wanted = torch.cat([truth['keypoints'][:, :NUM_JOINTS], truth['depths'][..., None]], 2).clamp(-1, 1)
        present, importance = truth['present'], IMPORTANCE[:NUM_JOINTS]
        off = ((self(overview) - wanted).abs().sum(2) * importance).mean(1)
        return (off * present).sum() / present.sum().clamp(min=1)


def keypoint_losses(encoder: KeypointEncoder, heatmaps: Tensor, depths: Tensor, overview: Tensor, facing: Tensor,
                    truth: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The encoder's loss and its parts; arguments as `KeypointEncoder.maps` gives them."""
    keypoints, present = truth['keypoints'], truth['present']
    mask, people = inside(keypoints).float() * present[:, None] * IMPORTANCE, present.sum().clamp(min=1)
    # A Gaussian is the product of one along x and one along y, and so are the sums over the map.
    n, height, width = len(keypoints), CROP_HEIGHT // 4, CROP_WIDTH // 4
    x, y = encoder.grid[:width, 0], encoder.grid[::width, 1]
    along_x, along_y = (_gaussian(keypoints[..., k], axis) for k, axis in enumerate((x, y)))
    logits = heatmaps.view(n, -1, height, width)
    probability = heatmaps.softmax(-1).view_as(logits)
    wanted = ((logits @ along_x[..., None])[..., 0] * along_y).sum(-1)
    mean = torch.stack([probability.sum(2) @ x, probability.sum(3) @ y], -1)
    depth = (probability[:, :24].detach().flatten(2) * depths).sum(-1)
    depth_off = ((depth - truth['depths']).abs().clamp(max=1) * IMPORTANCE[:NUM_JOINTS]).mean(1)
    parts = dict(
        heatmap=((heatmaps.logsumexp(-1) - wanted) * mask).sum() / mask.sum(),
        position=((mean - keypoints).abs().sum(-1) * mask).sum() / mask.sum(),
        depth=(depth_off * present).sum() / people,
        facing=(((facing - facing_of(truth['rotations'])) ** 2).sum(1) * present).sum() / people,
        presence=F.binary_cross_entropy_with_logits(encoder.presence(overview)[:, 0], present))
    return (parts['heatmap'] + 5 * parts['position'] + 6 * parts['depth'] + .5 * parts['facing']
            + parts['presence']), parts


def _gaussian(center: Tensor, axis: Tensor) -> Tensor:
    """Weights of sum one along `axis` (K,) about `center` (...): (..., K)."""
    return torch.softmax(-(center[..., None] - axis) ** 2 / (2 * SIGMA ** 2), -1)


@torch.no_grad()
def validate(encoder: KeypointEncoder, images: np.ndarray, truth: dict[str, Tensor]) -> dict[str, float]:
    encoder.eval()
    errors, depth_errors, wrong, mistaken = [], [], [], []
    for i in range(0, len(images), 250):
        heatmaps, depths, overview, facing = encoder.maps(channels_last(EmbeddedCliff.normalise(
            torch.from_numpy(images[i:i + 250]))))
        keypoints, _, depth = encoder.read(heatmaps, depths)
        present = truth['present'][i:i + 250] > .5
        want, mask = truth['keypoints'][i:i + 250], inside(truth['keypoints'][i:i + 250]) & present[:, None]
        errors.append((keypoints - want).norm(dim=-1)[mask])
        depth_errors.append((depth - truth['depths'][i:i + 250]).abs()[present].flatten())
        chest = truth['rotations'][i:i + 250, 0, :, 2]
        wrong.append(((facing[:, :3] * chest).sum(1) < 0)[present])
        mistaken.append((encoder.presence(overview)[:, 0] > 0) != present)
    encoder.train()
    error = torch.cat(errors)
    return {'mean_percent': error.mean().item() * 100, 'median_percent': error.median().item() * 100,
            'pck@0.1': (error < .1).float().mean().item() * 100,
            'depth_percent': torch.cat(depth_errors).mean().item() * 100,
            'facing_wrong_percent': torch.cat(wrong).float().mean().item() * 100,
            'presence_wrong_percent': torch.cat(mistaken).float().mean().item() * 100}


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def half_precision() -> torch.autocast:
    """bfloat16 where the processor computes with it: nearly twice the samples in the same time."""
    return torch.autocast('cpu', torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported())


def train(folder: Path, validation: Path, checkpoint: Path, skeleton: Skeleton, seconds: float,
          batch: int = 64, rate: float = RATE, log=print, encoder: KeypointEncoder | None = None,
          steps: int | None = None) -> KeypointEncoder:
    """Train for that long, or for so many steps (one cosine), resuming from `checkpoint` where there is one."""
    torch.manual_seed(0)
    encoder, summary = (encoder or KeypointEncoder()).to(memory_format=torch.channels_last), Summary()
    optimizer = torch.optim.AdamW([*encoder.parameters(), *summary.parameters()], rate, weight_decay=1e-3, fused=True)
    elapsed, step = 0., 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if 'summary' not in state:
            raise InputError(f"'{checkpoint}' is of an older version of this training: delete it, or change --work")
        encoder.load_state_dict(state['encoder'])
        summary.load_state_dict(state['summary'])
        optimizer.load_state_dict(state['optimizer'])
        elapsed, step = state['elapsed'], state['step']
    store = CropStore(folder, skeleton, seed=step)
    val_images, val_truth = prepare(validation, skeleton)
    log(f'keypoints: {store.refresh()} crops, resuming at {elapsed:.0f} s')
    means = Losses(log)
    started = time.monotonic() - elapsed
    saved = elapsed
    for images, truth in store.batches(batch):
        elapsed = time.monotonic() - started
        progress = step / steps if steps else elapsed / seconds
        if progress >= 1:
            break
        set_rate(optimizer, rate, progress, step)
        with torch.no_grad():
            x, truth = augment(images, truth)
        with half_precision():
            maps = encoder.maps(channels_last(x))
        maps = [part.float() for part in maps]
        loss, parts = keypoint_losses(encoder, *maps, truth)
        parts['summary'] = summary.loss(maps[2], truth)
        loss = loss + SUMMARY * parts['summary']
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 20.)
        optimizer.step()
        step += 1
        means.add(step, elapsed, step * batch, parts)
        if elapsed - saved > 150:
            saved = elapsed
            log('validation', {k: round(v, 2) for k, v in validate(encoder, val_images[:1000], val_truth).items()},
                store.refresh(), 'crops')
            _save(checkpoint, encoder, summary, optimizer, elapsed, step)
    _save(checkpoint, encoder, summary, optimizer, seconds, step)
    log('validation', {k: round(v, 2) for k, v in validate(encoder, val_images, val_truth).items()})
    return encoder


def _save(path: Path, encoder, summary, optimizer, elapsed: float, step: int) -> None:
    partial = path.with_suffix('.partial')
    torch.save(dict(encoder=encoder.state_dict(), summary=summary.state_dict(), optimizer=optimizer.state_dict(),
                    elapsed=elapsed, step=step), partial)
    partial.rename(path)
