"""ResNet-50 as an image encoder (He et al. 2016, stride on the 3x3 convolution), and the blocks HRNet shares.

Tensor names are torchvision's, so that its ImageNet weights and every CLIFF checkpoint fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def conv(num_in: int, num_out: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1, initialized for ReLU."""
    layer = nn.Conv2d(num_in, num_out, kernel, stride, kernel // 2, bias=bias)
    nn.init.kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='relu')
    return layer


class _Residual(nn.Module):
    """relu(x + body(x)); ``downsample`` matches x where size or channels change."""

    expansion: int

    def __init__(self, num_in: int, planes: int, stride: int) -> None:
        super().__init__()
        num_out = planes * self.expansion
        self.downsample = None
        if stride != 1 or num_in != num_out:
            self.downsample = nn.Sequential(conv(num_in, num_out, 1, stride), nn.BatchNorm2d(num_out))

    def body(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.body(x) + shortcut)


class BasicBlock(_Residual):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, num_in: int, planes: int, stride: int = 1) -> None:
        super().__init__(num_in, planes, stride)
        self.conv1, self.bn1 = conv(num_in, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv(planes, planes), nn.BatchNorm2d(planes)

    def body(self, x: Tensor) -> Tensor:
        """x (B, num_in, h, w) -> (B, planes, h / stride, w / stride), without the shortcut and the last ReLU."""
        return self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))


class Bottleneck(_Residual):
    """1x1 down to ``planes`` channels, 3x3, 1x1 up to four times as many."""

    expansion = 4

    def __init__(self, num_in: int, planes: int, stride: int = 1) -> None:
        super().__init__(num_in, planes, stride)
        self.conv1, self.bn1 = conv(num_in, planes, 1), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv(planes, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = conv(planes, planes * 4, 1), nn.BatchNorm2d(planes * 4)

    def body(self, x: Tensor) -> Tensor:
        """x (B, num_in, h, w) -> (B, 4 planes, h / stride, w / stride), without the shortcut and the last ReLU."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


def layer_of(
    block: type[BasicBlock] | type[Bottleneck], num_in: int, planes: int, blocks: int, stride: int = 1
) -> nn.Sequential:
    """``blocks`` residual blocks in a row, the first of which changes stride and channels."""
    rest = (block(planes * block.expansion, planes) for _ in range(blocks - 1))
    return nn.Sequential(block(num_in, planes, stride), *rest)


class ResNet50(nn.Module):
    """(B, 3, h, w) normalized -> (B, 2048)."""

    num_features = 2048

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = layer_of(Bottleneck, 64, 64, 3)
        self.layer2 = layer_of(Bottleneck, 256, 128, 4, 2)
        self.layer3 = layer_of(Bottleneck, 512, 256, 6, 2)
        self.layer4 = layer_of(Bottleneck, 1024, 512, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The last stage's map, at stride 32, averaged over the image: (B, 2048)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((2, 3))
