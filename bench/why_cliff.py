"""CLIFF's claim, shown: location input yes/no x full-frame loss yes/no, trained alike, on wide-angle crops.

    python -m bench.why_cliff --work out/claim --figure docs/images/why_cliff.png

Renders crops, runs the embedded encoder over them once, trains each variant once per seed (bench.claim)
and prints the tables of docs/why-cliff.md. Whatever is in the work folder already is not made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path
from time import process_time

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bench import claim
from cliff_ros.body import load_body
from cliff_ros.cliff.embedded import load_embedded
from cliff_ros.training import data
from cliff_ros.training.lifting_stage import extract
from cliff_ros.training.losses import Skeleton
from cliff_ros.training.pool import of_folder

# Wide-angle cameras; a person in every crop, whole in the image: being cut off would tell where the border is.
WORLD = dict(fov=(90.0, 120.0), negatives=0.0, inside=0.999, whole=True, everyday=True)
HELD_OUT = 920_000  # the first of the shards that are never trained on
COLORS = dict(cliff='#0b6e4f', location='#5aa9e6', full_frame='#e59500', neither='#b3001b')


class Experiment:
    """work: where crops, features and trainings are kept."""

    def __init__(self, work: Path, shards: int, held_out: int, shard_size: int, workers: int) -> None:
        self.work, self.shards, self.held_out = work, shards, held_out
        self.shard_size, self.workers = shard_size, workers
        self.skeleton = Skeleton(load_body())
        self.cpu_seconds: dict[str, float] = {}

    def features(self) -> dict[str, tuple[Tensor, dict[str, Tensor]]]:
        """Features and truth of the training crops, the held-out ones, and these with the scene going on beyond
        the border of the image instead of its reflection.
        """
        model = load_embedded().to(memory_format=torch.channels_last)
        return {
            'train': self._features(model, 'train', 0, self.shards, 'reflect', mirrored=True),
            'held_out': self._features(model, 'held_out', HELD_OUT, self.held_out, 'reflect'),
            'borderless': self._features(model, 'borderless', HELD_OUT, self.held_out, 'scene'),
        }

    def _features(self, model, name: str, first: int, count: int, border: str, mirrored: bool = False):
        path = self.work / f'{name}.pt'
        if not path.exists():
            folder = self.work / name
            data.render(folder, first, count, self.workers, self.shard_size, border=border, **WORLD)
            torch.manual_seed(0)
            _keep(path, extract(model, of_folder(folder, self.skeleton), mirrored, looks=0.3))
        return torch.load(path, weights_only=True)

    def errors(self, variant: claim.Variant, seed: int, steps: int, features: dict) -> dict[str, dict]:
        """Errors of everybody held out, of one training, with either border."""
        path = self.work / f'{variant.key}_{seed}_{steps}.pt'
        if not path.exists():
            tqdm.write(f'{variant.name}, seed {seed}')
            started = process_time()
            trained = claim.train(
                variant,
                seed,
                *features['train'],
                self.skeleton,
                steps,
                log=lambda *words: tqdm.write(' '.join(map(str, words))),
            )
            _keep(path, dict(regressor=trained.state_dict(), cpu_seconds=process_time() - started))
        regressor, kept = claim.PlainRegressor().eval(), torch.load(path, weights_only=True)
        regressor.load_state_dict(kept['regressor'])
        self.cpu_seconds[path.stem] = kept['cpu_seconds']
        return {
            name: claim.errors(variant, regressor, *features[name], self.skeleton)
            for name in ('held_out', 'borderless')
        }


def _keep(path: Path, value) -> None:
    partial = path.with_suffix('.partial')
    torch.save(value, partial)
    partial.rename(path)


def report(experiment: Experiment, seeds: list[int], steps: int) -> dict:
    """Everything that the tables and the figure need; lists are over seeds, or mean, low and high of their interval."""
    features = experiment.features()
    azimuth, off_axis = claim.directions(features['held_out'][1], experiment.skeleton)
    found: dict[str, list[dict]] = {variant.key: [] for variant in claim.VARIANTS}
    slopes: dict[str, list[float]] = {variant.key: [] for variant in claim.VARIANTS}
    jobs = [(variant, seed) for seed in seeds for variant in claim.VARIANTS]
    for variant, seed in tqdm(jobs, desc='training', unit='network'):
        errors = experiment.errors(variant, seed, steps, features)
        found[variant.key].append(claim.figures(errors['held_out'], azimuth, off_axis))
        slopes[variant.key].append(claim.metrics.yaw_slope(errors['borderless']['yaw'], azimuth, resamples=2)[0])
    result = {
        key: {name: claim.over_seeds([one[name] for one in runs]) for name in runs[0]} for key, runs in found.items()
    }
    ratios = {
        group: claim.over_seeds(
            [a[f'root_{group}'] / b[f'root_{group}'] for a, b in zip(found['cliff'], found['neither'], strict=True)]
        )
        for group in ('on_axis', 'far')
    }
    return {
        'settings': dict(
            steps=steps,
            seeds=seeds,
            crops=experiment.shards * experiment.shard_size,
            held_out=len(azimuth),
            world=WORLD,
            azimuth_deviation=float(azimuth.std()),
            encoder=encoder_digest(),
        ),
        'people_by_angle': np.histogram(off_axis, claim.EDGES)[0].tolist(),
        'variants': result,
        'root_ratio': ratios,
        'slope_borderless': {key: claim.over_seeds(values) for key, values in slopes.items()},
        'told_by_the_crop': claim.told_by_the_crop(
            *features['train'], features['held_out'], experiment.skeleton, steps=steps // 2
        ),
        'bars': bars(result, ratios),
        'cpu_seconds': experiment.cpu_seconds,
    }


def encoder_digest() -> str:
    """SHA-256 of the embedded encoder's weights: the same graph exported again keeps it."""
    digest = hashlib.sha256()
    for _, value in sorted(load_embedded().encoder.state_dict().items()):
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def bars(result: dict, ratios: dict) -> dict[str, bool]:
    """The claim's bars, each for the mean over the seeds."""
    slope = {key: float(figures['yaw_slope']['mean']) for key, figures in result.items()}
    return {
        '|slope| of CLIFF < 0.05': abs(slope['cliff']) < 0.05,
        'slope of neither < -0.4': slope['neither'] < -0.4,
        'root rotation beyond 25 deg <= 0.6 of neither': float(ratios['far']['mean']) <= 0.6,
        'root rotation on the axis no worse': float(ratios['on_axis']['mean']) <= 1,
    }


