"""Boxes in, the same boxes with stable ids out.

Hungarian assignment on the overlap with each track's predicted box, then once more with widened boxes
for what is left, which keeps fast people at low frame rates (Yang et al., C-BIoU, WACV 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cliff_ros.boxes import from_center, iou, to_center, widen
from cliff_ros.people import Box, TrackState
from cliff_ros.track.assignment import assign
from cliff_ros.track.motion import ConstantVelocity

# In heights of the person, which makes them independent of the distance. A walking person moves about
# one height per second, and detectors place a box to a few per cent of its height.
BOX_NOISE, BOX_ACCELERATION, BOX_SPEED = 0.03, 4.0, 1.0
LOOSE = 4.0  # times as noisy is a detection of somebody whose boxes are corrected by those who look into them


@dataclass(frozen=True)
class Track:
    """One person as the tracker sees them at one moment.

    xyxy: (4,) smoothed box, raw pixels. measured: (4,) the box as given, None where there was none.
    unseen: seconds since the last box. age: seconds since the id was born.
    """

    id: int
    xyxy: np.ndarray
    score: float
    state: TrackState
    measured: np.ndarray | None
    unseen: float
    age: float

    def box(self, smoothed: bool = True) -> Box:
        """The box to crop: the smoothed one, or the measured one where there is one."""
        return Box(self.place(smoothed), self.score, self.id)

    def place(self, smoothed: bool = True) -> np.ndarray:
        """The (4,) of that box."""
        return self.xyxy if smoothed or self.measured is None else self.measured


class Tracker:
    """Gives boxes ids that stay with a person and are never used again.

    Parameters
    ----------
    max_age: seconds a person is remembered without a box (always at least until the second miss, so
        that a slow camera keeps its ids).
    min_overlap: smallest overlap (IoU) between a box and a prediction that can be the same person.
    min_hits: boxes a person needs before being reported.
    max_gap: seconds without any frame after which nobody is remembered.
    """

    def __init__(self, max_age: float = 0.5, min_overlap: float = 0.2, min_hits: int = 1,
                 max_gap: float = 2.0) -> None:
        self.max_age, self.min_overlap, self.min_hits, self.max_gap = max_age, min_overlap, min_hits, max_gap
        self._people: list[_Tracked] = []
        self._next_id = 1
        self._stamp: float | None = None

    def reset(self) -> None:
        """Forget everybody. Ids go on from where they were."""
        self._people = []
        self._stamp = None

    def update(self, boxes: Sequence[Box], stamp: float) -> list[Track]:
        """Match the boxes of a frame; return everybody known, also those who are not seen now.

        stamp: seconds; when it goes back (a bag that starts again) everybody is forgotten.
        Boxes that have an id keep it.
        """
        self._advance(stamp)
        for person in self._people:
            person.misses += 1
        for person, box in self._match(list(boxes)):
            if person is None:
                self._people.append(_Tracked(self._claim_id(box), box, stamp))
            else:
                person.see(box, stamp)
        self._people = [person for person in self._people
                        if person.misses < 2 or stamp - person.seen <= self.max_age]
        return self._tracks(stamp)

    def predict(self, stamp: float) -> list[Track]:
        """Where everybody should be in a frame in which nobody looked for boxes."""
        self._advance(stamp)
        return self._tracks(stamp)

    def correct(self, id: int, xyxy: np.ndarray) -> np.ndarray:
        """Say where somebody of this frame really is, as the network that saw them knows better than the detector.

        Returns the smoothed box. A detection in the next frame then counts for less than what is known here.
        """
        person = next(person for person in self._people if person.id == id)
        person.correct(xyxy)
        return person.xyxy

    def rename(self, id: int, right: int) -> None:
        """Say that somebody of this frame is who was known as `right` and has gone unseen since."""
        known = {person.id: person for person in self._people}
        known[id].take_over(known[right])
        self._people.remove(known[right])

    def _advance(self, stamp: float) -> None:
        if self._stamp is not None and not 0 <= stamp - self._stamp <= self.max_gap:
            self.reset()
        dt = 0.0 if self._stamp is None else stamp - self._stamp
        for person in self._people:
            person.predict(dt)
        self._stamp = stamp

    def _match(self, boxes: list[Box]) -> list[tuple[_Tracked | None, Box]]:
        """Pairs of person and box; the person is None for somebody new."""
        free = {person.id: person for person in self._people}
        pairs: list[tuple[_Tracked | None, Box]] = []
        unnamed, taken = [], set()
        for box in sorted(boxes, key=lambda box: -box.score):
            # An id can be there once: of two boxes that claim it, the better one is right.
            if box.id is None or box.id in taken:
                unnamed.append(box)
            else:
                taken.add(box.id)
                pairs.append((free.pop(box.id, None), box))
        for widening in (0.0, 0.5):
            matched = self._assign(list(free.values()), unnamed, widening)
            pairs += [(free.pop(person.id), box) for person, box in matched]
            found = {id(box) for _, box in matched}
            unnamed = [box for box in unnamed if id(box) not in found]
        return pairs + [(None, Box(box.xyxy, box.score)) for box in unnamed]

    def _assign(self, people: list[_Tracked], boxes: list[Box],
                widening: float) -> list[tuple[_Tracked, Box]]:
        if not people or not boxes:
            return []
        overlap = iou(widen(np.array([person.xyxy for person in people]), widening),
                      widen(np.array([box.xyxy for box in boxes]), widening))
        overlap[overlap < self.min_overlap] = 0
        return [(people[i], boxes[j]) for i, j in assign(overlap)]

    def _claim_id(self, box: Box) -> int:
        chosen = self._next_id if box.id is None else box.id
        self._next_id = max(self._next_id, chosen + 1)
        return chosen

    def _tracks(self, stamp: float) -> list[Track]:
        return [person.track(stamp) for person in self._people if person.hits >= self.min_hits]


class _Tracked:
    """What the tracker remembers of one person."""

    def __init__(self, id: int, box: Box, stamp: float) -> None:
        self.id, self.born = id, stamp
        self.hits, self.misses = 1, 0
        self.corrected = self.was_corrected = False
        self.reported: float | None = None
        self._start(box, stamp)

    def _start(self, box: Box, stamp: float) -> None:
        height = box.xyxy[3] - box.xyxy[1]
        self._motion = ConstantVelocity(to_center(box.xyxy), BOX_NOISE * height, BOX_ACCELERATION * height,
                                        BOX_SPEED * height)
        self.seen, self.score, self.measured = stamp, box.score, box.xyxy
        self.xyxy = box.xyxy

    def see(self, box: Box, stamp: float) -> None:
        self.hits, self.misses = self.hits + 1, 0
        height = box.xyxy[3] - box.xyxy[1]
        measured = to_center(box.xyxy)
        if (np.abs(measured - self._motion.position)[:2] > measured[2:] + self._motion.position[2:]).any():
            # Far away: whoever gave this id from outside found the person again elsewhere.
            self._start(box, stamp)
            return
        noise = BOX_NOISE * (LOOSE if self.was_corrected else 1.0)
        self._motion.noise, self._motion.acceleration = noise * height, BOX_ACCELERATION * height
        self._motion.update(measured)
        self._place()
        self.seen, self.score = stamp, box.score
        self.measured = self.xyxy if self.was_corrected else box.xyxy

    def correct(self, xyxy: np.ndarray) -> None:
        if not self.was_corrected:
            self._start(Box(xyxy, self.score), self.seen)
        else:
            height = xyxy[3] - xyxy[1]
            self._motion.noise, self._motion.acceleration = BOX_NOISE * height, BOX_ACCELERATION * height
            self._motion.update(to_center(xyxy))
            self._place()
        self.corrected = True

    def take_over(self, other: _Tracked) -> None:
        """Go on as somebody else: their name and past, one's own place and motion."""
        self.id, self.born, self.reported = other.id, other.born, other.reported
        self.hits += other.hits

    def predict(self, dt: float) -> None:
        self.measured, self.was_corrected, self.corrected = None, self.corrected, False
        self._motion.predict(dt)
        self._place()

    def _place(self) -> None:
        # A box that shrinks keeps shrinking while it is predicted: never to nothing.
        np.maximum(self._motion.position[2:], 1.0, out=self._motion.position[2:])
        self.xyxy = from_center(self._motion.position)

    def track(self, stamp: float) -> Track:
        if self.reported is None:
            self.reported = stamp
        state = (TrackState.COASTING if self.misses else
                 TrackState.NEW if self.reported == stamp else TrackState.OK)
        return Track(self.id, self.xyxy, self.score, state, self.measured,
                     unseen=stamp - self.seen, age=stamp - self.born)
