"""People of real data sets, read from the files as their authors lay them out, into `Sample`.

The .npz files count pixels from the corner of the image, where the middle of the first pixel is (0.5, 0.5): half a
pixel is taken off, so that everything counts as `Camera` does.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cliff_ros.body import NUM_JOINTS
from cliff_ros.body.pickled_arrays import to_array
from cliff_ros.body.pickles import read_pickle
from cliff_ros.errors import InputError, ModelError
from cliff_ros.files import check_npz
from cliff_ros.track.so3 import exp
from cliff_ros.training.published.sample import NUM_BETAS, NUM_KEYPOINTS, Sample

MARGIN = 1.1  # crop height over the person's, in cliffGT files
# SPIN's 24 joints -> ours: ankles, knees, hips, wrists, elbows, shoulders, nose, eyes, ears. Hips are those that
# annotators mark, some centimetres outside of SMPL's: they count only where the body is not known otherwise.
_SPIN = {
    0: 8,
    1: 5,
    2: 2,
    3: 1,
    4: 4,
    5: 7,
    6: 21,
    7: 19,
    8: 17,
    9: 16,
    10: 18,
    11: 20,
    19: 24,
    20: 25,
    21: 26,
    22: 27,
    23: 28,
}
_SPIN_HIPS = [1, 2]
# smplx's order of the face, after SMPL's 24 joints: nose, right eye, left eye, right ear, left ear.
_SMPLX_FACE = [0, 2, 1, 4, 3]
_SMPLX_BODY_JOINTS = 22


class _Table:
    """The arrays of an .npz file, one row per person, checked when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            check_npz(path, ('imgname',))
            with np.load(path, allow_pickle=False) as file:
                self._present = set(file.files)
                self.names = file['imgname'].astype(str)
        except KeyError:
            raise InputError(f"'{path}' has no array 'imgname': it is not a file of labels") from None
        except ModelError as error:
            raise InputError(f"'{path}' {error}") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"'{path}' is not an .npz file of plain arrays ({error}): check the path, or get the file again"
            ) from None

    def __contains__(self, name: str) -> bool:
        return name in self._present

    def take(self, name: str, *shape: int | None) -> np.ndarray:
        """An array (N, *shape); None: any length."""
        if name not in self._present:
            raise InputError(f"'{self.path}' has no array '{name}': it has another layout than the one asked for")
        try:
            check_npz(self.path, (name,))
            with np.load(self.path, allow_pickle=False) as file:
                value = file[name]
        except ModelError as error:
            raise InputError(f"'{self.path}' {error}") from None
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"'{self.path}' has a damaged array '{name}' ({error}): get the file again") from None
        want = (len(self.names), *shape)
        if value.ndim != len(want) or any(w not in (None, g) for w, g in zip(want, value.shape, strict=True)):
            text = ' x '.join('any' if size is None else str(size) for size in want)
            raise InputError(f"'{self.path}': '{name}' has shape {value.shape}, not {text}")
        return value


class _Labels:
    """People of one .npz file: the part that all layouts share."""

    def __init__(self, labels: Path, images: Path, turn: int) -> None:
        self.images, self.turn = images, turn
        self.table = _Table(labels)
        self.names = self.table.names
        self.center, self.scale = self.table.take('center', 2), self.table.take('scale')
        self.K = self.table.take('cam_int', 3, 3) if 'cam_int' in self.table else None

    def __len__(self) -> int:
        return len(self.names)

    def _common(self, index: int, height: float) -> dict:
        """Image, box of a person `height` pixels high, and camera."""
        half = height * np.array([0.375, 0.5])  # of the proportions of CLIFF's crops: they decide by the height
        center = self.center[index].astype(np.float64) - 0.5
        common = dict(
            image=self.images / str(self.names[index]),
            turn=self.turn,
            box=np.concatenate([center - half, center + half]),
        )
        if self.K is not None:
            common['K'] = self.K[index].astype(np.float64) - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
        return common


