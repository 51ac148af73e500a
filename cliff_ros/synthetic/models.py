"""Solid things that are not people, as lists of parts: y up, standing on y = 0, as tall as in life [m].

Wheels, bicycles, cars, radiators, tables with cakes, chairs, lamps, tripods, machines: what networks that saw only
people before walls take for people.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cliff_ros.synthetic.solids import Part, ball_at, block, frame_of, ring, rod
from cliff_ros.synthetic.textures import natural_color


def _wheel_at(rng, center, radius: float, axis, parts: list[Part], color=None) -> None:
    center = np.asarray(center, float)
    thick = radius * rng.uniform(0.07, 0.3)
    axis = np.asarray(axis, float)
    parts.append(ring(center, radius - thick, thick, axis, np.full(3, rng.uniform(15, 60))))
    rim = natural_color(rng) if color is None else color
    if rng.random() < 0.5:
        parts.append(rod(center - axis * thick * 0.5, center + axis * thick * 0.5, radius - 1.6 * thick, rim, 16))
        parts.append(rod(center - axis * thick * 0.9, center + axis * thick * 0.9, radius * 0.25, rim * 0.6, 10))
    else:
        frame = frame_of(axis)
        count = int(rng.integers(4, 14))
        for angle in np.arange(count) / count * 2 * np.pi:
            spoke = frame[:, 0] * np.cos(angle) + frame[:, 2] * np.sin(angle)
            parts.append(rod(center, center + spoke * (radius - thick), radius * 0.03, rim, 5))


def wheel(rng) -> list[Part]:
    """One upright wheel of 0.2 to 0.6 m radius, its axle along z."""
    parts: list[Part] = []
    radius = rng.uniform(0.2, 0.6)
    _wheel_at(rng, [0, radius, 0], radius, [0, 0, 1], parts)
    return parts


def bicycle(rng) -> list[Part]:
    """Along x, its wheels 1.04 m apart; three in ten have a box in front of the handlebar."""
    parts: list[Part] = []
    color, r = natural_color(rng), rng.uniform(0.28, 0.36)
    for x in (-0.52, 0.52):
        _wheel_at(rng, [x, r, 0], r, [0, 0, 1], parts)
    pedal, seat, head = [-0.05, r - 0.02, 0], [-0.2, r + 0.5, 0], [0.36, r + 0.52, 0]
    for a, b in (
        (pedal, seat),
        (pedal, head),
        (seat, head),
        (seat, [-0.52, r, 0]),
        (pedal, [-0.52, r, 0]),
        (head, [0.52, r, 0]),
    ):
        parts.append(rod(a, b, 0.02, color, 6))
    parts += [
        block([-0.32, r + 0.5, -0.06], [-0.08, r + 0.55, 0.06], np.full(3, 30.0)),
        rod([0.36, r + 0.6, -0.28], [0.36, r + 0.6, 0.28], 0.015, np.full(3, 40.0), 6),
    ]
    if rng.random() < 0.3:
        parts.append(block([0.4, r + 0.3, -0.15], [0.75, r + 0.6, 0.15], natural_color(rng)))
    return parts


def car(rng) -> list[Part]:
    """Along x, 3.4 to 5 m long: a body with a cabin, windows and headlights, on four wheels."""
    color, length, high = natural_color(rng), rng.uniform(3.4, 5), rng.uniform(1.35, 2.2)
    glass = np.full(3, rng.uniform(20, 90))
    waist = 0.5 * high + 0.1
    parts = [
        block([-length / 2, 0.25, -0.85], [length / 2, waist, 0.85], color),
        block([-length * rng.uniform(0.2, 0.48), waist, -0.75], [length * rng.uniform(0.1, 0.3), high, 0.75], color),
    ]
    x0, x1 = parts[1][0][:, 0].min(), parts[1][0][:, 0].max()
    for a in np.linspace(x0, x1, int(rng.integers(2, 4)) + 1)[:-1]:
        b = a + (x1 - x0) / 3.4
        parts.append(block([a + 0.05, waist + 0.05, -0.77], [b, high - 0.1, 0.77], glass))
    parts.append(block([x0 - 0.02, waist + 0.05, -0.65], [x1 + 0.02, high - 0.1, 0.65], glass))
    for x in (-length * 0.32, length * 0.32):
        for z in (-0.8, 0.8):
            _wheel_at(rng, [x, 0.32, z], 0.32, [0, 0, 1], parts)
    for z in (-0.6, 0.6):
        parts.append(ball_at([length / 2, 0.6, z], [0.06, 0.12, 0.15], [240, 235, 210]))
    return parts


def radiator(rng) -> list[Part]:
    """4 to 19 upright round or flat ribs along x, between two pipes."""
    count, high, gap = int(rng.integers(4, 20)), rng.uniform(0.4, 1.9), rng.uniform(0.05, 0.09)
    color = np.full(3, rng.uniform(170, 245)) if rng.random() < 0.7 else natural_color(rng)
    parts = []
    for k in range(count):
        x = (k - count / 2) * gap
        if rng.random() < 0.5:
            parts.append(rod([x, 0.1, 0], [x, 0.1 + high, 0], gap * 0.38, color))
        else:
            parts.append(block([x - gap * 0.36, 0.1, -0.06], [x + gap * 0.36, 0.1 + high, 0.06], color))
    wide = count / 2 * gap
    for y in (0.13, 0.07 + high):
        parts.append(rod([-wide, y, 0], [wide, y, 0], 0.025, color * 0.95))
    parts.append(rod([wide, 0.13, 0], [wide + 0.08, 0.0, 0], 0.015, color * 0.7))
    return parts


def _legs(rng, wide: float, deep: float, high: float, color, thick: float = 0.03) -> list[Part]:
    return [
        rod([sx * wide, 0, sz * deep], [sx * wide * 0.95, high, sz * deep * 0.95], thick, color, 6)
        for sx in (-1, 1)
        for sz in (-1, 1)
    ]


def table(rng) -> list[Part]:
    """With plates, cakes, candles, bottles on it, or a cloth that hangs down."""
    wide, deep, high, color = rng.uniform(0.3, 1.0), rng.uniform(0.25, 0.5), rng.uniform(0.45, 1.0), natural_color(rng)
    parts = _legs(rng, wide, deep, high, color * 0.8)
    if rng.random() < 0.5:
        parts.append(block([-wide - 0.05, high, -deep - 0.05], [wide + 0.05, high + 0.04, deep + 0.05], color))
    else:
        parts.append(rod([0, high, 0], [0, high + 0.03, 0], wide, color, 24))
    if rng.random() < 0.35:
        parts.append(
            block(
                [-wide - 0.06, high * rng.uniform(0, 0.7), -deep - 0.06],
                [wide + 0.06, high + 0.05, deep + 0.06],
                natural_color(rng),
            )
        )
    for _ in range(rng.integers(0, 7)):
        x, z = rng.uniform(-0.8, 0.8) * wide, rng.uniform(-0.7, 0.7) * deep
        y, thing, size = high + 0.05, rng.integers(4), rng.uniform(0.04, 0.16)
        if thing == 0:  # a cake in tiers
            for tier in range(int(rng.integers(1, 4))):
                tone = natural_color(rng) * 0.4 + 140
                parts.append(rod([x, y, z], [x, y + size * 0.6, z], size * (1.4 - 0.4 * tier), tone, 16))
                y += size * 0.6
            for _ in range(rng.integers(0, 6)):
                cx, cz = x + rng.normal(0, size * 0.3), z + rng.normal(0, size * 0.3)
                parts.append(rod([cx, y, cz], [cx, y + 0.06, cz], 0.006, natural_color(rng), 5))
        elif thing == 1:
            parts.append(
                rod([x, y, z], [x, y + size * 2.5, z], size * 0.5, natural_color(rng), 10, rng.uniform(0.3, 1))
            )
        elif thing == 2:
            parts.append(ball_at([x, y + size * 0.7, z], [size, size * 0.7, size], natural_color(rng)))
        else:
            parts.append(block([x - size, y, z - size], [x + size, y + size * 1.5, z + size * 0.5], natural_color(rng)))
    return parts


def chair(rng) -> list[Part]:
    """A seat whose back is at -z, solid or of bars, on legs or castors; some have armrests."""
    color, seat, wide = natural_color(rng), rng.uniform(0.4, 0.6), rng.uniform(0.2, 0.3)
    parts = [block([-wide, seat, -wide], [wide, seat + rng.uniform(0.03, 0.15), wide], color)]
    back = seat + rng.uniform(0.3, 0.75)
    if rng.random() < 0.6:
        parts.append(block([-wide, seat + rng.uniform(0, 0.2), -wide - 0.04], [wide, back, -wide + 0.02], color))
    else:
        parts += [
            rod([x, seat, -wide], [x, back, -wide - 0.05], 0.015, color, 6)
            for x in np.linspace(-wide, wide, int(rng.integers(2, 7)))
        ]
    if rng.random() < 0.35:  # on castors
        parts.append(rod([0, 0.08, 0], [0, seat, 0], 0.03, np.full(3, 60.0)))
        for angle in np.arange(5) * 2 * np.pi / 5:
            parts.append(
                rod([0, 0.1, 0], [0.28 * np.cos(angle), 0.05, 0.28 * np.sin(angle)], 0.025, np.full(3, 40.0), 6)
            )
    else:
        parts += _legs(rng, wide * 0.9, wide * 0.9, seat, color * 0.7, 0.02)
    if rng.random() < 0.4:
        parts += [
            block([s * wide - 0.03, seat + 0.18, -wide], [s * wide + 0.03, seat + 0.23, wide], color * 0.8)
            for s in (-1, 1)
        ]
    return parts


def sofa(rng) -> list[Part]:
    """0.8 to 2.2 m between its armrests, its back at -z, with up to three cushions."""
    color, wide = natural_color(rng), rng.uniform(0.4, 1.1)
    parts = [block([-wide, 0.1, -0.4], [wide, 0.42, 0.4], color), block([-wide, 0.1, -0.55], [wide, 0.9, -0.35], color)]
    parts += [block([s * wide - 0.1, 0.05, -0.45], [s * wide + 0.1, 0.62, 0.42], color * 0.95) for s in (-1, 1)]
    for x in rng.uniform(-wide, wide, rng.integers(0, 4)):
        parts.append(ball_at([x, 0.58, -0.25], [0.22, 0.2, 0.09], natural_color(rng)))
    return parts


def lamp(rng) -> list[Part]:
    """A floor lamp: foot, pole, and a shade or a bright ball; 0.5 m high or more."""
    high, shade = rng.uniform(0.5, 1.9), rng.uniform(0.1, 0.28)
    metal = np.full(3, rng.uniform(20, 200))
    parts = [rod([0, 0, 0], [0, 0.03, 0], shade * 0.8, metal, 14), rod([0, 0, 0], [0, high, 0], 0.015, metal, 6)]
    if rng.random() < 0.6:
        tone = natural_color(rng) * 0.5 + 120
        parts.append(rod([0, high - 0.25, 0], [0, high, 0], shade, tone, 16, rng.uniform(0.4, 1)))
    else:
        parts.append(ball_at([0, high, 0], shade * 0.7, np.full(3, 245.0)))
    return parts


def tripod(rng) -> list[Part]:
    """Three legs and a box on top, half of the time with a lens toward +z."""
    high, spread, color = rng.uniform(0.8, 1.7), rng.uniform(0.2, 0.5), np.full(3, rng.uniform(15, 120))
    parts = [
        rod([0, high * 0.8, 0], [spread * np.cos(a), 0, spread * np.sin(a)], 0.016, color, 6)
        for a in np.arange(3) * 2 * np.pi / 3 + rng.uniform(0, 6)
    ]
    parts.append(rod([0, high * 0.7, 0], [0, high, 0], 0.018, color, 6))
    size = rng.uniform([0.05, 0.05, 0.05], [0.35, 0.3, 0.2])
    head = np.array([0, high + size[1] / 2, 0])
    parts.append(block(head - size / 2, head + size / 2, natural_color(rng) * 0.6))
    if rng.random() < 0.5:
        parts.append(rod(head, head + [0, 0, size[2] / 2 + 0.12], 0.05, np.full(3, 25.0), 10))
    return parts


def ball(rng) -> list[Part]:
    """One ball of 0.1 to 0.35 m radius on the ground."""
    radius = rng.uniform(0.1, 0.35)
    return [ball_at([0, radius, 0], radius, natural_color(rng))]


def shelf(rng) -> list[Part]:
    """Boards along x between two sides, some with a back at -z, with books and boxes on them."""
    wide, high, rows, color = rng.uniform(0.3, 0.9), rng.uniform(0.6, 2.2), int(rng.integers(2, 6)), natural_color(rng)
    parts = [block([s * wide - 0.02, 0, -0.18], [s * wide + 0.02, high, 0.18], color) for s in (-1, 1)]
    if rng.random() < 0.6:
        parts.append(block([-wide, 0, -0.19], [wide, high, -0.17], color * 0.8))
    for y in np.linspace(0.05, high - 0.02, rows + 1):
        parts.append(block([-wide, y - 0.015, -0.18], [wide, y + 0.015, 0.18], color))
        x = -wide + 0.05
        while x < wide - 0.08 and y < high - 0.2 and rng.random() < 0.93:
            w, h = rng.uniform(0.02, 0.18), rng.uniform(0.1, 0.9) * (high - 0.1) / rows
            far = [min(x + w, wide - 0.03), y + h, rng.uniform(-0.05, 0.15)]
            parts.append(block([x, y, -0.15], far, natural_color(rng)))
            x += w + (0.15 * rng.random() if rng.random() < 0.3 else 0.004)
    return parts


def cupboard(rng) -> list[Part]:
    """A closed box with rows and columns of doors or drawers at +z, each with a handle."""
    wide, high, deep, color = rng.uniform(0.2, 0.8), rng.uniform(0.5, 2.1), rng.uniform(0.2, 0.4), natural_color(rng)
    parts = [block([-wide, 0, -deep], [wide, high, deep], color)]
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 6))
    tone = color * rng.uniform(0.8, 1.2)
    for i in range(columns):
        for j in range(rows):
            x0, y0 = -wide + 2 * wide * i / columns + 0.02, high * j / rows + 0.02
            x1, y1 = x0 + 2 * wide / columns - 0.04, y0 + high / rows - 0.04
            parts.append(block([x0, y0, deep], [x1, y1, deep + 0.02], tone))
            parts.append(
                block(
                    [(x0 + x1) / 2 - 0.05, y1 - 0.08, deep + 0.02],
                    [(x0 + x1) / 2 + 0.05, y1 - 0.06, deep + 0.05],
                    np.full(3, 60.0),
                )
            )
    return parts


def machine(rng) -> list[Part]:
    """A robot's base, a washing machine, a compressor, a pump: boxes, drums, pipes, knobs, displays."""
    wide, high, deep = rng.uniform([0.2, 0.4, 0.2], [0.7, 1.6, 0.5])
    color = natural_color(rng)
    parts = [block([-wide, 0.08, -deep], [wide, high, deep], color)]
    for _ in range(rng.integers(2, 9)):
        x, y, size = rng.uniform(-0.8, 0.8) * wide, rng.uniform(0.15, 0.95) * high, rng.uniform(0.02, 0.2)
        kind = rng.integers(4)
        tone = natural_color(rng)
        if kind == 0:
            parts.append(rod([x, y, deep], [x, y, deep + size], size, tone, 14))
        elif kind == 1:
            parts.append(block([x - size, y - size * 0.6, deep], [x + size, y + size * 0.6, deep + 0.02], tone))
        elif kind == 2:
            parts.append(ring([x, y, deep + 0.02], size, size * 0.2, [0, 0, 1], tone))
        else:
            parts.append(rod([x, y, 0], [x + rng.normal(0, 0.1), high + rng.uniform(0.05, 0.5), 0], size * 0.4, tone))
    for x in (-wide * 0.8, wide * 0.8):
        parts.append(rod([x, 0.07, -deep], [x, 0.07, deep], 0.07, np.full(3, 25.0)))
    return parts


