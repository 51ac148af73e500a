"""Solid things that are not people, drawn in three dimensions with light and texture into backgrounds."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from cliff_ros.render.material import Material
from cliff_ros.render.raster import rasterize_textured, vertex_normals
from cliff_ros.synthetic.lights import Light
from cliff_ros.synthetic.models import MAKERS
from cliff_ros.synthetic.solids import Part


class Objects:
    """Makes a stock of things and draws them, as the painters of `props` do."""

    def __init__(self, rng: np.random.Generator, patterns: list[tuple[np.ndarray, ...]], stock: int = 160) -> None:
        self.patterns = patterns
        self.stock = [_joined(MAKERS[i % len(MAKERS)](rng)) for i in range(stock)]

    def draw(
        self, image: np.ndarray, rng: np.random.Generator, x: float, y: float, size: float, light: Light | None = None
    ) -> None:
        """Draw something into an (H, W, 3) uint8 image in place: foot at (x, y), `size` pixels tall."""
        vertices, faces, colors, uv = self.stock[rng.integers(len(self.stock))]
        pitch, turn, wide = rng.uniform(-0.05, 0.35), rng.uniform(0, 2 * np.pi), np.exp(rng.normal(0, 0.12))
        c, s, cp, sp = np.cos(turn), np.sin(turn), np.cos(pitch), np.sin(pitch)
        camera = np.diag([1.0, -1, -1]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        points = (vertices * [wide, 1, wide]) @ (camera @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])).T
        high = np.ptp(points[:, 1])
        distance = high * rng.uniform(2.5, 6)
        f = size * distance / high
        points = (points + [0, 0, distance - points[:, 2].min() * 0.5]).astype(np.float32)
        pixels = points[:, :2] / points[:, 2:] * f
        foot = pixels[pixels[:, 1].argmax(), 1]
        cx, cy = x - (pixels[:, 0].min() + pixels[:, 0].max()) / 2, y - foot
        low = np.maximum(np.floor(pixels.min(0) + [cx, cy]), 0).astype(int)
        upper = np.minimum(np.ceil(pixels.max(0) + [cx, cy]) + 1, image.shape[1::-1]).astype(int)
        if (upper <= low).any():
            return
        self._shadow(image, x, y, np.ptp(pixels[:, 0]) * 0.5, rng)
        light = light or Light.sample(rng)
        window = image[low[1] : upper[1], low[0] : upper[0]]
        fine = 2 if size < 150 else 1
        shape = (fine * window.shape[0], fine * window.shape[1])
        layer = cv2.resize(window, shape[::-1], interpolation=cv2.INTER_NEAREST).astype(np.float32)
        lit = light(colors * np.float32(rng.uniform(0.6, 1.1)), vertex_normals(points, faces), points * 0.3)
        pattern = self.patterns[rng.integers(len(self.patterns))]
        material = Material(
            uv,
            recolor=np.array([[0, 0, 0, 1]] * 3, np.float32),
            pattern=pattern,
            repeats=rng.uniform(0.5, 3),
            amount=rng.choice([0.03, 0.1, 0.25]),
        )
        rasterize_textured(  # type: ignore[call-arg]  # numba takes what the function takes
            points,
            faces,
            lit,
            uv,
            *material.at(fine * f / distance),
            True,
            fine * f,
            fine * f,
            fine * (cx - low[0]),
            fine * (cy - low[1]),
            layer,
            np.zeros(shape, np.float32),
            np.zeros(shape, np.uint8),
            1,
        )
        window[:] = np.clip(cv2.resize(layer, window.shape[1::-1], interpolation=cv2.INTER_AREA), 0, 255)

    def _shadow(self, image: np.ndarray, x: float, y: float, half: float, rng) -> None:
        """A soft dark patch on the ground."""
        wide, high = int(half * 1.3) + 2, int(half * 0.35) + 2
        left, right = max(0, int(x) - wide), min(image.shape[1], int(x) + wide)
        top, bottom = max(0, int(y) - high), min(image.shape[0], int(y) + high)
        if left >= right or top >= bottom:
            return
        u, v = (np.arange(left, right) - x) / wide, (np.arange(top, bottom) - y) / high
        dark = np.clip(1 - u[None] ** 2 - v[:, None] ** 2, 0, 1) * rng.uniform(0.2, 0.7)
        image[top:bottom, left:right] = image[top:bottom, left:right] * (1 - dark[..., None])

    def scatter(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        count: int,
        light: Callable | None = None,
        smallest: float = 0.08,
        largest: float = 1.1,
    ) -> None:
        """Draw `count` things, far ones first; sizes in image heights."""
        height, width = image.shape[:2]
        for size in np.sort(np.exp(rng.uniform(np.log(smallest), np.log(largest), count))) * height:
            foot = height * rng.uniform(0.35, 0.55) + size * rng.uniform(0.45, 0.8)
            self.draw(image, rng, rng.uniform(0, width), foot, size, light(rng) if light else None)


def _joined(parts: list[Part]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces, colors and texture coordinates, those in meters across each face's steepest axis."""
    vertices, faces, colors, start = [], [], [], 0
    for points, triangles, color in parts:
        vertices.append(points)
        faces.append(triangles + start)
        colors.append(np.broadcast_to(np.clip(color, 3, 252), points.shape))
        start += len(points)
    points, triangles = np.concatenate(vertices).astype(np.float32), np.concatenate(faces).astype(np.int32)
    corner = points[triangles]
    steep = np.abs(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])).argmax(1)
    u = np.where((steep == 0)[:, None], corner[..., 2], corner[..., 0])
    v = np.where((steep == 1)[:, None], corner[..., 2], corner[..., 1])
    return (
        points,
        triangles,
        np.concatenate(colors).astype(np.float32),
        np.ascontiguousarray(np.stack([u, v], -1), np.float32),
    )
