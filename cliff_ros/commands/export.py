"""``cliff export``: a network and a body as the one graph that the node runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from cliff_ros.errors import InputError, MissingExtra


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff export``."""
    parser.add_argument(
        'model', metavar='MODEL', help="a CLIFF checkpoint (.pt, .ckpt, .pth, .safetensors), or 'embedded'"
    )
    parser.add_argument('output', type=Path, metavar='OUTPUT', help='the graph to write (.onnx)')
    parser.add_argument(
        '--body', default='embedded', metavar='BODY', help="the SMPL body of the network (.npz, .pkl), or 'embedded'"
    )


def run(args: argparse.Namespace) -> int:
    """Write a network and a body as one runtime graph, and say which versions of TensorRT cannot read it; 0.

    InputError where OUTPUT is not named *.onnx, MissingExtra without PyTorch.
    """
    if args.output.suffix != '.onnx':
        raise InputError(f"OUTPUT is '{args.output}': name it *.onnx")
    from cliff_ros.body import load_body
    from cliff_ros.cliff import load_model

    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtra('exporting a graph', 'torch') from None
    model, body = load_model(args.model), load_body(args.body)
    from cliff_ros.graph.export import export_graph

    metadata = export_graph(model, body, args.output, licence=model.licence)
    print(
        f"{args.output}: {metadata.model} ({metadata.dialect}) with body '{metadata.body}', "
        f'{args.output.stat().st_size / 1e6:.1f} MB'
    )
    from cliff_ros.graph.onnx_file import OnnxFile
    from cliff_ros.graph.support import readers

    for version, found in readers(OnnxFile(args.output))[1].items():
        print(f'TensorRT {version} cannot read it: {"; ".join(found)}')
    return 0
