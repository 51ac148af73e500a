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
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cliff_ros import signals
from cliff_ros.body import load_body
from cliff_ros.cliff.embedded import (
    BLOCKS,
    WIDTHS,
    EmbeddedCliff,
    KeypointEncoder,
    encoder_options,
    from_weights,
    like,
    load_embedded,
    round_to_half,
)
from cliff_ros.cliff.lifting import LiftingRegressor
from cliff_ros.errors import InputError
from cliff_ros.graph.export import export_graph
from cliff_ros.training import detector, keypoints, regressor, skeletons
from cliff_ros.training.losses import Skeleton
from cliff_ros.training.pool import CropPool, Feeder, crop_reader
from cliff_ros.training.progress import Clock, save
from cliff_ros.training.rendering import Plan, Renderers

# Of the time from the first second to the last file; stages of the same process follow each other.
KEYPOINTS, FEATURES, REGRESSOR = (0.0, 0.70), (0.70, 0.77), (0.77, 0.94)
SKELETONS, DETECTOR = (0.0, 0.2), (0.2, 0.9)
GOING_ON = 0.6  # of the encoder's learning rate, for one that was trained before
EARLY = (0.35, 0.55)  # when the network is also written before it is finished
PARTS = (0.0, 0.6)  # of the regressor's crops, each of which is seen so often, the share that shows a part of a person
MOST_FILE = 15 << 20  # bytes of a file of weights; larger ones are written as several
CROP_BYTES = 128 * 96 * 3 + 315 * 4


@dataclass(frozen=True)
class Settings:
    """work: of data and checkpoints; output: of the finished graphs; seconds: from the start to the last file.

    record: of weights, the log, and graphs that are not finished.

    workers: processes in all, two of which train; device: 'auto', 'cpu' or 'cuda'; start: the runtime graph of an
    embedded network whose training goes on; None: from nothing, with an encoder of `encoder`'s options. first: number
    and seed of the first crops. keep: leave what is rendered where a second start finds it. looks: strength of the
    augmentation. plan: of the renderers, other than by default.
    """

    work: Path
    output: Path
    record: Path
    seconds: float
    workers: int = 2
    device: str = 'auto'
    start: Path | None = None
    encoder: dict = field(default_factory=lambda: dict(widths=WIDTHS, middle=64, blocks=BLOCKS))
    detector: dict = field(default_factory=lambda: dict(widths=detector.WIDTHS, dilations=detector.DILATIONS))
    first: int = 0
    keep: bool = True
    looks: float = 1.0
    batch: int = 0
    plan: dict = field(default_factory=dict)

    @property
    def torch_device(self) -> torch.device:
        if self.device == 'auto':
            return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        if self.device == 'cuda' and not torch.cuda.is_available():
            raise InputError('--device cuda: PyTorch finds no GPU here: use --device cpu, or a PyTorch for your GPU')
        return torch.device(self.device)

    def render_plan(self) -> Plan:
        return Plan(self.work / 'rendered', self.first, **self.plan)


