"""What stands around in pictures of the world and is not a person, painted flat into a background.

Shrubs, trunks, signs, windows, shelves, boxes, railings, writing: upright, person-sized, finely textured things
that a detector trained on people before smooth walls takes for people.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from cliff_ros.synthetic.textures import natural_color


def _shaded(color, rng, amount: float = 0.25) -> tuple[float, ...]:
    return tuple(np.clip(np.asarray(color) * (1 + rng.normal(0, amount)), 0, 255).tolist())


def _points(points) -> np.ndarray:
    return np.round(points).astype(np.int32)


def foliage_color(rng: np.random.Generator) -> np.ndarray:
    """(3,) RGB of leaves, grass, bark and straw."""
    hue = rng.normal(42, 14) % 180
    hsv = np.array([[[hue, rng.uniform(40, 200), rng.uniform(30, 190)]]]).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(float)


def shrub(image: np.ndarray, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    """A heap of leaves; y is its foot."""
    color, leaf = foliage_color(rng), max(1.0, size * rng.uniform(0.012, 0.05))
    count = int(rng.uniform(60, 260))
    wide, high = size * rng.uniform(0.3, 0.7), size * rng.uniform(0.7, 1.0)
    angles, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count))
    light = rng.uniform(-1, 1)
    for a, r, turn in zip(angles, radius, rng.uniform(0, 180, count), strict=True):
        dx, dy = r * np.cos(a), r * np.sin(a)
        shade = 0.75 + 0.35 * (light * dx - dy) + rng.normal(0, 0.22)
        center = (int(x + dx * wide), int(y - high / 2 + dy * high / 2))
        axes = (int(leaf * rng.uniform(0.6, 2)) + 1, int(leaf * rng.uniform(0.4, 1)) + 1)
        cv2.ellipse(image, center, axes, turn, 0, 360, np.clip(color * shade, 0, 255).tolist(), -1)


def tree(image: np.ndarray, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    """A trunk with branches, with or without a crown."""
    color = foliage_color(rng) * 0.5 if rng.random() < 0.6 else np.full(3, rng.uniform(30, 150))
    thick = max(1, int(size * rng.uniform(0.02, 0.1)))
    lean = rng.normal(0, 0.06) * size
    cv2.line(image, (int(x), int(y)), (int(x + lean), int(y - size)), _shaded(color, rng), thick, cv2.LINE_AA)
    for _ in range(rng.integers(2, 9)):
        t, side = rng.uniform(0.3, 1), rng.choice([-1, 1])
        start = np.array([x + lean * t, y - size * t])
        end = start + [side * size * rng.uniform(0.08, 0.4), -size * rng.uniform(-0.05, 0.35)]
        cv2.line(
            image,
            _points(start).tolist(),
            _points(end).tolist(),
            _shaded(color, rng),
            max(1, thick // int(rng.integers(2, 5))),
            cv2.LINE_AA,
        )
    if rng.random() < 0.6:
        shrub(image, rng, x + lean, y - size * rng.uniform(0.4, 0.7), size * rng.uniform(0.5, 0.9))


def sign(image: np.ndarray, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    """A pole with a board, a lamp, a parasol."""
    color = natural_color(rng)
    cv2.line(
        image,
        (int(x), int(y)),
        (int(x), int(y - size)),
        _shaded(color, rng),
        max(1, int(size * rng.uniform(0.015, 0.06))),
        cv2.LINE_AA,
    )
    wide, high = size * rng.uniform(0.1, 0.35), size * rng.uniform(0.08, 0.4)
    center = np.array([x, y - size * rng.uniform(0.75, 1.0)])
    board = natural_color(rng).tolist()
    if rng.random() < 0.4:
        cv2.ellipse(image, _points(center).tolist(), (int(wide / 2) + 1, int(high / 2) + 1), 0, 0, 360, board, -1)
    elif rng.random() < 0.3:
        cv2.fillPoly(image, [_points(center + np.array([[-wide, high / 2], [0, -high / 2], [wide, high / 2]]))], board)
    else:
        corner = center - [wide / 2, high / 2]
        cv2.rectangle(image, _points(corner).tolist(), _points(corner + [wide, high]).tolist(), board, -1)
        writing(image, rng, center[0], center[1] + high / 2, high)


def writing(image: np.ndarray, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    """Lines of strokes that look like letters."""
    color, step = natural_color(rng).tolist(), max(3.0, size * rng.uniform(0.08, 0.25))
    rows = max(1, int(size / step / 1.4))
    for row in range(min(rows, 5)):
        for k in range(int(rng.integers(2, 7))):
            start = np.array([x - size / 2 + k * step, y - size + (row + 0.5) * step * 1.4])
            cv2.polylines(
                image,
                [_points(start + rng.random((rng.integers(2, 5), 2)) * step * 0.8)],
                False,
                color,
                max(1, int(step / 8)),
                cv2.LINE_AA,
            )


def windows(image: np.ndarray, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    """A front with rows of windows or a shelf with compartments."""
    wide, high = size * rng.uniform(0.6, 2.5), size * rng.uniform(0.8, 1.8)
    left, top = x - wide / 2, y - high
    cv2.rectangle(image, (int(left), int(top)), (int(left + wide), int(y)), natural_color(rng).tolist(), -1)
    columns, rows = int(rng.integers(1, 7)), int(rng.integers(1, 7))
    gap, color = rng.uniform(0.08, 0.35), natural_color(rng)
    cell = np.array([wide / columns, high / rows])
    for i in range(columns):
        for j in range(rows):
            corner = np.array([left, top]) + cell * ([i, j] + np.full(2, gap / 2))
            cv2.rectangle(
                image,
                _points(corner).tolist(),
                _points(corner + cell * (1 - gap)).tolist(),
                _shaded(color, rng, 0.3),
                -1,
            )


def box(image: np.ndarray, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    """A cupboard, a crate, a car's side: a cuboid seen from a corner, three tones of a color."""
    color = natural_color(rng)
    wide, high, deep = size * rng.uniform([0.3, 0.3, 0.05], [0.9, 1.0, 0.3])
    skew = rng.choice([-1, 1]) * deep
    front = np.array([[0, 0], [wide, 0], [wide, -high], [0, -high]]) + [x - wide / 2, y]
    back = front + [skew, -deep * 0.5]
    side = [1, 2] if skew > 0 else [0, 3]
    for quad, tone in (
        (front, 1.0),
        (np.array([front[3], front[2], back[2], back[3]]), 1.25),
        (np.array([front[side[0]], front[side[1]], back[side[1]], back[side[0]]]), 0.65),
    ):
        cv2.fillPoly(image, [_points(quad)], np.clip(color * tone, 0, 255).tolist(), cv2.LINE_AA)
    if rng.random() < 0.4:
        writing(image, rng, x, y - high * 0.2, high * 0.6)


