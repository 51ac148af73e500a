"""vision_msgs/Detection2DArray as boxes, and what may be wrong with boxes that come from elsewhere."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from cliff_ros.errors import InputError
from cliff_ros.people import Box
from cliff_ros.ros.inputs.wire import RawDetection, RawDetections
from cliff_ros.ros.runtime.complaints import shortened
from cliff_ros.ros.runtime.settings import CliffSettings

Complain = Callable[[str, str], None]

_LARGEST = 1e6  # [px] center or size: no camera has such images
_SMALLEST = 1e-6  # a fraction of an image still is larger
# Who fills more than this many images cannot be seen in any of them.
_LARGEST_IN_IMAGES = 20.0
# Nobody has a box of so few pixels: fractions of the image's size.
_LARGEST_FRACTION = 2.0
# The tracker counts on from the highest id it was given, and the messages hold 32 bits.
_MOST_IDS = 1 << 30
_MOST_CLASSES = 8


def detections_type() -> type:
    """vision_msgs/Detection2DArray. Raises InputError where the package is not installed."""
    try:
        from vision_msgs.msg import Detection2DArray
    except ImportError:
        raise InputError(
            "detector 'topic' needs the package vision_msgs: install it "
            '(apt install ros-$ROS_DISTRO-vision-msgs), or choose another detector'
        ) from None
    kind: type = Detection2DArray
    return kind


class FoundBoxes(NamedTuple):
    """Boxes as they came, and the frame_id that they came with."""

    frame_id: str
    boxes: list[Box]


class Detections:
    """Turns arrays of detections into boxes; remembers of which classes they were.

    other_classes: classes that were left out, the first few.
    wanted_seen: whether ``detections_class`` ever came.
    """

    def __init__(self, settings: CliffSettings, complain: Complain) -> None:
        self.class_id = settings.detections_class
        self.other_classes: list[str] = []
        self.wanted_seen = not self.class_id
        self._complain = complain

    def boxes(self, message: RawDetections) -> list[Box]:
        """The boxes of all detections that have a hypothesis of the class, in the unit they came in.

        A detection without a hypothesis has score 1; scores beyond 0..1 are cut. What has numbers that cannot be
        is left out and complained of.
        """
        boxes, bad = [], []
        for detection in message.detections:
            scores = [score for class_id, score in detection.hypotheses if self.class_id in ('', class_id)]
            if not scores and self.class_id:
                self._remember(detection)
                continue
            self.wanted_seen = True
            if _is_sane(detection.box, scores):
                x, y, width, height = detection.box
                boxes.append(
                    Box(
                        np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]),
                        min(max(0.0, *scores) if scores else 1.0, 1.0),
                        person_id(detection.id),
                    )
                )
            else:
                bad.append(detection)
        if bad:
            x, y, width, height = bad[0].box
            self._complain(
                'detections: numbers',
                (
                    f'{len(bad)} of {len(message.detections)} detections are left out: centre, size or score is not '
                    f'finite or cannot be (the first: {width:g}x{height:g} px around ({x:g}, {y:g}), scores '
                    f'{[score for _, score in bad[0].hypotheses][:3]}); correct the detector.'
                ),
            )
        return boxes

    def _remember(self, detection: RawDetection) -> None:
        names = [shortened(class_id) for class_id, _ in detection.hypotheses[:_MOST_CLASSES]]
        for name in names or ['none at all']:
            if name not in self.other_classes and len(self.other_classes) < _MOST_CLASSES:
                self.other_classes.append(name)


class Placement:
    """Brings boxes into the pixels of their image, and notices those that belong to another."""

    def __init__(self, settings: CliffSettings, complain: Complain) -> None:
        self._normalized = settings.detections_normalized
        self._complain = complain

    def __call__(self, boxes: Sequence[Box], size: tuple[int, int]) -> list[Box]:
        """The boxes that show something of an image of ``size`` (width, height), in raw pixels."""
        if not boxes:
            return []
        scale = np.array(size * 2, np.float64)
        xyxy = np.array([box.xyxy for box in boxes])
        if self._normalized:
            xyxy = xyxy * scale - 0.5  # fractions count from the corner of the first pixel, pixels from its center
        elif np.abs(xyxy).max() <= _LARGEST_FRACTION and min(size) > 4 * _LARGEST_FRACTION:
            self._complain(
                'detections: normalized',
                (
                    'The boxes of an image are left out: they are fractions of its width and height, not pixels; set '
                    'detections_normalized to true, or have the detector give pixels.'
                ),
            )
            return []
        sides = xyxy[:, 2:] - xyxy[:, :2]
        seen = ((xyxy[:, 2:] > -0.5) & (xyxy[:, :2] < scale[:2] - 0.5)).all(1)
        sized = (sides >= 1.0).all(1) & (sides <= _LARGEST_IN_IMAGES * max(size)).all(1)
        if not seen.any():
            x, y = (xyxy[0, :2] + xyxy[0, 2:]) / 2
            remedy = (
                'set detections_normalized to false if they are pixels'
                if self._normalized
                else (
                    'it looks at another image, or at another size of it; remap `image` to the topic that the detector '
                    'looks at, or have it give pixels of this one'
                )
            )
            self._complain(
                'detections: outside',
                (
                    f"None of the detector's boxes lies in the {size[0]}x{size[1]} image (the first is around "
                    f'({x:.0f}, {y:.0f})): {remedy}.'
                ),
            )
        elif not sized[seen].all():
            self._complain(
                'detections: size',
                (
                    f'{np.count_nonzero(seen & ~sized)} of {len(boxes)} boxes are left out: they are smaller than a '
                    f'pixel or larger than {_LARGEST_IN_IMAGES:.0f} images; correct the detector.'
                ),
            )
        return [Box(xyxy[i], boxes[i].score, boxes[i].id) for i in np.flatnonzero(seen & sized).tolist()]


def _is_sane(box: tuple[float, float, float, float], scores: Sequence[float]) -> bool:
    x, y, width, height = box
    return (
        abs(x) <= _LARGEST
        and abs(y) <= _LARGEST
        and _SMALLEST <= width <= _LARGEST
        and _SMALLEST <= height <= _LARGEST
        and all(map(math.isfinite, scores))
    )


def person_id(text: str) -> int | None:
    """An id from a detector's string: its number, else one that is always the same for the same string.

    Below 2^30. None for an empty string and for a negative number, by which detectors say that they do not know:
    then the tracker gives one.
    """
    if not text or (text[0] == '-' and text[1:].isdecimal()):
        return None
    if len(text) <= 10 and text.isdecimal() and int(text) < _MOST_IDS:
        return int(text)
    return zlib.crc32(text.encode('utf-8', 'replace')) % _MOST_IDS
