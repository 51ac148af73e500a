"""The embedded network: CLIFF with a small encoder, for CPUs and for a clone with nothing to download.

Same contract as the published networks: crop and location in, SMPL and crop camera out, supervised in the
full frame. Two things differ, because a small encoder trained on rendered people must be helped:

- the encoder speaks keypoints: per-joint heatmaps with relative depths (2.5D), whose soft-argmax,
  spread and depth, with a facing vector and 128 free numbers, are its feature; of each keypoint it says how sure it is
  that the crop shows its place, and where the crop does not, the whole pose that it guesses from the rest stands for
  the heatmap; it also says whether its crop shows a person at all, which a detector that sees far fewer pixels must
  guess;
- the regressor (lifting.py) is not CLIFF's linear iteration: location has to rotate the body, which is a product of
  features, and in a linear layer location adds the same to everybody (docs/why-cliff.md).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliff_ros import assets
from cliff_ros.body.tensors import constant, index
from cliff_ros.cliff.lifting import (
    CONFIDENCE,
    GLOBAL_FEATURES,
    MIRROR_FACING,
    MIRROR_KEYPOINTS,
    NUM_DEPTHS,
    NUM_FEATURES,
    NUM_KEYPOINTS,
    LiftingRegressor,
    pack_features,
)
from cliff_ros.crop.views import CropSpec
from cliff_ros.errors import ModelError

CROP_HEIGHT, CROP_WIDTH = 128, 96
GRAY, CONTRAST = 118, 62  # mean and deviation of pixels, for this network and the detector beside it
WIDTHS, BLOCKS = (16, 48, 80, 160, 240), (1, 2, 2, 2)
WINDOW = 0.09  # [crop heights] radius around the heatmap's peak that the soft-argmax sees: other modes do not pull
LOG_SPREAD_UNIT = 0.02
NEVER = -40.0  # logit of a keypoint outside of the crop, where the encoder was not taught to say so


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride): convolution, batch normalization and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut: (B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, 3, stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, h, w) -> (B, outputs, h / stride, w / stride), not negative: ReLU follows the sum."""
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


