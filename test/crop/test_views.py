"""Where the network looks and what it sees, through every lens; and the way back to the camera's frame."""

from __future__ import annotations

import cv2
import golden_weights as golden
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import GOLDEN

from cliff_ros.camera import Camera
from cliff_ros.cliff.dialects import DIALECTS
from cliff_ros.crop import sampling
from cliff_ros.crop import views as features
from cliff_ros.crop.translation import full_translation
from cliff_ros.crop.views import CropSpec, View, crop, crops, view_of, views_of
from cliff_ros.errors import InputError
from cliff_ros.people import Box

WIDTH, HEIGHT = 1280, 720
K = np.array([[600.0, 0, 633.2], [0, 590, 371.9], [0, 0, 1]])
SQUARE = np.array([[600.0, 0, 633.2], [0, 600, 371.9], [0, 0, 1]])
STEREO = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
CAMERAS = {
    'pinhole': Camera(WIDTH, HEIGHT, SQUARE),
    'oblong': Camera(WIDTH, HEIGHT, K),
    'wide': Camera(WIDTH, HEIGHT, [[250.0, 0, 633.2], [0, 250, 371.9], [0, 0, 1]]),
    'stereo': Camera(WIDTH, HEIGHT, K, R=STEREO),
    'plumb_bob': Camera(WIDTH, HEIGHT, K, 'plumb_bob', (-0.3, 0.1, 1e-3, -1e-3, -0.01), R=STEREO),
    'rational': Camera(WIDTH, HEIGHT, K, 'rational_polynomial', (2.5, 1.2, 2e-4, -1e-4, 0.08, 2.9, 2, 0.4)),
    'fisheye': Camera(
        WIDTH, HEIGHT, [[330.0, 0, 633.2], [0, 328, 371.9], [0, 0, 1]], 'equidistant', (-0.02, 0.004, -0.002, 3e-4)
    ),
}
SPEC = CropSpec(128, 96)
AUTHORS = CropSpec(256, 192, integer_rectangle=True)


