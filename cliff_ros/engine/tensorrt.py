"""TensorRT 8.5 and later: the engine for NVIDIA GPUs.

The encoder may run in fp16; everything after it stays in fp32, because one step of fp16 in the crop camera's
scale moves a person at 8 m by 4 mm. One upload and one download per image, both from pinned memory.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorrt as trt

from cliff_ros.engine import cache, cudart, graph
from cliff_ros.engine.cudart import CudaError
from cliff_ros.engine.onnx_file import OnnxFile
from cliff_ros.errors import InputError, ModelError

WORKSPACE = 1 << 30  # bytes a layer may use for itself; a Jetson shares its memory with everyone
TYPICAL_PEOPLE = 4  # the batch the kernels are chosen for
logger = logging.getLogger(__name__)

Progress = Callable[[float, str], None]


class TensorRTEngine:
    """A runtime graph on TensorRT (see `cliff_ros.engine.Engine`).

    max_people: the largest batch. progress: told (fraction, what) while the engine is built.
    Raises CudaError without a GPU, ModelError for a graph that TensorRT cannot build.
    """

    def __init__(self, path: str | Path, max_people: int = 32, progress: Progress | None = None,
                 reason: str = 'asked for') -> None:
        file = OnnxFile(path)
        self.metadata = graph.read_metadata(file, path)
        self.spec = graph.crop_spec(self.metadata)
        self.reason, self.max_people = reason, max_people
        cudart.use_device()
        self._log = _Log()
        self._runtime = trt.Runtime(self._log)
        self._engine = self._load_or_build(file.content, path, progress)
        # The context works for one thread at a time: that of the pipeline.
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise CudaError(f'the GPU has too little memory to run {path} for {max_people} people: '
                            f'lower max_people, or choose the engine onnx')
        self._stream = cudart.Stream()
        self._inputs = cudart.Block(cudart.pack(self._input_sizes(max_people))[1])
        self._outputs = cudart.Block(cudart.pack(self._output_sizes(max_people))[1])
        self.name = f'tensorrt:{trt.__version__}:{cudart.device_name()}'

    def __call__(self, crops: np.ndarray, location: np.ndarray,
                 vertices: bool = True) -> dict[str, np.ndarray]:
        people = len(crops)
        if people == 0:
            return graph.nobody(self.metadata, vertices)
        if people > self.max_people:
            raise InputError(f'{people} people at once, but the engine was built for max_people='
                             f'{self.max_people}: raise max_people')
        cudart.use_device()
        offsets, size = cudart.pack(self._input_sizes(people))
        for name, value in (('crops', np.asarray(crops, np.uint8)),
                            ('location', np.asarray(location, np.float32))):
            self._context.set_input_shape(name, value.shape)
            self._context.set_tensor_address(name, self._inputs.address + offsets[name])
            target = self._inputs.host[offsets[name]:offsets[name] + value.nbytes]
            target.view(value.dtype).reshape(value.shape)[:] = value
        self._inputs.copy(cudart.TO_DEVICE, size, self._stream)

        offsets, size = cudart.pack(self._output_sizes(people))
        for name, offset in offsets.items():
            self._context.set_tensor_address(name, self._outputs.address + offset)
        if not self._context.execute_async_v3(self._stream.handle.value):
            raise CudaError(f'TensorRT could not run the network: {self._log.last_error}')
        # The mesh lies at the end of the block: without it the copy is shorter.
        self._outputs.copy(cudart.TO_HOST, size if vertices else offsets['vertices'], self._stream)
        self._stream.synchronize()
        shapes = graph.output_shapes(self.metadata, people)
        return {name: self._outputs.host[offsets[name]:].view(np.float32)[:np.prod(shapes[name])]
                .reshape(shapes[name]).copy() for name in graph.wanted(self.metadata, vertices)}

    def _input_sizes(self, people: int) -> dict[str, int]:
        return {'crops': people * self.spec.height * self.spec.width * 3, 'location': people * 3 * 4}

    def _output_sizes(self, people: int) -> dict[str, int]:
        shapes = graph.output_shapes(self.metadata, people)
        return {name: 4 * int(np.prod(shapes[name])) for name in shapes}

    def _load_or_build(self, content: bytes, path: str | Path, progress: Progress | None):
        key = cache.EngineKey(
            graph=hashlib.sha256(content).hexdigest(), tensorrt=trt.__version__, gpu=cudart.device_name(),
            capability=cudart.compute_capability(),
            precision='fp16' if _chooses_precision() else 'as exported', max_people=self.max_people)
        plan = cache.load(key)
        engine = None if plan is None else self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            logger.info('Building a TensorRT engine for %s (%s): this takes some minutes, once', path, key)
            plan = self._build(content, path, progress)
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise ModelError(f'TensorRT cannot load the engine it built: {self._log.last_error}')
            try:
                logger.info('Kept the engine as %s', cache.store(key, plan))
            except OSError as error:
                logger.warning('The engine cannot be kept and will be built again next time: %s', error)
        return engine

    def _build(self, content: bytes, path: str | Path, progress: Progress | None) -> bytes:
        builder = trt.Builder(self._log)
        # TensorRT 8 asks for this flag, 11 no longer has it.
        explicit = getattr(trt.NetworkDefinitionCreationFlag, 'EXPLICIT_BATCH', None)
        network = builder.create_network(0 if explicit is None else 1 << int(explicit))
        parser = trt.OnnxParser(network, self._log)
        if not parser.parse(content):
            errors = '; '.join(str(parser.get_error(i)) for i in range(parser.num_errors))
            raise ModelError(f'TensorRT {trt.__version__} cannot read {path}: {errors}')
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
        config.add_optimization_profile(self._profile(builder))
        # TF32 has the mantissa of fp16: fp32 must mean fp32 where it is asked for.
        config.clear_flag(trt.BuilderFlag.TF32)
        if _chooses_precision():
            config.set_flag(trt.BuilderFlag.FP16)
            config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
            _pin_to_fp32(network)
        monitor = _monitor(progress)
        if monitor is not None:
            config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise ModelError(f'TensorRT {trt.__version__} cannot build {path}: {self._log.last_error}')
        return bytes(plan)

    def _profile(self, builder):
        profile = builder.create_optimization_profile()
        typical = min(TYPICAL_PEOPLE, self.max_people)
        for name, rest in (('crops', (self.spec.height, self.spec.width, 3)), ('location', (3,))):
            profile.set_shape(name, *((people, *rest) for people in (1, typical, self.max_people)))
        return profile


def _chooses_precision() -> bool:
    """Up to TensorRT 10 the builder chooses types within limits; from 11 on the graph alone says them."""
    return hasattr(trt.BuilderFlag, 'OBEY_PRECISION_CONSTRAINTS')


def _pin_to_fp32(network) -> None:
    """Leave fp16 to the encoder."""
    no_arithmetic = (trt.LayerType.CONSTANT, trt.LayerType.SHAPE, trt.LayerType.IDENTITY,
                     getattr(trt.LayerType, 'CAST', None))  # from 8.6 on; before, casts were identities
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        outputs = [layer.get_output(j) for j in range(layer.num_outputs)]
        if (layer.name.startswith(graph.ENCODER_PREFIX) or layer.type in no_arithmetic
                or any(output.dtype != trt.float32 or output.is_shape_tensor for output in outputs)):
            continue
        layer.precision = trt.float32
        for j in range(layer.num_outputs):
            layer.set_output_type(j, trt.float32)


def _monitor(progress: Progress | None):
    """TensorRT's progress monitor for a callback; None where there is no callback or no monitor yet (8.x)."""
    if progress is None or not hasattr(trt, 'IProgressMonitor'):
        return None

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._steps[phase_name] = num_steps
                progress(0.0, phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                progress((step + 1) / self._steps[phase_name], phase_name)
            return True

        def phase_finish(self, phase_name: str) -> None:
            if self._steps.pop(phase_name, None):
                progress(1.0, phase_name)

    return Monitor()


class _Log(trt.ILogger):
    """TensorRT's messages, as ours."""

    _LEVELS = {'INTERNAL_ERROR': logging.ERROR, 'ERROR': logging.ERROR, 'WARNING': logging.WARNING}

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.last_error = 'no reason given'

    def log(self, severity, msg: str) -> None:
        level = self._LEVELS.get(severity.name, logging.DEBUG)
        if level == logging.ERROR:
            self.last_error = msg
        logger.log(level, 'TensorRT: %s', msg)
