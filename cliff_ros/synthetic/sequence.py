"""A moving scene: people who walk, gesture, sit down and reach in a room, before a robot's camera."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from cliff_ros.camera import Camera
from cliff_ros.people import People, Person
from cliff_ros.render.raster import rasterize
from cliff_ros.synthetic.actor import Actor
from cliff_ros.synthetic.appearance import Look
from cliff_ros.synthetic.backgrounds import room
from cliff_ros.synthetic.belongings import Thing
from cliff_ros.synthetic.lights import Light
from cliff_ros.synthetic.poses import WalkStyle, euler_to_matrix, sample_poses
from cliff_ros.synthetic.scene import FACING_CAMERA, Canvas, Cast, camera_rotation, project, sample_betas

WORLD_FROM_LEVEL = np.diag([1.0, -1.0, -1.0])  # optical axes of a level camera <-> x right, y up, z to the viewer
KEY_POSE_SECONDS = 1.1
MAX_HIDDEN = 0.6  # of a person, by others or the image's border, for the truth to ask for them
EVERYDAY_ACTS = dict(stand=0.15, gesture=0.4, reach=0.2, sit=0.1, crouch=0.15)


@dataclass
class _Role:
    """One person's part: who, and where and how at any time."""

    betas: np.ndarray
    look: Look
    things: list[Thing]
    place: np.ndarray  # (2,) on the floor [m]: right, away
    radius: float
    speed: float  # [m/s] along the circle; 0 for somebody who acts on the spot
    heading: float  # [deg]
    turn: float  # [deg/s]
    gait: WalkStyle
    keys: np.ndarray = field(repr=False)  # (K, 24, 3) key poses [deg]

    def at(self, t: float) -> tuple[np.ndarray, float, np.ndarray]:
        """Floor position, heading [deg, 0 faces the camera] and joint angles (24, 3) [deg] at time t."""
        if self.speed:
            angle = np.deg2rad(self.heading) + self.speed / self.radius * t
            position = self.place + self.radius * np.array([np.sin(angle), np.cos(angle)])
            steps = 2 * np.pi * self.speed * t / 1.35  # one gait cycle, two steps, every 1.35 m
            forward = np.sign(self.speed) * np.array([np.cos(angle), -np.sin(angle)])
            return (
                position,
                float(np.rad2deg(np.arctan2(forward[0], -forward[1]))),
                self.gait.angles(np.array([steps]))[0] + 0.4 * self._acted(t) * _UPPER_BODY,
            )
        return self.place, self.heading + self.turn * t, self._acted(t)

    def _acted(self, t: float) -> np.ndarray:
        k, within = divmod(t / KEY_POSE_SECONDS, 1)
        ease = np.clip((within - 0.15) / 0.7, 0, 1)
        ease = ease * ease * (3 - 2 * ease)
        a, b = self.keys[int(k) % len(self.keys)], self.keys[(int(k) + 1) % len(self.keys)]
        acted: np.ndarray = a + (b - a) * ease
        return acted


_UPPER_BODY = np.zeros((24, 1))
_UPPER_BODY[[12, 15, 20, 21]] = 1  # what a walking person does besides: look around


