"""Stage 2: the regressor learns from unlimited projected skeletons, without rendering a pixel.

The features that the encoder would give are made from the truth, with errors like the encoder's: a heavy
tail of misplaced joints, left/right swaps, hidden joints, and a log spread that only roughly tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cliff_ros.body import load_body
from cliff_ros.body.outline import farthest_vertices
from cliff_ros.body.tensors import constant, index
from cliff_ros.cliff.embedded import LOG_SPREAD_UNIT, EmbeddedCliff
from cliff_ros.cliff.lifting import GLOBAL_FEATURES, MIRROR_KEYPOINTS, NUM_FEATURES, LiftingRegressor, pack_features
from cliff_ros.synthetic.actor import FACE_VERTICES
from cliff_ros.synthetic.crops import FOV, MARGIN
from cliff_ros.synthetic.poses import euler_to_matrix, sample_poses
from cliff_ros.synthetic.scene import FACING_CAMERA, sample_betas
from cliff_ros.training.augment import inside
from cliff_ros.training.loop import Log, Progress, Stage
from cliff_ros.training.losses import Skeleton, facing_of, losses, mirror, project, relative_depths

OUTER = (15, 22, 23, 20, 21, 10, 11, 7, 8, 16, 17, 0, 4, 5, 18, 19)  # joints whose skin makes the box of a mesh
ARM = [18, 20, 22]
LEG = [1, 4, 7, 10]
EARLIER_TRIES = 0.4  # weight of their losses
CUT = 1 / 3  # of the people: near, cut by the image's border
TILTED = 0.25  # of the cameras
RATE, BATCH = 1.2e-3, {'cpu': 512, 'cuda': 4096}


class SkeletonSampler:
    """Batches of projected people in random cameras: about the distribution of synthetic.crops, no images.

    skeleton: on the device where the people are wanted.
    """

    def __init__(self, skeleton: Skeleton, pool: int = 60_000, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.skeleton, self.device = skeleton, skeleton.template.device
        body = load_body()
        directions = np.random.default_rng(0).normal(size=(len(OUTER), 6, 3))
        extra = farthest_vertices(body, OUTER, directions)
        self.num_face = len(FACE_VERTICES)
        points = np.concatenate([FACE_VERTICES, extra])
        self.owner = body.weights[points].argmax(1).tolist()

        def here(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device)

        self.poses = here(euler_to_matrix(sample_poses(rng, pool)))
        self.shapes = here(sample_betas(rng, pool))
        self.template = here(body.v_template[points])
        self.directions = here(np.moveaxis(body.shapedirs[points], 2, 0)[:10])
        self.facing_camera = here(FACING_CAMERA)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device) * (high - low) + low

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def _some(self, share: float, n: int) -> Tensor:
        return self._uniform(0, 1, n) < share

    def batch(self, size: int) -> tuple[dict[str, Tensor], Tensor]:
        """Truth, and keypoints (B, 29, 2) in crop heights. May return fewer than `size` people."""
        truth, keypoints, good = self.candidates(int(size * 2.6))
        keep = torch.where(good)[0][:size]
        return {k: v[keep] for k, v in truth.items()}, keypoints[keep]

    def candidates(self, n: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """As `batch`, and which of them are seen well enough to be somebody's crop."""
        g, device = self.generator, self.device
        rotations = self.poses[torch.randint(len(self.poses), (n,), generator=g, device=device)]
        tilted = self._some(TILTED, n)
        pitch = torch.where(tilted, self._normal(n) * 28, self._normal(n) * 14 + 6)
        roll = torch.where(tilted, self._normal(n) * 18, self._normal(n) * 5)
        root = about(2, roll) @ about(0, pitch) @ self.facing_camera @ about(1, self._uniform(-180, 180, n))
        rotations = torch.cat([(root @ rotations[:, 0])[:, None], rotations[:, 1:]], 1)
        betas = self.shapes[torch.randint(len(self.shapes), (n,), generator=g, device=device)]
        world, joints = self.skeleton.posed(betas, rotations)
        surface = self._surface(betas, world, joints)
        half_x = torch.tan(torch.deg2rad(self._uniform(*FOV, n)) / 2)
        aspect = constant(device, (0.75, 0.5625, 1.0, 1.5))[
            torch.multinomial(constant(device, (0.45, 0.4, 0.1, 0.05)), n, True, generator=g)
        ]
        half = torch.stack([half_x, half_x * aspect], 1)
        cut = self._some(CUT, n)
        tall = torch.where(
            cut, self._uniform(math.log(0.6), math.log(4.0), n), self._uniform(math.log(0.13), math.log(1.15), n)
        )
        z = 1.7 / (2 * half[:, 1] * torch.exp(tall))
        # of most who are cut the head is in the image, and the pelvis as far below as they are near
        with_head = self._uniform(-1.0, 0.4, n) + 0.8 * torch.exp(tall)
        down = torch.where(
            cut, torch.where(self._some(0.8, n), with_head, self._uniform(-1.5, 2.5, n)), self._uniform(-0.75, 0.75, n)
        )
        at = torch.stack([self._uniform(-1, 1, n) * half[:, 0], down * half[:, 1]], 1)
        translation = torch.cat([at * z[:, None], z[:, None]], 1) - joints[:, 0]
        points = torch.cat([joints, surface], 1) + translation[:, None]
        image = project(points)
        low, high = image.amin(1), image.amax(1)
        box_low, box_high = torch.maximum(low, -half), torch.minimum(high, half)
        # something in front hides the lower part of some, and their box ends there
        left = torch.where(self._some(0.15, n), self._uniform(0.35, 0.9, n), 1.0)
        box_high = torch.stack([box_high[:, 0], box_low[:, 1] + left * (box_high[:, 1] - box_low[:, 1])], 1)
        extent = box_high - box_low
        height = MARGIN * torch.maximum(extent[:, 1], extent[:, 0] * 4 / 3)
        careless = self._some(0.3, n)  # boxes of a detector that does not know better
        jitter = (
            torch.where(
                careless[:, None], self._uniform(-0.15, 0.15, n, 2), (self._normal(n, 2) * 0.03).clamp(-0.08, 0.08)
            )
            * height[:, None]
        )
        center = (box_low + box_high) / 2 + jitter
        height = height * torch.exp(
            torch.where(
                careless,
                self._uniform(math.log(0.45), math.log(1.9), n),
                (self._normal(n) * 0.07 + 0.01).clamp(-0.18, 0.2),
            )
        )
        keypoints = (image[:, : 24 + self.num_face] - center[:, None]) / height[:, None, None]
        seen = (inside(keypoints) & (image[:, : 24 + self.num_face].abs() < half[:, None]).all(2)).sum(1)
        share = extent.clamp(min=0).prod(1) / (high - low).prod(1)
        good = (
            (extent > 0).all(1)
            & (share > torch.where(cut, 0.08, 0.45))
            & (seen >= 6)
            & (half[:, 1] < 1.5)
            & (points[..., 2].amin(1) > 0.25)
        )
        truth = dict(
            betas=betas, rotations=rotations, translation=translation, location=torch.cat([center, height[:, None]], 1)
        )
        return truth, keypoints, good

    def _surface(self, betas: Tensor, world: Tensor, joints: Tensor) -> Tensor:
        """Some surface points, each moved rigidly with the joint that owns it; world: orientations (B, 24, 3, 3)."""
        owner = index(self.device, self.owner)
        local = self.template + torch.tensordot(betas, self.directions, 1) - self.skeleton.rest(betas)[:, owner]
        return joints[:, owner] + (world[:, owner] @ local[..., None])[..., 0]


