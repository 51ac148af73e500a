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
from cliff_ros.detect import load_detector
from cliff_ros.detect.upright import turned, turned_back
from cliff_ros.engine import Engine, load_engine
from cliff_ros.errors import InputError, ModelError
from cliff_ros.observer import Look, Observer
from cliff_ros.options import PipelineOptions, changed
from cliff_ros.people import Box, Frame, People
from cliff_ros.reporter import Reporter
from cliff_ros.stopwatch import Stopwatch
from cliff_ros.track import Track, Tracker
from cliff_ros.track.identity import recognize

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
        self._reporter = Reporter(self.body, options)
        if self.engine.metadata.body_sha256 != self.body.sha256:
            raise ModelError(
                f'the graph {self.engine.metadata.model!r} was exported with the body '
                f'{self.engine.metadata.body!r}, which is not {self.body.name!r} given here: '
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
        self._options = self._reporter.options = options
        self._observer.upright, self.detector.threshold = options.upright, options.score_threshold
        self._observer.turn_beyond = options.turn_beyond

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
        """The people in an image, in the order of their ids: as a list, in columns, with what each of `STAGES` cost.

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
            look = self._observer.cut(frame, [self._box(track) for track in tracks if not track.misses])
        with watch.stage('infer'):
            people = self._understand(frame, look, vertices and not self.options.smoothing, given)
        with watch.stage('smooth'):
            needed = 1 if given else self.options.min_hits or self._tracker.hits_needed()
            seen, people = recognize(
                self._tracker, people, frame.camera, frame.stamp, self.options.presence_threshold, needed, given
            )
            people = self._reporter(frame, self._tracker.tracks, seen, people, vertices, given)
        return people.with_(timings=watch.stages, num_crops=len(look))

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

    def _understand(self, frame: Frame, look: Look, vertices: bool, given: bool) -> People:
        """Who is there of those who are looked at, and how; the boxes that follow them are put right by that."""
        people = self._observer.understand(look, vertices)
        tracks = self._tracker.named(people.id)
        if people.presence is not None and not given:
            enough = self.options.presence_threshold * np.array([KNOWN if track.hits else 1.0 for track in tracks])
            there = people.presence >= enough
            people, enough = people[there], enough[there]
            tracks = self._tracker.named(people.id)
        if self.options.refine_boxes and not given and tracks:
            people, boxes = self._observer.look_again(
                frame,
                people,
                np.array([LATER_LOOKS if track.confirmed else FIRST_LOOK for track in tracks]),
                lambda rows, presence: np.ones(len(rows), bool) if presence is None else presence >= enough[rows],
            )
            for track, box in zip(tracks, boxes, strict=True):
                if np.isfinite(box).all():
                    track.box.correct(box)
        return people

    def _box(self, track: Track) -> Box:
        return Box(track.box.place(self.options.smooth_boxes), track.score, track.id)

    def _say(self, topic: str, message: str) -> None:
        """Warn once: what is wrong with one image is mostly wrong with the next."""
        if topic not in self._said:
            self._said.add(topic)
            logger.warning(message, stacklevel=2)  # whoever counts warnings tells them apart by their place
