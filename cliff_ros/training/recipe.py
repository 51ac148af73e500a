"""How the embedded weights are made, in one go: some processes render, one trains the encoder and then the regressor on
what they render, one the detector, all at the same time, until the time is over.

Everything follows one clock, so that a machine that is lent for ten minutes and one that is there all night run the
same training. Whatever is finished is written at once, and written again when it is better.
"""

from __future__ import annotations

import contextlib
import copy
import json
import multiprocessing
import sys
import time
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from cliff_ros.body import load_body
from cliff_ros.cliff.embedded import EmbeddedCliff, KeypointEncoder, encoder_options, like, load_embedded
from cliff_ros.cliff.lifting import LiftingRegressor
from cliff_ros.errors import InputError
from cliff_ros.training import keypoints
from cliff_ros.training.beside import run_beside
from cliff_ros.training.lifting_stage import LiftingStage, extract, joined
from cliff_ros.training.losses import Skeleton
from cliff_ros.training.pool import CropPool, Feeder, crop_reader
from cliff_ros.training.progress import Clock, channels_last_of, plain_of, save
from cliff_ros.training.rendering import Renderers
from cliff_ros.training.session import FEATURES, KEYPOINTS, REGRESSOR, Log, Settings, describe, free_memory, prepare
from cliff_ros.training.weights import export_embedded, write_weights

GOING_ON = 0.6  # of the encoder's learning rate, for one that was trained before
EARLY = (0.35, 0.55)  # when the network is also written before it is finished
PARTS = (0.0, 0.6)  # of the regressor's crops, each of which is seen so often, the share that shows a part of a person
PATIENCE = 0.4  # [s] with the other processes, when somebody waits for the end
CROP_BYTES = 128 * 96 * 3 + 315 * 4


def train(settings: Settings, began: float | None = None, renderers: Renderers | None = None) -> bool:
    """The whole training; whether all of it worked. What is there when something fails is written all the same.

    began: when its time began to run, if earlier than now [s of the monotonic clock]; renderers: of the settings' plan,
    where they are at work already.
    """
    return _Run(settings, began).run(renderers)


