"""SMPL's joints in PyTorch: what training differentiates and what the exported graph computes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from cliff_ros.body.model import BodyModel
from cliff_ros.body.names import NUM_JOINTS
from cliff_ros.body.tensors import index


class Kinematics(nn.Module):
    """Rest joints from betas, then rotations along SMPL's tree, level by level: eight small steps instead of 23."""

    template: Tensor
    directions: Tensor

    def __init__(self, body: BodyModel, num_betas: int = 10) -> None:
        super().__init__()
        template, directions = body.rest_joint_basis
        self.num_betas = min(num_betas, len(directions))
        self.register_buffer('template', torch.from_numpy(template.reshape(1, -1)))
        self.register_buffer('directions', torch.from_numpy(directions[: self.num_betas].reshape(self.num_betas, -1)))
        self.parents = body.parents.tolist()
        self.levels = [[0]]
        while sum(map(len, self.levels)) < NUM_JOINTS:
            self.levels.append([j for j in range(NUM_JOINTS) if self.parents[j] in self.levels[-1]])
        order = [j for level in self.levels for j in level]
        self.restore = [order.index(j) for j in range(NUM_JOINTS)]

    def rest(self, betas: Tensor) -> Tensor:
        """Joints of the T-pose (B, 24, 3) for betas (B, num_betas)."""
        return (self.template + betas @ self.directions).view(-1, NUM_JOINTS, 3)

    def forward(self, rest: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """rest (B, 24, 3), rotations (B, 24, 3, 3) parent-relative -> world rotations, joints (B, 24, 3)."""
        world, position, device = rotations[:, :1], rest[:, :1], rest.device
        worlds, positions = [world], [position]
        for above, level in pairwise(self.levels):
            parents = [self.parents[j] for j in level]
            at, here = index(device, [above.index(p) for p in parents]), index(device, level)
            parent = world[:, at]
            bones = (rest[:, here] - rest[:, index(device, parents)]).unsqueeze(-1)
            position = position[:, at] + (parent @ bones).squeeze(-1)
            world = parent @ rotations[:, here]
            worlds.append(world)
            positions.append(position)
        restore = index(device, self.restore)
        return torch.cat(worlds, 1)[:, restore], torch.cat(positions, 1)[:, restore]
