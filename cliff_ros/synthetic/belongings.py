"""What people wear and carry beyond their skin's outline: skirts and coats, hair, hats, bags, balls, boxes.

Small meshes in the body's rest space, moved by its joints as the body is (linear blend skinning), so that a
skirt follows both thighs and a rucksack the chest. They are drawn with the person but are not the person:
boxes, masks of visible skin and all truth are of the bare body.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.render.material import Material
from cliff_ros.synthetic.textures import TEXTURE_SIZE, natural_color

PELVIS, LEFT_HIP, RIGHT_HIP, CHEST, NECK, HEAD = 0, 1, 2, 9, 12, 15
KNEES, WRISTS = (4, 5), (20, 21)


@dataclass(frozen=True)
class Thing:
    """vertices (V, 3) float32 in rest space [m]; faces (F, 3) int32; colors (V, 3) float32 RGB unlit;
    joints (V, 4) int32 and weights (V, 4) float32: who moves each vertex. material: what colors multiply, if any.
    bound: (V, 3) int32 vertices of the body whose shape it follows and (V, 3) float32 by how much; else it is rigid."""

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    material: Material | None = None
    bound: tuple[np.ndarray, np.ndarray] | None = None

    def at(self, vertices: np.ndarray) -> Thing:
        """The same thing with its vertices elsewhere, (V, 3) float32 [m], such as posed."""
        return replace(self, vertices=vertices)


def tube(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """A closed band of quads: (rows * columns, 2) of (height 0..1, angle), and its triangles seen from outside."""
    height, angle = np.meshgrid(np.linspace(0, 1, rows), np.arange(columns) / columns * 2 * np.pi, indexing='ij')
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing='ij')
    a, b = i * columns + j, i * columns + (j + 1) % columns
    c, d = a + columns, b + columns
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    return np.stack([height.ravel(), angle.ravel()], 1), faces.astype(np.int32)


def ellipsoid(center, radii, rows: int = 9, columns: int = 14, upper: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles; `upper` < 1 leaves the lower part of it away."""
    grid, faces = tube(rows, columns)
    polar = grid[:, 0] * np.pi * upper
    points = np.stack([np.sin(polar) * np.cos(grid[:, 1]), np.cos(polar), np.sin(polar) * np.sin(grid[:, 1])], 1)
    return (points * radii + center).astype(np.float32), faces


def cuboid(center, size) -> tuple[np.ndarray, np.ndarray]:
    """A box with its own vertices for every side, so that its edges stay sharp under smooth shading."""
    points: list[np.ndarray] = []
    faces: list[list[int]] = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for sign in (-1.0, 1.0):
            corners = np.zeros((4, 3))
            corners[:, axis] = sign
            corners[:, u], corners[:, v] = [-1, 1, 1, -1], [-1, -1, 1, 1]
            first = 4 * len(faces) // 2
            faces += (
                [[first, first + 1, first + 2], [first, first + 2, first + 3]]
                if sign > 0
                else [[first, first + 2, first + 1], [first, first + 3, first + 2]]
            )
            points.append(corners)
    return (np.concatenate(points) * np.asarray(size) / 2 + center).astype(np.float32), np.array(faces, np.int32)


