"""Images to measure with: 1280x720, through a lens, with a known number of people in them."""

from __future__ import annotations

import cv2
import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.people import Frame
from cliff_ros.pipeline import Pipeline
from cliff_ros.synthetic import Sequence

WIDTH, HEIGHT = 1280, 720
DISTORTION = (-0.25, 0.06, 0.0005, -0.0005, 0.0)  # plumb_bob: an ordinary wide-angle lens
FRAMES = 16
_ZOOM = 1.15  # of the lens: what it sees then lies inside the rendered image
_PAN = 12.0  # [px] to each side
_SCENES = 100
_MOMENTS = (0.0, 0.7, 1.4, 2.1)  # [s] of a scene
_CELLS = (2, 16)  # rows and columns of the places in `crowd`


def camera_through_lens(pinhole: Camera) -> Camera:
    """A camera at the same place with a lens that bends straight lines, as real ones do."""
    K = pinhole.K.copy()
    K[[0, 1], [0, 1]] *= _ZOOM
    return Camera(pinhole.width, pinhole.height, K, 'plumb_bob', DISTORTION)


def filmed(people: int) -> tuple[Camera, list[np.ndarray]]:
    """A camera and a film, images (H, W, 3) uint8 RGB to be played in a loop, in each of which the pipeline finds
    exactly that many people: a moment of a synthetic scene, panned to and fro."""
    pipeline = Pipeline(engine='onnx', smoothing=False)
    for seed in range(_SCENES):
        scene = Sequence(seed, WIDTH, HEIGHT, people=people, seconds=_MOMENTS[-1])
        camera = camera_through_lens(scene.camera)
        pixels = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1).astype(np.float32)
        bend = cv2.undistortPoints(pixels.reshape(-1, 1, 2), camera.K, camera.d, P=scene.camera.K).reshape(pixels.shape)
        for moment in _MOMENTS:
            image = cv2.remap(
                scene.image(int(moment * scene.fps)), bend, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            images = [_pan(image, _PAN * np.sin(angle)) for angle in np.linspace(0, 2 * np.pi, FRAMES, endpoint=False)]
            if all(_finds(pipeline, image, camera, people) for image in images):
                return camera, images
    raise RuntimeError(f'in none of {_SCENES} scenes the detector finds {people} people')


def crowd(image: np.ndarray, box: np.ndarray, people: int) -> tuple[np.ndarray, np.ndarray]:
    """A copy of an image with the person in ``box`` pasted to so many places, and the boxes (N, 4) there.

    Up to 32 people, more than a scene shows unhidden; each fills most of an eightieth of the width by half
    the height, so that the crops are of the size of a room full of people.
    """
    rows, columns = _CELLS
    if people > rows * columns:
        raise ValueError(f'a crowd has at most {rows * columns} people, not {people}')
    x0, y0, x1, y1 = np.clip(np.round(box), 0, (WIDTH, HEIGHT, WIDTH, HEIGHT)).astype(int)
    cell = np.array([WIDTH // columns, HEIGHT // rows])
    scale = min((cell - 4) / (x1 - x0, y1 - y0))
    size = np.maximum((np.array([x1 - x0, y1 - y0]) * scale).astype(int), 1)
    figure = cv2.resize(image[y0:y1, x0:x1], size.tolist(), interpolation=cv2.INTER_AREA)
    out, boxes = image.copy(), []
    # Every other column first: few people stand apart.
    order = [(row, column) for start in (0, 1) for column in range(start, columns, 2) for row in range(rows)]
    for row, column in order[:people]:
        left, top = np.array([column, row]) * cell + (cell - size) // 2
        out[top : top + size[1], left : left + size[0]] = figure
        boxes.append([left - 0.5, top - 0.5, left + size[0] - 0.5, top + size[1] - 0.5])
    return out, np.array(boxes)


def frame_of(image: np.ndarray, camera: Camera, stamp: float = 0.0) -> Frame:
    """As the nodes receive it: a camera driver sends bgr8."""
    return Frame(np.ascontiguousarray(image[..., ::-1]), camera, stamp, order='bgr')


def _pan(image: np.ndarray, dx: float) -> np.ndarray:
    return cv2.warpAffine(image, np.float32([[1, 0, dx], [0, 1, 0]]), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)


def _finds(pipeline: Pipeline, image: np.ndarray, camera: Camera, people: int) -> bool:
    """Whether detector and network agree on how many there are."""
    frame = frame_of(image, camera)
    boxes = pipeline.detector(frame.image, frame.order)
    pipeline.reset()
    return len(boxes) == people == len(pipeline(frame))
