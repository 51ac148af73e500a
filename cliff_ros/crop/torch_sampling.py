"""Crops cut by PyTorch on the GPU, out of one uploaded frame: what `cliff_ros.crop.views.crop` does on the CPU.

The frame goes up once, as received; only the positions that each crop reads are computed on the CPU. Where
the GPU computes the network too, no crop ever lies in the host's memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cliff_ros.camera import Camera
from cliff_ros.crop.sampling import Blocks, blocks_read
from cliff_ros.crop.views import CropSpec, View, sampling_path, uses_integer_rectangle
from cliff_ros.people import Frame


class TorchCropper:
    """A `Cropper` on a device of PyTorch."""

    def __init__(self, spec: CropSpec, device: torch.device | str) -> None:
        self.spec, self._device = spec, torch.device(device)
        self._pinned: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, frame: Frame, views: Sequence[View]) -> Tensor:
        """Crops (N, h, w, 3) uint8 RGB as a tensor on the device; the frame is uploaded once for all views."""
        spec = self.spec
        crops = torch.empty(len(views), spec.height, spec.width, 3, dtype=torch.uint8, device=self._device)
        if not len(views):
            return crops
        image = self._upload(frame.image)
        for view, out in zip(views, crops, strict=True):
            out.copy_(self._cut(image, frame.camera, view))
        return crops.flip(-1) if frame.order == 'bgr' else crops

    def _upload(self, image: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 on the device, through one pinned buffer that is kept."""
        if self._device.type == 'cpu':
            return torch.from_numpy(np.ascontiguousarray(image))
        if self._pinned is None or self._pinned.shape != image.shape:
            self._pinned = torch.empty(image.shape, dtype=torch.uint8, pin_memory=True)
        np.copyto(self._pinned.numpy(), image)
        return self._pinned.to(self._device, non_blocking=True)

    def _cut(self, image: Tensor, camera: Camera, view: View) -> Tensor:
        path = sampling_path(camera, view, self.spec)
        shape = image.shape[0], image.shape[1]
        if uses_integer_rectangle(camera, view, self.spec):
            # The authors resize a copy of the rectangle: its outermost pixels continue beyond it.
            begin, end = view.integer_rectangle(self.spec)
            path = np.clip(path, begin, end - 1).astype(np.float32)
        elif self.spec.antialias:
            blocks = blocks_read(path, shape)
            if blocks is None:
                return torch.zeros(*path.shape[:2], 3, dtype=torch.uint8, device=self._device)
            if blocks.factor > 1:
                path = (path - blocks.begin + 0.5) / blocks.factor - 0.5
                path, image = path.astype(np.float32), _average(image, blocks)
        return _sample(image, torch.from_numpy(path).to(self._device, non_blocking=True))


def _average(image: Tensor, blocks: Blocks) -> Tensor:
    """(h, w, 3) float32: means over blocks of a part of the image."""
    (left, top), (right, bottom) = blocks.begin, blocks.end
    part = image[top:bottom, left:right].permute(2, 0, 1).float()
    return F.avg_pool2d(part, blocks.factor).permute(1, 2, 0)


def _sample(image: Tensor, path: Tensor) -> Tensor:
    """(h, w, 3) uint8, bilinear, black outside; path (h, w, 2) in pixels of the image."""
    height, width = image.shape[:2]
    low = torch.floor(path)
    share = path - low
    x, y = low.long().unbind(-1)
    total = torch.zeros(*path.shape[:2], 3, dtype=torch.float32, device=path.device)
    for right in (0, 1):
        for below in (0, 1):
            column, row = x + right, y + below
            weight = (share[..., 0] if right else 1 - share[..., 0]) * (share[..., 1] if below else 1 - share[..., 1])
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            pixels = image[row.clamp(0, height - 1), column.clamp(0, width - 1)].float()
            total += pixels * (weight * inside).unsqueeze(-1)
    return total.round().clamp(0, 255).to(torch.uint8)
