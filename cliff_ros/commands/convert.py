"""``cliff convert``: official files, checked, in formats that hold nothing but numbers."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from cliff_ros.errors import InputError

BODY, NETWORK = '.npz', '.safetensors'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff convert``."""
    parser.add_argument(
        'source',
        type=Path,
        metavar='SOURCE',
        help='an SMPL or SMPL-X body (.pkl, .npz) or a CLIFF checkpoint (.pt, .ckpt, .pth)',
    )
    parser.add_argument(
        'target', type=Path, metavar='TARGET', help=f'the file to write: {BODY} for a body, {NETWORK} for a checkpoint'
    )
    parser.add_argument(
        '--h36m',
        type=Path,
        metavar='FILE',
        help="put Human3.6M's joint regressor (J_regressor_h36m.npy) into the body file",
    )


def run(args: argparse.Namespace) -> int:
    """Write a body as .npz or a checkpoint as .safetensors, chosen by the suffix of TARGET; 0."""
    source, target = args.source.expanduser(), args.target.expanduser()
    if not source.is_file():
        raise InputError(f"there is no file '{source}': check the path")
    if target.suffix not in (BODY, NETWORK):
        raise InputError(f"TARGET is '{target}': name it *{BODY} for a body or *{NETWORK} for a checkpoint")
    if args.h36m and target.suffix != BODY:
        raise InputError('--h36m belongs to a body: leave it out when converting a checkpoint')
    if target.exists() and target.samefile(source):
        raise InputError('SOURCE and TARGET are the same file: give another name to write to')
    print(_body(source, target, args.h36m) if target.suffix == BODY else _network(source, target))
    return 0


def _body(source: Path, target: Path, h36m: Path | None) -> str:
    from cliff_ros.body.files import read_body, read_h36m_regressor, save_npz

    arrays = read_body(source)
    num_vertices, _, num_betas = arrays['shapedirs'].shape
    if h36m:
        arrays['J_regressor_h36m'] = read_h36m_regressor(h36m, num_vertices)
    save_npz(target, arrays)
    return f'{target}: body with {num_vertices} vertices, {num_betas} betas, {len(arrays["f"])} faces'


def _network(source: Path, target: Path) -> str:
    from cliff_ros.cliff import need_torch

    need_torch()
    from cliff_ros.cliff.checkpoints import read_model, write_model

    model = read_model(source.expanduser())

    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    write_model(model, target, source.name, digest)
    return f'{target}: {model.name} for {model.body}, {model.dialect} dialect, from a file of sha256 {digest}'
