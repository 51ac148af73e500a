"""A triangle rasterizer on the CPU: z-buffer, per-vertex colors, compiled by numba.

Used for the overlay and for the synthetic world. Conventions are OpenCV's: camera axes x right, y down,
z forward; pixel centers at integers; triangles counter-clockwise seen from outside.
"""

from __future__ import annotations

import numpy as np

try:
    from numba import njit
except ImportError as error:
    from cliff_ros.errors import CliffError

    raise CliffError('drawing meshes needs numba: pip install numba') from error

NEAR = 0.05  # [m] triangles with a vertex nearer than this are not drawn


@njit(cache=True, fastmath=True, nogil=True)
def vertex_normals(vertices, faces):
    """(V, 3) float32 unit normals, area-weighted over the faces around each vertex."""
    normals = np.zeros_like(vertices)
    for i in range(faces.shape[0]):
        a, b, c = faces[i, 0], faces[i, 1], faces[i, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for i in range(vertices.shape[0]):
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        normals[i, 0] /= length
        normals[i, 1] /= length
        normals[i, 2] /= length
    return normals


@njit(cache=True, fastmath=True, nogil=True)
def _projected(vertices, fx, fy, cx, cy):
    """Column and row of each vertex, and its inverse depth; -1 for what is too near."""
    n = vertices.shape[0]
    px, py, iz = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    for i in range(n):
        z = vertices[i, 2]
        if z < NEAR:
            iz[i] = -1
        else:
            iz[i] = 1 / z
            px[i] = fx * vertices[i, 0] / z + cx
            py[i] = fy * vertices[i, 1] / z + cy
    return px, py, iz


@njit(cache=True, fastmath=True, nogil=True)
def rasterize(vertices, faces, colors, fx, fy, cx, cy, image, inverse_depth, labels, label):
    """Draw a mesh into image, nearest surface wins. All buffers are changed in place.

    vertices (V, 3) float32 camera frame; faces (F, 3) int32; colors (V, 3) float32;
    image (H, W, 3) float32; inverse_depth (H, W) float32, 0 where empty; labels (H, W) uint8.
    """
    height, width = inverse_depth.shape
    px, py, iz = _projected(vertices, fx, fy, cx, cy)
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        if iz[a] < 0 or iz[b] < 0 or iz[c] < 0:
            continue
        x0, y0, x1, y1, x2, y2 = px[a], py[a], px[b], py[b], px[c], py[c]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area >= -1e-9:  # the back of a surface: y points down, so the front runs clockwise in the image
            continue
        left, right = max(0, int(np.ceil(min(x0, x1, x2)))), min(width - 1, int(np.floor(max(x0, x1, x2))))
        top, bottom = max(0, int(np.ceil(min(y0, y1, y2)))), min(height - 1, int(np.floor(max(y0, y1, y2))))
        if left > right or top > bottom:
            continue
        scale = np.float32(1 / area)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w0 = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) * scale
                w1 = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) * scale
                w2 = 1 - w0 - w1
                if w0 < -1e-6 or w1 < -1e-6 or w2 < -1e-6:
                    continue
                z = w0 * iz[a] + w1 * iz[b] + w2 * iz[c]  # 1/z is linear in the image
                if z > inverse_depth[y, x]:
                    inverse_depth[y, x] = z
                    labels[y, x] = label
                    for k in range(3):
                        image[y, x, k] = w0 * colors[a, k] + w1 * colors[b, k] + w2 * colors[c, k]


