"""From an image to people: the stations of the data flow, one after the other.

    frame -> detect -> boxes -> track -> boxes with ids -> crop -> engine (network, body) -> smooth -> people
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from cliff_ros.body import load_body
from cliff_ros.body.outline import Outline
from cliff_ros.boxes import iou
from cliff_ros.cliff.features import View, crops, views_of
from cliff_ros.detect import load_detector
from cliff_ros.engine import load_engine
from cliff_ros.engine.graph import PRESENCE
from cliff_ros.errors import InputError, ModelError
from cliff_ros.people import Box, Frame, Person, TrackState
from cliff_ros.track import Motion, Smoother, SmootherOptions, Track, Tracker, same_as

STAGES = ('detect', 'track', 'crop', 'infer', 'smooth')
# IoU of a person's outline with the box that was looked at, below which to look again: of somebody new, and of somebody
# whose box comes right with time.
FIRST_LOOK, LATER_LOOKS = 0.9, 0.65
NEAREST = 0.1  # [m] a pelvis closer to the camera than this is a failure of the network
logger = logging.getLogger(__name__)


class Pipeline:
    """Finds the people in the images of one camera. Call it from one thread.

    Parameters
    ----------
    model: ``'embedded'`` or a runtime graph (.onnx) from ``cliff export``; also what `load_engine` takes besides.
    body: ``'embedded'`` or an SMPL file; the one the graph was exported with.
    engine: ``'auto'``, ``'onnx'``, ``'tensorrt'`` or ``'torch'``; docs/engines.md tells them apart.
    detector: ``'embedded'``, an ONNX file of the YOLO family, or ``'none'`` where every call brings boxes.
    smoothing: filter people over time; True, False, or how (`SmootherOptions`).
    smooth_boxes: cut crops along smoothed boxes, which jitter less than a detector's.
    max_people: most people in an image; of more, those with the best scores are kept.
    detection_interval: look for people in every n-th image only; in between boxes are predicted.
    detection_threshold: smallest score of a detection; None takes the detector's default.
    presence_threshold: smallest probability, by the network that sees the crop, that a detection is a person; 0
        believes the detector. Half of it keeps somebody who was there before. Of networks that do not say, and of
        boxes that are given, everybody is believed.
    refine_boxes: follow people by the bodies found in the detector's boxes, which end where the person does. Where a
        box turns out wrong, its person is looked at a second time. Boxes that are given are never changed.
    coast: seconds a person lost by the detector is still reported, moved on, before being dropped.
    upright: degrees by which images must be turned clockwise for people to stand upright in them.
    threads: CPU threads of the networks; 0 chooses.
    progress: told (fraction, what) while an engine is built.

    Attributes: ``engine``, ``body``, ``detector``; of the last call ``timings``, stage -> ms, and ``num_crops``, how
    many the network saw.
    """

    def __init__(self, model: str | Path = 'embedded', body: str | Path = 'embedded', engine: str = 'auto',
                 detector: str | Path = 'embedded', smoothing: bool | SmootherOptions = True,
                 smooth_boxes: bool = True, max_people: int = 32, detection_interval: int = 1,
                 detection_threshold: float | None = None, presence_threshold: float = 0.7,
                 refine_boxes: bool = True, coast: float = 0.2, upright: int = 0, threads: int = 0,
                 progress: Callable[[float, str], None] | None = None) -> None:
        if max_people < 1 or detection_interval < 1:
            raise InputError('max_people and detection_interval must be at least 1')
        self.body = load_body(body)
        self.detector = load_detector(detector, detection_threshold, threads)
        self.engine = load_engine(model, engine, max_people, threads, progress, self.body)
        if self.engine.metadata['body_sha256'] != self.body.sha256:
            raise ModelError(f"the graph {self.engine.metadata['model']!r} was exported with the body "
                             f"{self.engine.metadata['body']!r}, which is not {self.body.name!r} given here: "
                             f"give that body, or export the graph again with this one")
        self.smooth_boxes, self.coast, self.upright = smooth_boxes, coast, upright
        self.max_people, self.detection_interval = max_people, detection_interval
        self.presence_threshold, self.refine_boxes = presence_threshold, refine_boxes
        self.timings = dict.fromkeys(STAGES, 0.0)
        self.num_crops = 0
        self._smoother_options = smoothing if isinstance(smoothing, SmootherOptions) else None
        self._smoother = Smoother(self._smoother_options) if smoothing else None
        self._tracker, self._motion, self._outline = Tracker(), Motion(), Outline(self.body)
        spec = self.engine.spec
        # The first run plans and allocates, and should not keep the first image waiting.
        self.engine(np.zeros((1, spec.height, spec.width, 3), np.uint8), np.float32([[0, 0, 0.5]]),
                    vertices=not smoothing)
        self._last_seen: dict[int, tuple[float, Person]] = {}
        self._reported: set[int] = set()
        self._undetected = 0
        self._said: set[str] = set()

    @property
    def smoothing(self) -> bool:
        """Whether people are smoothed over time. May be changed between two images."""
        return self._smoother is not None

    @smoothing.setter
    def smoothing(self, on: bool) -> None:
        if on != self.smoothing:
            self._smoother = Smoother(self._smoother_options) if on else None

    def reset(self) -> None:
        """Forget everybody, as between two recordings. Ids are still never used again."""
        self._tracker.reset()
        self._motion.reset()
        if self._smoother:
            self._smoother.reset()
        self._last_seen.clear()
        self._reported.clear()
        self._undetected = 0

    def __call__(self, frame: Frame, boxes: Sequence[Box] | None = None,
                 vertices: bool = True) -> list[Person]:
        """The people in an image, in the order of their ids.

        boxes: where they are, raw pixels, instead of the detector; ids they have are kept.
        vertices: whether ``Person.vertices`` is wanted.

        Images come in the order of their stamps; when one goes back (a bag that starts again), everybody
        is forgotten. Raises InputError for an image that does not fit its camera.
        """
        height, width = frame.image.shape[:2]
        if (width, height) != (frame.camera.width, frame.camera.height):
            raise InputError(f'the image is {width}x{height} but its camera {frame.camera.width}x'
                             f'{frame.camera.height}: give the calibration of this image')
        given = boxes is not None
        threshold = 0.0 if given else self.presence_threshold
        with self._timed('detect'):
            boxes = self._detect(frame, boxes)
        with self._timed('track'):
            tracks = self._track(boxes, frame.stamp)
        with self._timed('crop'):
            seen, views, crops = self._look(frame, tracks)
            self.num_crops = len(seen)
        with self._timed('infer'):
            seen, bodies = self._infer(seen, views, crops, vertices and not self._smoother, threshold)
            if self.refine_boxes and not given:
                seen, bodies = self._correct(frame, seen, bodies, threshold)
        with self._timed('smooth'):
            people = self._smooth(frame, seen, bodies, vertices)
            people += self._coast(frame, tracks, vertices)
            self._forget({track.id for track in tracks})
            if not given:
                people = self._once(people)
            self._reported |= {person.id for person in people}
        return sorted(people, key=lambda person: person.id)

    def _detect(self, frame: Frame, boxes: Sequence[Box] | None) -> Sequence[Box] | None:
        """Boxes; None in an image where nobody looks for any."""
        if boxes is None:
            looks = self._undetected == 0
            self._undetected = (self._undetected + 1) % self.detection_interval
            if not looks:
                return None
            boxes = self.detector(frame.image, frame.order)
        if len(boxes) > self.max_people:
            self._say('max_people', f'{len(boxes)} people in an image, more than max_people='
                                    f'{self.max_people}: those with the best scores are kept')
            boxes = sorted(boxes, key=lambda box: -box.score)[:self.max_people]
        return boxes

    def _track(self, boxes: Sequence[Box] | None, stamp: float) -> list[Track]:
        return self._tracker.predict(stamp) if boxes is None else self._tracker.update(boxes, stamp)

    def _look(self, frame: Frame, tracks: Sequence[Track]) -> tuple[list[Track], list[View], np.ndarray]:
        """Those seen now, how the network sees them, and what (N, h, w, 3)."""
        spec = self.engine.spec
        seen = [track for track in tracks if track.state is not TrackState.COASTING]
        views = views_of([track.box(self.smooth_boxes) for track in seen], frame.camera, spec, self.upright)
        if None in views:
            self._say('box', 'a box is left out: it lies outside the view of the lens; drop such boxes, or check that '
                             'the camera is calibrated for this image')
            seen = [track for track, view in zip(seen, views, strict=True) if view is not None]
            views = [view for view in views if view is not None]
        if self.engine.cut is not None:
            return seen, views, self.engine.cut(frame, views)
        return seen, views, crops(frame.image, frame.camera, views, spec, frame.order)

    def _infer(self, seen: Sequence[Track], views: Sequence[View], crops: np.ndarray,
               vertices: bool, threshold: float) -> tuple[list[Track], _Bodies]:
        """The people in the crops, in the optical frame, without those that are none or that the network failed on."""
        location = np.array([view.location for view in views], np.float32).reshape(-1, 3)
        out = self.engine(crops, location, vertices)
        good = self._plausible(out) & self._present(seen, out, threshold)
        bodies = _Bodies(out['rotations'][good].astype(np.float64), out['betas'][good].astype(np.float64),
                         out['translation'][good].astype(np.float64), out['joints'][good].astype(np.float64),
                         out['vertices'][good] if vertices else None)
        for i, person in enumerate(np.flatnonzero(good)):
            bodies.to_camera(i, views[person])
        return [seen[i] for i in np.flatnonzero(good)], bodies

    def _correct(self, frame: Frame, seen: list[Track], bodies: _Bodies,
                 threshold: float) -> tuple[list[Track], _Bodies]:
        """Boxes as tight as the bodies found in them, which the network knows better than the detector.

        Who was looked at through a box that turns out wrong is looked at once more through the right one.
        """
        boxes = self._outline.boxes(frame.camera, bodies.betas, bodies.rotations, bodies.translation)
        overlap = iou(boxes, np.array([track.place(self.smooth_boxes) for track in seen])).diagonal()
        enough = np.array([FIRST_LOOK if track.state is TrackState.NEW else LATER_LOOKS for track in seen])
        wrong = np.flatnonzero(np.isfinite(boxes).all(1) & (overlap < enough))
        if len(wrong):
            again, views, crops = self._look(frame, [replace(seen[i], xyxy=boxes[i], measured=None) for i in wrong])
            again, better = self._infer(again, views, crops, bodies.vertices is not None, threshold)
            found = self._outline.boxes(frame.camera, better.betas, better.rotations, better.translation)
            place = {track.id: i for i, track in enumerate(seen)}
            for j, track in enumerate(again):
                boxes[place[track.id]] = found[j]
                bodies.put(place[track.id], better, j)
        for i, box in enumerate(boxes):
            if np.isfinite(box).all():
                xyxy = self._tracker.correct(seen[i].id, box)
                seen[i] = replace(seen[i], xyxy=xyxy, measured=box)
        return seen, bodies

    def _plausible(self, out: dict[str, np.ndarray]) -> np.ndarray:
        """(N,) bool: finite and in front of the camera."""
        # A sum is finite where all its terms are.
        finite = np.isfinite(sum(out[name].sum(axis=tuple(range(1, out[name].ndim)))
                                 for name in ('rotations', 'betas', 'translation', 'joints')))
        ahead = out['joints'][:, 0, 2] > NEAREST
        if not finite.all():
            self._say('finite', 'the network gave numbers that are not finite: that person is left out')
        if not ahead[finite].all():
            self._say('ahead', 'the network put a person behind the camera: that person is left out')
        return finite & ahead

    def _present(self, seen: Sequence[Track], out: dict[str, np.ndarray], threshold: float) -> np.ndarray:
        """(N,) bool: a person, and not what the detector took for one."""
        if PRESENCE not in out:
            return np.ones(len(seen), bool)
        known = np.array([track.id in self._last_seen for track in seen], bool)
        return out[PRESENCE] >= np.where(known, 0.5 * threshold, threshold)

    def _smooth(self, frame: Frame, seen: Sequence[Track], bodies: _Bodies, vertices: bool) -> list[Person]:
        ids = [track.id for track in seen]
        if self._smoother and ids:
            rotations, betas, pelvis = self._smoother(ids, frame.stamp, bodies.rotations, bodies.betas,
                                                      bodies.joints[:, 0])
            # Other angles and lengths move every point: joints and mesh are made again from what is reported.
            translation = pelvis - self.body.rest_joints(betas)[:, 0]
            bodies = _Bodies(rotations, betas, translation,
                             *self._pose(betas, rotations, translation, vertices))
        velocities = self._motion(ids, frame.stamp, bodies.joints[:, 0])
        pixels = frame.camera.project(bodies.joints)
        people = []
        for i, track in enumerate(seen):
            person = Person(
                id=track.id, score=track.score, box=track.place(self.smooth_boxes), betas=bodies.betas[i],
                rotations=bodies.rotations[i], translation=bodies.translation[i], joints=bodies.joints[i],
                joints2d=pixels[i],
                vertices=None if bodies.vertices is None else bodies.vertices[i],
                track_state=track.state, velocity=velocities[i], age=track.age)
            self._last_seen[track.id] = frame.stamp, person
            people.append(person)
        return people

    def _coast(self, frame: Frame, tracks: Sequence[Track], vertices: bool) -> list[Person]:
        """Those not seen now but a moment ago, held in their pose and moved on."""
        people = []
        for track in tracks:
            if track.state is not TrackState.COASTING or track.id not in self._last_seen:
                continue
            stamp, person = self._last_seen[track.id]
            elapsed = frame.stamp - stamp
            if not 0 <= elapsed <= self.coast:
                continue
            translation = person.translation + elapsed * person.velocity
            joints, mesh = self._pose(person.betas[None], person.rotations[None], translation[None], vertices)
            people.append(person.with_(
                box=track.xyxy, translation=translation, joints=joints[0],
                joints2d=frame.camera.project(joints[0]), vertices=None if mesh is None else mesh[0],
                track_state=TrackState.COASTING, age=track.age))
        return people

    def _once(self, people: list[Person]) -> list[Person]:
        """Nobody twice: who is seen goes before who is coasting, who was there longer before who is new."""
        if len(people) < 2:
            return people
        who = same_as(np.array([person.joints2d for person in people]), np.array([
            person.age + 1e9 * (person.track_state is not TrackState.COASTING) for person in people]))
        for i in np.flatnonzero(who != np.arange(len(people))):
            old, new = people[i], people[who[i]]
            if old.track_state is TrackState.COASTING and old.id in self._reported and new.id not in self._reported:
                # Not lost and another found in the same place: the same person, seen through another box.
                self._tracker.rename(new.id, old.id)
                self._last_seen[old.id] = self._last_seen.pop(new.id)
                people[who[i]] = new.with_(id=old.id, age=old.age, track_state=TrackState.OK)
        return [people[i] for i in np.unique(who)]

    def _pose(self, betas: np.ndarray, rotations: np.ndarray, translation: np.ndarray,
              vertices: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Joints (N, 24, 3) and, where wanted, vertices (N, V, 3)."""
        if vertices:
            return self.body(betas, rotations, translation)
        return self.body.joints(betas, rotations, translation), None

    def _forget(self, alive: set[int]) -> None:
        """Drop what is remembered of people the tracker gave up."""
        self._motion.keep(alive)
        if self._smoother:
            self._smoother.keep(alive)
        self._last_seen = {id: last for id, last in self._last_seen.items() if id in alive}
        self._reported &= alive

    def _say(self, topic: str, message: str) -> None:
        """Warn once: what is wrong with one image is mostly wrong with the next."""
        if topic not in self._said:
            self._said.add(topic)
            logger.warning(message, stacklevel=2)   # whoever counts warnings tells them apart by their place

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.timings[stage] = 1e3 * (perf_counter() - start)


@dataclass(frozen=True)
class _Bodies:
    """N people as arrays: (N, 24, 3, 3), (N, B), (N, 3), (N, 24, 3) and, where wanted, (N, V, 3)."""

    rotations: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    joints: np.ndarray
    vertices: np.ndarray | None

    def put(self, i: int, other: _Bodies, j: int) -> None:
        """Person j of others in the place of person i."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                value[i] = getattr(other, field.name)[j]

    def to_camera(self, i: int, view: View) -> None:
        """Bring person i from the view to the camera's optical frame, in place."""
        if view.is_straight:
            return
        self.rotations[i, 0], self.translation[i] = view.pose_to_camera(
            self.rotations[i, 0], self.translation[i], self.joints[i, 0])
        self.joints[i] = view.to_camera(self.joints[i])
        if self.vertices is not None:
            self.vertices[i] = view.to_camera(self.vertices[i])
