"""A detector of somebody else's making runs first in a child process, as graphs do (`cliff_ros.engine.trial`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cliff_ros.assets import DETECTOR
from cliff_ros.engine.trial import check, refuse_loops
from cliff_ros.errors import CliffError, ModelError
from cliff_ros.graph.onnx_file import OnnxFile


def check_detector(path: Path) -> None:
    """ModelError unless this is a detector that runs on ONNX Runtime; the embedded one is known to be."""
    check(f'{__name__}:try_detector', path, DETECTOR)


def try_detector(path: str) -> dict[str, np.ndarray]:
    """Load a detector and run it on a blank image."""
    from cliff_ros.detect.kinds import detector_kind

    refuse_loops(OnnxFile(path), path)
    try:
        detector_kind(path)(path, threads=1)(np.zeros((480, 640, 3), np.uint8))
    except CliffError:
        raise
    except Exception as error:  # noqa: BLE001  ONNX Runtime raises many types, none of them public
        raise ModelError(
            f'{path} does not run: {(str(error).strip().splitlines() or [type(error).__name__])[0]}: export it again'
        ) from None
    return {}
