"""The camera of an image, from CameraInfo as it came over the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cliff_ros.camera import Camera
from cliff_ros.errors import InputError
from cliff_ros.ros.inputs.wire import read_camera_info
from cliff_ros.ros.runtime.complaints import shortened
from cliff_ros.ros.runtime.settings import CliffSettings

_AFTER_STAMP = 12  # encapsulation (4), seconds (4), nanoseconds (4): all that differs between CameraInfos


class Calibration:
    """Turns CameraInfo into a Camera once, not for every image: it hardly ever changes."""

    def __init__(self, settings: CliffSettings, complain: Callable[[str, str], None]) -> None:
        self._settings = settings
        self._complain = complain
        self._key: tuple[Any, ...] | None = None
        self._camera: Camera | None = None

    def camera(self, info: bytes | None, frame_id: str, size: tuple[int, int]) -> Camera:
        """The camera of an image of this frame and size (width, height).

        info: a serialized CameraInfo, None for an uncalibrated camera. Raises InputError where it does not
        fit the image or describes no camera.
        """
        key = (None if info is None else info[_AFTER_STAMP:], frame_id, size)
        if self._camera is None or key != self._key:
            self._camera = self._guess(size) if info is None else self._read(info, frame_id, size)
            self._key = key
        elif info is None:
            self._guess(size)
        return self._camera

    def _read(self, raw: bytes, frame_id: str, size: tuple[int, int]) -> Camera:
        info = read_camera_info(raw)
        if info.frame_id != frame_id:
            raise InputError(
                f'the image is in frame {shortened(frame_id)} but its CameraInfo in {shortened(info.frame_id)}: have '
                "the camera driver use its optical frame for both, or remap camera_info to this camera's",
                'info_frame',
            )
        matrix = info.p if self._settings.image_is_rectified else info.k
        if self._settings.uncalibrated_fallback and not any(matrix):
            return self._guess(size)
        return Camera.from_info(info, self._settings.image_is_rectified, size)

    def _guess(self, size: tuple[int, int]) -> Camera:
        camera = Camera.uncalibrated(*size)
        self._complain(
            'uncalibrated',
            (
                f'The camera is not calibrated: a focal length of {camera.f:.0f} px is assumed, so distances '
                'are off by the factor by which it is wrong; calibrate it (camera_calibration) and publish '
                'CameraInfo.'
            ),
        )
        return camera
