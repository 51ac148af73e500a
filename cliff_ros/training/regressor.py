"""Stage 3: the regressor meets the trained encoder's real features.

The encoder stands still, so its features of all crops are computed once, and a step costs a fiftieth of one
through the images. Nearly half of each batch stays synthetic skeletons: the crops alone are too few poses.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path

import torch
from torch import Tensor

from cliff_ros.cliff.embedded import EmbeddedCliff
from cliff_ros.cliff.lifting import GLOBAL_FEATURES, LiftingRegressor
from cliff_ros.training.keypoints import CropStore, augment, channels_last, half_precision
from cliff_ros.training.losses import Skeleton, losses, measure, mirror, pose_only
from cliff_ros.training.progress import Losses, set_rate
from cliff_ros.training.skeletons import SkeletonSampler, corrupted_features, losses_of_tries

NAMES = ('rotations', 'betas', 'translation', 'location')
AVERAGE = .999  # of the weights, per step (EMA)
WEIGHTS = dict(reprojection=30., pose=.5)  # the encoder knows best where joints are in the image
POSE_ONLY = 40.  # weight of the joints' distance when turned and scaled to fit


@torch.no_grad()
def extract(model: EmbeddedCliff, store: CropStore, mirrored: bool = False, batch: int = 128) -> tuple[Tensor, dict]:
    """Features (N, F) of every crop with a person, in new colours, if `mirrored` also of its mirror image."""
    model.eval()
    kept, rows = {}, 0  # made once: what is kept piece by piece pins the heap, which then grows by 0.6 GB a shard
    for images, truth in store.once(batch):
        x, truth = augment(images, truth, geometric=False)
        people = truth['present'] > .5
        truth = {name: truth[name][people] for name in NAMES}
        with half_precision():  # all of the batch: every other size would cost a plan of its own, in time and memory
            both = model.encoder.both_ways(channels_last(x))
        looks = (truth, mirror(truth, torch.ones(len(truth['location']), dtype=torch.bool)))[:1 + mirrored]
        for maps, label in zip(both, looks, strict=False):
            found = label | dict(features=model.encoder.features(*(part.float() for part in maps))[people])
            for name, value in found.items():
                if name not in kept:
                    kept[name] = value.new_empty(len(store) * len(looks), *value.shape[1:])
                kept[name][rows:rows + len(value)] = value
            rows += int(people.sum())
    kept = {name: value[:rows].clone() for name, value in kept.items()}
    return kept.pop('features'), kept


def train(model: EmbeddedCliff, store: CropStore, cache: Path, validation: tuple[Tensor, dict], skeleton: Skeleton,
          seconds: float, batch: int = 512, skeletons: int = 384, rate: float = 8e-4, log=print) -> LiftingRegressor:
    """Train the regressor in place for that long and return its running average."""
    torch.manual_seed(3)
    if not cache.exists():
        torch.save(extract(model, store, mirrored=True), cache)
    features, truth = torch.load(cache, weights_only=True)
    regressor, sampler = model.regressor.train(), SkeletonSampler(skeleton, seed=11)
    average = copy.deepcopy(regressor).eval()
    optimizer = torch.optim.AdamW(regressor.parameters(), rate, weight_decay=2e-2)
    log(f'regressor: {len(features)} feature vectors,', _figures(average, *validation, skeleton))
    started, step, means = time.monotonic(), 0, Losses(log)
    while (progress := (time.monotonic() - started) / seconds) < 1:
        set_rate(optimizer, rate, progress, step)
        with torch.no_grad():
            pick = torch.randint(len(features), (batch,))
            real = features[pick]
            real[:, -GLOBAL_FEATURES:] *= (torch.rand(batch, 1) > .25).float()  # withheld, as always for skeletons
            target = {name: value[pick] for name, value in truth.items()}
            other, keypoints = sampler.batch(skeletons)
            made = corrupted_features(other, keypoints, skeleton)
        loss, parts = losses_of_tries(regressor, real, target, skeleton, _on_crops)
        synthetic, _ = losses_of_tries(regressor, made, other, skeleton)
        optimizer.zero_grad(set_to_none=True)
        (loss + .5 * synthetic).backward()
        torch.nn.utils.clip_grad_norm_(regressor.parameters(), 20.)
        optimizer.step()
        step += 1
        with torch.no_grad():
            for mean, value in zip(average.parameters(), regressor.parameters(), strict=True):
                mean.lerp_(value, 1 - min(AVERAGE, step / (step + 10)))
        if means.add(step, progress * seconds, step * batch, parts):
            log('validation', _figures(average, *validation, skeleton))
    model.regressor.load_state_dict(average.state_dict())
    return average


def _on_crops(rotations: Tensor, betas: Tensor, camera: Tensor, truth: dict[str, Tensor], skeleton: Skeleton
              ) -> tuple[Tensor, dict[str, Tensor]]:
    total, parts = losses(rotations, betas, camera, truth, skeleton, WEIGHTS)
    parts['aligned'] = pose_only(rotations, betas, truth, skeleton)
    return total + POSE_ONLY * parts['aligned'], parts


@torch.no_grad()
def _figures(regressor: LiftingRegressor, features: Tensor, truth: dict, skeleton: Skeleton) -> dict[str, float]:
    out = regressor(features, EmbeddedCliff.bbox_info(truth['location']))
    return {name: round(value, 2) for name, value in measure(*out, truth, skeleton).items()}
