"""The embedded detector: a small anchor-free heatmap network, trained on synthetic stills.

After CenterNet (Zhou et al. 2019) for the heatmap and FCOS (Tian et al. 2019) for the four distances.
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliff_ros.cliff.embedded import Residual, conv
from cliff_ros.engine.export import halve
from cliff_ros.synthetic.stills import NEAR, StillSampler
from cliff_ros.training.keypoints import half_precision
from cliff_ros.training.progress import Losses, set_rate

STRIDE = 8
# (width, height) of what the network sees, and the rows of it that are image: 4:3, 16:9, upright 9:16
SIZES = ((384, 288, 288), (384, 224, 216), (224, 384, 384))
PADDING = 114


class PersonDetector(nn.Module):
    """Normalised image (B, 3, h, w) -> heatmap logits (B, 1, h/8, w/8), log distances (B, 4, h/8, w/8)."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        c2, c4, c8, c16 = widths
        self.stem = nn.Sequential(conv(3, c2, 5, 2), conv(c2, c4, 3, 2), Residual(c4, c4))
        self.stage8 = nn.Sequential(conv(c4, c8, 3, 2), conv(c8, c8))
        self.stage16 = conv(c8, c16, 3, 2)
        self.wide = nn.ModuleList(nn.Sequential(
            nn.Conv2d(c16, c16, 3, 1, d, d, bias=False), nn.BatchNorm2d(c16), nn.ReLU(inplace=True)) for d in (1, 2, 4))
        self.lateral = nn.Conv2d(c16, c8, 1)
        self.smooth = conv(c8, c8)
        self.head = nn.Conv2d(c8, 5, 1)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([-4., 1.5, 2., 1.5, 2.]))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x8 = self.stage8(self.stem(image))
        x = self.stage16(x8)
        for block in self.wide:
            x = x + block(x)
        y = self.head(self.smooth(x8 + F.interpolate(self.lateral(x), scale_factor=2., mode='nearest')))
        return y[:, :1], y[:, 1:]


class DetectorGraph(nn.Module):
    """What is exported: uint8 image (1, h, w, 3) RGB -> suppressed heatmap, distances in pixels."""

    def __init__(self, network: PersonDetector) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        heat, distance = self.network(normalise(image))
        heat = torch.sigmoid(heat)
        peak = (heat >= F.max_pool2d(heat, 3, 1, 1)).to(heat.dtype)
        return heat * peak, torch.exp(distance.clamp(max=6)) * 4


def normalise(image: Tensor) -> Tensor:
    """(B, h, w, 3) uint8 -> (B, 3, h, w) about unit deviation."""
    return (image.permute(0, 3, 1, 2).float() - 118) / 62


