"""Writing videos with OpenCV."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from cliff_ros.errors import InputError


class VideoFile:
    """An MPEG-4 file that grows frame by frame; a context manager. ``frames`` counts what was written."""

    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
        self.path, self.frames = path, 0
        # The codec stores pairs of rows and columns: an odd last one is left out.
        self._size = (width // 2 * 2, height // 2 * 2)
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), fps, self._size)
        if not self._writer.isOpened():
            raise InputError(f"OpenCV cannot write the video '{path}': check that its folder may be written "
                             'and that this OpenCV has FFmpeg (opencv-python-headless from PyPI does).')

    def add(self, image: np.ndarray) -> None:
        """Append (H, W, 3) uint8 RGB."""
        width, height = self._size
        self._writer.write(cv2.cvtColor(image[:height, :width], cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self) -> None:
        """Finish the file; InputError if it cannot be read back."""
        self._writer.release()
        if self.frames and not is_readable(self.path):
            raise InputError(f"The video '{self.path}' was written but cannot be read back: check that the "
                             'disk is not full.')

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *exc) -> None:
        self.close()


def is_readable(path: Path) -> bool:
    """Whether a first frame can be decoded."""
    capture = cv2.VideoCapture(str(path))
    try:
        return capture.isOpened() and capture.read()[0]
    finally:
        capture.release()
