"""People, light and a camera, put together: what every kind of synthetic image shares."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numba import njit

from cliff_ros.body import BodyModel, load_body
from cliff_ros.render.raster import rasterize, rasterize_textured, vertex_normals
from cliff_ros.synthetic.actor import Actor
from cliff_ros.synthetic.appearance import Look, Wardrobe
from cliff_ros.synthetic.belongings import Belongings, Thing
from cliff_ros.synthetic.lights import Light
from cliff_ros.synthetic.outfits import RichWardrobe
from cliff_ros.synthetic.poses import ALL_POSES, euler_to_matrix, sample_poses
from cliff_ros.synthetic.textures import make_textures

PLAIN, RICH, UNSEEN = 'plain', 'rich', 'unseen'  # looks
# SMPL rest axes (x left, y up, z forward) of somebody who faces the camera, in a level camera's optical frame
FACING_CAMERA = np.diag([1.0, -1.0, -1.0]).astype(np.float32)
# The first shape direction of the embedded body is height, 0.116 m per unit: this gives 0.064 m deviation.
HEIGHT_DEVIATION = 0.55
CHILDREN = 0.05  # of the people
CHILD_HEIGHT = (-4.2, -1.6)  # in units of the first direction: 1.2 to 1.5 m


def sample_betas(rng: np.random.Generator, n: int, num_betas: int = 10) -> np.ndarray:
    """(n, num_betas) shapes of people: adults, and some children."""
    betas = np.clip(rng.normal(0, 1, (n, num_betas)), -2.2, 2.2)
    betas[:, 0] *= HEIGHT_DEVIATION
    child = rng.random(n) < CHILDREN
    betas[child, 0] = rng.uniform(*CHILD_HEIGHT, child.sum())
    return betas.astype(np.float32)


@njit(cache=True, fastmath=True, nogil=True)
def _skin(vertices, bones, indices, weights, out):
    for i in range(vertices.shape[0]):
        for a in range(3):
            value = np.float32(0)
            for k in range(indices.shape[1]):
                m = bones[indices[i, k]]
                value += weights[i, k] * (
                    m[a, 0] * vertices[i, 0] + m[a, 1] * vertices[i, 1] + m[a, 2] * vertices[i, 2] + m[a, 3]
                )
            out[i, a] = value


@njit(cache=True, fastmath=True, nogil=True)
def _follow(vertices, grown, index, share, out):
    for i in range(vertices.shape[0]):
        for a in range(3):
            value = vertices[i, a]
            for k in range(3):
                value += share[i, k] * grown[index[i, k], a]
            out[i, a] = value


class Cast:
    """Makes actors of the embedded body. look: 'plain' clothes of colors and offsets; 'rich' ones with textures;
    'unseen': as rich, of those that training is never shown."""

    def __init__(
        self, rng: np.random.Generator, body: BodyModel | None = None, num_textures: int = 40, look: str = PLAIN
    ) -> None:
        self.body = body or load_body()
        self.textures = make_textures(rng, num_textures)
        plain = look == PLAIN
        self.wardrobe = (
            Wardrobe(self.body, self.textures) if plain else RichWardrobe(self.body, self.textures, look == UNSEEN)
        )
        self.belongings = Belongings(self.body, self.textures, 1.0 if plain else 0.6)
        order = np.argsort(-self.body.weights, 1)[:, :4].astype(np.int32)
        weights = np.take_along_axis(self.body.weights, order, 1)
        self._indices, self._weights = np.ascontiguousarray(order), np.ascontiguousarray(weights)

    def actor(
        self, betas: np.ndarray, rotations: np.ndarray, look: Look, things: Sequence[Thing] = (), bare: bool = True
    ) -> Actor:
        """Pose somebody. betas (B,), rotations (24, 3, 3) root included; `bare` False saves skinning the truth mesh."""
        body = self.body
        rest = body.rest_joints(betas[None])
        world, position = body.bones(rest, rotations[None].astype(np.float32))
        offset = position - (world @ rest[..., None])[..., 0]
        bones = np.ascontiguousarray(np.concatenate([world, offset[..., None]], -1)[0])
        shaped = (betas @ body.shape_basis[: len(betas)]).reshape(-1, 3) + body.v_template
        dressed = shaped if look.offset is None else shaped + self.wardrobe.normals * look.offset[:, None]
        vertices = np.empty_like(dressed)
        _skin(dressed, bones, self._indices, self._weights, vertices)
        skin = vertices
        if bare and look.offset is not None:
            skin = np.empty_like(shaped)
            _skin(np.ascontiguousarray(shaped), bones, self._indices, self._weights, skin)
        grown = shaped - body.v_template if look.things else None
        return Actor(
            betas,
            rotations,
            vertices,
            position[0],
            skin,
            look,
            tuple(self._posed(thing, bones, rest[0], grown) for thing in (*look.things, *things)),
        )

    def _posed(self, thing: Thing, bones: np.ndarray, rest: np.ndarray, grown: np.ndarray | None) -> Thing:
        """Things are made for the mean body: move them with the skin below, or with the joint that holds them, on a
        taller or smaller one."""
        if thing.bound is None:
            local = thing.vertices + (rest - self.belongings.joints)[thing.joints[:, 0]].astype(np.float32)
        else:
            local = np.empty_like(thing.vertices)
            _follow(thing.vertices, grown, *thing.bound, local)
        vertices = np.empty_like(local)
        _skin(np.ascontiguousarray(local), bones, thing.joints, thing.weights, vertices)
        return thing.at(vertices)


class Extras:
    """An endless supply of actors in everyday poses, facing any way, before a tilted camera."""

    def __init__(
        self,
        rng: np.random.Generator,
        cast: Cast,
        mix: dict[str, float] = ALL_POSES,
        batch: int = 1024,
        tilted: float = 0.0,
    ) -> None:
        self.rng, self.cast, self.mix, self.batch, self.tilted = rng, cast, mix, batch, tilted
        self._poses, self._shapes, self._next = np.empty((0, 24, 3, 3), np.float32), np.empty((0, 10), np.float32), 0

    def __next__(self) -> Actor:
        """Somebody before a camera of their own (`tilt`), tilted as robots' cameras are, or far from level."""
        self.tilt = sample_tilt(self.rng, self.tilted)
        return self.before(self.tilt)

    def before(self, camera: np.ndarray) -> Actor:
        """Somebody before this camera; (3, 3) from a level camera's axes to its own."""
        if self._next == len(self._poses):
            rng, n, zero = self.rng, self.batch, np.zeros(self.batch)
            heading = rng.uniform(-180, 180, n)
            poses = euler_to_matrix(sample_poses(rng, n, self.mix))
            poses[:, 0] = FACING_CAMERA @ euler_to_matrix(np.stack([zero, heading, zero], 1)) @ poses[:, 0]
            self._poses, self._shapes, self._next = poses, sample_betas(rng, n), 0
        i = self._next
        self._next += 1
        rotations = self._poses[i]
        rotations[0] = camera @ rotations[0]
        return self.cast.actor(
            self._shapes[i], rotations, self.cast.wardrobe.sample(self.rng), self.cast.belongings.sample(self.rng)
        )


