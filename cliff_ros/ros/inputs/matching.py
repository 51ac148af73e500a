"""Which CameraInfo, and which boxes, belong to an image. No ROS in here: stamps and anything.

Stamps are exact keys, e.g. (seconds, nanoseconds).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Generic, TypeVar

Stamp = tuple[int, int]
Image = TypeVar('Image')
Other = TypeVar('Other')
Entry = TypeVar('Entry')


class InfoPairing(Generic[Image, Other]):
    """Pairs images with CameraInfo.

    Cameras publish an Image and a CameraInfo with the same stamp, in either order; other publishers send
    CameraInfo now and then. As soon as one pair was seen, an image waits for its own CameraInfo, but never
    beyond the next image; until then, and where no pairs come, the latest CameraInfo serves at once.

    Both methods return the pairs (image, info) that are complete now. ``paired``: whether a pair ever came.
    """

    _MEMORY = 8

    def __init__(self) -> None:
        self._infos: OrderedDict[Stamp, Other] = OrderedDict()
        self._waiting: tuple[Stamp, Image] | None = None
        self._in_pairs = self.paired = False
        self.latest: Other | None = None

    def image(self, stamp: Stamp, image: Image) -> list[tuple[Image, Other]]:
        """An image came: one that still waits gets the latest CameraInfo, then this one is paired or waits."""
        complete = []
        if self._waiting is not None and self.latest is not None:
            self._in_pairs = False  # the last image's CameraInfo never came
            complete.append((self._waiting[1], self.latest))
        self._waiting = None
        if stamp in self._infos:
            self._in_pairs = self.paired = True
            complete.append((image, self._infos[stamp]))
        elif self.latest is None or self._in_pairs:
            self._waiting = (stamp, image)
        else:
            complete.append((image, self.latest))
        return complete

    def info(self, stamp: Stamp, info: Other) -> list[tuple[Image, Other]]:
        """A CameraInfo came: it completes the image that waits if the stamps agree, or if no pair was seen lately."""
        self._infos[stamp] = self.latest = info
        if len(self._infos) > self._MEMORY:
            self._infos.popitem(last=False)
        if self._waiting is None:
            return []
        waiting_stamp, image = self._waiting
        if waiting_stamp == stamp:
            self._in_pairs = self.paired = True
        elif self._in_pairs:
            return []
        self._waiting = None
        return [(image, info)]


class BoxPairing(Generic[Image, Other]):
    """Pairs images with the boxes that an external detector found in them.

    A detector answers later than the image, so images wait, a bounded number of them. ``tolerance``
    [s] allows for detectors that do not copy the stamp exactly. An image is used at most once; what is
    older than a match is forgotten and counted in ``unmatched``. ``nearest_miss`` [s] is how far stamps were
    apart at best since the last match.
    """

    def __init__(self, tolerance: float, memory: int = 16) -> None:
        self._tolerance = tolerance
        self._memory = memory
        self._images: OrderedDict[Stamp, Image] = OrderedDict()
        self._boxes: OrderedDict[Stamp, Other] = OrderedDict()
        self.unmatched = 0
        self.nearest_miss: float | None = None

    def image(self, stamp: Stamp, image: Image) -> list[tuple[Image, Other]]:
        """An image came: the pair, if its boxes are there; else it waits, and beyond ``memory`` the oldest goes."""
        found = self._nearest(self._boxes, stamp)
        if found is not None:
            return [(image, self._take(self._boxes, found))]
        self._images[stamp] = image
        if len(self._images) > self._memory:
            self._images.popitem(last=False)
            self.unmatched += 1
        return []

    def boxes(self, stamp: Stamp, boxes: Other) -> list[tuple[Image, Other]]:
        """Boxes came: the pair, if their image is there; images before it are dropped and count as ``unmatched``."""
        found = self._nearest(self._images, stamp)
        if found is not None:
            older = list(self._images).index(found)
            image = self._take(self._images, found)
            self.unmatched += older
            return [(image, boxes)]
        self._boxes[stamp] = boxes
        if len(self._boxes) > self._memory:
            self._boxes.popitem(last=False)
        return []

    def _nearest(self, among: Collection[Stamp], stamp: Stamp) -> Stamp | None:
        nearest = stamp if stamp in among else min(among, key=lambda other: _distance(other, stamp), default=None)
        if nearest is None:
            return None
        distance = _distance(nearest, stamp)
        if distance <= self._tolerance:
            self.nearest_miss = None
            return nearest
        if self.nearest_miss is None or distance < self.nearest_miss:
            self.nearest_miss = distance
        return None

    @staticmethod
    def _take(among: OrderedDict[Stamp, Entry], stamp: Stamp) -> Entry:
        """Remove an entry and everything that arrived before it."""
        while True:
            key, value = among.popitem(last=False)
            if key == stamp:
                return value


def _distance(a: Stamp, b: Stamp) -> float:
    return abs((a[0] - b[0]) + (a[1] - b[1]) * 1e-9)
