"""What a run over images leaves behind: one row for each person and frame, as JSON Lines and as npz.

A row of ``people.jsonl`` is written in one piece when its frame is done: after a crash or a full disk what is there is
whole, but for a last line without its end, which is none. ``people.npz`` is written when the run ends.

Columns, the same names in both files (N rows; raw pixels, optical frame, metres, as in ``people.Person``):

===========  ===============  ==========================================================================
frame        (N,)             index of the image in its source, from 0
stamp        (N,)             [s]
id           (N,)             stable while a person is tracked, never reused
score        (N,)             of the detector, 0..1
track_state  (N,)             npz: 0 new, 1 ok, 2 coasting; JSON: those words
box          (N, 4)           x0 y0 x1 y1, raw pixels
betas        (N, B)           SMPL shape
rotations    (N, 24, 3, 3)    matrices relative to the parent joint; [0], the root, to the optical frame
translation  (N, 3)           SMPL ``transl``
joints       (N, 24, 3)       optical frame
joints2d     (N, 24, 2)       raw pixels
===========  ===============  ==========================================================================

The npz has also ``camera_K`` (3, 3), ``camera_d``, ``camera_model`` and ``camera_size`` (width, height).
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.files import unwritable, write_aside
from cliff_ros.people import Person, TrackState

_SHAPES = {
    'frame': (),
    'stamp': (),
    'id': (),
    'score': (),
    'track_state': (),
    'box': (4,),
    'betas': (10,),
    'rotations': (24, 3, 3),
    'translation': (3,),
    'joints': (24, 3),
    'joints2d': (24, 2),
}
_TYPES = {'frame': np.int64, 'stamp': np.float64, 'id': np.int64, 'track_state': np.uint8}
# Digits after the point in JSON: 0.01 mm, 0.01 px, and rotations that stay orthonormal to 1e-6.
_DIGITS = {'stamp': 6, 'score': 4, 'box': 2, 'betas': 5, 'rotations': 7, 'translation': 5, 'joints': 5, 'joints2d': 2}


class PeopleTable:
    """Rows in memory, in the order in which they were added."""

    def __init__(self) -> None:
        self._rows: list[dict] = []

    def add(self, frame: int, stamp: float, people: Iterable[Person]) -> list[dict]:
        """Append everyone in one image; the new rows are returned."""
        rows = []
        for person in people:
            row = {'frame': frame, 'stamp': stamp}
            rows.append(row | {name: getattr(person, name) for name in _SHAPES if name not in row})
        self._rows += rows
        return rows

    def columns(self) -> dict[str, np.ndarray]:
        """The table as arrays."""
        types = {name: _TYPES.get(name, np.float32) for name in _SHAPES}
        if not self._rows:
            return {name: np.zeros((0, *shape), types[name]) for name, shape in _SHAPES.items()}
        return {name: np.array([row[name] for row in self._rows], types[name]) for name in _SHAPES}


class PeopleLog(PeopleTable):
    """A table on disk: ``people.jsonl`` grows with every frame, ``people.npz`` is written by :meth:`close`.

    Without a folder it is only kept in memory.
    """

    def __init__(self, camera: Camera, folder: Path | None = None) -> None:
        super().__init__()
        self.camera, self.folder = camera, folder
        self._lines = None
        if folder:
            try:
                self._lines = open(folder / 'people.jsonl', 'wb', buffering=0)  # a row is one call of the system
            except OSError as error:
                raise unwritable(folder / 'people.jsonl', error) from error

    def add(self, frame: int, stamp: float, people: Iterable[Person]) -> list[dict]:
        """Append everyone in one image; on disk when this returns. OutputError: then whole rows are."""
        rows = super().add(frame, stamp, people)
        for row in rows if self._lines else ():
            line = json.dumps({name: _plain(name, row[name]) for name in _SHAPES}).encode() + b'\n'
            start, reason = self._lines.tell(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            try:
                if self._lines.write(line) == len(line):
                    continue
            except OSError as error:
                reason = error
            with suppress(OSError):
                self._lines.truncate(start)
            raise unwritable(self._lines.name, reason) from reason
        return rows

    def close(self) -> None:
        """Write ``people.npz`` and finish ``people.jsonl``. OutputError."""
        if self._lines:
            self._lines.close()
            camera = self.camera
            with write_aside(self.folder / 'people.npz') as partial:
                np.savez_compressed(
                    partial,
                    **self.columns(),
                    camera_K=camera.K,
                    camera_d=camera.d,
                    camera_model=camera.distortion_model,
                    camera_size=(camera.width, camera.height),
                )


def people_by_frame(columns: dict[str, np.ndarray], frames: int) -> list[list[Person]]:
    """The table turned back into people (without vertices), one list for each of ``frames`` images."""
    by_frame: list[list[Person]] = [[] for _ in range(frames)]
    fields = [name for name in _SHAPES if name not in ('frame', 'stamp')]
    for row, frame in enumerate(columns['frame']):
        values = {name: columns[name][row] for name in fields}
        values |= {
            'id': int(values['id']),
            'score': float(values['score']),
            'track_state': TrackState(values['track_state']),
        }
        by_frame[frame].append(Person(**values))
    return by_frame


def _plain(name: str, value) -> object:
    """A JSON value with only as many digits as mean something."""
    if isinstance(value, TrackState):
        return value.name.lower()
    if name in _DIGITS:
        return np.round(np.asarray(value, np.float64), _DIGITS[name]).tolist()
    return int(value)
