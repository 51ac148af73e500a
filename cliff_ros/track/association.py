"""Boxes in, the people whom they belong to out.

Hungarian assignment on the overlap with each person's predicted box, then once more with widened boxes
for what is left, which keeps fast people at low frame rates (Yang et al., C-BIoU, WACV 2023).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from cliff_ros.arrays import Floats, Ints
from cliff_ros.boxes import iou, widen
from cliff_ros.people import Box
from cliff_ros.track.assignment import assign
from cliff_ros.track.person import Track

BELIEVED = 0.1  # of overlap: what a box rather belongs to somebody who is believed to be there
FAST = 0.11  # [s] between images: with at least ten in a second (and a tenth of jitter) there is time to look twice


class Tracker:
    """Owns everybody who is followed, and gives ids that stay with a person and are never used again.

    Parameters
    ----------
    max_age: seconds a person is remembered without a box (always at least until the second miss, so
        that a slow camera keeps its ids).
    min_overlap: smallest overlap (IoU) between a box and a prediction that can be the same person.
    max_gap: seconds without any frame after which nobody is remembered.

    Attributes: ``tracks``, everybody.
    """

    def __init__(self, max_age: float = 0.5, min_overlap: float = 0.2, max_gap: float = 2.0) -> None:
        self.max_age, self.min_overlap, self.max_gap = max_age, min_overlap, max_gap
        self.tracks: list[Track] = []
        self._next_id = 1
        self._stamp: float | None = None
        self._intervals: deque[float] = deque(maxlen=5)

    def reset(self) -> None:
        """Forget everybody. Ids go on from where they were."""
        self._intervals.clear()
        self._forget()

    def update(self, boxes: Sequence[Box] | None, stamp: float) -> list[Track]:
        """Match the boxes of an image; everybody known, also those who are not seen now.

        boxes: None in an image in which nobody looked for any: then everybody is where they should be.
        stamp: seconds; when it goes back (a bag that starts again) everybody is forgotten.
        Boxes that have an id keep it.
        """
        self._advance(stamp)
        if boxes is None:
            return self.tracks
        for track in self.tracks:
            track.misses += 1
        for known, box in self._match(list(boxes)):
            if known is None:
                self.tracks.append(Track(self._claim_id(box.id), box, stamp))
            else:
                known.update(box, stamp)
        self.tracks = [track for track in self.tracks if track.misses < 2 or stamp - track.boxed <= self.max_age]
        return self.tracks

    def named(self, ids: Ints) -> list[Track]:
        """The tracks of these ids (N,), in their order."""
        tracks = {track.id: track for track in self.tracks}
        return [tracks[id] for id in ids.tolist()]

    def hits_needed(self) -> int:
        """Images in which to see somebody before believing it: two where they follow each other fast enough.

        A first image, and still images, have no rate: one.
        """
        if not self._intervals:
            return 1
        return 2 if sorted(self._intervals)[len(self._intervals) // 2] <= FAST else 1

    def split(self, track: Track, stamp: float) -> Track:
        """What was seen through a track's box is somebody else: the new one."""
        other = Track(self._claim_id(None), Box(track.box.xyxy, track.score), stamp)
        track.part(other)
        self.tracks.append(other)
        return other

    def merge(self, known: Track, other: Track, pelvis: Floats) -> None:
        """Somebody who went unseen is who is seen as another track in this image, at a pelvis (3,)."""
        known.merge(other, pelvis)
        self.tracks.remove(other)

    def _forget(self) -> None:
        self.tracks = []
        self._stamp = None

    def _advance(self, stamp: float) -> None:
        dt = 0.0 if self._stamp is None else stamp - self._stamp
        if dt > 0:
            self._intervals.append(dt)
        if not 0 <= dt <= self.max_gap:
            self._forget()
        for track in self.tracks:
            track.box.predict(dt)
        self._stamp = stamp

    def _match(self, boxes: list[Box]) -> list[tuple[Track | None, Box]]:
        """Pairs of person and box; the person is None for somebody new."""
        free = {track.id: track for track in self.tracks}
        pairs: list[tuple[Track | None, Box]] = []
        unnamed, taken = [], set()
        for box in sorted(boxes, key=lambda box: -box.score):
            # An id can be there once: of two boxes that claim it, the better one is right.
            if box.id is None:
                unnamed.append(box)
            elif box.id in taken:
                unnamed.append(Box(box.xyxy, box.score))
            else:
                taken.add(box.id)
                pairs.append((free.pop(box.id, None), box))
        for widening in (0.0, 0.5):
            matched = self._assign(list(free.values()), unnamed, widening)
            pairs += [(free.pop(track.id), box) for track, box in matched]
            found = {id(box) for _, box in matched}
            unnamed = [box for box in unnamed if id(box) not in found]
        return pairs + [(None, box) for box in unnamed]

    def _assign(self, tracks: list[Track], boxes: list[Box], widening: float) -> list[tuple[Track, Box]]:
        if not tracks or not boxes:
            return []
        overlap = iou(
            widen(np.array([track.box.xyxy for track in tracks]), widening),
            widen(np.array([box.xyxy for box in boxes]), widening),
        )
        believed = BELIEVED * np.array([track.confirmed for track in tracks])[:, None]
        return [(tracks[i], boxes[j]) for i, j in assign(np.where(overlap < self.min_overlap, 0, overlap + believed))]

    def _claim_id(self, wanted: int | None) -> int:
        chosen = self._next_id if wanted is None else wanted
        self._next_id = max(self._next_id, chosen + 1)
        return chosen
