"""Single frames with several people and clutter and their exact truth, for detectors and for evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.people import People, Person
from cliff_ros.synthetic import framing, furniture
from cliff_ros.synthetic.actor import Actor
from cliff_ros.synthetic.backgrounds import clutter, room
from cliff_ros.synthetic.camera_effects import camera_effects, cover_with, occlude
from cliff_ros.synthetic.poses import ALL_POSES, COMMON_POSES, LIVED_POSES
from cliff_ros.synthetic.props import scatter
from cliff_ros.synthetic.scene import PLAIN, RICH, UNSEEN, Cast, Extras, camera_rotation, canvas, project
from cliff_ros.synthetic.scenery import Backdrop, Scenery
from cliff_ros.synthetic.sequence import WORLD_FROM_LEVEL
from cliff_ros.synthetic.textures import natural_color

NEAR = 0.3  # of the people, where training asks for them
SEATED = 0.7  # of those who sit or lie then have something under them
MAX_COVERED = 0.6  # of a person's pixels: who is hidden more than this is not asked for
_NO_MAP: Any = None  # OpenCV's types know no remapping by one map, which it has
LEAST_HEIGHT = 24  # [px at 320 pixels across] of somebody who is asked for: about 1/10 of the image's height


@dataclass(frozen=True)
class Still:
    """An image and who is in it.

    image: (H, W, 3) uint8 RGB; camera: with or without distortion.
    people: who is asked for, exactly; boxes hold the whole bare body, cut at the image's border.
    ignored: (M, 4) boxes of those too hidden, too small or too cut to ask for: finding them is neither right nor wrong.
    """

    image: np.ndarray
    camera: Camera
    people: People
    ignored: np.ndarray


@dataclass(frozen=True)
class _Placed:
    actor: Actor
    translation: np.ndarray
    box: np.ndarray  # xyxy [px of the canvas], cut at the border


class StillSampler:
    """Endless frames, deterministic for a seed.

    everyday: common poses, few occluders, at most four people who hide little of each other, mostly whole and on the
    floor: what an evaluation asks for, the same pictures for ever. Training sees wilder things.
    near: share of people who are too near for the image to hold, and half as many behind furniture; with it come
        other poses and cameras that are far from level. None: `NEAR`, and nothing of it in everyday scenes.
    look: as of CropSampler; an evaluation asks for 'plain', so that its figures stay comparable.
    visible: show of everybody the upper part, so much of their height in the image, down to its lower border; at most
        two people who hide nothing of each other, straight lenses.
    device: where torch draws ('cuda', 'cpu'); '' for the rasterizer on the CPU.
    """

    def __init__(
        self,
        seed: int,
        num_backgrounds: int = 150,
        everyday: bool = False,
        device: str = '',
        near: float | None = None,
        look: str = RICH,
        visible: float | None = None,
    ) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.everyday, self.device, self.visible = everyday, device, visible
        self.near = (0.0 if everyday else NEAR) if near is None else near
        self.cast = Cast(rng, look=look)
        self.extras = Extras(rng, self.cast, ALL_POSES if not everyday else LIVED_POSES if near else COMMON_POSES)
        self.scenery = None if look == PLAIN else Scenery(rng, self.cast.textures, look == UNSEEN)
        self.backgrounds = [clutter(rng, self.cast.textures) for _ in range(num_backgrounds)]

    def sample(self, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 RGB, boxes (N, 4) xyxy [px] of who is asked for and (M, 4) of who may be found."""
        still = self.scene(width, height)
        return still.image, still.people.box.astype(np.float32), still.ignored

    def scene(self, width: int, height: int, max_people: int | None = None) -> Still:
        """The next frame."""
        rng, faces = self.rng, self.cast.body.faces
        max_people = max_people or (2 if self.visible else 4 if self.everyday else 6)
        camera, tilt, camera_height = self._camera(width, height)
        k = camera.K
        backdrop = (
            self.scenery.before(rng, width, height, k[0, 0], k[0, 2], k[1, 2], tilt, camera_height)
            if self.scenery
            else None
        )
        backdrop = backdrop or Backdrop(self._background(camera, tilt, camera_height))
        picture = canvas(backdrop.image, k[0, 0], k[1, 1], k[0, 2], k[1, 2], 2 if width <= 640 else 1, self.device)
        light = backdrop.light(rng)
        placed: list[_Placed] = []
        for _ in range(rng.choice(max_people + 1, p=_crowd(max_people))):
            found = (
                self._place(camera, tilt, camera_height, placed)
                if not self.visible
                else self._cut(camera, tilt, placed)
            )
            if found:
                picture.draw(found.actor, found.translation, faces, light, len(placed) + 1)
                placed.append(found)
                seat = (
                    furniture.under(rng, found.actor, found.translation, tilt, self.cast.textures)
                    if self.near and rng.random() < SEATED
                    else None
                )
                if seat:
                    picture.draw(seat, found.translation, furniture.NO_FACES, light, 0)
        image, labels = picture.finish()
        image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        if self.near:
            self._furnish(image, labels, placed)
        for _ in range(rng.poisson(0.25 if self.everyday else 0.7)):
            occlude(image, labels, rng, self.cast.textures, natural_color(rng))
        if not self.visible:
            image, labels, camera = self._bent(image, labels, camera)
        asked, ignored = self._asked(placed, labels, camera)
        return Still(
            camera_effects(image, rng, 0.6 if self.everyday else 1.0),
            camera,
            asked,
            np.array(ignored, np.float32).reshape(-1, 4),
        )

    def _camera(self, width: int, height: int) -> tuple[Camera, np.ndarray, float]:
        """Pinhole camera, its rotation from level, its height [m]: from a vacuum cleaner's to a tall robot's."""
        rng = self.rng
        f = width / 2 / np.tan(np.deg2rad(rng.uniform(40, 110 if self.everyday else 120)) / 2)
        k = np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]])
        camera_height = rng.uniform(0.3, 2.0)
        pitch = rng.normal(14 * (camera_height - 1), 6 if self.everyday else 9)  # low cameras look up
        roll = rng.normal(0, 3)
        if self.near and rng.random() < (0.2 if self.everyday else 0.4):
            kind = rng.random()
            if kind < 0.35:  # on a ceiling
                pitch, camera_height = rng.uniform(20, 70), rng.uniform(2.2, 3.5)
            elif kind < 0.6:
                pitch, camera_height = rng.uniform(-35, -8), rng.uniform(0.1, 0.5)
            if kind > 0.5:
                roll = rng.uniform(-30, 30)
        return Camera(width, height, k), camera_rotation(pitch, roll), camera_height

    def _background(self, camera: Camera, tilt: np.ndarray, camera_height: float) -> np.ndarray:
        rng, size = self.rng, (camera.width, camera.height)
        if rng.random() < 0.35:
            k = camera.K
            picture = room(
                rng, self.cast.textures, *size, k[0, 0], k[0, 2], k[1, 2], tilt @ WORLD_FROM_LEVEL, camera_height
            )
            if rng.random() < 0.6:
                scatter(picture, rng, int(rng.integers(1, 8)))
            return picture
        background = self.backgrounds[rng.integers(len(self.backgrounds))]
        if rng.random() < 0.5:
            background = background[:, ::-1]
        zoom = rng.uniform(0.45, 1.0)  # a part of it, so that a background is not the same twice
        part = (np.array([480, 640]) * zoom).astype(int)
        top, left = (int(rng.integers(0, room_left + 1)) for room_left in np.array([480, 640]) - part)
        return cv2.resize(background[top : top + part[0], left : left + part[1]], size, interpolation=cv2.INTER_AREA)

    def _place(self, camera: Camera, tilt: np.ndarray, camera_height: float, others: list[_Placed]) -> _Placed | None:
        """Somebody whom the others do not hide too much, or None after a few tries."""
        rng, limit = self.rng, np.array([camera.width, camera.height]) - 0.5
        actor = self.extras.before(tilt)
        on_floor = rng.random() < (0.85 if self.everyday else 0.5)
        level = actor.skin @ tilt
        pelvis = actor.joints[0] @ tilt
        near = self.near and rng.random() < self.near
        touches = (
            others[rng.integers(len(others))] if self.near and others and not near and rng.random() < 0.2 else None
        )
        for _ in range(8):
            if near:
                half = np.array([camera.width, camera.height]) / 2 / camera.f
                translation = framing.near(rng, actor.keypoints, half)
            elif touches:  # hand in hand, in each other's arms
                around, apart = rng.uniform(0, 2 * np.pi), rng.uniform(0.27, 0.7)
                lift = (
                    (touches.actor.joints[0] + touches.translation) @ tilt
                    - pelvis
                    + apart * np.array([np.sin(around), 0, np.cos(around)])
                )
                lift[1] = ((touches.actor.skin + touches.translation) @ tilt)[:, 1].max() - level[:, 1].max()
                translation = (tilt @ lift).astype(np.float32)
            elif on_floor:
                azimuth = np.arctan(rng.uniform(-1, 1) * camera.width / 2 / camera.f)
                distance = np.exp(rng.uniform(np.log(1.2), np.log(9.0)))
                if camera_height > 2.1:  # on a ceiling: around where its axis meets the floor
                    distance = (camera_height - 1) * np.sqrt(1 / tilt[2, 1] ** 2 - 1) * np.exp(rng.normal(0, 0.3))
                lift = np.array(
                    [
                        distance * np.sin(azimuth) - pelvis[0],
                        camera_height - level[:, 1].max(),
                        distance * np.cos(azimuth) - pelvis[2],
                    ]
                )
                translation = (tilt @ lift).astype(np.float32)
            else:
                z = 1.7 * camera.f / (camera.height * np.exp(rng.uniform(np.log(0.13), np.log(1.1))))
                at = (rng.uniform([0, 0.1], [1, 0.9]) * [camera.width, camera.height] - camera.K[:2, 2]) / camera.f
                translation = (np.append(at * z, z) - actor.joints[0]).astype(np.float32)
            points = actor.skin + translation
            if points[:, 2].min() < (framing.NEAREST if near else 0.25):
                continue
            pixels = project(points) * camera.f + camera.K[:2, 2]
            low, high = pixels.min(0), pixels.max(0)
            box = np.concatenate([np.maximum(low, -0.5), np.minimum(high, limit)])
            size = box[2:] - box[:2]
            if (size < 6).any():
                continue
            inside = size.prod() / (high - low).prod()
            enough = self._shown(actor, translation, camera) if near else inside > (0.5 if self.everyday else 0.3)
            if enough and all(
                _overlap(box, other.box) < (0.95 if other is touches else 0.3 if self.everyday else 0.6)
                for other in others
            ):
                return _Placed(actor, translation, box)
        return None

    def _cut(self, camera: Camera, tilt: np.ndarray, others: list[_Placed]) -> _Placed | None:
        """Somebody of whom the image's lower border leaves the upper part (`visible`), or None after a few tries."""
        rng, actor = self.rng, self.extras.before(tilt)
        limit, middle = np.array([camera.width, camera.height]) - 0.5, camera.K[:2, 2]
        for _ in range(12):
            x, top = rng.uniform(-0.9, 0.9) * camera.width / 2 / camera.f, rng.uniform(0.03, 0.55) * camera.height
            near, far = 0.3, 20.0
            for _ in range(16):  # the farther away, the more is seen
                z = np.sqrt(near * far)
                translation = np.array([x * z, 0, z]) - actor.joints[0]
                for _ in range(3):  # the highest point to where it belongs
                    points = actor.skin + translation
                    pixels = project(points) * camera.f + middle
                    highest = pixels[:, 1].argmin()
                    translation[1] += (top - pixels[highest, 1]) / camera.f * points[highest, 2]
                points = actor.skin + translation
                if points[:, 2].min() < framing.NEAREST:
                    near = z
                    continue
                pixels = project(points) * camera.f + middle
                low, high = pixels.min(0), pixels.max(0)
                seen = (limit[1] - low[1]) / (high[1] - low[1])
                near, far = (z, far) if seen < self.visible else (near, z)
            box = np.concatenate([np.maximum(low, -0.5), np.minimum(high, limit)])
            whole = (box[2] - box[0]) / (high[0] - low[0])
            if (
                abs(seen - self.visible) < 0.01
                and whole > 0.95
                and all(_overlap(box, one.box) < 0.05 for one in others)
            ):
                return _Placed(actor, translation.astype(np.float32), box)
        return None

    def _shown(self, actor: Actor, translation: np.ndarray, camera: Camera) -> bool:
        """Whether the image has enough of somebody to tell that they are there."""
        size = np.array([camera.width, camera.height])
        return bool(
            framing.shows_person(framing.within(camera.project(actor.keypoints + translation), size / 2, size / 2))
        )

    def _furnish(self, image: np.ndarray, labels: np.ndarray, placed: list[_Placed]) -> None:
        """Tables, counters and corners in front of some people, in place."""
        for one in placed:
            if self.rng.random() < self.near / 2:
                span = float(np.ptp(one.box[1::2]))
                cover = framing.cover(self.rng, one.box[:2] / span, one.box[2:] / span) * span
                cover_with(image, labels, self.rng, cover, self.cast.textures)

    def _bent(self, image: np.ndarray, labels: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray, Camera]:
        """A third of the cameras have a lens that bends lines: image, labels and camera of what it sees."""
        rng = self.rng
        if rng.random() > 1 / 3:
            return image, labels, camera
        # Distortion is as strong at the corners whatever the field of view. A barrel shows more of the world than the
        # canvas holds, so the lens is a little longer than the canvas' own.
        longer = 1.18
        reach = np.hypot(camera.width, camera.height) / 2 / camera.f / longer
        k = camera.K * [[longer, 1, 1], [1, longer, 1], [1, 1, 1]]
        d = (rng.uniform(-0.14, 0.06) / reach**2, 0.0, *(rng.normal(0, 0.004, 2) / reach), 0.0)
        bent = Camera(camera.width, camera.height, k, 'plumb_bob', d)
        source = _coarsely(lambda raw: (bent.undistort(raw) - k[:2, 2]) / longer + k[:2, 2], *camera.size)
        return (
            cv2.remap(image, source, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            cv2.remap(labels, source, _NO_MAP, cv2.INTER_NEAREST),
            bent,
        )

    def _asked(self, placed: list[_Placed], labels: np.ndarray, camera: Camera) -> tuple[People, list[np.ndarray]]:
        """Who is asked for, and the boxes of the others."""
        people, ignored = [], []
        least = LEAST_HEIGHT * camera.width / 320
        limit = np.array([camera.width, camera.height]) - 0.5
        for label, one in enumerate(placed, 1):
            vertices, joints = one.actor.skin + one.translation, one.actor.joints + one.translation
            pixels = camera.project(vertices)
            low, high = np.nanmin(pixels, 0), np.nanmax(pixels, 0)
            box = np.concatenate([np.maximum(low, -0.5), np.minimum(high, limit)])
            size = box[2:] - box[:2]
            if (size < 2).any():
                continue
            seen, inside = np.count_nonzero(labels == label) / (0.38 * size.prod()), size.prod() / (high - low).prod()
            enough = self._shown(one.actor, one.translation, camera) if self.near else self.visible or inside > 0.35
            if seen > 1 - MAX_COVERED and enough and size[1] > least:
                people.append(
                    Person(
                        id=label - 1,
                        score=1.0,
                        box=box,
                        betas=one.actor.betas,
                        rotations=one.actor.rotations,
                        translation=one.translation,
                        joints=joints,
                        joints2d=camera.project(joints),
                        vertices=vertices,
                    )
                )
            else:
                ignored.append(box)
        return People.of(people), ignored


def _coarsely(function: Callable[[np.ndarray], np.ndarray], width: int, height: int, step: int = 4) -> np.ndarray:
    """(H, W, 2) float32 of a smooth function of pixels, evaluated at every `step`-th and interpolated."""
    v, u = (np.arange(-1, side // step + 2) * step + (step - 1) / 2 for side in (height, width))
    values = function(np.stack(np.meshgrid(u, v), -1)).astype(np.float32)
    fine = cv2.resize(values, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(fine[step : step + height, step : step + width])


def _crowd(most: int) -> np.ndarray:
    """How probable 0, 1, .. most people are."""
    share: np.ndarray = np.array([0.12, *(0.8 ** np.arange(most))])
    share /= share.sum()
    return share


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over the smaller box."""
    size = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return float(size.prod() / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))