def about(axis: int, degrees: Tensor) -> Tensor:
    """Rotations (N, 3, 3) about the x, y or z axis by (N,)."""
    angle = torch.deg2rad(degrees)
    c, s, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    rows = (
        [one, zero, zero, zero, c, -s, zero, s, c],
        [c, zero, s, zero, one, zero, -s, zero, c],
        [c, -s, zero, s, c, zero, zero, zero, one],
    )[axis]
    return torch.stack(rows, 1).view(-1, 3, 3)


def corrupted_features(truth: dict[str, Tensor], keypoints: Tensor, skeleton: Skeleton) -> Tensor:
    """What a mediocre encoder would say of these people; the 128 free features are zero."""
    n, device = len(keypoints), keypoints.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device)

    depths = relative_depths(truth, skeleton)
    edge = constant(device, (0.375, 0.5))
    # how far inside of the crop, of which an encoder is not sure near the border
    margin = (edge - keypoints.abs()).amin(2)
    confidence = torch.sigmoid((margin / 0.02 + 1.5 * normal(n, 29)).clamp(-6, 6))
    seen = torch.where(uniform(n, 29) < 0.02, uniform(n, 29), confidence)
    spread = torch.exp(normal(n, 1) * 0.7 + math.log(0.02)) * torch.exp(normal(n, 29) * 0.5)
    lost = (uniform(n, 29) < 0.05) | ((margin < 0) & (uniform(n, 29) < 0.85))
    spread = torch.where(lost, 0.1 + 0.2 * uniform(n, 29), spread).clamp(max=0.3)
    kind = uniform(n)
    legs, arms = list(range(29)), list(range(29))
    for left in LEG:
        legs[left], legs[left + 1] = left + 1, left
    for left in ARM:
        arms[left], arms[left + 1] = left + 1, left
    for low, high, order in ((0, 0.02, MIRROR_KEYPOINTS), (0.02, 0.05, legs), (0.05, 0.07, arms)):
        pick = ((kind >= low) & (kind < high))[:, None, None]
        keypoints = torch.where(pick, keypoints[:, index(device, order)], keypoints)
    # What is outside is guessed from the rest, the worse the farther it is.
    guess = keypoints.clamp(-1, 1) + normal(n, 29, 2) * (0.06 + 0.2 * (-margin).clamp(0, 1))[..., None]
    found = keypoints + normal(n, 29, 2) * spread[..., None] / math.sqrt(1.57)
    found = torch.minimum(torch.maximum(found, -edge), edge)
    keypoints = torch.lerp(guess, found, seen[..., None])
    log_spread = (torch.log(spread / LOG_SPREAD_UNIT) + 0.4 * normal(n, 29)).clamp(-2, 3)
    depth_error = torch.lerp(0.1 + 0 * spread, 0.03 + 0.8 * spread, seen)[:, :24]
    depths = depths + normal(n, 24) * depth_error
    facing = facing_of(truth['rotations']) + 0.25 * normal(n, 6)
    wrong = torch.where(uniform(n, 1) < 0.04, -1.0, 1.0)
    facing = torch.cat([facing[:, :3] * wrong, facing[:, 3:]], 1)
    return pack_features(keypoints, log_spread, depths, facing, seen, torch.zeros(n, GLOBAL_FEATURES, device=device))


