"""Writing videos with OpenCV."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from cliff_ros.errors import InputError, OutputError
from cliff_ros.files import for_library, make_folder, unwritable

_FRAMES_BETWEEN = 15  # looks at the disk


class VideoFile:
    """An MPEG-4 file that grows frame by frame; a context manager. ``frames`` counts what was written.

    Players need the index at the end of an MP4, which a process that is killed does not write, and OpenCV hands no
    options on to those who could write it in pieces. So an AVI file with the same pictures grows beside it
    (``NAME.partial.avi``), which can be played at any time, but for its last 32 kB; `close` removes it.

    Raises OutputError where the file cannot be written, from `add` too: then what was written until then stays.
    """

    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
        self.path, self.spare, self.frames = path, path.with_suffix('.partial.avi'), 0
        # The codec stores pairs of rows and columns: an odd last one is left out.
        self._size = (width // 2 * 2, height // 2 * 2)
        make_folder(path.parent)
        self._writers = []
        for file in (self.spare, path):
            try:
                with open(file, 'wb'):  # says why it cannot, as OpenCV does not
                    pass
            except OSError as error:
                self._release()
                raise unwritable(file, error) from error
            self._writers.append(cv2.VideoWriter(for_library(file), cv2.VideoWriter.fourcc(*'mp4v'), fps, self._size))
        if not all(writer.isOpened() for writer in self._writers):
            self._release()
            raise InputError(
                f"OpenCV cannot write the video '{path}': check that its folder may be written "
                'and that this OpenCV has FFmpeg (opencv-python-headless from PyPI does).'
            )

    def add(self, image: np.ndarray) -> None:
        """Append (H, W, 3) uint8 RGB."""
        width, height = self._size
        image = cv2.cvtColor(image[:height, :width], cv2.COLOR_RGB2BGR)
        for writer in self._writers:
            writer.write(image)
        self.frames += 1
        if self.frames % _FRAMES_BETWEEN == 0:
            self._check_room(4 * image.nbytes)

    def close(self) -> None:
        """Finish the file; OutputError if it is not whole: then the AVI file stays."""
        self._release()
        if self.frames and not (_has_index(self.path) and is_readable(self.path)):
            raise OutputError(
                f"The video '{self.path}' could not be finished: check that the disk is not full; "
                f"what there was room for is in '{self.spare}'."
            )
        with suppress(OSError):
            self.spare.unlink()

    def _release(self) -> None:
        for writer in self._writers:
            writer.release()

    def _check_room(self, needed: int) -> None:
        """OpenCV does not say that a disk is full."""
        found = os.statvfs(self.path.parent)
        if found.f_bavail * found.f_frsize < needed:
            raise unwritable(self.path, OSError(None, 'no space left on the device'))

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *exc) -> None:
        self.close()


def is_readable(path: Path) -> bool:
    """Whether a first frame can be decoded."""
    capture = cv2.VideoCapture(for_library(path))
    try:
        return capture.isOpened() and capture.read()[0]
    finally:
        capture.release()


def _has_index(path: Path) -> bool:
    """Whether an MP4 file's parts follow each other to its end, and the index is among them (ISO 14496-12, 4.2)."""
    size, at, kinds = path.stat().st_size, 0, set()
    with open(path, 'rb') as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], 'big'), head[4:8]
            if length == 1:  # longer than 4 GB
                length = int.from_bytes(head[8:], 'big')
            if length < 8:
                return False
            kinds.add(kind)
            at += length
    return at == size and b'moov' in kinds
