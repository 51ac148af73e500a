"""The runtime graph: the one ONNX file that goes from crops to people.

Written by ``cliff export``; run by every engine. It holds normalisation, encoder, regressor, 6D to
rotation matrices, the body and the crop camera, so that all engines give the same numbers.

Inputs: ``crops`` uint8 (N, h, w, 3) RGB; ``location`` float32 (N, 3), the paper's Eq. 5.
Outputs, float32, in the frame of the view the crop was taken from, metres: see `OUTPUTS`. A network that can
tell whether a crop shows a person at all adds ``presence`` (N,), a probability.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from cliff_ros import assets
from cliff_ros.crop.views import MAX_OFF_AXIS, CropSpec
from cliff_ros.errors import ModelError
from cliff_ros.graph.onnx_file import OnnxFile

FORMAT = 1
METADATA_KEY = 'cliff_ros'
INPUTS = ('crops', 'location')
OUTPUTS = ('rotations', 'betas', 'camera', 'translation', 'joints', 'vertices')
PRESENCE = 'presence'
# The exporter names the encoder's nodes with this prefix: they may run in fp16, all others stay fp32.
ENCODER_PREFIX = '/encoder'
ENGINE_SUFFIX = '.engine'  # of what `cliff build-engine` writes
EMBEDDED = assets.NETWORK


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 0 < value <= most


_KINDS = {
    **dict.fromkeys(('model', 'body', 'body_sha256', 'dialect', 'licence'), lambda value: isinstance(value, str)),
    'crop': lambda value: isinstance(value, list) and len(value) == 2 and all(_is_count(side, 4096) for side in value),
    'margin': lambda value: type(value) in (int, float) and 0 < value < 100,
    'turn_beyond': lambda value: type(value) in (int, float) and 0 <= value <= MAX_OFF_AXIS,
    'num_vertices': lambda value: _is_count(value, 1 << 20),
    'num_betas': lambda value: _is_count(value, 1 << 12),
}
_REQUIRED = ('model', 'crop', 'margin', 'body', 'body_sha256', 'num_vertices')


def find_graph(path: str | Path) -> Path:
    """The file of a runtime graph: ``'embedded'`` or a path. `ModelError` where it cannot be one."""
    if str(path) == 'embedded':
        return EMBEDDED
    path = Path(path).expanduser()
    if not path.is_file():
        raise ModelError(
            f'model file {path} does not exist: give the path of a runtime graph (.onnx) '
            f"made by 'cliff export', or 'embedded'"
        )
    if path.suffix.lower() != '.onnx':
        raise ModelError(
            f'{path} is not an ONNX file: turn the checkpoint into a runtime graph '
            f"with 'cliff export' first, or choose the engine torch"
        )
    return path


def read_metadata(file: OnnxFile, path: str | Path) -> dict:
    """Check that an ONNX file is a runtime graph this version can run; return its metadata."""
    text = file.metadata.get(METADATA_KEY)
    if text is None or not set(INPUTS) <= set(file.inputs) or not set(OUTPUTS) <= set(file.outputs):
        raise ModelError(
            f'{path} is an ONNX file but not a cliff_ros runtime graph (inputs {file.inputs}, '
            f"outputs {file.outputs}): make one with 'cliff export'"
        )
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise ModelError(f"{path} has damaged metadata: export it again with 'cliff export'")
    if metadata.get('format') != FORMAT:
        raise ModelError(
            f'{path} has format {metadata.get("format")}, this version runs format {FORMAT}: '
            f"export it again with this version's 'cliff export'"
        )
    if missing := [key for key in _REQUIRED if key not in metadata]:
        raise ModelError(f"{path} lacks the metadata {missing}: export it again with 'cliff export'")
    wrong = [key for key, is_right in _KINDS.items() if key in metadata and not is_right(metadata[key])]
    if wrong:
        raise ModelError(
            f"{path} has metadata that no exporter writes ({', '.join(wrong)}): export it again with 'cliff export'"
        )
    return metadata | {'sha256': sha256(path)}


def sha256(path: str | Path) -> str:
    """Of a file's content, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def crop_spec(metadata: dict) -> CropSpec:
    """How the graph wants its crops cut."""
    height, width = metadata['crop']
    return CropSpec(
        int(height),
        int(width),
        float(metadata['margin']),
        antialias=bool(metadata.get('antialias', False)),
        integer_rectangle=bool(metadata.get('integer_rectangle', False)),
        turn_beyond=float(metadata.get('turn_beyond', MAX_OFF_AXIS)),
    )


def output_shapes(metadata: dict, people: int) -> dict[str, tuple[int, ...]]:
    """Shape of every output for a number of people."""
    shapes = {
        'rotations': (people, 24, 3, 3),
        'betas': (people, metadata.get('num_betas', 10)),
        'camera': (people, 3),
        'translation': (people, 3),
        'joints': (people, 24, 3),
        'vertices': (people, metadata['num_vertices'], 3),
        PRESENCE: (people,),
    }
    return {name: shapes[name] for name in wanted(metadata)}


def nobody(metadata: dict, vertices: bool) -> dict[str, np.ndarray]:
    """The outputs for zero people."""
    shapes = output_shapes(metadata, 0)
    return {name: np.empty(shapes[name], np.float32) for name in wanted(metadata, vertices)}


def wanted(metadata: dict, vertices: bool = True) -> tuple[str, ...]:
    """Names of the outputs to compute."""
    names = (*OUTPUTS, PRESENCE) if metadata.get(PRESENCE) else OUTPUTS
    return names if vertices else tuple(name for name in names if name != 'vertices')
