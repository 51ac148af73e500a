"""What lights people: two lamps and a sky, or a real place."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

GAMMA, DARKEST = 2.2, 0.01


@dataclass(frozen=True)
class Light:
    """Two lamps and the sky."""

    key: np.ndarray
    fill: np.ndarray
    ambient: float
    key_strength: float
    fill_strength: float
    tint: np.ndarray
    edges: tuple[tuple[np.ndarray, float, float], ...] = field(default=())
    """Shadows that fall across people: planes (normal, offset [m]) and how much light is left behind each."""
    sky: np.ndarray | None = None
    """Instead of sky and lamps, a place: (5, 3) linear RGB of a constant, the slope along x, y and z, and the key."""

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Light:
        """Random lamps, sky and tint, with up to two shadow edges; the key light is mostly above the camera."""

        def direction(bias):
            v = rng.normal(0, 1, 3) + bias
            return (v / np.linalg.norm(v)).astype(np.float32)

        edges = tuple(
            (direction([0, 0, 0]), rng.uniform(-0.5, 0.5), rng.uniform(0.35, 0.8))
            for _ in range(rng.choice(3, p=[0.7, 0.2, 0.1]))
        )
        return cls(
            direction([0, -1.2, -0.6]),
            direction([0, 0, 0]),
            rng.uniform(0.3, 0.7),
            rng.uniform(0.1, 0.9),
            rng.uniform(0, 0.3),
            rng.uniform(0.85, 1.12, 3).astype(np.float32),
            edges,
        )

    def __call__(self, colors: np.ndarray, normals: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Lit colors (V, 3) float32; points (V, 3) about the person's middle [m]."""
        if self.sky is not None:
            return self._under_sky(colors, normals, points)
        shade = (
            self.ambient
            + self.key_strength * np.clip(normals @ self.key, 0, 1)
            + self.fill_strength * np.clip(normals @ self.fill, 0, 1)
        )
        for normal, offset, left in self.edges:
            shade = np.where(points @ normal > offset, shade, shade * left)
        return (colors * shade[:, None].astype(np.float32) * self.tint).astype(np.float32)

    def _under_sky(self, colors: np.ndarray, normals: np.ndarray, points: np.ndarray) -> np.ndarray:
        assert self.sky is not None
        linear = self.sky[0] + normals @ self.sky[1:4] + np.clip(normals @ self.key, 0, 1)[:, None] * self.sky[4]
        shade = np.maximum(linear, DARKEST) ** np.float32(1 / GAMMA)
        for normal, offset, left in self.edges:
            shade = np.where((points @ normal > offset)[:, None], shade, shade * np.float32(left))
        return (colors * shade).astype(np.float32)
