"""Where the floor is, guessed from the people who stand on it: an image alone does not tell."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from cliff_ros.people import Person

_HEAD, _ANKLES, _FEET = 15, (7, 8), (10, 11)
_SOLE = 0.06  # [m] from SMPL's foot joints down to what stands
_STRAIGHT = 0.9  # of the way from the ankles to the head is in one line, in whoever stands
_MEMORY = 300  # people
_SELDOM = 10  # images from one guess to the next
_LEVEL = np.array([0.0, -1.0, 0.0])  # up, of a camera that is held level
_BEFORE = 1.5  # [m] below the camera, while nobody was seen


class Floor:
    """Up and the height of the floor, in the optical frame; better the more people were seen standing."""

    def __init__(self) -> None:
        self._ups: deque[np.ndarray] = deque(maxlen=_MEMORY)
        self._feet: deque[np.ndarray] = deque(maxlen=_MEMORY)
        self._images = 0
        self.up, self.below = _LEVEL, _BEFORE  # (3,) unit vector; how far the floor is below the camera [m]

    def add(self, people: Sequence[Person]) -> None:
        """Learn up from whoever stands straight, the height from all feet; guess anew every 10 images with people."""
        for person in people:
            joints = np.asarray(person.joints, np.float64)
            ankles, head = joints[list(_ANKLES)].mean(0), joints[_HEAD]
            length = np.linalg.norm(head - joints[0]) + np.linalg.norm(joints[0] - ankles)
            up = head - ankles
            if length > 0.5 and np.linalg.norm(up) > _STRAIGHT * length:
                self._ups.append(up / np.linalg.norm(up))
            self._feet.append(joints[list(_FEET)])
        if people and self._images % _SELDOM == 0:
            self._guess()
        self._images += bool(people)

    def _guess(self) -> None:
        self.up = _LEVEL
        if self._ups:
            # A few who lean, or whose legs were out of sight, must not tilt the room.
            up = np.median(np.array(self._ups), axis=0)
            up = up / np.linalg.norm(up)
            self.up = up if up @ _LEVEL > 0.5 else _LEVEL
        lowest = (np.array(self._feet) @ self.up).min(1)
        self.below = _SOLE - float(np.median(lowest))

    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (3, 3) and position (3,) of the optical frame in a room whose floor is z = 0, x ahead, z up."""
        up = self.up
        ahead = np.array([0.0, 0.0, 1.0]) - up[2] * up
        ahead /= np.linalg.norm(ahead)
        rotation = np.stack([ahead, np.cross(up, ahead), up])
        return rotation, np.array([0.0, 0.0, self.below])