class _Run:
    """The main process: renderers, encoder, regressor, and the process beside it."""

    def __init__(self, settings: Settings, began: float | None) -> None:
        self.settings, self.device = settings, settings.torch_device
        settings.work.mkdir(parents=True, exist_ok=True)
        settings.record.mkdir(parents=True, exist_ok=True)
        self._elapsed_file = settings.work / 'elapsed.json'
        elapsed = json.loads(self._elapsed_file.read_text()) if self._elapsed_file.exists() else 0.0
        if elapsed >= REGRESSOR[1] * settings.seconds:
            raise InputError(
                f"the training in '{settings.work}' has had its {elapsed / 60:.1f} minutes: give it more, "
                'or another --work'
            )
        self.clock = Clock(settings.seconds, (began or time.monotonic()) - elapsed)
        self.log = Log(self.clock, settings.record / 'training.log')
        self.plan, self.failed = settings.render_plan(), False
        self.skeleton = Skeleton(load_body()).to(self.device)
        self.start = load_embedded(settings.start) if settings.start else None
        self.encoder: KeypointEncoder | None = None
        self._written = 0

    def run(self, renderers: Renderers | None) -> bool:
        settings, clock = self.settings, self.clock
        prepare(self.device, settings.workers)
        self.log(
            f'{clock.total:.0f} s of training on {describe(self.device)}, {settings.workers} workers, '
            f'{clock.elapsed:.0f} s already over'
        )
        if not renderers and clock.share < KEYPOINTS[1]:
            renderers = Renderers(self.plan, settings.workers - 2)
        beside = multiprocessing.get_context('spawn').Process(
            target=run_beside, args=(settings, clock.began), daemon=True
        )
        beside.start()
        feeders: list[Feeder] = []
        try:
            with self.attempt('keypoints'):
                seen, unseen = self._feeder(self.plan.seen, self.device.type == 'cuda'), self._feeder(self.plan.unseen)
                feeders = [seen, unseen]
                self._keypoints(seen, unseen)
            if renderers:
                renderers.stop(1.0)
            with self.attempt('regressor'):
                self._regressor()
            self._keep_time()
            beside.join(max(30.0, clock.total * 0.985 - clock.elapsed))
            if beside.is_alive():
                self.log('the detector does not come to its end and is left as it was last written')
                beside.terminate()
                self.failed = True
            elif beside.exitcode:
                self.failed = True
        finally:
            self._keep_time()
            for feeder in feeders:
                feeder.close()
            patience = PATIENCE if isinstance(sys.exc_info()[1], KeyboardInterrupt) else 5.0
            if beside.is_alive():
                beside.terminate()
            if renderers:
                renderers.stop(patience)
            beside.join(patience)
            if beside.is_alive():  # what it writes is whole or absent
                beside.kill()
                beside.join()
        self.log('finished' if not self.failed else 'finished, but not all of it: see above')
        return not self.failed

    @contextlib.contextmanager
    def attempt(self, stage: str) -> Iterator[None]:
        """A stage that may fail without taking the others with it."""
        self.log(f'== {stage}')
        try:
            yield
        except InputError:
            raise
        except Exception:  # noqa: BLE001  what is there will still be written
            self.failed = True
            self.log(f'{stage} failed:', traceback.format_exc())

    def _keep_time(self) -> None:
        self._elapsed_file.write_text(json.dumps(round(self.clock.elapsed, 1)))

    def _feeder(self, folder: Path, pinned: bool = False) -> Feeder:
        return Feeder(folder, 'crops_[0-8]*.npz', crop_reader(pinned), self.settings.keep)

    def _keypoints(self, seen: Feeder, unseen: Feeder) -> None:
        settings, cuda = self.settings, self.device.type == 'cuda'
        if cuda:
            free = torch.cuda.mem_get_info()[0]
            self.log(f'{free / 1e9:.1f} GB free on the GPU')
            capacity = int(0.55 * free / CROP_BYTES)
        else:
            capacity = int(0.35 * free_memory() / CROP_BYTES)
        pool = CropPool(self.skeleton, self.device, capacity)
        # Virtual machines may take more than what they say is free at the start.
        self.unseen = CropPool(
            Skeleton(load_body()), 'cpu', max(int(0.25 * free_memory() / CROP_BYTES), 400_000 if cuda else 0)
        )
        self.validation = CropPool(self.skeleton, self.device, 1 << 40, block=4000)
        read = crop_reader(False)
        for tensors in seen.take_all(min(8, max(1, settings.workers - 2)), timeout=max(600.0, 0.3 * self.clock.total)):
            pool.add(*tensors)
        if not len(pool):
            raise InputError(f"no crops came to '{self.plan.seen}': see what the renderers say above")
        self.log(f'{len(pool)} crops at the start; at most {pool.capacity} are kept')
        encoder, rate = KeypointEncoder(**settings.encoder), keypoints.RATE.get(self.device.type, 2.5e-3)
        if self.start:
            encoder, rate = self.start.encoder.train(), rate * GOING_ON
            if not cuda:
                encoder.stem.requires_grad_(False)  # edges are known, and a seventh of the time goes there
        self.log(
            f'encoder of {sum(p.numel() for p in encoder.parameters()) / 1e6:.2f} M parameters:',
            encoder_options({'encoder.' + k: v for k, v in encoder.state_dict().items()}),
        )
        early = [share for share in EARLY if share > self.clock.share]

        def look(average: KeypointEncoder) -> None:
            self._keep_time()
            self.encoder = average
            write_weights(average, settings.record, 'encoder')
            if early and self.clock.share > early[0]:
                early.pop(0)
                self._early(average)

        class All:
            """Hands over what is to be trained on, and puts aside what is not."""

            @staticmethod
            def take(most: int) -> list[tuple]:
                for tensors in unseen.take(most):
                    self.unseen.add(*tensors)
                if not len(self.validation):
                    for path in self._held_out():
                        self.validation.add(*read(path))
                return seen.take(most)

        length = (KEYPOINTS[1] - KEYPOINTS[0]) * self.clock.total
        self.encoder = keypoints.KeypointStage(
            pool,
            self.validation,
            encoder,
            lambda _: self.clock.progress(KEYPOINTS),
            All(),
            settings.work / 'keypoints.pt',
            settings.batch,
            rate,
            settings.looks,
            min(150.0, max(15.0, length / 10)),
            self.log,
            look,
        ).run()
        write_weights(self.encoder, settings.record, 'encoder')
        for tensors in unseen.take_all(0, timeout=max(3.0, 0.02 * self.clock.total)):
            self.unseen.add(*tensors)
        All().take(0)
        self.log(f'{len(self.unseen)} crops that the encoder did not see')
        del pool

    def _held_out(self) -> list[Path]:
        """The files to validate on, when all are there."""
        found = [p for p in sorted(self.plan.held_out.glob('crops_*.npz')) if '.partial' not in p.name]
        return found if len(found) >= -(-self.plan.validation // self.plan.crop_part) else []

    def _early(self, average: KeypointEncoder) -> None:
        """Write the network as it is, with the regressor that knows skeletons, in a process of its own."""
        with self.attempt('early export'):
            path = self.settings.work / 'early.pt'
            model = self._model(average)
            save(path, model={k: v.cpu() for k, v in model.state_dict().items()})
            multiprocessing.get_context('spawn').Process(
                target=_export, args=(path, self.settings.record), daemon=True
            ).start()

    def _model(self, encoder: KeypointEncoder) -> EmbeddedCliff:
        """A copy on the CPU of the encoder, with the best regressor that there is."""
        options = encoder_options({'encoder.' + k: v for k, v in encoder.state_dict().items()})
        model = EmbeddedCliff(options)
        model.encoder.load_state_dict({k: v.cpu() for k, v in encoder.state_dict().items()})
        model.regressor = self._pretrained()
        return model.eval()

    def _pretrained(self) -> LiftingRegressor:
        if self.start:
            return copy.deepcopy(self.start.regressor)
        made, path = LiftingRegressor(), self.settings.work / 'skeletons.pt'
        if path.exists():
            made.load_state_dict(torch.load(path, weights_only=True, map_location='cpu')['regressor'])
        return made

    def _regressor(self) -> None:
        clock = self.clock
        if self.encoder is None:
            raise InputError('there is no encoder: see above')
        model = channels_last_of(self._model(self.encoder), self.device)
        if not len(self.unseen):
            self._write(model)
            self.log(f"no crops for the regressor in '{self.plan.unseen}': it knows only skeletons; give it more time")
            self.failed = True
            return
        validation = {
            name: extract(model, self.validation, parts=parts, looks=0.0)
            for name, parts in (('whole', 0.0), ('parts', 1.0))
            if len(self.validation)
        }
        sets, begin = [], clock.share
        last = max(FEATURES[1], begin + 0.35 * (REGRESSOR[1] - begin))
        for k, parts in enumerate(PARTS):
            end = begin + (last - begin) * (k + 1) / len(PARTS)
            sets.append(
                extract(model, self.unseen, True, parts, self.settings.looks, until=partial(clock.is_past, end))
            )
            self.log(f'features of {len(sets[-1][0])} crops and mirrored crops')
        self.unseen.blocks.clear()
        interval = (clock.share, REGRESSOR[1])
        best = LiftingStage(
            model.regressor, *joined(sets), validation, self.skeleton, lambda _: clock.progress(interval), log=self.log
        ).run()
        model.regressor.load_state_dict(best.state_dict())
        self._write(model)

    def _write(self, model: EmbeddedCliff) -> None:
        model = plain_of(model)
        write_weights(model.regressor, self.settings.record, 'regressor')
        export_embedded(model, self.settings.output)
        self.log('network written')


def _export(path: Path, output: Path) -> None:
    """An early graph, from a file of `_Run._early`."""
    torch.set_num_threads(1)
    weights = torch.load(path, weights_only=True)['model']
    model = like(weights)
    model.load_state_dict(weights)
    export_embedded(model, output)
