"""Everything the networks could take for a person in an image, with scores: found once, judged by many thresholds.

What the pipeline does with one image, without any threshold: detector, crops, network, outlines. Then `stills` and
`over_time` say what thresholds would let through. They follow `cliff_ros.pipeline`, less its coasting, smoothing,
second looks, and what it knows of people who would be hidden: an estimate to choose thresholds by, not the figures of
the card.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bench.agreement import assign
from cliff_ros.body.outline import Outline
from cliff_ros.boxes import iou
from cliff_ros.crop.views import crops, views_of
from cliff_ros.detect import load_detector
from cliff_ros.engine import load_engine
from cliff_ros.graph.metadata import PRESENCE
from cliff_ros.people import Frame
from cliff_ros.track import same_as

LOWEST = 0.1  # score of a detection that is looked at
MIN_OVERLAP, MEMORY = 0.2, 0.5  # of boxes of the same person in two frames (IoU); how long somebody is remembered [s]


@dataclass(frozen=True)
class Candidates:
    """N of them in one image, best score first. detected, boxes: (N, 4) the detector's boxes, and around the bodies
    found there [px]. score, presence: (N,). joints2d: (N, 24, 2) [px]. distance: (N,) of the pelvis [m].
    """

    detected: np.ndarray
    boxes: np.ndarray
    score: np.ndarray
    presence: np.ndarray
    joints2d: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class Thresholds:
    """As the pipeline's parameters of these names."""

    score: float = 0.3
    presence: float = 0.7
    hits: int = 1


class Finder:
    """Finds the candidates of an image. model and detector as for `cliff_ros.Pipeline`."""

    def __init__(self, model: str = 'embedded', detector: str = 'embedded') -> None:
        from cliff_ros.body import load_body

        self.body = load_body('embedded')
        self.detector = load_detector(detector, LOWEST)
        self.engine = load_engine(model, 'onnx', body=self.body)
        self._outline = Outline(self.body)

    def __call__(self, frame: Frame) -> Candidates:
        found = sorted(self.detector(frame.image, frame.order), key=lambda box: -box.score)
        views = views_of(found, frame.camera, self.engine.spec, 0)
        kept = [i for i, view in enumerate(views) if view is not None]
        views = [views[i] for i in kept]
        out = self.engine(
            crops(frame.image, frame.camera, views, self.engine.spec, frame.order),
            np.array([view.location for view in views], np.float32).reshape(-1, 3),
            False,
        )
        joints, rotations = out['joints'].astype(float), out['rotations'].astype(float)
        translation = out['translation'].astype(float)
        for i, view in enumerate(views):
            if not view.is_straight:
                rotations[i, 0], translation[i] = view.pose_to_camera(rotations[i, 0], translation[i], joints[i, 0])
                joints[i] = view.to_camera(joints[i])
        detected = np.array([found[i].xyxy for i in kept], float).reshape(-1, 4)
        boxes = self._outline.boxes(frame.camera, out['betas'].astype(float), rotations, translation)
        boxes = np.where(np.isfinite(boxes).all(1, keepdims=True), boxes, detected)
        good = np.isfinite(joints).all((1, 2)) & (joints[:, 0, 2] > 0)
        score, pixels = np.array([found[i].score for i in kept]), frame.camera.project(joints)
        distance = np.linalg.norm(joints[:, 0], axis=1)
        return Candidates(*(values[good] for values in (detected, boxes, score, self.presence(out), pixels, distance)))

    def presence(self, out: dict[str, np.ndarray]) -> np.ndarray:
        """(N,) of an answer of the engine; 1 where the network does not say."""
        return np.asarray(out.get(PRESENCE, np.ones(len(out['joints']))), float).reshape(-1)


def stills(images: Iterable[Candidates], thresholds: Thresholds) -> Iterator[np.ndarray]:
    """Which candidates (indices) are reported of each image, seen on its own: nobody twice."""
    for image in images:
        rows = np.flatnonzero((image.score > thresholds.score) & (image.presence >= thresholds.presence))
        yield rows[once(image, rows)]


def over_time(
    images: Iterable[Candidates], thresholds: Thresholds, fps: float, cuts: frozenset[int] = frozenset()
) -> Iterator[np.ndarray]:
    """Which are reported of each frame of a recording: of somebody who was there before, half the presence is enough;
    somebody new has to be believed in `hits` frames, without a gap longer than `MEMORY`, to be reported.
    cuts: frames at which another recording begins, and nobody is remembered.
    """
    people: list[_Followed] = []
    for n, image in enumerate(images):
        if n in cuts:
            people = []
        rows = np.flatnonzero((image.score > thresholds.score) & (image.presence >= thresholds.presence / 2))
        overlap = iou(image.boxes[rows], np.array([person.box for person in people]).reshape(-1, 4))
        overlap[overlap < MIN_OVERLAP] = 0
        known = {int(rows[i]): people[j] for i, j in (assign(overlap) if overlap.size else [])}
        reported = []
        for row in rows:
            person = known.get(int(row))
            if person is None and image.presence[row] < thresholds.presence:
                continue
            if person is None:
                people.append(person := _Followed())
            person.box, person.last, person.hits = image.boxes[row], n, person.hits + 1
            if person.hits >= thresholds.hits:
                reported.append(row)
        people = [person for person in people if n - person.last <= max(1, MEMORY * fps)]
        reported = np.array(reported, int)
        yield reported[once(image, reported)]


def once(image: Candidates, rows: np.ndarray) -> np.ndarray:
    """(R,) bool: which of some candidates stay when nobody is reported twice."""
    return same_as(image.joints2d[rows], image.distance[rows], image.score[rows]) == np.arange(len(rows))


@dataclass
class _Followed:
    box: np.ndarray = field(default_factory=lambda: np.zeros(4))
    last: int = 0
    hits: int = 0
