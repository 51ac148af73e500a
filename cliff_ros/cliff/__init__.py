"""CLIFF: crops and location features, the networks, their checkpoints. Networks need the extra 'torch'."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cliff_ros.errors import MissingExtra

if TYPE_CHECKING:
    from cliff_ros.cliff.embedded import EmbeddedCliff
    from cliff_ros.cliff.network import Cliff

__all__ = ['load_model']


def load_model(model: str | Path = 'embedded') -> Cliff | EmbeddedCliff:
    """A CLIFF network in eval mode, on the CPU.

    Parameters
    ----------
    model: ``'embedded'`` (ships with the package), or the path of a checkpoint of the authors (``.pt``), of
        BEDLAM (``.ckpt``), of MMHuman3D (``.pth``) or our own (``.safetensors``, by ``cliff convert``).

    Raises
    ------
    ModelError
        when the file is missing, holds anything but weights, or fits no known network.
    MissingExtra
        when torch is not installed.
    """
    need_torch()
    if str(model) == 'embedded':
        from cliff_ros.cliff.embedded import load_embedded

        return load_embedded()
    from cliff_ros.cliff.checkpoints import read_model

    return read_model(Path(model).expanduser())


def need_torch() -> None:
    """Raises MissingExtra where networks cannot be loaded."""
    try:
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtra('loading a network into PyTorch', 'torch') from None
