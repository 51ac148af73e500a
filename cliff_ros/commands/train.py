"""``cliff train``: the embedded network and detector from nothing; with ``--config``, CLIFF's published networks."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cliff_ros import assets, signals
from cliff_ros.errors import InputError, MissingExtra
from cliff_ros.files import parse_yaml

if TYPE_CHECKING:
    from cliff_ros.training.rendering import Renderers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff train``."""
    published = parser.add_argument_group('end to end, on any data (docs/training.md); also under torchrun')
    published.add_argument(
        '--config',
        metavar='FILE',
        help='train what a YAML file says, or one that ships: cliff_resnet50, cliff_hrnet_w48, '
        'embedded; a second start resumes',
    )
    published.add_argument(
        '--set',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        dest='changes',
        help='options that differ from the file: steps=1000 losses.pose=2',
    )
    recipe = parser.add_argument_group(
        'the recipe of the embedded network and detector (without --config): renders '
        'and trains at the same time, until the time is over'
    )
    recipe.add_argument(
        '--work',
        type=Path,
        default=Path('out/train'),
        metavar='DIR',
        help='rendered data and checkpoints; a second start goes on (default: %(default)s)',
    )
    recipe.add_argument(
        '--output',
        type=Path,
        default=assets.DATA,
        metavar='DIR',
        help='where graphs, weights and the log go (default: the package; weights and log to --work)',
    )
    recipe.add_argument(
        '--minutes',
        type=float,
        default=180.0,
        help='from the start to the last file; of all starts together (default: %(default)s)',
    )
    recipe.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count() or 2,
        help='processes: two train, the others, one at least, render (default: cores)',
    )
    recipe.add_argument(
        '--device', choices=('auto', 'cpu', 'cuda'), default='auto', help='that trains; auto: a GPU where there is one'
    )
    recipe.add_argument(
        '--start',
        metavar='GRAPH',
        help="go on from a trained network, 'embedded' or a .onnx of its kind, not from nothing; "
        'best with new crops (--first-shard)',
    )
    recipe.add_argument(
        '--first-shard', type=int, default=0, metavar='N', help='number and seed of the first 8000 crops (default: 0)'
    )
    recipe.add_argument(
        '--widths',
        type=int,
        nargs=5,
        metavar='N',
        help='channels of the encoder at strides 2, 4, 8, 16, 32, of one that starts from nothing',
    )
    recipe.add_argument('--middle', type=int, metavar='N', help="channels of the encoder's decoder")
    recipe.add_argument('--blocks', type=int, nargs=4, metavar='N', help='residual blocks at strides 4, 8, 16, 32')
    recipe.add_argument('--batch', type=int, default=0, help='crops in a step (default: 64, on a GPU 1024)')
    recipe.add_argument(
        '--augment',
        type=float,
        default=1.0,
        metavar='X',
        help='strength of changes to light, sharpness, noise, and of patches in front (default: 1)',
    )
    recipe.add_argument(
        '--keep-data',
        action=argparse.BooleanOptionalAction,
        default=None,
        help='leave what is rendered on the disk for a second start (default: not with a GPU, where '
        'that is some GB a minute)',
    )
    recipe.add_argument(
        '--weights',
        type=Path,
        metavar='DIR',
        help='train nothing: write the graph of the weights that a training left in DIR',
    )


def run(args: argparse.Namespace) -> int:
    """Train what --config says, or without it the embedded network and detector; 1 where a part of these failed.

    --weights trains nothing: it only writes the graph of weights trained before.
    """
    began = time.monotonic()
    if not find_spec('torch'):
        raise MissingExtra('training', 'torch')
    if args.config:
        return _train_config(args.config, args.changes)
    if args.changes:
        raise InputError('--set belongs to --config: name a configuration too')
    if args.weights:
        from cliff_ros.training.weights import export_trained

        export_trained(args.weights, args.output)
        return 0
    if args.start and (args.widths or args.middle or args.blocks):
        raise InputError('--start goes on with a network as it is: leave --widths, --middle and --blocks out')
    with signals.loading():
        from cliff_ros.training.rendering import Plan, Renderers

    renderers = Renderers(Plan(args.work / 'rendered', args.first_shard), args.workers - 2)  # while PyTorch loads
    try:
        return _train(args, began, renderers)
    finally:
        renderers.stop(1.0)


def _train(args: argparse.Namespace, began: float, renderers: Renderers) -> int:
    with signals.loading():
        from cliff_ros.cliff.embedded import BLOCKS, WIDTHS
        from cliff_ros.training import recipe

    start = assets.NETWORK if args.start == 'embedded' else args.start and Path(args.start)
    record = args.work if args.output == assets.DATA else args.output
    settings = recipe.Settings(
        args.work,
        args.output,
        record,
        args.minutes * 60,
        args.workers,
        args.device,
        start,
        dict(widths=tuple(args.widths or WIDTHS), middle=args.middle or 64, blocks=tuple(args.blocks or BLOCKS)),
        first=args.first_shard,
        looks=args.augment,
        batch=args.batch,
        keep=True,
    )
    keep = args.keep_data if args.keep_data is not None else settings.torch_device.type == 'cpu'
    return 0 if recipe.train(replace(settings, keep=keep), began, renderers) else 1


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
            values[key] = parse_yaml(value)
        except ValueError:
            raise InputError(f"--set '{change}': the value is not YAML: quote it as in a file") from None
    config = load_config(name, values)
    with signals.loading():
        from cliff_ros.training.published.trainer import train

    path = train(config)
    if path:
        print(
            f"{path}: try it with 'cliff export {path} cliff.onnx --body {config.body}'"
            if path.suffix != '.onnx'
            else f"{path}: try it with 'cliff video --model {path}'",
            flush=True,
        )
    return 0
