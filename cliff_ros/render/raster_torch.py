"""The rasterizer of `raster` in torch: many images at once, on a GPU where there is one.

The same conventions and the same pictures. Every triangle is spread over the pixels of its box, and of all that fall on
a pixel the nearest is one maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cliff_ros.render.material import WHITE, Material
from cliff_ros.render.raster import NEAR

_MOST = 1 << 23  # candidate pixels at once: what bounds the memory, at about 100 bytes each
_LATER = (1 << 32) - 1


@dataclass(frozen=True)
class Surfaces:
    """The materials of meshes that are drawn together: see `Material`.

    of (F,) int64: each face's material; uv (F, 3, 2); per material M: where its texture begins in texels (T, 4) uint8
    and its size, where its pattern begins in patterns (P, 3) and its size, recolor (M, 3, 4), repeats, amount,
    two_sided.
    """

    of: Tensor
    uv: Tensor
    texels: Tensor
    patterns: Tensor
    begin: Tensor
    rows: Tensor
    columns: Tensor
    pattern_begin: Tensor
    period: Tensor
    recolor: Tensor
    repeats: Tensor
    amount: Tensor
    two_sided: Tensor

    @classmethod
    def of_meshes(cls, meshes: Sequence[tuple[np.ndarray, Material | None, float]], device: torch.device) -> Surfaces:
        """meshes: faces, material or None for none, scale [px/m] of each."""
        pictures: dict[int, tuple[int, np.ndarray]] = {}
        total = [0, 0]

        def place(image: np.ndarray, kind: int) -> int:
            """Where a picture begins among those of its kind; each is stored once."""
            if id(image) not in pictures:
                pictures[id(image)] = total[kind], image
                total[kind] += image.shape[0] * image.shape[1]
            return pictures[id(image)][0]

        rows, recolors, uv, of = [], [], [], []
        for k, (faces, material, scale) in enumerate(meshes):
            of.append(np.full(len(faces), k))
            if material is None:  # a white texel of value one
                texture, recolor = WHITE[0], np.array([[0, 0, 0, 1]] * 3, np.float32)
                pattern, repeats, amount, two_sided = _NO_PATTERN, 1.0, 0.0, False
                uv.append(np.zeros((len(faces), 3, 2), np.float32))
            else:
                texture, recolor, pattern, repeats, amount = material.at(scale)
                two_sided = material.two_sided
                uv.append(material.uv)
            rows.append(
                (place(texture, 0), *texture.shape[:2], place(pattern, 1), len(pattern), repeats, amount, two_sided)
            )
            recolors.append(recolor)
        texels = [image.reshape(-1, 4) for _, image in pictures.values() if image.dtype == np.uint8]
        patterns = [image.reshape(-1, 3) for _, image in pictures.values() if image.dtype != np.uint8]
        table = torch.tensor(rows, dtype=torch.float64).T.to(device)
        whole = table[:5].long()

        def upload(arrays, dtype):
            return torch.from_numpy(np.ascontiguousarray(np.concatenate(arrays), dtype)).to(device)

        return cls(
            upload(of, np.int64),
            upload(uv, np.float32),
            upload(texels, np.uint8),
            upload(patterns, np.float32),
            whole[0],
            whole[1],
            whole[2],
            whole[3],
            whole[4],
            torch.from_numpy(np.stack(recolors).astype(np.float32)).to(device),
            table[5].float(),
            table[6].float(),
            table[7] > 0,
        )

    def at(self, face: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Column and row (N,) 0..1 of points of faces; share (N, 3) is linear in space."""
        u, v = (share[..., None] * self.uv[face]).sum(1).unbind(1)
        return u, v

    def texel(self, face: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """(N, 4) uint8"""
        one = self.of[face]
        columns, rows = self.columns[one], self.rows[one]
        column = torch.minimum((u * columns).long().clamp(min=0), columns - 1)
        row = torch.minimum((v * rows).long().clamp(min=0), rows - 1)
        return self.texels[self.begin[one] + row * columns + column]

    def color(self, face: Tensor, texel: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """(N, 3) what the unlit colors are multiplied with."""
        one = self.of[face]
        matrix, period, repeats = self.recolor[one], self.period[one], self.repeats[one]
        value = ((matrix[..., :3] * texel[:, None, :3]).sum(2) + matrix[..., 3]).clamp(0, 255)
        i, j = ((x * repeats * period).floor().long() % period for x in (v, u))
        return value * (1 + self.amount[one, None] * self.patterns[self.pattern_begin[one] + i * period + j])


_NO_PATTERN = np.zeros((1, 1, 3), np.float32)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit normals, area-weighted over the faces around each vertex."""
    corners = vertices[faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = torch.zeros_like(vertices).index_add_(0, faces.flatten(), normals.repeat_interleave(3, 0))
    return total / (total.norm(dim=1, keepdim=True) + 1e-12)


def rasterize(
    vertices: Tensor,
    faces: Tensor,
    colors: Tensor,
    owner: Tensor,
    pinhole: Tensor,
    image: Tensor,
    inverse_depth: Tensor,
    labels: Tensor,
    label: Tensor,
    surfaces: Surfaces | None = None,
) -> None:
    """Draw meshes into B images of one size, nearest surface wins. All buffers are changed in place.

    vertices (V, 3) float32 camera frame, of all meshes; faces (F, 3) int64; colors (V, 3) float32; owner (V,) int64: in
    which image each vertex is; pinhole (B, 4) float32: fx, fy, cx, cy [px]; image (B, H, W, 3) float32; inverse_depth
    (B, H, W) float32, 0 where empty; labels (B, H, W) uint8; label (B,) uint8: what the pixels drawn now are labeled;
    surfaces: the materials that colors are multiplied with.
    """
    height, width = inverse_depth.shape[1:]
    ahead = vertices[:, 2] >= NEAR
    inverse = 1 / vertices[:, 2].clamp(min=NEAR)
    k = pinhole[owner]
    pixels = k[:, :2] * vertices[:, :2] * inverse[:, None] + k[:, 2:]
    corner = pixels[faces]
    x, y = corner.unbind(-1)
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    low, high = corner.amin(1).ceil().clamp(min=0), corner.amax(1).floor()
    high = torch.minimum(high, high.new_tensor([width - 1, height - 1]))
    # The front of a surface runs clockwise in the image, where y points down.
    front = area < -1e-9 if surfaces is None else (area.abs() > 1e-9) & ((area < 0) | surfaces.two_sided[surfaces.of])
    drawn = ahead[faces].all(1) & front & (low <= high).all(1)
    number = torch.nonzero(drawn)[:, 0]
    faces, corner, area = faces[drawn], corner[drawn], area[drawn]
    low, size = low[drawn].long(), (high - low)[drawn].long() + 1
    last = size.prod(1).cumsum(0)
    begin = 0
    while begin < len(faces):
        before = last[begin - 1] if begin else 0
        end = max(begin + 1, int(torch.searchsorted(last, before + _MOST, right=True)))
        part = slice(begin, end)
        _spread(
            faces[part],
            corner[part],
            area[part],
            low[part],
            size[part],
            inverse,
            colors,
            owner,
            image,
            inverse_depth,
            labels,
            label,
            number[part],
            surfaces,
        )
        begin = end


def _spread(
    faces, corner, area, low, size, inverse, colors, owner, image, inverse_depth, labels, label, number, surfaces
) -> None:
    height, width = inverse_depth.shape[1:]
    count = size.prod(1)
    face = torch.repeat_interleave(torch.arange(len(faces), device=faces.device), count)
    place = torch.arange(len(face), device=face.device) - (count.cumsum(0) - count)[face]
    column, row = low[face, 0] + place % size[face, 0], low[face, 1] + place // size[face, 0]
    (x0, y0), (x1, y1), (x2, y2) = (corner[face, i].unbind(-1) for i in range(3))
    scale = (1 / area)[face]
    w0 = ((x1 - column) * (y2 - row) - (x2 - column) * (y1 - row)) * scale
    w1 = ((x2 - column) * (y0 - row) - (x0 - column) * (y2 - row)) * scale
    weights = torch.stack([w0, w1, 1 - w0 - w1], 1)
    nearness = (weights * inverse[faces[face]]).sum(1)  # 1/z is linear in the image
    pixel = (owner[faces[face, 0]] * height + row) * width + column
    flat = inverse_depth.view(-1)
    inside = torch.nonzero((weights >= -1e-6).all(1) & (nearness > flat[pixel]))[:, 0]
    if surfaces is not None:  # where a texture is transparent, nothing is drawn
        which = number[face[inside]]
        share = weights[inside] * inverse[faces[face[inside]]] / nearness[inside, None]
        u, v = surfaces.at(which, share)
        texel = surfaces.texel(which, u, v)
        seen = texel[:, 3] >= 128
        inside, which, u, v, texel = inside[seen], which[seen], u[seen], v[seen], texel[seen]
    if not len(inside):
        return
    nearness, pixel = nearness[inside], pixel[inside]
    # Bits of positive floats sort as the floats do; of equals the triangle that comes first stays.
    key = (nearness.view(torch.int32).long() << 32) | (_LATER - torch.arange(len(inside), device=face.device))
    best = torch.zeros(flat.shape, dtype=torch.int64, device=face.device).scatter_reduce_(0, pixel, key, 'amax')
    won = torch.nonzero(best[pixel] == key)[:, 0]
    pixel, chosen = pixel[won], inside[won]
    flat[pixel] = nearness[won]
    labels.view(-1)[pixel] = label[pixel // (height * width)]
    color = (weights[chosen, :, None] * colors[faces[face[chosen]]]).sum(1)
    image.view(-1, 3)[pixel] = (
        color if surfaces is None else color * surfaces.color(which[won], texel[won], u[won], v[won])
    )