@njit(cache=True, fastmath=True, nogil=True)
def rasterize_textured(
    vertices,
    faces,
    colors,
    uv,
    texture,
    recolor,
    pattern,
    repeats,
    amount,
    two_sided,
    fx,
    fy,
    cx,
    cy,
    image,
    inverse_depth,
    labels,
    label,
):
    """As `rasterize`, of a mesh with a texture; colors (V, 3) multiply it. All buffers are changed in place.

    uv (F, 3, 2) float32: column and row of each corner in the texture, 0..1; texture (H, W, 4) uint8 RGBA: where alpha
    is below 128 nothing is drawn; recolor (3, 4) float32: what is made of a texel, linear and constant; pattern
    (P, P, 3) float32: relative brightness on top, `amount` of it, `repeats` times over the texture; two_sided: draw
    backs as well.
    """
    height, width = inverse_depth.shape
    rows, columns, period = texture.shape[0], texture.shape[1], pattern.shape[0]
    px, py, iz = _projected(vertices, fx, fy, cx, cy)
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        if iz[a] < 0 or iz[b] < 0 or iz[c] < 0:
            continue
        x0, y0, x1, y1, x2, y2 = px[a], py[a], px[b], py[b], px[c], py[c]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) <= 1e-9 or (area > 0 and not two_sided):
            continue
        left, right = max(0, int(np.ceil(min(x0, x1, x2)))), min(width - 1, int(np.floor(max(x0, x1, x2))))
        top, bottom = max(0, int(np.ceil(min(y0, y1, y2)))), min(height - 1, int(np.floor(max(y0, y1, y2))))
        if left > right or top > bottom:
            continue
        scale = np.float32(1 / area)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w0 = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) * scale
                w1 = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) * scale
                w2 = 1 - w0 - w1
                if w0 < -1e-6 or w1 < -1e-6 or w2 < -1e-6:
                    continue
                z = w0 * iz[a] + w1 * iz[b] + w2 * iz[c]
                if z <= inverse_depth[y, x]:
                    continue
                p0, p1, p2 = w0 * iz[a] / z, w1 * iz[b] / z, w2 * iz[c] / z  # textures are linear in space
                u = p0 * uv[t, 0, 0] + p1 * uv[t, 1, 0] + p2 * uv[t, 2, 0]
                v = p0 * uv[t, 0, 1] + p1 * uv[t, 1, 1] + p2 * uv[t, 2, 1]
                column, row = min(max(int(u * columns), 0), columns - 1), min(max(int(v * rows), 0), rows - 1)
                if texture[row, column, 3] < 128:
                    continue
                i, j = int(np.floor(v * repeats * period)) % period, int(np.floor(u * repeats * period)) % period
                inverse_depth[y, x] = z
                labels[y, x] = label
                red, green, blue = texture[row, column, 0], texture[row, column, 1], texture[row, column, 2]
                for k in range(3):
                    texel = recolor[k, 0] * red + recolor[k, 1] * green + recolor[k, 2] * blue + recolor[k, 3]
                    texel = min(max(texel, np.float32(0)), np.float32(255)) * (1 + amount * pattern[i, j, k])
                    image[y, x, k] = (w0 * colors[a, k] + w1 * colors[b, k] + w2 * colors[c, k]) * texel


@njit(cache=True, fastmath=True, nogil=True)
def _lit(normals, light, color):
    """(V, 3) float32 colors of vertices; grazing surfaces are a little brighter, so that limbs stay readable."""
    lit = np.empty_like(normals)
    for i in range(normals.shape[0]):
        diffuse = normals[i, 0] * light[0] + normals[i, 1] * light[1] + normals[i, 2] * light[2]
        rim = min(max(1 + normals[i, 2], np.float32(0)), np.float32(1))
        brightness = 0.35 + 0.6 * min(max(diffuse, np.float32(0)), np.float32(1)) + 0.15 * rim * rim * rim
        for k in range(3):
            lit[i, k] = brightness * color[k]
    return lit


@njit(cache=True, fastmath=True, nogil=True)
def _blend(image, layer, labels, left, top, alpha):
    for y in range(layer.shape[0]):
        for x in range(layer.shape[1]):
            if labels[y, x] > 0:
                for k in range(3):
                    value = (1 - alpha) * image[top + y, left + x, k] + alpha * layer[y, x, k]
                    image[top + y, left + x, k] = np.uint8(min(max(value, 0), 255))


def shade(
    vertices: np.ndarray,
    faces: np.ndarray,
    f: float,
    cx: float,
    cy: float,
    image: np.ndarray,
    color: tuple[float, float, float] = (120, 190, 240),
    alpha: float = 0.75,
    light: tuple[float, float, float] = (0.25, -0.55, -0.8),
    depth: np.ndarray | None = None,
) -> None:
    """Draw a lit mesh over an image, in place.

    Parameters
    ----------
    vertices: (V, 3) camera frame [m]; faces: (F, 3)
    f, cx, cy: pinhole [px]
    image: (H, W, 3) uint8, changed; color is in its channel order
    light: direction towards the light, camera frame
    depth: optional (H, W) float32 of inverse depths, 0 where empty, changed: pass the same array for
        everyone in the image, nearest first or last, and people occlude each other correctly
    """
    vertices = np.ascontiguousarray(vertices, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    ahead = vertices[vertices[:, 2] > NEAR]
    if not len(ahead):
        return
    height, width = image.shape[:2]
    pixels = ahead[:, :2] / ahead[:, 2:] * f + (cx, cy)
    left, top = np.maximum(np.floor(pixels.min(0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(pixels.max(0)) + 1, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return
    direction = np.asarray(light, np.float32) / np.float32(np.linalg.norm(light))
    colors = _lit(vertex_normals(vertices, faces), direction, np.asarray(color, np.float32))
    layer = np.empty((bottom - top, right - left, 3), np.float32)  # read only where something was drawn
    labels = np.zeros(layer.shape[:2], np.uint8)
    window = None if depth is None else depth[top:bottom, left:right]
    nearest = np.zeros(layer.shape[:2], np.float32) if window is None else np.ascontiguousarray(window)
    rasterize(vertices, faces, colors, f, f, cx - left, cy - top, layer, nearest, labels, 1)
    if window is not None:
        window[:] = nearest
    _blend(image, layer, labels, left, top, alpha)