def box_at(x: float, y: float, width: float, height: float) -> Box:
    return Box([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


boxes = st.builds(
    lambda x, y, height, ratio: box_at(x, y, ratio * height, height),
    st.floats(150, WIDTH - 150),
    st.floats(150, HEIGHT - 150),
    st.floats(60, 600),
    st.floats(0.2, 1.2),
)
cameras = st.sampled_from(sorted(CAMERAS))
upright = st.sampled_from([0, 90, 180, 270])
crop_cameras = st.tuples(st.floats(0.3, 1.5), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))


def view_pixels(view: View, points: np.ndarray) -> np.ndarray:
    return view.focal * points[..., :2] / points[..., 2:] + (view.cx, view.cy)


def crop_pixels(view: View, spec: CropSpec, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) of the view's frame to pixels of the crop."""
    pixels = np.column_stack([view_pixels(view, points), np.ones(len(points))])
    return (pixels @ np.linalg.inv(view.crop_to_view(spec)).T)[:, :2]


def smooth_image(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (HEIGHT // 40, WIDTH // 40, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def noise_image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@settings(deadline=None)
@given(boxes, st.floats(1.0, 1.5))
def test_crop_size_is_the_authors(box, margin):
    spec = CropSpec(256, 192, margin)
    view = view_of(box, CAMERAS['pinhole'], spec)
    x0, y0, x1, y1 = box.xyxy
    assert np.isclose(view.size, margin * max((x1 - x0) * 4 / 3, y1 - y0))
    assert np.allclose(view.center, [(x0 + x1) / 2, (y0 + y1) / 2])
    assert np.allclose(view.location, [(view.center[0] - 633.2) / 600, (view.center[1] - 371.9) / 600, view.size / 600])


@settings(max_examples=60, deadline=None)
@given(cameras, boxes, upright, crop_cameras, st.integers(0, 99))
def test_the_camera_and_the_crop_project_joints_alike(name, box, turn, crop_camera, seed):
    """The crop camera is weak-perspective at the depth of the origin: there both are the same, exactly."""
    camera = CAMERAS[name]
    view = view_of(box, camera, SPEC, turn)
    body = np.random.default_rng(seed).uniform(-0.9, 0.9, (24, 3)) * (1, 1, 0)
    s, tx, ty = crop_camera
    body += full_translation(np.array([crop_camera]), view.location[None])[0]
    expected = view.center + view.size / 2 * s * (body[:, :2] - body[0, :2])  # in half crop heights
    expected += view_pixels(view, body)[0] - view.center
    assert np.abs(view_pixels(view, body) - expected).max() < 1e-6 * view.size
    # Through the lens to the image and back through the view: the same pixel of the crop.
    raw = camera.project(view.to_camera(body))
    # A lens model holds where the lens was calibrated: far outside of the image its curve folds back, and next to the
    # fold a pixel hardly tells the direction.
    size = np.array([camera.width, camera.height])
    seen = (np.abs(raw - size / 2) < 0.75 * size).all(1)
    again = camera.ray(raw[seen]) @ view.rotation.T
    assert np.abs(crop_pixels(view, SPEC, again) - crop_pixels(view, SPEC, body[seen])).max(initial=0) < 1e-4


@settings(deadline=None)
@given(boxes, crop_cameras)
def test_crop_camera_is_the_authors(box, crop_camera):
    """cam_crop2full, in pixels; s and t are in half crop heights."""
    camera = Camera.uncalibrated(WIDTH, HEIGHT)
    view = view_of(box, camera, AUTHORS)
    s, tx, ty = crop_camera
    (x0, y0, x1, y1), f = box.xyxy, np.hypot(WIDTH, HEIGHT)
    b = 1.1 * max((x1 - x0) * 4 / 3, y1 - y0)
    expected = [
        tx + 2 * ((x0 + x1) / 2 - WIDTH / 2) / (b * s),
        ty + 2 * ((y0 + y1) / 2 - HEIGHT / 2) / (b * s),
        2 * f / (b * s),
    ]
    assert np.allclose(full_translation(np.array([crop_camera]), view.location[None])[0], expected)
    assert np.allclose(camera.project(expected), view.center + b / 2 * s * np.array([tx, ty]))


@settings(deadline=None)
@given(boxes, crop_cameras, st.floats(0.3, 3))
def test_focal_length_scales_depth(box, crop_camera, factor):
    def translation(camera: Camera) -> np.ndarray:
        return full_translation(np.array([crop_camera]), view_of(box, camera, SPEC).location[None])[0]

    near, far = (
        translation(Camera(8000, 8000, [[f, 0, 640], [0, f, 360], [0, 0, 1]])) for f in (3000.0, 3000.0 * factor)
    )
    assert np.allclose(far, near * [1, 1, factor])


@pytest.mark.parametrize('antialias', [False, True])
@pytest.mark.parametrize('spec', [(128, 96), (256, 192), (224, 224)], ids=str)
@pytest.mark.parametrize('name', CAMERAS)
def test_crop_shows_what_projection_says(name, spec, antialias):
    """A blob drawn where the camera projects a point lies, in the crop, where the view projects it."""
    camera, spec = CAMERAS[name], CropSpec(*spec, antialias=antialias)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for xyxy, turn in (([300, 150, 520, 640], 0), ([900, 100, 1000, 330], 90), ([500, 80, 900, 500], 270)):
        box = Box(xyxy)
        view = view_of(box, camera, spec, turn)
        middle = np.array([0.45 * spec.width, 0.55 * spec.height])
        ray = np.linalg.inv(view.K) @ view.crop_to_view(spec) @ np.append(middle, 1)
        u, v = camera.project(view.to_camera(ray))
        blob = 250 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 8**2))
        pixels = crop(np.repeat(blob.astype(np.uint8)[..., None], 3, axis=-1), camera, view, spec)
        rows, columns = np.mgrid[: spec.height, : spec.width]
        weight = pixels[..., 0].astype(float) ** 2  # less swayed by the stretch of a wide lens
        found = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
        assert np.abs(found - middle).max() < 0.25


@pytest.mark.parametrize('name', ['stereo', 'plumb_bob', 'rational', 'fisheye'])
def test_two_descriptions_of_one_camera_give_one_crop(name):
    """Raw image and lens, or the image that OpenCV rectified."""
    camera, raw = CAMERAS[name], smooth_image()
    P = np.array([[450.0, 0, 640], [0, 450, 360], [0, 0, 1]])
    rectified_camera = Camera(WIDTH, HEIGHT, P)
    rectify = cv2.fisheye.initUndistortRectifyMap if name == 'fisheye' else cv2.initUndistortRectifyMap
    R = np.eye(3) if camera.R is None else camera.R
    maps = rectify(camera.K, camera.d if camera.d.size else np.zeros(5), R, P, (WIDTH, HEIGHT), cv2.CV_32FC1)
    rectified = cv2.remap(raw, *maps, cv2.INTER_LINEAR)
    for x, y, height in ((640, 360, 400), (300, 330, 300), (1000, 400, 350)):
        box = box_at(x, y, 0.4 * height, height)
        outline = np.array([x, y]) + features._ELLIPSE * (0.4 * height, height)
        outline = camera.project(rectified_camera.ray(outline))
        raw_box = Box([*outline.min(axis=0), *outline.max(axis=0)])
        one, other = view_of(box, rectified_camera, SPEC), view_of(raw_box, camera, SPEC)
        # The same person to within 1.5 % of their height: a box is not quite a box through a lens.
        assert np.abs(one.location - other.location).max() < 0.015 * one.location[2]
        # Through one and the same window the pixels agree too.
        scale = camera.f / 450
        same = View(
            np.eye(3),
            camera.f,
            camera.cx,
            camera.cy,
            (one.center - (640, 360)) * scale + (camera.cx, camera.cy),
            one.size * scale,
        )
        assert np.allclose(same.location, one.location)
        for spec in (SPEC, CropSpec(256, 192)):
            expected = crop(rectified, rectified_camera, one, spec).astype(int)
            difference = np.abs(crop(raw, camera, same, spec) - expected)
            # The last percent: where the rectified image ends.
            assert np.median(difference) < 1 and np.quantile(difference, 0.99) <= 3


@pytest.mark.parametrize('name', ['plumb_bob', 'rational', 'fisheye'])
@pytest.mark.parametrize('spec', [(128, 96), (256, 192), (224, 224)], ids=str)
def test_interpolated_path_through_the_lens(name, spec):
    camera, spec = CAMERAS[name], CropSpec(*spec)
    for box in (Box([500, 20, 800, 700]), Box([1000, 100, 1250, 650]), Box([20, 300, 120, 500])):
        view = view_of(box, camera, spec)
        exact = features._trace(camera, view, spec, np.arange(spec.width), np.arange(spec.height))
        error = np.abs(features._path(camera, view, spec) - exact).max()
        assert error < 0.01 * max(1.0, view.size / spec.height)  # of a pixel of the crop or image, the larger


@pytest.mark.parametrize('spec', [(128, 96), (224, 224), (130, 97)], ids=str)
def test_path_across_the_edge_of_what_the_lens_sees(spec):
    spec, K = CropSpec(*spec), [[400.0, 0, 640], [0, 400, 360], [0, 0, 1]]
    camera = Camera(WIDTH, HEIGHT, K, 'plumb_bob', (-0.35, 0, 0, 0))
    view = view_of(box_at(820, 360, 200, 300), camera, spec)
    exact = features._trace(camera, view, spec, np.arange(spec.width), np.arange(spec.height))
    path = features._path(camera, view, spec)
    seen, kept = np.isfinite(exact[..., 0]), path[..., 0] > sampling.NOWHERE
    assert 0.5 < seen.mean() < 1 and seen[kept].all() and (seen & ~kept).mean() < 0.1
    assert np.abs(path - exact)[kept].max() < 0.1 * max(1.0, view.size / spec.height)
    white = crop(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), camera, view, spec)
    assert not white[~kept].any() and (white[kept] == 255).mean() > 0.9


