"""The loop of every training: steps until it is over, averaged weights, a line of losses, checkpoints.

What a training learns, from what and how fast, is a `Stage`; the loop asks it. A stage that was stopped goes on where
its checkpoint is.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cliff_ros.errors import InputError
from cliff_ros.training.averaging import AveragedWeights
from cliff_ros.training.progress import Losses, save, set_rate

Network = TypeVar('Network', bound=nn.Module)
Progress = Callable[[int], float]  # after so many steps, 0 to 1; 1 and more when it is over
Log = Callable[..., None]
LAST = 'in all'  # what the last look of a stage is told; those before: 'so far'


class Stage(Generic[Network]):
    """One training. A subclass says at least what its `loss` is.

    Parameters
    ----------
    module: what learns, on its device, in training mode.
    rate: of learning, at its highest.
    progress: how much of the stage is over.
    checkpoint: to go on from where there is one, and written now and then; None: none.
    every: seconds from one `look` to the next.
    optimizer: of the module; None: AdamW.
    """

    name: ClassVar[str] = 'training'
    key: ClassVar[str] = 'network'  # of the module's state in a checkpoint
    weight_decay: ClassVar[float] = 1e-3
    warmup: ClassVar[int] = 150  # steps
    clip: ClassVar[float] = 20.0  # largest norm of a gradient
    decay: ClassVar[float | None] = 0.999  # of the averaged weights, per step; None: they are not averaged
    least: ClassVar[int] = 1  # steps, however much is over

    def __init__(
        self,
        module: Network,
        rate: float,
        progress: Progress,
        checkpoint: Path | None = None,
        every: float = 150.0,
        log: Log = print,
        optimizer: Optimizer | None = None,
    ) -> None:
        self.module, self.rate, self.progress = module, rate, progress
        self.checkpoint, self.every, self.log = checkpoint, every, log
        self.parameters = list(module.parameters())
        self.optimizer = optimizer or torch.optim.AdamW(
            self.parameters, rate, weight_decay=self.weight_decay, fused=True
        )
        self.average = None if self.decay is None else AveragedWeights(module, self.decay)
        self.losses = Losses(log, name=self.name)
        self.count = self.samples = 0  # steps, and people in them

    # ---- what a stage says

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Of a batch: what is to become small, and its parts for the log."""
        raise NotImplementedError

    @property
    def batch_size(self) -> int:
        """People in a batch."""
        raise NotImplementedError

    def begin(self) -> None:
        """Before the first step, after the checkpoint was read."""

    def take(self) -> None:
        """Before each step: fetch what there is to learn from."""

    def look(self, when: str) -> None:
        """Now and then, and at the end: say and write how good it is."""

    def shrink(self) -> bool:
        """Do with less memory; whether that is possible."""
        return False

    # ---- the loop

    @property
    def result(self) -> Network:
        """What the training leaves: the average, where there is one."""
        module: Any = self.module if self.average is None else self.average.module
        return module

    def run(self) -> Network:
        """Train until it is over, `least` steps at least. A KeyboardInterrupt leaves a checkpoint."""
        self.resume()
        self.begin()
        first, self._started = self.count, time.monotonic()
        self._looked = self._started
        try:
            while (over := self.progress(self.count)) < 1 or self.count < first + self.least:
                self.take()
                try:
                    parts = self.step(over)
                except torch.OutOfMemoryError as error:
                    traceback.clear_frames(error.__traceback__)  # they hold what there was no more room for
                    if not self.shrink():
                        raise
                    continue
                if self.average is not None:
                    self.average.update_parameters(self.module)
                self.count += 1
                self.samples += self.batch_size
                self.after(over, parts)
        except KeyboardInterrupt:
            self.interrupted()
            raise
        self.end()
        return self.result

    def step(self, over: float) -> dict[str, Tensor]:
        """One step of the optimizer, none where the gradient is not finite; nothing waits for the device."""
        set_rate(self.optimizer, self.rate, over, self.count, self.warmup)
        loss, parts = self.loss()
        descend(loss, self.optimizer, self.parameters, self.clip)
        return parts

    def after(self, over: float, parts: dict[str, Tensor]) -> None:
        """After each step."""
        now = time.monotonic()
        self.losses.add(self.count, now - self._started, self.samples, parts)
        if now - self._looked > self.every:
            self._looked = now
            self.keep()
            self.look('so far')

    def interrupted(self) -> None:
        """When somebody stops the training."""
        self.keep()

    def end(self) -> None:
        """When it is over."""
        self.keep()
        self.look(LAST)

    # ---- checkpoints

    def keep(self) -> None:
        """Write the checkpoint, whole or not at all."""
        if self.checkpoint:
            save(self.checkpoint, **self.state())

    def state(self) -> dict[str, Any]:
        """All that the loop needs to go on."""
        state = {self.key: self.module.state_dict(), 'optimizer': self.optimizer.state_dict(), 'step': self.count}
        return state if self.average is None else state | {'average': self.average.module.state_dict()}

    def resume(self) -> None:
        """Go on where the checkpoint is, if there is one. InputError for one that is not of this stage."""
        if not (self.checkpoint and self.checkpoint.exists()):
            return
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.parameters[0].device)
        if missing := [name for name in self.state() if name not in state]:
            raise InputError(
                f"'{self.checkpoint}' is of an older version of this training (it lacks {missing}): delete it, or "
                'change --work'
            )
        self.module.load_state_dict(state[self.key])
        self.optimizer.load_state_dict(state['optimizer'])
        self.count = state['step']
        if self.average is not None:
            self.average.restore(state['average'], self.count)
        torch.manual_seed(self.count)
        self.log(f'{self.name}: resuming at step {self.count}')


def descend(loss: Tensor, optimizer: Optimizer, parameters: Sequence[Tensor], clip: float = 20.0) -> None:
    """One step down, the gradient's norm at most `clip`; none where it is not finite. Nothing waits for the device."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(parameters, clip)
    if optimizer.defaults.get('fused'):
        vars(optimizer)['found_inf'] = (~torch.isfinite(norm)).float()  # as torch.amp's scaler tells fused optimizers
    optimizer.step()
