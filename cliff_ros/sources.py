"""Where images come from without ROS: video files, folders of images, cameras, synthetic scenes.

Every source yields :class:`~cliff_ros.people.Frame` (rgb) and knows its ``camera`` and ``fps``.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.errors import InputError
from cliff_ros.files import for_library, read_image
from cliff_ros.people import Frame

if TYPE_CHECKING:
    from cliff_ros.synthetic import Sequence

IMAGE_SUFFIXES = frozenset({'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff'})
FOLDER_FPS = 15.0  # a folder does not say how fast its images were taken
LIVE_FPS = 30.0  # what most cameras run at where the driver does not say

_log = logging.getLogger(__name__)


def open_source(
    spec: str, camera_yaml: str | Path | None = None, fps: float | None = None, loop: bool = False
) -> Source:
    """Open what ``spec`` names.

    Parameters
    ----------
    spec : a video file, a folder of images (in natural order of their names), a device (``/dev/video0``
        or ``0``), or ``synthetic`` / ``synthetic:SEED`` (scenes with exact truth).
    camera_yaml : calibration as written by ``camera_calibration`` (camera_info_manager's YAML). Without
        it the authors' guess f = sqrt(W^2 + H^2) is used, and a warning says what that costs.
    fps : overrides the rate that the source states; sets the stamps of files and folders.
    loop : start again at the end (files, folders, synthetic). Stamps keep growing.

    Raises
    ------
    InputError : nothing there, nothing readable in it, or a calibration of another image size.
    """
    if fps is not None and not fps > 0:
        raise InputError(f'The frame rate must be above zero, not {fps:g}: give a positive one.')
    kind, _, seed = spec.partition(':')
    if kind == 'synthetic':
        return SyntheticSource.from_seed(seed, camera_yaml, fps, loop)
    if spec.isdigit():
        return DeviceSource(int(spec), camera_yaml, fps)
    path = Path(spec).expanduser()
    if path.is_dir():
        return FolderSource(path, camera_yaml, fps, loop)
    if path.is_char_device():
        return DeviceSource(str(path), camera_yaml, fps)
    if path.is_file():
        return VideoSource(path, camera_yaml, fps, loop)
    if path.exists():
        raise InputError(f"'{spec}' is a pipe or a device, not a video: give a file, a folder of images or a camera.")
    raise InputError(
        f"There is no '{spec}': give a video file, a folder of images, a device such as /dev/video0, or 'synthetic'."
    )


class Source:
    """Images in order. ``camera`` describes each of them; ``fps`` is their rate [1/s]."""

    camera: Camera
    fps: float
    live = False  # a live source has no end and cannot be read again
    missing = 0  # images that it said it has but did not give, after it was read to its end

    def __init__(self, length: int | None, loop: bool) -> None:
        self._length, self._loop = length, loop

    def __len__(self) -> int:
        """Number of frames. TypeError (as for any object without a length) where it is not known."""
        if self._length is None or self._loop:
            raise TypeError(f'the length of this {type(self).__name__} is not known')
        return self._length

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        while True:
            at_start = count
            for image in self._images():
                yield Frame(image, self.camera, stamp=count / self.fps)
                count += 1
            if not self._loop or count == at_start:
                return

    def _images(self) -> Iterator[np.ndarray]:
        """One pass over the images, (H, W, 3) uint8 RGB."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back the device or file."""


class VideoSource(Source):
    """A video file, read by OpenCV (which applies the orientation the file asks for)."""

    def __init__(self, path: Path, camera_yaml=None, fps: float | None = None, loop: bool = False) -> None:
        import cv2

        self.path = path
        capture = cv2.VideoCapture(for_library(path))
        ok, first = capture.read() if capture.isOpened() else (False, None)
        stated, frames = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if not ok or first is None:
            raise InputError(
                f"OpenCV cannot read a frame from '{path}': convert it, for example with "
                'ffmpeg -i FILE out.mp4, or give a folder of images.'
            )
        super().__init__(frames if frames > 0 else None, loop)
        self.fps = fps or (stated if np.isfinite(stated) and stated > 0 else FOLDER_FPS)
        self.camera = camera_for(first.shape[1], first.shape[0], camera_yaml)

    def _images(self) -> Iterator[np.ndarray]:
        import cv2

        capture, count = cv2.VideoCapture(str(self.path)), 0
        try:
            while True:
                ok, image = capture.read()
                if not ok:
                    # Some containers state their length in seconds, and edits cut the first images off.
                    lacking = (self._length or 0) - count
                    self.missing = lacking if lacking > 2 + 0.01 * count else 0
                    return
                count += 1
                yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()


class FolderSource(Source):
    """A folder of images of one size, in natural order of their names (2.png before 10.png)."""

    def __init__(self, path: Path, camera_yaml=None, fps: float | None = None, loop: bool = False) -> None:
        found = (f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        self.files = sorted((f for f in found if f.is_file()), key=_natural)  # a pipe would be waited for
        if not self.files:
            raise InputError(
                f"There is no image in the folder '{path}': expected files ending in "
                f'{", ".join(sorted(IMAGE_SUFFIXES))}.'
            )
        super().__init__(len(self.files), loop)
        self.fps = fps or FOLDER_FPS
        height, width = self._read(self.files[0]).shape[:2]
        self.camera = camera_for(width, height, camera_yaml)

    @staticmethod
    def _read(file: Path) -> np.ndarray:
        import cv2

        image = read_image(file, cv2.IMREAD_COLOR)
        if image is None:
            raise InputError(f"'{file}' is not an image that OpenCV can read: remove it or save it as PNG.")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _images(self) -> Iterator[np.ndarray]:
        for file in self.files:
            image = self._read(file)
            if image.shape[:2] != (self.camera.height, self.camera.width):
                raise InputError(
                    f"'{file}' is {image.shape[1]}x{image.shape[0]}, but the images before it are "
                    f'{self.camera.width}x{self.camera.height}: put images of one camera in one folder.'
                )
            yield image


class DeviceSource(Source):
    """A camera that OpenCV can open. Stamps are the time of the day at which an image was read."""

    live = True

    def __init__(self, device: int | str, camera_yaml=None, fps: float | None = None) -> None:
        import cv2

        super().__init__(None, loop=False)
        self._capture = cv2.VideoCapture(device)
        if fps:
            self._capture.set(cv2.CAP_PROP_FPS, fps)
        # The oldest waiting image is worth nothing in real time. Drivers may ignore this.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        ok, first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not ok or first is None:
            self._capture.release()
            raise InputError(
                f"The camera '{device}' gives no image: check that it is plugged in, that no "
                'other program uses it, and that you may read it (group video).'
            )
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps or (stated if np.isfinite(stated) and stated > 0 else LIVE_FPS)
        self.camera = camera_for(first.shape[1], first.shape[0], camera_yaml)

    def __iter__(self) -> Iterator[Frame]:
        import cv2

        while True:
            ok, image = self._capture.read()
            if not ok:
                return
            picture = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(picture, self.camera, stamp=time.time())

    def close(self) -> None:
        """Give back the camera, so that another program can open it."""
        self._capture.release()


class SyntheticSource(Source):
    """Rendered scenes. ``sequence.truth(i)`` is the exact truth of frame i."""

    def __init__(self, sequence: Sequence, camera_yaml=None, fps: float | None = None, loop: bool = False) -> None:
        super().__init__(len(sequence), loop)
        if camera_yaml is not None:
            raise InputError('A synthetic scene brings its own camera: leave --camera out.')
        self.sequence, self.camera = sequence, sequence.camera
        self.fps = fps or sequence.fps

    @classmethod
    def from_seed(cls, seed: str, camera_yaml=None, fps: float | None = None, loop: bool = False) -> SyntheticSource:
        """The scene of a seed, '' being 0, rendered at fps [1/s]; None takes the scene's own rate.

        InputError where the seed is no number, or where a calibration is given.
        """
        if seed and not seed.isdigit():
            raise InputError(f"'synthetic:{seed}' has no number after the colon: write, say, synthetic:7.")
        from cliff_ros.synthetic import Sequence

        number = int(seed or 0)
        return cls(Sequence(number, fps=fps) if fps else Sequence(number), camera_yaml, fps, loop)

    def _images(self) -> Iterator[np.ndarray]:
        for i in range(len(self.sequence)):
            yield self.sequence.image(i)


def camera_for(width: int, height: int, camera_yaml: str | Path | None) -> Camera:
    """The calibrated camera, checked against the image's size; or the uncalibrated guess, with a warning."""
    if camera_yaml is None:
        camera = Camera.uncalibrated(width, height)
        _log.warning(
            'No calibration given: guessing f = %.0f px for %dx%d. Poses stay useful, but distances will be '
            'off by the same factor as f, and people away from the image center will seem turned. Give '
            '--camera camera_info.yaml.',
            camera.f,
            width,
            height,
        )
        return camera
    camera = Camera.from_yaml(camera_yaml)
    if (camera.width, camera.height) != (width, height):
        raise InputError(
            f"'{camera_yaml}' calibrates {camera.width}x{camera.height}, but the images are "
            f'{width}x{height}: calibrate at this size, or scale the images back to the calibrated one.'
        )
    return camera


def _natural(path: Path) -> list:
    """Sort key under which img2 comes before img10."""
    return [(0, int(part), '') if part.isdigit() else (1, 0, part) for part in re.split(r'(\d+)', path.name)]
