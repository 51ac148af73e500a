"""One camera described in two ways, raw image and lens or rectified image and P, gives the same people."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cliff_ros.body import load_body
from cliff_ros.camera import Camera
from cliff_ros.people import Box, Frame, Person
from cliff_ros.pipeline import Pipeline
from cliff_ros.synthetic import Sequence

WIDTH, HEIGHT, FOCAL = 640, 480, 420.0
STEREO = Rotation.from_rotvec([0.02, -0.03, 0.01]).as_matrix()
LENSES = {
    'plumb_bob': (-0.28, 0.08, 1e-3, -1e-3, -0.01),
    'rational_polynomial': (2.5, 1.2, 2e-4, -1e-4, 0.08, 2.9, 2.0, 0.4),
    'equidistant': (-0.02, 0.004, -0.002, 3e-4),
}
SIDES = np.linspace(0, 2 * np.pi, 64, endpoint=False)


def descriptions(model: str, focal: float = FOCAL) -> tuple[Camera, Camera]:
    """The raw and the rectified camera of one CameraInfo."""
    info = SimpleNamespace(
        width=WIDTH,
        height=HEIGHT,
        distortion_model=model,
        d=LENSES[model],
        r=STEREO.ravel(),
        k=[400.0, 0, 316.3, 0, 395, 243.8, 0, 0, 1],
        p=[focal, 0, 320, 0, 0, focal, 240, 0, 0, 0, 1, 0],
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )
    return Camera.from_info(info), Camera.from_info(info, rectified=True)


def outline(box: np.ndarray) -> np.ndarray:
    """Points (64, 2) on the ellipse in a box: a person touches its sides near their middles."""
    return (box[:2] + box[2:]) / 2 + np.stack([np.cos(SIDES), np.sin(SIDES)], 1) * (box[2:] - box[:2]) / 2


def carried(box: np.ndarray, source: Camera, target: Camera) -> np.ndarray:
    """The box of the same person in the image of another description."""
    points = target.project(source.ray(outline(box)))
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def angle(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.degrees(Rotation.from_matrix(one @ other.T).magnitude()))


@pytest.fixture(scope='module')
def resting(tmp_path_factory) -> Pipeline:
    """Sees the body at rest in any crop: what differs comes from the camera alone."""
    pytest.importorskip('onnx', reason='the tiny graph is built with onnx')
    from graphs import runtime_graph

    path = runtime_graph(tmp_path_factory.mktemp('graph') / 'rest.onnx', load_body())
    return Pipeline(path, detector='none', engine='onnx', smoothing=False, threads=1)


def person(pipeline: Pipeline, image: np.ndarray, camera: Camera, box: np.ndarray) -> Person:
    pipeline.reset()
    (found,) = pipeline(Frame(image, camera), [Box(box)])
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(LENSES)),
    st.floats(300, 600),
    st.floats(120, 520),
    st.floats(120, 360),
    st.floats(80, 220),
    st.floats(0.3, 0.6),
)
def test_the_same_place(resting, model, focal, x, y, height, ratio):
    raw, rectified = descriptions(model, focal)
    box = np.array([x - ratio * height / 2, y - height / 2, x + ratio * height / 2, y + height / 2])
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    one = person(resting, black, raw, box)
    other = person(resting, black, rectified, carried(box, raw, rectified))
    distance = np.linalg.norm(one.joints[0])
    # A box is not quite a box through a lens: within 2 % in depth and 1.5 % of their height aside.
    assert abs(one.translation[2] / other.translation[2] - 1) < 0.02
    assert angle(one.rotations[0], other.rotations[0]) < 1
    aside = one.joints[0] / distance - other.joints[0] / np.linalg.norm(other.joints[0])
    assert np.linalg.norm(aside) * distance < 0.04


@pytest.mark.parametrize('model', LENSES)
def test_the_same_people_by_the_embedded_network(model):
    """Pixels, location, network and way back together, on a rendered image and on it seen through the lens."""
    scene = Sequence(seed=3, width=WIDTH, height=HEIGHT, seconds=2.0, people=2)
    rendered = Camera(WIDTH, HEIGHT, scene.camera.K)
    # The renderer's pinhole as the CameraInfo's P; the raw image is looked up through the lens.
    raw_camera, camera = descriptions(model, rendered.f)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    images = []
    for description in (camera, raw_camera):
        path = np.nan_to_num(rendered.project(description.ray(np.stack([x, y], axis=-1))), nan=-1e6)
        images.append(cv2.remap(scene.image(0), path.astype(np.float32), None, cv2.INTER_LINEAR))
    pipeline = Pipeline(detector='none', engine='onnx', smoothing=False, threads=1)
    people = scene.truth(0)
    assert people
    for truth in people:
        box = carried(truth.box, rendered, camera)
        one = person(pipeline, images[0], camera, box)
        other = person(pipeline, images[1], raw_camera, carried(box, camera, raw_camera))
        assert angle(one.rotations[0], other.rotations[0]) < 4
        assert np.linalg.norm(one.translation - other.translation) < 0.03 * one.translation[2]
        poses = one.joints - one.joints[:1], other.joints - other.joints[:1]
        assert np.linalg.norm(poses[0] - poses[1], axis=1).max() < 0.08
