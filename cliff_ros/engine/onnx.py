"""ONNX Runtime: the engine that runs everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort

from cliff_ros.engine import graph
from cliff_ros.engine.onnx_file import OnnxFile
from cliff_ros.errors import ModelError


def open_session(model: str | Path | bytes, threads: int = 0) -> ort.InferenceSession:
    """An ONNX Runtime session on the best provider there is, a good neighbour to the ROS threads.

    model: a file or its content.
    threads: 0 takes the cores this process may use, at most 4 (more gain little on networks of this
    size and starve the rest of a robot).
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or min(_usable_cores(), 4)
    options.inter_op_num_threads = 1
    # Idle workers would otherwise spin at 100 % between frames, on the cores the middleware needs.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3
    providers: list = ['CPUExecutionProvider']
    if 'CUDAExecutionProvider' in ort.get_available_providers():
        # An exhaustive search would stall on every number of people not seen before.
        providers.insert(0, ('CUDAExecutionProvider', {'cudnn_conv_algo_search': 'HEURISTIC'}))
    name = 'the graph' if isinstance(model, bytes) else model
    if not isinstance(model, bytes) and not Path(model).is_file():
        raise ModelError(f'{name} does not exist')
    try:
        return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options,
                                    providers=providers)
    except Exception as error:  # ONNX Runtime raises many types, none of them public
        raise ModelError(f'ONNX Runtime {ort.__version__} cannot load {name}: '
                         f'{str(error).strip().splitlines()[0]}') from error


class OnnxEngine:
    """A runtime graph on ONNX Runtime (see `cliff_ros.engine.Engine`)."""

    def __init__(self, path: str | Path, threads: int = 0, reason: str = 'asked for') -> None:
        self._path, self._threads, self.reason = path, threads, reason
        file = OnnxFile(path)
        self.metadata = graph.read_metadata(file, path)
        self.spec = graph.crop_spec(self.metadata)
        # One graph with the mesh and one without: a session computes all the outputs it has.
        self._sessions = {False: open_session(file.without('vertices'), threads)}
        self.name = f'onnx:{self._sessions[False].get_providers()[0]}'

    def __call__(self, crops: np.ndarray, location: np.ndarray,
                 vertices: bool = True) -> dict[str, np.ndarray]:
        if len(crops) == 0:
            return graph.nobody(self.metadata, vertices)
        if vertices not in self._sessions:
            self._sessions[vertices] = open_session(self._path, self._threads)
        names = graph.wanted(self.metadata, vertices)
        outputs = self._sessions[vertices].run(names, {'crops': crops, 'location': location})
        return dict(zip(names, outputs, strict=True))


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
