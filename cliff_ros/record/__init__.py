"""Recordings that other programs open: `cliff video --record mcap glb ...`, and of the demo. ROS-free.

========  ===============================================  =============================================
format    what is written                                  opened by
========  ===============================================  =============================================
mcap      ``recording/``: images, people, TF, skeletons    Foxglove, RViz (``ros2 bag play recording``)
glb       ``people.glb``: animated, skeleton and skin      Blender, Unity, Unreal, three.js, browsers
bvh       ``person_<id>.bvh``: one each                    Blender, MotionBuilder, Maya
obj       ``people.obj``: the image with most people       anything that reads meshes
html      ``replay.html``: the scene, from disk            a browser
rrd       ``people.rrd``                                   rerun
========  ===============================================  =============================================

A format is one file here with a class of the form `Recorder`, and one line in `FORMATS`.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.camera import Camera
from cliff_ros.errors import MissingExtra, OutputError, keeping
from cliff_ros.people import Person

# format: class, in the module of that name below this one
FORMATS = {
    'mcap': ('bag', 'Bag'),
    'glb': ('gltf', 'Gltf'),
    'bvh': ('bvh', 'Bvh'),
    'obj': ('obj', 'Obj'),
    'html': ('html', 'Html'),
    'rrd': ('rrd', 'Rrd'),
}
# format: the library that it needs, and the extra that brings it
LIBRARIES = {
    'mcap': ('rosbags', 'record'),
    'glb': ('pygltflib', 'record'),
    'html': ('viser', 'view'),
    'rrd': ('rerun', 'rerun'),
}
# What a person who looks from outside sees: glTF, BVH and OBJ have y up, and z toward the viewer.
UP_FROM_OPTICAL = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Take:
    """One image and the people in it, to be recorded.

    stamp: [ns]. image, picture: (H, W, 3) uint8 RGB, as received and with people drawn over it, or None.
    people: with vertices where OBJ or rerun are to show meshes.
    """

    stamp: int
    camera: Camera
    people: Sequence[Person]
    image: np.ndarray | None = None
    picture: np.ndarray | None = None
    frame_id: str = 'camera_optical_frame'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--record`` of a command that writes into a folder."""
    parser.add_argument(
        '--record',
        nargs='+',
        metavar='FORMAT',
        choices=FORMATS,
        default=[],
        help=f'also write what other programs open: {", ".join(FORMATS)} (docs/view.md)',
    )


def missing(name: str) -> MissingExtra | None:
    """What keeps a format from being written here."""
    library, extra = LIBRARIES.get(name, ('', ''))
    return MissingExtra(f'Recording {name}', extra) if library and find_spec(library) is None else None


def require(formats: Sequence[str]) -> None:
    """Raises MissingExtra for the first of the formats that cannot be written here."""
    for error in filter(None, map(missing, formats)):
        raise error


class Recorder(Protocol):
    """Takes in order; what was taken until then is on disk after `close`."""

    def __init__(self, folder: Path, body: BodyModel, fps: float, note: str) -> None:
        """folder: there; body: of all people; fps: of the source; note: the mode of `render.privacy`, '' for none."""

    def add(self, take: Take) -> None:
        """Note one image's people, and the image where the format holds images."""
        ...

    def close(self) -> list[Path]:
        """Finish; the files that were written. Raises OutputError."""


class Recorders:
    """All that were asked for. One that fails to close keeps no other from being closed."""

    def __init__(
        self,
        formats: Sequence[str],
        folder: Path,
        body: BodyModel,
        fps: float,
        note: str = '',
        optional: Collection[str] = (),
    ) -> None:
        """optional: of the formats, those that are left out where their library is not installed, and in ``missing``.

        Raises MissingExtra for others.
        """
        wanted = list(dict.fromkeys(formats))
        self.missing = list(filter(None, map(missing, wanted)))
        require([name for name in wanted if name not in optional])
        self._recorders: list[Recorder] = []
        for name in wanted:
            if missing(name) is None:
                module, kind = FORMATS[name]
                make = getattr(import_module(f'{__name__}.{module}'), kind)
                self._recorders.append(make(folder, body, fps, note))

    def __bool__(self) -> bool:
        return bool(self._recorders)

    def add(self, take: Take) -> None:
        """Pass a take on to every format. Raises the OutputError of the first that cannot write it."""
        for recorder in self._recorders:
            recorder.add(take)

    def close(self, unwritten: list[OutputError]) -> list[Path]:
        """What was written; what could not be is noted in ``unwritten``."""
        written: list[Path] = []
        for recorder in self._recorders:
            with keeping(unwritten):
                written += recorder.close()
        self._recorders = []
        return written
