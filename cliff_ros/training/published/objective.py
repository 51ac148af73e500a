"""CLIFF's loss (Li et al., ECCV 2022, section 3): SMPL parameters, 3D joints, 2D joints in the full frame.

Also what the paper compares with: the same in the crop, as HMR and SPIN do. Everything is in the normalized camera
(f = 1), and whatever a sample does not know is masked.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cliff_ros.body import NUM_JOINTS, BodyModel
from cliff_ros.body.layer import SmplLayer
from cliff_ros.datasets.sample import NUM_BETAS, face_of
from cliff_ros.training.losses import in_crop, in_full_frame
from cliff_ros.training.published.config import LossWeights

HIPS = [1, 2]


class Keypoints(nn.Module):
    """A body's 29 keypoints (B, 29, 3) [m], translation zero, differentiable; see `sample`."""

    def __init__(self, body: BodyModel) -> None:
        super().__init__()
        self.body = SmplLayer(face_of(body), NUM_BETAS)

    def forward(self, betas: Tensor, rotations: Tensor) -> Tensor:
        """betas (B, 10), rotations (B, 24, 3, 3) -> SMPL's 24 joints, then nose, eyes and ears: (B, 29, 3) [m]."""
        return torch.cat(self.body(betas, rotations), 1)


def residual(points: Tensor, camera: Tensor, truth: dict[str, Tensor], full_frame: bool = True) -> Tensor:
    """How far keypoints (B, 29, 3) of translation zero are seen from where they should be: (B, 29, 2) [box sizes]."""
    location = truth['location']
    image = location[:, None, :2] + truth['keypoints'] * location[:, None, 2:]
    return (in_full_frame if full_frame else in_crop)(points, camera, location, image)


def objective(
    rotations: Tensor,
    betas: Tensor,
    camera: Tensor,
    truth: dict[str, Tensor],
    keypoints: Keypoints,
    weights: LossWeights,
    full_frame: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and its parts, each the mean over what is known.

    rotations (B, 24, 3, 3), betas (B, 10) and camera (B, 3) as the network predicts them; truth as `TRUTH`.
    """
    points = keypoints(betas, rotations)
    joints, true = points[:, :NUM_JOINTS], truth['joints']
    anchors = anchors_of(truth['joints_known'])
    off = joints - true
    off = off - (off * anchors[..., None]).sum(1, keepdim=True)
    parts = dict(
        reprojection=_mean(residual(points, camera, truth, full_frame) ** 2, truth['confidence']),
        joints=_mean(off**2, truth['joints_known'] * (anchors.sum(1, keepdim=True) > 0)),
        pose=_mean((rotations - truth['rotations']) ** 2, truth['rotations_known']),
        betas=_mean((betas - truth['betas']) ** 2, truth['betas_known']),
        scale=torch.exp((-20 * camera[:, 0]).clamp(max=40)).mean(),
    )  # bounded: float32 ends at e^88
    return sum(getattr(weights, name) * part for name, part in parts.items()), parts


def anchors_of(known: Tensor) -> Tensor:
    """Weights (B, 24), of sum 1, of the joints about which 3D joints are compared, from which of them are known.

    SMPL's hips where both are. Labels without a body have other joints, whose hips are not SMPL's (`cliff_gt` leaves
    them out): they are compared about the mean of those that are known. 0 where fewer than two are.
    """
    hips = torch.zeros_like(known)
    hips[:, HIPS] = 0.5
    number = known.sum(1, keepdim=True)
    return torch.where(known[:, HIPS].prod(1, keepdim=True) > 0, hips, (number > 1) * known / number.clamp(min=1))


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of values (B, ..) whose first axes are weighted by ``weights``; 0 where nothing is known."""
    values = values.flatten(weights.dim()).mean(-1)
    return (values * weights).sum() / weights.sum().clamp(min=1)
