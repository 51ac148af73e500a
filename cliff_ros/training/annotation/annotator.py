"""CLIFF's annotator (Li et al., ECCV 2022, section 3.4): what a pretrained network says of a whole set is the prior;
the network is then taught the set, by its 2D keypoints in the full frame and by not leaving the prior; and asked again.

Batch norms and dropout stand still, as in EFT: otherwise the network that is asked would not be the one taught.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cliff_ros.body import BodyModel
from cliff_ros.cliff import load_model
from cliff_ros.errors import InputError, ModelError
from cliff_ros.files import make_folder, save_tensors, write_aside, write_json
from cliff_ros.training.published.batches import BatchPlan, Mixture, collate, in_sentences, loader
from cliff_ros.training.published.crop_sources import Source
from cliff_ros.training.published.objective import Keypoints, residual

FORMAT = 1
CHUNK = 1024  # people in a file of predictions: what a second start need not do again
SAVE_EVERY = 120.0  # [s]
SMALL = 1e-4  # of a squared distance of rotations: below, it is a square again
FARTHEST = 1.0  # [box sizes] a keypoint this far off pulls no harder: it may be marked wrong
Report = Callable[[str, int, int], None]  # what, how many are done, of how many


@dataclass(frozen=True)
class Settings:
    """How the network is taught.

    epochs over the whole set, in batches; rate: of Adam, falling along a cosine to a twentieth. reprojection, pose,
    betas: weights of the mean distance of keypoints [box sizes], of the mean distance of rotation matrices from the
    prior's, and of the mean squared difference of betas; prior: False leaves the latter two out. Distances, not their
    squares: where the prior is right nothing moves, and where it is quite wrong it does not hold on.
    """

    epochs: int = 24
    batch: int = 32
    rate: float = 3e-4
    reprojection: float = 10.0
    pose: float = 0.3
    betas: float = 0.05
    prior: bool = True
    seed: int = 0
    workers: int = 0

    @property
    def name(self) -> str:
        """Of what is written for it."""
        return 'annotated' if self.prior else 'without_prior'


@dataclass(frozen=True)
class Estimates:
    """What a network says of N people, each in the view of their crop: rotations (N, 24, 3, 3), betas (N, 10),
    camera (N, 3) relative to the crop's height."""

    rotations: np.ndarray
    betas: np.ndarray
    camera: np.ndarray

    def tensors(self, rows: np.ndarray | slice = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
        """Some of them, for torch."""
        rotations, betas, camera = (
            torch.from_numpy(np.ascontiguousarray(values[rows])) for values in (self.rotations, self.betas, self.camera)
        )
        return rotations, betas, camera


class Annotator:
    """Annotates the people of a source with a network of any dialect that regresses SMPL.

    model: as of `load_model`. work: folder in which everything is kept that a second start need not do again.
    device: of torch. about: whose people they are, so that a second start on others is refused.
    """

    def __init__(
        self, model: str, body: BodyModel, people: Source, work: Path, device: str = 'auto', about: str = ''
    ) -> None:
        self.model, self.body, self.people, self.work = model, body, people, work
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.device = torch.device(device)
        network = load_model(model)
        if getattr(network, 'body', 'smpl') != 'smpl':
            raise ModelError(f"'{model}' regresses {network.body}: annotations are of SMPL; give a network for SMPL")
        self._side = float(getattr(getattr(network, 'conventions', None), 'side', 1.0))
        self._network: nn.Module = network
        self.spec = network.spec
        self.keypoints = Keypoints(body).to(self.device)
        make_folder(work)
        _check(work / 'about.json', {'model': str(model), 'people': len(people), 'labels': about})

    def prior(self, report: Report) -> Estimates:
        """Step one: the pretrained network's predictions of everybody."""
        return self._predictions(load_model(self.model), 'prior', report)

    def annotate(self, settings: Settings, prior: Estimates, report: Report) -> Estimates:
        """Steps two and three: teach the network the set, then ask it again."""
        return self._predictions(self._taught(settings, prior, report), settings.name, report)

    # ---- asking

    def _predictions(self, network: nn.Module, name: str, report: Report) -> Estimates:
        network, count = network.to(self.device).eval(), len(self.people)
        parts = []
        for begin in range(0, count, CHUNK):
            end = min(begin + CHUNK, count)
            path = self.work / f'{name}_{begin:09d}.npz'
            found = _read(path, end - begin)
            if found is None:
                found = self._ask(network, range(begin, end), name, report)
                with write_aside(path) as partial, open(partial, 'wb') as file:
                    np.savez(file, **asdict(found))
            parts.append(found)
            report(name, end, count)
        return Estimates(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in ('rotations', 'betas', 'camera'))
        )

    @torch.no_grad()
    def _ask(self, network: nn.Module, which: range, name: str, report: Report) -> Estimates:
        outs = []
        for begin in range(which.start, which.stop, 64):
            chosen = range(begin, min(begin + 64, which.stop))
            images, truth = collate([self.people.crop(i, np.random.default_rng(0), None) for i in chosen])
            outs.append([out.cpu().numpy() for out in self._forward(network, images, truth)])
            report(name, chosen.stop, len(self.people))
        return Estimates(*(np.concatenate(column) for column in zip(*outs, strict=True)))

    def _forward(self, network: nn.Module, images: Tensor, truth: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Rotations, betas and camera, whose scale is relative to the crop's height whatever the dialect."""
        images, location = images.to(self.device), truth['location'].to(self.device)
        model: Any = network
        rotations, betas, camera = model(model.normalize(images), model.bbox_info(location))
        return rotations, betas, torch.cat([camera[:, :1] * self._side, camera[:, 1:]], 1)

    # ---- teaching

    def _taught(self, settings: Settings, prior: Estimates, report: Report) -> nn.Module:
        network = load_model(self.model).to(self.device).eval().requires_grad_(True)
        count = len(self.people)
        batch = min(settings.batch, count)
        steps = settings.epochs * math.ceil(count / batch)
        optimizer = torch.optim.Adam(network.parameters(), settings.rate)
        path, start = self.work / f'{settings.name}.pt', 0
        saved = self._saved(path, settings)
        if saved:
            network.load_state_dict(saved['network'])
            optimizer.load_state_dict(saved['optimizer'])
            start = saved['step']

        def save(step: int) -> None:
            state = dict(network=network.state_dict(), optimizer=optimizer.state_dict(), step=step)
            with write_aside(path) as partial:
                save_tensors(state | dict(format=FORMAT, settings=self._about(settings)), partial)

        plan = BatchPlan([count], [1.0], batch, steps, settings.seed, start)
        mixture = _Numbered([self.people], None, settings.seed)
        batches = in_sentences(loader(mixture, plan, settings.workers, False, _numbered))
        step, since = start, time.monotonic()
        try:
            for (images, truth), numbers in batches:
                for group in optimizer.param_groups:
                    group['lr'] = settings.rate * (0.475 * (1 + math.cos(math.pi * step / steps)) + 0.05)
                loss = self._loss(self._forward(network, images, truth), truth, prior.tensors(numbers), settings)
                if not torch.isfinite(loss):
                    raise ModelError(f'the loss is no longer a number at step {step}: lower --rate')
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()
                step += 1
                report(f'teaching ({settings.name})', step, steps)
                if time.monotonic() - since > SAVE_EVERY:
                    save(step)
                    since = time.monotonic()
        except KeyboardInterrupt:
            save(step)
            raise
        if step > start:
            save(step)
        return network

    def _loss(
        self,
        predicted: tuple[Tensor, Tensor, Tensor],
        truth: dict[str, Tensor],
        prior: tuple[Tensor, Tensor, Tensor],
        settings: Settings,
    ) -> Tensor:
        """The full frame's 2D loss, and how far the bodies are from the prior's."""
        rotations, betas, camera = predicted
        truth = {name: value.to(self.device) for name, value in truth.items()}
        off = residual(self.keypoints(betas, rotations), camera, truth).norm(dim=-1).clamp(max=FARTHEST)
        weight = truth['confidence']
        loss = settings.reprojection * (off * weight).sum() / weight.sum().clamp(min=1e-6)
        loss = loss + torch.exp((-20 * camera[:, 0]).clamp(max=40)).mean()  # the camera's scale stays positive
        if settings.prior:
            before = [value.to(self.device) for value in prior]
            off = ((rotations - before[0]) ** 2).sum((2, 3))
            loss = loss + settings.pose * torch.sqrt(off + SMALL).mean()
            loss = loss + settings.betas * ((betas - before[1]) ** 2).mean()
        return loss

    def _about(self, settings: Settings) -> dict[str, object]:
        """What a checkpoint belongs to."""
        return asdict(settings) | dict(model=str(self.model), people=len(self.people), workers=0)

    def _saved(self, path: Path, settings: Settings) -> dict | None:
        """The state of a training that was stopped; InputError where it was another one."""
        if not path.exists():
            return None
        from cliff_ros.cliff.checkpoints import unpickle

        state = unpickle(path)
        if not isinstance(state, dict) or state.get('format') != FORMAT or state['settings'] != self._about(settings):
            raise InputError(f"'{path}' is of an annotation with other options: give another --work, or remove it")
        return state

    # ---- measuring

    @torch.no_grad()
    def points(self, estimates: Estimates, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Keypoints (N, 29, 3) [m] of bodies, SMPL's translation zero."""
        rotations, betas, _ = estimates.tensors(rows)
        return self.keypoints(betas.to(self.device), rotations.to(self.device)).cpu().numpy()

    @torch.no_grad()
    def reprojection(self, estimates: Estimates) -> np.ndarray:
        """Mean distance (N,) of keypoints from where they are marked [box sizes]; NaN where none is."""
        errors = np.full(len(self.people), np.nan)
        for begin in range(0, len(self.people), 64):
            rows = np.arange(begin, min(begin + 64, len(self.people)))
            _, truth = collate([self.people.crop(int(i), np.random.default_rng(0), None) for i in rows])
            rotations, betas, camera = estimates.tensors(rows)
            points = self.keypoints(betas.to(self.device), rotations.to(self.device)).cpu()
            off, weight = residual(points, camera, truth).norm(dim=-1), truth['confidence']
            number = weight.sum(1)
            mean = ((off * weight).sum(1) / number.clamp(min=1e-6)).numpy()
            errors[rows] = np.where(number.numpy() > 0, mean, np.nan)
        return errors


class _Numbered(Mixture):
    """Batches that also say whose they are."""

    def __getitem__(self, key):  # type: ignore[override]
        image, truth = super().__getitem__(key)
        return image, truth, key[1]


def _numbered(items: list) -> tuple[tuple[Tensor, dict[str, Tensor]], np.ndarray]:
    return collate([(image, truth) for image, truth, _ in items]), np.array([number for *_, number in items])


def _read(path: Path, count: int) -> Estimates | None:
    """Predictions that were written whole; None where there are none of so many people."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = Estimates(file['rotations'], file['betas'], file['camera'])
    except (OSError, KeyError, ValueError, EOFError):
        return None
    return found if len(found.betas) == count else None


def _check(path: Path, about: dict[str, object]) -> None:
    """Note what a folder's files belong to; InputError where they belong to something else."""
    if not path.exists():
        write_json(path, about)
        return
    try:
        before = json.loads(path.read_bytes())
    except (OSError, ValueError):
        before = None
    if before != about:
        raise InputError(
            f"'{path.parent}' holds an annotation of other people or by another network: give another --work"
        )
