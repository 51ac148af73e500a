"""Stage 2: the regressor learns from unlimited projected skeletons, without rendering a pixel.

The features that the encoder would give are made from the truth, with errors like the encoder's: a heavy
tail of misplaced joints, left/right swaps, hidden joints, and a log spread that only roughly tells.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cliff_ros.body import load_body
from cliff_ros.cliff.embedded import LOG_SPREAD_UNIT, EmbeddedCliff
from cliff_ros.cliff.lifting import GLOBAL_FEATURES, NUM_FEATURES, LiftingRegressor, pack_features
from cliff_ros.synthetic.crops import FOV, MARGIN
from cliff_ros.synthetic.poses import euler_to_matrix, sample_poses
from cliff_ros.synthetic.scene import FACE_VERTICES, FACING_CAMERA, sample_betas
from cliff_ros.training.keypoints import MIRROR_KEYPOINTS, facing_of
from cliff_ros.training.losses import Skeleton, losses, mirror, project, relative_depths
from cliff_ros.training.progress import Losses, set_rate

ARM = [18, 20, 22]
LEG = [1, 4, 7, 10]
EARLIER_TRIES = .4  # weight of their losses


class SkeletonSampler:
    """Batches of projected people in random cameras: the same distribution as synthetic.crops, no images."""

    def __init__(self, skeleton: Skeleton, pool: int = 60_000, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.skeleton = skeleton
        self.poses = torch.from_numpy(euler_to_matrix(sample_poses(rng, pool)))
        body = load_body()
        extra = _outline_vertices(body)
        self.num_face = len(FACE_VERTICES)
        self.points = np.concatenate([FACE_VERTICES, extra])
        self.template = torch.from_numpy(body.v_template[self.points])
        self.directions = torch.from_numpy(body.shapedirs[self.points]).permute(2, 0, 1).contiguous()
        self.owner = torch.from_numpy(body.weights[self.points].argmax(1))
        self.parents = body.parents.tolist()
        self.shapes = torch.from_numpy(sample_betas(rng, pool))
        self.generator = torch.Generator().manual_seed(seed)

    def _uniform(self, n: int, low: float, high: float) -> Tensor:
        return torch.rand(n, generator=self.generator) * (high - low) + low

    def batch(self, size: int) -> tuple[dict[str, Tensor], Tensor]:
        """Truth, and keypoints (B, 29, 2) in crop heights. May return fewer than `size` people."""
        n, g = int(size * 2.2), self.generator
        rotations = self.poses[torch.randint(len(self.poses), (n,), generator=g)].clone()
        pitch, roll = torch.randn(n, generator=g) * 14 + 6, torch.randn(n, generator=g) * 5
        heading, zero = self._uniform(n, -180, 180), torch.zeros(n)

        def turn(*angles):
            return torch.from_numpy(euler_to_matrix(torch.stack(angles, 1).numpy()))
        root = turn(zero, zero, roll) @ turn(pitch, zero, zero) @ torch.from_numpy(FACING_CAMERA) \
            @ turn(zero, heading, zero)
        rotations[:, 0] = root @ rotations[:, 0]
        betas = self.shapes[torch.randint(len(self.shapes), (n,), generator=g)]
        joints = self.skeleton(betas, rotations)
        surface = self._surface(betas, rotations, joints)
        half_x = torch.tan(torch.deg2rad(self._uniform(n, *FOV)) / 2)
        aspect = torch.tensor([.75, .5625, 1., 1.5])[torch.multinomial(
            torch.tensor([.45, .4, .1, .05]), n, True, generator=g)]
        half = torch.stack([half_x, half_x * aspect], 1)
        z = 1.7 / (2 * half[:, 1] * torch.exp(self._uniform(n, math.log(.13), math.log(1.15))))
        at = torch.stack([self._uniform(n, -1, 1) * half[:, 0], self._uniform(n, -.75, .75) * half[:, 1]], 1)
        translation = torch.cat([at * z[:, None], z[:, None]], 1) - joints[:, 0]
        points = torch.cat([joints, surface], 1) + translation[:, None]
        image = project(points)
        low, high = image.amin(1), image.amax(1)
        box_low, box_high = torch.maximum(low, -half), torch.minimum(high, half)
        extent = box_high - box_low
        good = (extent > 0).all(1) & (extent.prod(1) / (high - low).prod(1) > .45) & (half[:, 1] < 1.5) \
            & (points[..., 2].amin(1) > .25)
        height = MARGIN * torch.maximum(extent[:, 1], extent[:, 0] * 4 / 3)
        jitter = (torch.randn(n, 2, generator=g) * .03).clamp(-.08, .08) * height[:, None]
        center = (box_low + box_high) / 2 + jitter
        height = height * torch.exp((torch.randn(n, generator=g) * .07 + .01).clamp(-.18, .2))
        keep = torch.where(good)[0][:size]
        keypoints = (image[:, :24 + self.num_face] - center[:, None]) / height[:, None, None]
        truth = dict(betas=betas, rotations=rotations, translation=translation,
                     location=torch.cat([center, height[:, None]], 1))
        return {k: v[keep] for k, v in truth.items()}, keypoints[keep]

    def _surface(self, betas: Tensor, rotations: Tensor, joints: Tensor) -> Tensor:
        """Some surface points, each moved rigidly with the joint that owns it."""
        world = [rotations[:, 0]]
        for j in range(1, 24):
            world.append(world[self.parents[j]] @ rotations[:, j])
        bones = torch.stack(world, 1)[:, self.owner]
        rest = self.skeleton.rest(betas)
        local = self.template + torch.tensordot(betas, self.directions[:10], 1) - rest[:, self.owner]
        return joints[:, self.owner] + (bones @ local[..., None])[..., 0]


def _outline_vertices(body) -> np.ndarray:
    """Vertices that stick out of each outer body part: enough to find the box of the whole mesh."""
    rng, owner = np.random.default_rng(0), body.weights.argmax(1)
    found = set()
    for joint in (15, 22, 23, 20, 21, 10, 11, 7, 8, 16, 17, 0, 4, 5, 18, 19):
        part = np.where(owner == joint)[0]
        for direction in rng.normal(size=(6, 3)):
            found.add(int(part[(body.v_template[part] @ direction).argmax()]))
    return np.array(sorted(found))


def corrupted_features(truth: dict[str, Tensor], keypoints: Tensor, skeleton: Skeleton) -> Tensor:
    """What a mediocre encoder would say of these people; the 128 free features are zero."""
    n = len(keypoints)
    keypoints = keypoints.clone()
    depths = relative_depths(truth, skeleton)
    outside = (keypoints[..., 0].abs() > .385) | (keypoints[..., 1].abs() > .51)
    spread = torch.exp(torch.randn(n, 1) * .7 + math.log(.02)) * torch.exp(torch.randn(n, 29) * .5)
    lost = (torch.rand(n, 29) < .05) | (outside & (torch.rand(n, 29) < .85))
    spread = torch.where(lost, .1 + .2 * torch.rand(n, 29), spread).clamp(max=.3)
    kind = torch.rand(n)
    legs, arms = list(range(29)), list(range(29))
    for left in LEG:
        legs[left], legs[left + 1] = left + 1, left
    for left in ARM:
        arms[left], arms[left + 1] = left + 1, left
    for low, high, order in ((0, .02, MIRROR_KEYPOINTS.tolist()), (.02, .05, legs), (.05, .07, arms)):
        pick = (kind >= low) & (kind < high)
        keypoints[pick] = keypoints[pick][:, order]
    keypoints = keypoints + torch.randn(n, 29, 2) * spread[..., None] / math.sqrt(1.57)
    edge = torch.tensor([.375, .5])
    keypoints = torch.where(outside[..., None], torch.minimum(torch.maximum(keypoints, -edge), edge), keypoints)
    log_spread = (torch.log(spread / LOG_SPREAD_UNIT) + .4 * torch.randn(n, 29)).clamp(-2, 3)
    depths = depths + torch.randn(n, 24) * (.03 + .8 * spread[:, :24])
    facing = facing_of(truth['rotations']) + .25 * torch.randn(n, 6)
    facing[:, :3] *= torch.where(torch.rand(n, 1) < .04, -1., 1.)
    return pack_features(keypoints, log_spread, depths, facing, torch.zeros(n, GLOBAL_FEATURES))


def train(regressor: LiftingRegressor, skeleton: Skeleton, seconds: float, batch: int = 512,
          rate: float = 1.2e-3, log=print) -> None:
    """Pretrain in place for that long."""
    torch.manual_seed(1)
    sampler = SkeletonSampler(skeleton)
    optimizer = torch.optim.AdamW(regressor.parameters(), rate, weight_decay=1e-3)
    started, step = time.monotonic(), 0
    means = Losses(log)
    while (progress := (time.monotonic() - started) / seconds) < 1:
        set_rate(optimizer, rate, progress, step)
        with torch.no_grad():
            truth, keypoints = sampler.batch(batch)
            flip = torch.rand(len(keypoints)) < .5
            truth = mirror(truth, flip)
            flipped = (keypoints * torch.tensor([-1., 1.]))[:, MIRROR_KEYPOINTS]
            keypoints = torch.where(flip[:, None, None], flipped, keypoints)
            features = corrupted_features(truth, keypoints, skeleton)
        loss, parts = losses_of_tries(regressor, features, truth, skeleton)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(regressor.parameters(), 20.)
        optimizer.step()
        step += 1
        means.add(step, time.monotonic() - started, step * batch, parts)
    with torch.no_grad():  # the free features were always zero: what their weights are is chance
        regressor.first.enter.weight[:, NUM_FEATURES - GLOBAL_FEATURES:NUM_FEATURES].zero_()


def losses_of_tries(regressor: LiftingRegressor, features: Tensor, truth: dict[str, Tensor], skeleton: Skeleton,
                    loss: Callable = losses) -> tuple[Tensor, dict[str, Tensor]]:
    """The last try is judged by `loss`, whose parts are returned, and those before it as well: they are its start."""
    *earlier, last = regressor.tries(features, EmbeddedCliff.bbox_info(truth['location']))
    total, parts = loss(*last, truth, skeleton)
    return total + EARLIER_TRIES * sum(losses(*one, truth, skeleton)[0] for one in earlier), parts
