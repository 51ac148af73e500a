"""HRNet-W48 as an image encoder (Sun et al. 2019; Wang et al. 2020), with its two published heads.

Four branches at strides 4, 8, 16 and 32 with 48, 96, 192 and 384 channels run in parallel and exchange what
they know after every few blocks. Tensor names are the HRNet authors', so that their weights and every CLIFF
checkpoint fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from itertools import chain, pairwise

import torch
from torch import Tensor, nn

from cliff_ros.cliff.resnet import BasicBlock, Bottleneck, conv, layer_of

CHANNELS = (48, 96, 192, 384)
# Exchanges in stages 2, 3 and 4, which have 2, 3 and 4 branches.
MODULES = {2: 1, 3: 4, 4: 3}
BLOCKS_PER_BRANCH = 4


def _conv_bn(
    num_in: int, num_out: int, kernel: int = 3, stride: int = 1, relu: bool = True, bias: bool = False
) -> nn.Sequential:
    layers = [conv(num_in, num_out, kernel, stride, bias), nn.BatchNorm2d(num_out)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


def _each(layers: Iterable[nn.Module], maps: list[Tensor]) -> list[Tensor]:
    return [layer(x) for layer, x in zip(layers, maps, strict=True)]


class _Exchange(nn.Module):
    """Some blocks on every branch, then every branch receives the sum of all, brought to its own size."""

    def __init__(self, num_branches: int) -> None:
        super().__init__()
        channels = CHANNELS[:num_branches]
        self.branches = nn.ModuleList(layer_of(BasicBlock, c, c, BLOCKS_PER_BRANCH) for c in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(source, target) for source in range(num_branches))
            for target in range(num_branches)
        )

    @staticmethod
    def _path(source: int, target: int) -> nn.Module:
        num_in, num_out = CHANNELS[source], CHANNELS[target]
        if source == target:
            return nn.Identity()
        if source > target:
            upsample = nn.Upsample(scale_factor=2 ** (source - target))
            return nn.Sequential(*_conv_bn(num_in, num_out, 1, relu=False), upsample)
        halvings = [_conv_bn(num_in, num_in, stride=2) for _ in range(target - source - 1)]
        return nn.Sequential(*halvings, _conv_bn(num_in, num_out, stride=2, relu=False))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = _each(self.branches, maps)
        return [torch.relu(reduce(torch.add, _each(paths.children(), maps))) for paths in self.fuse_layers]


class HRNetTrunk(nn.Module):
    """What both forms share: (B, 3, h, w), multiples of 32, -> four maps at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64, stride=2), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = conv(64, 64, stride=2), nn.BatchNorm2d(64)
        self.layer1 = layer_of(Bottleneck, 64, 64, 4)
        self.transition1 = nn.ModuleList([_conv_bn(256, CHANNELS[0]), self._new_branch(256, CHANNELS[1])])
        self.stage2 = self._stage(2)
        self.transition2 = self._grow(2)
        self.stage3 = self._stage(3)
        self.transition3 = self._grow(3)
        self.stage4 = self._stage(4)

    @staticmethod
    def _stage(num_branches: int) -> nn.Sequential:
        return nn.Sequential(*(_Exchange(num_branches) for _ in range(MODULES[num_branches])))

    @staticmethod
    def _new_branch(num_in: int, num_out: int) -> nn.Sequential:
        return nn.Sequential(_conv_bn(num_in, num_out, stride=2))

    @classmethod
    def _grow(cls, num_branches: int) -> nn.ModuleList:
        """The branches there are stay; a new one starts from the coarsest."""
        kept = (nn.Identity() for _ in range(num_branches))
        return nn.ModuleList([*kept, cls._new_branch(*CHANNELS[num_branches - 1 : num_branches + 1])])

    def maps(self, x: Tensor) -> list[Tensor]:
        """Four maps (B, c, h / s, w / s), finest first: c = 48, 96, 192, 384 at strides s = 4, 8, 16, 32."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        maps = [self.transition1[0](x), self.transition1[1](x)]
        maps = self.stage2(maps)
        maps = self.stage3([*maps, self.transition2[2](maps[-1])])
        return self.stage4([*maps, self.transition3[3](maps[-1])])


class HRNetW48(HRNetTrunk):
    """The ImageNet classification form, without its classifier: (B, 3, h, w) normalized -> (B, 2048)."""

    num_features = 2048

    def __init__(self) -> None:
        super().__init__()
        widths = (128, 256, 512, 1024)
        self.incre_modules = nn.ModuleList(
            layer_of(Bottleneck, c, width // 4, 1) for c, width in zip(CHANNELS, widths, strict=True)
        )
        self.downsamp_modules = nn.ModuleList(
            _conv_bn(fine, coarse, stride=2, bias=True) for fine, coarse in pairwise(widths)
        )
        self.final_layer = _conv_bn(widths[-1], self.num_features, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Merge the maps from fine to coarse, widen to 2048 channels, and average over the image: (B, 2048)."""
        total, *coarser = _each(self.incre_modules, self.maps(x))
        for halve, wide in zip(self.downsamp_modules, coarser, strict=True):
            total = wide + halve(total)
        return self.final_layer(total).mean((2, 3))


class HRNetW48Pose(HRNetTrunk):
    """The COCO pose form as BEDLAM uses it: every branch brought to stride 32, concatenated; -> (B, 720)."""

    num_features = sum(CHANNELS)

    def __init__(self) -> None:
        super().__init__()
        self.downsample_stage_1 = self._halve(CHANNELS[0], 3)
        self.downsample_stage_2 = self._halve(CHANNELS[1], 2)
        self.downsample_stage_3 = self._halve(CHANNELS[2], 1)

    @staticmethod
    def _halve(channels: int, times: int) -> nn.Sequential:
        return nn.Sequential(*chain(*(_conv_bn(channels, channels, stride=2) for _ in range(times))))

    def forward(self, x: Tensor) -> Tensor:
        """Average each branch over the image at stride 32, channels in the order of the branches: (B, 720)."""
        first, second, third, fourth = self.maps(x)
        maps = (self.downsample_stage_1(first), self.downsample_stage_2(second), self.downsample_stage_3(third), fourth)
        return torch.cat([x.mean((2, 3)) for x in maps], 1)
