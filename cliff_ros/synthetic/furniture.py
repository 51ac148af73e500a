"""What people sit and lie on, and people who touch: put into a scene by the pose that is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cliff_ros.synthetic.actor import Actor
from cliff_ros.synthetic.belongings import Thing
from cliff_ros.synthetic.poses import euler_to_matrix
from cliff_ros.synthetic.textures import TEXTURE_SIZE, natural_color

NO_FACES = np.empty((0, 3), np.int32)
MOST_HIDDEN = 0.4  # of the joints, by what somebody sits on
FARTHER, NEARER = 0.3, 0.12  # [m] than somebody is who touches them
GRID = 7  # vertices along each side of a board: enough for a texture
PELVIS, HIPS, KNEES, NECK = 0, [1, 2], [4, 5], 12


def under(
    rng: np.random.Generator, actor: Actor, translation: np.ndarray, tilt: np.ndarray, textures: np.ndarray
) -> Actor | None:
    """Something below an actor who sits or lies: an actor to draw with `NO_FACES` and label 0.

    None for who stands, and where it would hide most of them. translation: of the actor; tilt: (3, 3) from a level
    camera's axes (y down) to the camera's, in which the actor is.
    """
    joints, skin = actor.joints @ tilt, actor.skin[::5] @ tilt
    floor, pelvis = skin[:, 1].max(), joints[PELVIS]
    thigh, trunk = joints[KNEES].mean(0) - joints[HIPS].mean(0), joints[NECK] - pelvis
    if abs(thigh[1]) < 0.5 * np.linalg.norm(thigh) and -trunk[1] > 0.3 and 0.28 < floor - pelvis[1] < 0.9:
        ahead, make = thigh, _seat
    elif abs(trunk[1]) < 0.4 * np.linalg.norm(trunk) and floor - pelvis[1] < 0.3:
        ahead, make = trunk, _bed
    else:
        return None
    ahead = np.array([ahead[0], 0, ahead[2]]) / max(np.hypot(ahead[0], ahead[2]), 1e-6)
    axes = np.stack([np.cross([0.0, 1, 0], ahead), [0.0, 1, 0], ahead])  # sideways, down, ahead
    near = np.hypot(*(skin - pelvis)[:, [0, 2]].T) < 0.17
    low = skin[near, 1].max() - pelvis[1] if make is _seat and near.any() else floor - pelvis[1]
    boards = make(rng, low, floor - pelvis[1])
    camera = (-translation @ tilt - pelvis) @ axes.T
    if _hidden(camera, (joints - pelvis) @ axes.T, boards) > MOST_HIDDEN:
        return None
    color, cloth = natural_color(rng), textures[rng.integers(len(textures))]
    vertices, faces, colors, count = [], [], [], 0
    for center, size in boards:
        board, triangles = _board(center, size)
        where = ((board[:, [0, 1]] + board[:, [2, 2]] * 0.7) * 150).astype(np.int64) % TEXTURE_SIZE
        vertices.append(board)
        faces.append(triangles + count)
        tone = color * rng.uniform(0.85, 1.15) * (1 + 0.2 * cloth[where[:, 0], where[:, 1]])
        colors.append(np.broadcast_to(tone, board.shape))
        count += len(board)
    placed = ((np.concatenate(vertices) @ axes + pelvis) @ tilt.T).astype(np.float32)
    thing = Thing(
        placed,
        np.concatenate(faces),
        np.clip(np.concatenate(colors), 2, 255).astype(np.float32),
        np.zeros((count, 4), np.int32),
        np.zeros((count, 4), np.float32),
    )
    return replace(
        actor, vertices=actor.vertices[:1], look=replace(actor.look, colors=actor.look.colors[:1]), things=(thing,)
    )


def _hidden(camera: np.ndarray, joints: np.ndarray, boards: list) -> float:
    """The share of joints (24, 3) behind one of the boards, seen from a camera (3,); axes are the boards'."""
    way = joints - camera
    way = np.where(np.abs(way) < 1e-9, 1e-9, way)
    hidden = np.zeros(len(joints), bool)
    for center, size in boards:
        a, b = ((np.add(center, sign * np.asarray(size) / 2) - camera) / way for sign in (-1, 1))
        enter, leave = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
        hidden |= (enter < leave) & (enter > 0) & (enter < 0.98)
    return hidden.mean()


