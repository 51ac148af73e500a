"""The vocabulary of the package: what travels from an image to people.

The same names are used in code, messages and documentation. All are frozen; arrays are numpy.
Frames: *raw pixels* are those of the image as received, pixel centres at integers (ROS, OpenCV);
*optical frame* is REP-103's: x right, y down, z forward, metres.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cliff_ros.camera import Camera


class TrackState(IntEnum):
    """Same values as in ``cliff_ros/Smpl.msg``."""

    NEW = 0
    OK = 1
    COASTING = 2


@dataclass(frozen=True)
class Frame:
    """One image and the camera that took it.

    image: (H, W, 3) uint8, channel order in ``order``.
    order: ``"rgb"`` or ``"bgr"``.
    stamp: seconds (of whatever clock the source uses).
    frame_id: name of the camera's optical frame.
    """

    image: np.ndarray
    camera: Camera
    stamp: float = 0.0
    frame_id: str = 'camera_optical_frame'
    order: str = 'rgb'

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f'Frame.image must be (H, W, 3) uint8, got {self.image.shape} {self.image.dtype}')
        if self.order not in ('rgb', 'bgr'):
            raise ValueError(f"Frame.order must be 'rgb' or 'bgr', got {self.order!r}")


@dataclass(frozen=True)
class Box:
    """Where a person is in the image.

    xyxy: (4,) float, raw pixels: left, top, right, bottom. May reach beyond the image.
    id: None until a tracker, or whoever made the box, gave it one.
    """

    xyxy: np.ndarray
    score: float = 1.0
    id: int | None = None

    def __post_init__(self) -> None:
        xyxy = np.asarray(self.xyxy, np.float64).reshape(-1)
        if xyxy.shape != (4,) or not np.isfinite(xyxy).all() or (xyxy[2:] <= xyxy[:2]).any():
            raise ValueError(f'Box.xyxy must be 4 finite numbers, x0 < x1 and y0 < y1, got {self.xyxy}')
        object.__setattr__(self, 'xyxy', xyxy)


@dataclass(frozen=True)
class Person:
    """One person in one image.

    rotations: (24, 3, 3) parent-relative, SMPL's order; [0] is the root in the optical frame.
    translation: (3,) SMPL ``transl`` in the optical frame [m] (the pelvis is ``joints[0]``).
    joints: (24, 3) [m] and vertices: (V, 3) [m], optical frame; vertices is None where not asked for.
    joints2d: (24, 2) raw pixels, distortion included.
    velocity: (3,) of the pelvis [m/s].
    age: seconds since the id was born.
    """

    id: int
    score: float
    box: np.ndarray
    betas: np.ndarray
    rotations: np.ndarray
    translation: np.ndarray
    joints: np.ndarray
    joints2d: np.ndarray
    vertices: np.ndarray | None = None
    track_state: TrackState = TrackState.NEW
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(3))
    age: float = 0.0

    def with_(self, **changes) -> Person:
        """A copy with some fields changed."""
        return replace(self, **changes)


class People(list[Person]):
    """The people of one image, in the order of their ids, and what it cost to find them.

    timings: stage -> ms. num_crops: how many crops the network saw, second looks left out.
    """

    def __init__(
        self, people: Iterable[Person] = (), timings: Mapping[str, float] | None = None, num_crops: int = 0
    ) -> None:
        super().__init__(people)
        self.timings, self.num_crops = dict(timings or {}), num_crops
