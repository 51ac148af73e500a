"""From a runtime graph to a TensorRT engine: minutes of work, once for a graph, a TensorRT and a kind of GPU.

How the precision is said depends on the version. From 10 on (and always in 11) networks are strongly typed:
the graph's own casts say it (`precision.to_half`). Before, the builder chooses within limits: float16 is
allowed, and every layer outside of the encoder's trunk is pinned to float32.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import tensorrt as trt

from cliff_ros.crop.views import CropSpec
from cliff_ros.engine.build_plan import WHAT, Phases, Progress, belongs, profile
from cliff_ros.errors import InputError, ModelError
from cliff_ros.graph import precision as precisions
from cliff_ros.graph.precision import Calibration
from cliff_ros.graph.simplify import simplify

WORKSPACE = 1 << 30  # bytes a layer may use for itself; a Jetson shares its memory with everyone
logger = logging.getLogger(__name__)


def build(
    content: bytes,
    path: str | Path,
    spec: CropSpec,
    max_people: int,
    precision: str,
    log: Log,
    progress: Progress | None = None,
    calibration: Calibration | None = None,
) -> bytes:
    """Build an engine; returns what TensorRT serializes.

    content: of the runtime graph, path: where it came from; spec: its crops.
    Raises InputError for INT8 without calibration, ModelError for what TensorRT cannot build.
    """
    if precision not in precisions.PRECISIONS:
        raise InputError(f'precision must be one of {", ".join(precisions.PRECISIONS)}, not {precision!r}')
    report = progress or (lambda done, what: None)
    report(0.0, f'{WHAT}: preparing the graph')
    model = simplify(content, path)
    trunk = set(precisions.trunk(model.graph))
    others = {node.name for node in model.graph.node} - trunk
    if precision == 'int8':
        if calibration is None:
            raise InputError('INT8 needs crops to calibrate with: give them, or choose the precision fp16')
        report(0.0, f'{WHAT}: calibrating INT8')
        model = precisions.to_int8(model, *calibration)
    strong = is_strongly_typed()
    if precision == 'fp16' and strong:
        precisions.to_half(model)

    report(0.0, WHAT)
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags())
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model.SerializeToString()):
        errors = '; '.join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise ModelError(f'TensorRT {trt.__version__} cannot read {path}: {errors}')
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    # TF32 has the mantissa of float16: float32 must mean float32 where it is asked for.
    config.clear_flag(trt.BuilderFlag.TF32)
    shapes = builder.create_optimization_profile()
    for name, rest in (('crops', (spec.height, spec.width, 3)), ('location', (3,))):
        shapes.set_shape(name, *((people, *rest) for people in profile(max_people)))
    config.add_optimization_profile(shapes)
    if precision != 'fp32' and not strong:
        config.set_flag(trt.BuilderFlag.FP16)
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        if precision == 'int8':
            config.set_flag(trt.BuilderFlag.INT8)
        _pin_to_single(network, trunk, others)
    monitor = _monitor(progress)
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelError(f'TensorRT {trt.__version__} cannot build {path}: {log.last_error}')
    return bytes(plan)


def is_strongly_typed() -> bool:
    """Whether this TensorRT takes types from the graph alone; those that can do both should not choose."""
    return hasattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED')


def _network_flags() -> int:
    """EXPLICIT_BATCH is asked for by TensorRT 8 and gone from 11 on; STRONGLY_TYPED came with 9."""
    flags = trt.NetworkDefinitionCreationFlag
    return sum(1 << int(getattr(flags, name)) for name in ('EXPLICIT_BATCH', 'STRONGLY_TYPED') if hasattr(flags, name))


def _pin_to_single(network: trt.INetworkDefinition, trunk: Collection[str], others: Collection[str]) -> None:
    """Leave float16 to the encoder's trunk."""
    no_arithmetic = (
        trt.LayerType.CONSTANT,
        trt.LayerType.SHAPE,
        trt.LayerType.IDENTITY,
        trt.LayerType.QUANTIZE,
        trt.LayerType.DEQUANTIZE,
        getattr(trt.LayerType, 'CAST', None),
    )  # from 8.6 on; before, casts were identities
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        outputs = [layer.get_output(j) for j in range(layer.num_outputs)]
        if (
            belongs(layer.name, trunk, others)
            or layer.type in no_arithmetic
            or any(output.dtype != trt.float32 or output.is_shape_tensor for output in outputs)
        ):
            continue
        layer.precision = trt.float32
        for j in range(layer.num_outputs):
            layer.set_output_type(j, trt.float32)


def _monitor(progress: Progress | None) -> Any:
    """TensorRT's progress monitor for a callback; None where there is no callback or no monitor yet (8.x)."""
    if progress is None or not hasattr(trt, 'IProgressMonitor'):
        return None

    phases = Phases(progress)

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases = phases

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._phases.step(phase_name, step)
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._phases.finish(phase_name)

    return Monitor()


class Log(trt.ILogger):
    """TensorRT's messages, as ours."""

    _LEVELS = {'INTERNAL_ERROR': logging.ERROR, 'ERROR': logging.ERROR, 'WARNING': logging.WARNING}

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.last_error = 'no reason given'

    def log(self, severity: Any, msg: str) -> None:
        """Pass on TensorRT's errors and warnings as such and all else as debug; `last_error` keeps the last error."""
        level = self._LEVELS.get(severity.name, logging.DEBUG)
        if level == logging.ERROR:
            self.last_error = msg
        logger.log(level, 'TensorRT: %s', msg)
