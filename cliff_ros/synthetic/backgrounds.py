"""What is behind the people: clutter for stills and crops, a room in true perspective for scenes."""

from __future__ import annotations

import cv2
import numpy as np

from cliff_ros.synthetic.props import scatter
from cliff_ros.synthetic.textures import natural_color


def _fill(image, mask, rect, textures, palette, rng):
    """Paint a textured, unevenly lit patch into a rectangle of the image, where the mask is set."""
    x, y, w, h = rect
    texture = textures[rng.integers(len(textures))]
    zoom = np.exp(rng.uniform(-1, 1.6))
    transform = np.array([[zoom, 0, rng.uniform(0, 256)], [0, zoom, rng.uniform(0, 256)]])
    patch = cv2.warpAffine(
        texture, transform, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP
    )
    light = cv2.resize(rng.uniform(0.6, 1.25, (2, 2)).astype(np.float32), (w, h))[..., None]
    color = palette[rng.integers(len(palette))] if rng.random() < 0.8 else natural_color(rng)
    value = np.clip(color * (1 + patch * rng.choice([0.03, 0.1, 0.3, 0.6])) * light, 0, 255)
    region = image[y : y + h, x : x + w]
    region[:] = value if mask is None else np.where(mask[..., None] > 0, value, region)


def clutter(rng: np.random.Generator, textures: np.ndarray, width: int = 640, height: int = 480) -> np.ndarray:
    """(H, W, 3) uint8 background: dead leaves of textured shapes with a power law of sizes, often with a floor."""
    image = np.zeros((height, width, 3), np.float32)
    palette = [natural_color(rng) for _ in range(7)]
    _fill(image, None, (0, 0, width, height), textures, palette, rng)
    if rng.random() < 0.75:
        y = int(rng.uniform(0.25, 0.85) * height)
        _fill(image, None, (0, y, width, height - y), textures, palette, rng)
    for _ in range(int(np.exp(rng.uniform(np.log(8), np.log(140))))):
        radius = min(200, 8 * (1 - rng.random()) ** -0.75)
        kind = rng.integers(5)
        w, h = int(radius * rng.uniform(0.5, 2)) + 2, int(radius * rng.uniform(0.5, 2.5)) + 2
        if kind == 3:  # poles and shelves
            w, h = (max(2, w // 5), h * 3) if rng.random() < 0.7 else (w * 3, max(2, h // 5))
        x, y = int(rng.uniform(-w / 2, width - w / 2)), int(rng.uniform(-h / 2, height - h / 2))
        x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        mask = None
        if kind in (0, 4):
            mask = np.zeros((h, w), np.uint8)
            cv2.ellipse(mask, (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 1, -1)
        elif kind == 1:
            mask = np.zeros((h, w), np.uint8)
            cv2.fillPoly(mask, [(rng.random((rng.integers(3, 8), 2)) * [w, h]).astype(np.int32)], 1)
        mask = None if mask is None else mask[y0 - y : y1 - y, x0 - x : x1 - x]
        _fill(image, mask, (x0, y0, x1 - x0, y1 - y0), textures, palette, rng)
    image = np.ascontiguousarray(np.clip(image, 0, 255), np.uint8)
    if rng.random() < 0.7:
        scatter(image, rng, int(rng.integers(1, 14)))
    blur = rng.uniform(-1.5, 2.2)
    if blur > 0.4:
        return cv2.GaussianBlur(image, (0, 0), blur)
    return image


def room(
    rng: np.random.Generator,
    textures: np.ndarray,
    width: int,
    height: int,
    f: float,
    cx: float,
    cy: float,
    rotation: np.ndarray,
    camera_height: float,
) -> np.ndarray:
    """(H, W, 3) uint8 background of a floor and walls in true perspective, for scenes with a level floor.

    rotation (3, 3): world (x right, y up, z towards the viewer) to camera, both at the same origin;
    the floor is camera_height below it.
    """
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    rays = np.stack([(u - cx) / f, (v - cy) / f, np.ones_like(u)], -1) @ rotation.astype(np.float32)  # world
    half, ceiling = rng.uniform(3.5, 7, 3), rng.uniform(1.5, 3)
    planes = [(1, -camera_height), (1, ceiling), (0, -half[0]), (0, half[1]), (2, -half[2] - 4), (2, 6.0)]
    nearest = np.full(u.shape, np.inf, np.float32)
    image = np.zeros((height, width, 3), np.float32)
    wall = natural_color(rng) * 0.5 + 110
    for axis, offset in planes:
        with np.errstate(divide='ignore', invalid='ignore'):
            distance = offset / rays[..., axis]
        hit = (distance > 0) & (distance < nearest)
        if not hit.any():
            continue
        nearest[hit] = distance[hit]
        point = rays * np.where(hit, distance, 0)[..., None]
        a, b = [point[..., k] for k in range(3) if k != axis]
        texture = textures[rng.integers(len(textures))]
        zoom = rng.uniform(40, 120)
        patch = cv2.remap(
            texture, (a * zoom).astype(np.float32) % 255, (b * zoom).astype(np.float32) % 255, cv2.INTER_LINEAR
        )
        floor = axis == 1 and offset < 0
        color = natural_color(rng) * 0.6 + 50 if floor else wall * rng.uniform(0.75, 1.05)
        falloff = 1 / (1 + 0.04 * np.where(hit, distance, 1)[..., None])
        value = color * (1 + patch * (0.22 if floor else 0.07)) * falloff
        image[hit] = value[hit]
    return np.clip(image, 0, 255).astype(np.uint8)
