"""Single frames with several people and clutter, for training and testing detectors."""

from __future__ import annotations

import cv2
import numpy as np

from cliff_ros.synthetic.camera_effects import camera_effects, occlude
from cliff_ros.synthetic.scene import Canvas, Cast, Extras, Light, camera_rotation, project
from cliff_ros.synthetic.sequence import WORLD_FROM_LEVEL
from cliff_ros.synthetic.textures import clutter, natural_color, room

MAX_COVERED = .6  # of a person's pixels: who is hidden more than this is not asked for


class StillSampler:
    """Endless frames of a fixed size, deterministic for a seed. Boxes are whole people, cut at the image's border."""

    def __init__(self, seed: int, num_backgrounds: int = 150) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.cast = Cast(rng)
        self.extras = Extras(rng, self.cast)
        self.backgrounds = [clutter(rng, self.cast.textures) for _ in range(num_backgrounds)]
        for _ in range(num_backgrounds // 3):
            tilt = camera_rotation(rng.normal(6, 10), rng.normal(0, 4)) @ WORLD_FROM_LEVEL
            self.backgrounds.append(room(rng, self.cast.textures, 640, 480, rng.uniform(250, 700), 319.5, 239.5, tilt,
                                         rng.uniform(.4, 2.)))

    def sample(self, width: int, height: int, max_people: int = 6) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 RGB and boxes (N, 4) xyxy [px]."""
        rng, faces = self.rng, self.cast.body.faces
        f = width / 2 / np.tan(np.deg2rad(rng.uniform(40, 110)) / 2)
        center = np.array([(width - 1) / 2, (height - 1) / 2])
        background = self.backgrounds[rng.integers(len(self.backgrounds))]
        if rng.random() < .5:
            background = background[:, ::-1]
        canvas = Canvas(cv2.resize(background, (width, height), interpolation=cv2.INTER_AREA), f, f, *center)
        light, boxes = Light.sample(rng), []
        for _ in range(rng.choice(max_people + 1, p=_crowd(max_people))):
            placed = self._place(f, center, width, height, boxes)
            if placed:
                actor, translation, box = placed
                canvas.draw(actor, translation, faces, light, len(boxes) + 1)
                boxes.append((box, actor, translation))
        image, labels = canvas.finish()
        image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        for _ in range(rng.poisson(.7)):
            occlude(image, labels, rng, self.cast.textures, natural_color(rng))
        visible = [box for label, (box, actor, translation) in enumerate(boxes, 1)
                   if np.count_nonzero(labels == label) > (1 - MAX_COVERED) * .38 * np.prod(box[2:] - box[:2])]
        return camera_effects(image, rng), np.array(visible, np.float32).reshape(-1, 4)

    def _place(self, f, center, width, height, others):
        """Somebody whom the others do not hide too much, or None after a few tries."""
        rng, limit = self.rng, np.array([width, height]) - .5
        actor = next(self.extras)
        for _ in range(6):
            z = 1.7 * f / (height * np.exp(rng.uniform(np.log(.13), np.log(1.1))))
            at = (rng.uniform([0, .1 * height], [width, .9 * height]) - center) / f
            translation = (np.append(at * z, z) - actor.joints[0]).astype(np.float32)
            points = actor.vertices + translation
            if points[:, 2].min() < .25:
                continue
            pixels = project(points) * f + center
            low, high = pixels.min(0), pixels.max(0)
            box = np.concatenate([np.maximum(low, -.5), np.minimum(high, limit)])
            size = box[2:] - box[:2]
            if (size < 8).any() or size.prod() / (high - low).prod() < .35:
                continue
            if all(_overlap(box, other) < .6 for other, _, _ in others):
                return actor, translation, box
        return None


def _crowd(most: int) -> np.ndarray:
    """How probable 0, 1, .. most people are."""
    share = np.array([.08, *(.8 ** np.arange(most))])
    return share / share.sum()


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over the smaller box."""
    size = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return float(size.prod() / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))