def bin_or_bottle(rng) -> list[Part]:
    """An upright cylinder, tapered or not, with a dome on top; half of them have a neck."""
    high, radius, color = rng.uniform(0.3, 1.6), rng.uniform(0.08, 0.3), natural_color(rng)
    parts = [rod([0, 0, 0], [0, high, 0], radius, color, 16, rng.uniform(0.8, 1.3))]
    parts.append(ball_at([0, high, 0], [radius, radius * rng.uniform(0.2, 0.8), radius], natural_color(rng)))
    if rng.random() < 0.5:
        parts.append(rod([0, high, 0], [0, high + radius * 1.5, 0], radius * 0.3, color * 0.7))
    return parts


def plant(rng) -> list[Part]:
    """Leaves around a stem, in a pot or out of the ground."""
    green = np.array([rng.uniform(20, 120), rng.uniform(60, 160), rng.uniform(10, 70)])
    pot, high = rng.uniform(0.1, 0.35), rng.uniform(0.5, 1.8)
    parts = [rod([0, 0, 0], [0, pot, 0], pot * 0.5, natural_color(rng), 12, 1.3)] if rng.random() < 0.7 else []
    parts.append(rod([0, pot * 0.8, 0], [0, high * 0.7, 0], 0.02, green * 0.5, 6))
    spread, leaf = rng.uniform(0.12, 0.45), rng.uniform(0.05, 0.16)
    for _ in range(rng.integers(14, 45)):
        center = np.array([0, 0.6 * high, 0]) + rng.normal(0, 1, 3) * [spread * 0.5, high * 0.2, spread * 0.5]
        center[1] = max(center[1], pot)
        parts.append(
            ball_at(
                center,
                np.abs(rng.normal(leaf, leaf * 0.3, 3)) * rng.permutation([1.0, 0.7, 0.25]),
                green * rng.uniform(0.6, 1.4),
            )
        )
    return parts


