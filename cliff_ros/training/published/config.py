"""What a training is: every option with its meaning, default and range. docs/training.md explains them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import inf
from pathlib import Path
from typing import Any

from cliff_ros.errors import InputError
from cliff_ros.training.published.options import group, items, option, read

NETWORKS = ('resnet50', 'hrnet_w48', 'embedded')
KINDS = ('synthetic', 'bedlam', 'cliff_gt', '3dpw')
# What may differ between the start of a training and its continuation.
FREE_TO_CHANGE = {
    'output',
    'workers',
    'threads',
    'device',
    'log_every',
    'checkpoint_every',
    'validation',
    'initial_network',
    'initial_backbone',
    'mean_parameters',
    'accumulate',
}


@dataclass(frozen=True)
class LossWeights:
    """SPIN's weights, from which CLIFF's authors started; their own are not published."""

    reprojection: float = option(20.0, 'of the squared 2D residual, in box sizes (SPIN: 5, in half crops)', (0, inf))
    joints: float = option(5.0, 'of the squared residual of 3D joints about the hips [m^2]', (0, inf))
    pose: float = option(1.0, 'of the squared difference of rotation matrices', (0, inf))
    betas: float = option(0.001, 'of the squared difference of shape coefficients', (0, inf))
    scale: float = option(1.0, 'of exp(-10 s)^2, which keeps the camera scale s positive', (0, inf))


@dataclass(frozen=True)
class Augmentation:
    """How a person is seen differently each time. A probability or size of 0 switches a change off."""

    flip: float = option(0.5, 'probability of the mirror image', (0, 1))
    rotation: float = option(
        30.0, 'standard deviation of the rotation about the crop center [deg]; twice this is the most', (0, 90)
    )
    rotation_probability: float = option(0.4, 'of a rotation', (0, 1))
    scale: float = option(0.25, 'standard deviation of the crop size, relative; once this is the most', (0, 0.9))
    jitter: float = option(
        0.04, "standard deviation of each side of the box, in box heights: a detector's errors", (0, 0.5)
    )
    part: float = option(0.1, 'probability of a crop of only a part of the body', (0, 1))
    occlusion: float = option(0.3, 'probability of textured patches in front', (0, 1))
    color: float = option(0.4, 'each channel is multiplied by a number within 1 +- this', (0, 1))
    camera: float = option(0.5, 'strength of blur, noise, exposure and JPEG', (0, 1))


@dataclass(frozen=True)
class DataSource:
    """One entry of the data: where samples come from, and what share of all they are."""

    kind: str = option('synthetic', 'layout of the data', choices=KINDS)
    weight: float = option(1.0, 'share of the samples, relative to the other entries', (0, inf))
    labels: str = option('', '.npz file (bedlam, cliff_gt), or folder of .pkl files (3dpw)')
    images: str = option('', 'folder that the image names in the labels start from')
    turn: int = option(0, 'degrees by which stored images are turned clockwise before the labels fit them', (0, 270))
    cameras: str = option('', 'YAML file of intrinsics by part of the image name, for labels that have none')
    focal: str = option('', "of all other images whose labels have none [px]; diagonal: the guess of CLIFF's authors")
    shards: str = option('', 'synthetic: folder of rendered crops; empty: render while training')
    num_shards: int = option(15, 'synthetic: files in that folder; those that are missing are rendered', (1, 100_000))
    shard_size: int = option(4000, 'synthetic: crops per file', (1, 100_000))


@dataclass(frozen=True)
class Validation:
    """How often the network is validated, and on what."""

    every: int = option(2000, 'steps from one validation to the next', (1, 10**9))
    samples: int = option(1000, 'people to validate on, of each entry of data, evenly chosen', (1, 10**9))
    data: tuple[DataSource, ...] = items(
        DataSource, "what to validate on; 'synthetic' renders people who are never trained on"
    )


@dataclass(frozen=True)
class TrainingConfig:
    """A training of a published network, as its YAML file says it."""

    # what
    network: str = option('resnet50', 'what to train', choices=NETWORKS)
    output: str = option('out/training', 'folder of the checkpoint, the logs and the network')
    body: str = option('embedded', "the SMPL body of the network: 'embedded' or an SMPL file")
    body_male: str = option('', 'SMPL file for labels of men')
    body_female: str = option('', 'SMPL file for labels of women')
    bodies: str = option('', 'folder of SMPL and SMPL-X files for labels of anybody; those named above go before')
    location: bool = option(True, "feed the crop's place in the full frame (bbox_info); false: HMR's input")
    full_frame_loss: bool = option(True, 'compare 2D joints in the full frame; false: in the crop, as HMR does')

    # from what
    initial_network: str = option('', "a CLIFF checkpoint to go on from, or 'embedded'")
    initial_backbone: str = option('', 'ImageNet weights of the encoder (torchvision, timm or HRNet file)')
    mean_parameters: str = option(
        '',
        "the regressor's mean pose, shape and camera: smpl_mean_params.npz, a CLIFF checkpoint, or 'fit' to the data; "
        "empty: the initial network's, else 'fit'",
    )

    # how long and how
    seed: int = option(0, 'of everything random', (0, 2**31))
    steps: int = option(244_000, 'optimizer steps', (1, 10**9))
    batch: int = option(256, 'people per step, all processes together', (1, 10**6))
    accumulate: int = option(
        1,
        'parts that a process works through one by one, to save memory; each has its own batch statistics',
        (1, 10**4),
    )
    optimizer: str = option('adam', 'Adam, or AdamW with weight_decay', choices=('adam', 'adamw'))
    learning_rate: float = option(1e-4, 'at its highest', (1e-12, 10.0))
    weight_decay: float = option(0.0, 'of adamw', (0, 1.0))
    schedule: str = option(
        'step', 'step: one drop at step_at; cosine: falling all the time', choices=('step', 'cosine')
    )
    step_at: float = option(0.5, 'when the rate drops, as a share of steps', (0, 1))
    final_factor: float = option(0.1, 'of the learning rate after the drop, or at the end of the cosine', (0, 1))
    warmup: int = option(0, 'steps in which the rate rises from zero', (0, 10**9))
    clip: float = option(10.0, 'largest norm of the gradient; 0: any', (0, inf))
    average: float = option(0.999, 'decay per step of the averaged weights (EMA)', (0, 0.999999))
    losses: LossWeights = group(LossWeights, 'weights of the parts of the loss')
    augmentation: Augmentation = group(Augmentation, 'how people are seen differently each time')
    data: tuple[DataSource, ...] = items(DataSource, 'what to train on')
    validation: Validation = group(Validation, 'when to validate, and on what')

    # on what
    device: str = option('auto', 'auto: a GPU where there is one', choices=('auto', 'cpu', 'cuda'))
    precision: str = option(
        'auto',
        'of the encoder on a GPU; auto: bfloat16 where it is fast, else float16',
        choices=('auto', 'float32', 'bfloat16', 'float16'),
    )
    sync_batch_norm: bool = option(False, 'batch statistics over all processes (GPUs only)')
    workers: int = option(4, 'processes that prepare crops, for each training process; 0: none', (0, 256))
    threads: int = option(0, "CPU threads of each training process; 0: PyTorch's choice", (0, 1024))
    log_every: int = option(50, 'steps', (1, 10**9))
    checkpoint_every: int = option(1000, 'steps', (1, 10**9))

    def __post_init__(self) -> None:
        def refuse(sentence: str) -> None:
            raise InputError(sentence)

        if not self.data:
            refuse("'data' is empty: list at least one entry, for example '- kind: synthetic'")
        if not any(source.weight for source in self.data):
            refuse("every weight in 'data' is 0: give one of them a share")
        for name, sources in (('data', self.data), ('validation.data', self.validation.data)):
            for i, source in enumerate(sources):
                _check_source(f'{name}[{i}]', source)
        if self.initial_network and self.initial_backbone:
            refuse("'initial_network' already has an encoder: leave out 'initial_backbone'")
        if self.initial_network == 'embedded' and self.network != 'embedded':
            refuse(f"'initial_network' is 'embedded', but the network is {self.network}: give one of its checkpoints")
        if self.network == 'embedded':
            for name in ('initial_backbone', 'mean_parameters'):
                if getattr(self, name):
                    refuse(f"the embedded network has no '{name}': leave it out")
            if not self.location:
                refuse('the embedded network cannot be trained without location here: use network: resnet50')
        if self.weight_decay and self.optimizer != 'adamw':
            refuse("'weight_decay' belongs to optimizer: adamw")


def _check_source(name: str, source: DataSource) -> None:
    if source.kind == 'synthetic':
        for key in ('labels', 'images'):
            if getattr(source, key):
                raise InputError(f"'{name}.{key}' has no meaning for synthetic people: leave it out, or name the kind")
    else:
        for key in ('labels', 'images'):
            if not getattr(source, key):
                raise InputError(f"'{name}.{key}' is missing: {source.kind} needs it")
        if source.shards:
            raise InputError(f"'{name}.shards' belongs to kind: synthetic")
    if source.turn % 90:
        raise InputError(f"'{name}.turn' must be 0, 90, 180 or 270, not {source.turn}")


def load_config(path: str | Path, changes: Mapping[str, Any] | None = None) -> TrainingConfig:
    """A training from a YAML file, or by the name of one that ships with the package (``cliff_resnet50``)."""
    return read(TrainingConfig, find_config(path), changes)


def find_config(name: str | Path) -> Path:
    """The path of a configuration file, given as a path or as the name of a shipped one."""
    path = Path(name).expanduser()
    if path.exists() or path.suffix or path.name != str(name):
        return path
    prefixes = [Path(p) for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    folders = [
        Path(__file__).parents[3] / 'config' / 'training',
        *(p / 'share' / 'cliff_ros' / 'config' / 'training' for p in (*prefixes, Path(sys.prefix))),
    ]
    found = [file for folder in folders for file in sorted(folder.glob('*.yaml'))]
    match = next((file for file in found if file.stem == str(name)), None)
    if match is None:
        shipped = ', '.join(sorted({file.stem for file in found})) or 'none installed'
        raise InputError(f"there is no configuration '{name}': give a YAML file, or one of: {shipped}")
    return match


def changed(before: dict[str, Any], config: TrainingConfig) -> str | None:
    """The first option that keeps a training (its `asdict`) from going on with ``config``, or None."""
    now = asdict(config)
    return next(
        (
            f.name
            for f in fields(TrainingConfig)
            if f.name not in FREE_TO_CHANGE and _plain(before.get(f.name)) != _plain(now[f.name])
        ),
        None,
    )


def _plain(value: Any) -> Any:
    """Tuples as lists: the two come out of a file alike."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value
