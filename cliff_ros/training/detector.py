"""The embedded detector: a small anchor-free heatmap network, trained on synthetic stills.

After CenterNet (Zhou et al. 2019) for the heatmap and FCOS (Tian et al. 2019) for the four distances.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliff_ros.boxes import iou
from cliff_ros.cliff.embedded import CONTRAST, GRAY, Residual, conv
from cliff_ros.files import write_bytes
from cliff_ros.graph.export import halve
from cliff_ros.training.augment import recolor
from cliff_ros.training.data import SIZES
from cliff_ros.training.loop import LAST, Log, Progress, Stage
from cliff_ros.training.pool import Feeder
from cliff_ros.training.progress import channels_last, channels_last_of, half_precision, plain_of, rounded

STRIDE = 8
WIDTHS, DILATIONS = (16, 32, 72, 144), (1, 2, 4, 8)
MOST_BOXES = 12  # in a frame; of more the largest are kept
RATE, BATCH = {'cpu': 3e-3, 'cuda': 4e-3}, {'cpu': 16, 'cuda': 64}


class PersonDetector(nn.Module):
    """Normalized image (B, 3, h, w) -> heatmap logits (B, 1, h/8, w/8), log distances (B, 4, h/8, w/8)."""

    def __init__(self, widths: Sequence[int] = WIDTHS, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        c2, c4, c8, c16 = widths
        self.stem = nn.Sequential(conv(3, c2, 5, 2), conv(c2, c4, 3, 2), Residual(c4, c4))
        self.stage8 = nn.Sequential(conv(c4, c8, 3, 2), conv(c8, c8))
        self.stage16 = conv(c8, c16, 3, 2)
        self.wide = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c16, c16, 3, 1, d, d, bias=False), nn.BatchNorm2d(c16), nn.ReLU(inplace=True))
            for d in dilations
        )
        self.lateral = nn.Conv2d(c16, c8, 1)
        self.smooth = conv(c8, c8)
        self.head = nn.Conv2d(c8, 5, 1)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([-4.0, 1.5, 2.0, 1.5, 2.0]))  # type: ignore[union-attr]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """h and w must be multiples of 16. Distances: of a cell's center from a box's left, top, right and bottom, as
        logarithms of multiples of 4 pixels."""
        x8 = self.stage8(self.stem(image))
        x = self.stage16(x8)
        for block in self.wide:
            x = x + block(x)
        y = self.head(self.smooth(x8 + F.interpolate(self.lateral(x), scale_factor=2.0, mode='nearest')))
        return y[:, :1], y[:, 1:]


class DetectorGraph(nn.Module):
    """What is exported: uint8 image (1, h, w, 3) RGB -> suppressed heatmap, distances in pixels."""

    def __init__(self, network: PersonDetector) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (1, 1, h/8, w/8), 0 where a neighbor's is higher, and distances (1, 4, h/8, w/8) [px] from the cell's
        center to the left, top, right and bottom of the box."""
        heat, distance = self.network(normalize(image))
        heat = torch.sigmoid(heat)
        peak = (heat >= F.max_pool2d(heat, 3, 1, 1)).to(heat.dtype)
        return heat * peak, torch.exp(distance.clamp(max=6)) * 4


def normalize(image: Tensor) -> Tensor:
    """(B, h, w, 3) uint8 -> (B, 3, h, w) about unit deviation."""
    return (image.permute(0, 3, 1, 2).float() - GRAY) / CONTRAST


