"""Which part of a graph may be computed coarsely, and graphs in which it is.

The trunk of the encoder - convolutions, sums, activations - stands half precision well. What follows does
not: a soft-argmax subtracts nearly equal numbers, the mean of a feature map loses its last bits, and one step
of float16 in the crop camera's scale moves a person at 8 m by 4 mm. So the trunk is one connected part that
begins at the crop and ends before the first operation of any other kind; all else stays float32.

Before TensorRT 10 the parts are told to the builder (`trunk` gives their names); from then on networks are
strongly typed, and the graph itself says it (`to_half`). INT8 comes as QuantizeLinear and DequantizeLinear
around the trunk's inner convolutions (`to_int8`): every TensorRT since 8.0 understands it, while TensorRT's
own calibrators are gone since 11, and ONNX Runtime can check it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cliff_ros.errors import InputError, ModelError
from cliff_ros.graph.metadata import ENCODER_PREFIX, INPUTS
from cliff_ros.graph.simplify import initializers

if TYPE_CHECKING:
    import onnx

PRECISIONS = ('fp16', 'fp32', 'int8')
CALIBRATION_BATCH = 8
CALIBRATION_CROPS, FEWEST_CALIBRATION_CROPS = 128, 32
_TRUNK = frozenset(('Conv', 'Relu', 'Add', 'MaxPool', 'Resize', 'Gemm', 'Flatten', 'Unsqueeze'))
# Before it: crops beside their mirror images.
_MOVES = frozenset(('Gather', 'Concat', 'Reshape', 'Unsqueeze', 'Shape', 'Slice'))
_LARGEST_HALF = float(np.finfo(np.float16).max)


class Calibration(NamedTuple):
    """What INT8 is scaled to: crops (N, h, w, 3) uint8 RGB, location (N, 3) float32."""

    crops: np.ndarray
    location: np.ndarray


def trunk(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes of a simplified onnx.GraphProto that need no float32."""
    constants = set(initializers(graph))
    inside: set[str] = set()
    outside_encoder = {*constants, *INPUTS, ''}
    names = []
    for node in graph.node:
        data = [name for name in node.input if name not in constants and name]
        untouched = node.op_type in _MOVES and outside_encoder.issuperset(data)
        if untouched or not node.name.startswith(ENCODER_PREFIX):
            outside_encoder.update(node.output)
        elif node.op_type in _TRUNK and all(name in inside or name in outside_encoder for name in data):
            inside.update(node.output)
            names.append(node.name)
    return names


def to_half(model: onnx.ModelProto) -> None:
    """Let the trunk of a simplified onnx.ModelProto compute in float16, with casts at its borders; in place."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    names, constants = set(trunk(graph)), initializers(graph)
    inside = {name for node in graph.node if node.name in names for name in node.output}
    nodes, cast, added = [], set(), set()

    def converted(name: str, suffix: str, kind: int) -> str:
        if name not in cast:
            cast.add(name)
            nodes.append(helper.make_node('Cast', [name], [name + suffix], f'{name}{suffix}/Cast', to=kind))
        return name + suffix

    def constant(tensor: onnx.TensorProto) -> str:
        name = tensor.name + '.half'
        if name not in added:
            values = numpy_helper.to_array(tensor)
            if not np.abs(values).max(initial=0) <= _LARGEST_HALF:
                raise ModelError(f'the weights {tensor.name} do not fit into float16: choose the precision fp32')
            added.add(name)
            graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), name))
        return name

    for node in list(graph.node):
        for i, name in enumerate(node.input):
            if node.name not in names:
                if name in inside and node.op_type != 'Shape':
                    node.input[i] = converted(name, '.single', TensorProto.FLOAT)
            elif name in constants:
                # Sizes and axes are whole numbers; the factors of a Resize are float32 by definition.
                if constants[name].data_type == TensorProto.FLOAT and not (node.op_type == 'Resize' and i):
                    node.input[i] = constant(constants[name])
            elif name and name not in inside:
                node.input[i] = converted(name, '.half', TensorProto.FLOAT16)
        nodes.append(node)
    kept = {name for node in nodes for name in node.input}
    stored = [tensor for tensor in graph.initializer if tensor.name in kept]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(stored)


def to_int8(model: onnx.ModelProto, crops: np.ndarray, location: np.ndarray) -> onnx.ModelProto:
    """A simplified graph, anew, whose trunk's inner convolutions compute in 8 bits; all else stays as it is.

    crops: (N, h, w, 3) uint8 RGB, N at least 32 and of the kind that will come; location: (N, 3) float32.
    Ranges hold all but the largest 1e-5 of what the activations meet on these crops; weights are scaled per
    channel; both symmetric, as TensorRT wants. The first convolution and the last ones stay: they are cheap, and
    what they lose nothing brings back.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if len(crops) < FEWEST_CALIBRATION_CROPS:
        raise InputError(
            f'{len(crops)} crops are too few to calibrate INT8 with: give at least '
            f'{FEWEST_CALIBRATION_CROPS}, of the kind the camera will see'
        )
    return _returned(
        lambda path: quantize_static(
            model,
            path,
            _Batches(crops, location),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=['Conv'],
            nodes_to_quantize=inner_convolutions(model.graph),
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={'ActivationSymmetric': True, 'WeightSymmetric': True, 'QuantizeBias': False},
        )
    )


def inner_convolutions(graph: onnx.GraphProto) -> list[str]:
    """Names of the trunk's convolutions without the first one and those whose results leave the trunk."""
    names = set(trunk(graph))
    leaving = {name for node in graph.node if node.name not in names for name in node.input}
    convolutions = [node for node in graph.node if node.name in names and node.op_type == 'Conv']
    return [node.name for node in convolutions[1:] if node.output[0] not in leaving]


class _Batches:
    """Crops as the calibrator asks for them."""

    def __init__(self, crops: np.ndarray, location: np.ndarray) -> None:
        self._batches = self._cut(crops, location)

    @staticmethod
    def _cut(crops: np.ndarray, location: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
        for begin in range(0, len(crops) - CALIBRATION_BATCH + 1, CALIBRATION_BATCH):
            part = slice(begin, begin + CALIBRATION_BATCH)
            yield dict(
                zip(
                    INPUTS,
                    (np.ascontiguousarray(crops[part]), np.ascontiguousarray(location[part], np.float32)),
                    strict=True,
                )
            )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def _returned(write: Callable[[str], None]) -> onnx.ModelProto:
    """The model that a function writes to a file."""
    import tempfile
    from pathlib import Path

    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        write(str(path))
        return onnx.load(str(path))
