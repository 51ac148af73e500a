"""A running average of a network's weights (EMA): what is validated, and what a training leaves."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """Follows a network, batch statistics included; ``model`` is the average, in eval mode.

    decay: of the average per step. Early on it is less, so that the first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, model: nn.Module, step: int) -> None:
        """Take one step towards the network, after its optimiser step number ``step``, the first being 1."""
        decay = min(self.decay, step / (step + 10))
        for mean, value in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if value.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
