"""What a run over images leaves behind: one row for each person and frame, as JSON Lines and as npz.

A row of ``people.jsonl`` is written in one piece when its frame is done: after a crash or a full disk what is there is
whole, but for a last line without its end, which is none. ``people.npz`` is written when the run ends.

Columns, the same names in both files (N rows), which are those of `cliff_ros.people.People`; numbers are float32 where
nothing else is said:

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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cliff_ros.camera import Camera
from cliff_ros.files import unwritable, write_aside
from cliff_ros.people import People, Person, TrackState

# What is written of `People`, in the order of the files.
_WRITTEN = ('id', 'score', 'track_state', 'box', 'betas', 'rotations', 'translation', 'joints', 'joints2d')
# Digits after the point in JSON: 0.01 mm, 0.01 px, and rotations that stay orthonormal to 1e-6.
_DIGITS = {'score': 4, 'box': 2, 'betas': 5, 'rotations': 7, 'translation': 5, 'joints': 5, 'joints2d': 2}

_FILED = {np.dtype(np.float64): np.dtype(np.float32)}  # type of a column in the files, where it is another there

Columns = Mapping[str, npt.NDArray[Any]]


class PeopleTable:
    """The people of several images in memory, in the order in which they were added, without meshes."""

    def __init__(self) -> None:
        self._frames: list[tuple[int, float, People]] = []

    def add(self, frame: int, stamp: float, people: Iterable[Person]) -> None:
        """Append everyone in one image."""
        columns = People.of(people)
        if columns:
            self._frames.append((frame, stamp, columns.with_(vertices=None)))

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The table as arrays, a row for each person and image."""
        counts = [len(people) for _, _, people in self._frames]
        people = People.concatenate(people for _, _, people in self._frames)
        columns = {name: getattr(people, name) for name in _WRITTEN}
        return {
            'frame': np.repeat(np.array([frame for frame, _, _ in self._frames], np.int64), counts),
            'stamp': np.repeat(np.array([stamp for _, stamp, _ in self._frames], np.float64), counts),
            **{name: values.astype(_FILED.get(values.dtype, values.dtype)) for name, values in columns.items()},
        }


class PeopleLog(PeopleTable):
    """A table on disk: ``people.jsonl`` grows with every frame, ``people.npz`` is written by :meth:`close`.

    Without a folder it is only kept in memory.
    """

    def __init__(self, camera: Camera, folder: Path | None = None) -> None:
        super().__init__()
        self.camera, self.folder = camera, folder
        self._lines: FileIO | None = None
        if folder:
            try:
                self._lines = open(folder / 'people.jsonl', 'wb', buffering=0)  # a row is one call of the system
            except OSError as error:
                raise unwritable(folder / 'people.jsonl', error) from error

    def add(self, frame: int, stamp: float, people: Iterable[Person]) -> None:
        """Append everyone in one image; on disk when this returns. OutputError: then whole rows are."""
        super().add(frame, stamp, people)
        if self._lines:
            for row in _rows(frame, stamp, People.of(people)):
                _append(self._lines, json.dumps(row).encode() + b'\n')

    def close(self) -> None:
        """Write ``people.npz`` and finish ``people.jsonl``. OutputError."""
        if self._lines and self.folder:
            self._lines.close()
            camera, columns = self.camera, dict[str, Any](self.columns())
            with write_aside(self.folder / 'people.npz') as partial:
                np.savez_compressed(
                    partial,
                    **columns,
                    camera_K=camera.K,
                    camera_d=camera.d,
                    camera_model=camera.distortion_model,
                    camera_size=(camera.width, camera.height),
                )


def people_by_frame(columns: Columns, frames: int) -> list[People]:
    """The table turned back into people (without vertices): those of each of ``frames`` images."""
    written: dict[str, Any] = {name: columns[name] for name in _WRITTEN}
    everybody = People(**written)
    return [everybody[columns['frame'] == frame] for frame in range(frames)]


def _rows(frame: int, stamp: float, people: People) -> list[dict[str, object]]:
    """What a row of JSON says of each of the people, with only as many digits as mean something."""
    columns: dict[str, list[Any]] = {}
    for name in _WRITTEN:
        values = getattr(people, name)
        columns[name] = (np.round(values, _DIGITS[name]) if name in _DIGITS else values).tolist()
    columns['track_state'] = [TrackState(state).name.lower() for state in people.track_state]
    first = {'frame': frame, 'stamp': float(np.round(stamp, 6))}
    return [first | dict(zip(_WRITTEN, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _append(lines: FileIO, line: bytes) -> None:
    """Write a line whole, or none of it. OutputError."""
    start, reason = lines.tell(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    try:
        if lines.write(line) == len(line):
            return
    except OSError as error:
        reason = error
    with suppress(OSError):
        lines.truncate(start)
    raise unwritable(str(lines.name), reason) from reason