def render_stills(path: Path, seed: int, count: int, everyday: bool = False, device: str = '') -> None:
    """Render frames of all sizes into one file: images_<i>, and boxes as rows (frame, x0, y0, x1, y1, asked for)."""
    sampler, arrays = StillSampler(seed, everyday=everyday, device=device, near=NEAR), {}
    for k, (width, height, rows_seen) in enumerate(SIZES):
        images = np.full((count // len(SIZES), height, width, 3), PADDING, np.uint8)
        rows = []
        for i in range(len(images)):
            # Drawn larger and shrunk, as a camera's image is: edges and small people look the same.
            zoom = float(sampler.rng.choice([1., 1.25, 5 / 3]))
            image, asked, ignored = sampler.sample(int(width * zoom), int(rows_seen * zoom))
            images[i, :rows_seen] = cv2.resize(image, (width, rows_seen), interpolation=cv2.INTER_AREA)
            for boxes, flag in ((asked, 1), (ignored, 0)):
                shrunk = (boxes + .5) / zoom - .5
                rows.append(np.column_stack([np.full(len(boxes), i), shrunk, np.full(len(boxes), flag)]))
        arrays |= {f'images_{k}': images, f'boxes_{k}': np.concatenate(rows).astype(np.float32)}
    partial = path.with_suffix('.partial.npz')
    np.savez(partial, **arrays)
    partial.rename(path)


def targets(boxes: list[np.ndarray], width: int, height: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Heatmaps (B, 1, h, w), log distances (B, 4, h, w), where these count and where those do (B, 1, h, w).

    boxes: (N, 5) each: xyxy [px] and whether somebody is asked for; where not, neither answer is wrong.
    """
    w, h, n = width // STRIDE, height // STRIDE, len(boxes)
    heat, counts = np.zeros((n, 1, h, w), np.float32), np.ones((n, 1, h, w), np.float32)
    distance, mask = np.zeros((n, 4, h, w), np.float32), np.zeros((n, 1, h, w), np.float32)
    y, x = np.mgrid[:h, :w] * float(STRIDE) + STRIDE / 2
    for i in range(n):
        for box in sorted(boxes[i], key=lambda b: -(b[2] - b[0]) * (b[3] - b[1])):  # small ones win where they overlap
            x0, y0, x1, y1 = box[:4] + .5  # pixel centres to the edge-based grid of the cells
            if not box[4]:
                counts[i, 0][(x > x0) & (x < x1) & (y > y0) & (y < y1)] = 0
                continue
            cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
            sx, sy = max((x1 - x0) / 8, 4), max((y1 - y0) / 8, 4)
            blob = np.exp(-.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))
            blob[min(h - 1, int(cy // STRIDE)), min(w - 1, int(cx // STRIDE))] = 1
            near = blob > .6
            heat[i, 0] = np.maximum(heat[i, 0], blob)
            mask[i, 0][near] = 1
            for k, value in enumerate((x - x0, y - y0, x1 - x, y1 - y)):
                distance[i, k][near] = np.log(np.maximum(value, 2) / 4)[near]
    counts[heat > .3] = 1
    return torch.from_numpy(heat), torch.from_numpy(distance), torch.from_numpy(mask), torch.from_numpy(counts)


def detector_loss(heat: Tensor, distance: Tensor, want_heat: Tensor, want_distance: Tensor, mask: Tensor,
                  counts: Tensor) -> Tensor:
    """CenterNet's focal loss, L1 on log distances and -log IoU."""
    p = torch.sigmoid(heat).clamp(1e-4, 1 - 1e-4)
    positive = (want_heat >= .999).float()
    focal = -(positive * (1 - p) ** 2 * p.log()
              + counts * (1 - positive) * (1 - want_heat) ** 4 * p ** 2 * (1 - p).log()
              ).sum() / positive.sum().clamp(min=1)
    count = mask.sum().clamp(min=1)
    l1 = ((distance - want_distance).abs() * mask).sum() / count / 4
    a, b = distance.clamp(max=6).exp(), want_distance.exp()

    def area(d):
        return (d[:, :1] + d[:, 2:3]) * (d[:, 1:2] + d[:, 3:])
    common = area(torch.minimum(a, b))
    iou = common / (area(a) + area(b) - common)
    return focal + l1 - (iou.clamp(min=1e-3).log() * mask).sum() / count


def train(files: list[Path], checkpoint: Path, seconds: float, batch: int = 16, rate: float = 3e-3,
          log=print) -> PersonDetector:
    """Train for that long (one cosine), resuming from `checkpoint` where there is one."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = []
    for path in files:
        with np.load(path) as file:
            for k in range(len(SIZES)):
                images, rows = file[f'images_{k}'], file[f'boxes_{k}']
                data.append((images, [rows[rows[:, 0] == i, 1:] for i in range(len(images))]))
    network = PersonDetector().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-3)
    elapsed, step, means = 0., 0, Losses(log)
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state['network'])
        optimizer.load_state_dict(state['optimizer'])
        elapsed, step = state['elapsed'], state['step']
    started = saved = time.monotonic() - elapsed
    while (progress := (time.monotonic() - started) / seconds) < 1:
        set_rate(optimizer, rate, progress, step, warmup=50)
        images, boxes = data[rng.integers(len(data))]
        pick = rng.integers(len(images), size=batch)
        x = normalise(torch.from_numpy(images[pick]))
        height, width = images.shape[1:3]
        chosen = [boxes[i] for i in pick]
        if rng.random() < .5:
            x = x.flip(3)
            chosen = [np.stack([width - 1 - b[:, 2], b[:, 1], width - 1 - b[:, 0], b[:, 3], b[:, 4]], 1)
                      for b in chosen]
        x = x * (1 + .15 * torch.randn(batch, 3, 1, 1)) + .1 * torch.randn(batch, 3, 1, 1)
        with half_precision():
            heat, distance = network(x.contiguous(memory_format=torch.channels_last))
        loss = detector_loss(heat.float(), distance.float(), *targets(chosen, width, height))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.)
        optimizer.step()
        step += 1
        means.add(step, time.monotonic() - started, step * batch, {'loss': loss})
        if time.monotonic() - saved > 120 or progress > .995:
            saved = time.monotonic()
            partial = checkpoint.with_suffix('.partial')
            torch.save(dict(network=network.state_dict(), optimizer=optimizer.state_dict(),
                            elapsed=saved - started, step=step), partial)
            partial.rename(checkpoint)
    return network.eval()


def export_detector(network: PersonDetector, path: Path) -> None:
    """Write the graph that cliff_ros.detect runs."""
    import onnx
    example = torch.zeros(1, 224, 384, 3, dtype=torch.uint8)
    partial = path.with_suffix('.partial.onnx')
    with torch.no_grad():
        torch.onnx.export(DetectorGraph(network).eval(), (example,), str(partial), input_names=['image'],
                          output_names=['heatmap', 'ltrb'], opset_version=17, dynamo=False,
                          dynamic_axes={'image': {1: 'height', 2: 'width'}, 'heatmap': {2: 'rows', 3: 'columns'},
                                        'ltrb': {2: 'rows', 3: 'columns'}})
    proto = onnx.load(str(partial))
    halve(proto.graph, rounding=True)
    onnx.save(proto, str(partial))
    partial.replace(path)
