"""What was published, for the row beside ours. Lengths in mm, angles in degrees.

Rows of one table come from different training sets, and columns of one row at times from different weights: see
docs/evaluation.md. Where a figure was read in a third party's table and not in the paper, ``source`` says so.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """name: of the method. fits: the name (``Engine.metadata['model']``) and dialect of the network that should
    reproduce it."""

    name: str
    figures: dict[str, float]
    source: str
    fits: tuple[str, str] = ('', '')


_PAPER = 'CLIFF, ECCV 2022 (poster, README)'
_BEDLAM = 'BEDLAM, CVPR 2023, quoted by others'
_MMHUMAN = 'MMHuman3D, configs/cliff'


def _spin(mpjpe: float, pa: float, pve: float | None = None) -> dict[str, float]:
    return {'mpjpe_mm': mpjpe, 'pa_mpjpe_mm': pa} | ({} if pve is None else {'pve_mm': pve})


_HUMAN36M = tuple(
    Row(f'CLIFF {name}, with 3DPW', _spin(*figures), f'{_PAPER}; which protocol is not said', (model, 'official'))
    for name, figures, model in (
        ('ResNet-50', (52.8, 35.7), 'cliff_resnet50'),
        ('HRNet-W48', (47.6, 32.7), 'cliff_hrnet_w48'),
    )
)


def _hip(mpjpe: float, mve: float, pa: float | None = None) -> dict[str, float]:
    return {'mpjpe_mm': mpjpe, 'mve_mm': mve} | ({} if pa is None else {'pa_mpjpe_mm': pa})


_BEDLAM_NETWORK = ('cliff_hrnet_w48_pose', 'bedlam')
_CAMERA_HMR = "CameraHMR's README (image)"
PUBLISHED: dict[str, tuple[Row, ...]] = {
    '3dpw': (
        Row('CLIFF ResNet-50', _spin(72.0, 45.7, 85.3), _PAPER, ('cliff_resnet50', 'official')),
        Row('CLIFF HRNet-W48', _spin(69.0, 43.0, 81.2), _PAPER, ('cliff_hrnet_w48', 'official')),
        Row('CLIFF (BEDLAM, real images)', _spin(73.9, 46.4, 87.6), _BEDLAM, _BEDLAM_NETWORK),
        Row('BEDLAM-CLIFF', _spin(72.0, 46.6, 85.0), _BEDLAM, _BEDLAM_NETWORK),
        Row('BEDLAM-CLIFF, 3DPW', _spin(66.9, 43.0, 78.5), _BEDLAM, _BEDLAM_NETWORK),
        Row('MMHuman3D, stage 1', _spin(76.49, 48.65), _MMHUMAN, ('cliff_resnet50', 'mmhuman3d')),
        Row('MMHuman3D, stage 2', _spin(75.08, 47.38), _MMHUMAN, ('cliff_resnet50', 'mmhuman3d')),
        Row('SPIN', _spin(96.9, 59.2, 116.4), _PAPER),
        Row('HMR2.0', _spin(69.8, 44.4, 82.2), 'quoted by others', ('hmr2', 'hmr2')),
        Row('CameraHMR', _spin(62.15, 38.5, 72.95), _CAMERA_HMR, ('camerahmr', 'camerahmr')),
    ),
    'h36m-p1': _HUMAN36M,
    'h36m-p2': _HUMAN36M,
    'emdb1': (
        Row(
            'CLIFF',
            {
                'mpjpe_mm': 103.134,
                'pa_mpjpe_mm': 68.797,
                'mve_mm': 122.884,
                'pa_mve_mm': 81.328,
                'mpjae_deg': 23.093,
                'mpjae_pa_deg': 21.627,
                'jitter_10m_s3': 55.453,
            },
            "EMDB's public leaderboard",
            ('cliff_hrnet_w48', 'official'),
        ),
        Row(
            'CameraHMR',
            {'mpjpe_mm': 73.0, 'pa_mpjpe_mm': 43.7, 'mve_mm': 85.4},
            "CameraHMR's README (image)",
            ('camerahmr', 'camerahmr'),
        ),
        Row('HMR2.0', _hip(118.5, 140.6), 'quoted by others', ('hmr2', 'hmr2')),
    ),
    'agora': (
        Row('CLIFF ResNet-50 (test)', {'mpjpe_mm': 91.7, 'mve_mm': 86.3}, _PAPER, ('cliff_resnet50', 'official')),
        Row('CLIFF HRNet-W48 (test)', {'mpjpe_mm': 81.0, 'mve_mm': 76.0}, _PAPER, ('cliff_hrnet_w48', 'official')),
        Row(
            'CLIFF HRNet-W48 (validation)',
            {'mpjpe_mm': 91.4, 'pa_mpjpe_mm': 53.7, 'mve_mm': 110.0},
            "its checkpoint's file name",
            ('cliff_hrnet_w48', 'official'),
        ),
    ),
    'rich': (
        Row('CLIFF (BEDLAM, real images)', _hip(90.0, 102.0, 55.7), _BEDLAM, _BEDLAM_NETWORK),
        Row('BEDLAM-CLIFF', _hip(84.5, 96.6, 51.2), _BEDLAM, _BEDLAM_NETWORK),
    ),
}


def beside(dataset: str, model: str, dialect: str) -> Row | None:
    """The published row of a network, or else the first one of the benchmark; None where none is known."""
    rows = PUBLISHED.get(dataset, ())
    return next((row for row in rows if row.fits == (model, dialect)), rows[0] if rows else None)
