"""A user's own detector: ONNX files in the layouts the YOLO family exports, class 0 being a person.

The layout is read off the shape of the output, whose number of rows is fixed by the input's size:

- ``(1, 4 + C, cells)``, YOLOv8 and later: cx, cy, w, h, class scores;
- ``(1, 3 cells, 5 + C)``, YOLOv5 and v7: cx, cy, w, h, objectness, class scores;
- ``(1, cells, 5 + C)``, YOLOX: as YOLOv5, but relative to the cell, and for pixels 0..255 in BGR order.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from cliff_ros.boxes import nms
from cliff_ros.detect.letterbox import Letterbox
from cliff_ros.engine.onnx_engine import open_session, run
from cliff_ros.errors import ModelError
from cliff_ros.people import Box

DEFAULT_SIDE = 640
STRIDES = (8, 16, 32)
THRESHOLD = 0.4


class YoloDetector:
    """Runs a YOLO export without built-in suppression.

    threshold: smallest score (objectness times class) of a person; None: THRESHOLD. max_overlap: largest IoU of two
    people.
    """

    def __init__(
        self, path: str | Path, threshold: float | None = None, max_overlap: float = 0.6, threads: int = 0
    ) -> None:
        self._session = open_session(path, threads)
        self.name = Path(path).stem
        self.threshold, self.max_overlap = threshold, max_overlap
        inputs = self._session.get_inputs()
        self._type = {'tensor(float)': np.float32, 'tensor(float16)': np.float16}.get(inputs[0].type)
        if len(inputs) != 1 or self._type is None or len(inputs[0].shape) != 4:
            found = ', '.join(f'{tensor.name} {tensor.type} {tensor.shape}' for tensor in inputs)
            raise ModelError(
                f'{path} takes {found}, not one float image (1, 3, height, width): '
                f'export the detector without pre-processing'
            )
        self._input = inputs[0].name
        # Names or None stand for sizes that are free.
        self._size = [side if isinstance(side, int) else DEFAULT_SIDE for side in inputs[0].shape[2:]]
        blank = self._session.run(None, {self._input: np.zeros((1, 3, *self._size), self._type)})
        self._grid, self._strides = _cells(*self._size)
        self.layout = _layout(blank[0].shape, len(self._grid))
        if self.layout is None:
            found = ', '.join(str(output.shape) for output in blank)
            cells = len(self._grid)
            raise ModelError(
                f'{path} puts out {found}; understood are (1, 4 + classes, {cells}) as from '
                f'YOLOv8, (1, {3 * cells}, 5 + classes) as from YOLOv5 and (1, {cells}, 5 + '
                f'classes) as from YOLOX: export it so, without its own suppression (nms=False)'
            )

    def __call__(self, image: np.ndarray, order: str = 'rgb') -> list[Box]:
        """Boxes in the pixels of the image, which is letterboxed for the graph: BGR 0..255 for YOLOX, else RGB 0..1.

        EngineError where the graph cannot be run.
        """
        height, width = image.shape[:2]
        scale = min(self._size[0] / height, self._size[1] / width)
        inside = [max(round(side * scale), 1) for side in (height, width)]
        letterbox = Letterbox(image, inside, self._size)
        wanted = 'bgr' if self.layout == 'yolox' else 'rgb'
        pixels = letterbox.pixels if order == wanted else cv2.cvtColor(letterbox.pixels, cv2.COLOR_BGR2RGB)
        blob = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], self._type)
        if self.layout != 'yolox':
            blob /= 255
        rows = run(self._session, None, {self._input: blob}, 'detector')[0][0].astype(np.float32)
        xyxy, scores = self._decode(rows)
        keep = nms(xyxy, scores, self.max_overlap)
        return letterbox.boxes(xyxy[keep], scores[keep])

    def _decode(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.layout == 'yolov8':
            rows = rows.T
            scores = rows[:, 4]
        else:
            scores = rows[:, 4] * rows[:, 5]
        likely = scores > (THRESHOLD if self.threshold is None else self.threshold)
        center, size, scores = rows[likely, :2], rows[likely, 2:4], scores[likely]
        if self.layout == 'yolox':
            stride = self._strides[likely, None]
            center, size = (center + self._grid[likely]) * stride, np.exp(size) * stride
        return np.concatenate([center - size / 2, center + size / 2], 1), scores


def _cells(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and row (M, 2) and stride (M,) of every cell of the three output grids."""
    grids, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        grids.append(np.stack([columns.ravel(), rows.ravel()], 1))
        strides.append(np.full(rows.size, stride))
    return np.concatenate(grids), np.concatenate(strides)


def _layout(shape: tuple[int, ...], cells: int) -> str | None:
    match shape:
        case (1, features, rows) if rows == cells and features > 4:
            return 'yolov8'
        case (1, rows, features) if rows == 3 * cells and features > 5:
            return 'yolov5'
        case (1, rows, features) if rows == cells and features > 5:
            return 'yolox'
    return None
