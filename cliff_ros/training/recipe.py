"""How the embedded weights are made: the stages in order, what each leaves behind, how the time is shared."""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch

from cliff_ros.body import load_body
from cliff_ros.cliff.embedded import EmbeddedCliff, load_embedded, round_to_half
from cliff_ros.cliff.lifting import LiftingRegressor
from cliff_ros.engine.export import export_graph
from cliff_ros.errors import InputError
from cliff_ros.training import data, detector, joint, keypoints, regressor, skeletons
from cliff_ros.training.losses import Skeleton

# Of the crops and of the detector's frames: wild poses, much in front of people, strong camera effects. The others are
# everyday scenes, which most users have: with only wild ones a small network spends itself on what is hardly seen.
WILD_CROPS, WILD_STILLS = .4, .5
UNSEEN = 1 / 3  # as many crops as that come on top, for the regressor: of those it saw, the encoder is too sure
GOING_ON = .6  # of the encoder's learning rate, for one that was trained before
# Shares of the training time; `joint` is not part of the default recipe and comes on top.
SHARES = dict(keypoints=.46, skeletons=.12, regressor=.13, detector=.29, joint=.25)


class Recipe:
    """work: a folder of data and checkpoints; output: of the graphs; seconds: of training, all stages together.

    device: where torch draws the data ('cuda'); '' for the rasteriser on the CPU.
    start: the runtime graph of an embedded network whose training goes on; None: from nothing.
    """

    def __init__(self, work: Path, output: Path, seconds: float, workers: int, device: str = '',
                 start: Path | None = None) -> None:
        self.work, self.output, self.workers, self.device = work, output, workers, device
        self.start = load_embedded(start) if start else None
        self.seconds = {stage: share * seconds for stage, share in SHARES.items()}
        self.skeleton = Skeleton(load_body())
        self.crops, self.unseen, self.frames = work / 'crops', work / 'unseen', work / 'stills'
        self.log = partial(print, flush=True)
        work.mkdir(parents=True, exist_ok=True)

    @property
    def _validation(self) -> Path:
        return data.shard_path(self.crops, data.VALIDATION_SHARD)

    def render(self, shards: int, stills: int, shard_size: int = data.SHARD_SIZE, still_size: int = 999,
               first: int = 0) -> None:
        """Training data, wild ones first, and everyday crops to validate with: three quarters of a shard.

        first: number and seed of the first shard of crops.
        """
        for folder in (self.crops, self.unseen, self.frames):
            folder.mkdir(exist_ok=True)
        data.render_shard(self.crops, data.VALIDATION_SHARD, shard_size * 3 // 4, everyday=True)
        for folder, count in ((self.crops, shards), (self.unseen, math.ceil(UNSEEN * shards))):
            wild = round(WILD_CROPS * count)
            for some, everyday in ((wild, False), (count - wild, True)):
                data.render(folder, first, some, self.workers, shard_size, everyday=everyday, device=self.device)
                first += some
        jobs = {self.frames / f'stills_{seed:06d}.npz': (seed, still_size, seed > WILD_STILLS * stills, self.device)
                for seed in range(1, stills + 1)}
        with ProcessPoolExecutor(self.workers) as pool:
            for done in [pool.submit(detector.render_stills, path, *job)
                         for path, job in jobs.items() if not path.exists()]:
                done.result()

    def keypoints(self) -> None:
        going_on = {}
        if self.start:
            encoder = self.start.encoder.train()
            encoder.stem.requires_grad_(False)  # edges are known, and a seventh of the time goes there
            going_on = dict(encoder=encoder, rate=keypoints.RATE * GOING_ON)
        keypoints.train(self.crops, self._validation, self.work / 'keypoints.pt', self.skeleton,
                        self.seconds['keypoints'], log=self.log, **going_on)

    def skeletons(self) -> None:
        path = self.work / 'skeletons.pt'
        if not path.exists() and not self.start:  # a trained regressor knows them, and more
            made = LiftingRegressor()
            skeletons.train(made, self.skeleton, self.seconds['skeletons'], log=self.log)
            torch.save(made.state_dict(), path)

    def regressor(self) -> None:
        path = self.work / 'regressor.pt'
        if path.exists():
            return
        store = keypoints.CropStore(self.unseen, self.skeleton)
        if not len(store):
            raise InputError(f"no crops for the regressor in '{self.unseen}': run the stage 'render' first")
        model = (self.start or EmbeddedCliff()).to(memory_format=torch.channels_last)
        model.encoder.load_state_dict(torch.load(self.work / 'keypoints.pt', weights_only=True)['encoder'])
        if not self.start:
            model.regressor.load_state_dict(torch.load(self.work / 'skeletons.pt', weights_only=True))
        held_out = keypoints.CropStore(self.crops, self.skeleton, pattern=self._validation.name)
        regressor.train(model, store, self.work / 'features.pt', regressor.extract(model, held_out),
                        self.skeleton, self.seconds['regressor'], log=self.log)
        torch.save(model.state_dict(), path)
        export_embedded(model, self.output)

    def joint(self) -> None:
        model = EmbeddedCliff()
        model.load_state_dict(torch.load(self.work / 'regressor.pt', weights_only=True))
        model = joint.train(model, self.crops, self._validation, self.work / 'joint.pt', self.skeleton,
                            self.seconds['joint'], log=self.log)
        export_embedded(model, self.output)

    def detector(self) -> None:
        files = sorted(p for p in self.frames.glob('stills_[0-8]*.npz') if '.partial' not in p.name)
        network = detector.train(files, self.work / 'detector.pt', self.seconds['detector'], log=self.log)
        detector.export_detector(network, self.output / 'detector_embedded.onnx')


def export_embedded(model: EmbeddedCliff, output: Path) -> None:
    """Write the runtime graph that the package ships."""
    export_graph(round_to_half(model).eval(), load_body(), output / 'cliff_embedded.onnx', licence='Apache-2.0')
