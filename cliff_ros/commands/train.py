"""``cliff train``: the embedded network and detector from nothing; with ``--config``, CLIFF's published networks."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from cliff_ros.errors import InputError, MissingExtra

# `joint` refines further, slowly; the shipped weights were made without it.
STAGES = ('render', 'keypoints', 'skeletons', 'regressor', 'joint', 'detector')
DATA = Path(__file__).resolve().parents[1] / 'data'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    published = parser.add_argument_group('end to end, on any data (docs/training.md); also under torchrun')
    published.add_argument('--config', metavar='FILE',
                           help='train what a YAML file says, or one that ships: cliff_resnet50, cliff_hrnet_w48, '
                                'embedded; a second start resumes')
    published.add_argument('--set', nargs='+', default=[], metavar='KEY=VALUE', dest='changes',
                           help='options that differ from the file: steps=1000 losses.pose=2')
    parser = parser.add_argument_group('the recipe of the embedded network and detector (without --config)')
    parser.add_argument('--work', type=Path, default=Path('out/train'), metavar='DIR',
                        help='rendered data and checkpoints; a second start resumes (default: %(default)s)')
    parser.add_argument('--stages', nargs='+', choices=STAGES, default=[stage for stage in STAGES if stage != 'joint'],
                        help='in this order; default: all but joint')
    parser.add_argument('--shards', type=int, default=60,
                        help='of 4000 crops each, and a third as many for the regressor (default: %(default)s)')
    parser.add_argument('--stills', type=int, default=18, help='files of 999 detector frames (default: %(default)s)')
    parser.add_argument('--first-shard', type=int, default=0, metavar='N',
                        help='number and seed of the first of these (default: 0)')
    parser.add_argument('--start', metavar='GRAPH',
                        help="go on from a trained network, 'embedded' or a .onnx of its kind, not from nothing; "
                             'best with new crops (--first-shard)')
    parser.add_argument('--minutes', type=float, default=130., help='of training in all (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2, help='default: %(default)s')
    parser.add_argument('--device', default='', metavar='DEVICE',
                        help="draw the data with torch on this device: 'cuda' (default: numba, on the CPU)")
    parser.add_argument('--output', type=Path, default=DATA, metavar='DIR',
                        help='where the graphs go (default: the package)')


def run(args: argparse.Namespace) -> int:
    try:
        import torch
    except ImportError:
        raise MissingExtra('training', 'torch') from None
    if args.config:
        return _train_config(args.config, args.changes)
    if args.changes:
        raise InputError('--set belongs to --config: name a configuration too')
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)  # decayed weights are denormal in the end, and those cost many times the others
    from cliff_ros.cliff.embedded import EMBEDDED
    from cliff_ros.training.recipe import Recipe
    start = EMBEDDED if args.start == 'embedded' else args.start and Path(args.start)
    recipe = Recipe(args.work, args.output, args.minutes * 60, args.threads, args.device, start)
    for stage in STAGES:
        if stage in args.stages:
            print(f'== {stage}', flush=True)
            if stage == 'render':
                recipe.render(args.shards, args.stills, first=args.first_shard)
            else:
                getattr(recipe, stage)()
    return 0


def _train_config(name: str, changes: list[str]) -> int:
    try:
        import safetensors  # noqa: F401
    except ImportError:
        raise MissingExtra('training', 'torch') from None
    from cliff_ros.training.published.config import load_config
    values = {}
    for change in changes:
        key, equals, value = change.partition('=')
        if not equals:
            raise InputError(f"--set '{change}' has no '=': write it as KEY=VALUE")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set '{change}': the value is not YAML: quote it as in a file") from None
    config = load_config(name, values)
    from cliff_ros.training.published.trainer import train
    path = train(config)
    if path:
        print(f"{path}: try it with 'cliff export {path} cliff.onnx --body {config.body}'"
              if path.suffix != '.onnx' else f"{path}: try it with 'cliff video --model {path}'", flush=True)
    return 0
