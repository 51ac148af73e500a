"""Options of commands that share their work between processes or machines."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options ``--workers``, ``--ray`` and ``--plan``."""
    group = parser.add_argument_group('on several processes or machines (docs/scale.md)')
    group.add_argument('--workers', type=int, default=1, metavar='N', help='processes of this machine (default: 1)')
    group.add_argument(
        '--ray',
        metavar='ADDRESS',
        help="of a Ray cluster, instead of --workers: 'auto', 'local' or ray://HOST:10001; needs the extra 'ray'",
    )
    group.add_argument(
        '--plan',
        type=int,
        metavar='MACHINES',
        help='do one unit only, and say what a million frames would cost on so many machines with --workers each',
    )
