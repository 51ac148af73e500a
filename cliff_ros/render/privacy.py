"""Faces, or whole people, covered in an image before anybody else gets it.

Covered is everybody who was found, and what is predicted of those who were not seen for a moment; whoever was not found
is not. What is covered gets the one color that it has on average: nothing of it can be brought back.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import cv2
import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.people import Person

OFF, FACES, PEOPLE = MODES = ('off', 'faces', 'people')
_NECK, _HEAD = 12, 15
# SMPL's head joint is at the skull's base. The rest is room for hair, and for a head that is some centimeters away from
# where it was estimated.
_ABOVE_JOINT, _RADIUS = 0.10, 0.21  # [m]
_MARGIN, _LEAST_MARGIN = 0.08, 8.0  # around a person: of the box's size, and [px]
_LEAST_RADIUS = 6.0  # [px]


def add_argument(parser: argparse.ArgumentParser) -> None:
    """``--privacy`` of a command."""
    parser.add_argument(
        '--privacy', choices=MODES, default=OFF, help='cover faces or whole people in every image, before anything else'
    )


def sentence(mode: str) -> str:
    """What is covered, in words; empty where nothing is."""
    return {FACES: 'Faces are covered.', PEOPLE: 'People are covered.'}.get(mode, '')


def stricter(a: str, b: str) -> str:
    """Of two modes the one that covers more."""
    return max(a, b, key=MODES.index)


def covered(image: np.ndarray, people: Sequence[Person], camera: Camera, mode: str) -> np.ndarray:
    """The image (H, W, 3) uint8 with people covered: a copy, or the image itself where there is nothing to cover.

    mode: one of MODES. Raises ValueError for another: an image that was to be covered never passes by mistake.
    """
    if mode not in MODES:
        raise ValueError(f'privacy is one of {", ".join(MODES)}, not {mode!r}')
    if mode == OFF or not people:
        return image
    image = np.ascontiguousarray(image).copy()
    for person in people:
        place = _head(person, camera) if mode == FACES else None
        if place is None:  # the whole, too, where nobody can say where the head is
            _cover_box(image, person)
        else:
            _cover_circle(image, *place)
    return image


def _head(person: Person, camera: Camera) -> tuple[np.ndarray, float] | None:
    """Center and radius [px] of what covers the head; None where the lens does not see it."""
    neck, head = np.asarray(person.joints, np.float64)[[_NECK, _HEAD]]
    way = head - neck
    length = np.linalg.norm(way)
    if not np.isfinite(length):
        return None
    center = head + (_ABOVE_JOINT / length * way if length > 1e-6 else 0)
    if center[2] <= _RADIUS:
        return None
    # Across the line of sight: how large it looks there, also near the border of a wide lens.
    across = np.cross(center, (0.0, 1.0, 0.0))
    across = across / (np.linalg.norm(across) + 1e-12)
    down = np.cross(across, center) / np.linalg.norm(center)
    points = camera.project(np.array([center, *(center + _RADIUS * side for side in (across, -across, down, -down))]))
    if not np.isfinite(points).all():
        return None
    return points[0], max(_LEAST_RADIUS, float(np.linalg.norm(points[1:] - points[0], axis=1).max()))


def _cover_circle(image: np.ndarray, center: np.ndarray, radius: float) -> None:
    height, width = image.shape[:2]
    reach = radius + 1
    left, top = np.clip(np.floor(center - reach), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(center + reach) + 1, 0, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return
    window = image[top:bottom, left:right]
    y, x = np.mgrid[top:bottom, left:right]
    inside = (x - center[0]) ** 2 + (y - center[1]) ** 2 <= radius**2
    if inside.any():
        window[inside] = window[inside].mean(0).round().astype(np.uint8)


def _cover_box(image: np.ndarray, person: Person) -> None:
    height, width = image.shape[:2]
    corners = np.asarray(person.box, np.float64).reshape(2, 2)
    joints = np.asarray(person.joints2d, np.float64)
    joints = joints[np.isfinite(joints).all(1)]
    low, high = np.vstack([corners, joints]).min(0), np.vstack([corners, joints]).max(0)
    margin = np.maximum(_MARGIN * (high - low), _LEAST_MARGIN)
    left, top = np.clip(np.floor(low - margin), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(high + margin) + 1, 0, (width, height)).astype(int)
    if left < right and top < bottom:
        image[top:bottom, left:right] = cv2.mean(image[top:bottom, left:right])[:3]
