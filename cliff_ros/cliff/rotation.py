"""Rotation matrices from and to the 6 numbers that CLIFF regresses per joint (Zhou et al., CVPR 2019).

The six numbers are the first two columns of R written row by row, [R00, R01, R10, R11, R20, R21]: SPIN's
interleaved convention, shared by CLIFF, BEDLAM and MMHuman3D. Identity is [1, 0, 0, 1, 0, 0].
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below this squared length a column has no direction left; the same bound as the authors' normalization.
_SMALLEST_SQUARE = 1e-24


def matrix_from_6d(sixd: Tensor) -> Tensor:
    """The rotation whose first two columns are nearest to those given, by Gram-Schmidt.

    Only multiplications, sums and one rsqrt: every exporter and engine knows these, whatever the batch.

    Parameters
    ----------
    sixd: (..., 6)

    Returns
    -------
    (..., 3, 3) with determinant +1.
    """
    columns = sixd.unflatten(-1, (3, 2))
    first = _unit(columns[..., 0])
    second = columns[..., 1]
    second = _unit(second - (first * second).sum(-1, keepdim=True) * first)
    x1, y1, z1 = first.unbind(-1)
    x2, y2, z2 = second.unbind(-1)
    third = torch.stack([y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2], -1)
    return torch.stack([first, second, third], -1)


def matrix_to_6d(rotation: Tensor) -> Tensor:
    """The six numbers (..., 6) of rotations (..., 3, 3)."""
    return rotation[..., :2].flatten(-2)


def _unit(vector: Tensor) -> Tensor:
    square = (vector * vector).sum(-1, keepdim=True)
    return vector * torch.rsqrt(square.clamp(min=_SMALLEST_SQUARE))
