"""Detectors: decoding, letterbox arithmetic and layouts, on tiny graphs run by the real ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliff_ros.boxes import from_center, iou, nms, to_center, widen
from cliff_ros.detect import load_detector
from cliff_ros.detect.heatmap import LONGER_SIDE, HeatmapDetector, decode
from cliff_ros.detect.letterbox import GRAY, Letterbox
from cliff_ros.errors import InputError, ModelError

pytest.importorskip('onnx', reason='the tiny graphs of these tests are built with onnx')
from graphs import FLOAT, UINT8, save, tensor
from onnx import helper

node = helper.make_node


@pytest.fixture
def red_cells(tmp_path):
    """A heatmap detector that scores each 8x8 cell by its redness and makes 40x80 boxes."""
    nodes = [
        node('Cast', ['image'], ['pixels'], to=FLOAT),
        node('Transpose', ['pixels'], ['planes'], perm=[0, 3, 1, 2]),
        node('AveragePool', ['planes'], ['cells'], kernel_shape=[8, 8], strides=[8, 8]),
        node('Conv', ['cells', 'redness'], ['heatmap']),
        node('Mul', ['heatmap', 'nothing'], ['noughts']),
        node('Add', ['noughts', 'sides'], ['ltrb']),
    ]
    constants = {
        'redness': np.array([1, -1, -1], np.float32).reshape(1, 3, 1, 1) / 255,
        'nothing': np.float32(0),
        'sides': np.float32([20, 40, 20, 40]).reshape(1, 4, 1, 1),
    }
    return save(
        tmp_path / 'red.onnx',
        nodes,
        [tensor('image', [1, 'h', 'w', 3], UINT8)],
        [tensor('heatmap', [1, 1, 'y', 'x']), tensor('ltrb', [1, 4, 'y', 'x'])],
        constants,
    )


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
@pytest.mark.parametrize('size', [(720, 1280), (216, 384), (144, 192), (1000, 300)])
def test_boxes_come_back_in_raw_pixels(red_cells, size, order):
    height, width = size
    scale = max(size) / LONGER_SIDE
    image = np.zeros((height, width, 3), np.uint8)
    # A red square over one cell of the network's grid: column 4, row 6.
    y0, y1, x0, x1 = (round(side * 8 * scale) for side in (6, 7, 4, 5))
    image[y0:y1, x0:x1, 0 if order == 'rgb' else 2] = 255
    boxes = HeatmapDetector(red_cells)(image, order)
    assert len(boxes) == 1 and boxes[0].score > 0.8
    want = (np.array([36 - 20, 52 - 40, 36 + 20, 52 + 40]) * scale) - 0.5
    np.testing.assert_allclose(boxes[0].xyxy, want, atol=0.6 * scale)


def test_two_people_close_together_are_one_box_far_apart_two(red_cells):
    image = np.zeros((LONGER_SIDE, LONGER_SIDE, 3), np.uint8)
    image[80:88, 80:96, 0] = 255
    assert len(HeatmapDetector(red_cells)(image)) == 1
    image[80:88, 200:208, 0] = 255
    assert len(HeatmapDetector(red_cells)(image)) == 2
    assert HeatmapDetector(red_cells)(np.zeros((LONGER_SIDE, LONGER_SIDE, 3), np.uint8)) == []


def test_decode_places_boxes_around_cell_centers():
    heatmap = np.zeros((4, 6), np.float32)
    heatmap[1, 2] = 0.9
    xyxy, scores = decode(heatmap, np.full((4, 4, 6), 10, np.float32), 0.3)
    np.testing.assert_allclose(xyxy, [[10, 2, 30, 22]])
    np.testing.assert_allclose(scores, [0.9])


@given(st.integers(2, 900), st.integers(2, 900))
def test_letterbox_maps_the_image_onto_itself(height, width):
    inside = [max(height // 2, 1), max(width // 3, 1)]
    box = Letterbox(np.zeros((height, width, 3), np.uint8), inside, [inside[0] + 5, inside[1] + 7])
    assert box.pixels.shape == (inside[0] + 5, inside[1] + 7, 3)
    whole = box.boxes(np.array([[0, 0, inside[1], inside[0]]], float), np.array([1.0]))[0]
    # The outer edges of the first and last pixels, whose centers are at 0 and n - 1.
    np.testing.assert_allclose(whole.xyxy, [-0.5, -0.5, width - 0.5, height - 0.5])


def yolo(path, rows: np.ndarray, size=(64, 64), brightness=False):
    """A detector of fixed answers; with brightness, the first score is the mean of its input."""
    nodes = [node('ReduceMean', ['images'], ['mean'], axes=[0, 1, 2, 3], keepdims=0)]
    nodes += [node('Mul', ['mean', 'weight'], ['shift']), node('Add', ['rows', 'shift'], ['output'])]
    weight = np.zeros_like(rows)
    if brightness:
        weight[..., 4, 0] = 1
    return save(
        path,
        nodes,
        [tensor('images', [1, 3, *size])],
        [tensor('output', list(rows.shape))],
        {'rows': rows.astype(np.float32), 'weight': weight.astype(np.float32)},
    )


CELLS = 8 * 8 + 4 * 4 + 2 * 2


def rows_of(layout: str) -> np.ndarray:
    """One person of class 0 at (20, 30, 10, 20) in a 64x64 input, twice; one car; all else nothing."""
    if layout == 'yolov8':
        rows = np.zeros((1, 4 + 3, CELLS))
        rows[0, :, 5] = [20, 30, 10, 20, 0.9, 0, 0]
        rows[0, :, 6] = [20.5, 30, 10, 20, 0.7, 0, 0]
        rows[0, :, 7] = [50, 50, 10, 10, 0.0, 0.9, 0]
    elif layout == 'yolov5':
        rows = np.zeros((1, 3 * CELLS, 5 + 3))
        rows[0, 5] = [20, 30, 10, 20, 0.95, 0.95, 0, 0]
        rows[0, 6] = [20.5, 30, 10, 20, 0.8, 0.9, 0, 0]
        rows[0, 7] = [50, 50, 10, 10, 0.9, 0.0, 0.9, 0]
    else:
        rows = np.zeros((1, CELLS, 5 + 3))
        cell = 3 * 8 + 2  # stride 8, row 3, column 2
        rows[0, cell] = [0.5, 0.75, np.log(10 / 8), np.log(20 / 8), 0.95, 0.95, 0, 0]
        # The same, of stride 16.
        rows[0, 64 + 4] = [5 / 4, 7 / 8, np.log(10 / 16), np.log(20 / 16), 0.8, 0.9, 0, 0]
        rows[0, 1] = [0, 0, 0, 0, 0.9, 0.0, 0.9, 0]
    return rows


@pytest.mark.parametrize('layout', ['yolov8', 'yolov5', 'yolox'])
def test_yolo_layouts_are_recognized_and_decoded(tmp_path, layout):
    detector = load_detector(yolo(tmp_path / 'detector.onnx', rows_of(layout)))
    assert detector.layout == layout and detector.name == 'detector'
    boxes = detector(np.zeros((128, 128, 3), np.uint8))  # letterbox scale 1/2
    assert len(boxes) == 1 and boxes[0].score == pytest.approx(0.9, abs=0.005)
    np.testing.assert_allclose(boxes[0].xyxy, np.array([15, 20, 25, 40]) * 2 - 0.5, atol=0.05)
    wide = detector(np.zeros((64, 256, 3), np.uint8))[0]
    np.testing.assert_allclose(wide.xyxy, np.array([15, 20, 25, 40]) * 4 - 0.5, atol=0.1)


def test_yolov8_sees_pixels_between_0_and_1(tmp_path):
    rows = np.zeros((1, 7, CELLS))
    rows[0, :, 0] = [20, 30, 10, 20, 0, 0, 0]
    detector = load_detector(yolo(tmp_path / 'detector.onnx', rows, brightness=True))
    boxes = detector(np.full((64, 64, 3), 204, np.uint8))
    assert boxes[0].score == pytest.approx(0.8, abs=1e-3)


def test_refusals_say_what_was_found(tmp_path):
    with pytest.raises(ModelError, match=r'\(1, 300, 6\).*nms=False'):
        load_detector(yolo(tmp_path / 'end2end.onnx', np.zeros((1, 300, 6))))
    bytes_in = save(
        tmp_path / 'bytes.onnx',
        [node('Cast', ['a'], ['b'], to=FLOAT)],
        [tensor('a', [1, 64, 64, 3], UINT8)],
        [tensor('b', [1, 64, 64, 3])],
        {},
    )
    with pytest.raises(ModelError, match='tensor\\(uint8\\)'):
        load_detector(bytes_in)
    with pytest.raises(ModelError, match='does not exist'):
        load_detector(tmp_path / 'nothing.onnx')
    with pytest.raises(InputError, match='between 0 and 1'):
        load_detector('none', threshold=2)
    with pytest.raises(InputError, match='no boxes were given'):
        load_detector('none')(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ModelError, match='heatmap and ltrb'):
        HeatmapDetector(yolo(tmp_path / 'yolo.onnx', rows_of('yolov8')))


coordinates = st.floats(-500, 500)
sides = st.floats(1, 300)
boxes = st.lists(st.tuples(coordinates, coordinates, sides, sides), min_size=1, max_size=6).map(
    lambda rows: from_center(np.array(rows))
)


@given(boxes, boxes)
def test_iou_properties(a, b):
    overlap = iou(a, b)
    assert overlap.shape == (len(a), len(b)) and (overlap >= 0).all() and (overlap <= 1 + 1e-12).all()
    np.testing.assert_allclose(overlap, iou(b, a).T)
    np.testing.assert_allclose(np.diag(iou(a, a)), 1)


@given(boxes)
def test_box_forms_are_inverse_and_nms_leaves_no_overlap(a):
    np.testing.assert_allclose(from_center(to_center(a)), a, atol=1e-9)
    np.testing.assert_allclose(to_center(widen(a, 0.5))[:, 2:], 2 * to_center(a)[:, 2:], rtol=1e-9)
    scores = np.linspace(1, 0.5, len(a))
    kept = nms(a, scores, 0.4)
    assert kept[0] == 0
    overlap = iou(a[kept], a[kept]) - np.eye(len(kept))
    assert (overlap <= 0.4 + 1e-9).all()


def test_patterns_too_fine_to_be_seen_become_gray():
    stripes = np.zeros((720, 1280, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = Letterbox(stripes, (216, 384), (224, 384)).pixels
    assert np.abs(pixels[:216].astype(int) - 127.5).max() <= 1 and (pixels[216:] == GRAY).all()
