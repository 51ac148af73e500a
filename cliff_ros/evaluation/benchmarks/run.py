"""A network on a benchmark: image by image, everybody in it at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.datasets.sample import Sample
from cliff_ros.errors import InputError
from cliff_ros.evaluation import agora
from cliff_ros.evaluation.benchmarks.protocols import PROTOCOLS, People
from cliff_ros.evaluation.benchmarks.registry import Benchmark, Labels
from cliff_ros.evaluation.benchmarks.truth import Truth, as_smpl, camera_of
from cliff_ros.evaluation.bodies import BodyFolder
from cliff_ros.evaluation.regressed import h36m_regressor
from cliff_ros.files import read_image
from cliff_ros.people import Box, Frame, Person
from cliff_ros.pipeline import Pipeline
from cliff_ros.render.overlay import draw_people, draw_skeleton
from cliff_ros.synthetic.actor import FACE_VERTICES

TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass
class Result:
    """What came of one image, or of several put together by `merge`.

    columns: protocol -> column -> rows of everybody who was compared. people: their ``person``, ``frame``, ``image``,
    its ``number``, and of the true pelvis ``azimuth_deg``, ``off_axis_deg``, ``distance_m``, NaN where it is not known.
    lost: people whom the network gave no body. matches: AGORA's.
    """

    columns: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    people: dict[str, np.ndarray] = field(default_factory=dict)
    lost: int = 0
    matches: list[agora.Matches] = field(default_factory=list)

    @classmethod
    def merge(cls, results: Sequence[Result]) -> Result:
        """One after the other."""
        names = dict.fromkeys(name for one in results for name in one.columns)
        return cls(
            {name: _joined([one.columns[name] for one in results if name in one.columns]) for name in names},
            _joined([one.people for one in results if one.people]),
            sum(one.lost for one in results),
            [match for one in results for match in one.matches],
        )


class Runner:
    """Compares what a pipeline finds with the labels of a benchmark.

    pipeline: without smoothing, and without a detector where boxes are given. boxes, focal: see `truth`.
    """

    def __init__(
        self, benchmark: Benchmark, labels: Labels, pipeline: Pipeline, bodies: BodyFolder, boxes: str, focal: str
    ) -> None:
        self.benchmark, self.labels, self.pipeline, self.bodies = benchmark, labels, pipeline, bodies
        self.boxes, self.focal = boxes, focal
        self.protocols = [PROTOCOLS[name] for name in benchmark.protocols]
        needed = any(protocol.needs_h36m for protocol in self.protocols)
        self.regressor = h36m_regressor(bodies.body()) if needed else None
        self._images: dict[tuple[Path, int], list[int]] = {}
        for index in range(len(labels)):
            sample = labels[index]
            self._images.setdefault((sample.image, sample.turn), []).append(index)
        self.images = list(self._images)

    def choose(self, most: int) -> None:
        """Leave only so many images, evenly chosen."""
        if 0 < most < len(self.images):
            self.images = [self.images[i] for i in np.linspace(0, len(self.images) - 1, most).round().astype(int)]

    def image(self, number: int) -> Result:
        """One image and everybody in it. InputError naming an image that cannot be read."""
        return self._seen(number)[0]

    def picture(self, number: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB: what is found as meshes, the truth's skeletons or keypoints in white."""
        _, image, found, camera, truths, true_cameras = self._seen(number)
        picture = draw_people(np.ascontiguousarray(image[..., ::-1]), found, camera, self.pipeline.body.faces)
        for truth, own in zip(truths, true_cameras, strict=True):
            if truth.placed and truth.joints is not None:
                draw_skeleton(picture, own.project(truth.joints), (255, 255, 255), thickness=1)
            for x, y in truth.sample.keypoints[truth.sample.confidence > 0].round().astype(int).tolist():
                cv2.circle(picture, (x, y), 2, (255, 255, 255), -1)
        return picture

    def _seen(self, number: int) -> tuple[Result, np.ndarray, list[Person], Camera, list[Truth], list[Camera]]:
        """An image's result, and all that one needs to draw it."""
        path, turn = self.images[number]
        samples = [self.labels[index] for index in self._images[path, turn]]
        image = read(path, turn)
        height, width = image.shape[:2]
        truths = [Truth.of(sample, self.bodies) for sample in samples]
        true_camera = [self._true_camera(sample, width, height) for sample in samples]
        camera = camera_of(samples[0], width, height, self.focal)
        self.pipeline.reset()
        frame = Frame(image, camera, order='bgr')
        if self.boxes == 'detector':
            found: list[Person] = list(self.pipeline(frame))
            pairs, matches = self._pairs(found, truths, true_camera)
        else:
            boxes = [truth.box(self.boxes, true_camera[i]) for i, truth in enumerate(truths)]
            found = list(self.pipeline(frame, [Box(box, id=i + 1) for i, box in enumerate(boxes)]))
            pairs, matches = [(k, person.id - 1) for k, person in enumerate(found)], None
        result = self._compared([found[i] for i, _ in pairs], [truths[j] for _, j in pairs], camera)
        result.lost = sum(truth.sample.asked for truth in truths) - len(pairs)
        result.matches = [] if matches is None else [matches]
        if result.people:
            result.people['number'] = np.full(len(pairs), number)
        return result, image, found, camera, truths, true_camera

    def _true_camera(self, sample: Sample, width: int, height: int) -> Camera:
        """Where the labels were projected; the network's, where labels have no camera and so project nothing."""
        known = sample.K is not None or sample.focal is not None or sample.guessed
        return sample.camera(width, height) if known else camera_of(sample, width, height, self.focal)

    def _pairs(
        self, found: Sequence[Person], truths: Sequence[Truth], cameras: Sequence[Camera]
    ) -> tuple[list[tuple[int, int]], agora.Matches | None]:
        """(found, true) of those who are the same, and AGORA's account of it."""
        points = [
            truth.sample.points2d
            if truth.sample.points2d is not None
            else camera.project(truth.keypoints)
            if truth.joints is not None
            else truth.sample.keypoints
            for truth, camera in zip(truths, cameras, strict=True)
        ]
        asked = [truth.sample.asked for truth in truths]
        matches = agora.match([person.joints2d for person in found], points, asked)
        return list(matches.pairs), matches

    def _compared(self, found: Sequence[Person], truths: Sequence[Truth], camera: Camera) -> Result:
        if not found:
            return Result()
        predicted = self._predicted(found, camera)
        vertices = _stacked([truth.vertices for truth in truths])
        joints = _stacked([truth.joints for truth in truths])
        true = People(
            joints=self._regressed(vertices) if self.benchmark.mesh_joints and vertices is not None else joints,
            vertices=vertices,
            rotations=_stacked([truth.rotations for truth in truths]),
            joints14=_stacked([truth.sample.joints14 for truth in truths]),
            keypoints=np.array([truth.sample.keypoints for truth in truths]),
            confidence=np.array([truth.sample.confidence for truth in truths]),
            boxes=_stacked([truth.sample.box for truth in truths]),
        )
        pelvis = np.array(
            [truth.joints[0] if truth.placed and truth.joints is not None else [np.nan] * 3 for truth in truths]
        )
        x, y, z = pelvis.T
        people = {
            'person': np.array([truth.sample.person for truth in truths]),
            'frame': np.array([truth.sample.frame for truth in truths]),
            'image': np.array([str(truth.sample.image) for truth in truths]),
            'azimuth_deg': np.degrees(np.arctan2(x, z)),
            'off_axis_deg': np.degrees(np.arctan2(np.hypot(x, y), z)),
            'distance_m': np.linalg.norm(pelvis, axis=1),
        }
        return Result({p.name: p.columns(predicted, true, self.regressor) for p in self.protocols}, people)

    def _predicted(self, found: Sequence[Person], camera: Camera) -> People:
        def all_of(name: str) -> np.ndarray:
            return np.array([getattr(person, name) for person in found], np.float64)

        vertices, joints = as_smpl(all_of('vertices'), self.bodies), all_of('joints')
        if self.benchmark.mesh_joints or vertices.shape != all_of('vertices').shape:
            joints = self._regressed(vertices)
        keypoints = np.concatenate([joints, vertices[:, FACE_VERTICES]], 1)
        return People(
            joints=joints,
            vertices=vertices,
            rotations=all_of('rotations'),
            translation=all_of('translation'),
            keypoints=camera.project(keypoints),
        )

    def _regressed(self, vertices: np.ndarray) -> np.ndarray:
        """SMPL's joints (N, 24, 3) of its posed meshes (N, 6890, 3)."""
        regressor = self.bodies.body().J_regressor.astype(np.float64)
        return np.einsum('jv,nvc->njc', regressor, vertices, optimize=True)


