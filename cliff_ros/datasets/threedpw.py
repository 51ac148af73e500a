"""3DPW: sequence files with SMPL in the world, one pickle per sequence of one or two people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from cliff_ros.body import NUM_JOINTS
from cliff_ros.body.pickled_arrays import to_array
from cliff_ros.body.pickles import read_pickle
from cliff_ros.datasets.cameras import NO_CAMERAS, Cameras
from cliff_ros.datasets.sample import Sample
from cliff_ros.datasets.tables import betas_of, gender_of
from cliff_ros.errors import InputError, ModelError
from cliff_ros.track.so3 import exp

OnDamage = Callable[[InputError], None]
Part = TypeVar('Part')


class Parts(Generic[Part]):
    """The parts of several files, and the samples in them by number."""

    def __init__(
        self, files: Iterable[Path], read: Callable[[Path], list[Part]], what: str, on_damage: OnDamage | None
    ) -> None:
        """read: raises whatever a damaged file brings about, which becomes an InputError that names it.

        on_damage: told of it, and the other files are read; None: it is raised.
        """
        self.parts: list[Part] = []
        for path in files:
            try:
                self.parts += read(path)
            except (ModelError, KeyError, IndexError, TypeError, ValueError, OSError) as error:
                reason = f'has no {error}' if isinstance(error, KeyError) else str(error)
                damage = InputError(f"'{path}' is no {what}: {reason}")
                if on_damage is None:
                    raise damage from None
                on_damage(damage)


@dataclass
class _Track:
    """One person of one sequence, of the frames that count (n,)."""

    name: str
    who: int
    gender: str
    K: np.ndarray
    frames: np.ndarray
    rotations: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    extrinsics: np.ndarray
    keypoint_boxes: np.ndarray  # (n, 4) around OpenPose's keypoints


class ThreeDPW:
    """3DPW's sequence files (a folder of .pkl), of which every frame counts whose camera and 2D pose are valid.

    Boxes and 2D joints are those of the projected body, as CLIFF's authors did: the file's own 2D joints are
    OpenPose's, around which `Sample.boxes` has one too ('keypoints': SPIN's).
    """

    def __init__(
        self,
        labels: Path,
        images: Path,
        turn: int = 0,
        cameras: Cameras = NO_CAMERAS,
        on_damage: OnDamage | None = None,
    ) -> None:
        self.images, self.turn = images, turn
        files = sorted(labels.glob('*.pkl'))
        if not files:
            raise InputError(
                f"there are no .pkl files in '{labels}': give the folder of one of 3DPW's splits, such as "
                'sequenceFiles/train'
            )
        self._tracks = Parts(files, _tracks, 'sequence of 3DPW', on_damage).parts
        self._ends = np.cumsum([len(track.frames) for track in self._tracks])
        if not len(self):
            raise InputError(f"no person in '{labels}' has a valid camera")

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Sample:
        which = int(np.searchsorted(self._ends, index, side='right'))
        track = self._tracks[which]
        i = index - int(self._ends[which]) + len(track.frames)
        frame, box = int(track.frames[i]), track.keypoint_boxes[i]
        return Sample(
            self.images / track.name / f'image_{frame:05d}.jpg',
            K=track.K,
            turn=self.turn,
            rotations=track.rotations[i],
            betas=track.betas,
            translation=track.translation[i],
            extrinsics=track.extrinsics[i],
            gender=track.gender,
            boxes={'keypoints': box} if np.isfinite(box).all() else {},
            person=f'{track.name}/{track.who}',
            frame=frame,
        )


def _tracks(path: Path) -> list[_Track]:
    content = read_pickle(path)

    def array(name: str, value: Any) -> np.ndarray:
        return to_array(name, value).astype(np.float64)

    K = array('cam_intrinsics', content['cam_intrinsics']).reshape(3, 3)
    cameras = array('cam_poses', content['cam_poses']).reshape(-1, 4, 4)
    found = []
    for who, gender in enumerate(content['genders']):
        poses, places = (array(name, content[name][who]) for name in ('poses', 'trans'))
        seen = array('poses2d', content['poses2d'][who])
        valid = to_array('campose_valid', content['campose_valid'][who]).astype(bool)
        # images are numbered as poses are; img_frame_ids counts the 60 Hz poses
        frames = np.flatnonzero(valid & seen.any((1, 2)))
        found.append(
            _Track(
                name=str(np.asarray(content['sequence'])),
                who=who,
                gender=gender_of(str(gender)),
                K=K,
                frames=frames,
                rotations=exp(poses[frames].reshape(-1, NUM_JOINTS, 3)),
                betas=betas_of(array('betas', content['betas'][who]).ravel()),
                translation=places[frames],
                extrinsics=cameras[frames],
                keypoint_boxes=_around(seen[frames]),
            )
        )
    return found


def _around(keypoints: np.ndarray) -> np.ndarray:
    """The boxes (n, 4) around what OpenPose found, (n, 3, 18) with its confidence; NaN around nothing."""
    points = np.where(keypoints[:, 2:] > 0, keypoints[:, :2], np.nan)
    low, high = np.full((len(points), 2), np.nan), np.full((len(points), 2), np.nan)
    some = np.isfinite(points).any((1, 2))
    low[some], high[some] = np.nanmin(points[some], 2), np.nanmax(points[some], 2)
    return np.concatenate([low, high], 1)
