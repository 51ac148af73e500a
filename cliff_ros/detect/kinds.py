"""Which kind of detector a file is, told by what is inside."""

from __future__ import annotations

from pathlib import Path

from cliff_ros.detect.heatmap import OUTPUTS, HeatmapDetector
from cliff_ros.detect.yolo import YoloDetector
from cliff_ros.graph.onnx_file import OnnxFile


def detector_kind(path: str | Path) -> type[HeatmapDetector] | type[YoloDetector]:
    """The class that runs the detector in this ONNX file."""
    return HeatmapDetector if set(OUTPUTS) <= set(OnnxFile(path).outputs) else YoloDetector
