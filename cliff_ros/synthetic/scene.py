"""People, light and a camera, put together: what every kind of synthetic image shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numba import njit

from cliff_ros.body import BodyModel, load_body
from cliff_ros.render.raster import rasterize, vertex_normals
from cliff_ros.synthetic.appearance import LEFT_EAR, LEFT_EYE, NOSE, RIGHT_EAR, RIGHT_EYE, Look, Wardrobe
from cliff_ros.synthetic.belongings import Belongings, Thing
from cliff_ros.synthetic.poses import ALL_POSES, euler_to_matrix, sample_poses
from cliff_ros.synthetic.textures import make_textures

# SMPL rest axes (x left, y up, z forward) of somebody who faces the camera, in a level camera's optical frame
FACING_CAMERA = np.diag([1., -1., -1.]).astype(np.float32)
# The first shape direction of the embedded body is height, 0.116 m per unit: this gives 0.064 m deviation.
HEIGHT_DEVIATION = 0.55
CHILDREN = .05  # of the people
CHILD_HEIGHT = (-4.2, -1.6)  # in units of the first direction: 1.2 to 1.5 m
FACE_VERTICES = np.array([NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR])


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
                value += weights[i, k] * (m[a, 0] * vertices[i, 0] + m[a, 1] * vertices[i, 1]
                                          + m[a, 2] * vertices[i, 2] + m[a, 3])
            out[i, a] = value


@dataclass(frozen=True)
class Actor:
    """Somebody with a pose and a look, SMPL translation zero: place by adding `translation` to both arrays.

    vertices (V, 3) as drawn, clothes included; joints (24, 3); skin (V, 3) the bare body, which is the truth;
    things: what is worn and carried, posed.
    """

    betas: np.ndarray
    rotations: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    skin: np.ndarray
    look: Look
    things: tuple[Thing, ...] = ()

    @property
    def keypoints(self) -> np.ndarray:
        """(29, 3): SMPL's joints, then nose, eyes and ears."""
        return np.concatenate([self.joints, self.skin[FACE_VERTICES]])


class Cast:
    """Makes actors of the embedded body."""

    def __init__(self, rng: np.random.Generator, body: BodyModel | None = None, num_textures: int = 40) -> None:
        self.body = body or load_body()
        self.textures = make_textures(rng, num_textures)
        self.wardrobe = Wardrobe(self.body, self.textures)
        self.belongings = Belongings(self.body, self.textures)
        order = np.argsort(-self.body.weights, 1)[:, :4].astype(np.int32)
        weights = np.take_along_axis(self.body.weights, order, 1)
        self._indices, self._weights = np.ascontiguousarray(order), np.ascontiguousarray(weights)

    def actor(self, betas: np.ndarray, rotations: np.ndarray, look: Look, things: Sequence[Thing] = (),
              bare: bool = True) -> Actor:
        """Pose somebody. betas (B,), rotations (24, 3, 3) root included; `bare` False saves skinning the truth mesh."""
        body = self.body
        rest = body.rest_joints(betas[None])
        world, position = body.bones(rest, rotations[None].astype(np.float32))
        offset = position - (world @ rest[..., None])[..., 0]
        bones = np.ascontiguousarray(np.concatenate([world, offset[..., None]], -1)[0])
        shaped = (betas @ body.shape_basis[:len(betas)]).reshape(-1, 3) + body.v_template
        dressed = shaped + self.wardrobe.normals * look.offset[:, None]
        vertices = np.empty_like(dressed)
        _skin(dressed, bones, self._indices, self._weights, vertices)
        skin = vertices
        if bare:
            skin = np.empty_like(shaped)
            _skin(np.ascontiguousarray(shaped), bones, self._indices, self._weights, skin)
        return Actor(betas, rotations, vertices, position[0], skin, look,
                     tuple(self._posed(thing, bones, rest[0]) for thing in things))

    def _posed(self, thing: Thing, bones: np.ndarray, rest: np.ndarray) -> Thing:
        """Things are made for the mean body: move them with the joint that holds them on a taller or smaller one."""
        local = thing.vertices + (rest - self.belongings.joints)[thing.joints[:, 0]].astype(np.float32)
        vertices = np.empty_like(local)
        _skin(np.ascontiguousarray(local), bones, thing.joints, thing.weights, vertices)
        return thing.at(vertices)


class Extras:
    """An endless supply of actors in everyday poses, facing any way, before a tilted camera."""

    def __init__(self, rng: np.random.Generator, cast: Cast, mix: dict[str, float] = ALL_POSES,
                 batch: int = 1024, tilted: float = 0.) -> None:
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
        return self.cast.actor(self._shapes[i], rotations, self.cast.wardrobe.sample(self.rng),
                               self.cast.belongings.sample(self.rng))


