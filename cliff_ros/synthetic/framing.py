"""How much of a person an image shows and how a box lies around them: what robots meet, near and cut.

Everything is in a normalized camera (f = 1, optical axis at the origin): an image reaches to +-half.
"""

from __future__ import annotations

import numpy as np

NEAREST = 0.12  # [m] nothing of a person comes nearer to the lens
NEAR = 0.36  # of the people stand near: the image cuts most of them
TALLEST = 4.0  # image heights that somebody near would take, were they whole
LOOSE = 0.3  # of the boxes are far from tight
LOOSE_SCALE, LOOSE_SHIFT = (0.6, 2.0), 0.15
COVERED = 0.18  # of the people stand behind furniture or a corner
# What tells a person: pelvis, hips, spine, knees, ankles, neck, head, shoulders, elbows, wrists of the 29 keypoints
MAIN = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 18, 19, 20, 21])
FACE = np.array([15, 24, 25, 26])  # head, nose, eyes
# What is aimed at when somebody is near: mostly the upper body, at times what a low camera sees
AIMS = np.array([15, 9, 0, 4, 8])
AIM_SHARE = np.array([0.4, 0.35, 0.12, 0.08, 0.05])


def shows_person(inside: np.ndarray) -> bool | None:
    """Whether these of the 29 keypoints (29,) bool make a picture one of their person; None where it is hard to say.

    A head is enough, so are two thirds of a leg with the hip, and a pair of shins; a forearm or a foot is not.
    """
    count = int(inside[MAIN].sum())
    if count >= 4 or inside[FACE].all():
        return True
    return False if count <= 2 and not inside[15] else None


MIDDLE = np.zeros(2)  # of what the camera sees, on the plane z = 1


def within(points: np.ndarray, center: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """(N,) bool: points (N, 2) in a rectangle of the given half extents."""
    return (np.abs(points - center) < extent).all(1)


def in_image(points: np.ndarray, half: np.ndarray) -> np.ndarray:
    """(N,) bool: points (N, 2) of the plane z = 1 in an image that reaches to +-half (2,)."""
    return within(points, MIDDLE, half)


def near(rng: np.random.Generator, keypoints: np.ndarray, half: np.ndarray) -> np.ndarray:
    """SMPL translation (3,) of somebody too near for the image to hold, keypoints (29, 3) about the origin."""
    z = 1.7 / (2 * half[1] * np.exp(rng.uniform(np.log(0.95), np.log(TALLEST))))
    aim = keypoints[rng.choice(AIMS, p=AIM_SHARE)]
    at = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.85, 0.6)]) * half
    return (np.append(at * z, z) - aim).astype(np.float32)


def far(rng: np.random.Generator, keypoints: np.ndarray, half: np.ndarray) -> np.ndarray:
    """SMPL translation (3,) of somebody of whom the image holds all or nearly all."""
    z = 1.7 / (2 * half[1] * np.exp(rng.uniform(np.log(0.13), np.log(1.15))))
    at = np.array([rng.uniform(-1, 1), rng.uniform(-0.75, 0.75)]) * half
    return (np.append(at * z, z) - keypoints[0]).astype(np.float32)


def cover(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """What is in front of a person, as a quadrilateral (4, 2): furniture before their legs, or the edge of a wall.

    low, high: their box in the image. Its first edge, 0 to 1, is the one that cuts them.
    """
    size, slope = high - low, rng.normal(0, 0.03)
    if rng.random() < 0.8:  # furniture, its upper edge between the breast and the feet
        top = rng.uniform(low[1] + 0.3 * size[1], low[1] + 0.92 * size[1])
        left, right = low[0] - rng.uniform(0.0, 1.0) * size[1], high[0] + rng.uniform(0.0, 1.0) * size[1]
        bend = slope * (right - left)
        return np.array([[left, top - bend], [right, top + bend], [right, top + 9], [left, top + 9]])
    side, edge = rng.choice([-1.0, 1.0]), rng.uniform(0.3, 0.75)
    x = low[0] + size[0] * (edge if side > 0 else 1 - edge)
    far_x, bend = x + side * rng.choice([9.0, 0.6 * size[1]]), slope * size[1]
    return np.array([[x - bend, low[1] - 9], [x + bend, high[1] + 9], [far_x, high[1] + 9], [far_x, low[1] - 9]])


def covered(points: np.ndarray, quadrilateral: np.ndarray) -> np.ndarray:
    """(N,) bool: points (N, 2) inside a convex quadrilateral (4, 2), turning either way."""
    edge = np.roll(quadrilateral, -1, 0) - quadrilateral
    off = points[:, None] - quadrilateral
    side = edge[:, 0] * off[..., 1] - edge[:, 1] * off[..., 0]
    return (side > 0).all(1) | (side < 0).all(1)


def tight(
    rng: np.random.Generator, low: np.ndarray, high: np.ndarray, aspect: float, margin: float
) -> tuple[np.ndarray, float]:
    """Center (2,) and height of the crop of a good detector's box; aspect: height over width of the crop."""
    height = margin * max(high[1] - low[1], (high[0] - low[0]) * aspect)
    center = (low + high) / 2 + rng.normal(0, 0.03, 2).clip(-0.08, 0.08) * height
    return center, height * np.exp(np.clip(rng.normal(0.01, 0.07), -0.18, 0.2))


def loose(
    rng: np.random.Generator, low: np.ndarray, high: np.ndarray, aspect: float, margin: float
) -> tuple[np.ndarray, float]:
    """As `tight`, of a box that is too small, too large or beside."""
    height = margin * max(high[1] - low[1], (high[0] - low[0]) * aspect)
    center = (low + high) / 2 + rng.uniform(-LOOSE_SHIFT, LOOSE_SHIFT, 2) * (high - low)
    return center, height * np.exp(rng.uniform(*np.log(LOOSE_SCALE)))
