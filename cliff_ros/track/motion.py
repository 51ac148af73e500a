"""How fast things move: a constant-velocity Kalman filter, and the velocities of people from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WALKING_SPEED = 1.4  # [m/s], what people choose when nobody hurries them (Bohannon 1997)


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

    def __init__(self, position: np.ndarray, noise: float, acceleration: float, speed: float) -> None:
        self.position = np.array(position, np.float64)
        self.velocity = np.zeros_like(self.position)
        self.noise, self.acceleration = noise, acceleration
        self._pp, self._pv, self._vv = noise**2, 0.0, speed**2

    def predict(self, dt: float) -> None:
        """Move on by dt >= 0 seconds."""
        self.position = self.position + dt * self.velocity
        q = self.acceleration**2
        self._pp += dt * (2 * self._pv + dt * self._vv) + q * dt**4 / 4
        self._pv += dt * self._vv + q * dt**3 / 2
        self._vv += q * dt**2

    def update(self, measured: np.ndarray) -> None:
        """Take a measurement (D,) at the present time into account."""
        total = self._pp + self.noise**2
        gain_p, gain_v = self._pp / total, self._pv / total
        residual = measured - self.position
        self.position = self.position + gain_p * residual
        self.velocity = self.velocity + gain_v * residual
        self._vv -= gain_v * self._pv
        self._pv *= 1 - gain_p
        self._pp *= 1 - gain_p


class Motion:
    """Velocity of tracked people's pelvises.

    noise: standard deviation of a position [m]; acceleration: of walking people [m/s^2];
    max_gap: seconds after which a person seen again starts afresh.
    """

    def __init__(self, noise: float = 0.05, acceleration: float = 2.0, max_gap: float = 0.5) -> None:
        self.noise, self.acceleration, self.max_gap = noise, acceleration, max_gap
        self._people: dict[int, tuple[float, ConstantVelocity]] = {}

    def reset(self) -> None:
        """Forget everybody."""
        self._people.clear()

    def __call__(self, ids: Sequence[int], stamp: float, pelvis: np.ndarray) -> np.ndarray:
        """Velocities (N, 3) [m/s] after new positions (N, 3) [m]; zero for those seen for the first time."""
        return np.array([self._step(id, stamp, point) for id, point in zip(ids, pelvis, strict=True)]
                        ).reshape(-1, 3)

    def keep(self, ids: set[int]) -> None:
        """Forget everybody else."""
        self._people = {id: person for id, person in self._people.items() if id in ids}

    def _step(self, id: int, stamp: float, point: np.ndarray) -> np.ndarray:
        before, motion = self._people.get(id, (np.inf, None))
        if 0 <= stamp - before <= self.max_gap:
            motion.predict(stamp - before)
            motion.update(point)
        else:
            motion = ConstantVelocity(point, self.noise, self.acceleration, WALKING_SPEED)
        self._people[id] = stamp, motion
        return motion.velocity
