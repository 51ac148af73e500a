"""Somebody with a pose and a look, ready to be drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cliff_ros.render.material import Material
from cliff_ros.synthetic.appearance import LEFT_EAR, LEFT_EYE, NOSE, RIGHT_EAR, RIGHT_EYE, Look
from cliff_ros.synthetic.belongings import Thing

FACE_VERTICES = np.array([NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR])


@dataclass(frozen=True)
class Actor:
    """Somebody with a pose and a look, SMPL translation zero: place by adding `translation` to both arrays.

    vertices (V, 3) as drawn, clothes included; joints (24, 3); skin (V, 3) the bare body, which is the truth;
    things: what is worn and carried, posed.
    """

    betas: np.ndarray
    rotations: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    skin: np.ndarray
    look: Look
    things: tuple[Thing, ...] = ()

    @property
    def keypoints(self) -> np.ndarray:
        """(29, 3): SMPL's joints, then nose, eyes and ears."""
        return np.concatenate([self.joints, self.skin[FACE_VERTICES]])

    def scale(self, translation: np.ndarray, fx: float) -> float:
        """How large the person appears [px/m]."""
        return fx / max(float(translation[2] + self.joints[0, 2]), 0.3)

    def meshes(self, faces: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Material | None]]:
        """What is drawn: vertices, faces, unlit colors, material. faces: the body's; none draws the things only."""
        if len(faces):
            shown = faces if self.look.faces is None else self.look.faces
            yield self.vertices, shown, self.look.colors, self.look.material
        for thing in self.things:
            yield thing.vertices, thing.faces, thing.colors, thing.material