def summarize(benchmark: Benchmark, result: Result) -> dict[str, Any]:
    """The figures of everybody: protocol -> name -> value; with AGORA's account where there is one."""
    rows = _sequences(result.people)
    found: dict[str, Any] = {
        name: PROTOCOLS[name].summary(result.columns.get(name, {}), rows)
        for name in benchmark.protocols
        if result.people
    }
    if result.matches:
        first = result.columns.get(benchmark.protocols[0], {})
        table = agora.summary(result.matches, first.get('mpjpe_mm', []), first.get('mve_mm', []))
        found['agora'] = {name: value if np.isfinite(value) else None for name, value in table.items()}
    return found


def _sequences(people: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Person -> rows of theirs in the order of their frames."""
    if not people:
        return {}
    found = {}
    for name in dict.fromkeys(people['person'].tolist()):
        rows = np.flatnonzero(people['person'] == name)
        found[name] = rows[np.argsort(people['frame'][rows], kind='stable')]
    return found


def read(path: Path, turn: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 BGR as the labels count its pixels, or InputError."""
    image = read_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise InputError(f"cannot read the image '{path}': unpack the images where the labels say, or get it again")
    return cv2.rotate(image, TURNS[turn]) if turn else image


def failures(runner: Runner, skip: bool) -> Iterator[tuple[Result | None, InputError | None]]:
    """Every image's result; where it cannot be had, the reason, if such images are to be skipped."""
    for number in range(len(runner.images)):
        try:
            yield runner.image(number), None
        except InputError as error:
            if not skip:
                raise
            yield None, error


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: np.concatenate([part[name] for part in parts if name in part]) for name in names}


def _stacked(values: Sequence[np.ndarray | None]) -> np.ndarray | None:
    known = [value for value in values if value is not None]
    return np.array(known) if known and len(known) == len(values) else None
