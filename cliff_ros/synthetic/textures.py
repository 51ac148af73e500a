"""Colors and textures, made from noise: nothing is taken from photographs."""

from __future__ import annotations

import cv2
import numpy as np

TEXTURE_SIZE = 256


def natural_color(rng: np.random.Generator) -> np.ndarray:
    """(3,) RGB, 0..255, as clothes and walls are: often gray, seldom saturated."""
    if rng.random() < 0.35:
        level = rng.choice([rng.uniform(5, 60), rng.uniform(60, 180), rng.uniform(180, 250)])
        color = np.full(3, level) + rng.normal(0, 6, 3)
    else:
        hsv = np.array([[[rng.integers(180), min(255, rng.gamma(2, 45)), rng.uniform(25, 250)]]]).astype(np.uint8)
        color = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(float)
    return np.clip(color, 3, 252)


def fractal_noise(rng: np.random.Generator, size: int, slope: float) -> np.ndarray:
    """(size, size) noise with a 1/f^slope spectrum, zero mean, unit deviation; tiles seamlessly."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) + 1 / size
    spectrum = (rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)) * frequency**-slope
    noise = np.fft.irfft2(spectrum, (size, size))
    return (noise - noise.mean()) / noise.std()


def make_textures(rng: np.random.Generator, count: int = 40) -> np.ndarray:
    """(count, 256, 256, 3) float32 in about -1.6..1.6: relative brightness of plain, striped, checked cloth."""
    size = TEXTURE_SIZE
    y, x = np.mgrid[:size, :size] / size * 2 * np.pi
    textures = np.zeros((count, size, size, 3), np.float32)
    for i in range(count):
        kind = rng.integers(6)
        base = fractal_noise(rng, size, rng.uniform(0.5, 1.8))[..., None] * 0.5 * np.ones(3)
        if kind in (0, 1):
            base *= 0.4
            base += (np.sin(y * rng.integers(3, 26)) > rng.uniform(-0.7, 0.7))[..., None] * rng.uniform(-1, 1, 3) * 1.3
        if kind == 1:
            base += (np.sin(x * rng.integers(3, 26)) > rng.uniform(-0.5, 0.8))[..., None] * rng.uniform(-1, 1, 3)
        elif kind == 2:
            base += np.stack([fractal_noise(rng, size, 1.2) for _ in range(3)], -1) * 0.5
        elif kind == 3:
            spots = fractal_noise(rng, size, 1.6) > rng.uniform(0.3, 1.3)
            base = base * 0.4 + spots[..., None] * rng.uniform(-1.5, 1.5, 3)
        textures[i] = np.clip(base, -1.6, 1.6)
    return textures
