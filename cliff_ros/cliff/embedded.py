"""The embedded network: CLIFF with a small encoder, for CPUs and for a clone with nothing to download.

Same contract as the published networks: crop and location in, SMPL and crop camera out, supervised in the
full frame. Two things differ, because a small encoder trained on rendered people must be helped:

- the encoder speaks keypoints: per-joint heatmaps with relative depths (2.5D), whose soft-argmax,
  spread and depth, with a facing vector and 128 free numbers, are its feature; it also says whether its crop
  shows a person at all, which a detector that sees far fewer pixels must guess;
- the regressor (lifting.py) is not CLIFF's linear iteration: location has to rotate the body, which is a product of
  features, and only the published encoders are large enough to prepare it linearly.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliff_ros.cliff.features import CropSpec
from cliff_ros.cliff.lifting import (
    GLOBAL_FEATURES,
    MIRROR_FACING,
    MIRROR_KEYPOINTS,
    NUM_DEPTHS,
    NUM_FEATURES,
    NUM_KEYPOINTS,
    LiftingRegressor,
    pack_features,
)
from cliff_ros.errors import ModelError

EMBEDDED = Path(__file__).resolve().parents[1] / 'data' / 'cliff_embedded.onnx'
CROP_HEIGHT, CROP_WIDTH = 128, 96
WINDOW = 0.09  # [crop heights] radius around the heatmap's peak that the soft-argmax sees: other modes do not pull
LOG_SPREAD_UNIT = 0.02


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
                         nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, 3, stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


class KeypointEncoder(nn.Module):
    """Normalised crop (B, 3, 128, 96) -> features (B, 29*2 + 29 + 24 + 6 + 128); but in training what the free features
    are of the mirrored crop (B, 128); last, presence (logit)."""

    def __init__(self, widths: tuple[int, ...] = (16, 48, 80, 160, 240), middle: int = 64) -> None:
        super().__init__()
        c0, c1, c2, c3, c4 = widths
        self.stem = nn.Sequential(conv(3, c0, 5, 2), conv(c0, c1, 3, 2))
        self.stage4 = Residual(c1, c1)
        self.stage8 = nn.Sequential(Residual(c1, c2, 2), Residual(c2, c2))
        self.stage16 = nn.Sequential(Residual(c2, c3, 2), Residual(c3, c3))
        self.stage32 = nn.Sequential(Residual(c3, c4, 2), Residual(c4, c4))
        self.lateral = nn.ModuleList(nn.Conv2d(c, middle, 1) for c in (c4, c3, c2, c1))
        self.smooth = nn.ModuleList([conv(middle, middle), conv(middle, middle), conv(middle, middle, 1)])
        self.heatmaps = nn.Conv2d(middle, NUM_KEYPOINTS, 1)
        self.depths = nn.Conv2d(middle, NUM_DEPTHS, 1)
        coarse = (CROP_HEIGHT // 32) * (CROP_WIDTH // 32)
        self.overview = nn.Linear(c4 * coarse, GLOBAL_FEATURES)
        self.facing = nn.Linear(GLOBAL_FEATURES, 6)
        self.presence = nn.Linear(GLOBAL_FEATURES, 1)
        self.context = nn.Linear(GLOBAL_FEATURES, middle)  # lets the whole person settle left against right
        nn.init.zeros_(self.context.weight)
        nn.init.zeros_(self.context.bias)
        height, width = CROP_HEIGHT // 4, CROP_WIDTH // 4
        y = (torch.arange(height) + .5) / height - .5
        x = ((torch.arange(width) + .5) / width - .5) * CROP_WIDTH / CROP_HEIGHT
        grid = torch.stack([x.repeat(height), y.repeat_interleave(width)], -1)
        self.register_buffer('grid', grid, persistent=False)  # (768, 2) crop heights from the centre

    def maps(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Heatmap logits (B, 29, 768), depth maps (B, 24, 768), global features (B, 128), facing (B, 6)."""
        f4 = self.stage4(self.stem(crops))
        f8 = self.stage8(f4)
        f16 = self.stage16(f8)
        f32 = self.stage32(f16)
        overview = F.relu(self.overview(f32.flatten(1)))
        y = self.lateral[0](f32) + self.context(overview)[:, :, None, None]
        for lateral, smooth, finer in zip(self.lateral[1:], self.smooth, (f16, f8, f4), strict=True):
            y = smooth(F.interpolate(y, scale_factor=2., mode='nearest') + lateral(finer))
        return self.heatmaps(y).flatten(2), self.depths(y).flatten(2), overview, self.facing(overview)

    def read(self, heatmaps: Tensor, depths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keypoints (B, 29, 2), log spread (B, 29), relative depths (B, 24), all in crop heights."""
        probability = heatmaps.softmax(-1)
        peak = self.grid[probability.argmax(-1)]
        distance = ((self.grid - peak[:, :, None]) ** 2).sum(-1)
        near = probability * (distance < WINDOW ** 2).to(probability.dtype)
        near = near / near.sum(-1, keepdim=True).clamp(min=1e-6)
        keypoints = near @ self.grid
        variance = (probability * distance).sum(-1)
        spread = .5 * torch.log(variance + 1e-6) - math.log(LOG_SPREAD_UNIT)
        depth = (near[:, :NUM_DEPTHS] * depths).sum(-1)
        return keypoints, spread, depth

    def features(self, heatmaps: Tensor, depths: Tensor, overview: Tensor, facing: Tensor) -> Tensor:
        """What the regressor reads, from what `maps` gives."""
        keypoints, spread, depth = self.read(heatmaps, depths)
        return pack_features(keypoints, spread, depth, facing, overview)

    def forward(self, crops: Tensor) -> Tensor:
        if self.training:
            maps = self.maps(crops)
            return torch.cat([self.features(*maps), self.presence(maps[2])], 1)
        straight, turned = self.both_ways(crops)
        return torch.cat([self.features(*straight), turned[2], self.presence(straight[2])], 1)

    def both_ways(self, crops: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What `maps` gives of crops, and of mirrored crops: the mean of both looks, as one mistakes left and right
        where the other does not. It halves the speed and takes a twentieth off the error of keypoints."""
        maps = self.maps(torch.stack([crops, crops[..., _backwards(CROP_WIDTH)]], 1).flatten(0, 1))
        straight, turned = zip(*(part.unflatten(0, (-1, 2)).unbind(1) for part in maps), strict=True)
        heatmaps, depths, facing = ((a + b) / 2 for a, b in zip(
            _but_overview(straight), self._mirrored(*_but_overview(turned)), strict=True))
        mirrored = self._mirrored(heatmaps, depths, facing)
        return (heatmaps, depths, straight[2], facing), (*mirrored[:2], turned[2], mirrored[2])

    def _mirrored(self, heatmaps: Tensor, depths: Tensor, facing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of mirrored crops, what it is of the crops themselves."""
        columns = _backwards(CROP_WIDTH // 4)
        heatmaps, depths = (
            maps[:, MIRROR_KEYPOINTS[:k].tolist()].unflatten(2, (CROP_HEIGHT // 4, -1))[..., columns].flatten(2)
            for maps, k in ((heatmaps, NUM_KEYPOINTS), (depths, NUM_DEPTHS)))
        return heatmaps, depths, facing * facing.new_tensor(MIRROR_FACING)


def _backwards(count: int) -> list[int]:
    # Not torch.arange: it becomes a Range that counts down, which ONNX Runtime 1.32 folds to wrong numbers.
    return list(range(count - 1, -1, -1))


def _but_overview(maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    heatmaps, depths, _, facing = maps
    return heatmaps, depths, facing


class EmbeddedCliff(nn.Module):
    """The embedded CLIFF. Crops (B, 3, 128, 96) normalised, bbox_info (B, 3) -> rotations, betas, camera."""

    dialect = 'embedded'
    name = 'cliff_embedded'
    body = 'smpl'
    licence = 'Apache-2.0'
    spec = CropSpec(CROP_HEIGHT, CROP_WIDTH, antialias=True)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = KeypointEncoder()
        self.regressor = LiftingRegressor()

    @staticmethod
    def normalise(crops: Tensor) -> Tensor:
        """(B, h, w, 3) 0..255 RGB -> (B, 3, h, w) about unit deviation."""
        return (crops.permute(0, 3, 1, 2).float() - 118) / 62

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
        return self.model.features_to_parameters(features, self.model.bbox_info(location))

    def presence(self, features: Tensor) -> Tensor:
        """(B,) probability that the crop shows the person its box is of."""
        return torch.sigmoid(features[:, -1])


def load_embedded(path: Path = EMBEDDED) -> EmbeddedCliff:
    """The trained embedded network, in eval mode, out of its runtime graph."""
    from cliff_ros.engine.export import read_weights
    if not path.is_file():
        raise ModelError(f"the embedded network's graph is missing at '{path}': reinstall cliff_ros")
    weights = {name.replace('head.model.regressor.', 'regressor.'): value
               for name, value in read_weights(path).items()}
    model = EmbeddedCliff()
    wanted = model.state_dict()
    if missing := [name for name in wanted if name not in weights and not name.endswith('num_batches_tracked')]:
        raise ModelError(f"'{path}' lacks the weights {missing[:3]}: it was not exported from the embedded network "
                         'of this version: train it anew')
    model.load_state_dict({name: weights.get(name, value) for name, value in wanted.items()})
    return model.eval()


def round_to_half(model: EmbeddedCliff) -> EmbeddedCliff:
    """Round the weights as the graph stores them, in place: PyTorch then computes what the graph computes."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() >= 1024:
                parameter.copy_(parameter.half().float())
    return model
