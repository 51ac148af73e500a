"""BVH (Biovision): each person's skeleton and motion, for animation programs.

One text file a person, from the first image they are in to the last; where they were lost in between they hold their
pose. Centimeters, y up; SMPL's joints and names, at rest in its T-pose; turns in the order Z X Y. The libraries that
write BVH bring plotting or native mathematics along; its text is written here.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from cliff_ros.body import BodyModel
from cliff_ros.files import write_bytes
from cliff_ros.record import UP_FROM_OPTICAL, Take
from cliff_ros.record.motion import Motion, Motions

_CENTIMETERS = 100.0
_ORDER = 'ZXY'
_TIP = 0.08  # [m] length of bones that end nowhere: heads, hands, toes


class Bvh:
    """A `Recorder`."""

    def __init__(self, folder: Path, body: BodyModel, fps: float, note: str) -> None:
        self._folder, self._body, self._fps, self._motions = folder, body, fps, Motions()

    def add(self, take: Take) -> None:
        """Keep the poses in memory; images are not used."""
        self._motions.add(take)

    def close(self) -> list[Path]:
        """Write ``person_<id>.bvh`` for each person; no file if nobody was seen."""
        written = []
        for motion in self._motions.all():
            path = self._folder / f'person_{motion.id}.bvh'
            write_bytes(path, bvh_text(motion, self._body, self._fps).encode())
            written.append(path)
        return written


def bvh_text(motion: Motion, body: BodyModel, fps: float) -> str:
    """The file's text."""
    rest = body.rest_joints(motion.betas[None])[0].astype(np.float64)
    parents = body.parents.tolist()
    children: list[list[int]] = [
        [j for j, parent in enumerate(parents) if parent == joint] for joint in range(len(rest))
    ]
    lines, order = ['HIERARCHY'], []

    def joint(number: int, depth: int) -> None:
        order.append(number)
        indent, parent = '\t' * depth, parents[number]
        # The root's own place is in the motion.
        offset = (rest[number] - rest[parent]) * _CENTIMETERS if number else np.zeros(3)
        place = 'Xposition Yposition Zposition ' if not number else ''
        turn = ' '.join(f'{axis}rotation' for axis in _ORDER)
        lines.append(f'{indent}{"JOINT" if number else "ROOT"} {body.joint_names[number]}')
        lines.append(f'{indent}{{')
        lines.append(f'{indent}\tOFFSET {_numbers(offset)}')
        lines.append(f'{indent}\tCHANNELS {3 if number else 6} {place}{turn}')
        for child in children[number]:
            joint(child, depth + 1)
        if not children[number]:
            way = rest[number] - rest[parent]
            tip = way / np.linalg.norm(way) * _TIP * _CENTIMETERS
            lines.extend(
                [f'{indent}\tEnd Site', f'{indent}\t{{', f'{indent}\t\tOFFSET {_numbers(tip)}', f'{indent}\t}}']
            )
        lines.append(f'{indent}}}')

    joint(0, 0)
    lines += ['MOTION']
    every = np.arange(motion.index[0], motion.index[-1] + 1)
    at = np.searchsorted(motion.index, every, side='right') - 1  # the last image in which they were seen
    rotations = motion.rotations[at][:, order].astype(np.float64)
    rotations[:, 0] = UP_FROM_OPTICAL @ rotations[:, 0]
    turns = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_euler(_ORDER, degrees=True).reshape(len(every), -1)
    places = motion.pelvis[at] @ UP_FROM_OPTICAL.T * _CENTIMETERS
    lines += [f'Frames: {len(every)}', f'Frame Time: {1 / fps:.7f}']
    rows = io.StringIO()
    np.savetxt(rows, np.column_stack([places, turns]), '%.5f')
    return '\n'.join(lines) + '\n' + rows.getvalue()


def _numbers(values: np.ndarray) -> str:
    return ' '.join(f'{value:.5f}' for value in values)
