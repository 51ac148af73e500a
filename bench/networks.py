"""Networks to measure with: CLIFF on ResNet-50 with random weights, and a detector that always sees the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cliff_ros.detect.heatmap import LONGER_SIDE, MULTIPLE, STRIDE


def random_resnet50(folder: Path) -> tuple[Path, Path]:
    """CLIFF's ResNet-50 network with seeded random weights: (checkpoint, runtime graph with the embedded body).

    A freshly initialized network sees everybody as about the mean person, upright before the camera: wrong
    people, but as many and as costly as with the published weights, which are not free to pass on.
    """
    import torch

    from cliff_ros.body import load_body
    from cliff_ros.cliff.checkpoints import write_model
    from cliff_ros.cliff.network import build
    from cliff_ros.graph.export import export_graph

    checkpoint, graph = folder / 'resnet50.safetensors', folder / 'resnet50.onnx'
    if not (checkpoint.is_file() and graph.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        model = build('official', 'resnet50').eval()
        write_model(model, checkpoint)
        export_graph(model, load_body(), graph)
    return checkpoint, graph


def fixed_detector(path: Path, boxes: np.ndarray, size: tuple[int, int]) -> Path:
    """A graph in the form of the embedded detector that finds ``boxes`` (N, 4) [px] in every image.

    size: (width, height) of the images. The node feeds it as it feeds the embedded one - letterbox, decoding,
    suppression - but the graph itself costs next to nothing. The boxes' middles lie in different cells.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    scale = LONGER_SIDE / max(size)
    rows, columns = (-(-round(side * scale) // MULTIPLE) * MULTIPLE // STRIDE for side in size[::-1])
    heatmap, ltrb = np.zeros((1, 1, rows, columns), np.float32), np.zeros((1, 4, rows, columns), np.float32)
    scaled = (np.asarray(boxes) + 0.5) * scale
    for x0, y0, x1, y1 in scaled:
        column, row = int((x0 + x1) / 2 / STRIDE), int((y0 + y1) / 2 / STRIDE)
        if heatmap[0, 0, row, column]:
            raise ValueError('two of the boxes have their middles in the same cell')
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        heatmap[0, 0, row, column], ltrb[0, :, row, column] = 0.9, (x - x0, y - y0, x1 - x, y1 - y)
    constants = {'heatmap_of_all': heatmap, 'ltrb_of_all': ltrb, 'none': np.array([0], np.int64)}
    # One number of the image, times nothing: an output must hang on the input.
    nodes = [
        helper.make_node('Gather', ['image', 'none'], ['pixels'], axis=1),
        helper.make_node('Gather', ['pixels', 'none'], ['pixel'], axis=2),
        helper.make_node('Cast', ['pixel'], ['number'], to=TensorProto.FLOAT),
        helper.make_node('ReduceMax', ['number'], ['brightest'], keepdims=0),
        helper.make_node('Sub', ['brightest', 'brightest'], ['nothing']),
        helper.make_node('Add', ['heatmap_of_all', 'nothing'], ['heatmap']),
        helper.make_node('Add', ['ltrb_of_all', 'nothing'], ['ltrb']),
    ]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        'fixed',
        [tensor('image', TensorProto.UINT8, [1, 'h', 'w', 3])],
        [tensor('heatmap', TensorProto.FLOAT, heatmap.shape), tensor('ltrb', TensorProto.FLOAT, ltrb.shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), str(path))
    return path
