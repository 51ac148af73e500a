"""What is seen in 3D: the camera with its picture, people as skinned meshes, their names and trails, the floor.

Everything hangs below ``/room/camera``, in the optical frame of the messages. A person takes a *place* (``person0``,
``person1``, ...) that the next one takes over: the server remembers every name that was ever sent, for whoever
connects later, and ids never end.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import cv2
import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.body.skin import bone_orientations, quaternions, rest_pose
from cliff_ros.people import Person, TrackState
from cliff_ros.render.colors import color_of
from cliff_ros.view.floor import Floor
from cliff_ros.view.moment import Moment

ROOM, CAMERA = '/room', '/room/camera'
_TRAIL_SECONDS, _TRAIL_STEP = 5.0, 0.05  # how long a trail stays, and how far [m] somebody goes to make it longer
_RESHAPED = 0.25  # difference of the betas from which on a mesh is made anew
_TILTED, _LIFTED = np.deg2rad(2.0), 0.03  # of the floor, from which on the room is turned
_FADED = 0.35  # opacity of whoever is predicted, not seen


class Scene:
    """The scene of a server (or of a recording). ``update`` is for one thread."""

    def __init__(self, scene: Any, width: int = 480) -> None:
        """width: of the picture in the camera's frustum [px]."""
        self._scene, self._width, self.floor = scene, width, Floor()
        self._places: dict[int, Place] = {}
        self._free: list[Place] = []
        self._made = 0
        self._frustum: Any = None
        self._frustum_of: tuple[float, float] = (np.deg2rad(40.0), 16 / 9)
        self._scale = 0.5
        scene.set_up_direction('+z')
        self._room = scene.add_frame(ROOM, show_axes=False)
        self._camera = scene.add_frame(CAMERA, axes_length=0.2, axes_radius=0.006)
        scene.add_grid(
            '/floor', infinite_grid=True, cell_size=0.5, section_size=1.0, fade_distance=25.0, plane_color=(52, 56, 62),
            plane_opacity=0.35, cell_color=(96, 102, 110), section_color=(128, 134, 142), shadow_opacity=0.3,
        )  # fmt: skip
        self._set_pose(*self.floor.pose())

    def update(self, moment: Moment, picture: np.ndarray | None) -> None:
        """Show another moment. picture: (h, w, 3) uint8 RGB for the camera's frustum, or None to leave the last one."""
        self.floor.add([person for person in moment.people if person.track_state != TrackState.COASTING])
        self._level()
        self._show_camera(moment, picture)
        here = {person.id for person in moment.people}
        for gone in [id for id in self._places if id not in here]:
            left = self._places.pop(gone)
            left.leave()
            self._free.append(left)
        for person in moment.people:
            place = self._places.get(person.id)
            if place is None:
                place = self._free.pop() if self._free else self._new_place()
                self._places[person.id] = place
            place.show(person, moment.body, moment.stamp)

    def clear(self) -> None:
        """Nobody is there, and nothing is known of the floor: another camera comes."""
        for place in self._places.values():
            place.leave()
        self._free += self._places.values()
        self._places.clear()
        self.floor = Floor()

    @property
    def middle(self) -> np.ndarray:
        """(3,) of everybody shown, in the room [m]; what the camera looks at, where nobody is."""
        points = [place.pelvis for place in self._places.values()] or [np.array([0.0, 0.0, 4.0])]
        return self._rotation @ np.mean(points, axis=0) + self._position

    @property
    def camera_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (3, 3) and position (3,) of the optical frame in the room."""
        return self._rotation, self._position

    def move_picture(self, scale: float) -> None:
        """How large the camera's frustum is [m]; the picture is at its end."""
        self._scale = scale
        if self._frustum is not None:
            self._frustum.scale = scale

    def field_of_view(self, aspect: float) -> float:
        """Vertical [rad], of a window of this width to height, in which the camera's whole picture fits."""
        vertical, camera = self._frustum_of
        return float(2 * np.arctan(np.tan(vertical / 2) * max(1.0, camera / aspect)))

    def _new_place(self) -> Place:
        self._made += 1
        return Place(self._scene, f'{CAMERA}/person{self._made - 1}')

    def _level(self) -> None:
        rotation, position = self.floor.pose()
        cosine = (np.trace(rotation.T @ self._rotation) - 1) / 2
        if cosine < np.cos(_TILTED) or abs(position[2] - self._position[2]) > _LIFTED:
            self._set_pose(rotation, position)

    def _set_pose(self, rotation: np.ndarray, position: np.ndarray) -> None:
        self._rotation, self._position = rotation, position
        self._camera.wxyz = np.roll(quaternions(rotation), 1)
        self._camera.position = position

    def _show_camera(self, moment: Moment, picture: np.ndarray | None) -> None:
        camera = moment.camera
        shape = float(2 * np.arctan2(camera.height / 2, camera.f)), camera.width / camera.height
        if self._frustum is None or shape != self._frustum_of:
            self._frustum = self._scene.add_camera_frustum(
                f'{CAMERA}/frustum', *shape, scale=self._scale, thickness=0.006, color=(230, 230, 230), format='jpeg',
                jpeg_quality=70, cast_shadow=False, receive_shadow=False,
            )  # fmt: skip
            self._frustum_of = shape
        if picture is not None:
            height = round(self._width * picture.shape[0] / picture.shape[1])
            small = picture.shape[1] <= self._width
            size = (self._width, height)
            self._frustum.image = picture if small else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


