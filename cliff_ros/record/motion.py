"""Everybody's way through a recording, as arrays: what formats for animators are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cliff_ros.record import Take


@dataclass(frozen=True)
class Motion:
    """One person in T images in a row of those they were in.

    index: (T,) of the images. times: (T,) [s] since the first image of the recording.
    betas: (B,), the median over all images. rotations: (T, 24, 3, 3) parent-relative, the root's in the optical frame.
    pelvis: (T, 3) [m], optical frame.
    """

    id: int
    index: np.ndarray
    times: np.ndarray
    betas: np.ndarray
    rotations: np.ndarray
    pelvis: np.ndarray


class Motions:
    """Collects takes."""

    def __init__(self) -> None:
        self.stamps: list[int] = []
        self._rows: dict[int, list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]] = {}

    def add(self, take: Take) -> None:
        """Keep shape, rotations and pelvis of one image's people by id; an image without people counts too."""
        index = len(self.stamps)
        self.stamps.append(take.stamp)
        for person in take.people:
            row = (
                index,
                np.asarray(person.betas, np.float32),
                np.asarray(person.rotations, np.float32),
                np.asarray(person.joints[0], np.float32),
            )
            self._rows.setdefault(person.id, []).append(row)

    @property
    def times(self) -> np.ndarray:
        """(N,) of all images [s], from 0; growing, as players need it, also where stamps do not."""
        stamps = np.asarray(self.stamps, np.int64)
        times = (stamps - stamps[:1].sum()) * 1e-9 if len(stamps) else np.zeros(0)
        return np.maximum.accumulate(times) if len(times) else times

    def all(self) -> list[Motion]:
        """In the order of ids."""
        times = self.times
        motions = []
        for person in sorted(self._rows):
            index, betas, rotations, pelvis = (np.array(column) for column in zip(*self._rows[person], strict=True))
            motions.append(Motion(person, index, times[index], np.median(betas, 0), rotations, pelvis))
        return motions
