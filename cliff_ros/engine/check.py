"""Does a newly built engine compute what its graph says? Asked of ONNX Runtime, once, before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from cliff_ros.crop.views import CropSpec
from cliff_ros.errors import ModelError

if TYPE_CHECKING:
    from cliff_ros.engine.tensorrt_engine import TensorRTEngine

# Largest difference of an entry of a rotation matrix, of the middle one of some crops: on pictures of nothing a
# network may change its mind over a rounding.
TOLERANCE = {'fp32': 1e-3, 'fp16': 0.05, 'int8': 0.4}
CROPS = 8


def check_against(engine: TensorRTEngine, path: Path, precision: str) -> float:
    """Compare an engine with ONNX Runtime on the same graph; returns by how much they differ.

    Raises ModelError where that is more than the precision excuses.
    """
    from cliff_ros.engine.onnx_engine import OnnxEngine

    crops, location = probes(engine.spec, min(CROPS, engine.max_people))
    reference = OnnxEngine(path, on=['CPUExecutionProvider'])
    difference = disagreement(engine(crops, location), reference(crops, location))
    if not difference <= TOLERANCE[precision]:
        raise ModelError(
            f'the engine that was built differs from ONNX Runtime by {difference:.2g} in its rotations, '
            f'more than {TOLERANCE[precision]:g}: choose the precision fp32, or the engine onnx, and '
            f'report this'
        )
    return difference


def disagreement(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The largest difference in rotations, of the middle one of the people; NaN counts as infinite."""
    worst = np.abs(one['rotations'] - other['rotations']).max(axis=(1, 2, 3))
    return float(np.median(np.where(np.isfinite(worst), worst, np.inf)))


def probes(spec: CropSpec, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Crops (N, h, w, 3) uint8 of soft colors, and location (N, 3) float32; always the same."""
    rng = np.random.default_rng(0)
    crops = np.stack(
        [
            cv2.resize(
                rng.integers(0, 256, (8, 6, 3), np.uint8), (spec.width, spec.height), interpolation=cv2.INTER_CUBIC
            )
            for _ in range(people)
        ]
    )
    location = np.column_stack([rng.uniform(-0.3, 0.3, (people, 2)), rng.uniform(0.2, 0.8, people)])
    return crops, location.astype(np.float32)
