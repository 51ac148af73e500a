"""``cliff train``: the embedded network and detector, from nothing but the embedded body."""

from __future__ import annotations

import argparse
from pathlib import Path

from cliff_ros.errors import MissingExtra

# `joint` refines further, slowly; the shipped weights were made without it.
STAGES = ('render', 'keypoints', 'skeletons', 'regressor', 'joint', 'detector')
DATA = Path(__file__).resolve().parents[1] / 'data'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--work', type=Path, default=Path('out/train'), metavar='DIR',
                        help='rendered data and checkpoints; a second start resumes (default: %(default)s)')
    parser.add_argument('--stages', nargs='+', choices=STAGES, default=[stage for stage in STAGES if stage != 'joint'],
                        help='in this order; default: all but joint')
    parser.add_argument('--shards', type=int, default=15, help='of 4000 crops each (default: %(default)s)')
    parser.add_argument('--stills', type=int, default=4, help='files of 1000 detector frames (default: %(default)s)')
    parser.add_argument('--minutes', type=float, default=135., help='of training in all (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2, help='default: %(default)s')
    parser.add_argument('--output', type=Path, default=DATA, metavar='DIR',
                        help='where the graphs go (default: the package)')


def run(args: argparse.Namespace) -> int:
    try:
        import torch
    except ImportError:
        raise MissingExtra('training', 'torch') from None
    torch.set_num_threads(args.threads)
    from cliff_ros.training.recipe import Recipe
    recipe = Recipe(args.work, args.output, args.minutes * 60, args.threads)
    for stage in STAGES:
        if stage in args.stages:
            print(f'== {stage}', flush=True)
            if stage == 'render':
                recipe.render(args.shards, args.stills)
            else:
                getattr(recipe, stage)()
    return 0
