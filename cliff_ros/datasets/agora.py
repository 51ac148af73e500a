"""AGORA: rendered crowds, whose truth is meshes in tables of pandas (Patel et al., CVPR 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.body import NUM_JOINTS
from cliff_ros.datasets.cameras import intrinsics
from cliff_ros.datasets.frames import read_table
from cliff_ros.datasets.sample import NUM_VERTICES, Sample
from cliff_ros.datasets.threedpw import OnDamage, Parts
from cliff_ros.errors import InputError

SIZE = (3840, 2160)  # [px] of the images to which gt_joints_2d belong
SMALL = '_1280x720'
MOST_OCCLUDED = 90  # [%] beyond which, and below 0, nobody is asked for
_SENSOR = 36.0  # [mm] across
# Focal lengths [mm] by the scene in the image's name; the first that fits.
_LENSES = (('hdri', 50.0), ('cam00', 18.0), ('cam01', 18.0), ('cam02', 18.0), ('cam03', 18.0))
_OTHER_LENS = 28.0


class Agora:
    """The tables ``*_withjv.pkl`` in ``root`` (SMPL, with joints and vertices) and its images, of either size.

    imgPath, gt_joints_2d (45, 2), gt_joints_3d (45, 3), gt_verts (6890, 3), occlusion, isValid: lists with an entry for
    each person of the image. Who is hidden by more than 90 percent, or not valid, is not asked for.
    """

    def __init__(self, root: Path, on_damage: OnDamage | None = None) -> None:
        tables = sorted(root.rglob('*_withjv.pkl'))
        if not tables:
            raise InputError(
                f"there are no tables '*_withjv.pkl' in '{root}': give the folder with AGORA's camera data frames with "
                'SMPL joints and vertices, and its images'
            )
        self._images = {path.name: path for path in sorted(root.rglob('*.png'))}
        self._rows: list[tuple[Any, ...]] = Parts(tables, _rows, 'table of AGORA', on_damage).parts
        if not self._rows:
            raise InputError(f"the tables in '{root}' have nobody in them")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        name, who, points, joints, vertices, asked = self._rows[index]
        small = name.replace('.png', f'{SMALL}.png')
        path = self._images.get(name) or self._images.get(small)
        if path is None:
            raise InputError(f"there is no image '{name}' or '{small}' under the root: unpack AGORA's images there")
        scale = 1280 / SIZE[0] if path.name.endswith(f'{SMALL}.png') else 1.0
        # They count pixels from the corner of the image.
        points = points * scale - 0.5
        focal = scale * SIZE[0] * next((mm for part, mm in _LENSES if part in name), _OTHER_LENS) / _SENSOR
        return Sample(
            path,
            K=intrinsics(focal, focal, scale * SIZE[0] / 2 - 0.5, scale * SIZE[1] / 2 - 0.5),
            box=np.concatenate([points.min(0), points.max(0)]),
            joints=joints[:NUM_JOINTS],
            vertices=vertices,
            points2d=points,
            asked=asked,
            person=f'{name}/{who}',
        )


def _rows(path: Path) -> list[tuple[Any, ...]]:
    table, rows = read_table(path), []
    columns = [table[name] for name in ('imgPath', 'gt_joints_2d', 'gt_joints_3d', 'gt_verts', 'occlusion', 'isValid')]
    for name, points, joints, vertices, occlusion, valid in zip(*columns, strict=True):
        for who, (two, three, mesh, hidden, good) in enumerate(
            zip(points, joints, vertices, occlusion, valid, strict=True)
        ):
            arrays = [np.asarray(value, np.float64) for value in (two, three, mesh)]
            shapes = [value.shape for value in arrays]
            if shapes[0][1:] != (2,) or shapes[1][1:] != (3,) or min(shapes[0][0], shapes[1][0]) < NUM_JOINTS:
                raise ValueError(f'joints of shape {shapes[:2]}')
            if shapes[2] != (NUM_VERTICES, 3):
                raise ValueError(f'vertices of shape {shapes[2]}: SMPL has {NUM_VERTICES}')
            rows.append((Path(str(name)).name, who, *arrays, bool(good) and 0 <= float(hidden) <= MOST_OCCLUDED))
    return rows
