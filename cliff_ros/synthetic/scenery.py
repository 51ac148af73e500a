"""Backgrounds of the rich look: real places, rooms and clutter, with solid things in them, and the light there."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from cliff_ros.render.material import pyramid
from cliff_ros.synthetic.backgrounds import clutter, room
from cliff_ros.synthetic.environments import Lighting, load_environments, turned
from cliff_ros.synthetic.garments import part
from cliff_ros.synthetic.lights import Light
from cliff_ros.synthetic.objects import Objects
from cliff_ros.synthetic.props import scatter
from cliff_ros.synthetic.textures import TEXTURE_SIZE

WORLD_FROM_LEVEL = np.diag([1.0, -1.0, -1.0])  # optical axes of a level camera <-> x right, y up, z to the viewer
PLACES, ROOMS = 0.45, 0.2  # of the backgrounds; the others are clutter


class Backdrop(NamedTuple):
    """image (H, W, 3) uint8 RGB; lighting: what is there, or None for any."""

    image: np.ndarray
    lighting: Lighting | None = None

    def light(self, rng: np.random.Generator) -> Light:
        """Light that fits the place; without a place, any (`Light.sample`)."""
        return self.lighting.sample(rng) if self.lighting else Light.sample(rng)


class Scenery:
    """Makes backgrounds. textures: (T, 256, 256, 3), see `textures.make_textures`; unseen: of those places that
    training is never shown."""

    def __init__(self, rng: np.random.Generator, textures: np.ndarray, unseen: bool = False) -> None:
        self.textures, self.environments = textures, part(load_environments(), unseen)
        self.objects = Objects(rng, [pyramid(texture) for texture in textures[:16]])

    def stock(self, rng: np.random.Generator, count: int, width: int = 640, height: int = 480) -> list[Backdrop]:
        """Backgrounds to cut crops from."""
        from cliff_ros.synthetic.scene import camera_rotation

        result = []
        for _ in range(count):
            kind, f = rng.random(), width / 2 / np.tan(np.deg2rad(rng.uniform(55, 115)) / 2)
            if kind < PLACES + ROOMS:
                tilt = camera_rotation(rng.normal(6, 14), rng.normal(0, 6))
                make = self.place if kind < PLACES else self.room
                result.append(make(rng, width, height, f, (width - 1) / 2, (height - 1) / 2, tilt, rng.uniform(0.4, 2)))
            else:
                image = clutter(rng, self.textures, width, height)
                if rng.random() < 0.5:
                    self.objects.scatter(image, rng, int(rng.integers(1, 6)))
                result.append(Backdrop(image))
        return result

    def before(
        self,
        rng: np.random.Generator,
        width: int,
        height: int,
        f: float,
        cx: float,
        cy: float,
        tilt: np.ndarray,
        camera_height: float,
    ) -> Backdrop | None:
        """What a camera sees, in true perspective; None where it should be clutter. tilt (3, 3): level to camera."""
        kind = rng.random()
        if kind >= PLACES + ROOMS:
            return None
        return (self.place if kind < PLACES else self.room)(rng, width, height, f, cx, cy, tilt, camera_height)

    def place(self, rng, width, height, f, cx, cy, tilt, camera_height) -> Backdrop:
        """A real place."""
        environment = self.environments[rng.integers(len(self.environments))]
        camera = tilt @ WORLD_FROM_LEVEL @ turned(rng)
        image = environment.view(camera, width, height, f, cx, cy)
        # Photographs are finer than the map: grain and another exposure.
        texture = self.textures[rng.integers(len(self.textures))].mean(2)
        grain = np.tile(texture, (height // TEXTURE_SIZE + 1, width // TEXTURE_SIZE + 1))[:height, :width]
        value = image * (rng.uniform(0.6, 1.25) * (1 + rng.uniform(0, 0.1) * grain[..., None]))
        image = np.clip(value, 0, 255).astype(np.uint8)
        lighting = environment.light(camera)
        if rng.random() < 0.65:
            self.objects.scatter(image, rng, int(rng.integers(1, 6)), lighting.sample)
        if rng.random() < 0.2:
            scatter(image, rng, int(rng.integers(1, 4)))
        return Backdrop(image, lighting)

    def room(self, rng, width, height, f, cx, cy, tilt, camera_height) -> Backdrop:
        """Walls and a floor, unevenly lit, furnished or bare."""
        half = (width + 1) // 2, (height + 1) // 2  # walls have little detail, and every pixel of them is dear
        image = room(rng, self.textures, *half, f / 2, cx / 2, cy / 2, tilt @ WORLD_FROM_LEVEL, camera_height)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        fall = cv2.resize(
            rng.uniform(0.55, 1.2, (3, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        image = np.clip(image * fall[..., None], 0, 255).astype(np.uint8)
        if rng.random() < 0.75:
            self.objects.scatter(image, rng, int(rng.integers(1, 8)))
        return Backdrop(image)
