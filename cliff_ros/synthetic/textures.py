"""Textures, colours and backgrounds, made from noise: nothing is taken from photographs."""

from __future__ import annotations

import cv2
import numpy as np

TEXTURE_SIZE = 256


def natural_color(rng: np.random.Generator) -> np.ndarray:
    """(3,) RGB, 0..255, as clothes and walls are: often grey, seldom saturated."""
    if rng.random() < .35:
        level = rng.choice([rng.uniform(5, 60), rng.uniform(60, 180), rng.uniform(180, 250)])
        color = np.full(3, level) + rng.normal(0, 6, 3)
    else:
        hsv = np.uint8([[[rng.integers(180), min(255, rng.gamma(2, 45)), rng.uniform(25, 250)]]])
        color = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(float)
    return np.clip(color, 3, 252)


def fractal_noise(rng: np.random.Generator, size: int, slope: float) -> np.ndarray:
    """(size, size) noise with a 1/f^slope spectrum, zero mean, unit deviation; tiles seamlessly."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) + 1 / size
    spectrum = (rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)) * frequency ** -slope
    noise = np.fft.irfft2(spectrum, (size, size))
    return (noise - noise.mean()) / noise.std()


def make_textures(rng: np.random.Generator, count: int = 40) -> np.ndarray:
    """(count, 256, 256, 3) float32 in about -1.6..1.6: relative brightness of plain, striped, checked cloth."""
    size = TEXTURE_SIZE
    y, x = np.mgrid[:size, :size] / size * 2 * np.pi
    textures = np.zeros((count, size, size, 3), np.float32)
    for i in range(count):
        kind = rng.integers(6)
        base = fractal_noise(rng, size, rng.uniform(.5, 1.8))[..., None] * .5 * np.ones(3)
        if kind in (0, 1):
            base *= .4
            base += (np.sin(y * rng.integers(3, 26)) > rng.uniform(-.7, .7))[..., None] * rng.uniform(-1, 1, 3) * 1.3
        if kind == 1:
            base += (np.sin(x * rng.integers(3, 26)) > rng.uniform(-.5, .8))[..., None] * rng.uniform(-1, 1, 3)
        elif kind == 2:
            base += np.stack([fractal_noise(rng, size, 1.2) for _ in range(3)], -1) * .5
        elif kind == 3:
            spots = fractal_noise(rng, size, 1.6) > rng.uniform(.3, 1.3)
            base = base * .4 + spots[..., None] * rng.uniform(-1.5, 1.5, 3)
        textures[i] = np.clip(base, -1.6, 1.6)
    return textures


def _fill(image, mask, rect, textures, palette, rng):
    """Paint a textured, unevenly lit patch into a rectangle of the image, where the mask is set."""
    x, y, w, h = rect
    texture = textures[rng.integers(len(textures))]
    zoom = np.exp(rng.uniform(-1, 1.6))
    transform = np.array([[zoom, 0, rng.uniform(0, 256)], [0, zoom, rng.uniform(0, 256)]])
    patch = cv2.warpAffine(texture, transform, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                           borderMode=cv2.BORDER_WRAP)
    light = cv2.resize(rng.uniform(.6, 1.25, (2, 2)).astype(np.float32), (w, h))[..., None]
    color = palette[rng.integers(len(palette))] if rng.random() < .8 else natural_color(rng)
    value = np.clip(color * (1 + patch * rng.choice([.03, .1, .3, .6])) * light, 0, 255)
    region = image[y:y + h, x:x + w]
    region[:] = value if mask is None else np.where(mask[..., None] > 0, value, region)


def clutter(rng: np.random.Generator, textures: np.ndarray, width: int = 640, height: int = 480) -> np.ndarray:
    """(H, W, 3) uint8 background: dead leaves of textured shapes with a power law of sizes, often with a floor."""
    image = np.zeros((height, width, 3), np.float32)
    palette = [natural_color(rng) for _ in range(7)]
    _fill(image, None, (0, 0, width, height), textures, palette, rng)
    if rng.random() < .75:
        y = int(rng.uniform(.25, .85) * height)
        _fill(image, None, (0, y, width, height - y), textures, palette, rng)
    for _ in range(int(np.exp(rng.uniform(np.log(8), np.log(140))))):
        radius = min(200, 8 * (1 - rng.random()) ** -.75)
        kind = rng.integers(5)
        w, h = int(radius * rng.uniform(.5, 2)) + 2, int(radius * rng.uniform(.5, 2.5)) + 2
        if kind == 3:  # poles and shelves
            w, h = (max(2, w // 5), h * 3) if rng.random() < .7 else (w * 3, max(2, h // 5))
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
        mask = None if mask is None else mask[y0 - y:y1 - y, x0 - x:x1 - x]
        _fill(image, mask, (x0, y0, x1 - x0, y1 - y0), textures, palette, rng)
    blur = rng.uniform(0, 2.5)
    if blur > .4:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    return np.clip(image, 0, 255).astype(np.uint8)


def room(rng: np.random.Generator, textures: np.ndarray, width: int, height: int, f: float, cx: float, cy: float,
         rotation: np.ndarray, camera_height: float) -> np.ndarray:
    """(H, W, 3) uint8 background of a floor and walls in true perspective, for scenes with a level floor.

    rotation (3, 3): world (x right, y up, z towards the viewer) to camera, both at the same origin;
    the floor is camera_height below it.
    """
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    rays = np.stack([(u - cx) / f, (v - cy) / f, np.ones_like(u)], -1) @ rotation.astype(np.float32)  # world
    half, ceiling = rng.uniform(3.5, 7, 3), rng.uniform(1.5, 3)
    planes = [(1, -camera_height), (1, ceiling), (0, -half[0]), (0, half[1]), (2, -half[2] - 4), (2, 6.)]
    nearest = np.full(u.shape, np.inf, np.float32)
    image = np.zeros((height, width, 3), np.float32)
    wall = natural_color(rng) * .5 + 110
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
        patch = cv2.remap(texture, (a * zoom).astype(np.float32) % 255, (b * zoom).astype(np.float32) % 255,
                          cv2.INTER_LINEAR)
        floor = axis == 1 and offset < 0
        color = natural_color(rng) * .6 + 50 if floor else wall * rng.uniform(.75, 1.05)
        falloff = 1 / (1 + .04 * np.where(hit, distance, 1)[..., None])
        value = color * (1 + patch * (.22 if floor else .07)) * falloff
        image[hit] = value[hit]
    return np.clip(image, 0, 255).astype(np.uint8)
