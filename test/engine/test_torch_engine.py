"""PyTorch as an engine: the numbers of ONNX Runtime; and its crops: the pixels of `features.crop`. On the CPU."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch, onnx = pytest.importorskip('torch'), pytest.importorskip('onnx')

import published
from graphs import runtime_graph

from cliff_ros.body import load_body
from cliff_ros.camera import Camera
from cliff_ros.crop.torch_sampling import TorchCropper
from cliff_ros.crop.views import CropSpec, crop, view_of
from cliff_ros.engine import load_engine
from cliff_ros.engine.torch_engine import TorchEngine, _device_errors
from cliff_ros.errors import EngineError, ModelError
from cliff_ros.graph.export import export_graph
from cliff_ros.people import Box, Frame


def inputs(spec: CropSpec, people: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(people)
    crops = rng.integers(0, 256, (people, spec.height, spec.width, 3), dtype=np.uint8)
    location = np.column_stack([rng.uniform(-0.5, 0.5, (people, 2)), rng.uniform(0.1, 1.2, people)])
    return crops, location.astype(np.float32)


def assert_same(one: dict, other: dict) -> None:
    assert list(one) == list(other)
    for name, value in one.items():
        assert value.shape == other[name].shape and value.dtype == np.float32, name
        # Random weights may put people far away, where a float32 is coarser.
        np.testing.assert_allclose(value, other[name], rtol=1e-5, atol=1e-4, err_msg=name)


@pytest.mark.parametrize('people', [0, 1, 5])
@pytest.mark.parametrize('vertices', [True, False])
def test_the_shipped_network_gives_the_same_in_both(people, vertices):
    torch_engine, onnx_engine = load_engine('embedded', 'torch', threads=1), load_engine('embedded', 'onnx', threads=1)
    assert torch_engine.spec == onnx_engine.spec and torch_engine.metadata == onnx_engine.metadata
    assert torch_engine.name.startswith('torch:') and torch_engine.reason == 'asked for'
    given = inputs(torch_engine.spec, people)
    assert_same(torch_engine(*given, vertices=vertices), onnx_engine(*given, vertices=vertices))


def test_a_published_network_out_of_its_graph_and_out_of_its_checkpoint(tmp_path):
    model, body = published.load('official_resnet50', tmp_path), load_body()
    export_graph(model, body, tmp_path / 'graph.onnx')
    given = inputs(model.spec, 2)
    reference = load_engine(tmp_path / 'graph.onnx', 'onnx', threads=1)(*given)
    for path in ('graph.onnx', 'official_resnet50.pt'):
        engine = load_engine(tmp_path / path, 'torch', threads=1, body=body)
        assert engine.spec == model.spec and len(engine.metadata.sha256) == 64
        assert_same(engine(*given), reference)


def test_what_pytorch_cannot_rebuild_is_refused(tmp_path):
    body = load_body()
    tiny = runtime_graph(tmp_path / 'tiny.onnx', body)
    with pytest.raises(ModelError, match="'tiny', which PyTorch cannot rebuild"):
        load_engine(tiny, 'torch')
    other = runtime_graph(tmp_path / 'other.onnx', body, body_sha256='0' * 64)
    with pytest.raises(ModelError, match='give that body'):
        load_engine(other, 'torch')
    hollow = runtime_graph(tmp_path / 'hollow.onnx', body, model='cliff_embedded')
    with pytest.raises(ModelError, match='lacks the weights'):
        load_engine(hollow, 'torch')


def test_a_gpu_in_trouble_is_told_apart():
    with pytest.raises(EngineError, match='lower max_people') as caught, _device_errors():
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')
    assert not caught.value.lost
    with pytest.raises(EngineError, match='illegal memory access.*start again') as caught, _device_errors():
        raise RuntimeError('CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be')
    assert caught.value.lost
    with pytest.raises(RuntimeError, match='shapes') as caught, _device_errors():
        raise RuntimeError('mat1 and mat2 shapes cannot be multiplied')
    assert not isinstance(caught.value, EngineError)


# ---- crops

WIDTH, HEIGHT = 1280, 720
K = [[600.0, 0, 633.2], [0, 600, 371.9], [0, 0, 1]]
CAMERAS = {
    'pinhole': Camera(WIDTH, HEIGHT, K),
    'oblong': Camera(WIDTH, HEIGHT, [[600.0, 0, 633.2], [0, 560, 371.9], [0, 0, 1]]),
    'plumb_bob': Camera(WIDTH, HEIGHT, K, 'plumb_bob', (-0.3, 0.1, 1e-3, -1e-3, -0.01)),
    'fisheye': Camera(
        WIDTH, HEIGHT, [[330.0, 0, 633.2], [0, 328, 371.9], [0, 0, 1]], 'equidistant', (-0.02, 0.004, -0.002, 3e-4)
    ),
}
SPECS = {
    'plain': CropSpec(256, 192),
    'antialias': CropSpec(128, 96, antialias=True),
    'authors': CropSpec(256, 192, integer_rectangle=True),
}
# In the middle, small, over the border, and larger than the image.
BOXES = [Box([500, 100, 800, 650]), Box([300, 300, 340, 410]), Box([-60, 350, 160, 800]), Box([100, -300, 1200, 1500])]


def photograph() -> np.ndarray:
    """As sharp as a lens is: OpenCV samples at 1/32 of a pixel, which shows on anything sharper."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 24, WIDTH // 24, 3), dtype=np.uint8)
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize('camera', CAMERAS)
@pytest.mark.parametrize('spec', SPECS)
@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_crops_are_those_of_the_cpu(camera, spec, order):
    camera, spec, image = CAMERAS[camera], SPECS[spec], photograph()
    views = [view_of(box, camera, spec) for box in BOXES]
    ours = TorchCropper(spec, 'cpu')(Frame(image, camera, order=order), views)
    assert ours.shape == (len(BOXES), spec.height, spec.width, 3) and ours.dtype == torch.uint8
    for mine, view in zip(ours.numpy(), views, strict=True):
        difference = np.abs(mine.astype(int) - crop(image, camera, view, spec, order))
        # The CPU rounds after each halving, and samples at 1/32 of a pixel.
        assert difference.mean() < 0.5 and difference.max() <= 4
        assert np.percentile(difference, 99) <= (2 if spec.antialias else 1)


def test_crops_on_the_device_go_into_the_engine():
    engine = TorchEngine('embedded', threads=1)
    camera, image = CAMERAS['pinhole'], photograph()
    views = [view_of(box, camera, engine.spec) for box in BOXES[:2]]
    crops = TorchCropper(engine.spec, 'cpu')(Frame(image, camera), views)
    location = np.array([view.location for view in views], np.float32)
    assert_same(engine(crops, location), engine(crops.numpy(), location))
    assert TorchCropper(engine.spec, 'cpu')(Frame(image, camera), []).shape == (0, 128, 96, 3)
