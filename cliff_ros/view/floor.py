"""Where the floor is, guessed from the people who stand on it: an image alone does not tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cliff_ros.people import Person

_HEAD, _ANKLES, _FEET = 15, (7, 8), (10, 11)
_SOLE = 0.06  # [m] from SMPL's foot joints down to what stands
_STRAIGHT = 0.9  # of the way from the ankles to the head is in one line, in whoever stands
_MEMORY = 300  # people
_LEVEL = np.array([0.0, -1.0, 0.0])  # up, of a camera that is held level
_BEFORE = 1.5  # [m] below the camera, while nobody was seen


class Floor:
    """Up and the height of the floor, in the optical frame; better the more people were seen standing."""

    def __init__(self) -> None:
        self._ups: list[np.ndarray] = []
        self._feet: list[np.ndarray] = []

    def add(self, people: Sequence[Person]) -> None:
        for person in people:
            joints = np.asarray(person.joints, np.float64)
            ankles, head = joints[list(_ANKLES)].mean(0), joints[_HEAD]
            spine = head - joints[0]
            legs = joints[0] - ankles
            length = np.linalg.norm(spine) + np.linalg.norm(legs)
            up = head - ankles
            if length > 0.5 and np.linalg.norm(up) > _STRAIGHT * length:
                self._ups.append(up / np.linalg.norm(up))
            self._feet.append(joints[list(_FEET)])
        del self._ups[:-_MEMORY], self._feet[:-_MEMORY]

    @property
    def up(self) -> np.ndarray:
        """(3,) unit vector."""
        if not self._ups:
            return _LEVEL
        # A few who lean, or whose legs were out of sight, must not tilt the room.
        up = np.median(self._ups, axis=0)
        up = up / np.linalg.norm(up)
        return up if up @ _LEVEL > 0.5 else _LEVEL

    @property
    def below(self) -> float:
        """How far the floor is below the camera [m]."""
        if not self._feet:
            return _BEFORE
        lowest = [-(feet @ self.up).min() for feet in self._feet]
        return float(np.median(lowest)) + _SOLE

    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (3, 3) and position (3,) of the optical frame in a room whose floor is z = 0, x ahead, z up."""
        up = self.up
        ahead = np.array([0.0, 0.0, 1.0]) - up[2] * up
        ahead /= np.linalg.norm(ahead)
        rotation = np.stack([ahead, np.cross(up, ahead), up])
        return rotation, np.array([0.0, 0.0, self.below])
