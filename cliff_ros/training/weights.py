"""Weights that a training leaves: files that are not too large, and the graphs that are made of them."""

from __future__ import annotations

from pathlib import Path

import torch

from cliff_ros import assets
from cliff_ros.body import load_body
from cliff_ros.cliff.embedded import EmbeddedCliff, from_weights, round_to_half
from cliff_ros.errors import InputError
from cliff_ros.graph.export import export_graph
from cliff_ros.training.progress import save

MOST_FILE = 15 << 20  # bytes of a file of weights; larger ones are written as several


def write_weights(module: torch.nn.Module, output: Path, name: str) -> None:
    """The state of a module for `read_weights_of`, large tensors in half precision, in files of 15 MiB at most."""
    parts: list[dict] = [{}]
    size = 0
    for key, value in module.state_dict().items():
        value = value.detach().cpu()
        value = value.half() if value.is_floating_point() and value.numel() >= 1024 else value.clone()
        if size + value.numel() * value.element_size() > MOST_FILE:
            parts.append({})
            size = 0
        parts[-1][key] = value
        size += value.numel() * value.element_size()
    for k, part in enumerate(parts):
        save(output / (f'{name}.pt' if k == 0 else f'{name}_{k}.pt'), **part)


def read_weights_of(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """What `write_weights` wrote, in float32."""
    files = [folder / f'{name}.pt', *sorted(folder.glob(f'{name}_[0-9].pt'))]
    if not files[0].exists():
        raise InputError(f"there is no '{files[0]}': give the folder in which a training left its weights")
    state: dict[str, torch.Tensor] = {}
    for file in files:
        state |= torch.load(file, weights_only=True, map_location='cpu')
    return {key: value.float() if value.dtype == torch.float16 else value for key, value in state.items()}


def export_trained(folder: Path, output: Path) -> None:
    """Graphs of the weights that a training left in its output folder."""
    weights = {
        f'{name}.{key}': value
        for name in ('encoder', 'regressor')
        for key, value in read_weights_of(folder, name).items()
    }
    export_embedded(from_weights(weights, folder), output)


def export_embedded(model: EmbeddedCliff, output: Path) -> None:
    """Write the runtime graph that the package ships."""
    export_graph(round_to_half(model).eval(), load_body(), output / assets.NETWORK.name, licence='Apache-2.0')
