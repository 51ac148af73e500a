"""Smoothing of people over time: One-Euro filters (Casiez et al., CHI 2012), all people at once.

A One-Euro filter is a low-pass filter whose cutoff grows with the speed of what it filters: still
people do not jitter, fast people do not lag. Rotations are filtered on SO(3); the pelvis as direction
and logarithm of the distance, because a single camera measures the one far better than the other; the
shape as a mean over time, because it does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cliff_ros.arrays import Floats
from cliff_ros.track import so3


@dataclass(frozen=True)
class OneEuroOptions:
    """min_cutoff: cutoff of something at rest [Hz]; beta: what a unit of speed adds to it [Hz per unit/s]."""

    min_cutoff: float
    beta: float


@dataclass(frozen=True)
class SmootherOptions:
    """Speeds are in rad/s for rotations and directions, 1/s for the logarithm of the distance.

    speed_cutoff: cutoff of the speed estimates [Hz].
    shape_frames: frames after which the mean shape becomes a moving one, so that it can still change.
    max_gap: seconds after which a person seen again starts afresh.
    """

    root: OneEuroOptions = OneEuroOptions(1.5, 1.0)
    limbs: OneEuroOptions = OneEuroOptions(1.5, 0.7)
    direction: OneEuroOptions = OneEuroOptions(3.0, 20.0)
    distance: OneEuroOptions = OneEuroOptions(0.8, 4.0)
    speed_cutoff: float = 1.0
    shape_frames: int = 150
    max_gap: float = 0.5


class PoseState:
    """What the filters remember of one person: the smoothed values and how fast they change."""

    def __init__(self, stamp: float, rotations: Floats, betas: Floats, pelvis: Floats) -> None:
        """rotations: (24, 3, 3); betas: (B,); pelvis: (3,) [m]."""
        self.stamp, self.frames = stamp, 1
        self.rotations, self.turning = rotations.astype(np.float64), np.zeros((len(rotations), 3))
        self.point, self.moving = _to_point(pelvis), np.zeros(4)
        self.betas = betas.astype(np.float64)

    def move_to(self, pelvis: Floats) -> None:
        """Another look at the same person puts them there (3,): the place is not slid to."""
        self.point = _to_point(pelvis)


class Smoother:
    """Smooths the parameters of people, whose states those who own them keep."""

    def __init__(self, options: SmootherOptions | None = None) -> None:
        self.options = options or SmootherOptions()
        root, limbs = self.options.root, self.options.limbs
        direction, distance = self.options.direction, self.options.distance
        self._joint_cutoff = np.array([root.min_cutoff] + 23 * [limbs.min_cutoff])
        self._joint_beta = np.array([root.beta] + 23 * [limbs.beta])
        self._pelvis_cutoff = np.array([*3 * [direction.min_cutoff], distance.min_cutoff])
        self._pelvis_beta = np.array([*3 * [direction.beta], distance.beta])

    def follows(self, state: PoseState | None, stamp: float) -> bool:
        """Whether a measurement goes on from a state; else it starts a new one."""
        return state is not None and 0 <= stamp - state.stamp <= self.options.max_gap

    def __call__(
        self, people: Sequence[PoseState], stamp: float, rotations: Floats, betas: Floats, pelvis: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Smooth the new measurements of N people, at least one; their states move on.

        rotations: (N, 24, 3, 3); betas: (N, B); pelvis: (N, 3) in the optical frame [m].
        Returns the same three, smoothed. The measurement that a state was made of comes back as it is.
        """
        point = _to_point(pelvis)
        dt = np.array([stamp - person.stamp for person in people])[:, None]
        # The same image again says nothing new: the rates stay, and the gains below are zero.
        rate = np.divide(1, dt, out=np.zeros_like(dt), where=dt > 0)
        follow = _gain(self.options.speed_cutoff, dt)

        before = np.array([person.rotations for person in people])
        turn = so3.log(np.swapaxes(before, 2, 3) @ rotations)
        turning = np.array([person.turning for person in people])
        turning += follow[..., None] * (turn * rate[..., None] - turning)
        speed = np.sqrt(np.einsum('nji,nji->nj', turning, turning))
        gain = _gain(self._joint_cutoff + self._joint_beta * speed, dt)
        rotations = so3.orthonormal(before @ so3.exp(gain[..., None] * turn))

        before = np.array([person.point for person in people])
        moving = np.array([person.moving for person in people])
        moving += follow * ((point - before) * rate - moving)
        gain = _gain(self._pelvis_cutoff + self._pelvis_beta * np.abs(moving), dt)
        point = before + gain * (point - before)

        for i, person in enumerate(people):
            if stamp > person.stamp:
                person.frames = min(person.frames + 1, self.options.shape_frames)
                person.betas = person.betas + (betas[i] - person.betas) / person.frames
            person.stamp, person.rotations, person.turning = stamp, rotations[i], turning[i]
            person.point, person.moving = point[i], moving[i]
        direction = point[:, :3] / np.linalg.norm(point[:, :3], axis=1, keepdims=True)
        return rotations, np.array([person.betas for person in people]), direction * np.exp(point[:, 3:])


def _to_point(pelvis: Floats) -> Floats:
    """(..., 3) [m] as direction and logarithm of the distance (..., 4)."""
    distance = np.linalg.norm(pelvis, axis=-1, keepdims=True)
    return np.concatenate([pelvis / distance, np.log(distance)], -1)


def _gain(cutoff: Floats | float, dt: Floats) -> Floats:
    """Share of a new value that a first-order low-pass filter takes in a step of dt seconds."""
    turn = 2 * np.pi * cutoff * dt
    return turn / (1 + turn)
