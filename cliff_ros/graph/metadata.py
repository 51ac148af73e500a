"""The runtime graph: the one ONNX file that goes from crops to people.

Written by ``cliff export``; run by every engine. It holds normalization, encoder, regressor, 6D to
rotation matrices, the body and the crop camera, so that all engines give the same numbers.

Inputs: ``crops`` uint8 (N, h, w, 3) RGB; ``location`` float32 (N, 3), the paper's Eq. 5.
Outputs, float32, in the frame of the view the crop was taken from, meters: see `OUTPUTS`. A network that can
tell whether a crop shows a person at all adds ``presence`` (N,), a probability.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

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


@dataclass(frozen=True)
class GraphMetadata:
    """What a runtime graph says of itself.

    model: name of the network's architecture. dialect: whose code base it is of. spec: how it wants its crops cut.
    body, body_sha256: the one that was exported with it. num_vertices, num_betas: of that body. presence: whether the
    graph tells if a crop shows a person. licence: of the weights. shared: parameters that are stored once under
    another's name. sha256: of the file; empty where there is none. more: what else somebody wrote into it.
    """

    model: str
    spec: CropSpec
    body: str
    body_sha256: str
    num_vertices: int
    num_betas: int = 10
    dialect: str = 'unknown'
    presence: bool = False
    licence: str = ''
    shared: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    sha256: str = ''
    more: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], sha256: str = '') -> GraphMetadata:
        """Of a file's metadata. Raises ValueError naming what is missing or what no exporter writes."""
        if missing := [key for key in _REQUIRED if key not in stored]:
            raise ValueError(f'lacks the metadata {missing}')
        if wrong := [key for key, is_right in _KINDS.items() if key in stored and not is_right(stored[key])]:
            raise ValueError(f'has metadata that no exporter writes ({", ".join(wrong)})')
        known = {one.name for one in fields(cls)} - {'spec', 'sha256', 'more'}
        (height, width), margin = stored['crop'], float(stored['margin'])
        flags = {name: bool(stored.get(name, False)) for name in _CROP_FLAGS}
        return cls(
            **{name: stored[name] for name in known if name in stored} | {PRESENCE: bool(stored.get(PRESENCE, False))},
            spec=CropSpec(height, width, margin, **flags, turn_beyond=float(stored.get('turn_beyond', MAX_OFF_AXIS))),
            sha256=sha256,
            more={key: value for key, value in stored.items() if key not in known | _OF_CROPS | {'format', 'sha256'}},
        )

    def as_json(self) -> dict[str, Any]:
        """What stands in the file: `from_json` gives the same record back, but for `sha256`."""
        spec = self.spec
        stored = dict(
            format=FORMAT,
            model=self.model,
            dialect=self.dialect,
            crop=[spec.height, spec.width],
            margin=spec.margin,
            antialias=spec.antialias,
            integer_rectangle=spec.integer_rectangle,
            turn_beyond=spec.turn_beyond,
            body=self.body,
            body_sha256=self.body_sha256,
            num_vertices=self.num_vertices,
            num_betas=self.num_betas,
            presence=self.presence,
        )
        licence = {'licence': self.licence} if self.licence else {}
        return stored | licence | dict(self.more) | {'shared': dict(self.shared)}

    def outputs(self, vertices: bool = True) -> tuple[str, ...]:
        """Names of the outputs to compute."""
        names = (*OUTPUTS, PRESENCE) if self.presence else OUTPUTS
        return names if vertices else tuple(name for name in names if name != 'vertices')

    def output_shapes(self, people: int) -> dict[str, tuple[int, ...]]:
        """Shape of every output for a number of people."""
        shapes = {
            'rotations': (people, 24, 3, 3),
            'betas': (people, self.num_betas),
            'camera': (people, 3),
            'translation': (people, 3),
            'joints': (people, 24, 3),
            'vertices': (people, self.num_vertices, 3),
            PRESENCE: (people,),
        }
        return {name: shapes[name] for name in self.outputs()}

    def nobody(self, vertices: bool) -> dict[str, np.ndarray]:
        """The outputs for zero people."""
        shapes = self.output_shapes(0)
        return {name: np.empty(shapes[name], np.float32) for name in self.outputs(vertices)}


_CROP_FLAGS = ('antialias', 'integer_rectangle')
_OF_CROPS = {'crop', 'margin', 'turn_beyond', *_CROP_FLAGS}
_REQUIRED = ('model', 'crop', 'margin', 'body', 'body_sha256', 'num_vertices')


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 0 < value <= most


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(('model', 'body', 'body_sha256', 'dialect', 'licence'), _is_text),
    'crop': lambda value: isinstance(value, list) and len(value) == 2 and all(_is_count(side, 4096) for side in value),
    'margin': lambda value: type(value) in (int, float) and 0 < value < 100,
    'turn_beyond': lambda value: type(value) in (int, float) and 0 <= value <= MAX_OFF_AXIS,
    'num_vertices': lambda value: _is_count(value, 1 << 20),
    'num_betas': lambda value: _is_count(value, 1 << 12),
    'shared': lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
}


def find_graph(path: str | Path) -> Path:
    """The file of a runtime graph: ``'embedded'`` or a path. `ModelError` where it cannot be one."""
    if str(path) == 'embedded':
        return assets.NETWORK
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


def read_metadata(file: OnnxFile, path: str | Path) -> GraphMetadata:
    """Check that an ONNX file is a runtime graph this version can run; return its metadata. ModelError."""
    text = file.metadata.get(METADATA_KEY)
    if text is None or not set(INPUTS) <= set(file.inputs) or not set(OUTPUTS) <= set(file.outputs):
        raise ModelError(
            f'{path} is an ONNX file but not a cliff_ros runtime graph (inputs {file.inputs}, '
            f"outputs {file.outputs}): make one with 'cliff export'"
        )
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        raise ModelError(f"{path} has damaged metadata: export it again with 'cliff export'")
    if stored.get('format') != FORMAT:
        raise ModelError(
            f'{path} has format {stored.get("format")}, this version runs format {FORMAT}: '
            f"export it again with this version's 'cliff export'"
        )
    try:
        return GraphMetadata.from_json(stored, sha256(path))
    except ValueError as error:
        raise ModelError(f"{path} {error}: export it again with 'cliff export'") from None


def sha256(path: str | Path) -> str:
    """Of a file's content, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