def _stage(inputs: int, outputs: int, blocks: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(Residual(inputs, outputs, stride), *(Residual(outputs, outputs) for _ in range(blocks - 1)))


class Maps(NamedTuple):
    """What the encoder sees in crops.

    heatmaps (B, 29, 768): logits of the cells; depths (B, 24, 768): relative depth, if the joint were there [crop
    heights]; overview (B, 128): free features; facing (B, 6); outside (B, 29): logit of the keypoint being nowhere in
    the crop, one more cell of its heatmap; whole (B, 29 * 2 + 24): keypoints and relative depths, guessed from the
    overview alone [crop heights].
    """

    heatmaps: Tensor
    depths: Tensor
    overview: Tensor
    facing: Tensor
    outside: Tensor
    whole: Tensor

    def guess(self) -> tuple[Tensor, Tensor]:
        """Keypoints (B, 29, 2) and relative depths (B, 24) without heatmaps, for those outside too."""
        return self.whole[:, : NUM_KEYPOINTS * 2].unflatten(1, (NUM_KEYPOINTS, 2)), self.whole[:, NUM_KEYPOINTS * 2 :]

    def float(self) -> Maps:
        """The same in float32, for what comes after half precision."""
        return Maps(*(part.float() for part in self))

    def mirrored(self) -> Maps:
        """Of mirrored crops, what it is of the crops themselves; but the overview, which nobody can mirror, stays."""
        device = self.facing.device
        columns, swapped = index(device, _backwards(CROP_WIDTH // 4)), index(device, MIRROR_KEYPOINTS)
        heatmaps, depths = (
            maps[:, swapped[:k]].unflatten(2, (CROP_HEIGHT // 4, -1))[..., columns].flatten(2)
            for maps, k in ((self.heatmaps, NUM_KEYPOINTS), (self.depths, NUM_DEPTHS))
        )
        keypoints, depth = self.guess()
        keypoints = keypoints[:, swapped] * constant(device, (-1.0, 1.0))
        return Maps(
            heatmaps,
            depths,
            self.overview,
            self.facing * constant(device, MIRROR_FACING),
            self.outside[:, swapped],
            torch.cat([keypoints.flatten(1), depth[:, swapped[:NUM_DEPTHS]]], 1),
        )


class KeypointEncoder(nn.Module):
    """Normalized crop (B, 3, 128, 96) -> features (B, NUM_FEATURES); but in training what the free features are of the
    mirrored crop (B, 128); last, presence (logit).

    widths: channels at strides 2, 4, 8, 16, 32; middle: of the decoder; blocks: residual ones at strides 4 to 32.
    `encoder_options` finds them in trained weights.
    """

    grid: Tensor

    def __init__(self, widths: Sequence[int] = WIDTHS, middle: int = 64, blocks: Sequence[int] = BLOCKS) -> None:
        super().__init__()
        c0, c1, c2, c3, c4 = widths
        self.stem = nn.Sequential(conv(3, c0, 5, 2), conv(c0, c1, 3, 2))
        # The first stage is a plain block where it is only one: so its weights are named in every graph until now.
        self.stage4 = Residual(c1, c1) if blocks[0] == 1 else _stage(c1, c1, blocks[0], 1)
        self.stage8 = _stage(c1, c2, blocks[1])
        self.stage16 = _stage(c2, c3, blocks[2])
        self.stage32 = _stage(c3, c4, blocks[3])
        self.lateral = nn.ModuleList(nn.Conv2d(c, middle, 1) for c in (c4, c3, c2, c1))
        self.smooth = nn.ModuleList([conv(middle, middle), conv(middle, middle), conv(middle, middle, 1)])
        self.heatmaps = nn.Conv2d(middle, NUM_KEYPOINTS, 1)
        self.depths = nn.Conv2d(middle, NUM_DEPTHS, 1)
        coarse = (CROP_HEIGHT // 32) * (CROP_WIDTH // 32)
        self.overview = nn.Linear(c4 * coarse, GLOBAL_FEATURES)
        self.facing = nn.Linear(GLOBAL_FEATURES, 6)
        self.presence = nn.Linear(GLOBAL_FEATURES, 1)
        self.outside = nn.Linear(GLOBAL_FEATURES, NUM_KEYPOINTS)  # one more cell of each heatmap: elsewhere
        self.whole = nn.Linear(GLOBAL_FEATURES, NUM_KEYPOINTS * 2 + NUM_DEPTHS)
        self.context = nn.Linear(GLOBAL_FEATURES, middle)  # lets the whole person settle left against right
        nn.init.zeros_(self.context.weight)
        nn.init.zeros_(self.context.bias)
        nn.init.constant_(self.outside.bias, math.log(CROP_HEIGHT * CROP_WIDTH / 16) - 2)  # most keypoints are inside
        height, width = CROP_HEIGHT // 4, CROP_WIDTH // 4
        y = (torch.arange(height) + 0.5) / height - 0.5
        x = ((torch.arange(width) + 0.5) / width - 0.5) * CROP_WIDTH / CROP_HEIGHT
        grid = torch.stack([x.repeat(height), y.repeat_interleave(width)], -1)
        self.register_buffer('grid', grid, persistent=False)  # (768, 2) crop heights from the center

    def maps(self, crops: Tensor) -> Maps:
        """All that one look at crops gives."""
        f4 = self.stage4(self.stem(crops))
        f8 = self.stage8(f4)
        f16 = self.stage16(f8)
        f32 = self.stage32(f16)
        overview = F.relu(self.overview(f32.flatten(1)))
        y = self.lateral[0](f32) + self.context(overview)[:, :, None, None]
        for lateral, smooth, finer in zip(self.lateral[1:], self.smooth, (f16, f8, f4), strict=True):
            y = smooth(F.interpolate(y, scale_factor=2.0, mode='nearest') + lateral(finer))
        return Maps(
            self.heatmaps(y).flatten(2),
            self.depths(y).flatten(2),
            overview,
            self.facing(overview),
            self.outside(overview),
            self.whole(overview),
        )

    def read(self, maps: Maps) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Keypoints (B, 29, 2), log spread (B, 29), relative depths (B, 24), all in crop heights; confidence (B, 29),
        the probability that the crop shows where the keypoint is, be it hidden or not."""
        highest = maps.heatmaps.amax(-1, keepdim=True)
        probability = torch.exp(maps.heatmaps - highest)
        total = probability.sum(-1, keepdim=True)
        probability = probability / total
        confidence = torch.sigmoid((torch.log(total) + highest)[..., 0] - maps.outside)
        peak = self.grid[probability.argmax(-1)]
        distance = ((self.grid - peak[:, :, None]) ** 2).sum(-1)
        near = probability * (distance < WINDOW**2).to(probability.dtype)
        near = near / near.sum(-1, keepdim=True).clamp(min=1e-6)
        variance = (probability * distance).sum(-1)
        spread = 0.5 * torch.log(variance + 1e-6) - math.log(LOG_SPREAD_UNIT)
        depth = (near[:, :NUM_DEPTHS] * maps.depths).sum(-1)
        guess, guessed_depth = maps.guess()
        sure = confidence[..., None]
        return (
            sure * (near @ self.grid) + (1 - sure) * guess,
            spread,
            sure[:, :NUM_DEPTHS, 0] * depth + (1 - sure[:, :NUM_DEPTHS, 0]) * guessed_depth,
            confidence,
        )

    def features(self, maps: Maps) -> Tensor:
        """What the regressor reads, from what `maps` gives."""
        keypoints, spread, depth, confidence = self.read(maps)
        return pack_features(keypoints, spread, depth, maps.facing, confidence, maps.overview)

    def forward(self, crops: Tensor) -> Tensor:
        """In training (B, NUM_FEATURES + 1): features and presence. In eval mode (B, NUM_FEATURES + 128 + 1), with the
        free features of the mirrored crop before the presence; the features are then of both looks."""
        if self.training:
            maps = self.maps(crops)
            return torch.cat([self.features(maps), self.presence(maps.overview)], 1)
        straight, turned = self.both_ways(crops)
        return torch.cat([self.features(straight), turned.overview, self.presence(straight.overview)], 1)

    def both_ways(self, crops: Tensor) -> tuple[Maps, Maps]:
        """What `maps` gives of crops, and of mirrored crops: the mean of both looks, as one mistakes left and right
        where the other does not. It halves the speed and takes a twentieth off the error of keypoints."""
        maps = self.maps(torch.stack([crops, crops[..., index(crops.device, _backwards(CROP_WIDTH))]], 1).flatten(0, 1))
        straight, turned = (
            Maps(*looks) for looks in zip(*(part.unflatten(0, (-1, 2)).unbind(1) for part in maps), strict=True)
        )
        mean = Maps(*((a + b) / 2 for a, b in zip(straight, turned.mirrored(), strict=True)))
        return mean._replace(overview=straight.overview), mean.mirrored()._replace(overview=turned.overview)


def _backwards(count: int) -> list[int]:
    # Not torch.arange: it becomes a Range that counts down, which ONNX Runtime 1.32 folds to wrong numbers.
    return list(range(count - 1, -1, -1))


class EmbeddedCliff(nn.Module):
    """The embedded CLIFF. Crops (B, 3, 128, 96) normalized, bbox_info (B, 3) -> rotations, betas, camera."""

    dialect = 'embedded'
    name = 'cliff_embedded'
    body = 'smpl'
    licence = 'Apache-2.0'
    spec = CropSpec(CROP_HEIGHT, CROP_WIDTH, antialias=True)
    num_betas = 10
    half_encoder = False  # it is so small that float16 gains nothing on a GPU

    def __init__(self, encoder: dict[str, Any] | None = None, regressor: dict[str, Any] | None = None) -> None:
        """encoder, regressor: options of `KeypointEncoder` and of `LiftingRegressor`, by name."""
        super().__init__()
        self.encoder = KeypointEncoder(**(encoder or {}))
        self.regressor = LiftingRegressor(**(regressor or {}))

    @staticmethod
    def normalize(crops: Tensor) -> Tensor:
        """(B, h, w, 3) 0..255 RGB -> (B, 3, h, w) about unit deviation."""
        return (crops.permute(0, 3, 1, 2).float() - GRAY) / CONTRAST

    @staticmethod
    def bbox_info(location: Tensor) -> Tensor:
        """(cx/f, cy/f, b/f) -> what the regressor sees: size as a logarithm, since depth goes with it."""
        return torch.cat([location[:, :2] * 2, torch.log(location[:, 2:].clamp(min=1e-3))], 1)

    def features_to_parameters(self, features: Tensor, bbox_info: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotations (B, 24, 3, 3), betas (B, 10), camera (B, 3) = (s, tx, ty)."""
        if self.encoder.training:
            return self.regressor(features[:, :NUM_FEATURES], bbox_info)
        return self.regressor.both_ways(features[:, :NUM_FEATURES], features[:, NUM_FEATURES:-1], bbox_info)

    def forward(self, crops: Tensor, bbox_info: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotations (B, 24, 3, 3) parent-relative, the root in the crop's view frame; betas (B, 10); camera (B, 3) =
        (s, tx, ty), s in relation to the crop's height. In eval mode the mean over the crop and its mirror image."""
        return self.features_to_parameters(self.encoder(crops), bbox_info)

    def inference_head(self) -> EmbeddedHead:
        """All after the encoder, from the plain location: what a graph is exported from."""
        return EmbeddedHead(self)


class EmbeddedHead(nn.Module):
    """Features and plain location -> rotations, betas, camera."""

    def __init__(self, model: EmbeddedCliff) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, location: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As of `EmbeddedCliff`, from the encoder's features and the plain location (B, 3)."""
        return self.model.features_to_parameters(features, self.model.bbox_info(location))

    def confidence(self, features: Tensor) -> Tensor:
        """(B, 24) probability that the crop shows the place of each joint."""
        return features[:, CONFIDENCE][:, :NUM_DEPTHS]

    def presence(self, features: Tensor) -> Tensor:
        """(B,) probability that the crop shows the person its box is of."""
        return torch.sigmoid(features[:, -1])


def load_embedded(path: Path = assets.NETWORK) -> EmbeddedCliff:
    """The trained embedded network, in eval mode, out of its runtime graph."""
    from cliff_ros.graph.export import read_weights

    if not path.is_file():
        raise ModelError(f"the embedded network's graph is missing at '{path}': reinstall cliff_ros")
    return from_weights(completed(read_weights(path)), path)


def from_weights(weights: dict[str, Tensor], path: Path | str) -> EmbeddedCliff:
    """The network, as large as its weights say, in eval mode. path: where they are from, for the error."""
    weights = {name.replace('head.model.regressor.', 'regressor.'): value for name, value in weights.items()}
    model = like(weights)
    wanted = model.state_dict()
    if missing := [name for name in wanted if name not in weights and not name.endswith('num_batches_tracked')]:
        raise ModelError(
            f"'{path}' lacks the weights {missing[:3]}: it was not exported from the embedded network "
            'of this version: train it anew'
        )
    model.load_state_dict({name: weights.get(name, value) for name, value in wanted.items()})
    return model.eval()


def like(weights: dict[str, Tensor]) -> EmbeddedCliff:
    """An untrained network of the sizes of these weights; of those that ship where they do not tell."""
    weights = {name.replace('head.model.regressor.', 'regressor.'): value for name, value in weights.items()}
    return EmbeddedCliff(encoder_options(weights), regressor_options(weights))


def encoder_options(weights: dict[str, Tensor], prefix: str = 'encoder.') -> dict[str, Any]:
    """Options of the `KeypointEncoder` that has these weights; none where they are not there."""
    blocks = tuple(
        _count(weights, rf'{re.escape(prefix)}{stage}\.(\d+)\.') or 1
        for stage in ('stage4', 'stage8', 'stage16', 'stage32')
    )
    ends = ['stem.0.0', 'stem.1.0', *(f'stage{stride}.0.first.0' for stride in (8, 16, 32)), 'lateral.0']
    if any(f'{prefix}{name}.weight' not in weights for name in ends):
        return {}
    *widths, middle = (len(weights[f'{prefix}{name}.weight']) for name in ends)
    return dict(widths=tuple(widths), middle=middle, blocks=blocks)


def regressor_options(weights: dict[str, Tensor], prefix: str = 'regressor.') -> dict[str, Any]:
    """As `encoder_options`, of the `LiftingRegressor`."""
    if f'{prefix}first.enter.weight' not in weights or f'{prefix}context.weight' not in weights:
        return {}
    return dict(
        width=len(weights[f'{prefix}first.enter.weight']),
        corrector=len(weights[f'{prefix}context.weight']),
        blocks=_count(weights, rf'{re.escape(prefix)}first\.blocks\.(\d+)\.'),
    )


def _count(names: Iterable[str], pattern: str) -> int:
    """How many numbers stand in names at the group of the pattern."""
    return len({match[1] for match in map(re.compile(pattern).match, names) if match})


def completed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a graph from before the encoder said what is outside of its crop, so that they compute the same: it
    is sure of every keypoint, and the regressor does not listen."""
    name = 'encoder.overview.weight'
    if name not in weights or 'encoder.outside.weight' in weights:
        return weights
    weights = dict(weights)
    for layer, bias in (
        ('outside', torch.full((NUM_KEYPOINTS,), NEVER)),
        ('whole', torch.zeros(NUM_KEYPOINTS * 2 + NUM_DEPTHS)),
    ):
        weights |= {f'encoder.{layer}.weight': torch.zeros(len(bias), GLOBAL_FEATURES), f'encoder.{layer}.bias': bias}
    for name in ('regressor.first.enter.weight', 'head.model.regressor.first.enter.weight'):
        if name in weights:
            before, after = weights[name].tensor_split([CONFIDENCE.start], 1)
            weights[name] = torch.cat([before, before.new_zeros(len(before), NUM_KEYPOINTS), after], 1)
    return weights


def round_to_half(model: EmbeddedCliff) -> EmbeddedCliff:
    """Round the weights as the graph stores them, in place: PyTorch then computes what the graph computes."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() >= 1024:
                parameter.copy_(parameter.half().float())
    return model