@dataclass(frozen=True)
class Light:
    """Two lamps and the sky."""

    key: np.ndarray
    fill: np.ndarray
    ambient: float
    key_strength: float
    fill_strength: float
    tint: np.ndarray
    edges: tuple[tuple[np.ndarray, float, float], ...] = field(default=())
    """Shadows that fall across people: planes (normal, offset [m]) and how much light is left behind each."""

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Light:
        def direction(bias):
            v = rng.normal(0, 1, 3) + bias
            return (v / np.linalg.norm(v)).astype(np.float32)
        edges = tuple((direction([0, 0, 0]), rng.uniform(-.5, .5), rng.uniform(.35, .8))
                      for _ in range(rng.choice(3, p=[.7, .2, .1])))
        return cls(direction([0, -1.2, -.6]), direction([0, 0, 0]), rng.uniform(.3, .7), rng.uniform(.1, .9),
                   rng.uniform(0, .3), rng.uniform(.85, 1.12, 3).astype(np.float32), edges)

    def __call__(self, colors: np.ndarray, normals: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Lit colours (V, 3) float32; points (V, 3) about the person's middle [m]."""
        shade = self.ambient + self.key_strength * np.clip(normals @ self.key, 0, 1) \
            + self.fill_strength * np.clip(normals @ self.fill, 0, 1)
        for normal, offset, left in self.edges:
            shade = np.where(points @ normal > offset, shade, shade * left)
        return (colors * shade[:, None].astype(np.float32) * self.tint).astype(np.float32)


class Canvas:
    """An image under construction: pixels, depth and who is where, drawn at `supersample` times the size.

    fx, fy, cx, cy: pinhole of the final image [px], pixel centres at integers.
    alone: pixels of whoever was drawn first, before others came in front [px of the final image].
    """

    def __init__(self, background: np.ndarray, fx: float, fy: float, cx: float, cy: float, supersample: int = 2):
        self.supersample = s = supersample
        height, width = background.shape[:2]
        self.size = (width, height)
        self.image = cv2.resize(background, (width * s, height * s), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        self.inverse_depth = np.zeros((height * s, width * s), np.float32)
        self.labels = np.zeros((height * s, width * s), np.uint8)
        self.alone = 0.
        self._k = (fx * s, fy * s, (cx + .5) * s - .5, (cy + .5) * s - .5)

    def draw(self, actor: Actor, translation: np.ndarray, faces: np.ndarray, light: Light, label: int) -> None:
        for mesh, triangles, unlit in ((actor.vertices, faces, actor.look.colors),
                                       *((thing.vertices, thing.faces, thing.colors) for thing in actor.things)):
            vertices = (mesh + translation).astype(np.float32)
            colors = light(unlit, vertex_normals(vertices, triangles), mesh)
            rasterize(vertices, triangles, colors, *self._k, self.image, self.inverse_depth, self.labels, label)
        if label == 1:
            self.alone = np.count_nonzero(self.labels == 1) / self.supersample ** 2

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) float32 image and (H, W) uint8 labels."""
        s = self.supersample
        return cv2.resize(self.image, self.size, interpolation=cv2.INTER_AREA), self.labels[s // 2::s, s // 2::s]


def canvas(background: np.ndarray, fx: float, fy: float, cx: float, cy: float, supersample: int, device: str = ''):
    """A Canvas; with a torch device ('cuda', 'cpu') one that draws there."""
    if not device:
        return Canvas(background, fx, fy, cx, cy, supersample)
    from cliff_ros.synthetic.device import DeviceCanvas
    return DeviceCanvas(background, fx, fy, cx, cy, supersample, device)


def camera_rotation(pitch: float, roll: float = 0.) -> np.ndarray:
    """(3, 3) level to camera: pitch degrees downward, then roll degrees about the optical axis."""
    return euler_to_matrix(np.array([0., 0., roll])) @ euler_to_matrix(np.array([pitch, 0., 0.]))


def sample_tilt(rng: np.random.Generator, tilted: float = 0.) -> np.ndarray:
    """(3, 3) level to camera of a robot's camera; so many of them look down from a ceiling, up from the floor, or are
    rolled."""
    pitch, roll = rng.normal(6, 14), rng.normal(0, 5)
    if tilted and rng.random() < tilted:
        kind = rng.random()
        if kind < .35:
            pitch = rng.uniform(20, 70)
        elif kind < .6:
            pitch = rng.uniform(-35, -8)
        if kind > .5:
            roll = rng.uniform(-30, 30)
    return camera_rotation(pitch, roll)


def project(points: np.ndarray) -> np.ndarray:
    """(N, 3) -> (N, 2) on the plane z = 1."""
    return points[..., :2] / points[..., 2:]
