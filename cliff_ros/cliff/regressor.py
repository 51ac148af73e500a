"""CLIFF's regressor: from image features and location to pose, shape and crop camera.

It starts at a mean estimate and adds a correction three times. Nothing in the loop is non-linear, so once
dropout is off the whole regressor is one linear map: training keeps the loop, inference collapses it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NUM_ITERATIONS = 3
NUM_BBOX = 3
NUM_CAMERA = 3


class Regressor(nn.Module):
    """Iterative error feedback on [pose 6D | betas | camera].

    Tensor names are those of the published checkpoints.

    Parameters
    ----------
    num_features: length of the encoder's feature vector.
    num_joints: rotations to regress, 6 numbers each.
    num_betas: shape coefficients to regress.
    width: of the two hidden layers.
    """

    init_pose: Tensor
    init_shape: Tensor
    init_cam: Tensor

    def __init__(self, num_features: int, num_joints: int = 24, num_betas: int = 10, width: int = 1024) -> None:
        super().__init__()
        self.sizes = (6 * num_joints, num_betas, NUM_CAMERA)
        self.fc1 = nn.Linear(num_features + NUM_BBOX + sum(self.sizes), width)
        self.drop1 = nn.Dropout()
        self.fc2 = nn.Linear(width, width)
        self.drop2 = nn.Dropout()
        self.decpose, self.decshape, self.deccam = (nn.Linear(width, size) for size in self.sizes)
        for decoder in (self.decpose, self.decshape, self.deccam):
            nn.init.xavier_uniform_(decoder.weight, gain=0.01)

        # A person upright in front of the camera: SMPL's y is up, the camera's is down.
        pose = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(num_joints)
        pose[:6] = torch.tensor([1.0, 0, 0, -1, 0, 0])
        self.register_buffer('init_pose', pose[None])
        self.register_buffer('init_shape', torch.zeros(1, num_betas))
        self.register_buffer('init_cam', torch.tensor([[0.9, 0, 0]]))

    def forward(self, features: Tensor, bbox_info: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, F), bbox_info (B, 3) -> pose 6D (B, 6 J), betas (B, S), camera (B, 3)."""
        means = self.init_pose, self.init_shape, self.init_cam
        pose, betas, camera = (mean.expand(features.shape[0], -1) for mean in means)
        for _ in range(NUM_ITERATIONS):
            hidden = self.drop1(self.fc1(torch.cat([features, bbox_info, pose, betas, camera], 1)))
            hidden = self.drop2(self.fc2(hidden))
            pose = pose + self.decpose(hidden)
            betas = betas + self.decshape(hidden)
            camera = camera + self.deccam(hidden)
        return pose, betas, camera

    @torch.no_grad()
    def collapse(self) -> nn.Linear:
        """The same map, without dropout, as one layer: [features | bbox_info] -> [pose 6D | betas | camera].

        One iteration is x <- x + W_z z + W_x x + k, with z = [features | bbox_info]. With M = I + W_x, three
        give M^3 x0 + (I + M + M^2)(W_z z + k). Composed in float64, stored in the weights' own type.
        """
        decoders = (self.decpose, self.decshape, self.deccam)
        decode = torch.cat([layer.weight for layer in decoders]).double()
        decode_bias = torch.cat([layer.bias for layer in decoders]).double()
        (w1, b1), (w2, b2) = ((fc.weight.double(), fc.bias.double()) for fc in (self.fc1, self.fc2))
        start = torch.cat([self.init_pose, self.init_shape, self.init_cam], 1)[0].double()

        step = decode @ w2 @ w1
        constant = decode @ (w2 @ b1 + b2) + decode_bias
        num_inputs = step.shape[1] - len(start)
        identity = torch.eye(len(start), dtype=step.dtype, device=step.device)
        keep = identity + step[:, num_inputs:]
        total, power = torch.zeros_like(keep), identity
        for _ in range(NUM_ITERATIONS):
            total, power = total + power, power @ keep

        linear = nn.Linear(num_inputs, len(start), device=step.device, dtype=self.fc1.weight.dtype)
        linear.weight.copy_(total @ step[:, :num_inputs])
        linear.bias.copy_(power @ start + total @ constant)
        return linear
