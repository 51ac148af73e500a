"""How a runtime graph runs: ONNX Runtime everywhere, TensorRT where there is an NVIDIA GPU for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np

from cliff_ros.cliff.features import CropSpec
from cliff_ros.engine.graph import find_graph
from cliff_ros.errors import CliffError, InputError, MissingExtra

ENGINES = ('auto', 'onnx', 'tensorrt')
logger = logging.getLogger(__name__)


class Engine(Protocol):
    """A runtime graph, loaded and ready. Calls must come from one thread at a time."""

    name: str  # what runs it, e.g. 'onnx:CPUExecutionProvider'
    reason: str  # why this one
    metadata: dict  # what the exporter wrote into the graph
    spec: CropSpec  # how it wants its crops cut

    def __call__(self, crops: np.ndarray, location: np.ndarray,
                 vertices: bool = True) -> dict[str, np.ndarray]:
        """Run the network and the body on N people.

        crops: (N, h, w, 3) uint8 RGB; location: (N, 3) float32.
        Returns float32 arrays by the names of `cliff_ros.engine.graph.OUTPUTS`, without ``vertices``
        (which is then not computed) where that is False.
        """
        ...


def load_engine(path: str | Path = 'embedded', engine: str = 'auto', max_people: int = 32, threads: int = 0,
                progress: Callable[[float, str], None] | None = None) -> Engine:
    """Load a runtime graph.

    path: ``'embedded'`` or an ONNX file written by ``cliff export``.
    engine: ``'auto'`` takes TensorRT where it is installed and a GPU answers, else ONNX Runtime.
    max_people: the largest batch a TensorRT engine is built for.
    threads: CPU threads of ONNX Runtime; 0 chooses.
    progress: called with (fraction done, what is being done) while TensorRT builds, which takes minutes.
    """
    if engine not in ENGINES:
        raise InputError(f'engine must be one of {", ".join(ENGINES)}, not {engine!r}')
    graph = find_graph(path)
    if engine == 'tensorrt':
        return _tensorrt(graph, max_people, progress, 'asked for')
    if engine == 'onnx':
        return _onnx(graph, threads, 'asked for')
    if find_spec('tensorrt') is None:
        return _onnx(graph, threads, 'tensorrt is not installed')
    try:
        return _tensorrt(graph, max_people, progress, 'tensorrt is installed and a GPU answers')
    except (CliffError, ImportError, OSError, RuntimeError) as error:
        return _onnx(graph, threads, f'TensorRT cannot be used: {error}')


def _onnx(graph: Path, threads: int, reason: str) -> Engine:
    from cliff_ros.engine.onnx import OnnxEngine

    return _announce(OnnxEngine(graph, threads, reason))


def _tensorrt(graph: Path, max_people: int, progress, reason: str) -> Engine:
    if find_spec('tensorrt') is None:
        raise MissingExtra('The TensorRT engine', 'tensorrt')
    from cliff_ros.engine.tensorrt import TensorRTEngine

    return _announce(TensorRTEngine(graph, max_people, progress, reason))


def _announce(engine: Engine) -> Engine:
    logger.info('Engine %s for %s (%s)', engine.name, engine.metadata['model'], engine.reason)
    return engine
