"""The checkpoint of a training: everything that it needs to go on as if it had not stopped."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cliff_ros.cliff.checkpoints import unpickle
from cliff_ros.errors import InputError, ModelError
from cliff_ros.files import save_tensors, write_aside
from cliff_ros.training.published.config import TrainingConfig, changed

FORMAT = 1


def save(path: Path, state: dict[str, Any], config: TrainingConfig) -> None:
    """Write a checkpoint; whoever reads meets the old one or the new one. OutputError."""
    with write_aside(path) as partial:
        save_tensors(state | dict(format=FORMAT, config=asdict(config)), partial)


def load(path: Path, config: TrainingConfig) -> dict[str, Any]:
    """Read a checkpoint for going on with this configuration.

    Raises InputError naming an option that has changed since, ModelError where the file is damaged.
    """
    state = unpickle(path)
    if not isinstance(state, dict) or state.get('format') != FORMAT:
        raise ModelError(f"'{path}' is no checkpoint of this version's training: give another 'output'")
    name = changed(state['config'], config)
    if name:
        raise InputError(f"'{path}' was trained with another '{name}': set it back to go on, or give another 'output'")
    return state


def check_data(state: dict[str, Any], sampler: dict[str, Any]) -> None:
    """InputError where the data, described by ``sampler``, are not those that the checkpoint was trained on."""
    if state['sampler'] != sampler:
        raise InputError(
            f'the data have changed since the checkpoint (items: {state["sampler"]["lengths"]}, now '
            f"{sampler['lengths']}): bring them back to go on, or give another 'output'"
        )


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Of PyTorch's generators in this process."""
    state = {'cpu': torch.get_rng_state()}
    if device.type == 'cuda':
        state['cuda'] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put `random_state` back."""
    torch.set_rng_state(state['cpu'])
    if device.type == 'cuda' and 'cuda' in state:
        torch.cuda.set_rng_state(state['cuda'], device)
