"""Human3.6M's two test protocols, from SPIN's label files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cliff_ros.datasets.cameras import NO_CAMERAS, Cameras
from cliff_ros.datasets.cliff_gt import CliffGT
from cliff_ros.datasets.sample import Sample
from cliff_ros.errors import InputError

CAMERA_P2 = '60457274'
MARGIN = 0.9  # SPIN's crop side over the person's mask
# SPIN's 24 joints -> the 14 that are compared, `evaluation.regressed.J14`; and its pelvis.
J24_TO_J14 = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 18)
PELVIS = 14


class Human36M(CliffGT):
    """``h36m_valid_protocol1.npz`` or ``..2.npz`` in ``root``, and the images that they name.

    imgname, center (N, 2), scale (N,), S (N, 24, 4) about the pelvis; where they are there, pose (N, 72) and shape
    (N, 10) of MoSh, with which CLIFF's authors compare, gender, focal_l or cam_int. Protocol 1: S9 and S11, every fifth
    frame, four cameras; protocol 2: of these the camera 60457274, which is chosen here if only the first file exists.
    Intrinsics are the data set's own, by the camera's number in the image's name; distortion is not applied.
    """

    def __init__(self, root: Path, protocol: int = 1, cameras: Cameras = NO_CAMERAS) -> None:
        first, second = (_find(root, f'h36m_valid_protocol{number}.npz') for number in (1, 2))
        labels = second or first if protocol == 2 else first
        if labels is None:
            raise InputError(
                f"there is no h36m_valid_protocol{protocol}.npz in '{root}' or its dataset_extras: get SPIN's data pack"
            )
        super().__init__(labels, root, 0, cameras)
        self._rows = np.arange(len(self.names))
        if protocol == 2:
            self._rows = self._rows[np.char.find(self.names, CAMERA_P2) >= 0]
        if not len(self._rows):
            raise InputError(f"'{labels}' has nobody seen by the camera {CAMERA_P2}: it is not Human3.6M's")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        row = int(self._rows[index])
        sample = super().__getitem__(row)
        # SPIN's scale is of a square around the mask; `Labels` takes it for the height of CLIFF's crop.
        half = 100.0 * float(self.scale[row]) / MARGIN
        center = self.center[row].astype(np.float64) - 0.5
        joints = self.joints[row, list(J24_TO_J14), :3].astype(np.float64) - self.joints[row, PELVIS, :3]
        known = bool(self.joints[row, list(J24_TO_J14), 3].all())
        return replace(
            sample,
            box=np.concatenate([center - half, center + half]),
            boxes={'file': np.concatenate([center - half, center + half])},
            joints14=joints if known else None,
            person=str(self.names[row]).rpartition('_')[0],
        )


def _find(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / 'dataset_extras' / name) if path.is_file()), None)
