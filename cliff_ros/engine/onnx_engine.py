"""ONNX Runtime: the engine that runs everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from cliff_ros.crop.cropper import CpuCropper
from cliff_ros.errors import EngineError, ModelError
from cliff_ros.graph.metadata import read_metadata
from cliff_ros.graph.onnx_file import OnnxFile

CUDA = 'CUDAExecutionProvider'


def providers() -> list[str]:
    """Those of ONNX Runtime that are used, the best first."""
    return [name for name in (CUDA, 'CPUExecutionProvider') if name in ort.get_available_providers()]


def open_session(model: str | Path | bytes, threads: int = 0, on: Sequence[str] = ()) -> ort.InferenceSession:
    """An ONNX Runtime session on the best provider there is, a good neighbor to the ROS threads.

    model: a file or its content.
    threads: 0 takes the cores this process may use, at most 4 (more gain little on networks of this
    size and starve the rest of a robot).
    on: providers to use; none: `providers`.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or min(usable_cores(), 4)
    options.inter_op_num_threads = 1
    # Idle workers would otherwise spin at 100 % between frames, on the cores the middleware needs.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3
    # An exhaustive search would stall on every number of people not seen before.
    cuda = {'cudnn_conv_algo_search': 'HEURISTIC'}
    if tuple(map(int, ort.__version__.split('.')[:2])) >= (1, 18):
        cuda['use_tf32'] = '0'  # it has float16's mantissa
    chosen = [(name, cuda) if name == CUDA else name for name in on or providers()]
    name = 'the graph' if isinstance(model, bytes) else model
    if not isinstance(model, bytes) and not Path(model).is_file():
        raise ModelError(f'{name} does not exist')
    try:
        return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=chosen)
    except Exception as error:  # ONNX Runtime raises many types, none of them public
        raise ModelError(
            f'ONNX Runtime {ort.__version__} cannot load {name}: {str(error).strip().splitlines()[0]}'
        ) from error


def run(
    session: ort.InferenceSession, names: Sequence[str] | None, inputs: dict[str, np.ndarray], what: str
) -> list[np.ndarray]:
    """The outputs of those names; None: all. what: runs, for the sentence of EngineError where it cannot."""
    try:
        return session.run(names, inputs)
    except Exception as error:  # as above
        raise _explained(error, session.get_providers()[0], what) from error


class OnnxEngine:
    """A runtime graph on ONNX Runtime (see `cliff_ros.engine.Engine`).

    on: ONNX Runtime's providers to use; none: the best there are.
    """

    def __init__(self, path: str | Path, threads: int = 0, reason: str = 'asked for', on: Sequence[str] = ()) -> None:
        self._path, self._threads, self._on, self.reason = path, threads, on, reason
        file = OnnxFile(path)
        self.metadata = read_metadata(file, path)
        self.spec = self.metadata.spec
        self.cropper = CpuCropper(self.spec)
        # One graph with the mesh and one without: a session computes all the outputs it has.
        self._sessions = {False: open_session(file.without('vertices'), threads, on)}
        self.name = f'onnx:{self._sessions[False].get_providers()[0]}'

    def __call__(self, crops: np.ndarray, location: np.ndarray, vertices: bool = True) -> dict[str, np.ndarray]:
        """As `Engine` says; the first call with vertices, and the first without, may have to load a session.

        EngineError where ONNX Runtime fails.
        """
        if len(crops) == 0:
            return self.metadata.nobody(vertices)
        if vertices not in self._sessions:
            self._sessions[vertices] = open_session(self._path, self._threads, self._on)
        names = self.metadata.outputs(vertices)
        outputs = run(self._sessions[vertices], names, {'crops': crops, 'location': location}, 'network')
        return dict(zip(names, outputs, strict=True))


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _explained(error: Exception, name: str, what: str) -> EngineError:
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    full = any(words in text.lower() for words in ('failed to allocate', 'out of memory', 'bad allocation'))
    if CUDA not in name:
        if full or isinstance(error, MemoryError):
            return EngineError(
                f'this machine has too little memory to run the {what} ({text}): end other programs, lower max_people'
            )
        return EngineError(f'ONNX Runtime could not run the {what}: {text}; export it again, or report this')
    if full:
        return EngineError(f'the GPU has too little memory for this image ({text}): lower max_people')
    return EngineError(f'the GPU failed ({text}): look at its driver (dmesg, nvidia-smi), then start again', lost=True)
