"""How things move: a constant-velocity Kalman filter, and where people are and how fast they go, in meters."""

from __future__ import annotations

from math import hypot, sqrt

import numpy as np

from cliff_ros.arrays import Floats

WALKING_SPEED = 1.4  # [m/s], what people choose when nobody hurries them (Bohannon 1997)
TOP_SPEED = 7.5  # [m/s] nobody is said to move faster; most people never do
# What one image says of the distance is off by some share of it, and of the place across by some meters. Beyond twice
# of that, and what top speed reaches, it is not the same person.
ALONG_ERROR, ACROSS_ERROR = 0.15, 0.15
ACCELERATION = 3.0  # [m/s^2] standard deviation of that of people who walk
# Standard deviations, after smoothing, that velocities are made with: [m] across the ray, of the distance along it.
ACROSS_NOISE, ALONG_NOISE = 0.05, 0.03
OUTLIER = 3.0  # standard deviations by which a position may pull at the velocity, whatever it says


class Spread:
    """Covariance of a position and its velocity, the same for every component it stands for."""

    def __init__(self, noise: float, speed: float) -> None:
        """Standard deviations of the first position and of the unknown first velocity."""
        self._pp, self._pv, self._vv = noise**2, 0.0, speed**2

    def predict(self, dt: float, acceleration: float) -> None:
        """Let dt [s] pass; acceleration: its standard deviation over the step, in the position's unit per s^2."""
        q = acceleration**2
        self._pp += dt * (2 * self._pv + dt * self._vv) + q * dt**4 / 4
        self._pv += dt * self._vv + q * dt**3 / 2
        self._vv += q * dt**2

    def expected(self, noise: float) -> float:
        """Standard deviation of the next measurement about where it is predicted."""
        return sqrt(self._pp + noise**2)

    def update(self, noise: float) -> tuple[float, float]:
        """Shares of a measurement's surprise that position and velocity [1/s] take, once it has been taken."""
        total = self._pp + noise**2
        gain_p, gain_v = self._pp / total, self._pv / total
        self._vv -= gain_v * self._pv
        self._pv *= 1 - gain_p
        self._pp *= 1 - gain_p
        return gain_p, gain_v

    def displace(self, noise: float) -> None:
        """The position is another one, known to `noise`, which says nothing of the velocity."""
        self._pp, self._pv = noise**2, 0.0


class ConstantVelocity:
    """Position and velocity of something measured at uneven times.

    Every component has the same noise, so one 2x2 covariance serves them all and an update is a few
    scalar operations. Steps of any length, also zero, are exact: nothing is divided by the time step.

    Parameters
    ----------
    position: (D,) first measurement.
    noise: standard deviation of a measurement [unit].
    acceleration: standard deviation of the acceleration, taken as white over a step [unit/s^2].
    speed: standard deviation of the unknown first velocity [unit/s].
    """

    def __init__(self, position: Floats, noise: float, acceleration: float, speed: float) -> None:
        self.position = np.array(position, np.float64)
        self.velocity = np.zeros_like(self.position)
        self.noise, self.acceleration = noise, acceleration
        self._spread = Spread(noise, speed)

    def predict(self, dt: float) -> None:
        """Move on by dt >= 0 seconds."""
        self.position = self.position + dt * self.velocity
        self._spread.predict(dt, self.acceleration)

    def update(self, measured: Floats) -> None:
        """Take a measurement (D,) at the present time into account."""
        gain_p, gain_v = self._spread.update(self.noise)
        residual = measured - self.position
        self.position = self.position + gain_p * residual
        self.velocity = self.velocity + gain_v * residual