def railing(image: np.ndarray, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    """A fence, a grid, chair legs: thin parallels."""
    color, wide = _shaded(natural_color(rng), rng), size * rng.uniform(0.5, 3)
    thick = max(1, int(size * rng.uniform(0.008, 0.035)))
    for k in np.linspace(x - wide / 2, x + wide / 2, int(rng.integers(3, 16))):
        cv2.line(image, (int(k), int(y)), (int(k), int(y - size)), color, thick, cv2.LINE_AA)
    for t in rng.uniform(0, 1, rng.integers(1, 4)):
        cv2.line(
            image,
            (int(x - wide / 2), int(y - t * size)),
            (int(x + wide / 2), int(y - t * size)),
            color,
            thick,
            cv2.LINE_AA,
        )


def pillar(image: np.ndarray, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    """Rounded upright bodies: a post, a vase, a bottle, a coat on a stand; person-like in outline, not in parts."""
    color, segments, top = natural_color(rng), int(rng.integers(1, 5)), y
    for part in rng.dirichlet(np.ones(segments)) * size:
        wide = size * rng.uniform(0.06, 0.22)
        center = (int(x + rng.normal(0, 0.02) * size), int(top - part / 2))
        tone = color if rng.random() < 0.5 else natural_color(rng)
        for k in range(4):  # shaded across, like a cylinder
            shrink = 1 - k / 4
            cv2.ellipse(
                image,
                (center[0] - int(0.25 * (1 - shrink) * wide), center[1]),
                (int(wide * shrink) + 1, int(part * 0.6) + 1),
                0,
                0,
                360,
                np.clip(tone * (0.6 + 0.15 * k), 0, 255).tolist(),
                -1,
            )
        top -= part


KINDS: dict[Callable, float] = {
    shrub: 0.26,
    tree: 0.14,
    sign: 0.12,
    windows: 0.12,
    box: 0.14,
    railing: 0.08,
    pillar: 0.1,
    writing: 0.04,
}
UPRIGHT = (shrub, tree, sign, windows, box, railing, pillar)


def scatter(
    image: np.ndarray, rng: np.random.Generator, count: int, smallest: float = 0.08, largest: float = 1.0
) -> None:
    """Paint `count` things into an (H, W, 3) uint8 image in place, far ones first; sizes in image heights."""
    height, width = image.shape[:2]
    kinds, share = list(KINDS), np.array(list(KINDS.values()))
    sizes = np.sort(np.exp(rng.uniform(np.log(smallest), np.log(largest), count))) * height
    for size, kind in zip(sizes, rng.choice(len(kinds), count, p=share / share.sum()), strict=True):
        foot = height * rng.uniform(0.35, 0.6) + size * rng.uniform(0.3, 0.8)
        kinds[kind](image, rng, rng.uniform(0, width), foot, size)
