"""One person who is followed: all state that belongs to them in one object, so that all of it moves together."""

from __future__ import annotations

import math

import numpy as np

from cliff_ros.arrays import Floats
from cliff_ros.people import Box, Person, TrackState
from cliff_ros.track.box_filter import BoxFilter
from cliff_ros.track.filters import PoseState
from cliff_ros.track.motion import Place

STEADY = 5  # images in which somebody must have been seen to be reported in one where they are not
FORGOTTEN = 0.5  # [s] somebody whom nobody has seen for so long has to be found again


class Track:
    """One person, from the first box on.

    Attributes
    ----------
    id, born [s]; score: of the last box, boxed [s] when that was, misses: looks for boxes since.
    named: whether the id came with the box, from outside.
    box: the filter of the box.
    pose, place: those of the pose and of the pelvis; None until they have been seen, or without smoothing.
    hits: images in which they were seen; in a row, as long as they are not confirmed.
    confirmed: whether they are believed to be there, and reported.
    doubled: whether, in this image, they are only another look at somebody else.
    person: what was last said of them, None until then. seen [s]: when they were last seen, minus infinity until then.
    """

    def __init__(self, id: int, box: Box, stamp: float) -> None:
        self.id, self.born, self.score, self.boxed, self.misses = id, stamp, box.score, stamp, 0
        self.named = box.id is not None
        self.box = BoxFilter(box.xyxy)
        self.pose: PoseState | None = None
        self.place: Place | None = None
        self.hits, self.confirmed, self.doubled = 0, False, False
        self.person: Person | None = None
        self.seen = -math.inf
        self._unseen = 0
        self._reported: float | None = None

    def update(self, box: Box, stamp: float) -> None:
        """Take a box of this image into account."""
        self.score, self.boxed, self.misses, self.named = box.score, stamp, 0, box.id is not None
        self.box.update(box.xyxy)

    def hit(self, stamp: float, needed: int) -> None:
        """They were seen in this image; after so many times they are believed to be there."""
        self.hits, self.seen, self._unseen = self.hits + 1, stamp, 0
        self.confirmed |= self.hits >= needed

    def miss(self, stamp: float) -> None:
        """They were not seen in this image. Who is not believed to be there, or not any more, begins again."""
        self._unseen += 1
        self.confirmed = self.confirmed and (self._unseen < 2 or stamp - self.seen <= FORGOTTEN)
        if not self.confirmed:
            self.hits = 0

    def can_coast(self, stamp: float, seconds: float, after: int = STEADY) -> bool:
        """Whether they are reported although nobody sees them: for a moment, once they were seen often enough."""
        return (
            self.misses > 0
            and self.confirmed
            and not self.doubled
            and self.person is not None
            and self.hits >= after
            and 0 <= stamp - self.seen <= seconds
        )

    def expected(self, stamp: float) -> Floats:
        """(24, 3): where the joints of somebody who was reported should be by now [m]."""
        person, place = self._said()
        moved: Floats = person.joints + (place.predicted(stamp) - person.joints[0])
        return moved

    def move(self, stamp: float, pelvis: Floats) -> Floats:
        """Where to say that they are, (3,), after their pelvis was measured (3,) [m]."""
        if self.place is None:
            self.place = Place(stamp, pelvis)
            return pelvis
        return self.place.update(stamp, pelvis)

    def coast(self, stamp: float) -> Floats:
        """How far to move what was last seen of them, (3,) [m]."""
        person, place = self._said()
        way: Floats = place.coast(stamp) - person.joints[0]
        return way

    @property
    def velocity(self) -> Floats:
        """Of the pelvis, (3,) [m/s]; nothing until it has been seen."""
        return np.zeros(3) if self.place is None else self.place.velocity

    def merge(self, other: Track, pelvis: Floats) -> None:
        """They are seen in this image as another track, which was taken for somebody else, at a pelvis (3,).

        Id and past, pose and velocity are one's own; the box, and where it puts them, the other's: two looks at one
        person, who has not moved from one place to the other.
        """
        self.box, self.score, self.boxed, self.misses = other.box, other.score, other.boxed, other.misses
        self.hits, self.seen, self._unseen = self.hits + other.hits, other.seen, 0
        if self.place is not None:
            self.place.look_elsewhere()
        if self.pose is not None:
            self.pose.move_to(pelvis)

    def part(self, other: Track) -> None:
        """What was seen through this box is another person, who takes it along."""
        assert self.person is not None
        other.box, self.box = self.box, BoxFilter(self.person.box)
        self.misses, self.boxed = self.misses + 1, self.seen

    def restart(self) -> None:
        """They are elsewhere: whoever names them says so, or they were never reported. Nothing goes on from before."""
        self.pose = self.place = None
        self.hits *= self.named

    def report(self, stamp: float) -> tuple[TrackState, float]:
        """State and age [s] as they are reported in the image of a stamp."""
        if self._reported is None:
            self._reported = stamp
        state = TrackState.COASTING if self.misses else TrackState.NEW if self._reported == stamp else TrackState.OK
        return state, stamp - self._reported

    def _said(self) -> tuple[Person, Place]:
        """What was last said of somebody who was reported, and where they are followed."""
        assert self.person is not None and self.place is not None
        return self.person, self.place