class Place:
    """Where somebody's pelvis is said to be, and its velocity: in meters, in the optical frame.

    A single camera measures the place across its ray far better than along it, so each has a covariance of its own
    (the ray hardly turns from one image to the next). What is said never moves faster than `TOP_SPEED`: what lies
    farther away is reached with time, along its ray, so that a body stays on the person in the image.

    Attributes: ``said`` (3,) and its ``stamp``; ``velocity`` (3,) [m/s].
    """

    def __init__(self, stamp: float, pelvis: Floats) -> None:
        self.said, self.velocity = np.array(pelvis, np.float64), np.zeros(3)
        self.stamp = self._measured = stamp
        self._position, self._elsewhere = self.said, False
        along = ALONG_NOISE * _length(pelvis)
        self._across, self._along = Spread(ACROSS_NOISE, WALKING_SPEED), Spread(along, WALKING_SPEED)

    def reaches(self, stamp: float, pelvis: Floats) -> bool:
        """Whether somebody measured at a pelvis (3,) can be this person, at any speed that people have.

        Images without stamps, or with the same one, say nothing of speed.
        """
        if stamp <= self.stamp:
            return True
        ray, distance = _ray(pelvis)
        across, along = _split(pelvis - self.said, ray)
        beyond = hypot(max(_length(across) - 2 * ACROSS_ERROR, 0), max(abs(along) - 2 * ALONG_ERROR * distance, 0))
        return beyond <= TOP_SPEED * (stamp - self.stamp)

    def update(self, stamp: float, pelvis: Floats) -> Floats:
        """Say where they are, (3,), and how fast, after a measurement (3,)."""
        ray, distance = _ray(pelvis)
        noise, dt = ALONG_NOISE * distance, stamp - self._measured
        self._position = self._position + dt * self.velocity
        self._across.predict(dt, ACCELERATION)
        self._along.predict(dt, ACCELERATION)
        if self._elsewhere:
            self._position, self._elsewhere = pelvis, False
            self._across.displace(ACROSS_NOISE)
            self._along.displace(noise)
        # No surprise pulls at the velocity as hard as it likes: that is what bounds the acceleration.
        across, along = _split(pelvis - self._position, ray)
        across = _shorter(across, OUTLIER * self._across.expected(ACROSS_NOISE))
        limit = OUTLIER * self._along.expected(noise)
        along = min(max(along, -limit), limit)
        (across_p, across_v), (along_p, along_v) = self._across.update(ACROSS_NOISE), self._along.update(noise)
        self._position = self._position + across_p * across + along_p * along * ray
        self.velocity = _shorter(self.velocity + across_v * across + along_v * along * ray, TOP_SPEED)
        self.said = self._within_reach(stamp, pelvis, ray, distance)
        self.stamp = self._measured = stamp
        return self.said

    def predicted(self, stamp: float) -> Floats:
        """(3,): where they should be by now."""
        return self.said + (stamp - self.stamp) * self.velocity

    def coast(self, stamp: float) -> Floats:
        """Say where they should be, (3,), without having measured it."""
        self.said, self.stamp = self.predicted(stamp), stamp
        return self.said

    def look_elsewhere(self) -> None:
        """The next measurement is another look at the same person: its place is none that they have moved to."""
        self._elsewhere = True

    def _within_reach(self, stamp: float, pelvis: Floats, ray: Floats, distance: float) -> Floats:
        reach = TOP_SPEED * (stamp - self.stamp)
        if reach <= 0 or _length(pelvis - self.said) <= reach:
            return pelvis
        middle = float(self.said @ ray)
        aside = float(self.said @ self.said) - middle**2
        if aside > reach**2:
            return self.said + _shorter(pelvis - self.said, reach)
        half = sqrt(reach**2 - aside)
        return ray * min(max(distance, middle - half), middle + half)


def _length(vector: Floats) -> float:
    return sqrt(vector @ vector)  # of three numbers: faster than np.linalg.norm by far


def _ray(point: Floats) -> tuple[Floats, float]:
    distance = _length(point)
    return point / distance, distance


def _split(vector: Floats, ray: Floats) -> tuple[Floats, float]:
    """What lies across a ray (3,), and how much along it."""
    along = float(vector @ ray)
    return vector - along * ray, along


def _shorter(vector: Floats, most: float) -> Floats:
    length = _length(vector)
    return vector if length <= most else vector * (most / length)
