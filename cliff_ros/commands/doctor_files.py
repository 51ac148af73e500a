"""What ``cliff doctor`` says about the files it is given: each is really loaded, by what will load it later."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cliff_ros.errors import ModelError

CHECKPOINTS = ('.pt', '.pth', '.ckpt', '.safetensors')
_UNSAID = 'licence not in the file: SMPL bodies are for non-commercial research (docs/models.md)'


def is_checkpoint(model: str) -> bool:
    """Whether ``--model`` names a checkpoint, which becomes a runtime graph only by ``cliff export``."""
    return Path(model).suffix.lower() in CHECKPOINTS


def describe_body(body: str) -> str:
    """One line about a body: vertices, faces, betas, license and hash. ModelError where it cannot be loaded."""
    from cliff_ros.body import load_body

    model = load_body(body)
    licence = _UNSAID if model.licence == 'unknown' else model.licence
    extras = [
        name
        for name, present in (
            ('pose correctives', model.posedirs is not None),
            ('H36M regressor', model.J_regressor_h36m is not None),
        )
        if present
    ]
    return ', '.join(
        [
            f'{model.num_vertices} vertices',
            f'{len(model.faces)} faces',
            f'{model.num_betas} betas',
            *extras,
            licence,
            f'sha256 {model.sha256[:12]}',
        ]
    )


def describe_checkpoint(model: str) -> str:
    """One line about a checkpoint: dialect, parameters, crop size [px], license and hash.

    ModelError where it cannot be loaded.
    """
    from cliff_ros.cliff import load_model

    network = load_model(model)
    path, (height, width) = Path(model).expanduser(), (network.spec.height, network.spec.width)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    form = 'safetensors by cliff convert' if path.suffix == '.safetensors' else 'PyTorch checkpoint'
    return (
        f'{form}, {network.dialect} dialect, {network.name} for {network.body}, all {parameters / 1e6:.1f} M '
        f'parameters there and finite, crop {height}x{width}, {network.licence}, {_size_and_hash(path)}'
    )


def how_to_export(model: str, body: str) -> str:
    """The command that makes a graph of a checkpoint; with another body where the one at hand does not fit."""
    from cliff_ros.body import load_body
    from cliff_ros.cliff import load_model
    from cliff_ros.graph.export import fits

    network = load_model(model)
    if not fits(network, load_body(body)):
        body = 'SMPLX_BODY.npz' if network.body == 'smplx' else 'SMPL_BODY.npz'
    return f'cliff export {model} {Path(model).stem}.onnx --body {body}'


def describe_graph(model: str) -> str:
    """One line about a runtime graph: network, crop size [px], body, license, hash and which TensorRT reads it.

    A graph from elsewhere is tried in a child process first.
    """
    from cliff_ros.engine.onnx_engine import OnnxEngine
    from cliff_ros.engine.trial import check_graph
    from cliff_ros.graph.metadata import find_graph
    from cliff_ros.graph.onnx_file import OnnxFile
    from cliff_ros.graph.support import readers

    path = find_graph(model)
    check_graph(path)
    metadata = OnnxEngine(path).metadata
    versions, stopped = readers(OnnxFile(path))
    tensorrt = (
        f'TensorRT {versions[0]} and later' if versions else f'no TensorRT: {"; ".join(next(iter(stopped.values())))}'
    )
    parts = [
        f'runtime graph, {metadata.dialect} dialect',
        metadata.model,
        'crop ' + f'{metadata.spec.height}x{metadata.spec.width}',
        f'body {metadata.body}',
        metadata.licence,
        f'read by {tensorrt}',
        _size_and_hash(path),
    ]
    return ', '.join(filter(None, parts))


def check_pair(model: str, body: str) -> str:
    """Whether a runtime graph and a body belong together, as ``Pipeline`` will ask."""
    from cliff_ros.body import load_body
    from cliff_ros.graph.metadata import find_graph, read_metadata
    from cliff_ros.graph.onnx_file import OnnxFile

    path = find_graph(model)
    metadata = read_metadata(OnnxFile(path), path)
    if metadata.body_sha256 != load_body(body).sha256:
        raise ModelError(
            f"{path.name} was exported with the body '{metadata.body}', not with '{body}': "
            f'give that body, or make a graph with this one: cliff export CHECKPOINT {path.stem}.onnx '
            f'--body {body}'
        )
    return f"'{metadata.body}' is the body that the network was exported with"


def _size_and_hash(path: Path) -> str:
    content = path.read_bytes()
    return f'{len(content) / 1e6:.1f} MB, sha256 {hashlib.sha256(content).hexdigest()[:12]}'
