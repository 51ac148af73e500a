"""Images drawn by torch instead of by numba: one by one or many together, on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cliff_ros.render.material import Material
from cliff_ros.render.raster_torch import Surfaces, rasterize, vertex_normals
from cliff_ros.synthetic.actor import Actor
from cliff_ros.synthetic.lights import DARKEST, GAMMA, Light


@dataclass(frozen=True)
class _Drawn:
    """A person as handed to the device: meshes as of `Actor.meshes`, where they are, how large they appear [px/m]."""

    meshes: list[tuple[np.ndarray, np.ndarray, np.ndarray, Material | None]]
    translation: np.ndarray
    scale: float
    light: Light
    label: int


class DeviceCanvas:
    """`scene.Canvas` with the drawing put off until `finish`, so that many can be drawn at once."""

    def __init__(
        self, background: np.ndarray, fx: float, fy: float, cx: float, cy: float, supersample: int, device: str
    ) -> None:
        self.background, self.supersample, self.device = background, supersample, device
        s = supersample
        self.pinhole = (fx * s, fy * s, (cx + 0.5) * s - 0.5, (cy + 0.5) * s - 0.5)
        self.drawn: list[_Drawn] = []
        self.alone = 0.0

    def draw(self, actor: Actor, translation: np.ndarray, faces: np.ndarray, light: Light, label: int) -> None:
        """As `scene.Canvas.draw`."""
        self.drawn.append(
            _Drawn(list(actor.meshes(faces)), translation, actor.scale(translation, self.pinhole[0]), light, label)
        )

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """As `scene.Canvas.finish`."""
        return finish([self])[0]


def finish(canvases: Sequence[DeviceCanvas]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw canvases of one size together: (H, W, 3) float32 image and (H, W) uint8 labels of each."""
    first = canvases[0]
    s, device = first.supersample, torch.device(first.device)
    height, width = first.background.shape[:2]
    size = (width * s, height * s)
    image = (
        torch.from_numpy(
            np.stack([cv2.resize(canvas.background, size, interpolation=cv2.INTER_LINEAR) for canvas in canvases])
        )
        .to(device)
        .float()
    )
    inverse_depth = torch.zeros(image.shape[:3], device=device)
    labels = torch.zeros(image.shape[:3], dtype=torch.uint8, device=device)
    pinhole = torch.tensor([canvas.pinhole for canvas in canvases], dtype=torch.float32, device=device)
    # In turns: everybody's first person, everybody's second.
    for turn in range(max((len(canvas.drawn) for canvas in canvases), default=0)):
        there = [(i, canvas.drawn[turn]) for i, canvas in enumerate(canvases) if len(canvas.drawn) > turn]
        label = torch.zeros(len(canvases), dtype=torch.uint8)
        for i, drawn in there:
            label[i] = drawn.label
        meshes = [(faces, material, one.scale) for _, one in there for _, faces, _, material in one.meshes]
        surfaces = Surfaces.of_meshes(meshes, device) if any(material for _, material, _ in meshes) else None
        rasterize(*_gather(there, device), pinhole, image, inverse_depth, labels, label.to(device), surfaces)
        if turn == 0:
            for canvas, count in zip(canvases, (labels == 1).sum((1, 2)).tolist(), strict=True):
                canvas.alone = count / s**2
    small = F.avg_pool2d(image.permute(0, 3, 1, 2), s).permute(0, 2, 3, 1).cpu().numpy()
    return list(zip(np.ascontiguousarray(small), labels[:, s // 2 :: s, s // 2 :: s].cpu().numpy(), strict=True))


def _gather(there: Sequence[tuple[int, _Drawn]], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All meshes as one: vertices, faces, lit colors, and the image of each vertex."""
    vertices, faces, colors, owner, middle, start = [], [], [], [], [], 0
    for i, drawn in there:
        for mesh, triangles, unlit, _ in drawn.meshes:
            vertices.append(mesh)
            middle.append(np.broadcast_to(np.asarray(drawn.translation, np.float32), mesh.shape))
            faces.append(triangles + start)
            colors.append(unlit)
            owner.append(np.full(len(mesh), i))
            start += len(mesh)

    def upload(arrays, dtype):
        return torch.from_numpy(np.concatenate(arrays).astype(dtype, copy=False)).to(device)

    local, triangles = upload(vertices, np.float32), upload(faces, np.int64)
    placed, unlit, image = local + upload(middle, np.float32), upload(colors, np.float32), upload(owner, np.int64)
    return placed, triangles, _lit(there, image, unlit, vertex_normals(placed, triangles), local), image


def _lit(there: Sequence[tuple[int, _Drawn]], image: Tensor, colors: Tensor, normals: Tensor, points: Tensor) -> Tensor:
    """`scene.Light` of each image on its vertices."""
    table = np.zeros((int(image.max()) + 1, 12), np.float32)
    sky = np.zeros((len(table), 16), np.float32)
    for i, drawn in there:
        light = drawn.light
        if light.sky is not None:
            sky[i, :15], sky[i, 15] = light.sky.ravel(), 1
        table[i] = (*light.key, *light.fill, light.ambient, light.key_strength, light.fill_strength, *light.tint)
    lamp = torch.from_numpy(table).to(image.device)[image]
    shade = (
        lamp[:, 6]
        + lamp[:, 7] * (normals * lamp[:, :3]).sum(1).clamp(0, 1)
        + lamp[:, 8] * (normals * lamp[:, 3:6]).sum(1).clamp(0, 1)
    )
    shade = shade[:, None] * lamp[:, 9:]
    if sky.any():
        place = torch.from_numpy(sky).to(image.device)[image]
        terms = torch.stack(
            [torch.ones_like(normals[:, 0]), *normals.unbind(1), (normals * lamp[:, :3]).sum(1).clamp(0, 1)], 1
        )
        linear = (terms[..., None] * place[:, :15].view(-1, 5, 3)).sum(1)
        shade = torch.where(place[:, 15:] > 0, linear.clamp(min=DARKEST) ** (1 / GAMMA), shade)
    for i, drawn in there:
        for normal, offset, left in drawn.light.edges:
            behind = (image == i) & (points @ points.new_tensor(normal) <= offset)
            shade = torch.where(behind[:, None], shade * left, shade)
    return colors * shade
