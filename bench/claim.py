"""CLIFF's claim as an experiment: one regressor, trained with and without the location, in the crop and the full frame.

The encoder stands still and sees only the crop, so location can enter at two places: the regressor's input, and
the camera through which its people are projected for the 2D loss. Each place is switched on and off; crops,
features, size, steps, seeds and all other losses stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor, nn

from cliff_ros.cliff.embedded import EmbeddedCliff
from cliff_ros.cliff.lifting import NUM_KEYPOINTS, NUM_OUTPUTS, SMALLEST_SCALE, Parameters, ResidualMLP
from cliff_ros.cliff.rotation import matrix_from_6d
from cliff_ros.crop.translation import full_translation
from cliff_ros.evaluation import metrics
from cliff_ros.training.loop import Log, Stage
from cliff_ros.training.losses import Skeleton, in_crop, in_full_frame, losses

# Of the features, the 2D keypoints and how sure they are. The others - depths, facing, the free ones - were taught in
# the camera's frame: a good encoder finds the azimuth for them in the perspective of the crop, and tells it.
IN_THE_IMAGE = NUM_KEYPOINTS * 3
NOWHERE = (0.0, 0.0, 0.5)  # the location of everybody, to a network that is not told: on the axis, of middle size
WEIGHTS = dict(depth=0.0)  # nobody is told where people stand, as in the paper: translation comes from the 2D loss
WIDTH = 256  # of the regressor: a third of a million parameters, so that twelve trainings are cheap
AVERAGE = 0.998  # of the weights, per step (EMA)
EDGES = (0, 10, 15, 20, 25, 30, 35, 40, 45, 60)  # [deg] off the optical axis
ON_AXIS, FAR = 10, 25  # [deg]


@dataclass(frozen=True)
class Variant:
    """location: whether the regressor is told where its crop lies. full_frame: whether the 2D loss knows."""

    key: str
    name: str
    location: bool
    full_frame: bool

    def told(self, location: Tensor) -> Tensor:
        """The regressor's second input (B, 3) for crops at location (B, 3) = (cx/f, cy/f, b/f)."""
        if not self.location:
            location = torch.tensor(NOWHERE).expand(len(location), 3)
        return EmbeddedCliff.bbox_info(location)

    def loss(
        self, rotations: Tensor, betas: Tensor, camera: Tensor, truth: dict[str, Tensor], skeleton: Skeleton
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and its parts: SMPL parameters and 3D joints for all, 2D joints in the variant's own camera."""
        return losses(rotations, betas, camera, truth, skeleton, WEIGHTS, in_full_frame if self.full_frame else in_crop)


VARIANTS = (
    Variant('cliff', 'both (CLIFF)', True, True),
    Variant('location', 'location only', True, False),
    Variant('full_frame', 'full-frame loss only', False, True),
    Variant('neither', 'neither (HMR)', False, False),
)


class PlainRegressor(nn.Module):
    """[2D keypoints | bbox_info] -> SMPL and crop camera, and no geometry in between: location counts as an input only.

    Called with all features of the encoder, of which it reads those `IN_THE_IMAGE`.
    """

    def __init__(self, width: int = WIDTH, blocks: int = 2) -> None:
        super().__init__()
        self.mlp = ResidualMLP(IN_THE_IMAGE + 3, width, blocks)
        self.leave = nn.Linear(width, NUM_OUTPUTS)
        nn.init.normal_(self.leave.weight, std=0.002)
        nn.init.zeros_(self.leave.bias)
        mean = torch.zeros(NUM_OUTPUTS)
        mean[0:144:6] = mean[3:144:6] = 1  # identity rotations
        mean[3] = -1  # the root upright before the camera: 180 degrees about x
        mean[154] = 1
        self.register_buffer('mean', mean)

    def forward(self, features: Tensor, bbox_info: Tensor) -> Parameters:
        out = self.mean + self.leave(self.mlp(torch.cat([features[:, :IN_THE_IMAGE], bbox_info], 1)))
        camera = torch.cat([out[:, 154:155].clamp(min=SMALLEST_SCALE), out[:, 155:]], 1)
        return matrix_from_6d(out[:, :144].unflatten(1, (24, 6))), out[:, 144:154], camera


class ClaimStage(Stage[PlainRegressor]):
    """One regressor learns from features (N, F) and their truth.

    A seed gives every variant the same first weights and the same batches in the same order.
    """

    name, weight_decay, decay = 'claim', 2e-2, AVERAGE

    def __init__(
        self,
        variant: Variant,
        seed: int,
        features: Tensor,
        truth: dict[str, Tensor],
        skeleton: Skeleton,
        steps: int,
        batch: int = 512,
        rate: float = 1.5e-3,
        log: Log = print,
    ) -> None:
        torch.manual_seed(seed)
        self.variant, self.features, self.truth, self.skeleton = variant, features, truth, skeleton
        self.batch = batch
        super().__init__(PlainRegressor(), rate, lambda count: count / steps, log=log)
        self.losses.every = max(1, steps // 4)

    @property
    def batch_size(self) -> int:
        return self.batch

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        pick = torch.randint(len(self.features), (self.batch,))
        target = {name: value[pick] for name, value in self.truth.items()}
        out = self.module(self.features[pick], self.variant.told(target['location']))
        return self.variant.loss(*out, target, self.skeleton)


def train(variant: Variant, seed: int, *args, **options) -> PlainRegressor:
    """The running average of one regressor; arguments as of `ClaimStage`."""
    return ClaimStage(variant, seed, *args, **options).run()


@torch.no_grad()
def errors(
    variant: Variant, regressor: PlainRegressor, features: Tensor, truth: dict[str, Tensor], skeleton: Skeleton
) -> dict[str, np.ndarray]:
    """Errors of every person (N,): root, yaw [deg], mpjpe, pa_mpjpe [mm], translation [m], depth [relative]."""
    rotations, betas, camera = regressor(features, variant.told(truth['location']))
    joints, true = skeleton(betas, rotations), skeleton(truth['betas'], truth['rotations'])
    pelvis = joints[:, 0] + full_translation(camera, truth['location'])
    true_pelvis = (true[:, 0] + truth['translation']).numpy()
    roots = rotations[:, 0].numpy(), truth['rotations'][:, 0].numpy()
    return dict(
        root=metrics.rotation_error(*roots),
        yaw=metrics.yaw_error(*roots),
        mpjpe=metrics.mpjpe(joints.numpy(), true.numpy()),
        pa_mpjpe=metrics.pa_mpjpe(joints.numpy(), true.numpy()),
        translation=metrics.translation_error(pelvis.numpy(), true_pelvis),
        depth=pelvis[:, 2].numpy() / true_pelvis[:, 2] - 1,
    )


def directions(truth: dict[str, Tensor], skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Azimuth (N,), positive to the right, and angle off the optical axis (N,), both [deg], of the pelvises."""
    x, y, z = (skeleton(truth['betas'], truth['rotations'])[:, 0] + truth['translation']).double().numpy().T
    return np.degrees(np.arctan2(x, z)), np.degrees(np.arctan2(np.hypot(x, y), z))


def figures(person: dict[str, np.ndarray], azimuth: np.ndarray, off_axis: np.ndarray) -> dict[str, float | np.ndarray]:
    """What is reported of one training, from the errors of every person: medians of root, translation and depth,
    means of MPJPE; on the axis, beyond 25 degrees off it, and (bins,) between `EDGES`.
    """
    spot = np.digitize(off_axis, EDGES) - 1
    groups = dict(on_axis=off_axis < ON_AXIS, far=off_axis >= FAR, all=np.full(len(off_axis), True))
    found: dict[str, float | np.ndarray] = {'yaw_slope': metrics.yaw_slope(person['yaw'], azimuth, resamples=2)[0]}
    for error, middle in (('root', np.median), ('mpjpe', np.mean), ('pa_mpjpe', np.mean), ('translation', np.median)):
        values = person[error]
        found |= {f'{error}_{group}': float(middle(values[where])) for group, where in groups.items()}
        found[f'{error}_by_angle'] = np.array(
            [middle(values[spot == k]) if (spot == k).any() else np.nan for k in range(len(EDGES) - 1)]
        )
    for group, where in groups.items():
        found[f'depth_{group}'] = float(np.median(person['depth'][where]))
        found[f'flips_{group}'] = float((np.abs(person['yaw'][where]) > metrics.FLIP).mean())
    return found


def over_seeds(values: Sequence[float | np.ndarray]) -> dict[str, np.ndarray]:
    """Mean of a figure over the seeds, and the ends of its 95 % interval (Student); NaN for a single seed."""
    values = np.array(values, np.float64)
    n, mean = len(values), values.mean(0)
    if n > 1:
        reach = student.ppf(0.975, n - 1) * values.std(0, ddof=1) / np.sqrt(n)
    else:
        reach = np.full_like(mean, np.nan)
    return dict(mean=mean, low=mean - reach, high=mean + reach)


def told_by_the_crop(
    features: Tensor,
    truth: dict[str, Tensor],
    held_out: tuple[Tensor, dict[str, Tensor]],
    skeleton: Skeleton,
    steps: int = 1000,
) -> float:
    """Share of the azimuth's variance that a network of the same kind reads out of the crop's keypoints alone.

    This is what leaks: nobody who sees the crop is blind beyond it. Measured on the held-out people.
    """
    features, seen = features[:, :IN_THE_IMAGE], held_out[0][:, :IN_THE_IMAGE]
    azimuth, unseen = (torch.from_numpy(directions(t, skeleton)[0]).float() / 30 for t in (truth, held_out[1]))
    probe = ProbeStage(features, azimuth, steps).run()
    with torch.no_grad():
        return 1 - (((probe(seen)[:, 0] - unseen) ** 2).mean() / unseen.var(correction=0)).item()


class ProbeStage(Stage[nn.Sequential]):
    """A network learns the azimuth (N,) from keypoints (N, K)."""

    name, weight_decay, decay = 'probe', 2e-2, None

    def __init__(self, keypoints: Tensor, azimuth: Tensor, steps: int) -> None:
        torch.manual_seed(0)
        self.keypoints, self.azimuth = keypoints, azimuth
        probe = nn.Sequential(
            nn.Linear(keypoints.shape[1], 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)
        )
        super().__init__(probe, 1e-3, lambda count: count / steps, log=lambda *_: None)

    @property
    def batch_size(self) -> int:
        return 512

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        pick = torch.randint(len(self.keypoints), (self.batch_size,))
        loss = ((self.module(self.keypoints[pick])[:, 0] - self.azimuth[pick]) ** 2).mean()
        return loss, {'loss': loss}