class Belongings:
    """Samples what a person has on and with them. Made once per body. often: how many things, of all there are."""

    def __init__(self, body: BodyModel, textures: np.ndarray, often: float = 1.0) -> None:
        self.textures, self.often = textures, often
        self.joints = body.rest_joints(np.zeros((1, body.num_betas)))[0]
        v, owner = body.v_template, body.weights.argmax(1)
        head = v[owner == HEAD]
        self.head_low, self.head_high = head.min(0), head.max(0)
        self.head_center = (self.head_low + self.head_high) / 2
        hips = v[(owner == PELVIS) | (owner == LEFT_HIP) | (owner == RIGHT_HIP)]
        self.hip_radii = np.ptp(hips, axis=0)[[0, 2]] / 2
        self.waist_y, self.ankle_y = float(self.joints[3, 1]), float(self.joints[7, 1])
        chest = v[owner == CHEST]
        self.chest_back, self.chest_front = float(chest[:, 2].min()), float(chest[:, 2].max())

    def sample(self, rng: np.random.Generator) -> list[Thing]:
        """Another person's belongings; most have few."""
        things = []
        for chance, make in (
            (0.14, self._skirt),
            (0.2, self._long_hair),
            (0.16, self._hat),
            (0.14, self._rucksack),
            (0.12, self._bag),
            (0.12, self._carried),
            (0.05, self._mask),
        ):
            if rng.random() < chance * self.often:
                things.append(make(rng))
        return things

    def _painted(self, rng, shape, joints, weights=None, color=None) -> Thing:
        vertices, faces = shape
        color = natural_color(rng) if color is None else color
        texture = self.textures[rng.integers(len(self.textures))]
        uv = (vertices[:, [1, 0]] * rng.uniform(120, 500) + vertices[:, 2:] * 90).astype(np.int64) % TEXTURE_SIZE
        pattern = rng.choice([0.05, 0.15, 0.4]) * texture[uv[:, 0], uv[:, 1]]
        if weights is None:
            joints = np.tile(np.array([joints, 0, 0, 0], np.int32), (len(vertices), 1))
            weights = np.tile(np.array([1, 0, 0, 0], np.float32), (len(vertices), 1))
        return Thing(
            np.ascontiguousarray(vertices, np.float32),
            faces,
            np.clip(color * (1 + pattern), 2, 255).astype(np.float32),
            joints,
            weights,
        )

    def _skirt(self, rng) -> Thing:
        """A skirt, a dress's lower half or the tails of a coat: a cone between waist and hem."""
        grid, faces = tube(9, 24)
        top = self.waist_y + rng.uniform(-0.08, 0.08)
        hem = rng.uniform(self.ankle_y + 0.1, self.joints[LEFT_HIP, 1] - 0.25)
        flare = rng.uniform(1.0, 1.7)
        down, angle = grid[:, 0], grid[:, 1]
        fold = 1 + 0.06 * down * np.sin(angle * rng.integers(5, 12) + rng.uniform(0, 6))
        radius = (np.minimum(1, 0.75 + down * 1.2) + (flare - 1) * down) * fold * 1.08
        points = np.stack(
            [
                radius * self.hip_radii[0] * np.cos(angle),
                top + (hem - top) * down,
                radius * self.hip_radii[1] * np.sin(angle) + self.joints[PELVIS, 2],
            ],
            1,
        )
        left = np.clip(0.5 + points[:, 0] / 0.16, 0, 1)
        legs = np.clip((down - 0.15) / 0.5, 0, 1) * 0.85
        weights = np.stack([1 - legs, legs * left, legs * (1 - left), np.zeros(len(points))], 1).astype(np.float32)
        joints = np.tile(np.array([PELVIS, LEFT_HIP, RIGHT_HIP, 0], np.int32), (len(points), 1))
        both_sides = np.concatenate([faces, faces[:, ::-1]])
        return self._painted(rng, (points, both_sides), joints, weights)

    def _hair_color(self, rng) -> np.ndarray:
        return np.array([rng.uniform(15, 150), rng.uniform(12, 110), rng.uniform(8, 80)]) * rng.uniform(0.3, 1.4)

    def _long_hair(self, rng) -> Thing:
        size = self.head_high - self.head_low
        length = rng.uniform(0.1, 0.38)
        center = self.head_center + [0, -0.5 * length + 0.3 * size[1], -rng.uniform(0.03, 0.07)]
        radii = [size[0] / 2 + rng.uniform(0, 0.04), 0.5 * length + 0.25 * size[1], size[2] * 0.36]
        return self._painted(rng, ellipsoid(center, radii), HEAD, color=self._hair_color(rng))

    def _hat(self, rng) -> Thing:
        size = self.head_high - self.head_low
        brim = rng.random() < 0.6
        radii = np.array([size[0] / 2 + 0.015, rng.uniform(0.07, 0.13), size[2] / 2 + 0.015])
        vertices, faces = ellipsoid([0, self.head_high[1] - 0.06, self.head_center[2]], radii, upper=0.55)
        if brim:  # the lowest ring flattens outwards: all around, or a peak at the front
            low = vertices[:, 1] < vertices[:, 1].min() + 0.01
            wide = rng.uniform(0.03, 0.1)
            grow = wide if rng.random() < 0.4 else wide * (vertices[low, 2:] > self.head_center[2])
            away = vertices[low] - [0, vertices[low, 1].mean(), self.head_center[2]]
            away[:, 1] = 0
            vertices[low] += (away / np.linalg.norm(away, axis=1, keepdims=True) * grow).astype(np.float32)
        return self._painted(rng, (vertices, np.concatenate([faces, faces[:, ::-1]])), HEAD)

    def _rucksack(self, rng) -> Thing:
        size = np.array([rng.uniform(0.22, 0.36), rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.22)])
        center = [0, self.joints[CHEST, 1] - rng.uniform(0, 0.12), self.chest_back - size[2] / 2 + 0.02]
        shape = cuboid(center, size) if rng.random() < 0.5 else ellipsoid(center, size * 0.55)
        return self._painted(rng, shape, CHEST)

    def _bag(self, rng) -> Thing:
        """At the hip, or on the chest or back from a strap."""
        size = np.array([rng.uniform(0.06, 0.14), rng.uniform(0.15, 0.35), rng.uniform(0.2, 0.4)])
        side = rng.choice([-1.0, 1.0])
        center = [side * (self.hip_radii[0] + size[0] / 2), self.joints[PELVIS, 1] - rng.uniform(-0.05, 0.2), 0.02]
        return self._painted(rng, cuboid(center, size), PELVIS)

    def _carried(self, rng) -> Thing:
        """In a hand: a ball, a bag, a bottle, a sheet; or a box before the chest."""
        if rng.random() < 0.25:
            size = rng.uniform([0.2, 0.12, 0.15], [0.5, 0.4, 0.35])
            away = self.chest_front + size[2] / 2 + rng.uniform(0, 0.1)
            center = [0, self.joints[3, 1] + rng.uniform(-0.05, 0.15), away]
            return self._painted(rng, cuboid(center, size), 3)
        hand = WRISTS[rng.integers(2)]
        outward = np.sign(self.joints[hand, 0])
        center = self.joints[hand] + [
            outward * rng.uniform(0.1, 0.2),
            rng.uniform(-0.12, 0.02),
            rng.uniform(-0.05, 0.1),
        ]
        if rng.random() < 0.45:
            return self._painted(rng, ellipsoid(center, np.full(3, rng.uniform(0.06, 0.14))), hand)
        return self._painted(rng, cuboid(center, rng.uniform([0.03, 0.05, 0.03], [0.35, 0.4, 0.3])), hand)

    def _mask(self, rng) -> Thing:
        """Glasses, masks and scarves: a band around the head or the neck."""
        size = self.head_high - self.head_low
        y = rng.choice([self.head_center[1] + 0.02, self.head_center[1] - 0.05, self.joints[NECK, 1] + 0.02])
        grid, faces = tube(3, 16)
        points = np.stack(
            [
                np.cos(grid[:, 1]) * (size[0] / 2 + 0.008),
                y + (0.5 - grid[:, 0]) * rng.uniform(0.03, 0.1),
                self.head_center[2] + np.sin(grid[:, 1]) * (size[2] / 2 + 0.008),
            ],
            1,
        )
        return self._painted(rng, (points, np.concatenate([faces, faces[:, ::-1]])), HEAD)
