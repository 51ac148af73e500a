"""Stage 3: the regressor meets the trained encoder's real features.

The encoder stands still, so its features of all crops are computed once, and a step costs a fiftieth of one
through the images. Nearly half of each batch stays synthetic skeletons: the crops alone are too few poses.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from cliff_ros.cliff.embedded import EmbeddedCliff
from cliff_ros.cliff.lifting import GLOBAL_FEATURES, NUM_FEATURES, LiftingRegressor
from cliff_ros.training.augment import augment
from cliff_ros.training.loop import Log, Progress, Stage
from cliff_ros.training.losses import Skeleton, losses, measure, mirror, pose_only
from cliff_ros.training.pool import CropPool
from cliff_ros.training.progress import channels_last, half_precision, rounded
from cliff_ros.training.skeletons import SkeletonSampler, losses_of_tries, made

NAMES = ('rotations', 'betas', 'translation', 'location')
WEIGHTS = dict(reprojection=30.0, pose=0.5)  # the encoder knows best where joints are in the image
POSE_ONLY = 40.0  # weight of the joints' distance when turned and scaled to fit
RATE = 8e-4
BATCH = {'cpu': (512, 384), 'cuda': (4096, 3072)}  # of crops, of skeletons
CROPS_AT_ONCE = {'cpu': 128, 'cuda': 1024}


@torch.no_grad()
def extract(
    model: EmbeddedCliff,
    pool: CropPool,
    mirrored: bool = False,
    parts: float = 0.0,
    looks: float = 1.0,
    batch: int = 0,
    until: Callable[[], bool] | None = None,
) -> tuple[Tensor, dict]:
    """Features (N, F) of every crop with a person, in new colors, if `mirrored` also of its mirror image, on the
    model's device.

    parts: share of crops of a part of the person; until: whether to stop with what there is.
    """
    model.eval()
    device = next(model.parameters()).device
    batch = batch or CROPS_AT_ONCE.get(device.type, 128)
    kept, rows = {}, 0  # made once: what is kept piece by piece pins the heap, which then grows by 0.6 GB a shard
    for images, truth in pool.once(batch):
        if rows and until and until():  # the first batch is always taken
            break
        truth = {name: value.to(device) for name, value in truth.items()}
        x, truth = augment(images.to(device), truth, turns=False, parts=parts, looks=looks)
        people = truth['present'] > 0.5
        truth = {name: truth[name][people] for name in NAMES}
        with half_precision(device):  # all of the batch: every other size costs a plan of its own, in time and memory
            both = model.encoder.both_ways(channels_last(x))
        shown = (truth, mirror(truth, torch.ones(len(truth['location']), dtype=torch.bool, device=device)))
        for maps, label in zip(both, shown[: 1 + mirrored], strict=False):
            found = label | dict(features=model.encoder.features(maps.float())[people])
            for name, value in found.items():
                if name not in kept:
                    kept[name] = value.new_empty(len(pool) * (1 + mirrored), *value.shape[1:])
                kept[name][rows : rows + len(value)] = value
            rows += len(label['location'])
    if not kept:
        return torch.empty(0, NUM_FEATURES, device=device), {}
    kept = {name: value[:rows].clone() for name, value in kept.items()}
    return kept.pop('features'), kept


def joined(sets: list[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Several of `extract` as one."""
    sets = [one for one in sets if len(one[0])]
    return (
        torch.cat([features for features, _ in sets]),
        {name: torch.cat([truth[name] for _, truth in sets]) for name in NAMES},
    )


class LiftingStage(Stage[LiftingRegressor]):
    """The regressor learns from features and truth of their device, and from skeletons; the result is its average.

    validation: features and truth by name; skeleton: on that device.
    """

    name, weight_decay = 'regressor', 2e-2

    def __init__(
        self,
        regressor: LiftingRegressor,
        features: Tensor,
        truth: dict[str, Tensor],
        validation: dict[str, tuple[Tensor, dict]],
        skeleton: Skeleton,
        progress: Progress,
        rate: float = RATE,
        log: Log = print,
    ) -> None:
        torch.manual_seed(3)
        self.features, self.truth, self.validation, self.skeleton = features, truth, validation, skeleton
        self.sampler = SkeletonSampler(skeleton, seed=11)
        self.batch, self.skeletons = BATCH.get(features.device.type, (512, 384))
        super().__init__(regressor.to(features.device).train(), rate, progress, log=log)

    @property
    def batch_size(self) -> int:
        """Crops in a batch; the skeletons beside them are not counted."""
        return self.batch

    def begin(self) -> None:
        """Log how many features there are, and the figures before the first step."""
        self.log(f'{self.name}: {len(self.features)} feature vectors')
        self.look('at the start')

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Of random crops and new skeletons, by `loss_on`."""
        return loss_on(self.module, self.features, self.truth, self.sampler, self.batch, self.skeletons)

    def after(self, over: float, parts: dict[str, Tensor]) -> None:
        """Look whenever a line of losses was due, not by the clock; no checkpoint is written."""
        if self.losses.add(self.count, time.monotonic() - self._started, self.samples, parts):
            self.look(f'{100 * over:.0f} %')

    def look(self, when: str) -> None:
        """Log the `figures` of each validation set."""
        for name, held_out in self.validation.items():
            self.log(f'{self.name}, {when}, {name}:', figures(self.result, *held_out, self.skeleton))


def loss_on(
    regressor: LiftingRegressor,
    features: Tensor,
    truth: dict[str, Tensor],
    sampler: SkeletonSampler,
    batch: int,
    skeletons: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Of so many of the features and so many skeletons, at random; the parts are of the first."""
    device = features.device
    with torch.no_grad():
        pick = torch.randint(len(features), (batch,), device=device)
        real, free = features[pick].split([NUM_FEATURES - GLOBAL_FEATURES, GLOBAL_FEATURES], 1)
        heard = (torch.rand(batch, 1, device=device) > 0.25).float()  # withheld, as always for skeletons
        real = torch.cat([real, free * heard], 1)
        target = {name: value[pick] for name, value in truth.items()}
        other, other_truth = made(sampler, skeletons)
    loss, parts = losses_of_tries(regressor, real, target, sampler.skeleton, _on_crops)
    synthetic, _ = losses_of_tries(regressor, other, other_truth, sampler.skeleton)
    return loss + 0.5 * synthetic, parts


def _on_crops(
    rotations: Tensor, betas: Tensor, camera: Tensor, truth: dict[str, Tensor], skeleton: Skeleton
) -> tuple[Tensor, dict[str, Tensor]]:
    total, parts = losses(rotations, betas, camera, truth, skeleton, WEIGHTS)
    parts['aligned'] = pose_only(rotations, betas, truth, skeleton)
    return total + POSE_ONLY * parts['aligned'], parts


@torch.no_grad()
def figures(regressor: LiftingRegressor, features: Tensor, truth: dict, skeleton: Skeleton) -> dict[str, float]:
    """What `measure` says of the regressor on features (N, F): in mm, degrees, m and percent, to two digits."""
    rotations, betas, camera = regressor(features, EmbeddedCliff.bbox_info(truth['location']))
    return rounded(measure(rotations, betas, camera, truth, skeleton))