class Canvas:
    """An image under construction: pixels, depth and who is where, drawn at `supersample` times the size.

    fx, fy, cx, cy: pinhole of the final image [px], pixel centers at integers.
    alone: pixels of whoever was drawn first, before others came in front [px of the final image].
    """

    def __init__(self, background: np.ndarray, fx: float, fy: float, cx: float, cy: float, supersample: int = 2):
        self.supersample = s = supersample
        height, width = background.shape[:2]
        self.size = (width, height)
        self.image = cv2.resize(background, (width * s, height * s), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        self.inverse_depth = np.zeros((height * s, width * s), np.float32)
        self.labels = np.zeros((height * s, width * s), np.uint8)
        self.alone = 0.0
        self._k = (fx * s, fy * s, (cx + 0.5) * s - 0.5, (cy + 0.5) * s - 0.5)

    def draw(self, actor: Actor, translation: np.ndarray, faces: np.ndarray, light: Light, label: int) -> None:
        """Draw an actor whose SMPL translation (3,) is in the camera's optical frame [m].

        faces: the body's (F, 3); none draws the things only. label: what the pixels are marked with in `labels`.
        """
        scale = actor.scale(translation, self._k[0])
        for mesh, triangles, unlit, material in actor.meshes(faces):
            vertices = (mesh + translation).astype(np.float32)
            colors = light(unlit, vertex_normals(vertices, triangles), mesh)
            if material is None:
                rasterize(vertices, triangles, colors, *self._k, self.image, self.inverse_depth, self.labels, label)
            else:
                rasterize_textured(  # type: ignore[call-arg]  # numba takes what the function takes
                    vertices,
                    triangles,
                    colors,
                    material.uv,
                    *material.at(scale),
                    material.two_sided,
                    *self._k,
                    self.image,
                    self.inverse_depth,
                    self.labels,
                    label,
                )
        if label == 1:
            self.alone = np.count_nonzero(self.labels == 1) / self.supersample**2

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) float32 image and (H, W) uint8 labels."""
        s = self.supersample
        return cv2.resize(self.image, self.size, interpolation=cv2.INTER_AREA), self.labels[s // 2 :: s, s // 2 :: s]


def canvas(background: np.ndarray, fx: float, fy: float, cx: float, cy: float, supersample: int, device: str = ''):
    """A Canvas; with a torch device ('cuda', 'cpu') one that draws there."""
    if not device:
        return Canvas(background, fx, fy, cx, cy, supersample)
    from cliff_ros.synthetic.device import DeviceCanvas

    return DeviceCanvas(background, fx, fy, cx, cy, supersample, device)


def camera_rotation(pitch: float, roll: float = 0.0) -> np.ndarray:
    """(3, 3) level to camera: pitch degrees downward, then roll degrees about the optical axis."""
    return euler_to_matrix(np.array([0.0, 0.0, roll])) @ euler_to_matrix(np.array([pitch, 0.0, 0.0]))


def sample_tilt(rng: np.random.Generator, tilted: float = 0.0) -> np.ndarray:
    """(3, 3) level to camera of a robot's camera; so many of them look down from a ceiling, up from the floor, or are
    rolled."""
    pitch, roll = rng.normal(6, 14), rng.normal(0, 5)
    if tilted and rng.random() < tilted:
        kind = rng.random()
        if kind < 0.35:
            pitch = rng.uniform(20, 70)
        elif kind < 0.6:
            pitch = rng.uniform(-35, -8)
        if kind > 0.5:
            roll = rng.uniform(-30, 30)
    return camera_rotation(pitch, roll)


def project(points: np.ndarray) -> np.ndarray:
    """(N, 3) -> (N, 2) on the plane z = 1."""
    return points[..., :2] / points[..., 2:]
