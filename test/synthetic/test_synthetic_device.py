"""Torch draws what numba draws: meshes that hide each other, lit people, crops and stills. Here on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('numba', reason='the synthetic world is drawn with numba')
torch = pytest.importorskip('torch', reason='draws with torch')
from hypothesis import given, settings
from hypothesis import strategies as st

from cliff_ros.render import raster, raster_torch
from cliff_ros.render.material import Material, pyramid
from cliff_ros.synthetic import crops
from cliff_ros.synthetic.crops import CropSampler
from cliff_ros.synthetic.device import finish
from cliff_ros.synthetic.stills import StillSampler


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([1 << 23, 500]))
def test_triangles_are_the_same_pixels(seed, faces, most):
    """Through each other, cut by the border, behind the camera; also when they do not fit into the memory at once."""
    rng = np.random.default_rng(seed)
    vertices = rng.uniform([-1, -1, -0.3], [1, 1, 3], (30, 3)).astype(np.float32)
    triangles = rng.integers(0, 30, (faces, 3)).astype(np.int32)
    colors = rng.uniform(0, 255, (30, 3)).astype(np.float32)
    k = (20.0, 25.0, 15.5, 12.0)
    image, depth = np.full((24, 32, 3), 9, np.float32), np.zeros((24, 32), np.float32)
    labels = np.zeros((24, 32), np.uint8)
    drawn = torch.from_numpy(np.stack([image] * 2)), torch.zeros(2, 24, 32), torch.zeros(2, 24, 32, dtype=torch.uint8)
    raster.rasterize(vertices, triangles, colors, *k, image, depth, labels, 3)
    saved, raster_torch._MOST = raster_torch._MOST, most
    try:  # into the second of two images
        raster_torch.rasterize(
            torch.from_numpy(vertices),
            torch.from_numpy(triangles).long(),
            torch.from_numpy(colors),
            torch.ones(30, dtype=torch.int64),
            torch.tensor([k, k]),
            *drawn,
            torch.tensor([7, 3], dtype=torch.uint8),
        )
    finally:
        raster_torch._MOST = saved
    assert (drawn[2][0] == 0).all() and (drawn[0][0] == 9).all()
    # Rounding decides about pixels on an edge.
    assert (drawn[2][1].numpy() != labels).mean() < 0.02
    same = (drawn[2][1].numpy() == labels) & (np.abs(drawn[1][1].numpy() - depth) < 1e-3 * (1 + depth))
    assert same.mean() > 0.97
    np.testing.assert_allclose(drawn[0][1].numpy()[same], image[same], atol=0.3)


def _triangles(rng, vertices, pinhole):
    """Up to 25 that are wider than a pixel, no two the same: of others, rounding decides what is seen."""
    triangles = rng.integers(0, 20, (200, 3)).astype(np.int32)
    _, first = np.unique(np.sort(triangles, 1), axis=0, return_index=True)
    triangles = triangles[np.sort(first)]
    x, y = (pinhole[i] * vertices[triangles, i] / vertices[triangles, 2] + pinhole[2 + i] for i in range(2))
    area = np.abs((x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0]))
    longest = np.hypot(x - np.roll(x, 1, 1), y - np.roll(y, 1, 1)).max(1)
    return triangles[area > np.maximum(longest, 1)][:25]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0.5, 90.0]))
def test_textured_triangles_are_the_same_pixels(seed, two_sided, scale):
    """With holes in the texture, recolored, a pattern on top, and a mesh without a material between."""
    rng = np.random.default_rng(seed)
    meshes, k = [], (20.0, 25.0, 15.5, 12.0)
    for i in range(3):
        vertices = rng.uniform([-1, -1, 0.3], [1, 1, 3], (20, 3)).astype(np.float32)
        triangles = _triangles(rng, vertices, k)
        material = Material(
            rng.uniform(0, 1, (len(triangles), 3, 2)).astype(np.float32),
            pyramid(rng.integers(0, 255, (64, 32, 4), np.uint8), 8),
            1.5,
            rng.normal(0.4, 0.5, (3, 4)).astype(np.float32),
            pyramid(rng.uniform(-1, 1, (32, 32, 3)).astype(np.float32), 4),
            rng.uniform(0.5, 4),
            0.4,
            two_sided,
        )
        unlit = rng.uniform(0, 1 if i != 1 else 255, (20, 3)).astype(np.float32)
        meshes.append((vertices, triangles, unlit, material if i != 1 else None))
    image, depth = np.full((24, 32, 3), 9, np.float32), np.zeros((24, 32), np.float32)
    labels = np.zeros((24, 32), np.uint8)
    drawn = torch.from_numpy(image[None].copy()), torch.zeros(1, 24, 32), torch.zeros(1, 24, 32, dtype=torch.uint8)
    for vertices, triangles, unlit, material in meshes:
        if material is None:
            raster.rasterize(vertices, triangles, unlit, *k, image, depth, labels, 3)
        else:
            raster.rasterize_textured(
                vertices, triangles, unlit, material.uv, *material.at(scale), two_sided, *k, image, depth, labels, 3
            )
    surfaces = raster_torch.Surfaces.of_meshes([(f, m, scale) for _, f, _, m in meshes], torch.device('cpu'))
    raster_torch.rasterize(
        torch.from_numpy(np.concatenate([v for v, _, _, _ in meshes])),
        torch.from_numpy(np.concatenate([f + 20 * i for i, (_, f, _, _) in enumerate(meshes)])).long(),
        torch.from_numpy(np.concatenate([c for _, _, c, _ in meshes])),
        torch.zeros(60, dtype=torch.int64),
        torch.tensor([k]),
        *drawn,
        torch.tensor([3], dtype=torch.uint8),
        surfaces,
    )
    assert labels.any() and (drawn[2][0].numpy() != labels).mean() < 0.01
    # Rounding decides which of two texels a point on their border takes, and this texture is noise.
    assert (np.abs(drawn[0][0].numpy() - image).max(2) > 1).mean() < 0.02


def test_normals_are_the_same():
    rng = np.random.default_rng(0)
    vertices, faces = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, 40, (90, 3)).astype(np.int32)
    got = raster_torch.vertex_normals(torch.from_numpy(vertices), torch.from_numpy(faces).long())
    np.testing.assert_allclose(got, raster.vertex_normals(vertices, faces), atol=1e-4)


def test_crops_one_by_one_are_the_same():
    numba, device = CropSampler(7, 5), CropSampler(7, 5, device='cpu')
    for _ in range(4):
        (image, label), (other, same) = numba.sample(), device.sample()
        assert (np.abs(image.astype(int) - other) > 3).mean() < 0.05  # a gray level becomes more by JPEG
        assert label['visible'] == pytest.approx(same['visible'], abs=0.02)
        for name in ('location', 'keypoints', 'rotations', 'present'):
            np.testing.assert_array_equal(label[name], same[name])


def test_crops_together_are_those_drawn_alone(monkeypatch):
    monkeypatch.setattr(crops, 'DRAWN_AT_ONCE', 5)
    images, labels = crops.generate(3, 7, num_backgrounds=5, device='cpu')
    again, _ = crops.generate(3, 7, num_backgrounds=5, device='cpu')
    assert len(images) == len(labels) == 7 and len({image.tobytes() for image in images}) == 7
    np.testing.assert_array_equal(again, images)
    sampler = CropSampler(3, 5, device='cpu', negatives=0.0)
    composed = [sampler._compose() for _ in range(3)]
    for one, (image, labeled) in zip(composed, finish([one.canvas for one in composed]), strict=True):
        alone, marked = one.canvas.finish()
        np.testing.assert_allclose(alone, image, atol=1e-3)
        np.testing.assert_array_equal(marked, labeled)
        assert one.canvas.alone > 50


def test_stills_are_the_same():
    numba, device = StillSampler(7, 5), StillSampler(7, 5, device='cpu')
    for width, height in ((320, 240), (640, 360)):
        one, other = numba.scene(width, height), device.scene(width, height)
        assert (np.abs(one.image.astype(int) - other.image) > 3).mean() < 0.05
        assert len(one.people) == len(other.people)
        for a, b in zip(one.people, other.people, strict=True):
            np.testing.assert_array_equal(a.box, b.box)
