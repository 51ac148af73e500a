"""CLIFF's losses: SMPL parameters, 3D joints, and 2D reprojection in the full frame (paper section 3).

Everything is in the normalized camera (f = 1), where location = (cx/f, cy/f, b/f) of the crop.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cliff_ros.body import MIRROR
from cliff_ros.body.kinematics import Kinematics
from cliff_ros.body.tensors import constant, index
from cliff_ros.crop.translation import full_translation

HMR_FOCAL = 5000 / 224  # [crop heights] HMR and SPIN: 5000 px for crops of 224 px


class Skeleton(Kinematics):
    """SMPL's joints from betas and rotations, differentiable, without the mesh."""

    def forward(self, betas: Tensor, rotations: Tensor) -> Tensor:  # type: ignore[override]  # of joints alone
        """(B, 24, 3) with SMPL translation zero; betas (B, 10), rotations (B, 24, 3, 3)."""
        return self.posed(betas, rotations)[1]

    def posed(self, betas: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Orientations (B, 24, 3, 3) in the root's frame of reference, and joints as of `forward`."""
        return super().forward(self.rest(betas), rotations)


def project(points: Tensor) -> Tensor:
    """Points (..., 3) [m] in the camera -> (..., 2) on its plane z = 1; depths are 0.1 m at least."""
    return points[..., :2] / points[..., 2:].clamp(min=0.1)  # nobody is rendered nearer


def in_full_frame(joints: Tensor, camera: Tensor, location: Tensor, image: Tensor) -> Tensor:
    """CLIFF's 2D residual (B, J, 2) [crop heights]: joints (B, J, 3) through the camera of the whole image.

    image: (B, J, 2) where they should be, on the plane z = 1 of that camera.
    """
    translation = full_translation(camera, location)
    return (project(joints + translation[:, None]) - image) / location[:, 2, None, None]


def in_crop(joints: Tensor, camera: Tensor, location: Tensor, image: Tensor) -> Tensor:
    """HMR's and SPIN's 2D residual, arguments as `in_full_frame`: each crop has a camera, its axis in the middle."""
    translation = torch.cat([camera[:, 1:], 2 * HMR_FOCAL / camera[:, :1]], 1)
    return (
        HMR_FOCAL * project(joints + translation[:, None])
        - (image - location[:, None, :2]) / location[:, 2, None, None]
    )


def losses(
    rotations: Tensor,
    betas: Tensor,
    camera: Tensor,
    truth: dict[str, Tensor],
    skeleton: Skeleton,
    weights: dict[str, float] | None = None,
    residual: Callable = in_full_frame,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The total and its parts. `truth` has rotations, betas, translation, location."""
    w = dict(root=2.0, pose=1.0, betas=0.2, joints=10.0, reprojection=15.0, depth=1.0) | (weights or {})
    with torch.no_grad():
        joints = skeleton(truth['betas'], truth['rotations'])
        image = project(joints + truth['translation'][:, None])
    predicted = skeleton(betas, rotations)
    depth = full_translation(camera, truth['location'])[:, 2]
    off = residual(predicted, camera, truth['location'], image)
    turn = ((rotations - truth['rotations']) ** 2).sum((2, 3))
    parts = dict(
        root=turn[:, 0].mean(),
        pose=turn[:, 1:].mean(),
        betas=((betas - truth['betas']) ** 2).mean(),
        joints=((predicted - predicted[:, :1]) - (joints - joints[:, :1])).norm(dim=-1).mean(),
        reprojection=off.abs().clamp(max=2).sum(-1).mean(),
        depth=(depth.clamp(0.1, 100) / truth['translation'][:, 2]).log().abs().mean(),
    )
    return sum(w[name] * part for name, part in parts.items()), parts


def mirror(truth: dict[str, Tensor], flip: Tensor) -> dict[str, Tensor]:
    """The truth of mirrored images, for the samples where flip (B,) is set; exact for a symmetric body.

    The crop's center mirrors about the optical axis with it, so the location does too (CameraHMR's trap).
    """
    device = flip.device
    m = constant(device, (-1.0, 1.0, 1.0))
    rotations = torch.where(
        flip[:, None, None, None], (truth['rotations'] * m[:, None] * m)[:, index(device, MIRROR)], truth['rotations']
    )
    sign = torch.where(flip[:, None], m, 1.0)
    return truth | dict(rotations=rotations, translation=truth['translation'] * sign, location=truth['location'] * sign)


def facing_of(rotations: Tensor) -> Tensor:
    """(B, 6): where the chest points and where the head points up to, in the camera."""
    return torch.cat([rotations[:, 0, :, 2], rotations[:, 0, :, 1]], 1)


def as_truth(labels: np.ndarray) -> dict[str, Tensor]:
    """Label records (synthetic.crops.LABEL) -> tensors."""
    return {name: torch.from_numpy(np.ascontiguousarray(labels[name])) for name in labels.dtype.names or ()}


def relative_depths(truth: dict[str, Tensor], skeleton: Skeleton) -> Tensor:
    """(B, 24): how far each joint is behind the pelvis, in crop heights at the pelvis' depth."""
    joints = skeleton(truth['betas'], truth['rotations'])
    pelvis = joints[:, 0, 2] + truth['translation'][:, 2]
    return (joints[..., 2] - joints[:, :1, 2]) / (pelvis * truth['location'][:, 2])[:, None]


def aligned(joints: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Both (B, J, 3) about their means, the first turned and scaled to fit the second best (Procrustes).

    Gradients take the fit as given: where it is best, it does not change with the joints to first order.
    """
    a, b = joints - joints.mean(1, keepdim=True), true - true.mean(1, keepdim=True)
    with torch.no_grad():
        u, s, vh = torch.linalg.svd(a.mT @ b)
        sign = torch.ones_like(s)
        sign[:, 2] = torch.sign(torch.det(u @ vh))
        scale = (s * sign).sum(1) / (a**2).sum((1, 2))
        turn = scale[:, None, None] * (u * sign[:, None]) @ vh
    return a @ turn, b


def pose_only(rotations: Tensor, betas: Tensor, truth: dict[str, Tensor], skeleton: Skeleton) -> Tensor:
    """Mean distance [m] of aligned joints: what PA-MPJPE measures."""
    with torch.no_grad():
        true = skeleton(truth['betas'], truth['rotations'])
    a, b = aligned(skeleton(betas, rotations), true)
    return (a - b).norm(dim=-1).mean()


@torch.no_grad()
def measure(
    rotations: Tensor, betas: Tensor, camera: Tensor, truth: dict[str, Tensor], skeleton: Skeleton
) -> dict[str, float]:
    """Figures for a progress line: the evaluation proper is cliff_ros.evaluation."""
    joints = skeleton(truth['betas'], truth['rotations'])
    predicted = skeleton(betas, rotations)
    a, b = predicted - predicted[:, :1], joints - joints[:, :1]
    root = torch.rad2deg(
        torch.arccos(
            (((rotations[:, 0].mT @ truth['rotations'][:, 0]).diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)
        )
    )
    translation = full_translation(camera, truth['location'])
    image = project(joints + truth['translation'][:, None])
    off = (project(predicted + translation[:, None]) - image).norm(dim=-1).mean(1) / truth['location'][:, 2]
    ac, bc = aligned(predicted, joints)
    return {
        'mpjpe_mm': (a - b).norm(dim=-1).mean().item() * 1e3,
        'pa_mpjpe_mm': (ac - bc).norm(dim=-1).mean().item() * 1e3,
        'root_deg_median': root.median().item(),
        'flips_percent': (root > 90).float().mean().item() * 100,
        'reprojection_percent_of_crop': off.median().item() * 100,
        'translation_m_median': (translation - truth['translation']).norm(dim=-1).median().item(),
    }
