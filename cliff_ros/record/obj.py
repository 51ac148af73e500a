"""OBJ (Wavefront): the meshes of one image, that with the most people. Two kinds of lines, so no library.

y up, z toward the viewer, meters; one object ``person_<id>`` each.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.files import write_bytes
from cliff_ros.record import UP_FROM_OPTICAL, Take


class Obj:
    """A `Recorder`."""

    def __init__(self, folder: Path, body: BodyModel, fps: float, note: str) -> None:
        self._path, self._body = folder / 'people.obj', body
        self._best: Take | None = None

    def add(self, take: Take) -> None:
        """Keep this image if more people are in it than in any before; the first of equals stays."""
        if take.people and (self._best is None or len(take.people) > len(self._best.people)):
            self._best = take

    def close(self) -> list[Path]:
        """Pose the meshes of that image and write ``people.obj``; no file if nobody was seen."""
        if self._best is None:
            return []
        write_bytes(self._path, obj_text(self._best, self._body).encode())
        return [self._path]


def obj_text(take: Take, body: BodyModel) -> str:
    """The file's text."""
    people = take.people
    _, vertices = body(
        *(np.stack([getattr(p, name) for p in people]) for name in ('betas', 'rotations', 'translation'))
    )
    text = io.StringIO()
    text.write(f'# {len(people)} people at {take.stamp} ns, {body.name}; y up, meters\n')
    for n, (person, mesh) in enumerate(zip(people, vertices, strict=True)):
        text.write(f'o person_{person.id}\n')
        np.savetxt(text, mesh @ UP_FROM_OPTICAL.T, 'v %.5f %.5f %.5f')
        np.savetxt(text, body.faces + 1 + n * body.num_vertices, 'f %d %d %d')
    return text.getvalue()