class Bedlam(_Labels):
    """BEDLAM's processed labels, for SMPL or SMPL-X (pixelite1201/BEDLAM, data_processing).

    imgname, center (N, 2), scale (N,), pose_cam (N, 72, or at least 66 for SMPL-X), shape (N, 10 or more),
    trans_cam (N, 3), cam_int (N, 3, 3), gtkps (N, K, 2 or 3), gender; cam_ext (N, 4, 4), whose last column adds to
    trans_cam. SMPL-X gives 22 rotations and their 2D joints: its betas, hands and face points are not SMPL's.
    Their box is 1.2 times the extents of the joints, which is about the extents of the body.
    """

    def __init__(self, labels: Path, images: Path, turn: int = 0) -> None:
        super().__init__(labels, images, turn)
        table = self.table
        self.pose, self.shape = table.take('pose_cam', None), table.take('shape', None)
        self.translation = table.take('trans_cam', 3).astype(np.float64)
        if 'cam_ext' in table:
            self.translation = self.translation + table.take('cam_ext', 4, 4)[:, :3, 3]
        self.keypoints = table.take('gtkps', None, None)
        self.gender = table.take('gender').astype(str) if 'gender' in table else None
        self.smpl = self.pose.shape[1] == 3 * NUM_JOINTS
        if not self.smpl and self.pose.shape[1] < 3 * _SMPLX_BODY_JOINTS:
            raise InputError(f"'{labels}': 'pose_cam' has {self.pose.shape[1]} columns: SMPL has 72, SMPL-X 66 or more")
        if self.K is None:
            raise InputError(f"'{labels}' has no array 'cam_int': these are not BEDLAM's labels")
        if self.keypoints.shape[1] < _SMPLX_BODY_JOINTS or self.keypoints.shape[2] not in (2, 3):
            raise InputError(f"'{labels}': 'gtkps' has shape {self.keypoints.shape}, not N x 22 or more x 2 or 3")

    def __getitem__(self, index: int) -> Sample:
        keypoints, confidence = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
        given = self.keypoints[index].astype(np.float64)
        count = min(len(given), NUM_JOINTS) if self.smpl else _SMPLX_BODY_JOINTS
        rows = list(range(count))
        if self.smpl and len(given) >= NUM_KEYPOINTS:
            rows += [NUM_JOINTS + k for k in _SMPLX_FACE]
        keypoints[: len(rows)] = given[rows, :2] - 0.5
        confidence[: len(rows)] = given[rows, 2] > 0 if given.shape[1] == 3 else 1
        rotations = np.full((NUM_JOINTS, 3, 3), np.nan)
        num_joints = NUM_JOINTS if self.smpl else _SMPLX_BODY_JOINTS
        rotations[:num_joints] = exp(self.pose[index, : 3 * num_joints].reshape(-1, 3).astype(np.float64))
        known = (
            dict(
                betas=_betas(self.shape[index]),
                translation=self.translation[index],
                gender=_gender(self.gender[index]) if self.gender is not None else 'neutral',
            )
            if self.smpl
            else {}
        )
        return Sample(
            **self._common(index, 200.0 * self.scale[index]),
            rotations=rotations,
            keypoints=keypoints,
            confidence=confidence,
            **known,
        )


class CliffGT(_Labels):
    """CLIFF's pseudo ground truth, and data sets in SPIN's layout (Human3.6M, MPI-INF-3DHP, COCO, MPII).

    imgname, center (N, 2), scale (N,) = crop height / 200; the rest where there is any: part (N, 24, 3) in SPIN's
    order, pose (N, 72 or 24 x 3), shape (N, 10), has_smpl (N,), global_t (N, 3), focal_l (N,) or cam_int (N, 3, 3),
    S (N, 24, 4), used only for people without SMPL, since it does not project onto the image for some others.
    """

    def __init__(self, labels: Path, images: Path, turn: int = 0) -> None:
        super().__init__(labels, images, turn)
        table, count = self.table, len(self)
        self.part = table.take('part', 24, 3) if 'part' in table else np.zeros((count, 24, 3))
        self.has_smpl = np.zeros(count, bool)
        if 'pose' in table:
            self.pose = table.take('pose', *((24, 3) if self._dimensions('pose') == 3 else (72,))).reshape(count, 24, 3)
            self.shape = table.take('shape', None)
            self.has_smpl = table.take('has_smpl').astype(bool) if 'has_smpl' in table else np.ones(count, bool)
        self.translation = table.take('global_t', 3) if 'global_t' in table else np.full((count, 3), np.nan)
        self.focal = table.take('focal_l') if 'focal_l' in table else None
        self.joints = table.take('S', 24, 4) if 'S' in table else np.zeros((count, 24, 4))
        if not self.has_smpl.any() and 'part' not in table and 'S' not in table:
            raise InputError(f"'{labels}' has neither 'pose' nor 'part' nor 'S': nothing can be learned from it")

    def _dimensions(self, name: str) -> int:
        with np.load(self.table.path, allow_pickle=False) as file:
            return file[name].ndim

    def __getitem__(self, index: int) -> Sample:
        keypoints, confidence = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
        for theirs, ours in _SPIN.items():
            keypoints[ours] = self.part[index, theirs, :2] - 0.5
            confidence[ours] = self.part[index, theirs, 2]
        known = {}
        if self.has_smpl[index]:
            confidence[_SPIN_HIPS] = 0
            known = dict(
                rotations=exp(self.pose[index].astype(np.float64)),
                betas=_betas(self.shape[index]),
                translation=self.translation[index].astype(np.float64),
            )
        elif self.joints[index, :, 3].any():
            joints = np.full((NUM_JOINTS, 3), np.nan)
            for theirs, ours in _SPIN.items():
                if ours < NUM_JOINTS and self.joints[index, theirs, 3] > 0:
                    joints[ours] = self.joints[index, theirs, :3]
            known = dict(joints=joints)
        if self.focal is not None and self.K is None:
            known['focal'] = float(self.focal[index])
        return Sample(
            **self._common(index, 200.0 * self.scale[index] / MARGIN),
            keypoints=keypoints,
            confidence=confidence,
            **known,
        )


