"""Where somebody is in the image: a box that is followed, by a detector's boxes and by the bodies found in them."""

from __future__ import annotations

import numpy as np

from cliff_ros.arrays import Floats
from cliff_ros.boxes import from_center, to_center
from cliff_ros.track.motion import ConstantVelocity

# In heights of the person, which makes them independent of the distance. A walking person moves about
# one height per second, and detectors place a box to a few per cent of its height.
BOX_NOISE, BOX_ACCELERATION, BOX_SPEED = 0.03, 4.0, 1.0
LOOSE = 4.0  # times as noisy is a detection of somebody whose boxes are corrected by those who look into them


class BoxFilter:
    """xyxy: (4,) smoothed box, raw pixels. measured: (4,) the box as given, None where there was none."""

    def __init__(self, xyxy: Floats) -> None:
        self._was_corrected = self._corrected = False
        self.measured: Floats | None = None
        self._start(xyxy)

    def predict(self, dt: float) -> None:
        """Move on by dt seconds."""
        self.measured, self._was_corrected, self._corrected = None, self._corrected, False
        self._motion.predict(dt)
        self._put()

    def update(self, xyxy: Floats) -> None:
        """Take a box of this image into account."""
        measured = to_center(xyxy)
        if (np.abs(measured - self._motion.position)[:2] > measured[2:] + self._motion.position[2:]).any():
            # Far away: whoever gave an id from outside found the person again elsewhere.
            self._start(xyxy)
            return
        self._take(measured, BOX_NOISE * (LOOSE if self._was_corrected else 1.0))
        self.measured = self.xyxy if self._was_corrected else xyxy

    def correct(self, xyxy: Floats) -> None:
        """Say where they really are in this image: the network that saw them knows better than the detector.

        A detection in the next image then counts for less than what is known here.
        """
        if self._was_corrected:
            self._take(to_center(xyxy), BOX_NOISE)
        else:
            self._start(xyxy)
        self.measured, self._corrected = xyxy, True

    def place(self, smoothed: bool = True) -> Floats:
        """(4,): the smoothed box, or the measured one where there is one."""
        return self.xyxy if smoothed or self.measured is None else self.measured

    def _start(self, xyxy: Floats) -> None:
        height = xyxy[3] - xyxy[1]
        self._motion = ConstantVelocity(
            to_center(xyxy), BOX_NOISE * height, BOX_ACCELERATION * height, BOX_SPEED * height
        )
        self.xyxy = self.measured = xyxy

    def _take(self, measured: Floats, noise: float) -> None:
        height = measured[3]
        self._motion.noise, self._motion.acceleration = noise * height, BOX_ACCELERATION * height
        self._motion.update(measured)
        self._put()

    def _put(self) -> None:
        # A box that shrinks keeps shrinking while it is predicted: never to nothing.
        np.maximum(self._motion.position[2:], 1.0, out=self._motion.position[2:])
        self.xyxy = from_center(self._motion.position)
