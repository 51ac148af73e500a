"""Running averages of weights (EMA): what is validated, and what a training leaves."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

SOON = 10  # steps: early on an average follows faster, so that the first weights are soon forgotten


class AveragedWeights(AveragedModel):
    """The average of a module, batch statistics included, in ``module``: in eval mode, without gradients.

    decay: of the average per step. Counters of batches, and what else has no fractions, are copied.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay
        self.module.eval().requires_grad_(False)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take one step towards the module, after a step of its optimizer.

        Not as torch does it, whose counter travels to the GPU for it, for which the program waits in every step.
        """
        self.n_averaged += 1
        steps = int(self.n_averaged)
        fractions: tuple[list[Tensor], list[Tensor]] = ([], [])
        for mean, value in zip(_tensors(self.module), _tensors(model), strict=True):
            if mean.is_floating_point():
                fractions[0].append(mean)
                fractions[1].append(value.detach())
            else:
                mean.copy_(value)
        get_ema_multi_avg_fn(min(self.decay, steps / (steps + SOON)))(*fractions, steps)

    def restore(self, state: dict[str, Tensor], steps: int) -> None:
        """Go on from the state of `module` after so many steps."""
        self.module.load_state_dict(state)
        self.n_averaged.fill_(steps)


def _tensors(module: nn.Module) -> chain[Tensor]:
    return chain(module.parameters(), module.buffers())
