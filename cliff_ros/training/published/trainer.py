"""The training itself: steps, averages, logs, validation, checkpoints; on one process or on torchrun's."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from cliff_ros import signals
from cliff_ros.errors import InputError, ModelError
from cliff_ros.files import write_json
from cliff_ros.training.published import state
from cliff_ros.training.published.batches import BatchPlan, Mixture, in_sentences, loader
from cliff_ros.training.published.config import TrainingConfig
from cliff_ros.training.published.ema import Average
from cliff_ros.training.published.logs import Scalars
from cliff_ros.training.published.networks import Trainee, make_network, write_network
from cliff_ros.training.published.objective import Keypoints, objective
from cliff_ros.training.published.sources import Bodies, open_source
from cliff_ros.training.published.team import Team, joined
from cliff_ros.training.published.validation import ValidationSet

CHECKPOINT = 'checkpoint.pt'
REPORT = 'report.json'


def train(config: TrainingConfig) -> Path | None:
    """Train, or go on where ``output`` has a checkpoint; returns the network's file, None in processes that follow.

    Raises InputError and ModelError for files and options that cannot be used, KeyboardInterrupt when it is asked to
    stop: what was done until then is in the checkpoint.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    with joined(config.device) as team:
        return Training(config, team).run()


def rate_factor(config: TrainingConfig, step: int) -> float:
    """Of the learning rate, at a step counted from 0."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.schedule == 'step':
        return warm * (1.0 if step < config.step_at * config.steps else config.final_factor)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))
    return warm * (config.final_factor + (1 - config.final_factor) * fall)


class Training:
    """Everything that a training holds, from its configuration."""

    def __init__(self, config: TrainingConfig, team: Team) -> None:
        self.config, self.team, self.device = config, team, team.device
        parts = team.size * config.accumulate
        if config.batch % parts:
            raise InputError(
                f"'batch' is {config.batch}: it must be a multiple of {parts}, the number of processes "
                "times 'accumulate'"
            )
        self.output = Path(config.output).expanduser()
        self.output.mkdir(parents=True, exist_ok=True)
        self.resumes = (self.output / CHECKPOINT).exists()
        torch.manual_seed(config.seed)
        model = make_network(config).to(self.device, memory_format=torch.channels_last).train()
        self.bodies = Bodies.of(config)
        self.keypoints = Keypoints(self.bodies.neutral).to(self.device)
        self.average = Average(model, config.average)
        precision = _precision(config.precision, self.device)
        if config.sync_batch_norm and team.size > 1 and self.device.type == 'cuda':
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model = model
        self.network: nn.Module = Trainee(model, config.location, precision)
        if team.size > 1:
            self.network = DistributedDataParallel(
                self.network, [self.device.index] if self.device.type == 'cuda' else None
            )
        optimizer = torch.optim.AdamW if config.optimizer == 'adamw' else torch.optim.Adam
        self.optimizer = optimizer(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: rate_factor(config, step))
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == torch.float16)
        self.step = 0
        self._sums: dict[str, Tensor] = {}
        self._since = (0, time.monotonic())
        torch.manual_seed(config.seed + 1 + team.rank)  # dropout differs between processes
        torch.backends.cudnn.benchmark = self.device.type == 'cuda'

    def run(self) -> Path | None:
        """Train to the last step; returns the file of the network."""
        config, team, spec = self.config, self.team, self.model.spec
        saved = state.load(self.output / CHECKPOINT, config) if self.resumes else None
        self._open_sources(spec, saved['step'] if saved else 0)
        self.sampler = dict(
            lengths=[len(source) for source in self.sources], weights=[source.weight for source in config.data]
        )
        if saved:
            state.check_data(saved, self.sampler)
            self._restore(saved)
            del saved
        plan = BatchPlan(
            **self.sampler,
            batch=config.batch,
            steps=config.steps,
            seed=config.seed,
            start=self.step,
            process=team.rank,
            processes=team.size,
        )
        batches = loader(
            Mixture(self.sources, config.augmentation, config.seed), plan, config.workers, self.device.type == 'cuda'
        )
        if not team.leads:
            with tqdm(disable=True) as bar:
                self._loop(batches, {}, bar, None)
            return None
        validation = {
            f'validation/{i}_{source.kind}': ValidationSet(source, config, spec, self.bodies)
            for i, source in enumerate(config.validation.data)
        }
        logs = Scalars(self.output, self.step)
        try:
            self._introduce(logs)
            with tqdm(total=config.steps, initial=self.step, unit='step', desc=config.network, mininterval=1.0) as bar:
                self._loop(batches, validation, bar, logs)
                figures = self._validate(validation, bar, logs) if validation else {}
        finally:
            logs.close()
        return self._finish(figures)

    def _open_sources(self, spec, start: int) -> None:
        """The first process before the others: it renders what is missing."""
        for first in (True, False):
            if self.team.leads == first:
                self.sources = [
                    open_source(source, self.config, spec, self.bodies, self.team.rank, start)
                    for source in self.config.data
                ]
            self.team.wait()

    def _loop(self, batches, validation: dict[str, ValidationSet], bar: tqdm, logs: Scalars | None) -> None:
        config = self.config
        self._since = (self.step, time.monotonic())
        # Only where it is alone: several processes would stop at different steps.
        with signals.asking() if self.team.size == 1 else nullcontext() as stop:
            for images, truth in in_sentences(batches):
                self._train(images, truth)
                bar.update()
                last = self.step == config.steps
                if self.step % config.log_every == 0 or last:
                    self._log(bar, logs)
                if validation and self.step % config.validation.every == 0 and not last:
                    self._validate(validation, bar, logs)
                if self.step % config.checkpoint_every == 0 or last or stop:
                    self._save()
                if stop and not last:
                    raise KeyboardInterrupt

    def _train(self, images: Tensor, truth: dict[str, Tensor]) -> None:
        """One step of the optimiser."""
        config, parts_count = self.config, self.config.accumulate
        self.optimizer.zero_grad(set_to_none=True)
        size = len(images) // parts_count
        for i in range(parts_count):
            rows = slice(i * size, (i + 1) * size)
            crops = images[rows].to(self.device, non_blocking=True)
            target = {name: value[rows].to(self.device, non_blocking=True) for name, value in truth.items()}
            waits = self.team.size > 1 and i < parts_count - 1
            with self.network.no_sync() if waits else nullcontext():
                loss, parts = objective(
                    *self.network(crops, target['location']),
                    target,
                    self.keypoints,
                    config.losses,
                    config.full_frame_loss,
                )
                self.scaler.scale(loss / parts_count).backward()
            for name, value in (parts | {'loss': loss}).items():
                self._sums[name] = self._sums.get(name, 0) + value.detach() / parts_count
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip or math.inf)
        self._sums['gradient'] = self._sums.get('gradient', 0) + norm
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        self.step += 1
        self.average.follow(self.model, self.step)

    def _log(self, bar: tqdm, logs: Scalars | None) -> None:
        """Means since the last time."""
        self._check()
        begin, since = self._since
        steps, now = self.step - begin, time.monotonic()
        figures = {f'train/{name}': value.item() / steps for name, value in self._sums.items()}
        figures['train/learning_rate'] = self.optimizer.param_groups[0]['lr']
        figures['train/people_per_second'] = steps * self.config.batch / max(now - since, 1e-9)
        self._sums, self._since = {}, (self.step, now)
        bar.set_postfix(loss=f'{figures["train/loss"]:.4g}', refresh=False)
        if logs:
            logs.write(self.step, figures)

    def _check(self) -> None:
        """Stop before a loss that is no number reaches the checkpoint."""
        if 'loss' in self._sums and not bool(torch.isfinite(self._sums['loss'])):
            raise ModelError(
                f"the loss is no longer a number at step {self.step}: lower 'learning_rate', or set "
                "'precision' to float32, and start again: it goes on from the last checkpoint"
            )

    def _validate(self, sets: dict[str, ValidationSet], bar: tqdm, logs: Scalars | None) -> dict[str, float]:
        network = Trainee(self.average.model, self.config.location)
        figures = {
            f'{name}/{figure}': value
            for name, entry in sets.items()
            for figure, value in entry.measure(network, self.keypoints, self.device).items()
        }
        if logs:
            logs.write(self.step, figures)
        bar.write(
            f'step {self.step}: '
            + ', '.join(f'{name.removeprefix("validation/")} {value:.4g}' for name, value in figures.items())
        )
        return figures

    def _save(self) -> None:
        """All processes come here; the first writes the checkpoint."""
        self._check()
        random = self.team.gather(state.random_state(self.device))
        if self.team.leads:
            state.save(
                self.output / CHECKPOINT,
                dict(
                    step=self.step,
                    model=self.model.state_dict(),
                    average=self.average.model.state_dict(),
                    optimizer=self.optimizer.state_dict(),
                    scheduler=self.scheduler.state_dict(),
                    scaler=self.scaler.state_dict(),
                    sampler=self.sampler,
                    random=random,
                ),
                self.config,
            )

    def _restore(self, saved: dict) -> None:
        self.step = saved['step']
        for name in ('model', 'optimizer', 'scheduler', 'scaler'):
            getattr(self, name).load_state_dict(saved[name])
        self.average.model.load_state_dict(saved['average'])
        if len(saved['random']) == self.team.size:
            state.restore_random_state(saved['random'][self.team.rank], self.device)

    def _introduce(self, logs: Scalars) -> None:
        board = (
            'TensorBoard and JSON Lines'
            if logs.has_tensorboard
            else "JSON Lines (for TensorBoard: pip install 'cliff_ros[train]')"
        )
        people = ', '.join(
            f'{source.kind} ({length or "endless"})'
            for source, length in zip(self.config.data, self.sampler['lengths'], strict=True)
        )
        print(
            f'{self.config.network} on {self.device}, {self.team.size} process(es), from step {self.step}\n'
            f'people: {people}\nlogs: {board} in {self.output}',
            flush=True,
        )

    def _finish(self, figures: dict[str, float]) -> Path:
        path = write_network(self.average.model.cpu(), self.bodies.neutral, self.output)
        report = dict(network=path.name, steps=self.step, validation=figures, config=asdict(self.config))
        write_json(self.output / REPORT, report)
        return path


def _precision(name: str, device: torch.device) -> torch.dtype:
    """Of the encoder. On a CPU always float32: half precision is for GPUs."""
    if device.type != 'cuda' or name == 'float32':
        return torch.float32
    if name == 'auto':
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return getattr(torch, name)
