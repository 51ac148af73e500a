"""Training crops of single people, rendered directly at the network's size.

A crop is drawn with the shifted and scaled camera of the crop rectangle: the same picture as cropping a
rendered frame, at a fiftieth of the cost. Everything is in a normalized camera (f = 1), because CLIFF's
location feature (cx/f, cy/f, b/f) is all that the network and its losses know of the real one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from cliff_ros.synthetic import framing, furniture
from cliff_ros.synthetic.actor import Actor
from cliff_ros.synthetic.backgrounds import clutter
from cliff_ros.synthetic.camera_effects import camera_effects, cover_with, occlude
from cliff_ros.synthetic.poses import ALL_POSES, LIVED_POSES
from cliff_ros.synthetic.props import UPRIGHT as KINDS
from cliff_ros.synthetic.scene import PLAIN, RICH, UNSEEN, Cast, Extras, canvas, project
from cliff_ros.synthetic.scenery import Backdrop, Scenery
from cliff_ros.synthetic.textures import natural_color

CROP_HEIGHT, CROP_WIDTH = 128, 96
MARGIN = 1.1
FOV = (38.0, 120.0)  # [deg] horizontal
NEGATIVES = 0.12  # of the crops: what a detector takes for a person, and boxes that miss theirs or show a forearm
LEAST_VISIBLE = 0.12  # of a person's pixels in the crop
SEATED = 0.7  # of those who sit or lie have something under them
LABEL = np.dtype(
    [
        ('betas', 'f4', 10),
        ('rotations', 'f4', (24, 3, 3)),
        ('translation', 'f4', 3),
        ('location', 'f4', 3),
        ('keypoints', 'f4', (29, 2)),  # (p - center) / crop height: x in +-0.375, y in +-0.5 inside the crop
        ('visible', 'f4'),  # share of the person's pixels that nothing hides
        ('present', 'f4'),  # 1: the box is a person's or of a part of them; 0: nobody's, and nothing else here counts
        ('seen', 'u1', 29),  # the keypoint is in the crop and in the camera's image, and nothing is in front of it
    ]
)


DRAWN_AT_ONCE = 64  # crops on a torch device


@dataclass(frozen=True)
class _Placed:
    """Somebody before a camera. keypoints (29, 2), low and high of the box, half extents of the image: at z = 1.
    pixels: of the camera per unit there. tilt: of the camera, from level. cover: what is in front of them, a
    quadrilateral, or None."""

    actor: Actor
    translation: np.ndarray
    keypoints: np.ndarray
    low: np.ndarray
    high: np.ndarray
    half: np.ndarray
    pixels: float
    tilt: np.ndarray
    cover: np.ndarray | None = None


@dataclass(frozen=True)
class _Composed:
    """A crop before it is drawn. center, height: of the crop, z = 1. source: pixels of the camera per pixel of the
    crop."""

    canvas: Any  # Canvas or DeviceCanvas
    placed: _Placed
    center: np.ndarray
    height: float
    source: float
    present: bool


class CropSampler:
    """Endless labeled crops, deterministic for its arguments.

    size: (height, width) [px] of the crops, of the embedded network's shape 4:3 or any other.
    fov: horizontal field of view of the cameras [deg], uniform in between.
    negatives: share of crops with nobody in them, or with a box that misses the person.
    border: what is outside the camera's image: 'black', 'reflect' (the image, mirrored), or 'scene' where the world
        goes on instead.
    inside: the least share of the box of somebody who is not near that lies in the camera's image.
    whole: nobody near and cut, nobody behind furniture, only good boxes.
    everyday: common poses, few things and people in front, milder camera effects.
    look: 'rich': people dressed from the wardrobe in real places; 'unseen': as rich, of garments and places that are
        kept from training; 'plain': colors and offsets only.
    device: where torch draws ('cuda', 'cpu'); '' for the rasterizer on the CPU. Crops that are drawn together are not
        those that come one by one, but as good.
    """

    def __init__(
        self,
        seed: int,
        num_backgrounds: int = 200,
        size: tuple[int, int] = (CROP_HEIGHT, CROP_WIDTH),
        fov: tuple[float, float] = FOV,
        negatives: float = NEGATIVES,
        border: str = 'black',
        inside: float = 0.45,
        everyday: bool = False,
        device: str = '',
        whole: bool = False,
        look: str = RICH,
    ) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.height, self.width = size
        self.fov, self.negatives, self.border, self.inside = fov, negatives, border, inside
        self.device, self.whole = device, whole
        self.cast = Cast(rng, look=look)
        self.scenery = None if look == PLAIN else Scenery(rng, self.cast.textures, look == UNSEEN)
        self.backgrounds = (
            self.scenery.stock(rng, num_backgrounds)
            if self.scenery
            else [Backdrop(clutter(rng, self.cast.textures)) for _ in range(num_backgrounds)]
        )
        self._kinds = KINDS + (self.scenery.objects.draw,) * len(KINDS) if self.scenery else KINDS
        self._recent: list = []
        self._extras = Extras(rng, self.cast, LIVED_POSES if everyday else ALL_POSES, tilted=0.2 if everyday else 0.4)
        self._crowding, self._effects, self._touch = (0.4, 0.6, 0.12) if everyday else (1.0, 1.0, 0.3)

    def _place(self) -> _Placed:
        """A person somewhere in a random camera's view, of whom the image shows enough."""
        rng = self.rng
        while True:
            actor = next(self._extras)
            half_x = np.tan(np.deg2rad(rng.uniform(*self.fov)) / 2)
            half = np.array([half_x, half_x * rng.choice([0.75, 0.5625, 1.0, 1.5], p=[0.45, 0.4, 0.1, 0.05])])
            if half[1] > 1.5:
                continue
            keypoints, cut = actor.keypoints, not self.whole and rng.random() < framing.NEAR
            for _ in range(4):  # a body is dear, a place is not
                translation = (framing.near if cut else framing.far)(rng, keypoints, half)
                points = actor.skin + translation
                if points[:, 2].min() < framing.NEAREST:
                    continue
                image = project(points)
                low, high = image.min(0), image.max(0)
                box_low, box_high = np.maximum(low, -half), np.minimum(high, half)
                size, pixels = box_high - box_low, rng.choice([480, 720, 1080], p=[0.5, 0.4, 0.1]) / (2 * half[1])
                if (size <= 0).any() or size[1] * pixels < 36:
                    continue
                joints = project(keypoints + translation)
                if not framing.shows_person(framing.within(joints, np.zeros(2), half)):
                    continue
                if cut or size.prod() / (high - low).prod() >= self.inside:
                    return self._boxed(
                        _Placed(actor, translation, joints, box_low, box_high, half, pixels, self._extras.tilt),
                        low,
                        high,
                    )

    def _boxed(self, placed: _Placed, low: np.ndarray, high: np.ndarray) -> _Placed:
        """Somebody whose box is cut at the image's border, with what is in front of them; low, high: uncut.

        Detectors differ: some box what is seen of a person, some what they think is hidden as well, few what is out of
        the image.
        """
        if self.whole:
            return placed
        rng, cover, size = self.rng, None, placed.high - placed.low
        if rng.random() < 0.05:
            low, high = np.maximum(low, placed.low - 0.3 * size), np.minimum(high, placed.high + 0.3 * size)
        else:
            low, high = placed.low, placed.high
        if rng.random() < framing.COVERED:
            cover = framing.cover(rng, placed.low, placed.high)
            visible = project(placed.actor.skin[::7] + placed.translation)
            visible = visible[framing.in_image(visible, placed.half) & ~framing.covered(visible, cover)]
            joints = framing.in_image(placed.keypoints, placed.half) & ~framing.covered(placed.keypoints, cover)
            if len(visible) < 20 or not framing.shows_person(joints):
                cover = None
            elif rng.random() < 0.6:
                low, high = visible.min(0), visible.max(0)
        return replace(placed, low=low, high=high, cover=cover)

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """(h, w, 3) uint8 RGB and its label, a scalar of dtype LABEL."""
        while True:
            composed = self._compose()
            image, label = self._photograph(composed, *composed.canvas.finish())
            if not _lost(label):
                return image, label

    def samples(self, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """So many of `sample`, drawn together where there is a device."""
        if not self.device:
            return [self.sample() for _ in range(count)]
        from cliff_ros.synthetic.device import finish

        composed = [self._compose() for _ in range(count)]
        drawn = finish([one.canvas for one in composed])
        made = [self._photograph(one, *result) for one, result in zip(composed, drawn, strict=True)]
        return [self.sample() if _lost(label) else (image, label) for image, label in made]

    def _compose(self) -> _Composed:
        """Who is where before which camera, and what part of its image the crop shows."""
        rng, faces = self.rng, self.cast.body.faces
        present = rng.random() >= self.negatives
        there, rectangle = present or rng.random() < 0.35, None
        while rectangle is None:  # where no box clearly shows, or clearly misses, a person: somebody else
            placed = self._place()
            rectangle = self._rectangle(placed) if present else self._missed(placed, there)
        center, height = rectangle
        k, cx, cy = self._pinhole(center, height)
        backdrop = self._background()
        background = backdrop.image
        if not present and rng.random() < 0.5:  # one thing that fills the box as a person would
            self._kinds[rng.integers(len(self._kinds))](
                background,
                rng,
                self.width * rng.uniform(0.35, 0.65),
                self.height * rng.uniform(0.85, 1.05),
                self.height * rng.uniform(0.6, 1.0),
            )
        scene = canvas(background, k, k, cx, cy, 2 if self.height < 200 else 1, self.device)
        light = backdrop.light(rng)
        if there:
            scene.draw(placed.actor, placed.translation, faces, light, 1)
            if not self.whole and rng.random() < SEATED:
                seat = furniture.under(rng, placed.actor, placed.translation, placed.tilt, self.cast.textures)
                if seat:
                    scene.draw(seat, placed.translation, furniture.NO_FACES, light, 0)
        touching = None
        if present and not self.whole and self._recent and placed.translation[2] > 0.8 and rng.random() < self._touch:
            touching = furniture.touching(rng, placed.actor, placed.tilt, *self._anybody())
        if touching:
            scene.draw(touching[0], (placed.translation + touching[1]).astype(np.float32), faces, light, 2)
        else:
            self._bystanders(scene, placed.translation, center, height, light, present)
        return _Composed(scene, placed, center, height, height * placed.pixels / self.height, present)

    def _rectangle(self, placed: _Placed) -> tuple[np.ndarray, float] | None:
        """Center and height of a crop that shows this person; None where a few tries gave none."""
        rng, aspect = self.rng, self.height / self.width
        for _ in range(6):
            kind = framing.loose if not self.whole and rng.random() < framing.LOOSE else framing.tight
            center, height = kind(rng, placed.low, placed.high, aspect, MARGIN)
            if self._shown(placed, center, height):
                return center, height
        return None

    def _shown(self, placed: _Placed, center: np.ndarray, height: float) -> bool | None:
        """`framing.shows_person` of what a crop has of somebody."""
        return framing.shows_person(self._visible(placed, center, height))

    def _visible(self, placed: _Placed, center: np.ndarray, height: float) -> np.ndarray:
        """(29,) bool: the keypoints inside the crop and the camera's image that no furniture covers."""
        extent = np.array([height * self.width / self.height, height]) / 2
        inside = framing.within(placed.keypoints, center, extent) & framing.in_image(placed.keypoints, placed.half)
        return inside if placed.cover is None else inside & ~framing.covered(placed.keypoints, placed.cover)

    def _pinhole(self, center: np.ndarray, height: float) -> tuple[float, float, float]:
        """f, cx, cy [px] of a crop."""
        k = self.height / height
        return k, self.width / 2 - 0.5 - center[0] * k, self.height / 2 - 0.5 - center[1] * k

    def _photograph(self, composed: _Composed, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the camera makes of the drawn crop, and its label."""
        rng, placed, center, height = self.rng, composed.placed, composed.center, composed.height
        actor, half = placed.actor, placed.half
        image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        k, cx, cy = self._pinhole(center, height)
        if placed.cover is not None and (composed.present or composed.canvas.alone):
            cover_with(image, labels, rng, placed.cover * k + [cx, cy], self.cast.textures)
        self._in_front(image, labels)
        if composed.source < 0.95:
            small = (max(8, int(self.width * composed.source)), max(8, int(self.height * composed.source)))
            image = cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (self.width, self.height))
        image = camera_effects(image, rng, self._effects)
        x, y = (np.arange(self.width) - cx) / k, (np.arange(self.height) - cy) / k
        if self.border == 'black':
            image[:, np.abs(x) > half[0]] = 0
            image[np.abs(y) > half[1]] = 0
        elif self.border == 'reflect':
            columns, rows = _mirrored(x, half[0]) * k + cx, _mirrored(y, half[1]) * k + cy
            image = image[
                np.ix_(
                    np.rint(rows).astype(int).clip(0, self.height - 1),
                    np.rint(columns).astype(int).clip(0, self.width - 1),
                )
            ]

        label = np.zeros((), LABEL)
        label['betas'], label['rotations'], label['translation'] = actor.betas, actor.rotations, placed.translation
        label['location'] = (*center, height)
        label['keypoints'] = (placed.keypoints - center) / height
        label['visible'] = np.count_nonzero(labels == 1) / max(1, composed.canvas.alone)
        label['present'] = composed.present
        if composed.present:
            seen = self._visible(placed, center, height)
            column, row = np.rint(placed.keypoints[seen] * k + [cx, cy]).astype(int).T
            around = cv2.dilate((labels == 1).astype(np.uint8), np.ones((3, 3), np.uint8))
            seen[seen] = around[row.clip(0, self.height - 1), column.clip(0, self.width - 1)] > 0
            label['seen'] = seen
        self._remember(placed)
        return image, label

    def _missed(self, placed: _Placed, there: bool) -> tuple[np.ndarray, float] | None:
        """A box that shows nobody: beside the person, around a forearm or a foot; anywhere where nobody is `there`.

        None where a few tries gave none.
        """
        rng = self.rng
        for _ in range(12):
            center, height = framing.tight(rng, placed.low, placed.high, self.height / self.width, MARGIN)
            if rng.random() < 0.55:
                angle = rng.uniform(0, 2 * np.pi)
                center = center + rng.uniform(0.5, 1.1) * height * np.array([0.75 * np.cos(angle), np.sin(angle)])
            else:
                center = center + rng.uniform(-0.45, 0.45, 2) * height * [0.6, 1]
                height = height * rng.uniform(0.15, 0.45)
            center = np.clip(center, -placed.half, placed.half)
            if not there or self._shown(placed, center, height) is False:
                return center, height
        return None

    def _in_front(self, image, labels) -> None:
        """Things that hide a part of the picture: patches, poles, cables, sticks."""
        rng = self.rng
        if rng.random() < 0.3 * self._crowding:
            for _ in range(rng.integers(1, 3)):
                occlude(image, labels, rng, self.cast.textures, natural_color(rng))
        if rng.random() < 0.2 * self._crowding:
            for _ in range(rng.integers(1, 3)):
                a, b = rng.uniform(0, [self.width, self.height], (2, 2)).astype(int).tolist()
                cv2.line(
                    image, a, b, natural_color(rng).tolist(), int(rng.integers(1, 1 + self.height // 40)), cv2.LINE_AA
                )

    def _background(self) -> Backdrop:
        rng = self.rng
        background = self.backgrounds[rng.integers(len(self.backgrounds))]
        zoom = np.exp(rng.uniform(-1.2, 0.9)) * self.height / CROP_HEIGHT
        shift = rng.uniform(0, 1, 2) * (640, 480)
        transform = np.array([[1 / zoom * rng.choice([-1, 1]), 0, shift[0]], [0, 1 / zoom, shift[1]]])
        return background._replace(
            image=cv2.warpAffine(
                background.image,
                transform,
                (self.width, self.height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT,
            )
        )

    def _bystanders(self, scene, translation, center, height, light, present) -> None:
        """Others beside, behind and sometimes in front of the person; at the edge only of a crop that shows nobody."""
        rng = self.rng
        if not self._recent or rng.random() > 0.4 * self._crowding:
            return
        for _ in range(rng.integers(1, 3)):
            other, _ = self._anybody()
            if present:
                depth = translation[2] * np.exp(rng.normal(0.15, 0.3))
                aside = rng.choice([-1, 1]) * rng.uniform(0.16, 0.6) * height
                at = translation[:2] / translation[2] + [aside, rng.normal(0, 0.1) * height]
            else:
                depth = 1.7 / (height * np.exp(rng.uniform(np.log(0.4), np.log(1.5))))
                at = center + [rng.choice([-1, 1]) * rng.uniform(0.5, 0.8) * height, rng.normal(0, 0.2) * height]
            if depth < 0.8:
                continue
            scene.draw(other, np.append(at * depth, depth), self.cast.body.faces, light, 2)

    def _anybody(self) -> tuple[Actor, np.ndarray]:
        """Somebody drawn before, and the tilt of the camera that they were posed for."""
        return self._recent[self.rng.integers(len(self._recent))]

    def _remember(self, placed: _Placed) -> None:
        if len(self._recent) < 30:
            self._recent.append((placed.actor, placed.tilt))
        else:
            self._recent[self.rng.integers(30)] = placed.actor, placed.tilt


def _lost(label: np.ndarray) -> bool:
    """Whether others and things hide so much of a person that nobody could tell who is meant."""
    return bool(label['present'] and (label['visible'] < LEAST_VISIBLE or label['seen'][framing.MAIN].sum() < 2))


def _mirrored(x: np.ndarray, edge: float) -> np.ndarray:
    """Coordinates (N,), those beyond +-edge folded back."""
    return np.where(np.abs(x) > edge, np.sign(x) * 2 * edge - x, x)


def generate(seed: int, count: int, **options) -> tuple[np.ndarray, np.ndarray]:
    """(count, h, w, 3) uint8 RGB crops and (count,) labels of dtype LABEL; `options` are CropSampler's."""
    sampler = CropSampler(seed, **options)
    images = np.empty((count, sampler.height, sampler.width, 3), np.uint8)
    labels = np.empty(count, LABEL)
    for start in range(0, count, DRAWN_AT_ONCE):
        for i, (image, label) in enumerate(sampler.samples(min(DRAWN_AT_ONCE, count - start)), start):
            images[i], labels[i] = image, label
    return images, labels
