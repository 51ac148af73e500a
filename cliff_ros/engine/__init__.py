"""How a network runs: ONNX Runtime everywhere, TensorRT or PyTorch where there is an NVIDIA GPU for them."""

from __future__ import annotations

import ctypes
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cliff_ros.crop.views import CropSpec
from cliff_ros.engine.build_plan import Progress
from cliff_ros.errors import CliffError, InputError, MissingExtra
from cliff_ros.graph.metadata import ENGINE_SUFFIX, GraphMetadata, find_graph

if TYPE_CHECKING:
    from cliff_ros.body import BodyModel
    from cliff_ros.crop.cropper import Cropper

ENGINES = ('auto', 'onnx', 'tensorrt', 'torch')
logger = logging.getLogger(__name__)


class Engine(Protocol):
    """A runtime graph, loaded and ready. Calls must come from one thread at a time: the one that loaded it."""

    name: str  # what runs it, e.g. 'onnx:CPUExecutionProvider'
    reason: str  # why this one
    metadata: GraphMetadata  # what the exporter wrote into the graph
    spec: CropSpec  # how it wants its crops cut

    @property
    def cropper(self) -> Cropper:
        """Cuts them; what it returns goes into the call as crops."""
        ...

    def __call__(self, crops: Any, location: np.ndarray, vertices: bool = True) -> dict[str, np.ndarray]:
        """Run the network and the body on N people.

        crops: (N, h, w, 3) uint8 RGB, an array or what `cropper` returns; location: (N, 3) float32.
        Returns float32 arrays by the names of `GraphMetadata.outputs`, without ``vertices``
        (which is then not computed) where that is False. Raises EngineError when a device fails.
        """
        ...


def load_engine(
    path: str | Path = 'embedded',
    engine: str = 'auto',
    max_people: int = 32,
    threads: int = 0,
    progress: Progress | None = None,
    body: BodyModel | None = None,
) -> Engine:
    """Load a network to run it.

    path: ``'embedded'`` or an ONNX file written by ``cliff export``; also an engine of ``cliff build-engine``
        (TensorRT), or a checkpoint (PyTorch).
    engine: ``'auto'`` takes TensorRT where it is installed and a GPU answers, else ONNX Runtime if that uses a GPU,
        else PyTorch if that does, else ONNX Runtime on the CPU. The choice and its reason are logged.
    max_people: the largest batch a TensorRT engine is built for.
    threads: CPU threads; 0 chooses.
    progress: told (fraction, what) while TensorRT builds, which takes minutes; in any thread.
    body: for PyTorch, which takes the body from here and not from the graph; None: the embedded one.

    A graph of somebody else's making runs first in a child process with limits (`cliff_ros.engine.trial`).
    """
    if engine not in ENGINES:
        raise InputError(f'engine must be one of {", ".join(ENGINES)}, not {engine!r}')
    if Path(path).suffix == ENGINE_SUFFIX:
        if engine not in ('auto', 'tensorrt'):
            raise InputError(
                f'{path} is a TensorRT engine, which {engine} cannot run: choose the engine tensorrt, or '
                f'give the runtime graph (.onnx) it was built from'
            )
        return _tensorrt(Path(path).expanduser(), max_people, progress, 'the model is a TensorRT engine')
    from cliff_ros.engine.trial import check_graph

    if engine == 'torch':
        if Path(path).suffix == '.onnx':
            check_graph(find_graph(path))
        return _torch(path, threads, 'asked for', body)
    graph = find_graph(path)
    check_graph(graph)
    if engine == 'tensorrt':
        return _tensorrt(graph, max_people, progress, 'asked for')
    if engine == 'onnx':
        return _onnx(graph, threads, 'asked for')
    return _best(graph, max_people, threads, progress, body)


def _best(graph: Path, max_people: int, threads: int, progress: Progress | None, body: BodyModel | None) -> Engine:
    if find_spec('tensorrt') is None:
        reason = 'tensorrt is not installed'
    else:
        try:
            return _tensorrt(graph, max_people, progress, 'tensorrt is installed and a GPU answers')
        except (CliffError, ImportError, OSError, RuntimeError) as error:
            reason = f'TensorRT cannot be used: {error}'
    if not _driver_answers():
        return _onnx(graph, threads, reason)
    from cliff_ros.engine.onnx_engine import providers

    if providers()[0] == 'CPUExecutionProvider' and find_spec('torch') is not None:
        import torch

        if torch.cuda.is_available():
            reason += '; PyTorch can use the GPU, ONNX Runtime cannot'
            try:
                return _torch(graph, threads, reason, body)
            except CliffError as error:
                reason += f', but not with this network: {error}'
    return _onnx(graph, threads, reason)


def _driver_answers() -> bool:
    """Whether NVIDIA's driver is there: asked first, because importing PyTorch to ask it takes seconds."""
    try:
        return ctypes.CDLL('libcuda.so.1').cuInit(0) == 0
    except (OSError, AttributeError):
        return False


def _onnx(graph: Path, threads: int, reason: str) -> Engine:
    from cliff_ros.engine.onnx_engine import OnnxEngine

    return _announce(OnnxEngine(graph, threads, reason))


def _tensorrt(graph: Path, max_people: int, progress: Progress | None, reason: str) -> Engine:
    if find_spec('tensorrt') is None:
        raise MissingExtra('The TensorRT engine', 'tensorrt')
    from cliff_ros.engine.tensorrt_engine import TensorRTEngine

    return _announce(TensorRTEngine(graph, max_people, progress, reason))


def _torch(path: str | Path, threads: int, reason: str, body: BodyModel | None) -> Engine:
    try:
        import onnx  # noqa: F401
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtra('The PyTorch engine', 'torch') from None
    from cliff_ros.engine.torch_engine import TorchEngine

    return _announce(TorchEngine(path, threads, reason, body))


def _announce(engine: Engine) -> Engine:
    logger.info('Engine %s for %s (%s)', engine.name, engine.metadata.model, engine.reason)
    return engine
