"""Tiny ONNX graphs with known answers, run by the real ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, UINT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64


def save(path: Path, nodes, inputs, outputs, constants: dict[str, np.ndarray], metadata: str | None = None):
    """Write a graph; constants are initializers by name."""
    graph = helper.make_graph(
        nodes, 'tiny', inputs, outputs, [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    if metadata is not None:
        helper.set_model_props(model, {'cliff_ros': metadata})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def tensor(name: str, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def runtime_graph(path: Path, body, crop=(64, 48), **metadata) -> Path:
    """A runtime graph of the real form that always sees the resting body, facing the camera.

    The crop camera is s = 1 (a person as high as the crop is 2 m high), tx = ty = 0; betas[0] is the mean
    red of the crop in 0..1, so that what was cut is seen in what comes out; the joints are the mean shape's.
    With ``presence=True`` it also says that a person is there, as probable as the crop is red.
    """
    upright = np.diag([1.0, -1.0, -1.0]).astype(np.float32)
    rotations = np.tile(np.eye(3, dtype=np.float32), (24, 1, 1))
    rotations[0] = upright
    joints, vertices = body(np.zeros((1, 10)), rotations[None], np.zeros((1, 3)))
    # The middle of the body on the axis of the crop.
    lift = -(vertices[0].max(0) + vertices[0].min(0)) / 2 * [1, 1, 0]
    n = helper.make_node
    nodes = [
        n('Cast', ['crops'], ['pixels'], to=FLOAT),
        n('ReduceMean', ['pixels'], ['mean'], axes=[1, 2], keepdims=0),  # (N, 3)
        n('Slice', ['mean', 'zero', 'one', 'axis1'], ['red']),
        n('Div', ['red', 'max_pixel'], ['beta0']),
        n('Pad', ['beta0', 'pads'], ['betas']),
        n('Slice', ['location', 'two', 'three', 'axis1'], ['size']),
        n('Div', ['two_f', 'size'], ['depth']),  # 2 / (b s)
        n('Slice', ['location', 'zero', 'two', 'axis1'], ['direction']),
        n('Mul', ['direction', 'depth'], ['across']),
        n('Concat', ['across', 'depth'], ['place'], axis=1),
        n('Add', ['place', 'lift'], ['translation']),
        n('Mul', ['location', 'nothing'], ['noughts']),
        n('Add', ['noughts', 'crop_camera'], ['camera']),
        n('Unsqueeze', ['translation', 'axis1'], ['offset']),
        n('Add', ['offset', 'rest_joints'], ['joints']),
        n('Add', ['offset', 'rest_vertices'], ['vertices'], name='skin'),
        n('Shape', ['location'], ['batch'], start=0, end=1),
        n('Concat', ['batch', 'rotation_shape'], ['shape'], axis=0),
        n('Expand', ['rest_rotations', 'shape'], ['rotations']),
    ]
    if metadata.get('presence'):
        nodes.append(n('Squeeze', ['beta0', 'axis1'], ['presence']))
    ints = {
        name: np.array([value], np.int64)
        for name, value in {'zero': 0, 'one': 1, 'two': 2, 'three': 3, 'axis1': 1}.items()
    }
    constants = ints | {
        'max_pixel': np.float32(255),
        'two_f': np.float32(2),
        'nothing': np.float32(0),
        'pads': np.array([0, 0, 0, 9], np.int64),
        'lift': lift.astype(np.float32),
        'crop_camera': np.array([1, 0, 0], np.float32),
        'rest_joints': joints,
        'rest_vertices': vertices,
        'rotation_shape': np.array([24, 3, 3], np.int64),
        'rest_rotations': rotations[None],
    }
    height, width = crop
    text = json.dumps(
        {
            'format': 1,
            'model': 'tiny',
            'dialect': 'embedded',
            'crop': [height, width],
            'margin': 1.1,
            'body': body.name,
            'body_sha256': body.sha256,
            'num_vertices': len(body.v_template),
        }
        | metadata
    )
    return save(
        path,
        nodes,
        [tensor('crops', ['N', height, width, 3], UINT8), tensor('location', ['N', 3])],
        [
            tensor('rotations', ['N', 24, 3, 3]),
            tensor('betas', ['N', 10]),
            tensor('camera', ['N', 3]),
            tensor('translation', ['N', 3]),
            tensor('joints', ['N', 24, 3]),
            tensor('vertices', ['N', None, 3]),
            *([tensor('presence', ['N'])] if metadata.get('presence') else []),
        ],
        constants,
        text,
    )
