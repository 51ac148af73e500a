"""What the network sees of one person: where to look (``view_of``) and the pixels (``crop``).

A *view* is a pinhole image of the person with square pixels and no distortion. Usually it is the camera's own
virtual pinhole. A person whom no pinhole image could show well (far off the axis of a fisheye) is seen
through a pinhole turned towards them, and one from a camera mounted on its side through a pinhole turned
upright; ``View`` then brings the result back to the camera's optical frame.

Only the crop's own pixels are ever computed, straight from the frame as received.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.crop import sampling
from cliff_ros.errors import InputError
from cliff_ros.people import Box

# [deg] A flat image stretches 1/cos^2 outwards: fourfold at 60 degrees, where turning the view becomes better.
MAX_OFF_AXIS = 60.0
# Nobody who stands more than this to the side of the middle of their own box can be drawn flat.
_MAX_IN_VIEW = np.radians(75.0)
# The path of a crop's pixels through a lens is smooth: a polynomial through so many nodes each way follows it
# to a hundredth of a pixel of the crop, for a person who fills a fisheye image too.
_NODES = 16
_STEP = 4
# In image sizes; no box within an image needs more than 1.5. Beyond, the crop is black but for a few pixels,
# and not worth a copy that large.
_LARGEST_RECTANGLE = 2
_EYE = np.eye(3)
# A box's inscribed ellipse; the multiple of 4 has it touch the middle of each side.
_ANGLES = np.arange(32) * (2 * np.pi / 32)
_ELLIPSE = 0.5 * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


@dataclass(frozen=True)
class CropSpec:
    """What a network wants to be fed.

    height, width: of the crop [px].
    margin: crop height over box height, for a box of the crop's proportions.
    antialias: average the pixels that fall into one where the crop shrinks the image at least twofold (else
        bilinear sampling, as CLIFF's authors do).
    integer_rectangle: the authors' preprocessing to the letter: box coordinates count from the corner of the
        first pixel instead of its center, and the rectangle is rounded to whole pixels.
    turn_beyond: angle off the optical axis [deg] beyond which a person is seen through a view turned toward them, in
        which they stand on the axis; 0: always. Where a network was trained on people nearer to the axis, it does not
        know what a location farther out means.
    """

    height: int
    width: int
    margin: float = 1.1
    antialias: bool = False
    integer_rectangle: bool = False
    turn_beyond: float = MAX_OFF_AXIS


@dataclass(frozen=True, eq=False)
class View:
    """How the network sees one person.

    rotation: (3, 3), view <- camera's optical frame; about the optical center, so points only turn.
    focal, cx, cy: of the view's pinhole [px].
    center: (2,) middle of the crop, size: its height [px of the view].
    """

    rotation: np.ndarray
    focal: float
    cx: float
    cy: float
    center: np.ndarray
    size: float

    @cached_property
    def is_straight(self) -> bool:
        """Whether the view's axes are the optical frame's."""
        return bool((self.rotation == _EYE).all())

    @property
    def location(self) -> np.ndarray:
        """(3,) where the crop lies in the field of view: CLIFF Eq. 5, [(x - cx) / f, (y - cy) / f, b / f]."""
        return np.array([self.center[0] - self.cx, self.center[1] - self.cy, self.size]) / self.focal

    @cached_property
    def K(self) -> np.ndarray:
        """(3, 3) intrinsic matrix of the view."""
        return np.array([[self.focal, 0, self.cx], [0, self.focal, self.cy], [0, 0, 1]])

    def crop_to_view(self, spec: CropSpec) -> np.ndarray:
        """(3, 3) homogeneous pixels of the crop to pixels of the view; both have centers at integers."""
        if spec.integer_rectangle:
            # From corners, as the authors count, to centers, as everywhere here.
            begin, end = (side - 0.5 for side in self.integer_rectangle(spec))
        else:
            begin, end = self._rectangle(spec)
        scale = (end - begin) / (spec.width, spec.height)
        # The crop covers its pixels' areas: its outer edge lies half a pixel out of the first center.
        x, y = begin + scale / 2
        return np.array([[scale[0], 0, x], [0, scale[1], y], [0, 0, 1]])

    def integer_rectangle(self, spec: CropSpec) -> tuple[np.ndarray, np.ndarray]:
        """First (x, y) whole pixel of the crop, and the first one beyond it; halves go to the even."""
        begin, end = self._rectangle(spec)
        return np.rint(begin + 0.5).astype(int), np.rint(end + 0.5).astype(int)

    def _rectangle(self, spec: CropSpec) -> tuple[np.ndarray, np.ndarray]:
        half = 0.5 * self.size * np.array([spec.width / spec.height, 1.0])
        return self.center - half, self.center + half

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Points or directions (..., 3) of the view, in the camera's optical frame."""
        return points @ self.rotation.astype(points.dtype, copy=False)

    def pose_to_camera(
        self, root: np.ndarray, translation: np.ndarray, pelvis: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Root rotation (3, 3) and SMPL ``transl`` (3,) of a body, brought to the camera's optical frame.

        pelvis: (3,) the view's ``joints[0]``. SMPL turns about the pelvis J0 of the body at rest, not about
        the origin, so ``transl' = R (transl + J0) - J0``; transl + J0 is the pelvis.
        """
        rest = pelvis - translation
        return self.to_camera(root.swapaxes(-1, -2)).swapaxes(-1, -2), self.to_camera(pelvis) - rest


def view_of(box: Box, camera: Camera, spec: CropSpec, upright: int = 0) -> View:
    """The view of one person.

    upright: degrees by which the image must be turned clockwise for people to stand upright in it.
    Raises InputError where no part of the box is in the lens's field of view.
    """
    (view,) = views_of([box], camera, spec, upright)
    if view is None:
        middle = (box.xyxy[:2] + box.xyxy[2:]) / 2
        raise InputError(
            f'the box around {middle.round().tolist()} lies outside the view of the lens: drop it, or'
            ' check that the camera is calibrated for this image.'
        )
    return view


def views_of(boxes: Sequence[Box], camera: Camera, spec: CropSpec, upright: int = 0) -> list[View | None]:
    """The views of several people, who share the work of the lens; None where ``view_of`` would refuse the box."""
    xyxy = np.array([box.xyxy for box in boxes]).reshape(-1, 4) - (0.5 if spec.integer_rectangle else 0)
    centers, extents, rotation = (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2], _roll(upright)
    plain = [camera.is_pinhole and upright == 0 and _fits(one, camera, spec) for one in xyxy]
    # A person touches the sides of a box near their middles, not its corners: carry the inscribed ellipse.
    outlines = centers[:, None] + _ELLIPSE * extents[:, None]
    rays = outlines if all(plain) else camera.ray(outlines)
    return [
        _view(rotation, camera, centers[i], extents[i], spec)
        if plain[i]
        else _view_around(outlines[i], rays[i], rotation, camera, spec)
        for i in range(len(xyxy))
    ]


def crop(
    image: np.ndarray,
    camera: Camera,
    view: View,
    spec: CropSpec,
    order: str = 'rgb',
    out: np.ndarray | None = None,
    path: np.ndarray | None = None,
) -> np.ndarray:
    """The pixels of a view: (height, width, 3) uint8 RGB, black outside the image.

    image: (H, W, 3) uint8 as received, channels in ``order``; need not be contiguous along its rows.
    out: written to and returned where given; (height, width, 3) uint8, contiguous.
    path: (height, width, 2) of a lens that is not projective, where the caller has it.
    """
    size = (spec.width, spec.height)
    if uses_integer_rectangle(camera, view, spec):
        begin, end = view.integer_rectangle(spec)
        pixels = sampling.rectangle(image, begin, end, size, out)
    elif camera.is_projective and (to_raw := _homography(camera, view, spec)) is not None:
        pixels = sampling.warp(image, to_raw, size, spec.antialias, out)
    else:
        path = _path(camera, view, spec) if path is None else path
        pixels = sampling.remap(image, path, spec.antialias, out)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels) if order == 'bgr' else pixels


def crops(image: np.ndarray, camera: Camera, views: Sequence[View], spec: CropSpec, order: str = 'rgb') -> np.ndarray:
    """The pixels of several views, (N, height, width, 3) uint8 RGB: as ``crop`` cuts them, in less time."""
    out = np.empty((len(views), spec.height, spec.width, 3), np.uint8)
    paths = _paths(camera, views, spec) if len(views) and not camera.is_projective else [None] * len(views)
    for view, path, pixels in zip(views, paths, out, strict=True):
        crop(image, camera, view, spec, order, pixels, path)
    return out


def uses_integer_rectangle(camera: Camera, view: View, spec: CropSpec) -> bool:
    """Whether a crop is a rectangle of whole pixels, resized."""
    return bool(
        spec.integer_rectangle
        and camera.is_pinhole
        and view.is_straight
        and view.size < _LARGEST_RECTANGLE * max(camera.size)
    )


def sampling_path(camera: Camera, view: View, spec: CropSpec) -> np.ndarray:
    """(height, width, 2) float32: the raw pixel that each pixel of the crop shows.

    `sampling.NOWHERE` where the lens sees nothing. For those who sample by other means than ``crop``.
    """
    if not camera.is_projective or (to_raw := _homography(camera, view, spec)) is None:
        return _path(camera, view, spec)
    columns, rows = np.arange(spec.width), np.arange(spec.height)[:, None]
    path = np.empty((spec.height, spec.width, 2), np.float32)
    depth = to_raw[2, 0] * columns + to_raw[2, 1] * rows + to_raw[2, 2]
    for axis in (0, 1):
        path[..., axis] = (to_raw[axis, 0] * columns + to_raw[axis, 1] * rows + to_raw[axis, 2]) / depth
    return path


def _view_around(
    outline: np.ndarray, rays: np.ndarray, rotation: np.ndarray, camera: Camera, spec: CropSpec
) -> View | None:
    """The view that shows what has this outline, raw pixels (K, 2) with their rays (K, 3); None if unseen."""
    rays = _seen(outline, rays, camera)
    if not len(rays):
        return None
    if rays[:, 2].min() < np.cos(np.radians(spec.turn_beyond)):
        rotation = _look(rotation @ rays.mean(axis=0)) @ rotation
    points = _flatten(rays @ rotation.T) * camera.f + (camera.cx, camera.cy)
    low, high = points.min(axis=0), points.max(axis=0)
    return _view(rotation, camera, (low + high) / 2, high - low, spec)


def _view(rotation: np.ndarray, camera: Camera, center: np.ndarray, extent: np.ndarray, spec: CropSpec) -> View:
    size = spec.margin * max(extent[1], extent[0] * spec.height / spec.width)
    return View(rotation, camera.f, camera.cx, camera.cy, center, float(size))


def _fits(xyxy: np.ndarray, camera: Camera, spec: CropSpec) -> bool:
    """Whether the whole box lies near enough to the optical axis of a pinhole."""
    farthest = np.abs(xyxy.reshape(2, 2) - (camera.cx, camera.cy)).max(axis=0)
    return bool(np.hypot(*farthest) <= camera.f * np.tan(np.radians(spec.turn_beyond)))


def _seen(raw: np.ndarray, rays: np.ndarray, camera: Camera) -> np.ndarray:
    """The rays of those points that have one; points that the lens cannot see move into the image first."""
    lost = np.isnan(rays[:, 0])
    if not lost.any():
        return rays
    rays = rays.copy()
    rays[lost] = camera.ray(np.clip(raw[lost], 0, np.array(camera.size) - 1.0))
    return rays[~np.isnan(rays[:, 0])]


def _flatten(rays: np.ndarray) -> np.ndarray:
    """Tangents (N, 2) of unit rays (N, 3); those too far to the side, or behind, are pulled in."""
    if rays[:, 2].min() > np.cos(_MAX_IN_VIEW):
        return rays[:, :2] / rays[:, 2:]
    across = np.hypot(rays[:, 0], rays[:, 1])
    tangent = np.tan(np.minimum(np.arctan2(across, rays[:, 2]), _MAX_IN_VIEW))
    return rays[:, :2] * np.divide(tangent, across, out=np.zeros_like(across), where=across > 0)[:, None]


def _roll(degrees: int) -> np.ndarray:
    """Rotation of an image clockwise, about the optical axis; exact for quarter turns."""
    if degrees == 0:
        return _EYE
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    if degrees % 90 == 0:
        c, s = np.rint(c), np.rint(s)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _look(towards: np.ndarray) -> np.ndarray:
    """Rotation that turns the axis to a direction and keeps x level, so that people stay upright."""
    z = towards / np.linalg.norm(towards)
    x = np.cross([0.0, 1.0, 0.0], z)
    length = np.linalg.norm(x)
    x = x / length if length > 1e-6 else np.array([1.0, 0.0, 0.0])
    return np.stack([x, np.cross(z, x), z])


def _homography(camera: Camera, view: View, spec: CropSpec) -> np.ndarray | None:
    """(3, 3) crop pixels to raw pixels of an undistorted camera; None where the crop reaches behind it."""
    turn = view.rotation.T if camera.R is None else camera.R.T @ view.rotation.T
    to_raw = camera.K @ turn @ np.linalg.inv(view.K) @ view.crop_to_view(spec)
    depths = to_raw[2] @ _corners(spec)
    return to_raw if (depths > 0).all() else None


def _corners(spec: CropSpec) -> np.ndarray:
    """(3, 4) homogeneous pixels: top left, top right, bottom left, bottom right."""
    x, y = spec.width - 1.0, spec.height - 1.0
    return np.array([[0, x, 0, x], [0, 0, y, y], [1, 1, 1, 1]])


def _path(camera: Camera, view: View, spec: CropSpec) -> np.ndarray:
    """(height, width, 2) float32 raw pixels of every pixel of the crop, through the lens."""
    return _paths(camera, [view], spec)[0]


def _paths(camera: Camera, views: Sequence[View], spec: CropSpec) -> list[np.ndarray]:
    """The paths of several views, which share the work of the lens."""
    nodes = (1 - np.cos(np.linspace(0, np.pi, _NODES))) / 2
    coarse = _traces(camera, views, spec, nodes * (spec.width - 1), nodes * (spec.height - 1))
    return [
        _smooth_path(nodes_of_one, spec) if np.isfinite(nodes_of_one).all() else _broken_path(camera, view, spec)
        for view, nodes_of_one in zip(views, coarse, strict=True)
    ]


def _smooth_path(coarse: np.ndarray, spec: CropSpec) -> np.ndarray:
    """A path from its values at the nodes, (_NODES, _NODES, 2)."""
    down, across = _interpolation(spec.height), _interpolation(spec.width)
    wide = (across @ coarse).reshape(_NODES, -1)
    # Not `@`, whose BLAS spreads a product of this size over threads: tens of ms on a busy machine.
    return np.einsum('ij,jk->ik', down, wide).reshape(spec.height, spec.width, 2)


def _broken_path(camera: Camera, view: View, spec: CropSpec) -> np.ndarray:
    """A path through which runs the edge of what the lens sees, which no polynomial crosses: straight lines
    between nearer nodes, one of them beyond each side, and nothing next to a node that is not seen."""
    columns, rows = (np.arange(-0.5, np.ceil(count / _STEP) + 1) * _STEP - 0.5 for count in (spec.width, spec.height))
    path = cv2.resize(_trace(camera, view, spec, columns, rows), None, fx=_STEP, fy=_STEP)
    path = path[_STEP : _STEP + spec.height, _STEP : _STEP + spec.width]
    return np.nan_to_num(path, nan=sampling.NOWHERE)


@lru_cache
def _interpolation(count: int) -> np.ndarray:
    """(count, _NODES) float32: from values at Chebyshev's nodes to even steps (barycentric formula)."""
    angle = np.linspace(0, np.pi, _NODES)
    weight = np.where(np.arange(_NODES) % 2, -1.0, 1.0)
    weight[[0, -1]] /= 2
    distance = np.linspace(-1, 1, count)[:, None] + np.cos(angle)
    distance[np.abs(distance) < 1e-12] = 1e-12
    matrix = weight / distance
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def _trace(camera: Camera, view: View, spec: CropSpec, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(rows, columns, 2) float32 raw pixels of a grid of crop pixels; NaN where the lens cannot see."""
    return _traces(camera, [view], spec, columns, rows)[0]


def _traces(camera: Camera, views: Sequence[View], spec: CropSpec, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(N, rows, columns, 2): the traces of several views."""
    rays = np.ones((len(views), len(rows), len(columns), 3))
    for view, out in zip(views, rays, strict=True):
        to_view = view.crop_to_view(spec)
        out[..., 0] = (to_view[0, 0] * columns + to_view[0, 2] - view.cx) / view.focal
        out[..., 1] = ((to_view[1, 1] * rows + to_view[1, 2] - view.cy) / view.focal)[:, None]
        if not view.is_straight:
            out[:] = view.to_camera(out)
    return camera.project(rays).astype(np.float32)
