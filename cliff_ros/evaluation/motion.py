"""How people move from image to image: jitter and acceleration, over sequences (T, J, 3) [m] of one person."""

from __future__ import annotations

import numpy as np

# Joints that EMDB leaves out of its jitter (PIP's protocol): pelvis, ankles, feet, wrists, hands. They count as still.
STILL = (0, 7, 8, 10, 11, 20, 21, 22, 23)


def jitter(joints: np.ndarray, fps: float = 30.0, still: tuple[int, ...] = STILL) -> float:
    """Mean jerk of joints (T, 24, 3) [m] in 10 m/s^3, EMDB's unit. NaN for fewer than four images.

    By EMDB's protocol the joints named ``still`` are set to zero and stay in the mean over all 24, and images that its
    mask leaves out are taken away before: what is then next to each other is taken for neighbors.
    """
    joints = np.asarray(joints, np.float64).copy()
    if len(joints) < 4:
        return float('nan')
    joints[:, list(still)] = 0
    jerk = np.diff(joints, n=3, axis=0) * fps**3
    return float(np.linalg.norm(jerk, axis=2).mean() / 10)


def acceleration(joints: np.ndarray, fps: float | None = None) -> np.ndarray:
    """Acceleration (T - 2, J) of joints (T, J, 3) [m]: mm per image squared, or mm/s^2 where fps is given."""
    steps = np.diff(np.asarray(joints, np.float64), n=2, axis=0)
    return 1e3 * np.linalg.norm(steps, axis=2) * (1.0 if fps is None else fps**2)


def acceleration_error(predicted: np.ndarray, true: np.ndarray, fps: float | None = None) -> np.ndarray:
    """Mean over joints (T - 2,) of the difference of accelerations; unit as of `acceleration` (HMMR, VIBE).

    Both (T, J, 3) [m], of images that follow each other without a gap.
    """
    return acceleration(np.asarray(predicted, np.float64) - np.asarray(true, np.float64), fps).mean(1)