class Place:
    """The nodes of one person at a time."""

    def __init__(self, scene: Any, name: str) -> None:
        self._scene, self._name = scene, name
        self._id: int | None = None
        self._betas: np.ndarray | None = None
        self._body: BodyModel | None = None
        self._trail: deque[tuple[float, np.ndarray]] = deque()
        self._mesh: Any = None
        self._label: Any = None
        self._path: Any = None
        self._faded = False
        self.pelvis = np.zeros(3)

    def show(self, person: Person, body: BodyModel, stamp: float) -> None:
        """Pose the person's mesh, made anew where the shape changed, and move label and trail; stamp: [s]."""
        self.pelvis = np.asarray(person.joints[0], np.float64)
        newcomer = person.id != self._id
        if newcomer:
            self._id = person.id
            self._trail.clear()
        betas = np.asarray(person.betas, np.float32)
        faded = person.track_state == TrackState.COASTING
        if self._must_be_made(betas, body):
            self._make(betas, body, person.id)
        if newcomer:
            self._mesh.color = color_of(person.id)
        if faded != self._faded:
            self._mesh.opacity, self._faded = (_FADED if faded else None), faded
        for bone, wxyz, position in zip(
            self._mesh.bones, np.roll(bone_orientations(person.rotations), 1, -1), person.joints, strict=True
        ):
            bone.wxyz, bone.position = wxyz, position
        self._label.position = np.asarray(person.joints[15]) + (0, -0.25, 0)
        self._label.text = f'#{person.id}  {np.linalg.norm(self.pelvis):.1f} m'
        self._follow(person, stamp)
        for node in (self._mesh, self._label):
            if not node.visible:
                node.visible = True

    def leave(self) -> None:
        """Hide the person; the nodes stay for the next one."""
        for node in (self._mesh, self._label, self._path):
            if node is not None and node.visible:
                node.visible = False

    def _must_be_made(self, betas: np.ndarray, body: BodyModel) -> bool:
        if self._betas is None or body is not self._body or betas.shape != self._betas.shape:
            return True
        return bool(np.abs(betas - self._betas).max() > _RESHAPED)

    def _make(self, betas: np.ndarray, body: BodyModel, person_id: int) -> None:
        vertices, joints = rest_pose(body, betas)
        self._betas, self._body, self._faded = betas, body, False
        self._mesh = self._scene.add_mesh_skinned(
            f'{self._name}/mesh', vertices, body.faces, bone_wxyzs=np.tile((1.0, 0, 0, 0), (len(joints), 1)),
            bone_positions=joints, skin_weights=body.weights, color=color_of(person_id),
        )  # fmt: skip
        if self._label is None:
            self._label = self._scene.add_label(f'{self._name}/label', '', anchor='bottom-center')
            self._path = self._scene.add_line_segments(
                f'{self._name}/trail', np.zeros((1, 2, 3), np.float32), (200, 200, 200), thickness=0.02, visible=False
            )

    def _follow(self, person: Person, stamp: float) -> None:
        """The way of the pelvis."""
        trail = self._trail
        if trail and not 0 <= stamp - trail[-1][0] <= _TRAIL_SECONDS:
            trail.clear()
        while trail and stamp - trail[0][0] > _TRAIL_SECONDS:
            trail.popleft()
        if trail and np.linalg.norm(self.pelvis - trail[-1][1]) < _TRAIL_STEP:
            return
        trail.append((stamp, self.pelvis))
        shown = len(trail) > 1
        if shown:
            points = np.array([point for _, point in trail], np.float32)
            self._path.points = np.stack([points[:-1], points[1:]], 1)
            self._path.colors = np.array(color_of(person.id), np.uint8)
        if self._path.visible != shown:
            self._path.visible = shown
