"""The embedded network's regressor: what the encoder saw in the crop, and where that was -> SMPL and crop camera.

CLIFF's regressor turns a person by where the crop lies, and tries three times. Small networks must be helped with
both. Keypoints and relative depths are first carried out along their rays, so that bones point where they point in
the camera; rotations are regressed in the camera too, where each depends on its own bones only, and made relative to
their parents at the end. After every try the skeleton is projected into the full frame, and what is left between
it and the keypoints is input of the next. Trained alike on projected skeletons (150,000, the errors that `training`
adds; PA-MPJPE): a plain MLP 72 mm, with rotations in the camera 67, with bones too 63, with two corrections 57.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliff_ros.body import MIRROR, NUM_JOINTS, load_body
from cliff_ros.body.tensors import constant, index
from cliff_ros.cliff.rotation import matrix_from_6d
from cliff_ros.crop.translation import translation_at

NUM_KEYPOINTS = 29  # SMPL's 24 joints, nose, eyes, ears
NUM_DEPTHS = NUM_JOINTS
GLOBAL_FEATURES = 128
NUM_FEATURES = NUM_KEYPOINTS * 4 + NUM_DEPTHS + 6 + GLOBAL_FEATURES
_PARTS = [NUM_KEYPOINTS * 2, NUM_KEYPOINTS, NUM_DEPTHS, 6, NUM_KEYPOINTS, GLOBAL_FEATURES]  # as `pack_features` packs
CONFIDENCE = slice(sum(_PARTS[:4]), sum(_PARTS[:5]))  # of the features
NUM_OUTPUTS = NUM_JOINTS * 6 + 10 + 3  # rotations, betas, camera
# What each keypoint is in a mirrored image, and what else mirrors there: the facing vectors' and the 6D numbers' signs.
MIRROR_KEYPOINTS = np.array([*MIRROR, 24, 26, 25, 28, 27])
MIRROR_FACING, MIRROR_6D = (-1.0, 1.0, 1.0, -1.0, 1.0, 1.0), (1.0, -1.0, -1.0, 1.0, -1.0, 1.0)
UNIT = 4.0  # features are keypoints and depths [crop heights] times this, to be of order one
SHORTEST_BONE = 0.02  # [crop heights] added to lengths: a bone that points at the camera has no sure direction
SMALLEST_SCALE = 0.05

Parameters = tuple[Tensor, Tensor, Tensor]  # rotations (B, 24, 3, 3), betas (B, 10), camera (B, 3) = (s, tx, ty)


def pack_features(
    keypoints: Tensor, spread: Tensor, depth: Tensor, facing: Tensor, confidence: Tensor, overview: Tensor
) -> Tensor:
    """One feature vector (B, NUM_FEATURES), scaled so that every entry is of order one.

    keypoints (B, 29, 2), depth (B, 24) behind the pelvis: crop heights; spread (B, 29); facing (B, 6);
    confidence (B, 29): probability that the crop shows the place of a keypoint; overview (B, 128).
    """
    return torch.cat([keypoints.flatten(1) * UNIT, spread, depth * UNIT, facing, confidence, overview], 1)


def mirror_features(features: Tensor, overview: Tensor) -> Tensor:
    """Of the mirrored crop, what `pack_features` gave of the crop, with the overview (B, 128) that was seen there."""
    keypoints, spread, depth, facing, confidence, _ = features.split(_PARTS, 1)
    device = features.device
    swapped = index(device, MIRROR_KEYPOINTS)
    keypoints = keypoints.unflatten(1, (NUM_KEYPOINTS, 2))[:, swapped] * constant(device, (-1.0, 1.0))
    return torch.cat(
        [
            keypoints.flatten(1),
            spread[:, swapped],
            depth[:, index(device, MIRROR)],
            facing * constant(device, MIRROR_FACING),
            confidence[:, swapped],
            overview,
        ],
        1,
    )


class ResidualMLP(nn.Module):
    """(B, inputs) -> (B, width)."""

    def __init__(self, inputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs) -> (B, width), not negative: a layer norm and ReLU come last."""
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(x)
        return F.relu(self.norm(x))