def door(rng) -> list[Part]:
    """A door, open or closed, in its frame."""
    wide, high = rng.uniform(0.4, 0.6), rng.uniform(1.9, 2.3)
    color, leaf = natural_color(rng) * 0.6 + 80, natural_color(rng)
    parts = [block([s * wide - 0.05, 0, -0.05], [s * wide + 0.05, high, 0.08], color) for s in (-1, 1)]
    parts.append(block([-wide - 0.05, high - 0.04, -0.05], [wide + 0.05, high + 0.06, 0.08], color))
    if rng.random() < 0.6:
        parts.append(block([-wide, 0, -0.02], [wide, high, 0.02], leaf))
        parts.append(ball_at([wide * 0.8, 1.0, 0.06], 0.03, np.full(3, 150.0)))
    else:
        parts.append(block([-wide, 0, -0.5], [wide, high, -0.45], np.full(3, rng.uniform(10, 90))))
    return parts


def cart(rng) -> list[Part]:
    """A trolley, a pram, a scooter: a box on wheels with a handle."""
    color, wide, deep = natural_color(rng), rng.uniform(0.2, 0.5), rng.uniform(0.15, 0.3)
    parts = [
        block([-wide, 0.2, -deep], [wide, rng.uniform(0.25, 0.9), deep], color),
        rod([-wide, 0.25, 0], [-wide - 0.15, rng.uniform(0.8, 1.15), 0], 0.02, np.full(3, 60.0), 6),
    ]
    for x in (-wide * 0.8, wide * 0.8):
        for z in (-deep, deep):
            _wheel_at(rng, [x, 0.12, z], 0.12, [0, 0, 1], parts)
    return parts


MAKERS: tuple[Callable[[np.random.Generator], list[Part]], ...] = (
    wheel,
    bicycle,
    car,
    radiator,
    table,
    chair,
    sofa,
    lamp,
    tripod,
    ball,
    shelf,
    cupboard,
    machine,
    bin_or_bottle,
    plant,
    door,
    cart,
    table,
    chair,
    machine,
)
