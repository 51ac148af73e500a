"""vision_msgs/Detection2DArray as boxes."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from cliff_ros.errors import InputError
from cliff_ros.people import Box


def detections_type() -> type:
    """vision_msgs/Detection2DArray. Raises InputError where the package is not installed."""
    try:
        from vision_msgs.msg import Detection2DArray
    except ImportError:
        raise InputError("detector 'topic' needs the package vision_msgs: install it "
                         '(apt install ros-$ROS_DISTRO-vision-msgs), or choose another detector') from None
    return Detection2DArray


def boxes_of(message: Any, class_id: str = '') -> list[Box]:
    """The boxes of a Detection2DArray, in raw pixels.

    class_id: only detections that have a hypothesis of this class; empty takes all. A detection without a
    hypothesis has score 1. Boxes without size, or with numbers that are not finite, are left out.
    """
    boxes = []
    for detection in message.detections:
        hypotheses = [result.hypothesis for result in detection.results]
        if class_id:
            hypotheses = [h for h in hypotheses if h.class_id == class_id]
            if not hypotheses:
                continue
        score = max((float(h.score) for h in hypotheses), default=1.0)
        center = detection.bbox.center.position
        half = np.array([detection.bbox.size_x, detection.bbox.size_y]) / 2
        xyxy = np.concatenate([(center.x, center.y) - half, (center.x, center.y) + half])
        if np.isfinite(xyxy).all() and (half > 0).all():
            boxes.append(Box(xyxy, score=score, id=person_id(detection.id)))
    return boxes


def person_id(text: str) -> int | None:
    """An id from a detector's string: its number, else one that is always the same for the same string.

    Stays below 2^31, the range of marker ids. None for an empty string: then the tracker gives one.
    """
    if not text:
        return None
    if text.isdecimal() and int(text) < 1 << 31:
        return int(text)
    return zlib.crc32(text.encode()) & 0x7FFFFFFF
