"""The clothes, hair, brows and skins in `cliff_ros/data/wardrobe.npz` (tools/bake_wardrobe.py, CC0)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import cv2
import numpy as np

from cliff_ros import assets
from cliff_ros.render.material import Material, pyramid
from cliff_ros.render.raster import vertex_normals
from cliff_ros.synthetic.belongings import Thing

T = TypeVar('T')
HELD_OUT = 6  # every so many-th skin, garment and environment is kept from training


@dataclass(frozen=True)
class Piece:
    """A garment, shoes, hair or brows on the mean body in its T-pose, ready to be drawn.

    vertices (V, 3) [m]; normals (V, 3); faces (F, 3); uv (F, 3, 2) and texture: see Material; joints, weights (V, 4);
    bound: see Thing; hides (body vertices,) bool; size: what the texture's width covers [m]; light: mean brightness of
    the texture where the piece uses it, 0..255.
    """

    name: str
    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    texture: tuple[np.ndarray, ...] | None
    joints: np.ndarray
    weights: np.ndarray
    bound: tuple[np.ndarray, np.ndarray]
    hides: np.ndarray
    size: float
    light: float

    def thing(self, material: Material, colors: np.ndarray | None = None, lift: float = 0.0) -> Thing:
        """The piece, worn; lift [m] off the skin, over what is below."""
        vertices = self.vertices + np.float32(lift) * self.normals if lift else self.vertices
        colors = np.ones_like(self.vertices) if colors is None else colors
        return Thing(vertices, self.faces, colors, self.joints, self.weights, material, self.bound)


@dataclass(frozen=True)
class Garments:
    """pieces by kind: 'top', 'legs', 'suit', 'shoes', 'hat', 'hair', 'brow'; skins: textures of the body, whose faces
    have uv (F, 3, 2)."""

    pieces: dict[str, list[Piece]]
    skins: list[tuple[np.ndarray, ...]]
    uv: np.ndarray

    def part(self, unseen: bool) -> Garments:
        """What training shows, or what it is never shown; both have what there is but a few of."""
        return Garments(
            {kind: part(pieces, unseen) for kind, pieces in self.pieces.items()}, part(self.skins, unseen), self.uv
        )


def part(items: Sequence[T], unseen: bool) -> list[T]:
    """The held-out items, or the others; all, where there are fewer than `HELD_OUT`."""
    if len(items) < HELD_OUT:
        return list(items)
    return [item for i, item in enumerate(items) if (i % HELD_OUT == HELD_OUT - 1) == unseen]


def _texture(data: np.ndarray) -> tuple[np.ndarray, ...]:
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert image is not None, 'a texture that ships with the package is damaged'
    code = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGBA
    return pyramid(cv2.cvtColor(image, code))


def _corners(uv: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(F, 3, 2) float32, rows counted from the top."""
    uv = uv.astype(np.float32) / 65535
    return np.ascontiguousarray(np.stack([uv[:, 0], 1 - uv[:, 1]], 1)[corners])


def _piece(name: str, file, texture: tuple[np.ndarray, ...] | None, body_vertices: int) -> Piece:
    def array(key, dtype, scale=None):
        values = file[f'{name}.{key}'].astype(dtype)
        return values if scale is None else values / np.asarray(scale, dtype)

    vertices, faces = array('vertices', np.float32, 16384), array('faces', np.int32)
    weights, share = array('weights', np.float32), array('share', np.float32)
    uv = _corners(file[f'{name}.uv'], file[f'{name}.corners'])

    def area(corner):  # of the triangles
        a, b = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
        return (
            np.linalg.norm(np.cross(a, b), axis=1).sum()
            if corner.shape[2] == 3
            else np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
        )

    light = 128.0
    if texture is not None:
        image = texture[min(2, len(texture) - 1)]
        height, width = image.shape[:2]
        middle = uv.mean(1)
        texels = image[
            (middle[:, 1] * height).astype(int).clip(0, height - 1),
            (middle[:, 0] * width).astype(int).clip(0, width - 1),
        ]
        light = float((texels[:, :3] @ [0.3, 0.59, 0.11]).mean())
    return Piece(
        name,
        vertices,
        vertex_normals(vertices, faces),
        faces,
        uv,
        texture,
        array('joints', np.int32),
        weights / weights.sum(1, keepdims=True),
        (array('bound', np.int32), share / share.sum(1, keepdims=True)),
        np.unpackbits(file[f'{name}.hides'], count=body_vertices).astype(bool),
        float(np.sqrt(area(vertices[faces]) / max(area(uv), 1e-9))),
        max(light, 12.0),
    )


@cache
def load_garments(body_vertices: int) -> Garments:
    """Everything, decoded once per process."""
    with np.load(assets.WARDROBE) as file:
        table = json.loads(str(file['pieces']))
        textures = {name: _texture(file[f'texture.{name}']) for name in sorted(set(table.values())) if name}
        pieces: dict[str, list[Piece]] = {}
        for name, texture in table.items():
            pieces.setdefault(name.split('.')[0], []).append(_piece(name, file, textures.get(texture), body_vertices))
        skins = [_texture(file[name]) for name in file.files if name.startswith('texture.skin.')]
        return Garments(pieces, skins, _corners(file['body.uv'], file['body.corners']))
