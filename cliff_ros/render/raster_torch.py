"""The rasteriser of `raster` in torch: many images at once, on a GPU where there is one.

The same conventions and the same pictures. Every triangle is spread over the pixels of its box, and of all that fall on
a pixel the nearest is one maximum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cliff_ros.render.raster import NEAR

_MOST = 1 << 23  # candidate pixels at once: what bounds the memory, at about 100 bytes each
_LATER = (1 << 32) - 1


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit normals, area-weighted over the faces around each vertex."""
    corners = vertices[faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = torch.zeros_like(vertices).index_add_(0, faces.flatten(), normals.repeat_interleave(3, 0))
    return total / (total.norm(dim=1, keepdim=True) + 1e-12)


def rasterize(vertices: Tensor, faces: Tensor, colors: Tensor, owner: Tensor, pinhole: Tensor, image: Tensor,
              inverse_depth: Tensor, labels: Tensor, label: Tensor) -> None:
    """Draw meshes into B images of one size, nearest surface wins. All buffers are changed in place.

    vertices (V, 3) float32 camera frame, of all meshes; faces (F, 3) int64; colors (V, 3) float32; owner (V,) int64: in
    which image each vertex is; pinhole (B, 4) float32: fx, fy, cx, cy [px]; image (B, H, W, 3) float32; inverse_depth
    (B, H, W) float32, 0 where empty; labels (B, H, W) uint8; label (B,) uint8: what the pixels drawn now are labelled.
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
    drawn = ahead[faces].all(1) & (area < -1e-9) & (low <= high).all(1)
    faces, corner, area = faces[drawn], corner[drawn], area[drawn]
    low, size = low[drawn].long(), (high - low)[drawn].long() + 1
    last = size.prod(1).cumsum(0)
    begin = 0
    while begin < len(faces):
        before = last[begin - 1] if begin else 0
        end = max(begin + 1, int(torch.searchsorted(last, before + _MOST, right=True)))
        part = slice(begin, end)
        _spread(faces[part], corner[part], area[part], low[part], size[part], inverse, colors, owner, image,
                inverse_depth, labels, label)
        begin = end


def _spread(faces, corner, area, low, size, inverse, colors, owner, image, inverse_depth, labels, label) -> None:
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
    image.view(-1, 3)[pixel] = (weights[chosen, :, None] * colors[faces[face[chosen]]]).sum(1)
