"""What the published regressor starts from - mean pose, shape and camera: read from a file, or fitted to the labels.

The T-pose is nobody's mean. Whoever trains from nothing gets the mean of the people of the training data, and is told.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cliff_ros.cliff import load_model
from cliff_ros.cliff.network import Cliff
from cliff_ros.errors import ModelError
from cliff_ros.synthetic.poses import euler_to_matrix, sample_poses
from cliff_ros.synthetic.scene import sample_betas
from cliff_ros.training.published.config import TrainingConfig

FIT = 'fit'
_PEOPLE = 2000  # of each source
_CHECKPOINTS = ('.pt', '.pth', '.ckpt', '.safetensors')


def read_means(model: Cliff, path: Path) -> None:
    """Load smpl_mean_params.npz (pose (144,), shape (10,), cam (3,)), or a published checkpoint's own means."""
    regressor: Any = model.regressor
    buffers = (('pose', regressor.init_pose), ('shape', regressor.init_shape), ('cam', regressor.init_cam))
    if path.suffix.lower() in _CHECKPOINTS:
        other = load_model(path)
        given: Any = getattr(other, 'regressor', None)
        if getattr(other, 'body', '') != 'smpl' or not hasattr(given, 'init_pose'):
            raise ModelError(f"'{path}' has no mean parameters of SMPL: give another CLIFF checkpoint, or '{FIT}'")
        for name, buffer in buffers:
            buffer.copy_(getattr(given, f'init_{name}'))
        return
    try:
        with np.load(path, allow_pickle=False) as file:
            for key, buffer in buffers:
                buffer.copy_(torch.from_numpy(np.asarray(file[key], np.float32).reshape(buffer.shape)))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"'{path}' is not SPIN's smpl_mean_params.npz, with pose, shape and cam ({error})") from None


def fit_means(model: Cliff, config: TrainingConfig) -> int:
    """Fit the means to the people whom the configuration trains on; returns how many they were.

    Each rotation is the one nearest to the mean of the matrices; the root stays upright before the camera, since people
    face any way, and the camera (0.9, 0, 0) as published.
    """
    rotations, betas = [], []
    for source in config.data:
        if not source.weight:
            continue
        turns, shapes = _rendered(config.seed) if source.kind == 'synthetic' else _labelled(source, config)
        share = source.weight / sum(one.weight for one in config.data)
        rotations.append((turns, share))
        betas.append((shapes, share))
    known = [(turns, share) for turns, share in rotations if len(turns)]
    if not known:
        raise ModelError(
            "nobody in 'data' has an SMPL pose to fit the mean to: give 'mean_parameters', smpl_mean_params.npz or a "
            'published checkpoint'
        )
    mean = sum(share * turns.mean(0) for turns, share in known)
    u, _, vt = np.linalg.svd(mean)
    u[..., -1] *= np.sign(np.linalg.det(u @ vt))[..., None]
    nearest = u @ vt
    nearest[0] = np.diag([1.0, -1, -1])
    regressor: Any = model.regressor
    regressor.init_pose.copy_(torch.from_numpy(nearest[..., :2].reshape(1, -1)).float())
    shaped = [(shapes, share) for shapes, share in betas if len(shapes)]
    if shaped:
        total = sum(share for _, share in shaped)
        regressor.init_shape.copy_(
            torch.from_numpy(sum(share * shapes.mean(0) for shapes, share in shaped)[None] / total).float()
        )
    return sum(len(turns) for turns, _ in known)


def _rendered(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Poses and shapes as the synthetic world draws them; nothing is rendered."""
    rng = np.random.default_rng([seed, 3])
    return euler_to_matrix(sample_poses(rng, _PEOPLE)).astype(np.float64), sample_betas(rng, _PEOPLE).astype(np.float64)


def _labelled(source, config: TrainingConfig) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (N, 24, 3, 3) and betas (M, 10) of people evenly chosen, of those who have them."""
    from cliff_ros.datasets.cameras import Cameras
    from cliff_ros.training.published.crop_sources import READERS

    people = READERS[source.kind](
        Path(source.labels).expanduser(),
        Path(source.images).expanduser(),
        source.turn,
        Cameras.read(source.cameras, source.focal),
    )
    chosen = np.linspace(0, len(people) - 1, min(_PEOPLE, len(people))).round().astype(int)
    samples = [people[int(i)] for i in chosen]
    turned = [sample.rotations for sample in samples if np.isfinite(sample.rotations[1:22]).all()]
    rotations = np.array(turned).reshape(-1, 24, 3, 3)
    rotations[np.isnan(rotations).any((2, 3))] = np.eye(3)  # SMPL-X does not say how SMPL's hands are turned
    shapes = [sample.betas for sample in samples if sample.gender == 'neutral' and np.isfinite(sample.betas).all()]
    return rotations, np.array(shapes).reshape(-1, 10)
