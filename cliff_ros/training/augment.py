"""What is done to crops before training sees them, all on the device of the crops, nothing waiting for it.

In the plane: mirrors, turns, other sizes, crops of a part. In the picture: what cameras, light and things in front do
that the renderer does not, or not often enough: rendered pictures must carry over to real ones.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cliff_ros.body import MIRROR
from cliff_ros.body.tensors import constant, index
from cliff_ros.cliff.embedded import CONTRAST, GRAY
from cliff_ros.cliff.lifting import MIRROR_KEYPOINTS
from cliff_ros.training.losses import mirror

TURN, SIZE, SHIFT = 0.12, 0.06, 0.02  # deviations: radians, logarithm, crop heights
PART = (0.4, 0.95)  # size of a crop of a part, relative
LEAST_SEEN = 6  # of the keypoints, in a crop of a part


def inside(keypoints: Tensor) -> Tensor:
    """Which keypoints (..., 2) [crop heights] the crop shows the place of."""
    return (keypoints[..., 0].abs() < 0.375) & (keypoints[..., 1].abs() < 0.5)


def augment(
    images: Tensor,
    truth: dict[str, Tensor],
    turns: bool = True,
    parts: float = 0.0,
    looks: float = 1.0,
    flips: float = 0.5,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Crops (N, h, w, 3) uint8 and their truth -> normalized (N, 3, h, w), and the truth of what these show.

    turns: rotations in the plane too, which no camera makes: for keypoints only. All else is another crop of the same
    picture, and the location says so. parts: share of crops of a part of the person; looks: strength of what is done to
    colors, light, sharpness, and of patches in front; 0: nothing. flips: share of mirrors.
    """
    n, device = len(images), images.device
    height, width = images.shape[1:3]
    half = constant(device, (width / height / 2, 0.5))

    flip = torch.rand(n, device=device) < flips
    truth = mirror(truth, flip)
    sign = torch.where(flip, -1.0, 1.0)
    angle = torch.randn(n, device=device) * TURN * turns
    scale = torch.exp(torch.randn(n, device=device) * SIZE * turns)
    shift = torch.randn(n, 2, device=device) * SHIFT * turns
    if parts:
        scale, shift = _parts(truth, scale, shift, half, parts)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # p [crop heights from the center] shows what was at to_input p + shift
    to_input = torch.stack([cos * sign, -sin * sign, sin, cos], 1).view(n, 2, 2)
    back = torch.stack([cos * sign, sin, -sin * sign, cos], 1).view(n, 2, 2) / (scale**2)[:, None, None]
    keypoints = (truth['keypoints'] - shift[:, None]) @ back.mT
    keypoints = torch.where(flip[:, None, None], keypoints[:, index(device, MIRROR_KEYPOINTS)], keypoints)
    depths = torch.where(flip[:, None], truth['depths'][:, index(device, MIRROR)], truth['depths'])
    center, size = truth['location'][:, :2], truth['location'][:, 2:]
    moved = torch.stack([shift[:, 0] * sign, shift[:, 1]], 1)
    location = torch.cat([center + moved * size, size * scale[:, None]], 1)

    x = _warp(images, to_input, shift, half)
    x = recolor(x, looks)
    return (x - GRAY) / CONTRAST, truth | dict(keypoints=keypoints, depths=depths / scale[:, None], location=location)


