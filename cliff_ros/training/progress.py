"""What every training loop shares: one cosine over its time, and a line of mean losses now and then."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.optim import Optimizer


def set_rate(optimizer: Optimizer, rate: float, progress: float, step: int, warmup: int = 150) -> None:
    """Warm up, then one cosine down to a hundredth; a group's `scale` multiplies its rate. progress: 0..1."""
    rate *= min(1, (step + 1) / warmup) * (.5 * (1 + math.cos(math.pi * progress)) * .99 + .01)
    for group in optimizer.param_groups:
        group['lr'] = rate * group.get('scale', 1.)


class Losses:
    """Sums the parts of a loss and logs their means every so many steps."""

    def __init__(self, log: Callable, every: int = 250) -> None:
        self.log, self.every, self.sums = log, every, {}

    def add(self, step: int, elapsed: float, samples: int, parts: dict[str, Tensor]) -> bool:
        """Count one step (the first is 1); whether a line was due."""
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0.) + value.item()
        if step % self.every:
            return False
        self.log(f'step {step}, {elapsed:.0f} s, {samples // 1000}k samples:',
                 {name: round(value / self.every, 4) for name, value in self.sums.items()})
        self.sums = {}
        return True
