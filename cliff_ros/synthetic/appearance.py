"""How a synthetic person looks: skin, clothes with folds, hair, shoes, as colors and offsets of vertices.

The embedded body has a vertex every one or two centimeters, about what a pixel of a network's crop
covers: colors per vertex are texture enough, and cost nothing to map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.render.material import Material
from cliff_ros.render.raster import vertex_normals
from cliff_ros.synthetic.belongings import Thing
from cliff_ros.synthetic.textures import TEXTURE_SIZE, natural_color

NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR = 332, 2800, 6260, 583, 4071  # vertices, as smplx names them


@dataclass(frozen=True)
class Look:
    """colors (V, 3) float32 RGB 0..255 unlit; offset (V,) float32 [m] of the surface along its rest normal.

    In the rich look the skin has a material, which colors multiply, and only those faces (F, 3) that no cloth covers;
    what is worn on it comes as things.
    """

    colors: np.ndarray
    offset: np.ndarray | None
    faces: np.ndarray | None = None
    material: Material | None = None
    things: tuple[Thing, ...] = ()


class Wardrobe:
    """Dresses the embedded body. Regions are found once from the body's own weights and rest shape."""

    def __init__(self, body: BodyModel, textures: np.ndarray) -> None:
        self.textures = textures
        v = self.vertices = body.v_template
        owner = body.weights.argmax(1)
        self.joints = body.rest_joints(np.zeros((1, body.num_betas)))[0]
        self.normals = vertex_normals(v, body.faces)
        self.leg, self.arm = np.isin(owner, [1, 2, 4, 5, 7, 8]), np.isin(owner, [13, 14, 16, 17, 18, 19])
        self.torso, self.hands = np.isin(owner, [0, 3, 6, 9, 13, 14]), np.isin(owner, [20, 21, 22, 23])
        self.pelvis, self.foot, self.head = owner == 0, np.isin(owner, [7, 8, 10, 11]), owner == 15
        head = v[self.head]
        self.head_y, self.head_z = (head[:, 1].min(), head[:, 1].max()), (head[:, 2].min(), head[:, 2].max())
        front = self.head & (v[:, 2] > v[NOSE, 2] - 0.07)
        to_eye = np.minimum(np.linalg.norm(v - v[LEFT_EYE], axis=1), np.linalg.norm(v - v[RIGHT_EYE], axis=1))
        self.eyes = front & (to_eye < 0.016)
        self.mouth = front & (np.abs(v[:, 0]) < 0.025) & (np.abs(v[:, 1] - (v[NOSE, 1] - 0.042)) < 0.011)
        side = np.abs(v[:, 0])
        self.brows = front & (np.abs(v[:, 1] - (v[LEFT_EYE, 1] + 0.022)) < 0.008) & (side > 0.012) & (side < 0.05)
        around = np.arctan2(v[:, 0], v[:, 2] + 0.05) * 0.15 + v[:, 0]
        self.uv = np.stack([v[:, 1], around], 1)  # cloth runs down and around the body

    def _cloth(self, colors, offset, mask, looseness, rng) -> None:
        """One garment over the masked vertices: color, pattern, folds."""
        base, amount = natural_color(rng), rng.choice([0.05, 0.12, 0.25, 0.5], p=[0.35, 0.3, 0.2, 0.15])
        texture = self.textures[rng.integers(len(self.textures))]
        uv = (self.uv[mask] * rng.uniform(120, 500) + rng.uniform(0, 256, 2)).astype(np.int64) % TEXTURE_SIZE
        waves = rng.normal(0, 1, (3, 3)) * rng.uniform(8, 30)
        points = self.vertices[mask]
        folds = np.sin(points @ waves[0] + rng.uniform(0, 6)) * np.sin(points @ waves[1] + rng.uniform(0, 6))
        loose = rng.uniform(0, looseness)
        offset[mask] = loose * (1 + 0.5 * folds)
        shadow = 1 + min(0.3, loose * 9) * 0.6 * np.sin(points @ waves[2] * 1.5)
        colors[mask] = base * (1 + amount * texture[uv[:, 0], uv[:, 1]]) * shadow[:, None]

    def sample(self, rng: np.random.Generator) -> Look:
        """Another person's look."""
        v, joints = self.vertices, self.joints
        y, reach = v[:, 1], np.abs(v[:, 0])
        skin = np.array([195, 130, 95]) * rng.uniform(0.3, 1.25) + rng.normal(0, 8, 3)
        colors = np.tile(skin, (len(v), 1)) * (1 + rng.normal(0, 0.015, (len(v), 1)))
        offset = np.zeros(len(v), np.float32)
        ankle_y, hip_y, pelvis_y = joints[7, 1], joints[1, 1], joints[0, 1]
        trouser_end = rng.uniform(ankle_y, hip_y - 0.08) if rng.random() < 0.4 else ankle_y + rng.uniform(-0.03, 0.08)
        self._cloth(colors, offset, (self.leg & (y > trouser_end)) | self.pelvis, 0.035, rng)
        sleeve_end = rng.uniform(joints[16, 0], joints[20, 0]) if rng.random() < 0.5 else joints[20, 0] + 0.02
        hem = pelvis_y - rng.uniform(-0.08, 0.22)
        self._cloth(colors, offset, ((self.arm & (reach < sleeve_end)) | self.torso | self.leg) & (y > hem), 0.04, rng)
        if rng.random() < 0.2:
            self._cloth(colors, offset, self.torso & (y > hem) & (reach < 0.17), 0.05, rng)
        shoes = self.foot & (y < ankle_y + rng.uniform(-0.02, 0.08))
        if rng.random() < 0.88:
            colors[shoes], offset[shoes] = natural_color(rng), rng.uniform(0, 0.012)
        if rng.random() < 0.12:
            colors[self.hands] = natural_color(rng)
        if rng.random() < 0.85:
            colors[self.eyes] = colors[self.eyes] * 0.25 + 15 * rng.random()
            colors[self.mouth] *= np.array([0.95, 0.6, 0.6]) * rng.uniform(0.6, 1)
            colors[self.brows] *= rng.uniform(0.3, 0.9)
        self._hair(colors, offset, rng)
        return Look(np.clip(colors, 2, 255).astype(np.float32), offset)

    def _hair(self, colors, offset, rng) -> None:
        if rng.random() > 0.9:
            return
        v, (y0, y1), (z0, z1) = self.vertices, self.head_y, self.head_z
        y, z = v[:, 1], v[:, 2]
        line, depth = y0 + (y1 - y0) * rng.uniform(0.55, 0.85), z0 + (z1 - z0) * rng.uniform(0.4, 0.65)
        hair = self.head & (
            ((y > line) & (z < depth + 0.05)) | (y > y0 + (y1 - y0) * 0.84) | ((z < depth - 0.02) & (y > y0 + 0.03))
        )
        natural = np.array([rng.uniform(15, 130), rng.uniform(12, 90), rng.uniform(8, 70)]) * rng.uniform(0.3, 1.4)
        color = natural_color(rng) if rng.random() < 0.2 else natural
        colors[hair] = color * (1 + rng.normal(0, 0.12, (hair.sum(), 1)))
        offset[hair] = rng.uniform(0, 0.035)