class ThreeDPW:
    """3DPW's sequence files (a folder of .pkl, one per sequence), of which every valid person and frame is used.

    Boxes and 2D joints are those of the projected body, as CLIFF's authors did: the file's own 2D joints are
    OpenPose's.
    """

    def __init__(self, labels: Path, images: Path, turn: int = 0) -> None:
        self.images, self.turn, self.people = images, turn, []
        files = sorted(labels.glob('*.pkl'))
        if not files:
            raise InputError(
                f"there are no .pkl files in '{labels}': give the folder of one of 3DPW's splits, such as "
                'sequenceFiles/train'
            )
        for path in files:
            try:
                self.people += _sequence(path)
            except (ModelError, KeyError, IndexError, TypeError, ValueError) as error:
                what = f'has no {error}' if isinstance(error, KeyError) else str(error)
                raise InputError(f"'{path}' is no sequence of 3DPW: {what}") from None
        if not self.people:
            raise InputError(f"no person in '{labels}' has a valid camera")

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, index: int) -> Sample:
        name, frame, K, values = self.people[index]
        return Sample(self.images / name / f'image_{frame:05d}.jpg', K=K, turn=self.turn, **values)


def _sequence(path: Path) -> list[tuple[str, int, np.ndarray, dict]]:
    content: Mapping = read_pickle(path)

    def array(name: str, value) -> np.ndarray:
        return to_array(name, value).astype(np.float64)

    K = array('cam_intrinsics', content['cam_intrinsics']).reshape(3, 3)
    cameras = array('cam_poses', content['cam_poses']).reshape(-1, 4, 4)
    people = []
    for who, gender in enumerate(content['genders']):
        poses, places = (array(name, content[name][who]) for name in ('poses', 'trans'))
        valid = to_array('campose_valid', content['campose_valid'][who]).astype(bool)
        seen = array('poses2d', content['poses2d'][who]).any((1, 2))
        betas, rotations = _betas(array('betas', content['betas'][who]).ravel()), exp(poses.reshape(-1, NUM_JOINTS, 3))
        # images are numbered as poses are; img_frame_ids counts the 60 Hz poses
        for i in np.flatnonzero(valid & seen).tolist():
            people.append(
                (
                    str(np.asarray(content['sequence'])),
                    i,
                    K,
                    dict(
                        rotations=rotations[i],
                        betas=betas,
                        translation=places[i],
                        extrinsics=cameras[i],
                        gender=_gender(str(gender)),
                    ),
                )
            )
    return people


def _betas(values: np.ndarray) -> np.ndarray:
    betas = np.asarray(values, np.float64)[:NUM_BETAS]
    if len(betas) < NUM_BETAS:
        raise InputError(f'there are {len(betas)} shape coefficients where {NUM_BETAS} are needed')
    return betas


def _gender(text: str) -> str:
    names = {'m': 'male', 'f': 'female', 'n': 'neutral'}
    if text[:1].lower() not in names:
        raise InputError(f"a gender is '{text}': it must be male, female or neutral")
    return names[text[:1].lower()]
