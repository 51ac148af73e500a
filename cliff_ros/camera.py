"""The camera of one image: from raw pixels to rays and back.

Raw pixels are those of the image as received; pixel centers lie at integers (ROS, OpenCV). The optical frame
is REP-103's: x right, y down, z forward.

Everything downstream thinks in the *virtual pinhole*: same optical center and axes, square pixels
(``f = sqrt(fx fy)``), principal point of K, no distortion. Nothing is ever rectified as a whole: points go
through ``undistort`` and ``distort``, crops are sampled through the lens (``cliff_ros.crop.views``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cliff_ros.errors import InputError
from cliff_ros.files import read_yaml, write_bytes
from cliff_ros.lens import BrownConrady, KannalaBrandt, Lens, Pinhole

_COEFFICIENTS = {'plumb_bob': (0, 4, 5), 'rational_polynomial': (4, 5, 8, 12, 14), 'equidistant': (4,)}
_SHORTEST_FOCAL, _LONGEST_FOCAL, _FURTHEST_CENTER = 1e-3, 1e5, 1e4
_LARGEST_COEFFICIENT = 1e6
_UNCALIBRATED = (
    '{} is all zero, so the camera is not calibrated: calibrate it (camera_calibration) and'
    ' publish the result in CameraInfo, or use the image as uncalibrated.'
)


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera, describing the image as received.

    width, height: of that image [px].
    K: (3, 3) intrinsic matrix [px].
    distortion_model: ``plumb_bob``, ``rational_polynomial`` or ``equidistant`` (as in CameraInfo).
    d: its coefficients, in OpenCV's order; none, or a polynomial of zeros, means no distortion.
    R: (3, 3) rectifying rotation, or None. As everywhere in ROS (image_geometry, stereo_image_proc), the
        optical frame has the *rectified* axes: rays are turned by R.
    P: (3, 4) projection of the rectified image, or None; carried along, not used for the raw image.

    Raises InputError for numbers that describe no camera.
    """

    width: int
    height: int
    K: np.ndarray
    distortion_model: str = 'plumb_bob'
    d: Any = ()  # given as any sequence, an array from then on
    R: np.ndarray | None = None
    P: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, shape in (('K', (3, 3)), ('d', (-1,)), ('R', (3, 3)), ('P', (3, 4))):
            value = getattr(self, name)
            if value is not None or name in 'Kd':
                object.__setattr__(self, name, _numbers(name, value, shape))
        for name, value in zip(('width', 'height'), _numbers('size', self.size, (2,)), strict=True):
            object.__setattr__(self, name, int(value))
        _check(self)

    @classmethod
    def from_info(cls, info: Any, rectified: bool = False, image_size: tuple[int, int] | None = None) -> Camera:
        """The camera of a ``sensor_msgs/CameraInfo`` (any object with its fields).

        rectified: the image is the rectified one (``image_rect``): P describes it, nothing distorts it.
        image_size: (width, height) of the image received, checked against the message.

        K and P are for the full, unbinned sensor; ``roi`` is cut in those pixels, then binned (REP-104). A
        binned pixel is centered on the pixels it combines, so ``u' = (u - x_offset + 0.5) / binning - 0.5``
        (image_geometry leaves the half pixels out: a quarter of a pixel at 2x2).
        """
        K, P, R = _numbers('K', info.k, (3, 3)), _numbers('P', info.p, (3, 4)), _numbers('R', info.r, (3, 3))
        if not (P if rectified else K).any():
            raise InputError(_UNCALIBRATED.format('P' if rectified else 'K'), 'camera_uncalibrated')
        roi = info.roi
        x_bin, y_bin = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
        width, height = int(roi.width or info.width), int(roi.height or info.height)
        if info.width and (roi.x_offset + width > info.width or roi.y_offset + height > info.height):
            raise InputError(
                f'CameraInfo.roi ({width}x{height} at {roi.x_offset},{roi.y_offset}) reaches outside the'
                f' {info.width}x{info.height} sensor: correct roi, in unbinned pixels, or set it to zero.',
                'camera_roi',
            )
        width, height = width // x_bin, height // y_bin
        if image_size is not None and tuple(image_size) != (width, height):
            raise InputError(
                f'the image is {image_size[0]}x{image_size[1]} but CameraInfo describes {width}x{height}:'
                ' publish the CameraInfo of this image (a resized image needs its own K).',
                'camera_size',
            )
        received = np.array(
            [
                [1 / x_bin, 0, (0.5 - roi.x_offset) / x_bin - 0.5],
                [0, 1 / y_bin, (0.5 - roi.y_offset) / y_bin - 0.5],
                [0, 0, 1],
            ]
        )
        projection = received @ P if P.any() else None
        if rectified and projection is not None:
            return cls(width, height, projection[:, :3], P=projection)
        model = info.distortion_model or ('plumb_bob' if not np.any(info.d) else '')
        return cls(width, height, received @ K, model, info.d, R if R.any() else None, projection)

    @classmethod
    def uncalibrated(cls, width: int, height: int) -> Camera:
        """The guess of CLIFF's authors: ``f = sqrt(W^2 + H^2)``, principal point in the middle of the image.

        Their middle (W/2, H/2) counts from the corner of the first pixel; from its center, as here, it is
        half a pixel less.
        """
        f = float(np.hypot(width, height))
        return cls(width, height, np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]]))

    @classmethod
    def from_yaml(cls, path: str | Path) -> Camera:
        """Read the YAML file that camera_calibration and camera_info_manager write."""
        path = Path(path)
        try:
            content = read_yaml(path)
        except InputError:
            raise
        except OSError as error:
            raise InputError(
                f'cannot read the camera file {path} ({error.strerror}): give the YAML that camera_calibration wrote.'
            ) from error
        except (ValueError, RecursionError) as error:  # also: a date that there is not
            raise InputError(f'{path} is not YAML: give the YAML that camera_calibration wrote ({error}).') from error
        try:
            matrix = {
                key: content[f'{key}_matrix']['data'] if f'{key}_matrix' in content else None
                for key in ('rectification', 'projection')
            }
            return cls(
                content['image_width'],
                content['image_height'],
                content['camera_matrix']['data'],
                content.get('distortion_model', 'plumb_bob'),
                content.get('distortion_coefficients', {'data': ()})['data'],
                matrix['rectification'],
                matrix['projection'],
            )
        except (LookupError, TypeError, AttributeError, OverflowError) as error:
            raise InputError(
                f'{path} is not a camera calibration (problem with {error}): it needs image_width,'
                ' image_height, camera_matrix and distortion_coefficients, as camera_calibration writes them.'
            ) from error

    def to_yaml(self, path: str | Path, name: str = 'camera') -> None:
        """Write what ``from_yaml``, camera_info_manager and image_proc read."""
        P = self.P if self.P is not None else np.column_stack([self.K, np.zeros(3)])
        R = self.R if self.R is not None else np.eye(3)

        def matrix(value: np.ndarray) -> dict[str, Any]:
            value = np.atleast_2d(value)
            return {'rows': value.shape[0], 'cols': value.shape[1], 'data': value.ravel().tolist()}

        write_bytes(
            path,
            yaml.safe_dump(
                {
                    'image_width': self.width,
                    'image_height': self.height,
                    'camera_name': name,
                    'camera_matrix': matrix(self.K),
                    'distortion_model': self.distortion_model,
                    'distortion_coefficients': matrix(self.d),
                    'rectification_matrix': matrix(R),
                    'projection_matrix': matrix(P),
                },
                sort_keys=False,
                default_flow_style=None,
            ).encode(),
        )

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) [px]."""
        return self.width, self.height

    @cached_property
    def f(self) -> float:
        """Focal length of the virtual pinhole [px]."""
        return float(np.sqrt(self.K[0, 0] * self.K[1, 1]))

    @property
    def cx(self) -> float:
        """Principal point, from the center of the first column [px]."""
        return float(self.K[0, 2])

    @property
    def cy(self) -> float:
        """Principal point, from the center of the first row [px]."""
        return float(self.K[1, 2])

    @cached_property
    def lens(self) -> Lens:
        """How the lens bends rays."""
        if self.distortion_model == 'equidistant':
            return KannalaBrandt(self.d)
        return BrownConrady(self.d) if np.any(self.d) else Pinhole()

    @cached_property
    def is_projective(self) -> bool:
        """Straight lines stay straight: the raw image is a homography of the virtual one."""
        return isinstance(self.lens, Pinhole)

    @cached_property
    def is_pinhole(self) -> bool:
        """The raw image is the virtual one."""
        square = np.isclose(self.K[0, 0], self.K[1, 1], rtol=1e-9) and self.K[0, 1] == 0
        return bool(self.is_projective and square and self.R is None)

    def ray(self, raw: np.ndarray) -> np.ndarray:
        """Raw pixels (..., 2) to unit directions (..., 3) of the optical frame; NaN where there is none."""
        raw = np.asarray(raw, np.float64)
        points = raw.reshape(-1, 2) @ self._K_inverse[:2, :2].T + self._K_inverse[:2, 2]
        rays = self.lens.unbend(points)
        if self.R is not None:
            rays = rays @ self.R.T
        return rays.reshape(*raw.shape[:-1], 3)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the optical frame to raw pixels (..., 2); NaN where the lens cannot see them."""
        points = np.asarray(points, np.float64)
        rays = points.reshape(-1, 3)
        if self.R is not None:
            rays = rays @ self.R
        raw = self.lens.bend(rays) @ self.K[:2, :2].T + self.K[:2, 2]
        return raw.reshape(*points.shape[:-1], 2)

    def undistort(self, raw: np.ndarray) -> np.ndarray:
        """Raw pixels (..., 2) to pixels of the virtual pinhole; NaN at 90 degrees off axis and beyond."""
        ray = self.ray(raw)
        depth = np.where(ray[..., 2:] > 1e-9, ray[..., 2:], np.nan)
        return self.f * ray[..., :2] / depth + self.K[:2, 2]

    def distort(self, virtual: np.ndarray) -> np.ndarray:
        """Pixels of the virtual pinhole (..., 2) to raw pixels."""
        tangents = (np.asarray(virtual, np.float64) - self.K[:2, 2]) / self.f
        return self.project(np.concatenate([tangents, np.ones_like(tangents[..., :1])], axis=-1))

    @cached_property
    def _K_inverse(self) -> np.ndarray:
        return np.linalg.inv(self.K)