SUMMARY = (
    ('yaw_slope', 'yaw slope', 1, '.3f'),
    ('root_on_axis', 'root on axis [deg]', 1, '.1f'),
    ('root_far', 'root beyond 25 deg [deg]', 1, '.1f'),
    ('mpjpe_on_axis', 'MPJPE on axis [mm]', 1, '.0f'),
    ('mpjpe_far', 'MPJPE beyond 25 deg [mm]', 1, '.0f'),
    ('pa_mpjpe_all', 'PA-MPJPE [mm]', 1, '.0f'),
    ('translation_on_axis', 'translation on axis [cm]', 100, '.0f'),
    ('translation_far', 'translation beyond 25 deg [cm]', 100, '.0f'),
)


def tables(found: dict) -> str:
    """Two tables in Markdown: summary, and by angle off the axis."""

    def cell(figure, scale, form, index=...):
        mean, low, high = (figure[name][index] * scale for name in ('mean', 'low', 'high'))
        return f'{mean:{form}}' if np.isnan(low) else f'{mean:{form}} [{low:{form}}, {high:{form}}]'

    names = [variant.name for variant in claim.VARIANTS]
    lines = ['| | ' + ' | '.join(names) + ' |', '|---|' + '---|' * len(names)]
    for key, title, scale, form in SUMMARY:
        lines.append(
            f'| {title} | '
            + ' | '.join(cell(found['variants'][variant.key][key], scale, form) for variant in claim.VARIANTS)
            + ' |'
        )
    for key, title, form in (
        ('root_by_angle', 'root [deg]', '.1f'),
        ('mpjpe_by_angle', 'MPJPE [mm]', '.0f'),
        ('translation_by_angle', 'translation [m]', '.2f'),
    ):
        lines += [
            '',
            f'| {title}, angle off axis (people) | ' + ' | '.join(names) + ' |',
            '|---|' + '---|' * len(names),
        ]
        for k, count in enumerate(found['people_by_angle']):
            lines.append(
                f'| {claim.EDGES[k]}-{claim.EDGES[k + 1]} ({count}) | '
                + ' | '.join(cell(found['variants'][variant.key][key], 1, form, k) for variant in claim.VARIANTS)
                + ' |'
            )
    return '\n'.join(lines)


