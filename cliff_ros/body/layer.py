"""SMPL's forward function in PyTorch: what the exported graph computes and training differentiates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from cliff_ros.body.kinematics import Kinematics
from cliff_ros.body.model import BodyModel
from cliff_ros.body.names import NUM_JOINTS


class SmplLayer(nn.Module):
    """SMPL's forward function from matrix products alone, so that every engine runs it fast."""

    template: Tensor
    weights: Tensor
    shape: Tensor
    pose: Tensor | None

    def __init__(self, body: BodyModel, num_betas: int) -> None:
        super().__init__()
        self.num_vertices = body.num_vertices
        self.kinematics = Kinematics(body, num_betas)
        pose = None if body.posedirs is None else body.posedirs.reshape(-1, body.posedirs.shape[-1]).T
        for name, value in dict(
            template=body.v_template.reshape(1, -1),
            weights=body.weights,
            shape=body.shapedirs[..., :num_betas].reshape(-1, num_betas).T,
            pose=pose,
        ).items():
            self.register_buffer(
                name, None if value is None else torch.from_numpy(np.ascontiguousarray(value, np.float32))
            )

    def forward(self, betas: Tensor, rotations: Tensor, vertices: bool = True) -> tuple[Tensor, Tensor | None]:
        """betas (B, S), rotations (B, 24, 3, 3) -> joints (B, 24, 3), vertices (B, V, 3), translation zero.

        Without ``vertices`` None stands for them.
        """
        rest = self.kinematics.rest(betas)
        world, joints = self.kinematics(rest, rotations)
        if not vertices:
            return joints, None
        offset = joints - (world @ rest.unsqueeze(-1)).squeeze(-1)
        bones = torch.cat([world, offset.unsqueeze(-1)], -1).reshape(-1, NUM_JOINTS, 12)
        shaped = self.template + betas @ self.shape
        if self.pose is not None:
            identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            shaped = shaped + (rotations[:, 1:] - identity).reshape(-1, (NUM_JOINTS - 1) * 9) @ self.pose
        shaped = shaped.view(-1, self.num_vertices, 3)
        blend = (self.weights @ bones).view(-1, self.num_vertices, 3, 4)
        return joints, (blend[..., :3] * shaped.unsqueeze(2)).sum(-1) + blend[..., 3]
