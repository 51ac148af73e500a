"""The embedded detector: a small network that marks the centers of people (in the manner of CenterNet)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from cliff_ros.boxes import nms
from cliff_ros.detect.letterbox import Letterbox
from cliff_ros.engine.onnx_engine import open_session, run
from cliff_ros.errors import ModelError
from cliff_ros.people import Box

OUTPUTS = ('heatmap', 'ltrb')
LONGER_SIDE, MULTIPLE, STRIDE = 384, 32, 8
THRESHOLD = 0.3


class HeatmapDetector:
    """Runs a detector graph.

    Input ``image`` uint8 (1, h, w, 3) RGB, h and w multiples of 32. Outputs ``heatmap`` (1, 1, h/8, w/8),
    scores that are 0 wherever a neighbor is higher, and ``ltrb`` (1, 4, h/8, w/8), distances [px] from the
    middle of the cell, ``8 (x + 0.5)`` where the first pixel begins at 0, to the sides of the box.

    threshold: smallest score of a person; None: THRESHOLD. max_overlap: largest IoU of two people.
    """

    def __init__(
        self, path: str | Path, threshold: float | None = None, max_overlap: float = 0.5, threads: int = 0
    ) -> None:
        self._session = open_session(path, threads)
        names = [tensor.name for tensor in self._session.get_outputs()]
        if not set(OUTPUTS) <= set(names):
            raise ModelError(f'{path} has the outputs {names}, not heatmap and ltrb: it is not an embedded detector')
        self.name = Path(path).stem
        self.threshold, self.max_overlap = threshold, max_overlap

    def __call__(self, image: np.ndarray, order: str = 'rgb') -> list[Box]:
        """Boxes in the pixels of the image, which is scaled so that its longer side has LONGER_SIDE pixels.

        EngineError where the graph cannot be run.
        """
        height, width = image.shape[:2]
        scale = LONGER_SIDE / max(height, width)
        inside = [max(round(side * scale), 1) for side in (height, width)]
        letterbox = Letterbox(image, inside, [-(-side // MULTIPLE) * MULTIPLE for side in inside])
        pixels = letterbox.pixels if order == 'rgb' else cv2.cvtColor(letterbox.pixels, cv2.COLOR_BGR2RGB)
        heatmap, ltrb = run(self._session, OUTPUTS, {'image': pixels[None]}, 'detector')
        xyxy, scores = decode(heatmap[0, 0], ltrb[0], THRESHOLD if self.threshold is None else self.threshold)
        keep = nms(xyxy, scores, self.max_overlap)
        return letterbox.boxes(xyxy[keep], scores[keep])


def decode(heatmap: np.ndarray, ltrb: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) in the network's pixels and their scores (N,).

    heatmap: (h, w); ltrb: (4, h, w) [px].
    """
    rows, columns = np.nonzero(heatmap > threshold)
    sides = ltrb[:, rows, columns]
    x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
    return np.stack([x - sides[0], y - sides[1], x + sides[2], y + sides[3]], 1), heatmap[rows, columns]