class Log:
    """Lines with the time on the clock, on the screen and in a file."""

    def __init__(self, clock: Clock, path: Path, name: str = '') -> None:
        self.clock, self.path, self.name = clock, path, name

    def __call__(self, *words: object) -> None:
        line = f'[{self.clock.elapsed:7.1f} s] ' + ' '.join(map(str, words))
        print(line, flush=True)
        with contextlib.suppress(OSError), self.path.open('a') as file:
            file.write(line + '\n')


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
        beside = multiprocessing.get_context('spawn').Process(target=_beside, args=(settings, clock.began), daemon=True)
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
            if renderers:
                renderers.stop(5)
            if beside.is_alive():
                beside.terminate()
                beside.join(5)
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
            capacity = int(0.35 * _free_memory() / CROP_BYTES)
        pool = CropPool(self.skeleton, self.device, capacity)
        # Virtual machines may take more than what they say is free at the start.
        self.unseen = CropPool(
            Skeleton(load_body()), 'cpu', max(int(0.25 * _free_memory() / CROP_BYTES), 400_000 if cuda else 0)
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
            def take(most: int) -> list:
                for tensors in unseen.take(most):
                    self.unseen.add(*tensors)
                if not len(self.validation):
                    for path in self._held_out():
                        self.validation.add(*read(path))
                return seen.take(most)

        length = (KEYPOINTS[1] - KEYPOINTS[0]) * self.clock.total
        self.encoder = keypoints.train(
            pool,
            self.validation,
            encoder,
            lambda _: self.clock.progress(KEYPOINTS),
            All,
            settings.work / 'keypoints.pt',
            settings.batch,
            rate,
            settings.looks,
            min(150.0, max(15.0, length / 10)),
            self.log,
            look,
        )
        write_weights(self.encoder, settings.record, 'encoder')
        for tensors in unseen.take_all(0, timeout=max(3.0, 0.02 * self.clock.total)):
            self.unseen.add(*tensors)
        All.take(0)
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
        model = self._model(self.encoder).to(self.device, memory_format=torch.channels_last)
        if not len(self.unseen):
            self._write(model)
            self.log(f"no crops for the regressor in '{self.plan.unseen}': it knows only skeletons; give it more time")
            self.failed = True
            return
        validation = {
            name: regressor.extract(model, self.validation, parts=parts, looks=0.0)
            for name, parts in (('whole', 0.0), ('parts', 1.0))
            if len(self.validation)
        }
        sets, begin = [], clock.share
        last = max(FEATURES[1], begin + 0.35 * (REGRESSOR[1] - begin))
        for k, parts in enumerate(PARTS):
            end = begin + (last - begin) * (k + 1) / len(PARTS)
            sets.append(
                regressor.extract(
                    model, self.unseen, True, parts, self.settings.looks, until=lambda end=end: clock.share > end
                )
            )
            self.log(f'features of {len(sets[-1][0])} crops and mirrored crops')
        self.unseen.blocks.clear()
        interval = (clock.share, REGRESSOR[1])
        best = regressor.train(
            model.regressor,
            *regressor.joined(sets),
            validation,
            self.skeleton,
            lambda _: clock.progress(interval),
            log=self.log,
        )
        model.regressor.load_state_dict(best.state_dict())
        self._write(model)

    def _write(self, model: EmbeddedCliff) -> None:
        model = model.to('cpu', memory_format=torch.contiguous_format)
        write_weights(model.regressor, self.settings.record, 'regressor')
        export_embedded(model, self.settings.output)
        self.log('network written')


def _beside(settings: Settings, began: float) -> None:
    """The process beside: the regressor learns skeletons, then the detector learns stills."""
    signals.leave_interrupts_to_parent()
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    clock, device = Clock(settings.seconds, began), settings.torch_device
    log = Log(clock, settings.record / 'training_beside.log')
    prepare(device, settings.workers)
    try:
        torch.zeros(1, device=device)
    except RuntimeError as error:  # a GPU that takes one process only
        log(f'beside: {error}; on the CPU from here on')
        device = torch.device('cpu')
    path, failed = settings.work / 'skeletons.pt', False
    try:
        if not settings.start and clock.progress(SKELETONS) < 1:  # a trained regressor knows them, and more
            made = skeletons.train(
                LiftingRegressor(),
                Skeleton(load_body()).to(device),
                clock,
                SKELETONS,
                settings.work / 'skeletons_started.pt',
                log=log,
            )
            save(path, regressor=made.state_dict())
            log('skeletons: done')
    except Exception:  # noqa: BLE001  the detector needs none
        failed = True
        log('skeletons failed:', traceback.format_exc())
    try:
        _detector(settings, clock, device, log)
    except Exception:  # noqa: BLE001
        failed = True
        log('detector failed:', traceback.format_exc())
    if failed:
        raise SystemExit(1)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, however that ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _detector(settings: Settings, clock: Clock, device: torch.device, log: Log) -> None:
    plan = settings.render_plan()
    most = 0.12 * torch.cuda.mem_get_info()[1] if device.type == 'cuda' else 0.15 * _free_memory()
    pool, held_out = detector.StillPool(device, most), detector.StillPool(device)
    feeder = Feeder(plan.frames, 'stills_[0-8]*.npz', lambda path: (detector.read_stills(path),), settings.keep)
    for (sizes,) in feeder.take_all(timeout=max(30.0, clock.total)):
        pool.add(sizes)
    for path in sorted(plan.held_out.glob('stills_*.npz')):
        if '.partial' not in path.name:
            held_out.add(detector.read_stills(path))
    log(f'detector: {len(pool)} frames at the start')
    network = detector.PersonDetector(**settings.detector)
    interval = (DETECTOR[0] if not settings.start else 0.0, DETECTOR[1])

    def write(average: detector.PersonDetector, folder: Path = settings.record) -> None:
        write_weights(average, settings.record, 'detector')
        detector.export_detector(average, folder / 'detector_embedded.onnx')

    average = detector.train(
        pool,
        network,
        lambda _: clock.progress(interval),
        feeder,
        held_out,
        settings.work / 'detector.pt',
        looks=settings.looks,
        every=min(120.0, max(20.0, clock.total / 6)),
        log=log,
        look=write,
    )
    write(average, settings.output)
    feeder.close()
    log('detector written')


def _export(path: Path, output: Path) -> None:
    """An early graph, from a file of `_Run._early`."""
    torch.set_num_threads(1)
    weights = torch.load(path, weights_only=True)['model']
    model = like(weights)
    model.load_state_dict(weights)
    export_embedded(model, output)


def prepare(device: torch.device, workers: int) -> None:
    """What a process that trains sets once: two of them share the cores with the renderers."""
    torch.set_num_threads(2 if device.type == 'cuda' else max(1, workers // 2))
    torch.set_flush_denormal(True)  # decayed weights are denormal in the end, and those cost many times the others
    if device.type == 'cuda':
        torch.backends.cudnn.benchmark = True


def describe(device: torch.device) -> str:
    if device.type == 'cuda':
        return f'{torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}'
    return f'{torch.get_num_threads()} CPU threads, PyTorch {torch.__version__}'


def _free_memory() -> float:
    """Bytes that a process may take."""
    with open('/proc/meminfo') as file:
        for line in file:
            if line.startswith('MemAvailable'):
                return int(line.split()[1]) * 1024.0
    return 4e9


def write_weights(module: torch.nn.Module, output: Path, name: str) -> None:
    """The state of a module for `read_weights_of`, large tensors in half precision, in files of 15 MiB at most."""
    parts: list[dict] = [{}]
    size = 0
    for key, value in module.state_dict().items():
        value = value.detach().cpu()
        value = value.half() if value.is_floating_point() and value.numel() >= 1024 else value.clone()
        if size + value.numel() * value.element_size() > MOST_FILE:
            parts.append({})
            size = 0
        parts[-1][key] = value
        size += value.numel() * value.element_size()
    for k, part in enumerate(parts):
        save(output / (f'{name}.pt' if k == 0 else f'{name}_{k}.pt'), **part)


def read_weights_of(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """What `write_weights` wrote, in float32."""
    files = [folder / f'{name}.pt', *sorted(folder.glob(f'{name}_[0-9].pt'))]
    if not files[0].exists():
        raise InputError(f"there is no '{files[0]}': give the folder in which a training left its weights")
    state: dict[str, torch.Tensor] = {}
    for file in files:
        state |= torch.load(file, weights_only=True, map_location='cpu')
    return {key: value.float() if value.dtype == torch.float16 else value for key, value in state.items()}


def export_trained(folder: Path, output: Path) -> None:
    """Graphs of the weights that a training left in its output folder."""
    weights = {
        f'{name}.{key}': value
        for name in ('encoder', 'regressor')
        for key, value in read_weights_of(folder, name).items()
    }
    export_embedded(from_weights(weights, folder), output)


def export_embedded(model: EmbeddedCliff, output: Path) -> None:
    """Write the runtime graph that the package ships."""
    export_graph(round_to_half(model).eval(), load_body(), output / 'cliff_embedded.onnx', licence='Apache-2.0')
