"""The process beside the training of the encoder: the regressor learns skeletons, then the detector learns stills."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from pathlib import Path

import torch

from cliff_ros import assets, signals
from cliff_ros.body import load_body
from cliff_ros.cliff.lifting import LiftingRegressor
from cliff_ros.training import detector
from cliff_ros.training.losses import Skeleton
from cliff_ros.training.pool import Feeder
from cliff_ros.training.progress import Clock, save
from cliff_ros.training.session import DETECTOR, SKELETONS, Log, Settings, free_memory, prepare
from cliff_ros.training.skeletons import SkeletonStage
from cliff_ros.training.weights import write_weights


def run_beside(settings: Settings, began: float) -> None:
    """The process beside: the regressor learns skeletons, then the detector learns stills."""
    signals.leave_interrupts_to_parent()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _learn(settings, began)
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGTERM) from None


def _learn(settings: Settings, began: float) -> None:
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
            made = SkeletonStage(
                LiftingRegressor(),
                Skeleton(load_body()).to(device),
                lambda _: clock.progress(SKELETONS),
                settings.work / 'skeletons_started.pt',
                log=log,
            ).run()
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
    most = 0.12 * torch.cuda.mem_get_info()[1] if device.type == 'cuda' else 0.15 * free_memory()
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
        detector.export_detector(average, folder / assets.DETECTOR.name)

    average = detector.DetectorStage(
        pool,
        network,
        lambda _: clock.progress(interval),
        feeder,
        held_out,
        settings.work / 'detector.pt',
        looks=settings.looks,
        every=min(120.0, max(20.0, clock.total / 6)),
        log=log,
        written=write,
    ).run()
    write(average, settings.output)
    feeder.close()
    log('detector written')
