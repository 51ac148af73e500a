"""Real places as backgrounds and as light: the environment maps in `cliff_ros/data/environments.npz` (CC0)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from cliff_ros import assets
from cliff_ros.synthetic.lights import Light


@dataclass(frozen=True)
class Environment:
    """panorama (512, 1024, 3) uint8 RGB; sky (4, 3) and key (2, 3): see tools/bake_environments.py. The world is x
    right, y up, z towards the viewer."""

    panorama: np.ndarray
    sky: np.ndarray
    key: np.ndarray

    def view(self, camera: np.ndarray, width: int, height: int, f: float, cx: float, cy: float) -> np.ndarray:
        """(H, W, 3) uint8 that a pinhole sees; camera (3, 3) world to camera."""
        step = 8  # the rays are smooth: every 8th pixel is enough
        u = np.arange(-1, width // step + 2) * step + (step - 1) / 2
        v = np.arange(-1, height // step + 2) * step + (step - 1) / 2
        u, v = np.meshgrid((u - cx) / f, (v - cy) / f)
        rays = (np.stack([u, v, np.ones_like(u)], -1) @ camera).astype(np.float32)
        rays = cv2.resize(rays, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)[
            step : step + height, step : step + width
        ]
        rows, columns = self.panorama.shape[:2]
        x, y, z = cv2.split(rays)
        azimuth = cv2.phase(z, x) * np.float32(columns / (2 * np.pi)) - 0.5
        polar = cv2.phase(y, cv2.magnitude(x, z)) * np.float32(rows / np.pi) - 0.5
        return cv2.remap(self.panorama, azimuth, polar, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)

    def light(self, camera: np.ndarray) -> Lighting:
        """Its light in a camera's axes."""
        return Lighting(self.sky[0], camera @ self.sky[1:], camera @ self.key[0], self.key[1])


class Lighting(NamedTuple):
    """Light from a place: constant (3,), slope (3, 3), direction and color of the key, in camera axes."""

    constant: np.ndarray
    slope: np.ndarray
    toward: np.ndarray
    key: np.ndarray

    def sample(self, rng: np.random.Generator) -> Light:
        """As a camera exposes it; people stand in the sun or in a shadow."""
        exposure, sun = rng.uniform(0.35, 1.05), rng.uniform(0.2, 1.0) if rng.random() < 0.7 else 0.0
        shadows = Light.sample(rng).edges
        zero = np.zeros(3, np.float32)
        return Light(
            self.toward.astype(np.float32),
            zero,
            0.0,
            1.0,
            0.0,
            np.ones(3, np.float32),
            shadows,
            (exposure * np.stack([self.constant, *self.slope, self.key * sun])).astype(np.float32),
        )


def _picture(encoded: np.ndarray) -> np.ndarray:
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert image is not None, 'a panorama that ships with the package is damaged'
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@cache
def load_environments() -> tuple[Environment, ...]:
    """All of them, decoded once per process."""
    with np.load(assets.ENVIRONMENTS) as file:
        names = sorted(name.split('.')[0] for name in file.files if name.endswith('.panorama'))
        return tuple(
            Environment(_picture(file[f'{name}.panorama']), file[f'{name}.sky'], file[f'{name}.key']) for name in names
        )


def turned(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) a world turned about its vertical by any angle, mirrored half of the time."""
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.diag([rng.choice([-1.0, 1.0]), 1, 1])
