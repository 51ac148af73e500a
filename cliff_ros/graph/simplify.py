"""A runtime graph as other engines like it best: constants computed, batch norms inside of the convolutions.

Exported graphs keep their parameters under the network's names, and a rounded weight as float16 behind a Cast.
ONNX Runtime undoes that while it loads. TensorRT's parser wants initializers: a convolution whose weights
come out of another node, or a batch norm whose statistics do, is built slowly or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from cliff_ros.errors import MissingExtra, ModelError

if TYPE_CHECKING:
    import onnx

_BATCH_NORM_EPSILON = 1e-5  # ONNX's default


def parse(content: bytes, path: object = 'the graph') -> onnx.ModelProto:
    """The onnx.ModelProto of a file's content. MissingExtra without the onnx package."""
    try:
        import onnx
    except ImportError:
        raise MissingExtra('Preparing a graph for TensorRT', 'tensorrt') from None
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_from_string(content)
    except DecodeError as error:
        raise ModelError(f'{path} is not an ONNX file, or is damaged: get or export it again') from error


def simplify(content: bytes, path: object = 'the graph') -> onnx.ModelProto:
    """An onnx.ModelProto that computes the same from the same inputs, with every constant an initializer."""
    model = parse(content, path)
    _fold_constants(model)
    _fold_batch_norms(model.graph)
    _drop_unread(model.graph)
    return model


def initializers(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """TensorProto by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def _fold_constants(model: onnx.ModelProto) -> None:
    """Compute whatever depends on no input, once, in ONNX Runtime."""
    import onnx
    import onnxruntime as ort
    from onnx import helper, numpy_helper

    graph = model.graph
    static = set(initializers(graph))
    folded = []
    for node in graph.node:
        inner = any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute)
        if not inner and all(name in static or not name for name in node.input):
            static.update(node.output)
            folded.append(node)
    computed = {name for node in folded for name in node.output}
    others = [node for node in graph.node if node.output[0] not in computed]
    wanted = sorted(
        {name for node in others for name in node.input} & computed
        | {output.name for output in graph.output} & computed
    )
    if not wanted:
        return
    read = {name for node in folded for name in node.input}
    part = helper.make_graph(
        folded,
        'constants',
        [],
        [onnx.ValueInfoProto(name=name) for name in wanted],
        [tensor for tensor in graph.initializer if tensor.name in read],
    )
    whole = helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(whole.SerializeToString(), options, providers=['CPUExecutionProvider'])
    values = session.run(wanted, {})
    del graph.node[:]
    graph.node.extend(others)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in zip(wanted, values, strict=True)
    )


def _fold_batch_norms(graph: onnx.GraphProto) -> None:
    """BatchNormalization(Conv(x)) = Conv'(x), in float64 (the norm is a scale and a shift for each channel)."""
    from onnx import numpy_helper

    stored = initializers(graph)
    makers = {name: node for node in graph.node for name in node.output}
    readers = _count_readers(graph)
    kept = []
    for node in graph.node:
        conv = makers.get(node.input[0]) if node.input else None
        if (
            node.op_type != 'BatchNormalization'
            or conv is None
            or conv.op_type != 'Conv'
            or readers[conv.output[0]] != 1
            or not all(name in stored for name in node.input[1:])
            or not all(name in stored for name in conv.input[1:])
        ):
            kept.append(node)
            continue
        scale, shift, mean, variance = (
            numpy_helper.to_array(stored[name]).astype(np.float64) for name in node.input[1:5]
        )
        epsilon = next((a.f for a in node.attribute if a.name == 'epsilon'), _BATCH_NORM_EPSILON)
        gain = scale / np.sqrt(variance + epsilon)
        weight = numpy_helper.to_array(stored[conv.input[1]]).astype(np.float64)
        bias = numpy_helper.to_array(stored[conv.input[2]]).astype(np.float64) if len(conv.input) > 2 else 0.0
        folded = {
            f'{conv.name}/weight': weight * gain.reshape(-1, *[1] * (weight.ndim - 1)),
            f'{conv.name}/bias': (bias - mean) * gain + shift,
        }
        graph.initializer.extend(
            numpy_helper.from_array(value.astype(np.float32), name) for name, value in folded.items()
        )
        del conv.input[1:]
        conv.input.extend(folded)
        conv.output[0] = node.output[0]
        makers[conv.output[0]] = conv
    del graph.node[:]
    graph.node.extend(kept)


def _count_readers(graph: onnx.GraphProto) -> dict[str, int]:
    count = dict.fromkeys((name for node in graph.node for name in node.output), 0)
    for name in _read(graph):
        count[name] = count.get(name, 0) + 1
    return count


def _drop_unread(graph: onnx.GraphProto) -> None:
    read = set(_read(graph))
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _read(inner)
    for output in graph.output:
        yield output.name