class Sequence:
    """Frames and exact truth of a scene, at random access, deterministic for the arguments.

    People stand on a level floor; the camera looks slightly down, as on a robot. Even-numbered people walk in
    circles and so face every way; the others act on the spot and turn.

    Parameters
    ----------
    width, height: of the image [px]; fps, seconds: length
    people: at most this many; fov: horizontal field of view [deg]
    """

    def __init__(
        self,
        seed: int = 0,
        width: int = 1280,
        height: int = 720,
        fps: float = 15.0,
        seconds: float = 20.0,
        people: int = 3,
        fov: float = 75.0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.seed, self.fps, self.seconds = seed, float(fps), float(seconds)
        f = width / 2 / np.tan(np.deg2rad(fov) / 2)
        k = np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])
        self.camera = Camera(width, height, k)
        self.cast = Cast(rng, num_textures=24)
        self.camera_height = float(rng.uniform(1.0, 1.4))
        self.rotation = camera_rotation(float(rng.uniform(4, 9)), float(rng.normal(0, 0.7)))
        self.light = Light(
            key=_unit([0.4, -0.8, -0.5]),
            fill=_unit([-0.6, -0.1, -0.6]),
            ambient=0.5,
            key_strength=0.55,
            fill_strength=0.15,
            tint=np.array([1.02, 1.0, 0.96], np.float32),
        )
        self.background = room(
            rng,
            self.cast.textures,
            width,
            height,
            f,
            k[0, 2],
            k[1, 2],
            self.rotation @ WORLD_FROM_LEVEL,
            self.camera_height,
        )
        # sensor noise: a few frames of it, repeated, since drawing it anew would cost as much as the people
        self._noise = [rng.normal(0, 2.5, (height, width, 3)).astype(np.int16) for _ in range(4)]
        self._roles = [self._role(rng, i, people, fov, width / height) for i in range(people)]
        self._cache: tuple[int, list[tuple[Actor, np.ndarray]]] = (-1, [])

    def __len__(self) -> int:
        return round(self.seconds * self.fps)

    def stamp(self, index: int) -> float:
        """Time of a frame [s], the first being at 0."""
        return index / self.fps

    def _role(self, rng: np.random.Generator, index: int, people: int, fov: float, aspect: float) -> _Role:
        slot = (index + 0.5) / people * 2 - 1  # each has a sector of the view: some overlap, little hiding
        azimuth = np.deg2rad(slot * fov / 2 * 0.72)
        distance = rng.uniform(3.1, 4.2) * max(1, 0.8 * aspect / 1.5) + 0.9 * (index % 2)
        walks = index % 2 == 0
        keys = sample_poses(rng, int(self.seconds / KEY_POSE_SECONDS) + 2, EVERYDAY_ACTS)
        return _Role(
            betas=sample_betas(rng, 1)[0],
            look=self.cast.wardrobe.sample(rng),
            things=self.cast.belongings.sample(rng),
            place=distance * np.array([np.sin(azimuth), np.cos(azimuth)]),
            radius=rng.uniform(0.5, 0.8),
            speed=rng.choice([-1, 1]) * rng.uniform(0.6, 1.0) if walks else 0.0,
            heading=rng.uniform(0, 360),
            turn=rng.choice([-1, 1]) * rng.uniform(18, 30),
            gait=WalkStyle.sample(rng, 1),
            keys=keys,
        )

    def _actors(self, index: int) -> list[tuple[Actor, np.ndarray]]:
        """Everybody at that frame with their SMPL translation in the camera."""
        if self._cache[0] == index:
            return self._cache[1]
        t, placed = self.stamp(index), []
        for role in self._roles:
            position, heading, angles = role.at(t)
            rotations = euler_to_matrix(angles)
            upright = FACING_CAMERA @ euler_to_matrix(np.array([0.0, heading, 0.0])) @ rotations[0]
            rotations[0] = self.rotation @ upright
            actor = self.cast.actor(role.betas, rotations, role.look, role.things)
            level = actor.skin @ self.rotation  # the camera's tilt undone: y is down, the floor is level
            pelvis = actor.joints[0] @ self.rotation
            lift = np.array([position[0] - pelvis[0], self.camera_height - level[:, 1].max(), position[1] - pelvis[2]])
            placed.append((actor, (self.rotation @ lift).astype(np.float32)))
        self._cache = (index, placed)
        return placed

    def truth(self, index: int) -> People:
        """Everybody who can be seen, exactly; boxes are of the bare body, cut at the image's border.

        Who is hidden by others or outside the image by more than `MAX_HIDDEN` is left out.
        """
        people = []
        for i, ((actor, translation), seen) in enumerate(zip(self._actors(index), self._visible(index), strict=True)):
            vertices, joints = actor.skin + translation, actor.joints + translation
            pixels = self.camera.project(vertices)
            low, high = pixels.min(0), pixels.max(0)
            box = np.concatenate(
                [np.maximum(low, -0.5), np.minimum(high, [self.camera.width - 0.5, self.camera.height - 0.5])]
            )
            if seen > 1 - MAX_HIDDEN:
                people.append(
                    Person(
                        id=i,
                        score=1.0,
                        box=box,
                        betas=actor.betas,
                        rotations=actor.rotations,
                        translation=translation,
                        joints=joints,
                        joints2d=self.camera.project(joints),
                        vertices=vertices,
                    )
                )
        return People.of(people)

    def _visible(self, index: int) -> list[float]:
        """The share of each person's silhouette that is in the image and that nobody else hides."""
        scale, margin = 0.25, 100  # drawn small, with room around the image
        width, height = (int(side * scale) + 2 * margin for side in (self.camera.width, self.camera.height))
        k, faces = self.camera.K, self.cast.body.faces
        pinhole = (k[0, 0] * scale, k[1, 1] * scale, k[0, 2] * scale + margin, k[1, 2] * scale + margin)
        image, black = np.zeros((height, width, 3), np.float32), np.zeros_like(self.cast.body.v_template)

        def draw(actor: Actor, translation: np.ndarray, depth: np.ndarray, labels: np.ndarray, label: int) -> None:
            vertices = (actor.skin + translation).astype(np.float32)
            rasterize(vertices, faces, black, *pinhole, image, depth, labels, label)

        together, labels = np.zeros((height, width), np.float32), np.zeros((height, width), np.uint8)
        whole: list[int] = []
        for label, (actor, translation) in enumerate(self._actors(index), 1):
            draw(actor, translation, together, labels, label)
            alone = np.zeros_like(labels)
            draw(actor, translation, np.zeros_like(together), alone, 1)
            whole.append(max(1, int(np.count_nonzero(alone))))
        inside = labels[margin:-margin, margin:-margin]
        return [np.count_nonzero(inside == label) / count for label, count in enumerate(whole, 1)]

    def image(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        image, k, faces = self.background.copy(), self.camera.K, self.cast.body.faces
        actors = sorted(self._actors(index), key=lambda placed: -placed[1][2])
        for actor, translation in actors:
            self._shadow(image, actor, translation)
        for actor, translation in actors:  # far to near, each in a window: cheaper than one large supersampled canvas
            left, top, right, bottom = self._window(actor.vertices + translation)
            if left < right and top < bottom:
                canvas = Canvas(image[top:bottom, left:right], k[0, 0], k[1, 1], k[0, 2] - left, k[1, 2] - top)
                canvas.draw(actor, translation, faces, self.light, 1)
                image[top:bottom, left:right] = np.clip(canvas.finish()[0], 0, 255)
        return cv2.add(image, self._noise[index * 7 % len(self._noise)], dtype=cv2.CV_8U)

    def _window(self, vertices: np.ndarray) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of somebody in the image."""
        pixels = self.camera.project(vertices)
        size = [self.camera.width, self.camera.height]
        low, high = np.clip(np.floor(pixels.min(0)) - 2, 0, size), np.clip(np.ceil(pixels.max(0)) + 3, 0, size)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    def _shadow(self, image: np.ndarray, actor: Actor, translation: np.ndarray) -> None:
        """A soft shadow on the floor below a person, in place."""
        level = (actor.joints[[0, 10, 11, 7, 8, 15]] + translation) @ self.rotation
        angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        middle, spread = level[:, [0, 2]].mean(0), 0.12 + 0.75 * level[:, [0, 2]].std(0)
        ring = (
            np.stack(
                [
                    middle[0] + (spread[0] + 0.1) * np.cos(angles),
                    np.full(32, self.camera_height),
                    middle[1] + (spread[1] + 0.1) * np.sin(angles),
                ],
                1,
            )
            @ self.rotation.T
        )
        if ring[:, 2].min() < 0.3:
            return
        k = self.camera.K
        ring = project(ring) * [k[0, 0], k[1, 1]] + [k[0, 2], k[1, 2]]
        left, top = np.maximum(np.floor(ring.min(0)) - 24, 0).astype(int)
        right, bottom = np.minimum(np.ceil(ring.max(0)) + 24, [image.shape[1], image.shape[0]]).astype(int)
        if left >= right or top >= bottom:
            return
        mask = np.zeros((bottom - top, right - left), np.float32)
        cv2.fillPoly(mask, [np.round(ring - (left, top)).astype(np.int32)], 0.45)
        mask = cv2.GaussianBlur(mask, (0, 0), 7)
        image[top:bottom, left:right] = (image[top:bottom, left:right] * (1 - mask[..., None])).astype(np.uint8)


def _unit(v: npt.ArrayLike) -> np.ndarray:
    unit: np.ndarray = (np.asarray(v) / np.linalg.norm(v)).astype(np.float32)
    return unit
