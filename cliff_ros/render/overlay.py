"""People drawn over the image they were found in: mesh, skeleton, box and a label with the distance."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from cliff_ros.body.names import PARENTS
from cliff_ros.camera import Camera
from cliff_ros.people import Person, TrackState
from cliff_ros.render.colors import color_of
from cliff_ros.render.raster import shade

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SUBPIXEL_BITS = 4
_BODY = 0.35  # [m] from a joint to the skin before it, at most; what is nearer than that is somebody else


def draw_people(
    image: np.ndarray,
    people: Sequence[Person],
    camera: Camera,
    faces: np.ndarray,
    *,
    mesh: bool = True,
    skeleton: bool = False,
    box: bool = True,
    label: bool = True,
    alpha: float = 0.75,
) -> np.ndarray:
    """A copy of ``image`` with people drawn over it, the nearer ones in front.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB, as received from ``camera``.
    people : with ``vertices`` where ``mesh`` is wanted; a person without is drawn as a skeleton.
    faces : (F, 3) int, vertex indices.
    alpha : opacity of the mesh, 0..1.
    """
    out = np.ascontiguousarray(image).copy()
    depth = draw_meshes(out, people, camera, faces, alpha) if mesh else None
    for person in sorted(people, key=lambda p: -float(p.joints[0, 2])):  # the nearest person's label on top
        color = color_of(person.id)
        if skeleton or person.vertices is None:
            draw_skeleton(out, _in_sight(person, depth), color)
        if box:
            draw_box(out, person.box, color, dashed=person.track_state == TrackState.COASTING)
        if label:
            draw_label(out, person, color)
    return out


def draw_meshes(
    image: np.ndarray, people: Sequence[Person], camera: Camera, faces: np.ndarray, alpha: float = 0.75
) -> np.ndarray:
    """Lit meshes over ``image`` (in place), through the camera's distortion, hiding each other by depth.

    Returns (H, W) float32, the inverse depth of what was drawn, 0 where nothing was.
    """
    depth = np.zeros(image.shape[:2], np.float32)
    # Nearest first: whoever is hidden behind is not blended into the one in front.
    for person in sorted(people, key=lambda p: float(p.joints[0, 2])):
        if person.vertices is not None:
            shade(
                to_pinhole(person.vertices, camera),
                faces,
                camera.f,
                camera.cx,
                camera.cy,
                image,
                color=color_of(person.id),
                alpha=alpha,
                depth=depth,
            )
    return depth


def _in_sight(person: Person, depth: np.ndarray | None) -> np.ndarray:
    """Joints in the image (24, 2), NaN where somebody nearer is in front of them."""
    joints = np.array(person.joints2d, np.float64)
    if depth is None:
        return joints
    height, width = depth.shape
    with np.errstate(invalid='ignore'):
        inside = np.isfinite(joints).all(1) & (joints > -0.5).all(1) & (joints < (width - 0.5, height - 0.5)).all(1)
    column, row = joints[inside].round().astype(int).T
    with np.errstate(divide='ignore'):
        nearest = 1 / depth[row, column]
    joints[np.flatnonzero(inside)[nearest < np.asarray(person.joints)[inside, 2] - _BODY]] = np.nan
    return joints


def to_pinhole(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Points whose pinhole picture (f, cx, cy) lies where the real camera sees ``points``; depth is kept.

    The rasterizer knows only pinholes. Moving the vertices instead of undistorting the image leaves the
    image as it was received; triangles are small enough for their edges to stay straight.
    """
    points = np.asarray(points, np.float32)
    if camera.is_pinhole:
        return points
    raw = camera.project(points)
    moved = np.column_stack([(raw - (camera.cx, camera.cy)) * points[:, 2:] / camera.f, points[:, 2]])
    moved[~(np.isfinite(raw).all(1) & (points[:, 2] > 0))] = -1  # what the lens cannot see lies behind it
    return moved.astype(np.float32)


def draw_skeleton(
    image: np.ndarray, joints2d: np.ndarray, color: tuple[int, int, int], thickness: int | None = None
) -> None:
    """The 24 joints (raw pixels) and the bones between them, in place."""
    thickness = thickness or max(1, round(image.shape[0] / 360))
    limit = 4 * max(image.shape[:2])  # OpenCV's fixed-point coordinates overflow far outside the image
    seen = np.isfinite(joints2d).all(1) & (np.abs(joints2d) < limit).all(1)
    points = np.where(seen[:, None], joints2d, 0) * (1 << _SUBPIXEL_BITS)
    points = points.round().astype(int).tolist()
    for joint, parent in enumerate(PARENTS):
        if parent >= 0 and seen[joint] and seen[parent]:
            cv2.line(image, points[parent], points[joint], color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    radius = (thickness + 1) << _SUBPIXEL_BITS
    for joint in np.flatnonzero(seen).tolist():
        cv2.circle(image, points[joint], radius, color, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_box(image: np.ndarray, xyxy: np.ndarray, color: tuple[int, int, int], dashed: bool = False) -> None:
    """The corners of a box, in place; ``dashed`` draws shorter ones (a person predicted, not seen)."""
    thickness = max(1, round(image.shape[0] / 480))
    x0, y0, x1, y1 = (int(v) for v in np.clip(np.round(xyxy), -10_000, 10_000))
    arm = max(4, round(min(x1 - x0, y1 - y0) * (0.08 if dashed else 0.2)))
    for x, dx in ((x0, arm), (x1, -arm)):
        for y, dy in ((y0, arm), (y1, -arm)):
            cv2.line(image, (x, y), (x + dx, y), color, thickness, cv2.LINE_AA)
            cv2.line(image, (x, y), (x, y + dy), color, thickness, cv2.LINE_AA)


def draw_label(image: np.ndarray, person: Person, color: tuple[int, int, int]) -> None:
    """Id and distance of the pelvis in meters, on a plate above the box (inside it at the image's edge)."""
    text = f'#{person.id}  {np.linalg.norm(person.joints[0]):.1f} m'
    scale = max(0.4, image.shape[0] / 1280)
    put_text(image, text, (float(person.box[0]), float(person.box[1])), scale, color)


def put_text(
    image: np.ndarray, text: str, above: tuple[float, float], scale: float, color: tuple[int, int, int]
) -> None:
    """Text on a dark plate whose lower left corner is ``above``, moved inside the image; in place."""
    thickness = max(1, round(scale * 1.6))
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = max(3, round(height * 0.4))
    plate_w, plate_h = width + 2 * pad, height + baseline + 2 * pad
    x0 = int(np.clip(above[0], 0, max(0, image.shape[1] - plate_w)))
    y0 = int(np.clip(above[1] - plate_h - 2, 0, max(0, image.shape[0] - plate_h)))
    plate = image[y0 : y0 + plate_h, x0 : x0 + plate_w]
    plate[:] = (plate * 0.3).astype(np.uint8)
    cv2.putText(image, text, (x0 + pad, y0 + pad + height), _FONT, scale, color, thickness, cv2.LINE_AA)
