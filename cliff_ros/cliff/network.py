"""The CLIFF network: image encoder, location, iterative regressor, 6D to rotations (Li et al., ECCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cliff_ros.cliff.dialects import DIALECTS, Dialect
from cliff_ros.cliff.hrnet import HRNetW48, HRNetW48Pose
from cliff_ros.cliff.regressor import Regressor
from cliff_ros.cliff.resnet import ResNet50
from cliff_ros.cliff.rotation import matrix_from_6d
from cliff_ros.crop.views import CropSpec

NUM_JOINTS = 24
Encoder = ResNet50 | HRNetW48 | HRNetW48Pose
ENCODERS: dict[str, type[Encoder]] = {'resnet50': ResNet50, 'hrnet_w48': HRNetW48, 'hrnet_w48_pose': HRNetW48Pose}
# Regressed joints and shape coefficients. SMPL-X's first 22 joints are SMPL's; its hands are further joints.
BODIES = {'smpl': (24, 10), 'smplx': (22, 11)}


class Cliff(nn.Module):
    """CLIFF with any encoder.

    Parameters
    ----------
    encoder: (B, 3, h, w) -> (B, ``encoder.num_features``).
    conventions: the dialect's row of the table; ``dialect`` is its name.
    body: ``'smpl'`` or ``'smplx'``: which body model the betas belong to.
    name: of the architecture, for reports and files.
    licence: of the weights; those published in this dialect, until somebody who trains says otherwise.
    """

    regressor: Regressor
    half_encoder = True  # the encoder may compute in float16, all after it may not

    def __init__(self, encoder: Encoder, conventions: Dialect, body: str = 'smpl', name: str = 'cliff') -> None:
        super().__init__()
        self.encoder = encoder
        self.conventions, self.dialect = conventions, conventions.name
        self.body, self.name, self.licence = body, name, conventions.licence
        self.num_joints, self.num_betas = BODIES[body]
        self.regressor = Regressor(encoder.num_features, self.num_joints, self.num_betas)

    @property
    def spec(self) -> CropSpec:
        """The crops that the network wants."""
        form = self.conventions
        return CropSpec(*form.crop, form.margin, form.antialias, form.integer_rectangle, form.turn_beyond)

    def normalize(self, crops: Tensor) -> Tensor:
        """Crops (B, h, w, 3) uint8 RGB -> (B, 3, h, w) float32, as ``forward`` takes them."""
        form = self.conventions
        mean, std = (crops.new_tensor(values, dtype=torch.float32) for values in (form.mean, form.std))
        return ((crops.float() / 255 - mean) / std).permute(0, 3, 1, 2)

    def bbox_info(self, location: Tensor) -> Tensor:
        """Plain location (B, 3) of ``View.location`` -> bbox_info (B, 3), in the dialect's form."""
        return self.conventions.bbox_info(location)

    def forward(self, crops: Tensor, bbox_info: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The authors' forward pass, in their units.

        Parameters
        ----------
        crops: (B, 3, h, w) normalized
        bbox_info: (B, 3) in the dialect's form

        Returns
        -------
        rotations: (B, 24, 3, 3) parent-relative, the root in the crop's view frame; joints that are not
            regressed (SMPL-X: the hands) are identity
        betas: (B, 10 or 11) of ``body``
        camera: (B, 3) = (s, tx, ty); s refers to a box ``conventions.side`` times the crop's height
        """
        return self.features_to_parameters(self.encoder(crops), bbox_info)

    def features_to_parameters(self, features: Tensor, bbox_info: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All after the encoder, in the authors' units, by the loop; ``InferenceHead`` collapses it."""
        pose, betas, camera = self.regressor(features, bbox_info)
        return rotations_of(pose, self.num_joints), betas, camera

    def inference_head(self) -> InferenceHead:
        """All after the encoder in one layer, the same for every dialect: what a graph is exported from."""
        return InferenceHead(self)


class InferenceHead(nn.Module):
    """Features and plain location -> rotations, betas, camera: one linear layer and 6D to rotations.

    The dialect is folded into the layer, so that every network reads the same plain location, and answers
    with the same camera: s refers to the crop's height. The translation is then, for each of them,
    tz = 2 / (l2 s), tx = camera_x + l0 tz, ty = camera_y + l1 tz.
    """

    def __init__(self, model: Cliff) -> None:
        super().__init__()
        self.sizes, self.num_joints = model.regressor.sizes, model.num_joints
        self.linear = model.regressor.collapse()
        with torch.no_grad():
            weight, bias = self.linear.weight.double(), self.linear.bias.double()
            form, num_features = model.conventions, model.encoder.num_features
            bias += weight[:, num_features:] @ weight.new_tensor(form.location_offset)
            weight[:, num_features:] *= weight.new_tensor(form.location_scale)
            scale_row = sum(self.sizes[:2])
            weight[scale_row] *= form.side
            bias[scale_row] *= form.side
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(bias)
        self.requires_grad_(False)

    def forward(self, features: Tensor, location: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, F), location (B, 3) -> rotations (B, 24, 3, 3), betas (B, S), camera (B, 3)."""
        pose, betas, camera = self.linear(torch.cat([features, location], 1)).split(self.sizes, 1)
        return rotations_of(pose, self.num_joints), betas, camera


def rotations_of(pose: Tensor, num_joints: int) -> Tensor:
    """Pose 6D (B, 6 J) -> rotations (B, 24, 3, 3); joints beyond J are identity."""
    rotations = matrix_from_6d(pose.unflatten(1, (num_joints, 6)))
    if num_joints == NUM_JOINTS:
        return rotations
    identity = torch.eye(3, dtype=pose.dtype, device=pose.device)
    # .shape[0], not len(): a tracing exporter takes the latter for a constant.
    return torch.cat([rotations, identity.expand(pose.shape[0], NUM_JOINTS - num_joints, 3, 3)], 1)


def build(dialect: str, encoder: str, body: str = 'smpl') -> Cliff:
    """A published architecture, untrained; the arguments are keys of DIALECTS, ENCODERS and BODIES."""
    return Cliff(ENCODERS[encoder](), DIALECTS[dialect], body, f'cliff_{encoder}')