def _seat(rng: np.random.Generator, top: float, floor: float) -> list:
    """Boards (center, size) about the pelvis, axes sideways, down, ahead: a chair, a stool, a sofa, a box."""
    wide, deep, kind = rng.uniform(0.4, 0.6), rng.uniform(0.38, 0.55), rng.integers(4)
    if kind == 3:
        wide = rng.uniform(0.9, 2.0)
    middle, thick = deep / 2 - 0.16, rng.uniform(0.03, 0.12)
    aside = rng.uniform(-0.4, 0.4) * (wide - 0.4)
    if kind >= 2:
        boards = [([aside, (top + floor) / 2, middle], [wide, max(floor - top, 0.05), deep])]
    else:
        boards = [([aside, top + thick / 2, middle], [wide, thick, deep])]
        boards += [
            (
                [aside + x * (wide / 2 - 0.03), (top + thick + floor) / 2, middle + z * (deep / 2 - 0.03)],
                [0.04, max(floor - top - thick, 0.05), 0.04],
            )
            for x in (-1, 1)
            for z in (-1, 1)
        ]
    if kind != 1 and rng.random() < 0.75:
        high = rng.uniform(0.3, 0.75)
        boards.append(([aside, top - high / 2, middle - deep / 2 - 0.03], [wide, high, rng.uniform(0.04, 0.15)]))
    if kind != 1 and rng.random() < 0.35:
        boards += [([aside + x * wide / 2, top - 0.12, middle], [0.06, 0.22, deep]) for x in (-1, 1)]
    return boards


def _bed(rng: np.random.Generator, top: float, floor: float) -> list:
    """A bed, a couch, a table, a mat."""
    thick, wide = rng.uniform(0.04, 0.6), rng.uniform(0.7, 1.6)
    middle = [rng.uniform(-0.2, 0.2), top - 0.03 + thick / 2, rng.uniform(-0.3, 0.1)]
    boards = [(middle, [wide, thick, rng.uniform(1.8, 2.2)])]
    if rng.random() < 0.3:
        boards.append(([0, top - 0.2, 0.9], [wide, 0.5, 0.06]))
    return boards


def _board(center, size) -> tuple[np.ndarray, np.ndarray]:
    """A cuboid of grids: (V, 3) vertices and (F, 3) triangles seen from outside."""
    a, b = np.meshgrid(np.linspace(-0.5, 0.5, GRID), np.linspace(-0.5, 0.5, GRID), indexing='ij')
    i, j = np.meshgrid(np.arange(GRID - 1), np.arange(GRID - 1), indexing='ij')
    first = (i * GRID + j).ravel()
    quads = np.concatenate(
        [np.stack([first, first + GRID, first + 1], 1), np.stack([first + GRID, first + GRID + 1, first + 1], 1)]
    )
    points: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for sign in (-1.0, 1.0):
            side = np.zeros((GRID * GRID, 3))
            side[:, axis], side[:, u], side[:, v] = sign / 2, a.ravel(), b.ravel()
            faces.append((quads if sign > 0 else quads[:, ::-1]) + len(points) * GRID * GRID)
            points.append(side)
    return np.concatenate(points) * size + center, np.concatenate(faces).astype(np.int32)


def turned(actor: Actor, turn: np.ndarray) -> Actor:
    """Somebody turned (3, 3) about their pelvis, as they are."""
    pelvis, turn = actor.joints[0], turn.astype(np.float32)

    def moved(points: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray((points - pelvis) @ turn.T + pelvis, np.float32)

    rotations = actor.rotations.copy()
    rotations[0] = turn @ rotations[0]
    return replace(
        actor,
        rotations=rotations,
        vertices=moved(actor.vertices),
        joints=moved(actor.joints),
        skin=moved(actor.skin),
        things=tuple(thing.at(moved(thing.vertices)) for thing in actor.things),
    )


def touching(
    rng: np.random.Generator, actor: Actor, tilt: np.ndarray, other: Actor, other_tilt: np.ndarray
) -> tuple[Actor, np.ndarray] | None:
    """`other`, posed before another camera, turned and placed to touch the actor: they embrace, shake hands, stand arm
    in arm. Them, and what is to be added to the actor's translation; None where one would hide the other.
    """
    facing, theirs = (camera.T @ one.rotations[0][:, 2] for one, camera in ((actor, tilt), (other, other_tilt)))
    kind, yaw = rng.choice(3, p=[0.4, 0.3, 0.3]), np.arctan2(facing[0], facing[2])
    to = yaw + np.pi if kind < 2 else yaw + rng.normal(0, 0.3)
    away = yaw if kind < 2 else yaw + rng.choice([-1, 1]) * np.pi / 2
    turn = np.degrees(to + rng.normal(0, 0.3) - np.arctan2(theirs[0], theirs[2]))
    placed = turned(other, tilt @ euler_to_matrix(np.array([0.0, turn, 0.0])) @ other_tilt.T)
    distance = rng.uniform(*((0.26, 0.42), (0.55, 0.85), (0.32, 0.5))[kind])
    mine, other_level = actor.skin @ tilt, placed.skin @ tilt
    lift = (actor.joints[0] - placed.joints[0]) @ tilt + distance * np.array([np.sin(away), 0, np.cos(away)])
    lift[1] = mine[:, 1].max() - other_level[:, 1].max()
    offset = tilt @ lift
    return (placed, offset) if -NEARER < (placed.joints[0] + offset - actor.joints[0])[2] < FARTHER else None
