"""What cuts the crops of an image for an engine: on the CPU, or where the engine computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from cliff_ros.crop.views import CropSpec, View, crops
from cliff_ros.people import Frame


class Cropper(Protocol):
    """Cuts the views of an image. Calls must come from one thread."""

    spec: CropSpec

    def __call__(self, frame: Frame, views: Sequence[View]) -> Any:
        """Crops (N, h, w, 3) uint8 RGB, in the form that the engine takes: an array, or a tensor on its device."""
        ...


class CpuCropper:
    """Crops as arrays in the host's memory."""

    def __init__(self, spec: CropSpec) -> None:
        self.spec = spec

    def __call__(self, frame: Frame, views: Sequence[View]) -> np.ndarray:
        """Crops (N, h, w, 3) uint8 RGB as an array, whatever the channel order of the frame."""
        return crops(frame.image, frame.camera, views, self.spec, frame.order)
