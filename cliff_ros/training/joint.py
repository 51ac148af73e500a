"""Stage 4: encoder and regressor together on rendered crops, with CLIFF's losses in the full frame.

Two thirds of what the regressor sees stay synthetic skeletons: rendered crops alone are too few poses for it.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cliff_ros.cliff.embedded import EmbeddedCliff
from cliff_ros.cliff.lifting import pack_features
from cliff_ros.training.keypoints import (
    CropStore,
    augment,
    channels_last,
    half_precision,
    keypoint_losses,
    prepare,
)
from cliff_ros.training.losses import Skeleton, measure
from cliff_ros.training.progress import Losses, set_rate
from cliff_ros.training.skeletons import SkeletonSampler, corrupted_features, losses_of_tries

AVERAGE = .999  # of the weights, per step (EMA)


def features_with_losses(model: EmbeddedCliff, x: Tensor, truth: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Features (B, F) of normalised crops, and the encoder's own loss on them."""
    encoder = model.encoder
    with half_precision():
        maps = encoder.maps(channels_last(x))
    heatmaps, depths, overview, facing = (part.float() for part in maps)
    loss, _ = keypoint_losses(encoder, heatmaps, depths, overview, facing, truth)
    keypoints, spread, depth = encoder.read(heatmaps, depths)
    # the free features are sometimes withheld, as they always are for skeletons
    keep = (torch.rand(len(x), 1) > .25).float()
    return pack_features(keypoints, spread, depth, facing, overview * keep), loss


@torch.no_grad()
def validate(model: EmbeddedCliff, images: np.ndarray, truth: dict[str, Tensor], skeleton: Skeleton
             ) -> dict[str, float]:
    model.eval()
    outputs = []
    for i in range(0, len(images), 250):
        x = channels_last(model.normalise(torch.from_numpy(images[i:i + 250])))
        outputs.append(model(x, model.bbox_info(truth['location'][i:i + 250])))
    model.train()
    people = truth['present'][:len(images)] > .5
    return measure(*(torch.cat(parts)[people] for parts in zip(*outputs, strict=True)),
                   {k: v[:len(images)][people] for k, v in truth.items()}, skeleton)


def train(model: EmbeddedCliff, folder: Path, validation: Path, checkpoint: Path, skeleton: Skeleton,
          seconds: float, batch: int = 48, skeletons: int = 256, rate: float = 4e-4, log=print) -> EmbeddedCliff:
    """Train for that long (one cosine), resuming from `checkpoint`; returns the averaged model."""
    torch.manual_seed(2)
    model = model.to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(model).eval()
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-3)
    elapsed, step = 0., 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state['model'])
        average.load_state_dict(state['average'])
        optimizer.load_state_dict(state['optimizer'])
        elapsed, step = state['elapsed'], state['step']
    store, sampler = CropStore(folder, skeleton, seed=100 + step), SkeletonSampler(skeleton, seed=step + 7)
    images_val, truth_val = prepare(validation, skeleton)
    log('joint, at the start:', _round(validate(model, images_val, truth_val, skeleton)))
    means, saved, started = Losses(log), elapsed, time.monotonic() - elapsed
    for images, truth in store.batches(batch):
        elapsed = time.monotonic() - started
        if (progress := elapsed / seconds) >= 1:
            break
        set_rate(optimizer, rate, progress, step)
        with torch.no_grad():
            x, truth = augment(images, truth, geometric=False)
            other, keypoints = sampler.batch(skeletons)
            other_features = corrupted_features(other, keypoints, skeleton)
        features, keypoint_loss = features_with_losses(model, x, truth)
        people = truth['present'] > .5
        truth = {name: value[people] for name, value in truth.items()}
        real, parts = losses_of_tries(model.regressor, features[people], truth, skeleton)
        synthetic, _ = losses_of_tries(model.regressor, other_features, other, skeleton)
        loss = real + .7 * synthetic + .5 * keypoint_loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 20.)
        optimizer.step()
        step += 1
        _follow(average, model, min(AVERAGE, step / (step + 10)))
        means.add(step, elapsed, step * batch, parts)
        if elapsed - saved > 180:
            saved = elapsed
            log('validation', _round(validate(average, images_val[:1000], truth_val, skeleton)),
                store.refresh(), 'crops')
            _save(checkpoint, model, average, optimizer, elapsed, step)
    _save(checkpoint, model, average, optimizer, seconds, step)
    log('joint, at the end:', _round(validate(average, images_val, truth_val, skeleton)))
    return average.eval()


@torch.no_grad()
def _follow(average: EmbeddedCliff, model: EmbeddedCliff, decay: float) -> None:
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if value.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _round(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in figures.items()}


def _save(path: Path, model, average, optimizer, elapsed: float, step: int) -> None:
    partial = path.with_suffix('.partial')
    torch.save(dict(model=model.state_dict(), average=average.state_dict(), optimizer=optimizer.state_dict(),
                    elapsed=elapsed, step=step), partial)
    partial.rename(path)