def _numbers(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.array(value, np.float64).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        wanted = 'a list of' if shape == (-1,) else ' x '.join(map(str, shape))
        raise InputError(
            f'camera {name} must be {wanted} numbers, got {value!r:.80}: correct the calibration.', 'camera_numbers'
        ) from error
    if not np.isfinite(array).all():
        raise InputError(
            f'camera {name} holds a number that is not finite: calibrate the camera again.', 'camera_numbers'
        )
    array.flags.writeable = False
    return array


def _check(camera: Camera) -> None:
    K = camera.K
    if camera.width < 1 or camera.height < 1:
        raise InputError(
            f'a camera image cannot be {camera.width}x{camera.height} pixels: give the size of'
            ' the image in CameraInfo.',
            'camera_size',
        )
    if not K.any():
        raise InputError(_UNCALIBRATED.format('K'), 'camera_uncalibrated')
    if K[0, 0] <= 0 or K[1, 1] <= 0 or not np.array_equal(K[[1, 2, 2, 2], [0, 0, 1, 2]], [0, 0, 0, 1]):
        raise InputError(
            f'K = {K.tolist()} is no camera matrix: it must read [fx s cx; 0 fy cy; 0 0 1] with'
            ' fx, fy > 0; calibrate the camera again.',
            'camera_matrix',
        )
    # In image sizes; numbers beyond are no camera's, and overflow in what follows.
    focal, offset = K[[0, 1], [0, 1]] / max(camera.size), np.abs(K[[0, 0, 1], [1, 2, 2]]) / max(camera.size)
    if focal.min() < _SHORTEST_FOCAL or focal.max() > _LONGEST_FOCAL or offset.max() > _FURTHEST_CENTER:
        raise InputError(
            f'K = {K.tolist()} cannot be that of a {camera.width}x{camera.height} image: calibrate the camera again.',
            'camera_matrix',
        )
    if camera.d.size and np.abs(camera.d).max() > _LARGEST_COEFFICIENT:
        raise InputError(
            f'the distortion coefficients {camera.d.tolist()} are too large to be those of a lens:'
            ' calibrate the camera again.',
            'camera_distortion',
        )
    counts = _COEFFICIENTS.get(camera.distortion_model)
    if counts is None:
        raise InputError(
            f'the distortion model {camera.distortion_model!r} is unknown: calibrate the camera'
            f' with one of {", ".join(_COEFFICIENTS)}, or send the rectified image.',
            'camera_distortion',
        )
    if camera.d.size not in counts:
        raise InputError(
            f'{camera.distortion_model} takes {" or ".join(map(str, counts))} coefficients, not'
            f' {camera.d.size}: correct d or the distortion model.',
            'camera_distortion',
        )
    if camera.R is not None:
        if np.abs(camera.R @ camera.R.T - np.eye(3)).max() > 1e-3 or np.linalg.det(camera.R) < 0:
            raise InputError(
                'R is not a rotation: publish the identity, or the rectifying rotation of a stereo calibration.',
                'camera_rotation',
            )
        if np.abs(camera.R - np.eye(3)).max() < 1e-12:
            object.__setattr__(camera, 'R', None)
