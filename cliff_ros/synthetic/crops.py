"""Training crops of single people, rendered directly at the network's size.

A crop is drawn with the shifted and scaled camera of the crop rectangle: the same picture as cropping a
rendered frame, at a fiftieth of the cost. Everything is in a normalised camera (f = 1), because CLIFF's
location feature (cx/f, cy/f, b/f) is all that the network and its losses know of the real one.
"""

from __future__ import annotations

import cv2
import numpy as np

from cliff_ros.synthetic.camera_effects import camera_effects, occlude
from cliff_ros.synthetic.scene import Canvas, Cast, Extras, Light, project
from cliff_ros.synthetic.textures import clutter, natural_color

CROP_HEIGHT, CROP_WIDTH = 128, 96
MARGIN = 1.1
LABEL = np.dtype([
    ('betas', 'f4', 10), ('rotations', 'f4', (24, 3, 3)), ('translation', 'f4', 3), ('location', 'f4', 3),
    ('keypoints', 'f4', (29, 2)),  # (p - centre) / crop height: x in +-0.375, y in +-0.5 inside the crop
    ('visible', 'f4'),  # share of the person's pixels that nothing hides
])


class CropSampler:
    """Endless labelled crops, deterministic for a seed."""

    def __init__(self, seed: int, num_backgrounds: int = 200) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.cast = Cast(rng)
        self.backgrounds = [clutter(rng, self.cast.textures) for _ in range(num_backgrounds)]
        self._recent: list = []
        self._extras = Extras(rng, self.cast)

    def _place(self):
        """A person somewhere in a random camera's view: (actor, translation, box, half extents, pixels per unit)."""
        rng = self.rng
        while True:
            actor = next(self._extras)
            half_x = np.tan(np.deg2rad(rng.uniform(38, 110)) / 2)
            half = np.array([half_x, half_x * rng.choice([.75, .5625, 1.0, 1.5], p=[.45, .4, .1, .05])])
            if half[1] > 1.5:
                continue
            z = 1.7 / (2 * half[1] * np.exp(rng.uniform(np.log(.16), np.log(1.15))))
            at = np.array([rng.uniform(-1, 1) * half[0], rng.uniform(-.75, .75) * half[1]])
            translation = (np.append(at * z, z) - actor.joints[0]).astype(np.float32)
            points = actor.vertices + translation
            if points[:, 2].min() < .25:
                continue
            image = project(points)
            low, high = image.min(0), image.max(0)
            box_low, box_high = np.maximum(low, -half), np.minimum(high, half)
            size = box_high - box_low
            pixels = rng.choice([480, 720, 1080], p=[.5, .4, .1]) / (2 * half[1])
            if (size > 0).all() and size.prod() / (high - low).prod() > .45 and size[1] * pixels > 44:
                return actor, translation, (box_low, box_high), half, pixels

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """(128, 96, 3) uint8 RGB and its label, a scalar of dtype LABEL."""
        rng, faces = self.rng, self.cast.body.faces
        actor, translation, (low, high), half, pixels = self._place()
        size = high - low
        height = MARGIN * max(size[1], size[0] * CROP_HEIGHT / CROP_WIDTH)
        center = (low + high) / 2 + rng.normal(0, .03, 2).clip(-.08, .08) * height
        height *= np.exp(np.clip(rng.normal(.01, .07), -.18, .2))
        k = CROP_HEIGHT / height
        cx, cy = CROP_WIDTH / 2 - .5 - center[0] * k, CROP_HEIGHT / 2 - .5 - center[1] * k

        canvas = Canvas(self._background(), k, k, cx, cy)
        light = Light.sample(rng)
        canvas.draw(actor, translation, faces, light, 1)
        alone = np.count_nonzero(canvas.labels == 1)
        self._bystanders(canvas, translation, height, light)
        image, labels = canvas.finish()
        image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        if rng.random() < .3:
            for _ in range(rng.integers(1, 3)):
                occlude(image, labels, rng, self.cast.textures, natural_color(rng))
        if rng.random() < .2:  # thin things in front: poles, cables, sticks
            for _ in range(rng.integers(1, 3)):
                a, b = rng.uniform(0, [CROP_WIDTH, CROP_HEIGHT], (2, 2)).astype(int).tolist()
                cv2.line(image, a, b, natural_color(rng).tolist(), int(rng.integers(1, 4)), cv2.LINE_AA)
        source = height * pixels / CROP_HEIGHT  # pixels of the camera per pixel of the crop
        if source < .95:
            small = (max(8, int(CROP_WIDTH * source)), max(8, int(CROP_HEIGHT * source)))
            image = cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (CROP_WIDTH, CROP_HEIGHT))
        image = camera_effects(image, rng)
        x = (np.arange(CROP_WIDTH) - cx) / k
        y = (np.arange(CROP_HEIGHT) - cy) / k
        image[:, np.abs(x) > half[0]] = 0  # outside the camera's image
        image[np.abs(y) > half[1]] = 0

        label = np.zeros((), LABEL)
        label['betas'], label['rotations'], label['translation'] = actor.betas, actor.rotations, translation
        label['location'] = (*center, height)
        label['keypoints'] = (project(actor.keypoints + translation) - center) / height
        label['visible'] = 4 * np.count_nonzero(labels == 1) / max(1, alone)
        self._remember(actor)
        return image, label

    def _background(self) -> np.ndarray:
        rng = self.rng
        background = self.backgrounds[rng.integers(len(self.backgrounds))]
        zoom = np.exp(rng.uniform(-1.2, .9))
        shift = rng.uniform(0, 1, 2) * (640, 480)
        transform = np.array([[1 / zoom * rng.choice([-1, 1]), 0, shift[0]], [0, 1 / zoom, shift[1]]])
        return cv2.warpAffine(background, transform, (CROP_WIDTH, CROP_HEIGHT),
                              flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT)

    def _bystanders(self, canvas, translation, height, light) -> None:
        """Others beside, behind and sometimes in front of the person."""
        rng = self.rng
        if not self._recent or rng.random() > .4:
            return
        for _ in range(rng.integers(1, 3)):
            other = self._recent[rng.integers(len(self._recent))]
            depth = translation[2] * np.exp(rng.normal(.15, .3))
            if depth < .8:
                continue
            aside = rng.choice([-1, 1]) * rng.uniform(.16, .6) * height
            at = translation[:2] / translation[2] + [aside, rng.normal(0, .1) * height]
            canvas.draw(other, np.append(at * depth, depth), self.cast.body.faces, light, 2)

    def _remember(self, actor) -> None:
        if len(self._recent) < 30:
            self._recent.append(actor)
        else:
            self._recent[self.rng.integers(30)] = actor


def generate(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 128, 96, 3) uint8 RGB crops and (count,) labels of dtype LABEL."""
    sampler = CropSampler(seed)
    images = np.empty((count, CROP_HEIGHT, CROP_WIDTH, 3), np.uint8)
    labels = np.empty(count, LABEL)
    for i in range(count):
        images[i], labels[i] = sampler.sample()
    return images, labels