def draw(found: dict, path: Path) -> None:
    """Root rotation error and MPJPE against the angle off the optical axis; bands are the intervals over seeds."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    middle = (np.array(claim.EDGES[:-1]) + claim.EDGES[1:]) / 2
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout='constrained')
    for panel, key, title in (
        (panels[0], 'root_by_angle', 'Root rotation error, median [deg]'),
        (panels[1], 'mpjpe_by_angle', 'MPJPE [mm]'),
    ):
        ends = {}
        for variant in claim.VARIANTS:
            values, color = found['variants'][variant.key][key], COLORS[variant.key]
            panel.fill_between(middle, values['low'], values['high'], color=color, alpha=0.18, linewidth=0)
            panel.plot(
                middle,
                values['mean'],
                color=color,
                linewidth=2,
                marker='o',
                markersize=4,
                linestyle='-' if variant.location == variant.full_frame else '--',
            )
            ends[variant.key] = float(values['mean'][-1])
        panel.set_ylim(bottom=0)
        _label(panel, middle[-1], ends)
        panel.set_title(title, loc='left', fontsize=11)
        panel.set_xlabel('angle off the optical axis [deg]')
        panel.set_xlim(0, middle[-1] + 0.5)
        panel.set_xticks(range(0, 51, 10))
        panel.grid(axis='y', color='.9')
        panel.spines[['top', 'right']].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _label(panel, x: float, ends: dict[str, float]) -> None:
    """Names at the ends of the lines, pushed apart where they would overlap."""
    keys = sorted(ends, key=ends.get)
    at, gap = np.array([ends[key] for key in keys]), 0.06 * panel.get_ylim()[1]
    for _ in range(20):
        push = np.clip(gap - np.diff(at), 0, None) / 2
        at = at + np.append(0, push) - np.append(push, 0)
    for key, y in zip(keys, at, strict=True):
        name = next(variant.name for variant in claim.VARIANTS if variant.key == key)
        panel.text(x + 1.5, y, name, color=COLORS[key], va='center', fontsize=10)


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work', type=Path, default=Path('out/claim'))
    parser.add_argument('--shards', type=int, default=12, help='of training crops')
    parser.add_argument('--held-out', type=int, default=2, help='shards of held-out crops')
    parser.add_argument('--shard-size', type=int, default=data.SHARD_SIZE)
    parser.add_argument('--steps', type=int, default=2000, help='of every training')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--workers', type=int, default=1, help='processes that render')
    parser.add_argument('--figure', type=Path, help='write the figure here (needs matplotlib)')
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    found = report(
        Experiment(args.work, args.shards, args.held_out, args.shard_size, args.workers), args.seeds, args.steps
    )
    (args.work / 'report.json').write_text(json.dumps(found, indent=2, default=_plain))
    print(tables(found))
    for key in ('bars', 'root_ratio', 'slope_borderless', 'told_by_the_crop'):
        print(key, json.dumps(found[key], default=_plain))
    print(f'{sum(os.times()[:4]):.0f} s of CPU time')
    if args.figure:
        draw(found, args.figure)


if __name__ == '__main__':
    main()
