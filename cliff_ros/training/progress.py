"""What every training shares: the clock of the whole, one cosine, a line of losses, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cliff_ros.files import save_tensors, write_aside

Network = TypeVar('Network', bound=nn.Module)


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
        """Seconds since the training began, earlier starts included."""
        return time.monotonic() - self.began

    @property
    def share(self) -> float:
        """Of the total, what is over."""
        return self.elapsed / self.total

    def is_past(self, share: float) -> bool:
        """Whether more than that share of the total is over."""
        return self.share > share

    def progress(self, interval: tuple[float, float]) -> float:
        """0 to 1 within an interval of shares of the total; 1 and more when it is over."""
        start, end = interval
        return max(0.0, (self.share - start) / (end - start))


def set_rate(optimizer: Optimizer, rate: float, progress: float, step: int, warmup: int = 150) -> None:
    """Warm up, then one cosine down to a hundredth; a group's `scale` multiplies its rate. progress: 0..1."""
    rate *= min(1, (step + 1) / warmup) * (0.5 * (1 + math.cos(math.pi * min(progress, 1))) * 0.99 + 0.01)
    for group in optimizer.param_groups:
        group['lr'] = rate * group.get('scale', 1.0)


class Losses:
    """Sums the parts of a loss and logs their means every so many steps."""

    def __init__(self, log: Callable, every: int = 250, name: str = '') -> None:
        self.log, self.every, self.name = log, every, name
        self.sums: dict[str, Tensor] = {}
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


def channels_last_of(module: Network, device: torch.device | str) -> Network:
    """The module on a device, its weights laid out as convolutions are fastest with."""
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def plain_of(module: Network) -> Network:
    """The module on the CPU, its weights laid out as files have them."""
    return module.to('cpu', memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def channels_last(x: Tensor) -> Tensor:
    """The same images (B, C, h, w), laid out as convolutions are fastest with."""
    return x.contiguous(memory_format=torch.channels_last)


def rounded(figures: dict[str, float], digits: int = 2) -> dict[str, float]:
    """Figures for the log, to so many digits after the point."""
    return {name: round(value, digits) for name, value in figures.items()}


def save(path: Path, **state) -> None:
    """Write a checkpoint whole or not at all."""
    with write_aside(path) as partial:
        save_tensors(state, partial)
