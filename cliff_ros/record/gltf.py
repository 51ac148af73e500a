"""glTF 2.0 binary: everybody as a skinned, animated mesh with SMPL's skeleton. Written by pygltflib.

y up, z toward the viewer, meters. Node ``person_<id>`` holds a mesh in that person's shape (the median over the
recording) and the joints by their SMPL names. One animation turns all joints and moves the pelvis; while somebody is
not there, their node is scaled to nothing. Vertices are SMPL's but for what bones cannot do (`cliff_ros.body.skin`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.body.skin import four_weights, quaternions, rest_pose
from cliff_ros.files import write_aside
from cliff_ros.record import UP_FROM_OPTICAL, Take
from cliff_ros.record.motion import Motion, Motions
from cliff_ros.render.colors import color_of

_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_COMPONENTS = {np.dtype(np.float32): 5126, np.dtype(np.uint32): 5125, np.dtype(np.uint16): 5123}


class Gltf:
    """A `Recorder`."""

    def __init__(self, folder: Path, body: BodyModel, fps: float, note: str) -> None:
        self._path, self._body, self._note, self._motions = folder / 'people.glb', body, note, Motions()
        self._fov: tuple[float, float] | None = None

    def add(self, take: Take) -> None:
        """Keep the poses in memory, and the field of view of the latest camera; images are not used."""
        self._motions.add(take)
        camera = take.camera
        self._fov = 2 * np.arctan(camera.height / 2 / camera.f), camera.width / camera.height

    def close(self) -> list[Path]:
        """Write ``people.glb``; no file if nobody was seen."""
        motions = self._motions.all()
        if not motions:
            return []
        file = _File(self._body, self._motions.times, self._note, self._fov)
        for motion in motions:
            file.add(motion)
        with write_aside(self._path) as partial:
            file.save(partial)
        return [self._path]


class _File:
    def __init__(self, body: BodyModel, times: np.ndarray, note: str, fov: tuple[float, float] | None) -> None:
        import pygltflib as gl

        self._gl, self._body = gl, body
        self._blob = bytearray()
        self._gltf = gl.GLTF2(scene=0, scenes=[gl.Scene(nodes=[])])
        self._gltf.asset.generator = 'cliff_ros'
        self._gltf.asset.extras = {'body': body.name, 'body_licence': body.licence, 'privacy': note or 'off'}
        self._animation = gl.Animation(name='people', channels=[], samplers=[])
        self._times = _growing(times)
        self._joints, self._weights = four_weights(body)
        self._faces = self._accessor(body.faces.astype(np.uint32).reshape(-1), 'SCALAR', _ELEMENT_BUFFER)
        self._joints_at = self._accessor(self._joints, 'VEC4', _ARRAY_BUFFER)
        self._weights_at = self._accessor(self._weights, 'VEC4', _ARRAY_BUFFER)
        if fov is not None:
            camera = gl.Camera(type='perspective', name='camera')
            camera.perspective = gl.Perspective(yfov=float(fov[0]), aspectRatio=float(fov[1]), znear=0.05, zfar=100.0)
            self._gltf.cameras.append(camera)
            self._root(self._node(name='camera', camera=0))

    def add(self, motion: Motion) -> None:
        gl, gltf = self._gl, self._gltf
        vertices, rest = rest_pose(self._body, motion.betas)
        first = len(gltf.nodes)
        parents = self._body.parents.tolist()
        for number, name in enumerate(self._body.joint_names):
            offset = rest[number] - (rest[parents[number]] if number else 0)
            children = [first + j for j, parent in enumerate(parents) if parent == number]
            self._node(name=f'{name}', translation=[float(x) for x in offset], children=children)
        inverse = np.tile(np.eye(4, dtype=np.float32), (len(rest), 1, 1))
        inverse[:, 3, :3] = -rest  # column-major: the last row in memory is the translation
        gltf.skins.append(
            gl.Skin(
                joints=list(range(first, first + len(rest))),
                skeleton=first,
                inverseBindMatrices=self._accessor(inverse.reshape(-1, 16), 'MAT4'),
            )
        )
        gltf.materials.append(_material(gl, motion.id))
        attributes = gl.Attributes(
            POSITION=self._accessor(vertices, 'VEC3', _ARRAY_BUFFER, bounds=True),
            NORMAL=self._accessor(_normals(vertices, self._body.faces), 'VEC3', _ARRAY_BUFFER),
            JOINTS_0=self._joints_at,
            WEIGHTS_0=self._weights_at,
        )
        primitive = gl.Primitive(attributes=attributes, indices=self._faces, material=len(gltf.materials) - 1)
        gltf.meshes.append(gl.Mesh(name=f'person_{motion.id}', primitives=[primitive]))
        mesh = self._node(name=f'mesh_{motion.id}', mesh=len(gltf.meshes) - 1, skin=len(gltf.skins) - 1)
        person = self._node(name=f'person_{motion.id}', children=[first, mesh])
        self._root(person)
        self._animate(motion, person, first)

    def save(self, path: Path) -> None:
        gltf = self._gltf
        gltf.animations = [self._animation]
        gltf.buffers = [self._gl.Buffer(byteLength=len(self._blob))]
        gltf.set_binary_blob(bytes(self._blob))
        gltf.save_binary(str(path))

    def _animate(self, motion: Motion, person: int, first: int) -> None:
        times = self._accessor(self._times[motion.index].astype(np.float32), 'SCALAR', bounds=True)
        rotations = motion.rotations.astype(np.float64)
        rotations[:, 0] = UP_FROM_OPTICAL @ rotations[:, 0]
        turns = quaternions(rotations)
        # Of the two quaternions of a turn the one nearer to that before: players blend between them.
        signs = np.sign((turns[1:] * turns[:-1]).sum(-1))
        turns[1:] *= np.cumprod(np.where(signs == 0, 1, signs), 0)[..., None]
        for number in range(turns.shape[1]):
            self._channel(
                first + number, 'rotation', times, self._accessor(turns[:, number].astype(np.float32), 'VEC4')
            )
        places = (motion.pelvis @ UP_FROM_OPTICAL.T).astype(np.float32)
        self._channel(first, 'translation', times, self._accessor(places, 'VEC3'))
        here = np.zeros(len(self._times), bool)
        here[motion.index] = True
        changes = np.flatnonzero(np.concatenate([[True], here[1:] != here[:-1]]))
        if len(changes) > 1 or not here[0]:
            sizes = np.repeat(here[changes].astype(np.float32)[:, None], 3, 1)
            when = self._accessor(self._times[changes].astype(np.float32), 'SCALAR', bounds=True)
            self._channel(person, 'scale', when, self._accessor(sizes, 'VEC3'), 'STEP')

    def _channel(self, node: int, path: str, times: int, values: int, how: str = 'LINEAR') -> None:
        gl, animation = self._gl, self._animation
        animation.samplers.append(gl.AnimationSampler(input=times, output=values, interpolation=how))
        target = gl.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gl.AnimationChannel(sampler=len(animation.samplers) - 1, target=target))

    def _node(self, **about: Any) -> int:
        self._gltf.nodes.append(self._gl.Node(**about))
        return len(self._gltf.nodes) - 1

    def _root(self, node: int) -> None:
        self._gltf.scenes[0].nodes.append(node)

    def _accessor(self, array: np.ndarray, kind: str, target: int | None = None, bounds: bool = False) -> int:
        gl, gltf = self._gl, self._gltf
        self._blob.extend(bytes(-len(self._blob) % 4))
        data = np.ascontiguousarray(array).tobytes()
        gltf.bufferViews.append(
            gl.BufferView(buffer=0, byteOffset=len(self._blob), byteLength=len(data), target=target)
        )
        self._blob.extend(data)
        rows = array.reshape(len(array), -1)
        limits = {'min': rows.min(0).tolist(), 'max': rows.max(0).tolist()} if bounds else {}
        gltf.accessors.append(
            gl.Accessor(
                bufferView=len(gltf.bufferViews) - 1,
                componentType=_COMPONENTS[array.dtype],
                count=len(array),
                type=kind,
                **limits,
            )
        )
        return len(gltf.accessors) - 1


def _growing(times: np.ndarray) -> np.ndarray:
    """Times of key frames must grow strictly, as float32 too."""
    times = np.asarray(times, np.float64).copy()
    for i in range(1, len(times)):
        times[i] = max(times[i], times[i - 1] + 1e-3)
    return times


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    from cliff_ros.render.raster import vertex_normals

    normals = vertex_normals(np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32))
    return normals.astype(np.float32)


def _material(gl: Any, person: int) -> Any:
    color = (np.array(color_of(person)) / 255) ** 2.2  # glTF's factors are linear
    metal = gl.PbrMetallicRoughness(baseColorFactor=[*map(float, color), 1.0], metallicFactor=0.0, roughnessFactor=0.8)
    return gl.Material(name=f'person_{person}', pbrMetallicRoughness=metal)
