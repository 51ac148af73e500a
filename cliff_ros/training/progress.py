"""What every training loop shares: the clock of the whole training, one cosine, averaged weights, a line of losses."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cliff_ros.files import save_tensors, write_aside


@dataclass(frozen=True)
class Clock:
    """Seconds of training, all starts together; stages are intervals of it.

    total: seconds until everything is written; began: when it would have started in one go, in the system's monotonic
    seconds, which all processes of a machine share.
    """

    total: float
    began: float

    @classmethod
    def start(cls, total: float, elapsed: float = 0.0) -> Clock:
        """elapsed: of earlier starts."""
        return cls(total, time.monotonic() - elapsed)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    @property
    def share(self) -> float:
        """Of the total, what is over."""
        return self.elapsed / self.total

    def progress(self, interval: tuple[float, float]) -> float:
        """0 to 1 within an interval of shares of the total; 1 and more when it is over."""
        start, end = interval
        return max(0.0, (self.share - start) / (end - start))


def set_rate(optimizer: Optimizer, rate: float, progress: float, step: int, warmup: int = 150) -> None:
    """Warm up, then one cosine down to a hundredth; a group's `scale` multiplies its rate. progress: 0..1."""
    rate *= min(1, (step + 1) / warmup) * (0.5 * (1 + math.cos(math.pi * min(progress, 1))) * 0.99 + 0.01)
    for group in optimizer.param_groups:
        group['lr'] = rate * group.get('scale', 1.0)


class Average:
    """Running average of a module's parameters and of its batch norms' statistics (EMA), in `module`."""

    def __init__(self, module: nn.Module, average: nn.Module, decay: float = 0.999) -> None:
        self.module, self.decay, self.steps = average.eval().requires_grad_(False), decay, 0
        pairs = [
            (mean, value)
            for mean, value in zip(average.state_dict().values(), module.state_dict().values(), strict=True)
            if value.is_floating_point()
        ]
        self._means, self._values = (list(tensors) for tensors in zip(*pairs, strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """After a step of the optimizer. The first steps count little."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        torch._foreach_lerp_(self._means, self._values, 1 - decay)


def step(loss: Tensor, optimizer: Optimizer, parameters: list[Tensor], most: float = 20.0) -> None:
    """One step down, the gradient's norm at most that; none where it is not finite. Nothing waits for the device."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(parameters, most)
    if optimizer.defaults.get('fused'):
        optimizer.found_inf = (~torch.isfinite(norm)).float()  # as torch.amp's scaler tells fused optimizers
    optimizer.step()


class Losses:
    """Sums the parts of a loss and logs their means every so many steps."""

    def __init__(self, log: Callable, every: int = 250, name: str = '') -> None:
        self.log, self.every, self.name, self.sums = log, every, name, {}
        self.last: tuple[float, int] | None = None

    def add(self, step: int, elapsed: float, samples: int, parts: dict[str, Tensor]) -> bool:
        """Count one step (the first is 1); whether a line was due. The device is waited for only then."""
        for name, value in parts.items():
            value = value.detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        if self.last is None:
            self.last = elapsed, samples
        if step % self.every:
            return False
        names, means = list(self.sums), (torch.stack([v.float() for v in self.sums.values()]) / self.every).tolist()
        passed = max(elapsed - self.last[0], 1e-6)
        self.log(
            f'{self.name} step {step}, {elapsed:.0f} s, {samples // 1000}k samples, '
            f'{(samples - self.last[1]) / passed:.0f}/s:'.strip(),
            {name: round(mean, 4) for name, mean in zip(names, means, strict=True)},
        )
        self.sums, self.last = {}, (elapsed, samples)
        return True


def half_precision(device: torch.device | str) -> torch.autocast:
    """bfloat16 where the processor computes with it: nearly twice the samples in the same time."""
    kind = torch.device(device).type
    enabled = kind == 'cuda' or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(kind if kind in ('cpu', 'cuda') else 'cpu', torch.bfloat16, enabled=enabled)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def rounded(figures: dict[str, float], digits: int = 2) -> dict[str, float]:
    return {name: round(value, digits) for name, value in figures.items()}


def save(path: Path, **state) -> None:
    """Write a checkpoint whole or not at all."""
    with write_aside(path) as partial:
        save_tensors(state, partial)
