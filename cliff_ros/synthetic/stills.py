"""Single frames with several people and clutter and their exact truth, for detectors and for evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.people import Person
from cliff_ros.synthetic.backgrounds import clutter, room
from cliff_ros.synthetic.camera_effects import camera_effects, occlude
from cliff_ros.synthetic.poses import COMMON_POSES, EVERYDAY
from cliff_ros.synthetic.props import scatter
from cliff_ros.synthetic.scene import PLAIN, RICH, UNSEEN, Actor, Cast, Extras, camera_rotation, canvas, project
from cliff_ros.synthetic.scenery import Backdrop, Scenery
from cliff_ros.synthetic.sequence import WORLD_FROM_LEVEL
from cliff_ros.synthetic.textures import natural_color

MAX_COVERED = .6  # of a person's pixels: who is hidden more than this is not asked for
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
    people: list[Person]
    ignored: np.ndarray


@dataclass(frozen=True)
class _Placed:
    actor: Actor
    translation: np.ndarray
    box: np.ndarray  # xyxy [px of the canvas], cut at the border


class StillSampler:
    """Endless frames, deterministic for a seed.

    everyday: common poses, few occluders, at most four people who hide little of each other, mostly whole and on the
    floor: what an evaluation asks for. Training sees wilder things.
    look: as of CropSampler; an evaluation asks for 'plain', so that its figures stay comparable.
    device: where torch draws ('cuda', 'cpu'); '' for the rasteriser on the CPU.
    """

    def __init__(self, seed: int, num_backgrounds: int = 150, everyday: bool = False, device: str = '',
                 look: str = RICH) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.everyday, self.device = everyday, device
        self.cast = Cast(rng, look=look)
        self.extras = Extras(rng, self.cast, COMMON_POSES if everyday else EVERYDAY)
        self.scenery = None if look == PLAIN else Scenery(rng, self.cast.textures, look == UNSEEN)
        self.backgrounds = [clutter(rng, self.cast.textures) for _ in range(num_backgrounds)]

    def sample(self, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 RGB, boxes (N, 4) xyxy [px] of who is asked for and (M, 4) of who may be found."""
        still = self.scene(width, height)
        return still.image, np.array([person.box for person in still.people], np.float32).reshape(-1, 4), still.ignored

    def scene(self, width: int, height: int, max_people: int | None = None) -> Still:
        """The next frame."""
        rng, faces = self.rng, self.cast.body.faces
        max_people = max_people or (4 if self.everyday else 6)
        camera, tilt, camera_height = self._camera(width, height)
        k = camera.K
        backdrop = self.scenery.before(rng, width, height, k[0, 0], k[0, 2], k[1, 2], tilt, camera_height) \
            if self.scenery else None
        backdrop = backdrop or Backdrop(self._background(camera, tilt, camera_height))
        picture = canvas(backdrop.image, k[0, 0], k[1, 1], k[0, 2], k[1, 2],
                         2 if width <= 640 else 1, self.device)
        light, placed = backdrop.light(rng), []
        for _ in range(rng.choice(max_people + 1, p=_crowd(max_people))):
            found = self._place(camera, tilt, camera_height, placed)
            if found:
                picture.draw(found.actor, found.translation, faces, light, len(placed) + 1)
                placed.append(found)
        image, labels = picture.finish()
        image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        for _ in range(rng.poisson(.25 if self.everyday else .7)):
            occlude(image, labels, rng, self.cast.textures, natural_color(rng))
        image, labels, camera = self._bent(image, labels, camera)
        asked, ignored = self._asked(placed, labels, camera)
        return Still(camera_effects(image, rng, .6 if self.everyday else 1.), camera, asked,
                     np.array(ignored, np.float32).reshape(-1, 4))

    def _camera(self, width: int, height: int) -> tuple[Camera, np.ndarray, float]:
        """Pinhole camera, its rotation from level, its height [m]: from a vacuum cleaner's to a tall robot's."""
        rng = self.rng
        f = width / 2 / np.tan(np.deg2rad(rng.uniform(40, 110 if self.everyday else 120)) / 2)
        k = np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]])
        camera_height = rng.uniform(.3, 2.)
        pitch = rng.normal(14 * (camera_height - 1), 6 if self.everyday else 9)  # low cameras look up
        return Camera(width, height, k), camera_rotation(pitch, rng.normal(0, 3)), camera_height

    def _background(self, camera: Camera, tilt: np.ndarray, camera_height: float) -> np.ndarray:
        rng, size = self.rng, (camera.width, camera.height)
        if rng.random() < .35:
            k = camera.K
            picture = room(rng, self.cast.textures, *size, k[0, 0], k[0, 2], k[1, 2], tilt @ WORLD_FROM_LEVEL,
                           camera_height)
            if rng.random() < .6:
                scatter(picture, rng, int(rng.integers(1, 8)))
            return picture
        background = self.backgrounds[rng.integers(len(self.backgrounds))]
        if rng.random() < .5:
            background = background[:, ::-1]
        zoom = rng.uniform(.45, 1.)  # a part of it, so that a background is not the same twice
        part = (np.array([480, 640]) * zoom).astype(int)
        top, left = (int(rng.integers(0, room_left + 1)) for room_left in np.array([480, 640]) - part)
        return cv2.resize(background[top:top + part[0], left:left + part[1]], size, interpolation=cv2.INTER_AREA)

    def _place(self, camera: Camera, tilt: np.ndarray, camera_height: float, others: list[_Placed]) -> _Placed | None:
        """Somebody whom the others do not hide too much, or None after a few tries."""
        rng, limit = self.rng, np.array([camera.width, camera.height]) - .5
        actor = self.extras.before(tilt)
        on_floor = rng.random() < (.85 if self.everyday else .5)
        level = actor.skin @ tilt
        pelvis = actor.joints[0] @ tilt
        for _ in range(8):
            if on_floor:
                azimuth = np.arctan(rng.uniform(-1, 1) * camera.width / 2 / camera.f)
                distance = np.exp(rng.uniform(np.log(1.2), np.log(9.)))
                lift = np.array([distance * np.sin(azimuth) - pelvis[0], camera_height - level[:, 1].max(),
                                 distance * np.cos(azimuth) - pelvis[2]])
                translation = (tilt @ lift).astype(np.float32)
            else:
                z = 1.7 * camera.f / (camera.height * np.exp(rng.uniform(np.log(.13), np.log(1.1))))
                at = (rng.uniform([0, .1], [1, .9]) * [camera.width, camera.height] - camera.K[:2, 2]) / camera.f
                translation = (np.append(at * z, z) - actor.joints[0]).astype(np.float32)
            points = actor.skin + translation
            if points[:, 2].min() < .25:
                continue
            pixels = project(points) * camera.f + camera.K[:2, 2]
            low, high = pixels.min(0), pixels.max(0)
            box = np.concatenate([np.maximum(low, -.5), np.minimum(high, limit)])
            size = box[2:] - box[:2]
            if (size < 6).any():
                continue
            inside = size.prod() / (high - low).prod()
            if inside > (.5 if self.everyday else .3) and all(
                    _overlap(box, other.box) < (.3 if self.everyday else .6) for other in others):
                return _Placed(actor, translation, box)
        return None

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
        d = (rng.uniform(-.14, .06) / reach ** 2, 0., *(rng.normal(0, .004, 2) / reach), 0.)
        bent = Camera(camera.width, camera.height, k, 'plumb_bob', d)
        source = _coarsely(lambda raw: (bent.undistort(raw) - k[:2, 2]) / longer + k[:2, 2], *camera.size)
        return (cv2.remap(image, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
                cv2.remap(labels, source, None, cv2.INTER_NEAREST), bent)

    def _asked(self, placed: list[_Placed], labels: np.ndarray, camera: Camera) -> tuple[list[Person], list]:
        """Who is asked for, and the boxes of the others."""
        people, ignored = [], []
        least = LEAST_HEIGHT * camera.width / 320
        limit = np.array([camera.width, camera.height]) - .5
        for label, one in enumerate(placed, 1):
            vertices, joints = one.actor.skin + one.translation, one.actor.joints + one.translation
            pixels = camera.project(vertices)
            low, high = np.nanmin(pixels, 0), np.nanmax(pixels, 0)
            box = np.concatenate([np.maximum(low, -.5), np.minimum(high, limit)])
            size = box[2:] - box[:2]
            if (size < 2).any():
                continue
            seen, inside = np.count_nonzero(labels == label) / (.38 * size.prod()), size.prod() / (high - low).prod()
            if seen > 1 - MAX_COVERED and inside > .35 and size[1] > least:
                people.append(Person(
                    id=label - 1, score=1., box=box, betas=one.actor.betas, rotations=one.actor.rotations,
                    translation=one.translation, joints=joints, joints2d=camera.project(joints), vertices=vertices))
            else:
                ignored.append(box)
        return people, ignored


def _coarsely(function, width: int, height: int, step: int = 4) -> np.ndarray:
    """(H, W, 2) float32 of a smooth function of pixels, evaluated at every `step`-th and interpolated."""
    v, u = (np.arange(-1, side // step + 2) * step + (step - 1) / 2 for side in (height, width))
    values = function(np.stack(np.meshgrid(u, v), -1)).astype(np.float32)
    fine = cv2.resize(values, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(fine[step:step + height, step:step + width])


def _crowd(most: int) -> np.ndarray:
    """How probable 0, 1, .. most people are."""
    share = np.array([.12, *(.8 ** np.arange(most))])
    return share / share.sum()


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over the smaller box."""
    size = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return float(size.prod() / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))
