"""Training crops of single people, rendered directly at the network's size.

A crop is drawn with the shifted and scaled camera of the crop rectangle: the same picture as cropping a
rendered frame, at a fiftieth of the cost. Everything is in a normalised camera (f = 1), because CLIFF's
location feature (cx/f, cy/f, b/f) is all that the network and its losses know of the real one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cliff_ros.synthetic.backgrounds import clutter
from cliff_ros.synthetic.camera_effects import camera_effects, occlude
from cliff_ros.synthetic.poses import COMMON_POSES, EVERYDAY
from cliff_ros.synthetic.props import UPRIGHT as KINDS
from cliff_ros.synthetic.scene import PLAIN, RICH, UNSEEN, Actor, Cast, Extras, canvas, project
from cliff_ros.synthetic.scenery import Backdrop, Scenery
from cliff_ros.synthetic.textures import natural_color

CROP_HEIGHT, CROP_WIDTH = 128, 96
MARGIN = 1.1
FOV = (38., 120.)  # [deg] horizontal
NEGATIVES = .12  # of the crops: what a detector takes for a person, and boxes that miss theirs
LABEL = np.dtype([
    ('betas', 'f4', 10), ('rotations', 'f4', (24, 3, 3)), ('translation', 'f4', 3), ('location', 'f4', 3),
    ('keypoints', 'f4', (29, 2)),  # (p - centre) / crop height: x in +-0.375, y in +-0.5 inside the crop
    ('visible', 'f4'),  # share of the person's pixels that nothing hides
    ('present', 'f4'),  # 1: the box is a person's; 0: it is nobody's, and nothing else in the label counts
])


DRAWN_AT_ONCE = 64  # crops on a torch device


@dataclass(frozen=True)
class _Composed:
    """A crop before it is drawn. center, height: of the crop; half: of the camera's image; z = 1. source: pixels of the
    camera per pixel of the crop."""

    canvas: object
    actor: Actor
    translation: np.ndarray
    center: np.ndarray
    height: float
    half: np.ndarray
    source: float
    present: bool


class CropSampler:
    """Endless labelled crops, deterministic for its arguments.

    size: (height, width) [px] of the crops, of the embedded network's shape 4:3 or any other.
    fov: horizontal field of view of the cameras [deg], uniform in between.
    negatives: share of crops with nobody in them, or with a box that misses the person.
    border: what is outside the camera's image: 'black', 'reflect' (the image, mirrored), or 'scene' where the world
        goes on instead.
    inside: the least share of the person's box that lies in the camera's image.
    everyday: common poses, few things and people in front, milder camera effects.
    look: 'rich': people dressed from the wardrobe in real places; 'unseen': as rich, of garments and places that are
        kept from training; 'plain': colors and offsets only.
    device: where torch draws ('cuda', 'cpu'); '' for the rasteriser on the CPU. Crops that are drawn together are not
        those that come one by one, but as good.
    """

    def __init__(self, seed: int, num_backgrounds: int = 200, size: tuple[int, int] = (CROP_HEIGHT, CROP_WIDTH),
                 fov: tuple[float, float] = FOV, negatives: float = NEGATIVES, border: str = 'black',
                 inside: float = .45, everyday: bool = False, device: str = '',
                 look: str = RICH) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.height, self.width = size
        self.fov, self.negatives, self.border, self.inside = fov, negatives, border, inside
        self.device = device
        self.cast = Cast(rng, look=look)
        self.scenery = None if look == PLAIN else Scenery(rng, self.cast.textures, look == UNSEEN)
        self.backgrounds = self.scenery.stock(rng, num_backgrounds) if self.scenery else \
            [Backdrop(clutter(rng, self.cast.textures)) for _ in range(num_backgrounds)]
        self._kinds = KINDS + (self.scenery.objects.draw,) * len(KINDS) if self.scenery else KINDS
        self._recent: list = []
        self._extras = Extras(rng, self.cast, COMMON_POSES if everyday else EVERYDAY)
        self._crowding, self._effects = (.4, .6) if everyday else (1., 1.)

    def _place(self):
        """A person somewhere in a random camera's view: (actor, translation, box, half extents, pixels per unit)."""
        rng = self.rng
        while True:
            actor = next(self._extras)
            half_x = np.tan(np.deg2rad(rng.uniform(*self.fov)) / 2)
            half = np.array([half_x, half_x * rng.choice([.75, .5625, 1.0, 1.5], p=[.45, .4, .1, .05])])
            if half[1] > 1.5:
                continue
            z = 1.7 / (2 * half[1] * np.exp(rng.uniform(np.log(.13), np.log(1.15))))
            at = np.array([rng.uniform(-1, 1) * half[0], rng.uniform(-.75, .75) * half[1]])
            translation = (np.append(at * z, z) - actor.joints[0]).astype(np.float32)
            points = actor.skin + translation
            if points[:, 2].min() < .25:
                continue
            image = project(points)
            low, high = image.min(0), image.max(0)
            box_low, box_high = np.maximum(low, -half), np.minimum(high, half)
            size = box_high - box_low
            pixels = rng.choice([480, 720, 1080], p=[.5, .4, .1]) / (2 * half[1])
            if (size > 0).all() and size.prod() / (high - low).prod() >= self.inside and size[1] * pixels > 36:
                return actor, translation, (box_low, box_high), half, pixels

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """(h, w, 3) uint8 RGB and its label, a scalar of dtype LABEL."""
        composed = self._compose()
        return self._photograph(composed, *composed.canvas.finish())

    def samples(self, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """So many of `sample`, drawn together where there is a device."""
        if not self.device:
            return [self.sample() for _ in range(count)]
        from cliff_ros.synthetic.device import finish
        composed = [self._compose() for _ in range(count)]
        drawn = finish([one.canvas for one in composed])
        return [self._photograph(one, *result) for one, result in zip(composed, drawn, strict=True)]

    def _compose(self) -> _Composed:
        """Who is where before which camera, and what part of its image the crop shows."""
        rng, faces = self.rng, self.cast.body.faces
        actor, translation, (low, high), half, pixels = self._place()
        size, present = high - low, rng.random() >= self.negatives
        height = MARGIN * max(size[1], size[0] * self.height / self.width)
        center = (low + high) / 2 + rng.normal(0, .03, 2).clip(-.08, .08) * height
        height *= np.exp(np.clip(rng.normal(.01, .07), -.18, .2))
        if not present:
            center, height = self._missed(center, height, half)
        k, cx, cy = self._pinhole(center, height)
        backdrop = self._background()
        background = backdrop.image
        if not present and rng.random() < .5:  # one thing that fills the box as a person would
            self._kinds[rng.integers(len(self._kinds))](background, rng, self.width * rng.uniform(.35, .65),
                                            self.height * rng.uniform(.85, 1.05), self.height * rng.uniform(.6, 1.))
        scene = canvas(background, k, k, cx, cy, 2 if self.height < 200 else 1, self.device)
        light = backdrop.light(rng)
        if present or rng.random() < .35:
            scene.draw(actor, translation, faces, light, 1)
        self._bystanders(scene, translation, height, light)
        return _Composed(scene, actor, translation, center, height, half, height * pixels / self.height, present)

    def _pinhole(self, center: np.ndarray, height: float) -> tuple[float, float, float]:
        """f, cx, cy [px] of a crop."""
        k = self.height / height
        return k, self.width / 2 - .5 - center[0] * k, self.height / 2 - .5 - center[1] * k

    def _photograph(self, composed: _Composed, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the camera makes of the drawn crop, and its label."""
        rng, actor, center, height, half = self.rng, composed.actor, composed.center, composed.height, composed.half
        image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        self._in_front(image, labels)
        if composed.source < .95:
            small = (max(8, int(self.width * composed.source)), max(8, int(self.height * composed.source)))
            image = cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (self.width, self.height))
        image = camera_effects(image, rng, self._effects)
        k, cx, cy = self._pinhole(center, height)
        x, y = (np.arange(self.width) - cx) / k, (np.arange(self.height) - cy) / k
        if self.border == 'black':
            image[:, np.abs(x) > half[0]] = 0
            image[np.abs(y) > half[1]] = 0
        elif self.border == 'reflect':
            columns, rows = _mirrored(x, half[0]) * k + cx, _mirrored(y, half[1]) * k + cy
            image = image[np.ix_(np.rint(rows).astype(int).clip(0, self.height - 1),
                                 np.rint(columns).astype(int).clip(0, self.width - 1))]

        label = np.zeros((), LABEL)
        label['betas'], label['rotations'], label['translation'] = actor.betas, actor.rotations, composed.translation
        label['location'] = (*center, height)
        label['keypoints'] = (project(actor.keypoints + composed.translation) - center) / height
        label['visible'] = np.count_nonzero(labels == 1) / max(1, composed.canvas.alone)
        label['present'] = composed.present
        self._remember(actor)
        return image, label

    def _missed(self, center, height, half) -> tuple[np.ndarray, float]:
        """A box that misses the person: beside, far too large, a part of the body only."""
        rng = self.rng
        kind = rng.integers(3)
        if kind == 0:
            angle = rng.uniform(0, 2 * np.pi)
            center = center + rng.uniform(.5, 1.) * height * np.array([.75 * np.cos(angle), np.sin(angle)])
        elif kind == 1:
            height = height * rng.uniform(2., 4.)
            center = center + rng.uniform(-.3, .3, 2) * height
        else:
            center = center + rng.uniform(-.45, .45, 2) * height * [.6, 1]
            height = height * rng.uniform(.2, .45)
        return np.clip(center, -half, half), height

    def _in_front(self, image, labels) -> None:
        """Things that hide a part of the picture: patches, poles, cables, sticks."""
        rng = self.rng
        if rng.random() < .3 * self._crowding:
            for _ in range(rng.integers(1, 3)):
                occlude(image, labels, rng, self.cast.textures, natural_color(rng))
        if rng.random() < .2 * self._crowding:
            for _ in range(rng.integers(1, 3)):
                a, b = rng.uniform(0, [self.width, self.height], (2, 2)).astype(int).tolist()
                cv2.line(image, a, b, natural_color(rng).tolist(), int(rng.integers(1, 1 + self.height // 40)),
                         cv2.LINE_AA)

    def _background(self) -> Backdrop:
        rng = self.rng
        background = self.backgrounds[rng.integers(len(self.backgrounds))]
        zoom = np.exp(rng.uniform(-1.2, .9)) * self.height / CROP_HEIGHT
        shift = rng.uniform(0, 1, 2) * (640, 480)
        transform = np.array([[1 / zoom * rng.choice([-1, 1]), 0, shift[0]], [0, 1 / zoom, shift[1]]])
        return background._replace(image=cv2.warpAffine(
            background.image, transform, (self.width, self.height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT))

    def _bystanders(self, scene, translation, height, light) -> None:
        """Others beside, behind and sometimes in front of the person."""
        rng = self.rng
        if not self._recent or rng.random() > .4 * self._crowding:
            return
        for _ in range(rng.integers(1, 3)):
            other = self._recent[rng.integers(len(self._recent))]
            depth = translation[2] * np.exp(rng.normal(.15, .3))
            if depth < .8:
                continue
            aside = rng.choice([-1, 1]) * rng.uniform(.16, .6) * height
            at = translation[:2] / translation[2] + [aside, rng.normal(0, .1) * height]
            scene.draw(other, np.append(at * depth, depth), self.cast.body.faces, light, 2)

    def _remember(self, actor) -> None:
        if len(self._recent) < 30:
            self._recent.append(actor)
        else:
            self._recent[self.rng.integers(30)] = actor


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
