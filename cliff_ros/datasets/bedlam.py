"""BEDLAM's processed labels, and the benchmarks that its authors distribute in the same layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.body import NUM_JOINTS
from cliff_ros.datasets.cameras import NO_CAMERAS, Cameras
from cliff_ros.datasets.sample import NUM_KEYPOINTS, Sample
from cliff_ros.datasets.tables import Labels, betas_of, gender_of
from cliff_ros.errors import InputError
from cliff_ros.track.so3 import exp

# smplx's order of the face, after SMPL's 24 joints: nose, right eye, left eye, right ear, left ear.
SMPLX_FACE = [0, 2, 1, 4, 3]
SMPLX_BODY_JOINTS = 22


class Bedlam(Labels):
    """BEDLAM's processed labels, for SMPL or SMPL-X (pixelite1201/BEDLAM, data_processing).

    imgname, center (N, 2), scale (N,), pose_cam (N, 72, or at least 66 for SMPL-X), shape (N, 10 or more),
    trans_cam (N, 3), cam_int (N, 3, 3), gtkps (N, K, 2 or 3), gender; cam_ext (N, 4, 4), whose last column adds to
    trans_cam. SMPL-X gives 22 rotations and their 2D joints: its betas, hands and face points are not SMPL's.
    Their box is 1.2 times the extents of the joints, which is about the extents of the body.
    """

    needs: tuple[str, ...] = ('trans_cam', 'cam_int', 'gtkps')

    def __init__(self, labels: Path, images: Path, turn: int = 0, cameras: Cameras = NO_CAMERAS) -> None:
        super().__init__(labels, images, turn, cameras)
        table = self.table
        self.pose, self.shape = table.take('pose_cam', None), table.take('shape', None)
        self.gender = table.take('gender').astype(str) if 'gender' in table else None
        self.smpl = self.pose.shape[1] == 3 * NUM_JOINTS
        if not self.smpl and self.pose.shape[1] < 3 * SMPLX_BODY_JOINTS:
            raise InputError(f"'{labels}': 'pose_cam' has {self.pose.shape[1]} columns: SMPL has 72, SMPL-X 66 or more")
        if not self.needs:
            return
        self.translation = table.take('trans_cam', 3).astype(np.float64)
        if 'cam_ext' in table:
            self.translation = self.translation + table.take('cam_ext', 4, 4)[:, :3, 3]
        self.keypoints = table.take('gtkps', None, None)
        if self.K is None:
            raise InputError(f"'{labels}' has no array 'cam_int': these are not BEDLAM's labels")
        if self.keypoints.shape[1] < SMPLX_BODY_JOINTS or self.keypoints.shape[2] not in (2, 3):
            raise InputError(f"'{labels}': 'gtkps' has shape {self.keypoints.shape}, not N x 22 or more x 2 or 3")

    def __getitem__(self, index: int) -> Sample:
        keypoints, confidence = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
        given = self.keypoints[index].astype(np.float64)
        count = min(len(given), NUM_JOINTS) if self.smpl else SMPLX_BODY_JOINTS
        rows = list(range(count))
        if self.smpl and len(given) >= NUM_KEYPOINTS:
            rows += [NUM_JOINTS + k for k in SMPLX_FACE]
        keypoints[: len(rows)] = given[rows, :2] - 0.5
        confidence[: len(rows)] = given[rows, 2] > 0 if given.shape[1] == 3 else 1
        return Sample(
            **self.common(index, 200.0 * self.scale[index]),
            **self._body(index),
            translation=self.translation[index],
            keypoints=keypoints,
            confidence=confidence,
        )

    def _body(self, index: int) -> dict[str, Any]:
        """Rotations, shape and gender, as fields of `Sample`."""
        num_joints = NUM_JOINTS if self.smpl else SMPLX_BODY_JOINTS
        rotations = np.full((NUM_JOINTS, 3, 3), np.nan)
        rotations[:num_joints] = exp(self.pose[index, : 3 * num_joints].reshape(-1, 3).astype(np.float64))
        gender = gender_of(self.gender[index]) if self.gender is not None else 'neutral'
        if self.smpl:
            return dict(rotations=rotations, gender=gender, betas=betas_of(self.shape[index]))
        return dict(rotations=rotations, gender=gender, smplx_betas=self.shape[index].astype(np.float64))


class Parsed(Bedlam):
    """Test sets as BEDLAM's authors distribute them: ``rich_test.npz``, ``3dpw_test.npz``.

    imgname, center, scale, pose_cam (SMPL's 72 or SMPL-X's 66 or more), shape, gender; cam_int where there is one.
    Nobody's place is known.
    """

    needs = ()

    def __getitem__(self, index: int) -> Sample:
        sample = Sample(**self.common(index, 200.0 * self.scale[index]), **self._body(index))
        return replace(sample, boxes={} if sample.box is None else {'file': sample.box})


def in_root(root: Path, cameras: Cameras = NO_CAMERAS) -> list[Bedlam]:
    """Readers of all of BEDLAM's label files in a folder, each with its images.

    Labels: ``<scene>.npz`` anywhere in ``root``; images: ``<scene>/png`` or ``<scene>`` in ``root`` or its
    ``training_images``, as they come out of the archives. Scenes whose name has 'closeup' are stored on their side.
    """
    readers = []
    for labels in sorted(root.rglob('*.npz')):
        scene = labels.stem
        places = [base / scene / sub for base in (root, root / 'training_images') for sub in ('png', '')]
        images = next((place for place in places if place.is_dir()), None)
        if images is None:
            raise InputError(f"there is no folder of images '{scene}' in '{root}' for the labels '{labels}'")
        readers.append(Bedlam(labels, images, 90 if 'closeup' in scene else 0, cameras))
    if not readers:
        raise InputError(f"there are no labels '*.npz' in '{root}': give the folder with BEDLAM's labels and images")
    return readers
