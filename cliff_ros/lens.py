"""How a lens bends rays: from directions to normalized image coordinates and back.

Normalized image coordinates are what K turns into pixels: ``u = fx x + cx, v = fy y + cy``.
Three lenses, all with the same two methods:

- ``Pinhole``: ``x = X / Z``;
- ``BrownConrady``: OpenCV's polynomial (ROS ``plumb_bob`` and ``rational_polynomial``);
- ``KannalaBrandt``: OpenCV's fisheye (ROS ``equidistant``), good beyond 90 degrees off axis, where OpenCV's
  own functions, which divide by Z, are not.

A calibrated polynomial is only meaningful up to its first fold, where the image would turn back on
itself. Beyond the fold both directions return NaN: no pixel is better than a ghost.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import cv2
import numpy as np
from numpy.polynomial import Polynomial

# In normalized coordinates: about a thousandth of a pixel for any usual focal length.
_TOLERANCE = 1e-6
_NEWTON_STEPS = 12
_TABLE_SIZE = 512
# A direction this close to 90 degrees off axis has no place on a plane.
_WIDEST_TANGENT = np.tan(np.radians(89.9))


class Lens(Protocol):
    """A central projection: every ray passes through one point."""

    def bend(self, rays: np.ndarray) -> np.ndarray:
        """Directions (N, 3), any length, to normalized image points (N, 2); NaN where unseen."""

    def unbend(self, points: np.ndarray) -> np.ndarray:
        """Normalized image points (N, 2) to unit directions (N, 3); NaN where no ray ends there."""


class Pinhole:
    """No distortion."""

    def bend(self, rays: np.ndarray) -> np.ndarray:
        """Rays (N, 3) to points (N, 2); NaN where Z is not above zero."""
        depth = np.where(rays[:, 2:] > 0, rays[:, 2:], np.nan)
        return rays[:, :2] / depth

    def unbend(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) to unit rays (N, 3); every finite point has one."""
        return _unit(points)


class BrownConrady:
    """OpenCV's radial, tangential, rational, thin-prism and tilted-sensor model.

    coefficients: k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tau_x tau_y]]]], as in ``cv2.projectPoints``.
    """

    def __init__(self, coefficients: np.ndarray) -> None:
        self.coefficients = np.asarray(coefficients, np.float64)

    def bend(self, rays: np.ndarray) -> np.ndarray:
        """Rays (N, 3) to points (N, 2); NaN behind the camera and beyond ``fold``."""
        tangents = Pinhole().bend(rays)
        unseen = ~(np.hypot(tangents[:, 0], tangents[:, 1]) <= self.fold)
        points, _ = _distort(np.where(unseen[:, None], 0.0, tangents), self.coefficients)
        points[unseen] = np.nan
        return points

    def unbend(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) to unit rays (N, 3), by Newton's method; NaN where no ray inside the fold leads there."""
        finite = np.isfinite(points).all(axis=1)
        target = np.where(finite[:, None], points, 0.0)
        tangents = self._radial_guess(target)
        for _ in range(_NEWTON_STEPS):
            image, slope = _distort(tangents, self.coefficients)
            before = tangents
            tangents = self._inside_fold(before + _solve(slope, target - image))
            if np.abs(tangents - before).max(initial=0.0) < 1e-9:  # the next step would be its square
                break
        image, slope = _distort(tangents, self.coefficients)
        found = finite & (np.abs(target - image).max(axis=1) < _TOLERANCE) & (np.linalg.det(slope) > 0)
        rays = _unit(tangents)
        rays[~found] = np.nan
        return rays

    @cached_property
    def fold(self) -> float:
        """The tangent of the off-axis angle up to which the radial part grows."""
        k = np.zeros(8)
        k[: min(self.coefficients.size, 8)] = self.coefficients[:8]
        square = Polynomial([0, 1])
        above = Polynomial([1, k[0], k[1], k[4]])
        below = Polynomial([1, k[5], k[6], k[7]])
        slope = (above + 2 * square * above.deriv()) * below - 2 * square * above * below.deriv()
        limit = min(_first_positive_root(slope), _first_positive_root(below))
        return min(np.sqrt(limit), _WIDEST_TANGENT)

    @cached_property
    def _radial_table(self) -> tuple[np.ndarray, np.ndarray]:
        """Distorted and true radius, both rising; even steps of angle so that wide lenses are covered."""
        true = np.tan(np.linspace(0.0, np.arctan(self.fold), _TABLE_SIZE))
        radial = self.coefficients.copy()
        radial[2:4] = 0
        radial[8:] = 0
        axis = np.stack([true, np.zeros_like(true)], axis=1)
        return _distort(axis, radial)[0][:, 0], true

    def _radial_guess(self, target: np.ndarray) -> np.ndarray:
        radius = np.hypot(target[:, 0], target[:, 1])
        true = np.interp(radius, *self._radial_table)
        return target * np.divide(true, radius, out=np.ones_like(true), where=radius > 0)[:, None]

    def _inside_fold(self, tangents: np.ndarray) -> np.ndarray:
        radius = np.hypot(tangents[:, 0], tangents[:, 1])
        return tangents * np.minimum(1.0, self.fold / np.maximum(radius, 1e-12))[:, None]


