"""TensorRT 8.5 and later: the engine for NVIDIA GPUs.

One upload and one download per image, both from pinned memory. For few people, where launching kernels costs
more than running them, the work is recorded once as a CUDA graph and launched as one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt

from cliff_ros.crop.cropper import CpuCropper, Cropper
from cliff_ros.engine import cache, cudart, tensorrt_build
from cliff_ros.engine.build_plan import Progress, profile
from cliff_ros.engine.check import check_against
from cliff_ros.engine.cudart import CudaError
from cliff_ros.errors import EngineError, InputError, ModelError
from cliff_ros.graph.metadata import ENGINE_SUFFIX, read_metadata
from cliff_ros.graph.onnx_file import OnnxFile
from cliff_ros.graph.precision import Calibration

RECORDED_PEOPLE = 4  # up to so many the work is recorded: a context each, and a context is activation memory
logger = logging.getLogger(__name__)


class TensorRTEngine:
    """A runtime graph on TensorRT (see `cliff_ros.engine.Engine`). All calls in the thread that made it.

    path: a runtime graph, which is built where no fitting engine is in the cache; or an engine by
        ``cliff build-engine``, of which max_people and precision are what they were then.
    max_people: the largest batch. precision: of the encoder's trunk: fp16, fp32 or int8.
    progress: told (fraction, what) while the engine is built. calibration: crops, for int8.

    Raises CudaError without a GPU; ModelError for a graph that TensorRT cannot build, for a build that does not
    agree with ONNX Runtime, and for an engine that was built for something else.
    """

    def __init__(
        self,
        path: str | Path,
        max_people: int = 32,
        progress: Progress | None = None,
        reason: str = 'asked for',
        precision: str = 'fp16',
        calibration: Calibration | None = None,
    ) -> None:
        self.reason = reason
        cudart.use_device()
        self._log = tensorrt_build.Log()
        self._runtime = trt.Runtime(self._log)
        if Path(path).suffix == ENGINE_SUFFIX:
            self.built = _fitting(Path(path))
            self._open(self.built)
        else:
            self.built = self._cached_or_built(Path(path), max_people, precision, progress, calibration)
        self.cropper = self._cropper()

    def __call__(self, crops: np.ndarray, location: np.ndarray, vertices: bool = True) -> dict[str, np.ndarray]:
        """As `Engine` says; crops may be an array or, by `cropper`, a tensor on the GPU.

        InputError for more than max_people people, CudaError where the GPU fails.
        """
        people = len(crops)
        if people == 0:
            return self.metadata.nobody(vertices)
        if people > self.max_people:
            raise InputError(
                f'{people} people at once, but the engine was built for max_people={self.max_people}: raise max_people'
            )
        cudart.use_device()
        self._upload(crops, np.asarray(location, np.float32))
        self._runner(people).run(self._stream, vertices)
        self._stream.synchronize()
        shapes = self.metadata.output_shapes(people)
        offsets, _ = cudart.pack(self._output_sizes(people))
        return {
            name: self._outputs.host[offsets[name] :]
            .view(np.float32)[: np.prod(shapes[name])]
            .reshape(shapes[name])
            .copy()
            for name in self.metadata.outputs(vertices)
        }

    def _open(self, built: cache.Built) -> None:
        """Make an engine ready to run."""
        engine = self._runtime.deserialize_cuda_engine(built.plan)
        if engine is None:
            raise ModelError(f'TensorRT cannot load the engine: {self._log.last_error}')
        self._engine, self.metadata = engine, built.metadata
        self.spec = self.metadata.spec
        self.max_people = int(built.key.profile.split('/')[-1])
        self._stream = cudart.Stream()
        self._inputs = cudart.Block(cudart.pack(self._input_sizes(self.max_people))[1])
        self._outputs = cudart.Block(cudart.pack(self._output_sizes(self.max_people))[1])
        self._shared = self._context()
        self._runners: dict[int, _Runner] = {}
        self._records = True
        self.name = f'tensorrt:{trt.__version__}:{cudart.device_name()}:{built.key.precision}'

    def _cached_or_built(
        self, path: Path, max_people: int, precision: str, progress: Progress | None, calibration: Calibration | None
    ) -> cache.Built:
        file = OnnxFile(path)
        metadata = read_metadata(file, path)
        key = key_of(metadata.sha256, precision, max_people)
        # How INT8 was calibrated is not in the key: such engines are files of their own.
        kept = precision != 'int8'
        if kept and (plan := cache.load(key)) is not None:
            try:
                built = cache.Built(key, metadata, plan)
                self._open(built)
                return built
            except ModelError as error:
                logger.warning('The cached engine is built anew: %s', error)
        logger.info('Building a TensorRT engine for %s (%s): this takes some minutes, once', path, key)
        built = cache.Built(
            key,
            metadata,
            tensorrt_build.build(
                file.content, path, metadata.spec, max_people, precision, self._log, progress, calibration
            ),
        )
        self._open(built)
        check_against(self, path, precision)
        if kept:
            try:
                logger.info('Kept the engine as %s', cache.store(built))
            except (OSError, ModelError) as error:
                logger.warning('The engine cannot be kept and will be built again next time: %s', error)
        return built

    def _cropper(self) -> Cropper:
        """Cuts on the GPU where PyTorch is there to do it."""
        if find_spec('torch') is None:
            return CpuCropper(self.spec)
        import torch

        if not torch.cuda.is_available():
            return CpuCropper(self.spec)
        from cliff_ros.crop.torch_sampling import TorchCropper

        return TorchCropper(self.spec, 'cuda:0')

    def _upload(self, crops: Any, location: np.ndarray) -> None:
        """Into the block of inputs: from the host in one copy; crops by `cropper` may lie on the GPU already."""
        offsets, size = cudart.pack(self._input_sizes(len(location)))
        _place(self._inputs.host, offsets['location'], location)
        if isinstance(crops, np.ndarray):
            _place(self._inputs.host, offsets['crops'], np.asarray(crops, np.uint8))
            self._inputs.copy(cudart.TO_DEVICE, size, self._stream)
            return
        import torch

        crops = crops.contiguous()
        torch.cuda.current_stream().synchronize()
        self._inputs.copy(cudart.TO_DEVICE, location.nbytes, self._stream)
        self._stream.copy(self._inputs.address + offsets['crops'], crops.data_ptr(), crops.nbytes)
        # PyTorch may use the crops' memory again as soon as we let go of them.
        self._stream.synchronize()

    def _runner(self, people: int) -> _Runner:
        if people not in self._runners:
            # A recording holds as long as nothing else changes its context, so each has a context of its own.
            own = self._context(needed=False) if self._records and people <= RECORDED_PEOPLE else None
            inputs, outputs = self._input_sizes(people), self._output_sizes(people)
            addresses = {name: self._inputs.address + offset for name, offset in cudart.pack(inputs)[0].items()}
            offsets, size = cudart.pack(outputs)
            addresses |= {name: self._outputs.address + offset for name, offset in offsets.items()}
            shapes = {'crops': (people, self.spec.height, self.spec.width, 3), 'location': (people, 3)}
            self._runners[people] = _Runner(
                own or self._shared,
                own is not None,
                shapes,
                addresses,
                self._outputs,
                (offsets['vertices'], size),
                self._log,
            )
        return self._runners[people]

    def _context(self, needed: bool = True) -> Any:
        context = self._engine.create_execution_context()
        if context is None and needed:
            raise CudaError(
                f'the GPU has too little memory to run the network for {self.max_people} people: lower '
                f'max_people, or choose the engine onnx'
            )
        if context is None:
            self._records = False
            logger.info('The GPU has too little memory to record its work for each number of people')
        return context

    def _input_sizes(self, people: int) -> dict[str, int]:
        return {'location': people * 3 * 4, 'crops': people * self.spec.height * self.spec.width * 3}

    def _output_sizes(self, people: int) -> dict[str, int]:
        """The mesh comes last: without it the copy back is shorter."""
        shapes = self.metadata.output_shapes(people)
        names = [*(name for name in shapes if name != 'vertices'), 'vertices']
        return {name: 4 * int(np.prod(shapes[name])) for name in names}


class _Runner:
    """The engine for one number of people: shapes and addresses never change, so the work can be recorded."""

    def __init__(
        self,
        context: Any,
        record: bool,
        shapes: Mapping[str, tuple[int, ...]],
        addresses: Mapping[str, int],
        outputs: cudart.Block,
        sizes: tuple[int, int],
        log: tensorrt_build.Log,
    ) -> None:
        self._context, self._record, self._shapes, self._addresses = context, record, shapes, addresses
        self._outputs, self._sizes, self._log = outputs, sizes, log
        self._ready = False
        self._recorded: dict[bool, cudart.Graph | None] = {}

    def run(self, stream: cudart.Stream, vertices: bool) -> None:
        """Queue the network and the copy of what it gives."""
        if not self._record:
            self._prepare()
        elif vertices in self._recorded:
            if (recorded := self._recorded[vertices]) is not None:
                recorded.launch(stream)
                return
        elif not self._ready:
            self._prepare()
            self._ready = True
        else:
            self._recorded[vertices] = self._record_once(stream, vertices)
            return
        self._work(stream, vertices)

    def _record_once(self, stream: cudart.Stream, vertices: bool) -> cudart.Graph | None:
        """Run the work, record it, and keep the recording only if it gives the same; leaves the outputs ready."""
        self._work(stream, vertices)
        recorded = stream.record(lambda: self._work(stream, vertices))
        stream.synchronize()
        if recorded is not None:
            given = self._outputs.host[: self._sizes[vertices]].view(np.float32)
            expected = given.copy()
            given[:] = 0
            recorded.launch(stream)
            stream.synchronize()
            if np.allclose(given, expected, rtol=1e-3, atol=1e-5, equal_nan=True):
                return recorded
            given[:] = expected
        logger.info('This engine cannot be recorded as a CUDA graph: it runs kernel by kernel')
        return None

    def _prepare(self) -> None:
        for name, shape in self._shapes.items():
            self._context.set_input_shape(name, shape)
        for name, address in self._addresses.items():
            self._context.set_tensor_address(name, address)

    def _work(self, stream: cudart.Stream, vertices: bool) -> None:
        if not self._context.execute_async_v3(stream.handle.value):
            raise EngineError(
                f'TensorRT could not run the network: {self._log.last_error}; start again, or choose the engine onnx',
                lost=True,
            )
        self._outputs.copy(cudart.TO_HOST, self._sizes[vertices], stream)


def key_of(sha256: str, precision: str, max_people: int) -> cache.EngineKey:
    """The key of an engine for this GPU and this TensorRT."""
    return cache.EngineKey(
        graph=sha256,
        tensorrt=trt.__version__,
        gpu=cudart.device_name(),
        capability=cudart.compute_capability(),
        precision=precision,
        profile='/'.join(map(str, profile(max_people))),
    )


def _fitting(path: Path) -> cache.Built:
    """An engine's file, if it was built for this GPU and this TensorRT."""
    built = cache.read(path)
    here = {'tensorrt': trt.__version__, 'gpu': cudart.device_name(), 'capability': cudart.compute_capability()}
    for name, value in here.items():
        if getattr(built.key, name) != value:
            raise ModelError(
                f'the engine {path} was built for {name} {getattr(built.key, name)}, and here is {value}: '
                f"build it here with 'cliff build-engine', or give the runtime graph (.onnx)"
            )
    return built


def _place(block: np.ndarray, offset: int, value: np.ndarray) -> None:
    target = block[offset : offset + value.nbytes].view(value.dtype)
    np.copyto(target.reshape(value.shape), value)