def read_stills(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Of each size, images (N, h, w, 3) uint8 and boxes (N, 12, 5): xyxy [px] and 1 for somebody who is asked for, 0
    for somebody who may be found, -1 for nobody."""
    found = []
    with np.load(path) as file:
        for k in range(len(SIZES)):
            images, rows = file[f'images_{k}'], file[f'boxes_{k}']
            boxes = np.zeros((len(images), MOST_BOXES, 5), np.float32)
            boxes[..., 4] = -1
            for i in range(len(images)):
                some = rows[rows[:, 0] == i, 1:]
                order = np.argsort(-(some[:, 2] - some[:, 0]) * (some[:, 3] - some[:, 1]), kind='stable')[:MOST_BOXES]
                boxes[i, : len(order)] = some[order]
            found.append((torch.from_numpy(images), torch.from_numpy(boxes)))
    return found


class StillPool:
    """Frames and boxes on a device, of which the newest files are kept: as many as fit into `most_bytes`."""

    def __init__(self, device: torch.device | str = 'cpu', most_bytes: float = 8e9) -> None:
        self.device, self.most_bytes, self.frames = torch.device(device), most_bytes, 0
        self._sets: list[list[tuple[Tensor, Tensor]]] = []
        self._bytes = 0

    def __len__(self) -> int:
        return sum(len(images) for one in self._sets for images, _ in one)

    def add(self, sizes: list[tuple[Tensor, Tensor]]) -> None:
        """What `read_stills` gave."""
        self._sets.append([(images.to(self.device), boxes.to(self.device)) for images, boxes in sizes])
        self.frames += sum(len(images) for images, _ in sizes)
        self._bytes += sum(images.numel() for images, _ in sizes)
        while self._bytes > self.most_bytes and len(self._sets) > 1:
            self._bytes -= sum(images.numel() for images, _ in self._sets.pop(0))

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Frames (B, h, w, 3) uint8 of one of the sizes, of up to four files, and their boxes (B, 12, 5)."""
        k, parts = int(torch.randint(len(SIZES), ()).item()), min(4, size)
        found = []
        for part in range(parts):
            images, boxes = self._sets[int(torch.randint(len(self._sets), ()).item())][k]
            pick = torch.randint(len(images), (size // parts + (part < size % parts),), device=self.device)
            found.append((images[pick], boxes[pick]))
        images, boxes = (torch.cat(some) for some in zip(*found, strict=True))
        return images, boxes

    def once(self, size: int):
        """Every frame once, as in `batch`."""
        for one in self._sets:
            for images, boxes in one:
                yield from zip(images.split(size), boxes.split(size), strict=True)


def targets(boxes: Tensor, width: int, height: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Heatmaps (B, 1, h, w), log distances (B, 4, h, w), where these count and where those do (B, 1, h, w).

    boxes: (B, M, 5), as `read_stills` gives them. Where somebody may be found neither answer is wrong.
    """
    device, w, h = boxes.device, width // STRIDE, height // STRIDE
    x = (torch.arange(w, device=device) * STRIDE + STRIDE / 2)[None, None, None]
    y = (torch.arange(h, device=device) * STRIDE + STRIDE / 2)[None, None, :, None]
    # pixel centers to the edge-based grid of the cells
    x0, y0, x1, y1 = (boxes[..., k, None, None] + 0.5 for k in range(4))
    kind = boxes[..., 4, None, None]
    asked = kind > 0.5
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    sx, sy = ((x1 - x0) / 8).clamp(min=4), ((y1 - y0) / 8).clamp(min=4)
    blob = torch.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2)) * asked
    center_x, center_y = (
        (c / STRIDE).floor().clamp(0, most - 1) * STRIDE + STRIDE / 2 for c, most in ((cx, w), (cy, h))
    )
    blob = torch.where(asked & ((x - center_x).abs() < 1) & ((y - center_y).abs() < 1), 1.0, blob)
    near = blob > 0.6
    heat, mask = blob.amax(1, keepdim=True), near.any(1, keepdim=True)
    # small ones win where they overlap
    area = torch.where(near, (x1 - x0) * (y1 - y0), torch.inf)
    owner = area.argmin(1, keepdim=True)
    sides = torch.stack(torch.broadcast_tensors(x - x0, y - y0, x1 - x, y1 - y), 2)
    wanted = sides.gather(1, owner[:, :, None].expand(-1, -1, 4, -1, -1))[:, 0]
    distance = torch.where(mask, torch.log(wanted.clamp(min=2) / 4), 0.0)
    ignored = ((kind > -0.5) & ~asked & (x > x0) & (x < x1) & (y > y0) & (y < y1)).any(1, keepdim=True)
    counts = (~ignored | (heat > 0.3)).float()
    return heat, distance, mask.float(), counts


def detector_loss(
    heat: Tensor, distance: Tensor, want_heat: Tensor, want_distance: Tensor, mask: Tensor, counts: Tensor
) -> Tensor:
    """CenterNet's focal loss, L1 on log distances and -log IoU."""
    p = torch.sigmoid(heat).clamp(1e-4, 1 - 1e-4)
    positive = (want_heat >= 0.999).float()
    focal = -(
        positive * (1 - p) ** 2 * p.log() + counts * (1 - positive) * (1 - want_heat) ** 4 * p**2 * (1 - p).log()
    ).sum() / positive.sum().clamp(min=1)
    count = mask.sum().clamp(min=1)
    l1 = ((distance - want_distance).abs() * mask).sum() / count / 4
    a, b = distance.clamp(max=6).exp(), want_distance.exp()

    def area(d):
        return (d[:, :1] + d[:, 2:3]) * (d[:, 1:2] + d[:, 3:])

    common = area(torch.minimum(a, b))
    overlap = common / (area(a) + area(b) - common)
    return focal + l1 - (overlap.clamp(min=1e-3).log() * mask).sum() / count


def loss_on(network: PersonDetector, images: Tensor, boxes: Tensor, looks: float = 1.0) -> Tensor:
    """Of frames (B, h, w, 3) uint8 and boxes (B, M, 5), mirrored and in other colors at random."""
    height, width = images.shape[1:3]
    with torch.no_grad():
        flip = torch.rand(len(images), device=images.device) < 0.5
        x = images.permute(0, 3, 1, 2).float()
        x = torch.where(flip[:, None, None, None], x.flip(3), x)
        x = (recolor(x, looks) - GRAY) / CONTRAST
        x0, y0, x1, y1, kind = boxes.unbind(2)
        turned = torch.stack([width - 1 - x1, y0, width - 1 - x0, y1, kind], 2)
        wanted = targets(torch.where(flip[:, None, None], turned, boxes), width, height)
    with half_precision(images.device):
        heat, distance = network(channels_last(x))
    return detector_loss(heat.float(), distance.float(), *wanted)


@torch.no_grad()
def validate(network: PersonDetector, pool: StillPool, threshold: float = 0.35) -> dict[str, float]:
    """Recall and precision at IoU 0.5 on frames of a pool, without the suppression of overlapping boxes."""
    asked = found = right = said = 0
    for images, boxes in pool.once(32):
        with half_precision(pool.device):
            heat, distance = network(channels_last(normalize(images)))
        heat = torch.sigmoid(heat.float())
        heat = heat * (heat >= F.max_pool2d(heat, 3, 1, 1))
        reach = torch.exp(distance.float().clamp(max=6)) * 4
        kind = boxes[..., 4]
        for i in range(len(images)):
            y, x = torch.where(heat[i, 0] > threshold)
            at = torch.stack([x, y], 1) * STRIDE + STRIDE / 2 - 0.5
            left, top, right_, bottom = reach[i, :, y, x]
            mine = torch.stack([at[:, 0] - left, at[:, 1] - top, at[:, 0] + right_, at[:, 1] + bottom], 1)
            overlap = torch.from_numpy(iou(mine.cpu().numpy(), boxes[i, :, :4].cpu().numpy())).to(boxes.device)
            people, maybe = kind[i] > 0.5, (kind[i] > -0.5) & (kind[i] < 0.5)
            hits = overlap > 0.5
            asked += int(people.sum())
            found += int((hits & people).any(0).sum())
            good = (hits & people).any(1)
            right += int(good.sum())
            said += int((good | ~(hits & maybe).any(1)).sum())
    return {'recall_percent': 100 * found / max(asked, 1), 'precision_percent': 100 * right / max(said, 1)}


class DetectorStage(Stage[PersonDetector]):
    """The detector learns from frames of the pool, on its device; arguments as those of `KeypointStage`."""

    name, warmup, clip = 'detector', 50, 10.0

    def __init__(
        self,
        pool: StillPool,
        network: PersonDetector,
        progress: Progress,
        feeder: Feeder | None = None,
        validation: StillPool | None = None,
        checkpoint: Path | None = None,
        batch: int = 0,
        rate: float = 0.0,
        looks: float = 1.0,
        every: float = 120.0,
        log: Log = print,
        written: Callable[[PersonDetector], None] | None = None,
    ) -> None:
        torch.manual_seed(0)
        self.pool, self.feeder, self.validation = pool, feeder, validation
        self.looks, self.written, kind = looks, written, pool.device.type
        self.batch = batch or BATCH.get(kind, 16)
        network = channels_last_of(network, pool.device).train()
        super().__init__(network, rate or RATE.get(kind, 3e-3), progress, checkpoint, every, log)

    @property
    def batch_size(self) -> int:
        """Frames in a batch, however many people are in them."""
        return self.batch

    def take(self) -> None:
        """Move at most one file's frames from the feeder into the pool."""
        if self.feeder:
            for (sizes,) in self.feeder.take(1):
                self.pool.add(sizes)

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Of random frames of the pool, by `loss_on`; the log gets only the total."""
        loss = loss_on(self.module, *self.pool.batch(self.batch), self.looks)
        return loss, {'loss': loss}

    def look(self, when: str) -> None:
        """Log recall and precision on the validation frames, where there are any; hand the averaged network to
        `written`, except at the last look."""
        if self.validation is not None and len(self.validation):
            figures = rounded(validate(self.result, self.validation))
            self.log(f'{self.name}: {self.pool.frames} frames {when}; validation', figures)
        if self.written and when != LAST:
            self.written(self.result)


def export_detector(network: PersonDetector, path: Path) -> None:
    """Write the graph that cliff_ros.detect runs."""
    import onnx

    network = plain_of(copy.deepcopy(network))
    example = torch.zeros(1, 224, 384, 3, dtype=torch.uint8)
    exported = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(
            DetectorGraph(network).eval(),
            (example,),
            exported,  # type: ignore[arg-type]  # a file is as good as its name
            input_names=['image'],
            output_names=['heatmap', 'ltrb'],
            opset_version=17,
            dynamo=False,
            dynamic_axes={
                'image': {1: 'height', 2: 'width'},
                'heatmap': {2: 'rows', 3: 'columns'},
                'ltrb': {2: 'rows', 3: 'columns'},
            },
        )
    proto = onnx.load_from_string(exported.getvalue())
    halve(proto.graph, rounding=True)
    write_bytes(path, proto.SerializeToString())
