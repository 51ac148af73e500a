"""The vocabulary of the package: what travels from an image to people.

The same names are used in code, messages and documentation. All are frozen; arrays are numpy.
Frames: *raw pixels* are those of the image as received, pixel centers at integers (ROS, OpenCV);
*optical frame* is REP-103's: x right, y down, z forward, meters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from math import inf, nan
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from cliff_ros.arrays import Floats, Ints, Pixels, Reals, Rows
from cliff_ros.errors import InputError

if TYPE_CHECKING:
    from cliff_ros.camera import Camera

NUM_JOINTS = 24  # SMPL's, whose names and tree are in body/names.py


class TrackState(IntEnum):
    """Same values as in ``cliff_ros/Smpl.msg``."""

    NEW = 0
    OK = 1
    COASTING = 2


@dataclass(frozen=True)
class Frame:
    """One image and the camera that took it.

    image: (H, W, 3) uint8, channel order in ``order``.
    order: ``"rgb"`` or ``"bgr"``.
    stamp: seconds (of whatever clock the source uses).
    frame_id: name of the camera's optical frame.
    """

    image: Pixels
    camera: Camera
    stamp: float = 0.0
    frame_id: str = 'camera_optical_frame'
    order: str = 'rgb'

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f'Frame.image must be (H, W, 3) uint8, got {self.image.shape} {self.image.dtype}')
        if self.order not in ('rgb', 'bgr'):
            raise ValueError(f"Frame.order must be 'rgb' or 'bgr', got {self.order!r}")


@dataclass(frozen=True)
class Box:
    """Where a person is in the image.

    xyxy: (4,) float, raw pixels: left, top, right, bottom. May reach beyond the image.
    id: from 0 on; None until a tracker, or whoever made the box, gave it one.
    """

    xyxy: Floats
    score: float = 1.0
    id: int | None = None

    def __post_init__(self) -> None:
        xyxy = np.asarray(self.xyxy, np.float64).reshape(-1)
        left, top, right, bottom = xyxy.tolist() if xyxy.shape == (4,) else (nan,) * 4
        if not (-inf < left < right < inf and -inf < top < bottom < inf):
            raise ValueError(f'Box.xyxy must be 4 finite numbers, x0 < x1 and y0 < y1, got {self.xyxy}')
        if self.id is not None and not 0 <= self.id < 2**63:
            raise ValueError(f'Box.id must be a whole number of at least 0 that fits into 64 bits, got {self.id}')
        object.__setattr__(self, 'xyxy', xyxy)


@dataclass(frozen=True, eq=False)
class Person:
    """One person in one image: a row of `People`, whose arrays it shows without their first axis, or one of its own.

    rotations: (24, 3, 3) parent-relative, SMPL's order; [0] is the root in the optical frame.
    translation: (3,) SMPL ``transl`` in the optical frame [m] (the pelvis is ``joints[0]``).
    joints: (24, 3) [m] and vertices: (V, 3) [m], optical frame; vertices is None where not asked for.
    joints2d: (24, 2) raw pixels, distortion included.
    velocity: (3,) of the pelvis [m/s].
    age: seconds since the id was born.
    presence: probability that this is a person, by the network; None of networks that do not say.
    """

    id: int
    score: float
    box: Floats
    betas: Floats
    rotations: Floats
    translation: Floats
    joints: Floats
    joints2d: Floats
    vertices: Reals | None = None
    track_state: TrackState = TrackState.NEW
    velocity: Floats = field(default_factory=lambda: np.zeros(3))
    age: float = 0.0
    presence: float | None = None

    def with_(self, **changes: Any) -> Person:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal."""
        if not isinstance(other, Person):
            return NotImplemented
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in COLUMNS)

    __hash__ = None  # type: ignore[assignment]  # arrays may change


class Column(NamedTuple):
    """What a column of `People` holds for each person. shape: None is a length that the data give; dtype None: kept."""

    shape: tuple[int | None, ...] = ()
    dtype: type[np.generic] | None = np.float64