class LiftingRegressor(nn.Module):
    """[features | bbox_info] -> SMPL and crop camera. bbox_info: of `EmbeddedCliff.bbox_info`."""

    mean: Tensor
    ancestors: Tensor
    template: Tensor
    directions: Tensor

    def __init__(self, width: int = 640, blocks: int = 2, corrector: int = 192, corrections: int = 2) -> None:
        super().__init__()
        self.corrections = corrections
        self.first = ResidualMLP(NUM_FEATURES + 3 + NUM_JOINTS * 3 + (NUM_JOINTS - 1) * 3, width, blocks)
        self.leave = nn.Linear(width, NUM_OUTPUTS)
        self.context = nn.Linear(width, corrector)
        self.corrector = ResidualMLP(corrector + NUM_JOINTS * 3 + NUM_OUTPUTS, corrector, 1)
        self.correct = nn.Linear(corrector, NUM_OUTPUTS)
        for layer in (self.leave, self.correct):
            nn.init.normal_(layer.weight, std=0.002)
            nn.init.zeros_(layer.bias)
        mean = torch.zeros(NUM_OUTPUTS)
        mean[0:144:6], mean[3:144:6] = 1, -1  # the T-pose upright before the camera: 180 degrees about x
        mean[154] = 1
        body = load_body()
        template, directions = body.rest_joint_basis
        self.parents = [0, *body.parents.tolist()[1:]]
        ancestors = torch.eye(NUM_JOINTS)
        for joint in range(1, NUM_JOINTS):
            ancestors[joint] += ancestors[self.parents[joint]]
        for name, value in dict(
            mean=mean,
            ancestors=ancestors,
            template=torch.from_numpy(template).float(),
            directions=torch.from_numpy(directions[:10].reshape(10, -1)).float(),
        ).items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, features: Tensor, bbox_info: Tensor) -> Parameters:
        """The last of `tries`: features (B, NUM_FEATURES) of `pack_features`, bbox_info (B, 3)."""
        return self.tries(features, bbox_info)[-1]

    def both_ways(self, features: Tensor, overview: Tensor, bbox_info: Tensor) -> Parameters:
        """As `forward`: the mean of what is said of the crop and of its mirror image, whose overview is given."""
        mirrored_info = bbox_info * constant(bbox_info.device, (-1.0, 1.0, 1.0))
        offsets = self.offsets(
            torch.stack([features, mirror_features(features, overview)], 1).flatten(0, 1),
            torch.stack([bbox_info, mirrored_info], 1).flatten(0, 1),
        )[-1]
        straight, turned = offsets.unflatten(0, (-1, 2)).unbind(1)
        return self._body((straight + self._mirrored(turned)) / 2)

    def _mirrored(self, offset: Tensor) -> Tensor:
        """What is said of a crop, of its mirror image."""
        sixd = offset[:, :144].unflatten(1, (NUM_JOINTS, 6))[:, index(offset.device, MIRROR)]
        sixd = sixd * constant(offset.device, MIRROR_6D)
        return torch.cat([sixd.flatten(1), offset[:, 144:155], -offset[:, 155:156], offset[:, 156:]], 1)

    def tries(self, features: Tensor, bbox_info: Tensor) -> list[Parameters]:
        """The first try and every correction, the best last: training judges all of them."""
        return [self._body(offset) for offset in self.offsets(features, bbox_info)]

    def _body(self, offset: Tensor) -> Parameters:
        turned, betas, camera = self.decode(offset)
        return self.relative(turned), betas, camera

    def offsets(self, features: Tensor, bbox_info: Tensor) -> list[Tensor]:
        """What each try adds to the mean person (B, NUM_OUTPUTS): `decode` makes bodies of it."""
        center, size = bbox_info[:, None, :2] / 2, torch.exp(bbox_info[:, None, 2:])
        keypoints = features[:, : NUM_JOINTS * 2].unflatten(1, (NUM_JOINTS, 2)) / UNIT
        depths = features[:, NUM_KEYPOINTS * 3 : NUM_KEYPOINTS * 3 + NUM_DEPTHS, None] / UNIT
        seen = features[:, CONFIDENCE][:, :NUM_JOINTS, None]  # where a joint is that the crop does not show is a guess
        x = self.first(torch.cat([features, bbox_info, self.bones(keypoints, depths, center, size)], 1))
        context, offsets = self.context(x), [self.leave(x)]
        for _ in range(self.corrections):
            offset = offsets[-1]
            turned, betas, camera = self.decode(offset)
            residual = torch.cat([keypoints, depths], 2) - self.seen(self.joints(turned, betas), camera, center, size)
            residual = (residual * 2 * UNIT).clamp(-3, 3) * seen
            offsets.append(offset + self.correct(self.corrector(torch.cat([context, residual.flatten(1), offset], 1))))
        return offsets

    def bones(self, keypoints: Tensor, depths: Tensor, center: Tensor, size: Tensor) -> Tensor:
        """Joints about the pelvis and directions of bones (B, 24 * 3 + 23 * 3) in the camera; the unit of length is
        a crop height at the pelvis."""
        rays = center / size + keypoints
        points = torch.cat([rays * (1 + depths * size), depths], 2)
        bones = points[:, 1:] - points[:, index(points.device, self.parents[1:])]
        length = torch.sqrt((bones * bones).sum(2, keepdim=True) + 1e-8)
        return torch.cat(
            [((points - points[:, :1]) * UNIT).flatten(1), (bones / (length + SHORTEST_BONE)).flatten(1)], 1
        )

    def decode(self, offset: Tensor) -> Parameters:
        """Rotations in the camera, not yet relative; betas; camera."""
        out = self.mean + offset
        camera = torch.cat([out[:, 154:155].clamp(min=SMALLEST_SCALE), out[:, 155:]], 1)
        return matrix_from_6d(out[:, :144].unflatten(1, (NUM_JOINTS, 6))), out[:, 144:154], camera

    def joints(self, turned: Tensor, betas: Tensor) -> Tensor:
        """(B, 24, 3) with SMPL translation zero. With rotations in the camera they are sums of turned bones."""
        rest = self.template + (betas @ self.directions).unflatten(1, (NUM_JOINTS, 3))
        parents = index(rest.device, self.parents[1:])
        bones = rest[:, 1:] - rest[:, parents]
        bones = (turned[:, parents] @ bones.unsqueeze(-1)).squeeze(-1)
        return self.ancestors @ torch.cat([rest[:, :1], bones], 1)

    @staticmethod
    def seen(joints: Tensor, camera: Tensor, center: Tensor, size: Tensor) -> Tensor:
        """(B, 24, 3): keypoints and relative depths of joints through the camera of the full frame (equation 4)."""
        points = joints + translation_at(camera, center[:, 0], size[:, 0])[:, None]
        z = points[..., 2:].clamp(min=0.2)
        relative = (points[..., 2:] - points[:, :1, 2:]) / (points[:, :1, 2:] * size).clamp(min=0.05)
        return torch.cat([(points[..., :2] / z - center) / size, relative], 2)

    def relative(self, turned: Tensor) -> Tensor:
        """SMPL's rotations, each relative to its parent's."""
        parents = index(turned.device, self.parents[1:])
        return torch.cat([turned[:, :1], turned[:, parents].transpose(2, 3) @ turned[:, 1:]], 1)
