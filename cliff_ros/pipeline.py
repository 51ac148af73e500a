"""From an image to people: the stations of the data flow, one after the other.

``frame -> detect -> boxes -> track -> boxes with ids -> crop -> engine (network, body) -> smooth -> people``
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.body import load_body
from cliff_ros.crop.views import View
from cliff_ros.detect import load_detector
from cliff_ros.detect.upright import turned, turned_back
from cliff_ros.engine import Engine, load_engine
from cliff_ros.errors import InputError, ModelError
from cliff_ros.observer import Bodies, Observer
from cliff_ros.options import PipelineOptions, changed
from cliff_ros.people import Box, Frame, People, Person, TrackState
from cliff_ros.stopwatch import Stopwatch
from cliff_ros.track import PoseState, Smoother, SmootherOptions, Track, Tracker
from cliff_ros.track.identity import once, without_jumps
from cliff_ros.track.person import STEADY

STAGES = ('detect', 'track', 'crop', 'infer', 'smooth')
# IoU of a person's outline with the box that was looked at, below which to look again: of somebody new, and of somebody
# whose box comes right with time.
FIRST_LOOK, LATER_LOOKS = 0.9, 0.65
KNOWN = 0.5  # of the presence threshold is enough for somebody who was there before
logger = logging.getLogger(__name__)


class Pipeline:
    """Finds the people in the images of one camera. Call it from one thread.

    Parameters
    ----------
    model: ``'embedded'`` or a runtime graph (.onnx) from ``cliff export``; also what `load_engine` takes besides.
    body: ``'embedded'`` or an SMPL file; the one the graph was exported with.
    engine: ``'auto'``, ``'onnx'``, ``'tensorrt'`` or ``'torch'``; docs/engines.md tells them apart.
    detector: ``'embedded'``, an ONNX file of the YOLO family, or ``'none'`` where every call brings boxes.
    threads: CPU threads of the networks; 0 chooses.
    progress: told (fraction, what) while an engine is built.
    options, changes: how people are found and followed (`PipelineOptions`), and single ones of these by their names:
        ``Pipeline(max_people=4)``.

    Attributes: ``engine``, ``body``, ``detector``, ``options``.
    """

    def __init__(
        self,
        model: str | Path = 'embedded',
        body: str | Path = 'embedded',
        engine: str = 'auto',
        detector: str | Path = 'embedded',
        *,
        threads: int = 0,
        progress: Callable[[float, str], None] | None = None,
        options: PipelineOptions | None = None,
        **changes: Any,
    ) -> None:
        options = changed(options or PipelineOptions(), changes)
        self.body = load_body(body)
        self.detector = load_detector(detector, options.score_threshold, threads)
        self._observer = Observer(
            load_engine(model, engine, options.max_people, threads, progress, self.body),
            self.body,
            options.upright,
            self._say,
        )
        if self.engine.metadata['body_sha256'] != self.body.sha256:
            raise ModelError(
                f'the graph {self.engine.metadata["model"]!r} was exported with the body '
                f'{self.engine.metadata["body"]!r}, which is not {self.body.name!r} given here: '
                f'give that body, or export the graph again with this one'
            )
        self.options = options
        self._tracker = Tracker()
        spec = self.engine.spec
        # The first run plans and allocates, and should not keep the first image waiting.
        self.engine(
            np.zeros((1, spec.height, spec.width, 3), np.uint8),
            np.array([[0, 0, 0.5]], np.float32),
            vertices=not options.smoothing,
        )
        self._undetected = 0
        self._said: set[str] = set()

    @property
    def options(self) -> PipelineOptions:
        """How people are found and followed. Others, put here between two images, hold from the next one on."""
        return self._options

    @options.setter
    def options(self, options: PipelineOptions) -> None:
        self._options, self._observer.upright = options, options.upright
        self._observer.turn_beyond = options.turn_beyond
        self.detector.threshold = options.score_threshold
        # What the filters remember is the tracks': other filters go on from there.
        how = options.smoothing
        self._smoother = Smoother(how if isinstance(how, SmootherOptions) else None)

    @property
    def engine(self) -> Engine:
        """What runs the network."""
        return self._observer.engine

    @engine.setter
    def engine(self, engine: Engine) -> None:
        self._observer.engine = engine

    def reset(self) -> None:
        """Forget everybody, as between two recordings. Ids are still never used again."""
        self._tracker.reset()
        self._undetected = 0

    def __call__(self, frame: Frame, boxes: Sequence[Box] | None = None, vertices: bool = True) -> People:
        """The people in an image, in the order of their ids: a list, with what each of `STAGES` cost.

        boxes: where they are, raw pixels, instead of the detector; ids they have are kept.
        vertices: whether ``Person.vertices`` is wanted.

        Images come in the order of their stamps; when one goes back (a bag that starts again), everybody
        is forgotten. Raises InputError for an image that does not fit its camera.
        """
        height, width = frame.image.shape[:2]
        if (width, height) != (frame.camera.width, frame.camera.height):
            raise InputError(
                f'the image is {width}x{height} but its camera {frame.camera.width}x'
                f'{frame.camera.height}: give the calibration of this image'
            )
        given, watch = boxes is not None, Stopwatch()
        with watch.stage('detect'):
            boxes = self._detect(frame, boxes)
        with watch.stage('track'):
            tracks = self._tracker.update(boxes, frame.stamp)
        with watch.stage('crop'):
            looked = [track for track in tracks if not track.misses]
            which, views, crops = self._observer.cut(frame, [self._crop(track) for track in looked])
            looked = [looked[i] for i in which]
        with watch.stage('infer'):
            seen, bodies = self._understand(frame, looked, views, crops, vertices and not self.options.smoothing, given)
        with watch.stage('smooth'):
            seen, bodies = self._recognise(frame, seen, bodies, given)
            people = self._report(frame, seen, bodies, vertices) + self._coast(frame, vertices, given)
        return People(sorted(people, key=lambda person: person.id), watch.stages, len(looked))

    def _detect(self, frame: Frame, boxes: Sequence[Box] | None) -> Sequence[Box] | None:
        """Boxes; None in an image where nobody looks for any."""
        if boxes is None:
            looks = self._undetected == 0
            self._undetected = (self._undetected + 1) % self.options.detection_interval
            if not looks:
                return None
            upright = self.options.upright
            boxes = self.detector(turned(frame.image, upright), frame.order)
            if upright:
                boxes = [turned_back(box, upright, frame.camera.width, frame.camera.height) for box in boxes]
        most = self.options.max_people
        if len(boxes) > most:
            self._say(
                'max_people',
                f'{len(boxes)} people in an image, more than max_people={most}: those with the best scores are kept',
            )
            boxes = sorted(boxes, key=lambda box: -box.score)[:most]
        return boxes

    def _understand(
        self,
        frame: Frame,
        looked: Sequence[Track],
        views: Sequence[View],
        crops: np.ndarray,
        vertices: bool,
        given: bool,
    ) -> tuple[list[Track], Bodies]:
        """Who is there of those who were looked at, and their bodies in the optical frame."""
        good, bodies = self._observer.understand(views, crops, vertices)
        seen = [looked[i] for i in np.flatnonzero(good).tolist()]
        if bodies.presence is not None and not given:
            enough = self.options.presence_threshold * np.array([KNOWN if track.hits else 1.0 for track in seen])
            there = bodies.presence >= enough
            seen, bodies, enough = [seen[i] for i in np.flatnonzero(there)], bodies[there], enough[there]
        if self.options.refine_boxes and not given and seen:
            boxes = self._observer.look_again(
                frame,
                bodies,
                np.array([track.box.place(self.options.smooth_boxes) for track in seen]),
                np.array([LATER_LOOKS if track.confirmed else FIRST_LOOK for track in seen]),
                lambda who, presence: np.ones(len(who), bool) if presence is None else presence >= enough[who],
            )
            for track, box in zip(seen, boxes, strict=True):
                if np.isfinite(box).all():
                    track.box.correct(box)
        return seen, bodies

    def _recognise(self, frame: Frame, seen: list[Track], bodies: Bodies, given: bool) -> tuple[list[Track], Bodies]:
        """Who is who of those seen: nobody jumps, and of people found here nobody is there twice."""
        joints, presence, stamp = bodies.joints, bodies.presence, frame.stamp
        who = without_jumps(self._tracker, seen, joints[:, 0], stamp)
        there = np.ones(len(who), bool)
        if presence is not None and not given:  # who is somebody else after all, was not there before
            there &= (presence >= self.options.presence_threshold) | np.array(
                [a is b for a, b in zip(who, seen, strict=True)], bool
            )
        who = [who[i] for i in np.flatnonzero(there)]
        if not given:
            alone = once(self._tracker, who, joints[there], frame.camera, stamp)
            there[there] = alone
            who = [who[i] for i in np.flatnonzero(alone)]
        needed = 1 if given else self.options.min_hits or self._tracker.hits_needed()
        for track in who:
            # Where the detector did not look, only a network that knows who is a person has seen somebody new.
            if track.confirmed or track.boxed == stamp or presence is not None:
                track.hit(stamp, needed)
        for track in self._tracker.tracks:
            if track not in who:
                track.miss(stamp)
        return who, bodies[there]

    def _report(self, frame: Frame, seen: list[Track], bodies: Bodies, vertices: bool) -> list[Person]:
        """Those who are believed to be there, in a pose and at a place that follow from those before."""
        if not seen:
            return []
        stamp, pelvis, rotations, betas = frame.stamp, bodies.joints[:, 0], bodies.rotations, bodies.betas
        if self.options.smoothing:
            poses = []
            for i, track in enumerate(seen):
                if track.pose is None or not self._smoother.follows(track.pose, stamp):
                    track.pose = PoseState(stamp, rotations[i], betas[i], pelvis[i])
                poses.append(track.pose)
            rotations, betas, pelvis = self._smoother(poses, stamp, rotations, betas, pelvis)
        said = np.array([track.move(stamp, place) for track, place in zip(seen, pelvis, strict=True)])
        believed = np.array([track.confirmed for track in seen])
        seen = [seen[i] for i in np.flatnonzero(believed)]
        if self.options.smoothing:
            # Other angles and lengths move every point: joints and mesh are made again from what is reported.
            rotations, betas = rotations[believed], betas[believed]
            translation = said[believed] - self.body.rest_joints(betas)[:, 0]
            bodies = Bodies(rotations, betas, translation, *self._pose(betas, rotations, translation, vertices), None)
        else:
            bodies.move(said - pelvis)
            bodies = bodies[believed]
        pixels = frame.camera.project(bodies.joints)
        people = []
        for i, track in enumerate(seen):
            state, age = track.report(stamp)
            velocity = np.zeros(3) if state is TrackState.NEW else track.velocity
            track.person = Person(
                id=track.id,
                score=track.score,
                box=track.box.place(self.options.smooth_boxes),
                betas=bodies.betas[i],
                rotations=bodies.rotations[i],
                translation=bodies.translation[i],
                joints=bodies.joints[i],
                joints2d=pixels[i],
                vertices=None if bodies.vertices is None else bodies.vertices[i],
                track_state=state,
                velocity=velocity,
                age=age,
            )
            people.append(track.person)
        return people

    def _coast(self, frame: Frame, vertices: bool, given: bool) -> list[Person]:
        """Those not seen now but a moment ago, held in their pose and moved on."""
        people = []
        for track in self._tracker.tracks:
            person = track.person
            if person is None or not track.can_coast(frame.stamp, self.options.coast, 1 if given else STEADY):
                continue
            state, age = track.report(frame.stamp)
            translation = person.translation + track.coast(frame.stamp)
            joints, mesh = self._pose(person.betas[None], person.rotations[None], translation[None], vertices)
            people.append(
                person.with_(
                    box=track.box.xyxy,
                    translation=translation,
                    joints=joints[0],
                    joints2d=frame.camera.project(joints[0]),
                    vertices=None if mesh is None else mesh[0],
                    velocity=track.velocity,
                    track_state=state,
                    age=age,
                )
            )
        return people

    def _pose(
        self, betas: np.ndarray, rotations: np.ndarray, translation: np.ndarray, vertices: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Joints (N, 24, 3) and, where wanted, vertices (N, V, 3)."""
        if vertices:
            return self.body(betas, rotations, translation)
        return self.body.joints(betas, rotations, translation), None

    def _crop(self, track: Track) -> Box:
        return Box(track.box.place(self.options.smooth_boxes), track.score, track.id)

    def _say(self, topic: str, message: str) -> None:
        """Warn once: what is wrong with one image is mostly wrong with the next."""
        if topic not in self._said:
            self._said.add(topic)
            logger.warning(message, stacklevel=2)  # whoever counts warnings tells them apart by their place
