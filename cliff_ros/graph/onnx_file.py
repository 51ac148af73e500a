"""Look into ONNX files, and leave outputs out of them, without the onnx package.

ONNX Runtime computes every output of a graph, also those nobody asked for (``only_execute_path_to_fetches``
works in its training builds alone), and onnx is too heavy a dependency for a robot. An ONNX file is a tree
of protocol buffer messages, of which a few field numbers are all that is needed here (onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cliff_ros.errors import ModelError
from cliff_ros.files import check_regular

_MODEL_IR_VERSION, _MODEL_GRAPH, _MODEL_OPSET, _MODEL_METADATA = 1, 7, 8, 14
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_KIND, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 3, 4, 5, 7
_ATTRIBUTE_GRAPHS = (6, 11)
_MODEL_FUNCTION, _FUNCTION_NODE = 25, 7
_DAMAGE = (LookupError, StopIteration, TypeError, ValueError, RuntimeError)  # a RecursionError is a RuntimeError
_DEEPEST = 16  # graphs inside of graphs
_NAME_FIELD = {_GRAPH_INITIALIZER: 8, _GRAPH_OUTPUT: 1, _GRAPH_VALUE_INFO: 1}


class Node(NamedTuple):
    """An operation. ``domain`` is empty for ONNX's own."""

    kind: str
    name: str
    domain: str
    inputs: tuple[str, ...]


class OnnxFile:
    """The bytes of an ONNX file (``content``), and what is written in them.

    inputs, outputs: names. metadata: the model's properties. opset: version of ONNX's own operators.
    Raises ModelError for a file that is not ONNX.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        try:
            check_regular(path)
            self.content = Path(path).read_bytes()
        except ModelError as error:
            raise ModelError(f'{path} {error}') from None
        except OSError as error:
            raise ModelError(f'{path} cannot be read: {error.strerror}') from error
        try:
            # Reads the whole top level, so that a file cut off at either end is noticed here.
            top = {number: value for number, value, _ in _fields(memoryview(self.content))}
            self._graph, _ = top[_MODEL_GRAPH], top[_MODEL_IR_VERSION]
            self.inputs, self.outputs = self._names(_GRAPH_INPUT), self._names(_GRAPH_OUTPUT)
            self.metadata = self._metadata()
            self.opset = self._opset()
        except _DAMAGE as error:
            raise self._damaged() from error

    def _damaged(self) -> ModelError:
        return ModelError(f'{self._path} is not an ONNX file, or is damaged: get or export it again')

    def without(self, output: str) -> bytes:
        """The file without an output and without all that only this output needs."""
        try:
            return self._without(output)
        except _DAMAGE as error:
            raise self._damaged() from error

    def _without(self, output: str) -> bytes:
        graph = list(_fields(self._graph))
        needed = set(self.outputs) - {output}
        kept_nodes = set()
        # Nodes are stored in the order of their execution.
        for i, (number, node, _) in reversed(list(enumerate(graph))):
            if number == _GRAPH_NODE and needed & set(_strings(node, _NODE_OUTPUT)):
                kept_nodes.add(i)
                needed |= set(_read_by(node))

        def stays(i: int, number: int, value: memoryview) -> bool:
            if number == _GRAPH_NODE:
                return i in kept_nodes
            return number not in _NAME_FIELD or next(iter(_strings(value, _NAME_FIELD[number])), '') in needed

        trimmed = b''.join(raw for i, (number, value, raw) in enumerate(graph) if stays(i, number, value))
        rest = b''.join(raw for number, _, raw in _fields(memoryview(self.content)) if number != _MODEL_GRAPH)
        return rest + _varint(_MODEL_GRAPH << 3 | 2) + _varint(len(trimmed)) + trimmed

    def nodes(self) -> list[Node]:
        """All operations, also those inside of others (If, Loop) and of the model's own functions."""
        try:
            found = list(_nodes(self._graph))
            for number, function, _ in _fields(memoryview(self.content)):
                if number == _MODEL_FUNCTION:
                    found += _nodes(function, _FUNCTION_NODE)
            return found
        except _DAMAGE as error:
            raise self._damaged() from error

    def _opset(self) -> int:
        versions = [
            dict((number, value) for number, value, _ in _fields(entry))
            for number, entry, _ in _fields(memoryview(self.content))
            if number == _MODEL_OPSET
        ]
        return max((int(entry.get(2, 0)) for entry in versions if not _text(entry.get(1, b''))), default=0)

    def _metadata(self) -> dict[str, str]:
        entries = (
            dict((number, value) for number, value, _ in _fields(entry))
            for number, entry, _ in _fields(memoryview(self.content))
            if number == _MODEL_METADATA
        )
        return {_text(entry[1]): _text(entry.get(2, b'')) for entry in entries}

    def _names(self, kind: int) -> list[str]:
        return [next(iter(_strings(value, 1))) for number, value, _ in _fields(self._graph) if number == kind]


def _nodes(graph: memoryview, field: int = _GRAPH_NODE, depth: int = 0) -> Iterator[Node]:
    if depth > _DEEPEST:
        raise ValueError('graphs inside of graphs without end')
    for number, node, _ in _fields(graph):
        if number == field:
            kind, name, domain = (
                next(iter(_strings(node, wanted)), '') for wanted in (_NODE_KIND, _NODE_NAME, _NODE_DOMAIN)
            )
            yield Node(kind, name, domain, tuple(_strings(node, _NODE_INPUT)))
            for inner in _inner_graphs(node):
                yield from _nodes(inner, depth=depth + 1)


def _read_by(node: memoryview, depth: int = 0) -> Iterator[str]:
    """Names a node reads, also those its inner graphs (of If, Loop) take from outside."""
    if depth > _DEEPEST:
        raise ValueError('graphs inside of graphs without end')
    yield from _strings(node, _NODE_INPUT)
    for graph in _inner_graphs(node):
        for part, inner, _ in _fields(graph):
            if part == _GRAPH_NODE:
                yield from _read_by(inner, depth + 1)


def _inner_graphs(node: memoryview) -> Iterator[memoryview]:
    for number, attribute, _ in _fields(node):
        if number == _NODE_ATTRIBUTE:
            yield from (graph for kind, graph, _ in _fields(attribute) if kind in _ATTRIBUTE_GRAPHS)


def _strings(message: memoryview, wanted: int) -> Iterator[str]:
    return (_text(value) for number, value, _ in _fields(message) if number == wanted)


def _text(value: memoryview | bytes) -> str:
    if isinstance(value, int):  # of which bytes() would make as many zeros
        raise TypeError('a number where text should be')
    return bytes(value).decode()


def _fields(message: memoryview) -> Iterator[tuple[int, Any, memoryview]]:
    """Field number, value, and the bytes of the whole field, of each field of a message.

    A value is a memoryview, or a number. Which of the two a field has is the file's choice: what is done with the wrong
    one raises a TypeError, which all readers here take for damage.
    """
    at = 0
    while at < len(message):
        start = at
        value: memoryview | int
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _read_varint(message, at)
        else:
            if kind == 2:
                size, at = _read_varint(message, at)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise ValueError(f'wire type {kind}')
            value, at = message[at : at + size], at + size
        if at > len(message):
            raise ValueError('cut off')
        yield key >> 3, value, message[start:at]


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
        if shift >= 70:  # protocol buffers have 64 bits; more would make ever longer numbers
            raise ValueError('a number without end')


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