class KannalaBrandt:
    """Fisheye: ``theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8)``.

    theta is the angle off the optical axis [rad], theta_d the distance from the image's center.
    """

    def __init__(self, coefficients: np.ndarray) -> None:
        k1, k2, k3, k4 = (float(k) for k in coefficients)
        self._radius = Polynomial([0, 1, 0, k1, 0, k2, 0, k3, 0, k4])
        self._slope = self._radius.deriv()
        self.fold = min(_first_positive_root(self._slope), np.pi)
        self._table_theta = np.linspace(0.0, self.fold, _TABLE_SIZE)
        self._table_radius = self._radius(self._table_theta)

    def bend(self, rays: np.ndarray) -> np.ndarray:
        """Rays (N, 3) to points (N, 2), also beyond 90 degrees; NaN beyond ``fold`` and straight behind."""
        across = np.hypot(rays[:, 0], rays[:, 1])
        theta = np.arctan2(across, rays[:, 2])
        # Straight ahead is the center; straight behind has no azimuth and so no place.
        unseen = ~(theta <= self.fold) | ((across == 0) & ~(rays[:, 2] > 0))
        ratio = np.divide(self._radius(theta), across, out=np.zeros_like(across), where=across > 0)
        points = rays[:, :2] * ratio[:, None]
        points[unseen] = np.nan
        return points

    def unbend(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) to unit rays (N, 3), by Newton's method on theta; NaN farther out than ``fold`` reaches."""
        radius = np.hypot(points[:, 0], points[:, 1])
        target = np.minimum(radius, self._table_radius[-1])
        theta = np.interp(target, self._table_radius, self._table_theta)
        for _ in range(_NEWTON_STEPS):
            slope = self._slope(theta)
            step = np.divide(target - self._radius(theta), slope, out=np.zeros_like(theta), where=slope > 0)
            if not np.abs(step).max(initial=0.0) > 1e-12:
                break
            theta = np.clip(theta + step, 0.0, self.fold)
        across = np.divide(np.sin(theta), radius, out=np.ones_like(theta), where=radius > 0)
        rays = np.column_stack([points * across[:, None], np.cos(theta)])
        rays[~(np.abs(self._radius(theta) - radius) < _TOLERANCE)] = np.nan
        return rays


def _distort(tangents: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """OpenCV's polynomial: tangents (N, 2) to image points (N, 2) and their derivative (N, 2, 2)."""
    if not len(tangents):
        return np.empty((0, 2)), np.empty((0, 2, 2))
    on_plane = np.column_stack([tangents, np.ones(len(tangents))])
    origin = np.zeros(3)
    points, jacobian = cv2.projectPoints(on_plane, origin, origin, np.eye(3), coefficients)
    # Moving the camera sideways moves a point at depth 1 by as much: those columns are the derivative.
    return points.reshape(-1, 2), jacobian.reshape(len(tangents), 2, -1)[:, :, 3:5]


def _solve(slope: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Newton steps (N, 2); nothing where the slope has no inverse."""
    a, b, c, d = slope[:, 0, 0], slope[:, 0, 1], slope[:, 1, 0], slope[:, 1, 1]
    determinant = a * d - b * c
    inverse = np.divide(1.0, determinant, out=np.zeros_like(a), where=np.abs(determinant) > 1e-12)
    step = np.stack([d * error[:, 0] - b * error[:, 1], a * error[:, 1] - c * error[:, 0]], axis=1)
    return step * inverse[:, None]


def _unit(tangents: np.ndarray) -> np.ndarray:
    rays = np.column_stack([tangents, np.ones(len(tangents))])
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _first_positive_root(polynomial: Polynomial) -> float:
    # A leading coefficient next to nothing has its root at infinity, and overflows on the way there.
    roots = polynomial.trim(1e-30 * np.abs(polynomial.coef).max()).roots()
    real = np.abs(roots.imag) < 1e-9 * np.maximum(1.0, np.abs(roots.real))
    return float(roots.real[real & (roots.real > 1e-12)].min(initial=np.inf))
