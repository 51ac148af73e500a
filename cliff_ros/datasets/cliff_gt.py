"""CLIFF's pseudo ground truth, and SPIN's layout, which it extends."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cliff_ros.body import NUM_JOINTS
from cliff_ros.datasets.cameras import NO_CAMERAS, Cameras
from cliff_ros.datasets.sample import NUM_KEYPOINTS, Sample
from cliff_ros.datasets.tables import Labels, betas_of
from cliff_ros.errors import InputError
from cliff_ros.track.so3 import exp

MARGIN = 1.1  # crop height over the person's, in cliffGT files
# SPIN's 24 joints -> ours: ankles, knees, hips, wrists, elbows, shoulders, nose, eyes, ears. Hips are those that
# annotators mark, some centimeters outside of SMPL's: they count only where the body is not known otherwise.
SPIN = {
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
SPIN_HIPS = [1, 2]


class CliffGT(Labels):
    """CLIFF's pseudo ground truth, and data sets in SPIN's layout (Human3.6M, MPI-INF-3DHP, COCO, MPII).

    imgname, center (N, 2), scale (N,) = crop height / 200; the rest where there is any: part (N, 24, 3) in SPIN's
    order, pose (N, 72 or 24 x 3), shape (N, 10), has_smpl (N,), global_t (N, 3), focal_l (N,) or cam_int (N, 3, 3),
    S (N, 24, 4), used only for people without SMPL, since it does not project onto the image for some others.
    Files without focal_l and cam_int, such as SPIN's, are refused unless ``cameras`` knows the focal length.
    """

    def __init__(self, labels: Path, images: Path, turn: int = 0, cameras: Cameras = NO_CAMERAS) -> None:
        super().__init__(labels, images, turn, cameras)
        table, count = self.table, len(self.names)
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
        if self.focal is None:
            self.require_cameras()

    def _dimensions(self, name: str) -> int:
        with np.load(self.table.path, allow_pickle=False) as file:
            return file[name].ndim

    def __getitem__(self, index: int) -> Sample:
        keypoints, confidence = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
        for theirs, ours in SPIN.items():
            keypoints[ours] = self.part[index, theirs, :2] - 0.5
            confidence[ours] = self.part[index, theirs, 2]
        known = {}
        if self.has_smpl[index]:
            confidence[SPIN_HIPS] = 0
            known = dict(
                rotations=exp(self.pose[index].astype(np.float64)),
                betas=betas_of(self.shape[index]),
                translation=self.translation[index].astype(np.float64),
            )
        elif self.joints[index, :, 3].any():
            joints = np.full((NUM_JOINTS, 3), np.nan)
            for theirs, ours in SPIN.items():
                if ours < NUM_JOINTS and ours not in SPIN_HIPS and self.joints[index, theirs, 3] > 0:
                    joints[ours] = self.joints[index, theirs, :3]
            known = dict(joints=joints)
        common = self.common(index, 200.0 * self.scale[index] / MARGIN)
        if self.focal is not None and self.K is None:
            common = {name: value for name, value in common.items() if name not in ('K', 'guessed')}
            common['focal'] = float(self.focal[index])
        return Sample(**common, keypoints=keypoints, confidence=confidence, **known)