COLUMNS: Mapping[str, Column] = {
    'id': Column(dtype=np.int64),
    'score': Column(),
    'box': Column((4,)),
    'betas': Column((None,)),
    'rotations': Column((NUM_JOINTS, 3, 3)),
    'translation': Column((3,)),
    'joints': Column((NUM_JOINTS, 3)),
    'joints2d': Column((NUM_JOINTS, 2)),
    'vertices': Column((None, 3), None),
    'track_state': Column(dtype=np.uint8),
    'velocity': Column((3,)),
    'age': Column(),
    'presence': Column((), None),
}
OPTIONAL = ('vertices', 'presence')
# Values for everybody of columns that are not given.
_ZERO, _ONE, _UNKNOWN, _NEW = np.array(0.0), np.array(1.0), np.array(np.nan), np.array(TrackState.NEW, np.uint8)


@dataclass(frozen=True, eq=False, kw_only=True)
class People(Sequence[Person]):
    """N people, mostly those of one image in the order of their ids, in columns.

    It reads like a list of `Person`: ``people[0]``, ``len(people)``, ``for person in people``. ``people[mask]``,
    ``people[2:]`` and ``people[indices]`` are `People` again, who may share memory with those they were taken from.

    ===========  ===============  =================================================================
    id           (N,) int64       stable while a person is tracked, never used again
    score        (N,)             of the detector, 0..1
    box          (N, 4)           x0 y0 x1 y1, raw pixels
    betas        (N, B)           SMPL shape
    rotations    (N, 24, 3, 3)    relative to the parent joint; [:, 0], the root, to the optical frame
    translation  (N, 3)           SMPL ``transl`` in the optical frame [m]
    joints       (N, 24, 3)       optical frame [m]; [:, 0] is the pelvis
    joints2d     (N, 24, 2)       raw pixels, distortion included
    vertices     (N, V, 3)        optical frame [m], float32 or float64; None where not asked for
    track_state  (N,) uint8       of `TrackState`
    velocity     (N, 3)           of the pelvis, optical frame [m/s]
    age          (N,)             seconds since the id was born
    presence     (N,)             the network's probability that each is a person; None: it does not say
    ===========  ===============  =================================================================

    All are float64 where nothing else is said. What is not known (yet) is NaN. A single number stands for all people.
    timings: stage -> ms, and num_crops: how many crops the network saw, second looks left out: what it cost to find
    the people of this image, whichever of them are taken out.

    Raises InputError for columns that do not fit together.
    """

    id: Ints
    betas: Floats
    rotations: Floats
    translation: Floats
    joints: Floats
    score: Floats = field(default_factory=lambda: _ONE)
    box: Floats = field(default_factory=lambda: _UNKNOWN)
    joints2d: Floats = field(default_factory=lambda: _UNKNOWN)
    vertices: Reals | None = None
    track_state: npt.NDArray[np.uint8] = field(default_factory=lambda: _NEW)
    velocity: Floats = field(default_factory=lambda: _ZERO)
    age: Floats = field(default_factory=lambda: _ZERO)
    presence: Reals | None = None
    timings: dict[str, float] = field(default_factory=dict)
    num_crops: int = 0

    def __post_init__(self) -> None:
        values = self.__dict__
        self._put({name: values[name] for name in COLUMNS}, np.size(self.id))

    @classmethod
    def empty(cls, num_betas: int = 10) -> People:
        """Nobody."""
        return cls(
            id=np.zeros(0, np.int64),
            betas=np.zeros((0, num_betas)),
            rotations=np.zeros((0, NUM_JOINTS, 3, 3)),
            translation=np.zeros((0, 3)),
            joints=np.zeros((0, NUM_JOINTS, 3)),
        )

    @classmethod
    def of(cls, people: Iterable[Person]) -> People:
        """People given one by one; vertices and presence only if everybody has them. `People` come back as they are."""
        if isinstance(people, People):
            return people
        rows = list(people)
        if not rows:
            return cls.empty()
        values = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
        for name in OPTIONAL:
            if any(value is None for value in values[name]):
                del values[name]
        columns: dict[str, Any] = {name: _stacked(name, column) for name, column in values.items()}
        return cls(**columns)

    @classmethod
    def concatenate(cls, parts: Iterable[People]) -> People:
        """All people of several, in this order; vertices and presence if all have them; no costs."""
        some = [part for part in parts if len(part)]
        if not some:
            return cls.empty()
        if len(some) == 1:
            return some[0]
        shared = [name for name in COLUMNS if all(name in part.columns() for part in some)]
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in some]) for name in shared}
        return cls(**columns)

    def with_(self, **changes: Any) -> People:
        """A copy with some columns, or the cost, replaced; it shares the others."""
        unknown = changes.keys() - self.__dict__.keys()
        if unknown:
            raise TypeError(f'People have no {", ".join(sorted(unknown))}')
        made = self._copy()
        made.__dict__.update({name: changes.pop(name) for name in ('timings', 'num_crops') if name in changes})
        made._put(changes, len(self))
        return made

    def __len__(self) -> int:
        return len(self.id)

    @overload
    def __getitem__(self, chosen: int | np.integer[Any]) -> Person: ...

    @overload
    def __getitem__(self, chosen: slice | npt.NDArray[np.bool_ | np.integer[Any]] | Sequence[int]) -> People: ...

    def __getitem__(self, chosen: Any) -> Person | People:
        """One person, or some: by a slice, by (N,) bool, or by indices."""
        if isinstance(chosen, (int, np.integer)):
            return Person(
                int(self.id[chosen]),
                float(self.score[chosen]),
                self.box[chosen],
                self.betas[chosen],
                self.rotations[chosen],
                self.translation[chosen],
                self.joints[chosen],
                self.joints2d[chosen],
                None if self.vertices is None else self.vertices[chosen],
                TrackState(int(self.track_state[chosen])),
                self.velocity[chosen],
                float(self.age[chosen]),
                None if self.presence is None else float(self.presence[chosen]),
            )
        if not isinstance(chosen, slice):
            chosen = np.asarray(chosen) if len(chosen) else np.zeros(0, np.intp)
            if chosen.ndim != 1:
                raise InputError(f'people are chosen by a slice or one row of values, not by {chosen.shape} of them')
            if chosen.dtype == np.bool_ and len(chosen) == len(self) and chosen.all():
                return self
        made = self._copy()
        made.__dict__.update({name: column[chosen] for name, column in self.columns().items()})
        return made

    def __iter__(self) -> Iterator[Person]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """As of lists: whether there are as many, and all their values are equal."""
        if not isinstance(other, (People, list, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # arrays may change

    def replaced(self, rows: Rows, others: People) -> People:
        """A copy with others (K) in the place of those in some rows (K,); others have every column that these have."""
        changes = {name: column.copy() for name, column in self.columns().items()}
        for name, column in changes.items():
            column[rows] = getattr(others, name)
        return self.with_(**changes)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The columns that there are, by their names."""
        columns = {name: self.__dict__[name] for name in COLUMNS}
        return {name: column for name, column in columns.items() if column is not None}

    def _copy(self) -> People:
        made = object.__new__(People)
        made.__dict__.update(self.__dict__)
        return made

    def _put(self, columns: Mapping[str, Any], count: int) -> None:
        """Columns, brought to their form, in the place of those that are there."""
        for name, value in columns.items():
            if value is not None or name not in OPTIONAL:
                shape, dtype = COLUMNS[name]
                column = np.asarray(value, dtype)
                value = column if column.shape == (count, *shape) else _fitted(name, column, count)
            self.__dict__[name] = value


def _fitted(name: str, column: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """A column for a number of people: one of free lengths, one number for all, or one of nobody. InputError."""
    shape, found = COLUMNS[name].shape, column.shape
    if None in shape and found[:1] == (count,) and _fits(found[1:], shape):
        return column
    if not found and None not in shape:
        filled = np.empty((count, *(side for side in shape if side)), column.dtype)
        filled[...] = column
        return filled
    if count == 0 and column.size == 0:
        return np.zeros((0, *(side or 0 for side in shape)), column.dtype)
    wanted = ', '.join(str(side or 'any') for side in (count, *shape))
    raise InputError(f'{name} of {count} people must have the shape ({wanted}), not {column.shape}')


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(side in (None, length) for length, side in zip(found, wanted, strict=True))


def _stacked(name: str, values: list[Any]) -> npt.NDArray[Any]:
    try:
        return np.asarray(values, COLUMNS[name].dtype)
    except ValueError as error:
        raise InputError(f'{name} is not of the same shape for all people: {error}') from error
