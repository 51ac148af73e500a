"""Which encoder: accuracy of crops against milliseconds, every candidate trained with the same samples.

    python bench/encoders.py --work out/train --samples 80000

Needs the crops that ``cliff train --work out/train`` rendered. Candidates differ in width; their structure is
`cliff_ros.cliff.embedded.KeypointEncoder`'s. Times are of ONNX Runtime on one thread, one look at one crop.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from cliff_ros.body import load_body
from cliff_ros.cliff.embedded import CROP_HEIGHT, CROP_WIDTH, KeypointEncoder
from cliff_ros.engine.onnx_engine import open_session
from cliff_ros.training import keypoints
from cliff_ros.training.losses import Skeleton
from cliff_ros.training.pool import of_folder
from cliff_ros.training.rendering import Plan

CANDIDATES = {
    'narrow': dict(widths=(12, 20, 36, 72, 112), middle=32),
    'middle': dict(widths=(16, 32, 56, 112, 176), middle=48),
    'shipped': dict(),
}
BATCH, REPEATS = 64, 200


class OneLook(torch.nn.Module):
    """An encoder without its second look at the mirrored crop."""

    def __init__(self, encoder: KeypointEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.encoder.features(self.encoder.maps(crops))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work', type=Path, default=Path('out/train'))
    parser.add_argument('--samples', type=int, default=80_000, help='crops each candidate sees')
    parser.add_argument('--report', type=Path, help='write the figures as JSON')
    args = parser.parse_args()
    torch.set_num_threads(1)
    plan, skeleton = Plan(args.work / 'rendered'), Skeleton(load_body())
    crops, validation = (of_folder(folder, skeleton) for folder in (plan.seen, plan.held_out))
    sessions, report, steps = {}, {}, args.samples // BATCH
    with tempfile.TemporaryDirectory() as folder:
        for name, options in CANDIDATES.items():
            torch.manual_seed(0)
            encoder = keypoints.KeypointStage(
                crops,
                validation,
                KeypointEncoder(**options),
                lambda step: step / steps,
                batch=BATCH,
                log=lambda *words, name=name: print(name, *words, flush=True),
            ).run()
            graph = Path(folder) / f'{name}.onnx'
            torch.onnx.export(
                OneLook(encoder.eval().to(memory_format=torch.contiguous_format)),
                (torch.zeros(1, 3, CROP_HEIGHT, CROP_WIDTH),),
                str(graph),
                input_names=['crop'],
                dynamo=False,
                opset_version=17,
            )
            sessions[name] = open_session(graph, threads=1)
            report[name] = keypoints.validate(encoder, validation) | {
                'parameters': sum(p.numel() for p in encoder.parameters())
            }
        for name, ms in interleaved(sessions).items():
            report[name]['ms'] = ms
    for name, figures in report.items():
        print(name, {key: round(value, 2) for key, value in figures.items()})
    if args.report:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        args.report.write_text(json.dumps({'samples': args.samples, 'encoders': report}, indent=2))


def interleaved(sessions: dict) -> dict[str, float]:
    """Median milliseconds of each, taken in turns, so that a busy moment is everybody's."""
    crop = np.random.default_rng(0).normal(size=(1, 3, CROP_HEIGHT, CROP_WIDTH)).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(REPEATS):
        for name, session in sessions.items():
            start = perf_counter()
            session.run(None, {'crop': crop})
            times[name].append(1e3 * (perf_counter() - start))
    return {name: float(np.median(values)) for name, values in times.items()}


if __name__ == '__main__':
    main()
