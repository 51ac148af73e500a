"""The published networks with seeded weights, from the authors' checkpoint layouts; and what the authors got."""

from __future__ import annotations

from pathlib import Path

import golden_weights as golden
import numpy as np
import torch
from places import GOLDEN

from cliff_ros.cliff import load_model
from cliff_ros.cliff.checkpoints import PUBLISHED, Architecture, _names, _shapes
from cliff_ros.cliff.dialects import DIALECTS
from cliff_ros.cliff.network import Cliff

# golden file -> architecture, suffix of the authors' checkpoints, batches (BEDLAM's two share an encoder)
AUTHORS: dict[str, tuple[Architecture, str, tuple[int, ...]]] = {
    'official_resnet50': (PUBLISHED[0], '.pt', (1, 3, 8)),
    'official_hrnet_w48': (PUBLISHED[1], '.pt', (1, 3, 8)),
    'bedlam_smplx': (PUBLISHED[2], '.ckpt', (1, 3, 8)),
    'bedlam_smpl': (PUBLISHED[3], '.ckpt', (1, 3)),
    'mmhuman3d_resnet50': (PUBLISHED[4], '.pth', (1, 3, 8)),
}


def results(name: str) -> dict[str, np.ndarray]:
    """What the authors' code made of the seeded weights and inputs: see golden/README.md."""
    with np.load(GOLDEN / f'{name}.npz') as file:
        return dict(file)


def load(name: str, folder: Path) -> Cliff:
    """The seeded weights, written as the authors' checkpoint and read by ``load_model``."""
    architecture, suffix, _ = AUTHORS[name]
    form, names = DIALECTS[architecture.dialect], _names(architecture)
    shapes = {names[key]: shape for key, shape in _shapes(architecture).items()}
    weights = golden.weights(shapes, int(results(name)['seed']))
    state = {form.prefix + key: torch.as_tensor(value) for key, value in weights.items()}
    path = folder / f'{name}{suffix}'
    before_1_6 = architecture.dialect == 'mmhuman3d'  # the torch file format that MMHuman3D publishes in
    torch.save({form.container: state, 'epoch': 5}, path, _use_new_zipfile_serialization=not before_1_6)
    return load_model(path)


def inputs(model: Cliff, batch: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Crops (batch, h, w, 3) uint8 and plain location (batch, 3) float32: what the authors' code was given."""
    location = golden.location(golden.boxes(batch, seed)).astype(np.float32)
    return golden.crops(batch, model.spec.height, model.spec.width, seed), location