@settings(max_examples=40, deadline=None)
@given(st.floats(np.radians(62), np.radians(93)), st.floats(-0.35, 0.35), st.sampled_from([-1, 1]))
def test_people_far_off_the_axis_of_a_fisheye(azimuth, elevation, side):
    camera = Camera(
        1000, 1000, [[280.0, 0, 499.5], [0, 280.0, 499.5], [0, 0, 1]], 'equidistant', (-0.01, 0.002, -0.0005, 2e-5)
    )
    towards = np.array(
        [side * np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )
    person = 4 * towards + np.linspace([0, -0.9, 0], [0, 0.9, 0], 9)
    outline = camera.project(person)
    assert np.isfinite(outline).all()
    low, high = outline.min(axis=0), outline.max(axis=0)
    wide = np.maximum(0.2 * (high - low).max(), 2)
    view = view_of(Box([low[0] - wide, low[1], high[0] + wide, high[1]]), camera, SPEC)
    assert np.allclose(view.rotation @ view.rotation.T, np.eye(3)) and np.linalg.det(view.rotation) > 0
    # They stand in the middle of the view, whole, and upright.
    assert np.abs(view.location[:2]).max() < 0.1
    seen = crop_pixels(view, SPEC, person @ view.rotation.T)
    assert (seen > -12).all() and (seen < (SPEC.width + 12, SPEC.height + 12)).all()
    assert seen[-1, 1] - seen[0, 1] > 0.5 * SPEC.height
    assert abs(view.rotation[0, 1]) < 1e-9


def test_nearby_descriptions_on_both_sides_of_the_limit():
    """Turning the view changes the description, not the place: both see a point of the world at one pixel."""
    camera = CAMERAS['fisheye']
    angle = np.radians(features.MAX_OFF_AXIS)
    limit = camera.project([np.sin(angle), 0, np.cos(angle)])[0]
    views = [view_of(box_at(limit + shift - 20, camera.cy, 40, 60), camera, SPEC) for shift in (-1, 1)]
    assert np.allclose(views[0].rotation, np.eye(3)) and not np.allclose(views[1].rotation, np.eye(3))
    for view in views:
        ray = np.linalg.inv(view.K) @ np.append(view.center, 1)
        assert np.abs(camera.project(view.to_camera(ray)) - [limit - 20, camera.cy]).max() < 5


@settings(max_examples=40, deadline=None)
@given(cameras, boxes, upright, st.integers(0, 99))
def test_a_body_comes_back_to_the_cameras_frame(name, box, turn, seed):
    """SMPL's joints: R (rest - pelvis) + pelvis + transl, whatever the view was."""
    rng = np.random.default_rng(seed)
    view = view_of(box, CAMERAS[name], SPEC, turn)
    rest = rng.uniform(-0.9, 0.9, (24, 3))
    root, translation = cv2.Rodrigues(rng.uniform(-3, 3, 3))[0], np.array([0.3, -0.2, 4.0])

    def joints(root: np.ndarray, translation: np.ndarray) -> np.ndarray:
        return (rest - rest[0]) @ root.T + rest[0] + translation

    in_camera = joints(root, translation)
    in_view = in_camera @ view.rotation.T
    seen_root, seen_translation = view.rotation @ root, in_view[0] - rest[0]
    assert np.allclose(joints(seen_root, seen_translation), in_view)
    back_root, back_translation = view.pose_to_camera(seen_root, seen_translation, in_view[0])
    assert np.allclose(back_root, root) and np.allclose(back_translation, translation)
    assert np.allclose(view.to_camera(in_view), in_camera)
    assert view.to_camera(in_view.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize('turn', [90, 180, 270])
@pytest.mark.parametrize('spec', [SPEC, CropSpec(128, 96, antialias=True)], ids=['', 'antialias'])
def test_camera_mounted_on_its_side(turn, spec):
    """Turning the image upright first, or only the view, shows the same people in the same place."""
    image = smooth_image()
    camera = Camera(WIDTH, HEIGHT, [[600.0, 0, 639.5], [0, 600, 359.5], [0, 0, 1]])
    rotate = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}[turn]
    turned = cv2.rotate(image, rotate)
    height, width = turned.shape[:2]
    turned_K = [[600.0, 0, (width - 1) / 2], [0, 600, (height - 1) / 2], [0, 0, 1]]
    turned_camera = Camera(width, height, turned_K)
    box = Box([300.0, 250, 700, 400])
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[250:401, 300:701] = 1
    rows, columns = np.nonzero(cv2.rotate(mask, rotate))
    turned_box = Box([columns.min(), rows.min(), columns.max(), rows.max()])
    view, expected = view_of(box, camera, spec, turn), view_of(turned_box, turned_camera, spec)
    assert np.allclose(view.location, expected.location)
    pixels = crop(image, camera, view, spec).astype(int)
    assert np.abs(pixels - crop(turned, turned_camera, expected, spec)).max() <= 3


def authors_crop(image: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
    """Written from the description of their preprocessing: whole pixels, black beyond, resize."""
    x0, y0, x1, y1 = xyxy
    cx, cy, b = (x0 + x1) / 2, (y0 + y1) / 2, 1.1 * max((x1 - x0) * 4 / 3, y1 - y0)
    left, top = round(cx - 0.375 * b), round(cy - 0.5 * b)
    right, bottom = round(cx + 0.375 * b), round(cy + 0.5 * b)
    cut = np.zeros((bottom - top, right - left, 3), np.float32)
    for row in range(max(top, 0), min(bottom, image.shape[0])):
        part = image[row, max(left, 0) : max(right, 0)]
        cut[row - top, max(-left, 0) : max(-left, 0) + len(part)] = part
    return np.rint(cv2.resize(cut, (192, 256), interpolation=cv2.INTER_LINEAR)).astype(np.uint8)


def test_official_preprocessing_is_what_the_authors_code_makes():
    """Every third pixel of every third row of four people, uncalibrated: see golden/README.md."""
    with np.load(GOLDEN / 'official_preprocessing.npz') as file:
        expected = dict(file)
    image, camera = golden.photograph(int(expected['seed'])), Camera.uncalibrated(WIDTH, HEIGHT)
    dialect = DIALECTS['official']
    spec = CropSpec(*dialect.crop, dialect.margin, dialect.antialias, dialect.integer_rectangle)
    assert camera.f == expected['focal']
    for i, xyxy in enumerate(golden.PEOPLE):
        view = view_of(Box(xyxy), camera, spec)
        theirs = expected['crops'][i] / 128  # they do not round to whole gray levels; we do
        ours = crop(image, camera, view, spec)[1::3, ::3].astype(float)
        assert np.abs(ours - theirs).max() < 0.51 and abs((ours - theirs).mean()) < 0.01
        assert np.abs(ours - np.rint(theirs)).mean() < 0.01
        assert np.allclose(dialect.bbox_info(view.location), expected['bbox_info'][i], atol=2e-6)
        translation = full_translation(expected['camera'][[i]], view.location[None])[0]
        assert np.allclose(translation, expected['translation'][i], rtol=1e-6, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(boxes)
def test_integer_rectangle_is_the_authors_preprocessing(box):
    image, camera = noise_image(), Camera.uncalibrated(WIDTH, HEIGHT)
    view = view_of(box, camera, AUTHORS)
    assert np.array_equal(crop(image, camera, view, AUTHORS), authors_crop(image, box.xyxy))
    # And what the general sampling makes of it, on an image without sharp detail.
    smooth = smooth_image()
    path = features._trace(camera, view, AUTHORS, np.arange(192), np.arange(256))
    general = cv2.remap(smooth, path, None, cv2.INTER_LINEAR)
    assert np.abs(general.astype(int) - authors_crop(smooth, box.xyxy)).mean() < 0.2


@pytest.mark.parametrize('name', CAMERAS)
def test_order_padding_and_output(name):
    camera, image = CAMERAS[name], noise_image()
    padded = np.zeros((HEIGHT, WIDTH + 3, 3), np.uint8)
    padded[:, :WIDTH] = image
    for spec in (SPEC, AUTHORS, CropSpec(128, 96, antialias=True)):
        view = view_of(Box([900.0, 200, 1100, 600]), camera, spec)
        expected = crop(image, camera, view, spec)
        assert expected.shape == (spec.height, spec.width, 3) and expected.dtype == np.uint8
        batch = np.zeros((3, spec.height, spec.width, 3), np.uint8)
        written = crop(padded[:, :WIDTH], camera, view, spec, out=batch[1])
        assert np.shares_memory(written, batch) and np.array_equal(batch[1], expected)
        assert not batch[0].any() and not batch[2].any()
        bgr = np.ascontiguousarray(image[..., ::-1])
        bgr.flags.writeable = False
        assert np.array_equal(crop(bgr, camera, view, spec, 'bgr', out=batch[2]), expected)


@pytest.mark.parametrize('height', [260, 330, 450, 600])
def test_antialias_averages(height):
    image, camera = noise_image(), CAMERAS['pinhole']
    view = view_of(box_at(640, 360, 0.6 * height, height), camera, CropSpec(128, 96, margin=1.0))
    fine = 16  # so many samples in each pixel of the crop are as good as its area
    dense = crop(image, camera, view, CropSpec(128 * fine, 96 * fine))
    truth = cv2.resize(dense, (96, 128), interpolation=cv2.INTER_AREA).astype(int)

    def error(antialias: bool) -> float:
        return np.abs(crop(image, camera, view, CropSpec(128, 96, antialias=antialias)) - truth).mean()

    assert error(True) < 0.75 * error(False)


@pytest.mark.parametrize('antialias', [False, True])
@pytest.mark.parametrize('name', CAMERAS)
def test_boxes_at_and_beyond_the_edge(name, antialias):
    camera, image = CAMERAS[name], np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for spec in (CropSpec(128, 96, antialias=antialias), CropSpec(256, 192, integer_rectangle=True)):
        for xyxy in (
            [-150, 100, 150, 700],
            [1100, 500, 1500, 1000],
            [-500, -500, 1800, 1300],
            [600, 300, 601, 301],
            [-300, -300, -200, -100],
            [0, 0, 1279, 719],
            [-1e5, -1e5, 1e5, 1e5],
            [1300, 0, 5000, 700],
        ):
            try:
                view = view_of(Box(xyxy), camera, spec)
            except InputError as refusal:
                assert 'outside the view' in str(refusal)
                continue
            assert np.isfinite(view.location).all() and view.location[2] > 0
            pixels = crop(image, camera, view, spec)
            assert pixels.shape == (spec.height, spec.width, 3)
            if name == 'pinhole' and (xyxy[2] < 0 or xyxy[0] > WIDTH):
                assert not pixels[spec.height // 2, spec.width // 2].any()


def test_a_box_where_the_lens_sees_nothing():
    camera = Camera(WIDTH, HEIGHT, [[200.0, 0, 640], [0, 200, 360], [0, 0, 1]], 'plumb_bob', (-0.4, 0, 0, 0))
    with pytest.raises(InputError, match='outside the view of the lens'):
        view_of(Box([1100.0, 500, 1200, 700]), camera, SPEC)


@settings(max_examples=40, deadline=None)
@given(cameras, st.lists(boxes, max_size=4), upright, st.booleans())
def test_several_people_are_seen_as_each_alone(name, several, turn, antialias):
    camera, spec, image = CAMERAS[name], CropSpec(128, 96, antialias=antialias), smooth_image()
    views = views_of(several, camera, spec, turn)
    together = crops(image, camera, views, spec, 'bgr')
    assert together.shape == (len(several), 128, 96, 3)
    for box, view, pixels in zip(several, views, together, strict=True):
        alone = view_of(box, camera, spec, turn)
        assert np.allclose(view.location, alone.location, rtol=1e-9) and np.allclose(view.rotation, alone.rotation)
        assert np.abs(pixels.astype(int) - crop(image, camera, alone, spec, 'bgr')).max() <= 1


def test_only_the_box_out_of_view_has_no_view():
    camera = Camera(WIDTH, HEIGHT, [[200.0, 0, 640], [0, 200, 360], [0, 0, 1]], 'plumb_bob', (-0.4, 0, 0, 0))
    views = views_of([Box([1100.0, 500, 1200, 700]), Box([600.0, 300, 700, 500])], camera, SPEC)
    assert views[0] is None and views[1].size > 0
