"""A rosbag2 in MCAP, as the node would have published it, without ROS: written by rosbags.

``recording/recording.mcap`` opens in Foxglove; ``ros2 bag play recording`` plays it for RViz with our configuration.
Every message has the stamp of its image. Topics: the camera's ``image_raw/compressed`` and ``camera_info``, the node's
``people``, ``body`` (latched), ``skeleton``, ``overlay/compressed``, and ``/tf``. Meshes are not among them, which as
markers take 1 MB a person and image; whoever has ``people`` and ``body`` can pose them.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cliff_ros.body import BodyModel, shareable_file
from cliff_ros.body.skin import quaternions
from cliff_ros.body.tree import world_rotations
from cliff_ros.camera import Camera
from cliff_ros.errors import InputError
from cliff_ros.files import unwritable
from cliff_ros.people import Person
from cliff_ros.record import Take
from cliff_ros.render.colors import color_of

CAMERA, NODE = '/camera', '/cliff'
_QUALITY = 85  # of JPEG
_LIFETIME = 500_000_000  # [ns] of markers, as in ~/skeleton
_LINE_LIST, _ADD, _DELETE = 5, 0, 2  # visualization_msgs/Marker
_BONE_WIDTH = 0.02  # [m]


class Bag:
    """A `Recorder`."""

    def __init__(self, folder: Path, body: BodyModel, fps: float, note: str) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore

        self._path, self._body, self._parents = folder / 'recording', body, body.parents.tolist()
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._store.register(_our_types())
        try:
            if self._path.is_dir():  # a recording before this one
                shutil.rmtree(self._path)
            self._writer = Writer(self._path, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.set_custom_data('privacy', note or 'off')
            self._writer.set_custom_data('body', f'{body.name} {body.sha256}')
            self._writer.open()
        except OSError as error:
            raise unwritable(self._path, error) from error
        self._connections: dict[str, Any] = {}
        self._shown: set[int] = set()
        self._note, self._started = note, False

    def add(self, take: Take) -> None:
        """Write all messages of one image with its stamp, ``body`` before the first. Raises OutputError."""
        stamp, header = take.stamp, self._header(take.stamp, take.frame_id)
        if not self._started:
            self._started = True
            self._write(f'{NODE}/body', stamp, self._info(header), latched=True)
        self._write(f'{CAMERA}/camera_info', stamp, self._camera_info(take.camera, header))
        for topic, image in ((f'{CAMERA}/image_raw', take.image), (f'{NODE}/overlay', take.picture)):
            if image is not None:
                self._write(f'{topic}/compressed', stamp, self._jpeg(image, header))
        people = [self._smpl(person, header) for person in take.people]
        self._write(f'{NODE}/people', stamp, self._make('cliff_ros/msg/SmplArray', header=header, people=people))
        transforms = [one for person in take.people for one in self._transforms(person, header)]
        if transforms:
            self._write('/tf', stamp, self._make('tf2_msgs/msg/TFMessage', transforms=transforms))
        self._write(f'{NODE}/skeleton', stamp, self._skeletons(take, header))

    def close(self) -> list[Path]:
        """Finish the bag; ``recording/recording.mcap``, or the folder if that file is not there."""
        try:
            self._writer.close()
            inner = self._path / f'{self._path.name}.mcap'
            return [inner if inner.exists() else self._path]
        except OSError as error:
            raise unwritable(self._path, error) from error

    # ---- messages

    def _make(self, kind: str, **fields: Any) -> Any:
        return self._store.types[kind](**fields)

    def _write(self, topic: str, stamp: int, message: Any, latched: bool = False) -> None:
        kind = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._store, offered_qos_profiles=[_latched()] if latched else ()
            )
        try:
            self._writer.write(self._connections[topic], stamp, self._store.serialize_cdr(message, kind))
        except OSError as error:
            raise unwritable(self._path, error) from error

    def _header(self, stamp: int, frame_id: str) -> Any:
        return self._make('std_msgs/msg/Header', stamp=self._time(stamp), frame_id=frame_id)

    def _time(self, nanoseconds: int) -> Any:
        seconds, rest = divmod(nanoseconds, 10**9)
        return self._make('builtin_interfaces/msg/Time', sec=seconds, nanosec=rest)

    def _jpeg(self, image: np.ndarray, header: Any) -> Any:
        data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        return self._make('sensor_msgs/msg/CompressedImage', header=header, format='jpeg', data=data.ravel())

    def _camera_info(self, camera: Camera, header: Any) -> Any:
        roi = self._make(
            'sensor_msgs/msg/RegionOfInterest', x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        P = np.column_stack([camera.K, np.zeros(3)]) if camera.P is None else camera.P
        R = np.eye(3) if camera.R is None else camera.R
        return self._make(
            'sensor_msgs/msg/CameraInfo', header=header, height=camera.height, width=camera.width,
            distortion_model=camera.distortion_model, d=np.asarray(camera.d, np.float64),
            k=np.asarray(camera.K, np.float64).ravel(), r=np.asarray(R, np.float64).ravel(),
            p=np.asarray(P, np.float64).ravel(), binning_x=0, binning_y=0, roi=roi,
        )  # fmt: skip

    def _smpl(self, person: Person, header: Any) -> Any:
        return self._make(
            'cliff_ros/msg/Smpl', header=header, id=person.id, score=float(person.score),
            box=np.asarray(person.box, np.float32), track_state=int(person.track_state), age=float(person.age),
            betas=np.asarray(person.betas, np.float32),
            rotations=[self._quaternion(q) for q in quaternions(person.rotations)],
            translation=self._vector(person.translation), velocity=self._vector(person.velocity),
            joints=[self._vector(joint, 'Point') for joint in person.joints],
            joints2d=np.asarray(person.joints2d, np.float32).ravel(),
        )  # fmt: skip

    def _info(self, header: Any) -> Any:
        body = self._body
        return self._make(
            'cliff_ros/msg/SmplInfo', header=header, model='', model_sha256='', engine='', body=body.name,
            body_sha256=body.sha256, body_licence=body.licence, privacy=self._note or 'off',
            num_vertices=body.num_vertices,
            num_betas=body.num_betas, joint_names=list(body.joint_names), parents=body.parents.astype(np.int16),
            faces=body.faces.astype(np.uint32).ravel(), body_npz=np.frombuffer(shareable_file(body), np.uint8),
        )  # fmt: skip

    def _transforms(self, person: Person, header: Any) -> list[Any]:
        """Those of /tf: each joint in its parent's axes, the pelvis in the camera's."""
        joints, names = np.asarray(person.joints, np.float64), self._body.joint_names
        world = world_rotations(np.asarray(person.rotations, np.float64))
        turns = quaternions(person.rotations)
        found = []
        for number, name in enumerate(names):
            parent = self._parents[number]
            place = world[parent].T @ (joints[number] - joints[parent]) if number else joints[0]
            above = header.frame_id if not number else _frame(person.id, names[parent], parent)
            transform = self._make(
                'geometry_msgs/msg/Transform', translation=self._vector(place), rotation=self._quaternion(turns[number])
            )
            found.append(
                self._make(
                    'geometry_msgs/msg/TransformStamped', header=self._header(_nanoseconds(header), above),
                    child_frame_id=_frame(person.id, name, number), transform=transform,
                )
            )  # fmt: skip
        return found

    def _skeletons(self, take: Take, header: Any) -> Any:
        here = {person.id: person for person in take.people}
        markers = [self._marker(id, None, header) for id in sorted(self._shown - set(here))]
        markers += [self._marker(id, person, header) for id, person in here.items()]
        self._shown = set(here)
        return self._make('visualization_msgs/msg/MarkerArray', markers=markers)

    def _marker(self, id: int, person: Person | None, header: Any) -> Any:
        """Bones as lines; None: they are gone."""
        red, green, blue = (channel / 255 for channel in color_of(id))
        nothing = self._vector(np.zeros(3), 'Point')
        pose = self._make(
            'geometry_msgs/msg/Pose', position=nothing, orientation=self._quaternion(np.array([0, 0, 0, 1.0]))
        )
        ends = [] if person is None else [end for j, p in enumerate(self._parents) if j for end in (p, j)]
        points = [] if person is None else [self._vector(person.joints[end], 'Point') for end in ends]
        empty_image = self._make(
            'sensor_msgs/msg/CompressedImage', header=header, format='', data=np.zeros(0, np.uint8)
        )
        no_file = self._make('visualization_msgs/msg/MeshFile', filename='', data=np.zeros(0, np.uint8))
        return self._make(
            'visualization_msgs/msg/Marker', header=header, ns='smpl_skeleton', id=id, type=_LINE_LIST,
            action=_DELETE if person is None else _ADD, pose=pose,
            scale=self._vector(np.array([_BONE_WIDTH, 0, 0])),
            color=self._make('std_msgs/msg/ColorRGBA', r=red, g=green, b=blue, a=1.0),
            lifetime=self._make('builtin_interfaces/msg/Duration', sec=0, nanosec=_LIFETIME), frame_locked=False,
            points=points, colors=[], texture_resource='', texture=empty_image, uv_coordinates=[], text='',
            mesh_resource='', mesh_file=no_file, mesh_use_embedded_materials=False,
        )  # fmt: skip

    def _vector(self, xyz: np.ndarray, kind: str = 'Vector3') -> Any:
        x, y, z = map(float, xyz)
        return self._make(f'geometry_msgs/msg/{kind}', x=x, y=y, z=z)

    def _quaternion(self, xyzw: np.ndarray) -> Any:
        x, y, z, w = map(float, xyzw)
        return self._make('geometry_msgs/msg/Quaternion', x=x, y=y, z=z, w=w)


def _frame(person: int, joint: str, number: int) -> str:
    return f'smpl_{person}/{joint}' if number else f'smpl_{person}'


def _nanoseconds(header: Any) -> int:
    return header.stamp.sec * 10**9 + header.stamp.nanosec


def _latched() -> Any:
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    never = QosTime(sec=2147483647, nsec=4294967295)
    return Qos(
        QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, never, never,
        QosLiveliness.AUTOMATIC, never, False,
    )  # fmt: skip


def message_definitions() -> dict[str, str]:
    """The texts of our own messages by their names, from beside the sources or from where they were installed."""
    from os import environ, pathsep

    prefixes = [*filter(None, environ.get('AMENT_PREFIX_PATH', '').split(pathsep)), sys.prefix]
    folders = [Path(__file__).resolve().parents[2] / 'msg', *(Path(p) / 'share/cliff_ros/msg' for p in prefixes)]
    for folder in folders:
        found = {path.stem: path.read_text(encoding='utf-8') for path in folder.glob('*.msg')}
        if {'Smpl', 'SmplArray', 'SmplInfo'} <= found.keys():
            return found
    raise InputError(
        'The definitions of our messages (Smpl.msg, ...) are not installed: run pip install . or colcon build, or '
        'leave mcap out of --record.'
    )


def _our_types() -> dict:
    from rosbags.typesys import get_types_from_msg

    types: dict = {}
    for name, text in message_definitions().items():
        types |= get_types_from_msg(text, f'cliff_ros/msg/{name}')
    return types
