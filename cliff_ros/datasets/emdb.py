"""EMDB: recordings of one person each, by a moving telephone (Kaufmann et al., ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.body import NUM_JOINTS
from cliff_ros.body.pickled_arrays import to_array
from cliff_ros.body.pickles import read_pickle
from cliff_ros.datasets.sample import Sample
from cliff_ros.datasets.tables import betas_of, gender_of
from cliff_ros.datasets.threedpw import OnDamage, Parts
from cliff_ros.errors import InputError
from cliff_ros.track.so3 import exp

FPS = 30.0


@dataclass
class _Recording:
    folder: Path
    name: str
    gender: str
    K: np.ndarray
    frames: np.ndarray
    rotations: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    extrinsics: np.ndarray
    boxes: np.ndarray


class Emdb:
    """Folders P0 to P9 of ``root``, each with recordings: ``images/%05d.jpg`` and ``<P>_<name>_data.pkl``.

    part: 1 or 2, the recordings that the file says belong to EMDB 1 (cameras) or EMDB 2 (world trajectories). Frames
    that the file calls good count; `Sample.boxes` has the file's own box ('file') where it is valid.
    """

    def __init__(self, root: Path, part: int = 1, on_damage: OnDamage | None = None) -> None:
        files = sorted(root.glob('P*/*/*_data.pkl'))
        if not files:
            raise InputError(
                f"there are no recordings 'P*/*/*_data.pkl' in '{root}': give the folder that holds P0 to P9"
            )
        self._recordings = Parts(files, lambda path: _recordings(path, part), 'recording of EMDB', on_damage).parts
        self._ends = np.cumsum([len(recording.frames) for recording in self._recordings])
        if not len(self):
            raise InputError(f"no recording in '{root}' belongs to EMDB {part}, or none has a good frame")

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Sample:
        which = int(np.searchsorted(self._ends, index, side='right'))
        one = self._recordings[which]
        i = index - int(self._ends[which]) + len(one.frames)
        frame, box = int(one.frames[i]), one.boxes[i]
        return Sample(
            one.folder / 'images' / f'{frame:05d}.jpg',
            K=one.K,
            rotations=one.rotations[i],
            betas=one.betas,
            translation=one.translation[i],
            extrinsics=one.extrinsics[i],
            gender=one.gender,
            boxes={'file': box} if (box[2:] > box[:2]).all() else {},
            person=one.name,
            frame=frame,
        )


def _recordings(path: Path, part: int) -> list[_Recording]:
    content = read_pickle(path)
    if not bool(to_array(f'emdb{part}', content[f'emdb{part}'])):
        return []

    def array(group: str, name: str, *shape: int) -> np.ndarray:
        return to_array(name, content[group][name]).astype(np.float64).reshape(shape)

    count = int(to_array('n_frames', content['n_frames']))
    frames = np.flatnonzero(to_array('good_frames_mask', content['good_frames_mask']).reshape(count))
    boxes = array('bboxes', 'bboxes', count, 4)
    invalid: Any = to_array('invalid_idxs', content['bboxes']['invalid_idxs'])
    boxes[invalid.astype(int).ravel()] = np.nan
    pose = np.concatenate([array('smpl', 'poses_root', count, 3), array('smpl', 'poses_body', count, 69)], 1)
    return [
        _Recording(
            folder=path.parent,
            name=str(content['name']),
            gender=gender_of(str(content['gender'])),
            K=array('camera', 'intrinsics', 3, 3),
            frames=frames,
            rotations=exp(pose[frames].reshape(-1, NUM_JOINTS, 3)),
            betas=betas_of(array('smpl', 'betas', -1)),
            translation=array('smpl', 'trans', count, 3)[frames],
            extrinsics=array('camera', 'extrinsics', count, 4, 4)[frames],
            boxes=boxes[frames],
        )
    ]
