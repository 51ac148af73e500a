"""Who is in the image: boxes of people, in raw pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from cliff_ros import assets
from cliff_ros.errors import InputError, ModelError
from cliff_ros.people import Box


class Detector(Protocol):
    """Finds people in an image."""

    name: str
    threshold: float | None  # smallest score of a person; None: the detector's own; may change between two images

    def __call__(self, image: np.ndarray, order: str = 'rgb') -> list[Box]:
        """Boxes in the pixels of the image, best score first.

        image: (H, W, 3) uint8; order: of its channels, 'rgb' or 'bgr'.
        """
        ...


class NoDetector:
    """Stands where boxes come from elsewhere."""

    name = 'none'
    threshold: float | None = None

    def __call__(self, image: np.ndarray, order: str = 'rgb') -> list[Box]:
        """InputError for every image: boxes must come with it."""
        raise InputError(
            "the detector is 'none' and no boxes were given: give boxes with the image, "
            "or choose the detector 'embedded'"
        )


def load_detector(detector: str | Path = 'embedded', threshold: float | None = None, threads: int = 0) -> Detector:
    """Load a detector.

    detector: ``'embedded'``; the path of an ONNX file exported from YOLOv5, YOLOv8 (and later ones of that
    layout) or YOLOX, or made by ``cliff train``; or ``'none'`` where boxes always come from outside.
    threshold: smallest score of a person; None takes the detector's default.
    threads: CPU threads; 0 chooses.

    A file of somebody else's making runs first in a child process with limits (`cliff_ros.detect.trial`).
    """
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f'the detection threshold must lie between 0 and 1, got {threshold}')
    if str(detector) == 'none':
        return NoDetector()
    from cliff_ros.detect.kinds import detector_kind
    from cliff_ros.detect.trial import check_detector

    path = assets.DETECTOR if str(detector) == 'embedded' else Path(detector).expanduser()
    if not path.is_file():
        raise ModelError(f"detector file {path} does not exist: give an ONNX file, 'embedded' or 'none'")
    check_detector(path)
    return detector_kind(path)(path, threshold, threads=threads)