def _parts(truth: dict[str, Tensor], scale: Tensor, shift: Tensor, half: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Scale and shift, of some crops those of a part of the person, the upper one more often."""
    n, device = len(scale), scale.device
    zoom = torch.empty(n, device=device).uniform_(*PART)
    room = half * (1 - zoom[:, None])
    where = torch.rand(n, 2, device=device) * constant(device, (1.0, 1.4)) - constant(device, (0.5, 1.0))
    at = where * room
    sees = ((truth['keypoints'] - at[:, None]).abs() < half * zoom[:, None, None]).all(2).sum(1) >= LEAST_SEEN
    chosen = sees & (torch.rand(n, device=device) < share) & (truth['present'] > 0.5)
    return torch.where(chosen, scale * zoom, scale), torch.where(chosen[:, None], shift + at, shift)


def _warp(images: Tensor, to_input: Tensor, shift: Tensor, half: Tensor) -> Tensor:
    """(N, 3, h, w) 0..255, in which p shows what was at to_input p + shift; the border goes on."""
    n, height, width = images.shape[:3]
    y = (torch.arange(height, device=images.device) + 0.5) / height - 0.5
    x = ((torch.arange(width, device=images.device) + 0.5) / width - 0.5) * (width / height)
    points = torch.stack([x.repeat(height), y.repeat_interleave(width)], -1)
    grid = (points @ to_input.mT + shift[:, None]) / half
    return F.grid_sample(
        images.permute(0, 3, 1, 2).float(),
        grid.view(n, height, width, 2),
        mode='bilinear',
        padding_mode='border',
        align_corners=False,
    )


def recolor(x: Tensor, strength: float = 1.0) -> Tensor:
    """Pictures (N, 3, h, w) 0..255 float32 in other light, by another camera, with patches in front; about 0..255."""
    if not strength:
        return x
    n, device = len(x), x.device
    height, width = x.shape[2:]

    def some(share: float, *shape: int) -> Tensor:
        """1 for this share of the pictures, else 0."""
        return (torch.rand(n, *(shape or (1, 1, 1)), device=device) < share * min(strength, 1.5)).to(x.dtype)

    def uniform(low: float = 0.0, high: float = 1.0, channels: int = 1) -> Tensor:
        return torch.rand(n, channels, 1, 1, device=device) * (high - low) + low

    def normal(channels: int = 1) -> Tensor:
        return torch.randn(n, channels, 1, 1, device=device)

    x = _patches(x, strength)
    # light: exposure, gamma, a fall-off across the picture, tint, saturation down to gray
    down = torch.linspace(-1, 1, height, device=device)[:, None]
    across = torch.linspace(-1, 1, width, device=device)
    fall = some(0.3) * strength * 0.3 * (normal() * down + normal() * across)
    gamma = torch.exp((some(0.5) * normal() * 0.35 * strength).clamp(-1, 1))
    x = (x / 255).clamp(1e-3, 1) ** gamma * (1 + fall.clamp(-0.7, 1.5))
    gray = (x * constant(device, (0.299, 0.587, 0.114))[:, None, None]).sum(1, keepdim=True)
    x = torch.lerp(x, gray.expand_as(x), (some(0.3) * uniform(0, 1.3)).clamp(max=1))
    x = x * 255
    x = (x - 118) * (1 + 0.15 * strength * normal(3)) + 118 + 12 * strength * normal(3)
    x = (x - 118) * (1 - some(0.2) * uniform(0, 0.6) * min(strength, 1.5)) + 118  # haze
    # sharpness: out of focus, moved, sharpened
    soft = _blurred(x)
    amount = some(0.25) * uniform(0.2, 1) - some(0.15) * uniform(0.2, 0.8)
    x = torch.lerp(x, soft, amount)
    moved = (x + x.roll(1, 3) + x.roll(2, 3)) / 3
    x = torch.lerp(x, moved, some(0.08))
    # noise of the sensor, fine and, as after a compression, coarse
    fine = torch.randn_like(x) * some(0.35) * uniform(0, 14) * strength
    coarse = torch.randn(n, 3, (height + 7) // 8, (width + 7) // 8, device=device)
    coarse = coarse * some(0.15) * uniform(0, 10) * strength
    return x + fine + F.interpolate(coarse, scale_factor=8.0, mode='nearest')[:, :, :height, :width]


def _blurred(x: Tensor) -> Tensor:
    """Binomial blur of deviation 1.4 pixels."""
    kernel = constant(x.device, (1.0, 8.0, 28.0, 56.0, 70.0, 56.0, 28.0, 8.0, 1.0)) / 256
    channels = x.shape[1]
    x = F.conv2d(
        F.pad(x, (4, 4, 0, 0), mode='replicate'), kernel.view(1, 1, 1, 9).repeat(channels, 1, 1, 1), groups=channels
    )
    return F.conv2d(
        F.pad(x, (0, 0, 4, 4), mode='replicate'), kernel.view(1, 1, 9, 1).repeat(channels, 1, 1, 1), groups=channels
    )


def _patches(x: Tensor, strength: float) -> Tensor:
    """Turned rectangles in front: a part of another picture of the batch, or of one color."""
    n, device = len(x), x.device
    height, width = x.shape[2:]
    down = ((torch.arange(height, device=device) + 0.5) / height - 0.5)[:, None]
    across = ((torch.arange(width, device=device) + 0.5) / width - 0.5) * (width / height)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, 1, 1, device=device) * (high - low) + low

    for share in (0.3, 0.12):
        turn = uniform(-math.pi / 2, math.pi / 2) * (torch.rand(n, 1, 1, device=device) < 0.5)
        cx, cy = across - uniform(-0.4, 0.4), down - uniform(-0.5, 0.5)
        a, b = cx * torch.cos(turn) + cy * torch.sin(turn), cy * torch.cos(turn) - cx * torch.sin(turn)
        long, wide = (
            torch.exp(uniform(math.log(0.04), math.log(0.3))),
            torch.exp(uniform(math.log(0.03), math.log(0.2))),
        )
        there = (a.abs() < long) & (b.abs() < wide) & (torch.rand(n, 1, 1, device=device) < share * min(strength, 1.5))
        plain = torch.rand(n, 3, 1, 1, device=device) * 255
        fill = torch.where(torch.rand(n, 1, 1, 1, device=device) < 0.5, x.roll(1, 0), plain)
        x = torch.where(there[:, None], fill, x)
    return x
