"""What clothes look like: textures recolored, vests of reflecting tape, and which faces of a garment are seen."""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

from cliff_ros.synthetic.textures import natural_color

LUMINANCE = np.array([0.3, 0.59, 0.11])
HI_VIS = ([215, 255, 40], [255, 120, 20], [255, 60, 40])


@njit(cache=True, nogil=True)
def visible_faces(faces, uv, hidden):
    """Faces and corners of those that are not hidden altogether."""
    kept = np.empty(len(faces), np.bool_)
    count = 0
    for i in range(len(faces)):
        kept[i] = not (hidden[faces[i, 0]] and hidden[faces[i, 1]] and hidden[faces[i, 2]])
        count += kept[i]
    out, corners = np.empty((count, 3), faces.dtype), np.empty((count, 3, 2), uv.dtype)
    k = 0
    for i in range(len(faces)):
        if kept[i]:
            out[k], corners[k] = faces[i], uv[i]
            k += 1
    return out, corners


def recolored(rng: np.random.Generator, light: float, color: np.ndarray | None = None) -> np.ndarray:
    """(3, 4) what becomes of a texture of mean brightness `light`: another color or hue, or lighter and darker."""
    matrix, kind = np.zeros((3, 4), np.float32), rng.random()
    if color is not None or kind < 0.55:
        color = natural_color(rng) if color is None else color
        contrast = rng.uniform(0.5, 1.0)
        matrix[:, :3] = color[:, None] * contrast / light * LUMINANCE
        matrix[:, 3] = color * (1 - contrast)
    elif kind < 0.85:  # the hue turned: a rotation about the gray axis
        angle = rng.uniform(0, 2 * np.pi)
        c, s = np.cos(angle), np.sin(angle)
        matrix[:, :3] = (
            c * np.eye(3) + (1 - c) / 3 + s / np.sqrt(3) * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
        ) * rng.uniform(0.5, 1.5)
    else:
        matrix[:, :3] = np.eye(3) * rng.uniform(0.6, 1.4)
    return matrix


def plain(color: np.ndarray) -> np.ndarray:
    """(3, 4) that makes one color of any texture."""
    return np.concatenate([np.zeros((3, 3)), np.asarray(color, float)[:, None]], 1).astype(np.float32)


def vest_texture(color: np.ndarray) -> np.ndarray:
    """(128, 128, 4) uint8: a vest from the front, two belts and two braces of reflecting tape."""
    image = np.tile(np.append(color, 255), (128, 128, 1))
    tape = [205, 210, 212, 255]
    for row in (70, 100):
        image[row : row + 10] = tape
    for column in (30, 88):
        image[:70, column : column + 9] = tape
    image[:, 63:65, :3] *= 0.5
    return cv2.GaussianBlur(image, (0, 0), 0.6).astype(np.uint8)
