"""The simple parts that solid things are made of: rods, rings, blocks, balls; each a mesh of one color [m]."""

from __future__ import annotations

import numpy as np

from cliff_ros.synthetic.belongings import cuboid, ellipsoid

Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # vertices, faces, color


def frame_of(direction: np.ndarray) -> np.ndarray:
    """(3, 3) whose second column is the direction."""
    y = direction / np.linalg.norm(direction)
    x = np.cross(y, [0, 0, 1.0] if abs(y[2]) < 0.9 else [1.0, 0, 0])
    x /= np.linalg.norm(x)
    return np.stack([x, y, np.cross(x, y)], 1)


def rod(start, end, radius: float, color, columns: int = 8, narrow: float = 1.0) -> Part:
    """A closed cylinder or cone between two points."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    angle = np.arange(columns) / columns * 2 * np.pi
    ring = np.stack([np.cos(angle), np.zeros(columns), np.sin(angle)], 1) @ frame_of(end - start).T
    low, high = start + ring * radius, end + ring * radius * narrow
    # Lids have their own vertices: their edges stay sharp.
    vertices = np.concatenate([high, low, high, low, [end, start]])
    i, j = np.arange(columns), (np.arange(columns) + 1) % columns
    n = columns
    faces = np.concatenate(
        [
            np.stack([i, j, n + i], 1),
            np.stack([j, n + j, n + i], 1),
            np.stack([2 * n + j, 2 * n + i, np.full(n, 4 * n)], 1),
            np.stack([3 * n + i, 3 * n + j, np.full(n, 4 * n + 1)], 1),
        ]
    )
    return vertices, faces, np.asarray(color)


def ring(center, radius: float, thick: float, axis, color, columns: int = 22) -> Part:
    """A torus: tires, rims."""
    angle = np.arange(columns) / columns * 2 * np.pi
    around = np.arange(7) / 7 * 2 * np.pi
    a, b = np.meshgrid(angle, around, indexing='ij')
    points = (
        np.stack(
            [(radius + thick * np.cos(b)) * np.cos(a), thick * np.sin(b), (radius + thick * np.cos(b)) * np.sin(a)], -1
        ).reshape(-1, 3)
        @ frame_of(np.asarray(axis, float)).T
        + center
    )
    i, j = (x.ravel() for x in np.meshgrid(np.arange(columns), np.arange(7), indexing='ij'))
    k, m = (i + 1) % columns, (j + 1) % 7
    p, q, r, s = i * 7 + j, k * 7 + j, i * 7 + m, k * 7 + m
    return points, np.concatenate([np.stack([p, r, q], 1), np.stack([q, r, s], 1)]), np.asarray(color)


def block(low, high, color) -> Part:
    """A box along the axes between its lowest and highest corner (3,) [m], with sharp edges."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    return (*cuboid((low + high) / 2, high - low), np.asarray(color))


def ball_at(center, radii, color) -> Part:
    """An ellipsoid; radii: along x, y, z, or one for a ball [m]."""
    vertices, faces = ellipsoid(center, np.broadcast_to(radii, 3), rows=8, columns=12)
    return vertices, faces, np.asarray(color)
