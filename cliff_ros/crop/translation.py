"""From the camera of a crop to the full frame: CLIFF's equations 3, 4 and 6. For arrays of NumPy and of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

Array = TypeVar('Array')  # numpy.ndarray or torch.Tensor


def full_translation(camera: Any, location: Any) -> Any:
    """SMPL ``transl`` (N, 3) in the view [m], of the type of what is given.

    camera: (N, 3) the crop's, (s, tx, ty). location: (N, 3) of the crop, the paper's Eq. 5 (`View.location`).
    """
    return translation_at(camera, location[:, :2], location[:, 2:])


def translation_at(camera: Any, center: Any, size: Any) -> Any:
    """As `full_translation`, with the location in two parts: center (N, 2) and size (N, 1) of the crop over the focal
    length.

    The crop camera scales meters to half crop heights, so a person as high as the crop at distance tz has
    ``s = 2 f / (b tz)`` (CLIFF Eq. 3 and 6, in units of the focal length).
    """
    depth = 2 / (size * camera[:, :1])
    return concatenate([camera[:, 1:] + center * depth, depth])


def concatenate(columns: Sequence[Array]) -> Array:
    """Columns side by side, along the last axis."""
    if isinstance(columns[0], np.ndarray):
        return np.concatenate(columns, -1)  # type: ignore[arg-type, return-value]
    import torch

    return torch.cat(list(columns), -1)  # type: ignore[arg-type, return-value]
