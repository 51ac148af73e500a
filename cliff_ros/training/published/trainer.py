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

from cliff_ros.cliff.embedded import EmbeddedCliff
from cliff_ros.cliff.network import Cliff
from cliff_ros.errors import InputError, ModelError
from cliff_ros.files import write_json
from cliff_ros.signals import StopRequest, asking, heard
from cliff_ros.training.averaging import AveragedWeights
from cliff_ros.training.loop import Stage
from cliff_ros.training.progress import channels_last_of
from cliff_ros.training.published import state
from cliff_ros.training.published.batches import BatchPlan, Mixture, in_sentences, loader
from cliff_ros.training.published.config import TrainingConfig
from cliff_ros.training.published.crop_sources import Bodies, open_source
from cliff_ros.training.published.logs import Scalars
from cliff_ros.training.published.networks import Trainee, make_network, write_network
from cliff_ros.training.published.objective import Keypoints, objective
from cliff_ros.training.published.process_group import ProcessGroup, process_group
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
    with process_group(config.device) as group:
        return Training(config, group).train()


def rate_factor(config: TrainingConfig, step: int) -> float:
    """Of the learning rate, at a step counted from 0."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.schedule == 'step':
        return warm * (1.0 if step < config.step_at * config.steps else config.final_factor)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))
    return warm * (config.final_factor + (1 - config.final_factor) * fall)


class Training(Stage[Cliff | EmbeddedCliff]):
    """Everything that a training holds, from its configuration."""

    name, key, decay, least = 'training', 'model', None, 0

    def __init__(self, config: TrainingConfig, group: ProcessGroup) -> None:
        self.config, self.group, self.device = config, group, group.device
        parts = group.size * config.accumulate
        if config.batch % parts:
            raise InputError(
                f"'batch' is {config.batch}: it must be a multiple of {parts}, the number of processes "
                "times 'accumulate'"
            )
        self.output = Path(config.output).expanduser()
        self.output.mkdir(parents=True, exist_ok=True)
        self.resumes = (self.output / CHECKPOINT).exists()
        torch.manual_seed(config.seed)
        model = channels_last_of(make_network(config), self.device).train()
        self.bodies = Bodies.of(config)
        self.keypoints = Keypoints(self.bodies.neutral).to(self.device)
        self.following = AveragedWeights(model, config.average)
        precision = _precision(config.precision, self.device)
        if config.sync_batch_norm and group.size > 1 and self.device.type == 'cuda':
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.network: nn.Module = Trainee(model, config.location, precision)
        if group.size > 1:
            self.network = DistributedDataParallel(
                self.network, [self.device.index] if self.device.type == 'cuda' else None
            )
        optimizer = torch.optim.AdamW if config.optimizer == 'adamw' else torch.optim.Adam
        super().__init__(
            model,
            config.learning_rate,
            lambda count: count / config.steps,
            self.output / CHECKPOINT,
            optimizer=optimizer(model.parameters(), config.learning_rate, weight_decay=config.weight_decay),
        )
        self.average = self.following
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: rate_factor(config, step))
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == torch.float16)
        self.validation: dict[str, ValidationSet] = {}
        self.logs: Scalars | None = None
        self._sums: dict[str, Tensor] = {}
        self._since = (0, time.monotonic())
        torch.manual_seed(config.seed + 1 + group.rank)  # dropout differs between processes
        torch.backends.cudnn.benchmark = self.device.type == 'cuda'

    def train(self) -> Path | None:
        """Train to the last step; returns the file of the network."""
        config, group, spec = self.config, self.group, self.module.spec
        saved = state.load(self.output / CHECKPOINT, config) if self.resumes else None
        self._open_sources(spec, saved['step'] if saved else 0)
        lengths = [len(source) for source in self.sources]
        weights = [source.weight for source in config.data]
        self.sampler = dict(lengths=lengths, weights=weights)
        if saved:
            state.check_data(saved, self.sampler)
            self._restore(saved)
            del saved
        plan = BatchPlan(
            lengths=lengths,
            weights=weights,
            batch=config.batch,
            steps=config.steps,
            seed=config.seed,
            start=self.count,
            process=group.rank,
            processes=group.size,
        )
        batches = loader(
            Mixture(self.sources, config.augmentation, config.seed), plan, config.workers, self.device.type == 'cuda'
        )
        self.batches = iter(in_sentences(batches))
        if not group.is_main:
            with tqdm(disable=True) as self.bar:
                self._run()
            return None
        self.validation = {
            f'validation/{i}_{source.kind}': ValidationSet(source, config, spec, self.bodies)
            for i, source in enumerate(config.validation.data)
        }
        self.logs = logs = Scalars(self.output, self.count)
        try:
            self._introduce(logs)
            with tqdm(
                total=config.steps, initial=self.count, unit='step', desc=config.network, mininterval=1.0
            ) as self.bar:
                self._run()
                figures = self._validate() if self.validation else {}
        finally:
            logs.close()
        return self._finish(figures)

    def _open_sources(self, spec, start: int) -> None:
        """The first process before the others: it renders what is missing."""
        for first in (True, False):
            if self.group.is_main == first:
                self.sources = [
                    open_source(source, self.config, spec, self.bodies, self.group.rank, start)
                    for source in self.config.data
                ]
            self.group.barrier()

    def _run(self) -> None:
        self._since = (self.count, time.monotonic())
        # Several processes would stop at different steps.
        with asking() if self.group.size == 1 else nullcontext(StopRequest()) as self._stop:
            self.run()

    @property
    def batch_size(self) -> int:
        """People in a step, all processes and accumulated parts together."""
        return self.config.batch

    def resume(self) -> None:
        """Where the checkpoint is, the data begin too: it was read before they were opened."""

    def take(self) -> None:
        """Wait for the next batch, this process's share of it; an error in preparing it is raised here."""
        self._batch = next(self.batches)

    def step(self, over: float) -> dict[str, Tensor]:
        """One step of the optimizer, of gradients summed over parts of the batch and over processes."""
        (images, truth), count = self._batch, self.config.accumulate
        sums: dict[str, Tensor] = {}
        self.optimizer.zero_grad(set_to_none=True)
        size = len(images) // count
        for i in range(count):
            rows = slice(i * size, (i + 1) * size)
            waits = self.group.size > 1 and i < count - 1
            with (
                self.network.no_sync() if waits and isinstance(self.network, DistributedDataParallel) else nullcontext()
            ):
                loss, parts = self._loss_of(images[rows], {name: value[rows] for name, value in truth.items()})
                self.scaler.scale(loss / count).backward()
            for name, value in (parts | {'loss': loss}).items():
                sums[name] = sums.get(name, 0) + value.detach() / count
        self.scaler.unscale_(self.optimizer)
        sums['gradient'] = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip or math.inf)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        return sums

    def _loss_of(self, images: Tensor, truth: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        crops = images.to(self.device, non_blocking=True)
        target = {name: value.to(self.device, non_blocking=True) for name, value in truth.items()}
        rotations, betas, camera = self.network(crops, target['location'])
        weights = self.config.losses
        return objective(rotations, betas, camera, target, self.keypoints, weights, self.config.full_frame_loss)

    def after(self, over: float, parts: dict[str, Tensor]) -> None:
        """Log, validate and write the checkpoint, each as often as the configuration says. Raises KeyboardInterrupt,
        the checkpoint written, after somebody asked to stop; ModelError for a loss that is no number."""
        config, last = self.config, self.count == self.config.steps
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0) + value
        self.bar.update()
        if self.count % config.log_every == 0 or last:
            self._log()
        if self.validation and self.count % config.validation.every == 0 and not last:
            self._validate()
        if self._stop:
            heard()
        if self.count % config.checkpoint_every == 0 or last or self._stop:
            self._save()
        if self._stop and not last:
            raise KeyboardInterrupt

    def interrupted(self) -> None:
        """What was done is in the checkpoint; a second signal may have come in the middle of a step."""

    def end(self) -> None:
        """The last step has written everything."""

    def _log(self) -> None:
        """Means since the last time."""
        self._check()
        begin, since = self._since
        steps, now = self.count - begin, time.monotonic()
        figures = {f'train/{name}': value.item() / steps for name, value in self._sums.items()}
        figures['train/learning_rate'] = self.optimizer.param_groups[0]['lr']
        figures['train/people_per_second'] = steps * self.config.batch / max(now - since, 1e-9)
        self._sums, self._since = {}, (self.count, now)
        self.bar.set_postfix(loss=f'{figures["train/loss"]:.4g}', refresh=False)
        if self.logs:
            self.logs.write(self.count, figures)

    def _check(self) -> None:
        """Stop before a loss that is no number reaches the checkpoint."""
        if 'loss' in self._sums and not bool(torch.isfinite(self._sums['loss'])):
            raise ModelError(
                f"the loss is no longer a number at step {self.count}: lower 'learning_rate', or set "
                "'precision' to float32, and start again: it goes on from the last checkpoint"
            )

    def _validate(self) -> dict[str, float]:
        network = Trainee(self.result, self.config.location)
        figures = {
            f'{name}/{figure}': value
            for name, entry in self.validation.items()
            for figure, value in entry.measure(network, self.keypoints, self.device).items()
        }
        if self.logs:
            self.logs.write(self.count, figures)
        self.bar.write(
            f'step {self.count}: '
            + ', '.join(f'{name.removeprefix("validation/")} {value:.4g}' for name, value in figures.items())
        )
        return figures

    def _save(self) -> None:
        """All processes come here; the first writes the checkpoint."""
        self._check()
        random = self.group.all_gather(state.random_state(self.device))
        if self.group.is_main:
            state.save(
                self.output / CHECKPOINT,
                dict(
                    **self.state(),
                    scheduler=self.scheduler.state_dict(),
                    scaler=self.scaler.state_dict(),
                    sampler=self.sampler,
                    random=random,
                ),
                self.config,
            )

    def _restore(self, saved: dict) -> None:
        self.count = saved['step']
        self.module.load_state_dict(saved['model'])
        self.optimizer.load_state_dict(saved['optimizer'])
        self.scheduler.load_state_dict(saved['scheduler'])
        self.scaler.load_state_dict(saved['scaler'])
        self.following.restore(saved['average'], self.count)
        if len(saved['random']) == self.group.size:
            state.restore_random_state(saved['random'][self.group.rank], self.device)

    def _introduce(self, logs: Scalars) -> None:
        board = (
            'TensorBoard and JSON Lines'
            if logs.has_tensorboard
            else "JSON Lines (for TensorBoard: pip install 'cliff_ros[train]')"
        )
        people = ', '.join(
            f'{source.kind} ({length or "endless"})'
            for source, length in zip(self.config.data, map(len, self.sources), strict=True)
        )
        print(
            f'{self.config.network} on {self.device}, {self.group.size} process(es), from step {self.count}\n'
            f'people: {people}\nlogs: {board} in {self.output}',
            flush=True,
        )

    def _finish(self, figures: dict[str, float]) -> Path:
        path = write_network(self.result.cpu(), self.bodies.neutral, self.output)
        report = dict(network=path.name, steps=self.count, validation=figures, config=asdict(self.config))
        write_json(self.output / REPORT, report)
        return path


def _precision(name: str, device: torch.device) -> torch.dtype:
    """Of the encoder. On a CPU always float32: half precision is for GPUs."""
    if device.type != 'cuda' or name == 'float32':
        return torch.float32
    if name == 'auto':
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return getattr(torch, name)