def made(sampler: SkeletonSampler, size: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Features and truth of a batch of skeletons, half of them mirrored."""
    with torch.no_grad():
        truth, keypoints = sampler.batch(size)
        return _seen(truth, keypoints, sampler.skeleton)


def _seen(truth: dict[str, Tensor], keypoints: Tensor, skeleton: Skeleton) -> tuple[Tensor, dict[str, Tensor]]:
    device = keypoints.device
    flip = torch.rand(len(keypoints), device=device) < 0.5
    truth = mirror(truth, flip)
    flipped = (keypoints * constant(device, (-1.0, 1.0)))[:, index(device, MIRROR_KEYPOINTS)]
    keypoints = torch.where(flip[:, None, None], flipped, keypoints)
    return corrupted_features(truth, keypoints, skeleton), truth


class SkeletonStage(Stage[LiftingRegressor]):
    """The regressor is trained in place, on the device of the skeleton."""

    name, key, decay = 'skeletons', 'regressor', None

    def __init__(
        self,
        regressor: LiftingRegressor,
        skeleton: Skeleton,
        progress: Progress,
        checkpoint: Path | None = None,
        rate: float = RATE,
        log: Log = print,
    ) -> None:
        torch.manual_seed(1)
        self.skeleton, device = skeleton, skeleton.template.device
        self.batch = BATCH.get(device.type, 512)
        super().__init__(regressor.to(device).train(), rate, progress, checkpoint, 60.0, log)

    @property
    def batch_size(self) -> int:
        """Skeletons in a batch."""
        return self.batch

    def begin(self) -> None:
        """Seed the skeletons by the step, so that a resumed training sees new ones."""
        self.sampler = SkeletonSampler(self.skeleton, seed=self.count)

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Of new skeletons, by `losses_of_tries`."""
        return losses_of_tries(self.module, *made(self.sampler, self.batch), self.skeleton)

    def end(self) -> None:
        """Write the checkpoint, then set to zero what the regressor's first layer makes of the free features."""
        super().end()
        with torch.no_grad():  # the free features were always zero: what their weights are is chance
            self.module.first.enter.weight[:, NUM_FEATURES - GLOBAL_FEATURES : NUM_FEATURES].zero_()


def losses_of_tries(
    regressor: LiftingRegressor, features: Tensor, truth: dict[str, Tensor], skeleton: Skeleton, loss: Callable = losses
) -> tuple[Tensor, dict[str, Tensor]]:
    """The last try is judged by `loss`, whose parts are returned, and those before it as well: they are its start."""
    *earlier, last = regressor.tries(features, EmbeddedCliff.bbox_info(truth['location']))
    total, parts = loss(*last, truth, skeleton)
    return total + EARLIER_TRIES * sum(losses(*one, truth, skeleton)[0] for one in earlier), parts
