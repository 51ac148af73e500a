"""Pixels to rays and back, against OpenCV, against the definitions, and beyond where OpenCV goes."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliff_ros.camera import Camera
from cliff_ros.errors import InputError

WIDTH, HEIGHT = 1280, 720
LENSES = {
    'none': ('plumb_bob', ()),
    'four': ('plumb_bob', (-0.28, 0.07, 2e-4, -3e-4)),
    'plumb_bob': ('plumb_bob', (-0.3, 0.1, 1e-3, -1e-3, -0.01)),
    'pincushion': ('plumb_bob', (0.12, 0.05, 1e-3, -1e-3, 0.02)),
    'rational': ('rational_polynomial', (2.5, 1.2, 2e-4, -1e-4, 0.08, 2.9, 2.0, 0.4)),
    'thin_prism': ('rational_polynomial', (2.5, 1.2, 2e-4, -1e-4, 0.08, 2.9, 2.0, 0.4, 1e-3, 2e-4, -1e-3, 1e-4)),
    'tilted': (
        'rational_polynomial',
        (2.5, 1.2, 2e-4, -1e-4, 0.08, 2.9, 2.0, 0.4, 1e-3, 2e-4, -1e-3, 1e-4, 0.02, -0.03),
    ),
    'fisheye': ('equidistant', (-0.02, 0.004, -0.002, 3e-4)),
}
STEREO = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]


def camera_with(lens: str, fx: float = 700.0, fy: float = 690.0, R=None) -> Camera:
    return Camera(WIDTH, HEIGHT, [[fx, 0, 633.2], [0, fy, 371.9], [0, 0, 1]], *LENSES[lens], R=R)


def info(**changes) -> SimpleNamespace:
    """A CameraInfo, without ROS."""
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    fields = dict(
        width=WIDTH,
        height=HEIGHT,
        distortion_model='plumb_bob',
        d=[-0.3, 0.1, 1e-3, 0.0, 0.0],
        k=[700.0, 0, 633.2, 0, 690, 371.9, 0, 0, 1],
        r=np.eye(3).ravel(),
        p=[650.0, 0, 630, 0, 0, 650, 370, 0, 0, 0, 1, 0],
        binning_x=0,
        binning_y=0,
        roi=roi,
    )
    return SimpleNamespace(**{**fields, **changes})


pixels = st.tuples(st.floats(-50, WIDTH + 50), st.floats(-50, HEIGHT + 50))


@pytest.mark.parametrize('R', [None, STEREO], ids=['', 'stereo'])
@pytest.mark.parametrize('lens', LENSES)
@settings(max_examples=25, deadline=None)
@given(raw=st.lists(pixels, min_size=1, max_size=20), depth=st.floats(0.1, 100))
def test_ray_and_project_undo_each_other(lens, R, raw, depth):
    camera = camera_with(lens, R=R)
    raw = np.array(raw)
    rays = camera.ray(raw)
    assert np.allclose(np.linalg.norm(rays, axis=1), 1)
    assert np.abs(camera.project(rays * depth) - raw).max() < 1e-6
    assert np.abs(camera.distort(camera.undistort(raw)) - raw).max() < 1e-6


@pytest.mark.parametrize('lens', LENSES)
def test_projection_is_opencvs(lens):
    camera = camera_with(lens)
    points = np.random.default_rng(0).uniform([-2, -1, 3], [2, 1, 9], (200, 3))
    project = cv2.fisheye.projectPoints if lens == 'fisheye' else cv2.projectPoints
    d = np.array(LENSES[lens][1]) if lens != 'none' else None
    expected = project(points[:, None], np.zeros(3), np.zeros(3), camera.K, d)[0][:, 0]
    assert np.abs(camera.project(points) - expected).max() < 1e-9


@pytest.mark.parametrize('lens', ['plumb_bob', 'rational', 'fisheye'])
def test_virtual_pinhole_is_what_opencv_rectifies_to(lens):
    """With R, as in ROS, the optical frame is the rectified one."""
    camera = camera_with(lens, R=STEREO)
    virtual = np.array([[camera.f, 0, camera.cx], [0, camera.f, camera.cy], [0, 0, 1]])
    rectify = cv2.fisheye.initUndistortRectifyMap if lens == 'fisheye' else cv2.initUndistortRectifyMap
    x, y = rectify(camera.K, camera.d, STEREO, virtual, (WIDTH, HEIGHT), cv2.CV_32FC1)
    at = np.array([[100, 50], [640, 360], [1200, 700]])
    expected = np.stack([x[at[:, 1], at[:, 0]], y[at[:, 1], at[:, 0]]], axis=1)
    assert np.abs(camera.distort(at) - expected).max() < 1e-3


@settings(max_examples=50, deadline=None)
@given(theta=st.floats(0.01, np.radians(100)), azimuth=st.floats(-np.pi, np.pi))
def test_fisheye_sees_behind_itself(theta, azimuth):
    k = (-0.01, 0.002, -0.0005, 2e-5)
    camera = Camera(1000, 1000, [[280.0, 0, 499.5], [0, 290.0, 499.5], [0, 0, 1]], 'equidistant', k)
    direction = np.array([np.sin(theta) * np.cos(azimuth), np.sin(theta) * np.sin(azimuth), np.cos(theta)])
    radius = theta * (1 + k[0] * theta**2 + k[1] * theta**4 + k[2] * theta**6 + k[3] * theta**8)
    expected = 499.5 + radius * np.array([280 * np.cos(azimuth), 290 * np.sin(azimuth)])
    assert np.abs(camera.project(7 * direction) - expected).max() < 1e-9
    assert np.abs(camera.ray(expected) - direction).max() < 1e-9
    assert np.isnan(camera.undistort(expected)).all() == (theta >= np.pi / 2 - 1e-9)


@pytest.mark.parametrize('lens', LENSES)
def test_the_center_and_what_lies_behind(lens):
    camera = camera_with(lens)
    if lens != 'tilted':  # tilting the sensor moves the image of the axis
        assert np.allclose(camera.ray([633.2, 371.9]), [0, 0, 1])
        assert np.allclose(camera.project([0, 0, 3.0]), [633.2, 371.9])
    assert np.isnan(camera.project([0, 0, -3.0])).all()
    assert np.isnan(camera.project([np.nan, 0, 1])).all()
    assert np.isnan(camera.ray([np.nan, 5])).all()
    assert camera.project(np.zeros((0, 3))).shape == (0, 2)
    assert camera.ray(np.zeros((2, 0, 2))).shape == (2, 0, 3)


@pytest.mark.parametrize(
    'model, d',
    [
        ('plumb_bob', (-0.5, 0.0, 0.0, 0.0)),
        ('plumb_bob', (-0.4, 0.05, 1e-3, 1e-3, 0.0)),
        ('rational_polynomial', (-0.4, 0.0, 0, 0, 0, 0.3, 0.1, 0.0)),
        ('equidistant', (-0.2, 0.0, 0.0, 0.0)),
    ],
)
def test_no_ghosts_beyond_the_fold(model, d):
    """There the polynomial comes back into the image; a camera does not."""
    camera = Camera(WIDTH, HEIGHT, [[500.0, 0, 640], [0, 500, 360], [0, 0, 1]], model, d)
    theta = np.radians(np.linspace(0, 89, 2000))
    seen = camera.project(np.stack([np.sin(theta), 0 * theta, np.cos(theta)], axis=1))[:, 0]
    last = np.flatnonzero(np.isfinite(seen))[-1]
    assert np.isfinite(seen[: last + 1]).all() and np.isnan(seen[last + 1 :]).all() and last < 1999
    assert (np.diff(seen[: last + 1]) > 0).all()
    x = np.linspace(640, 3000, 2000)
    rays = camera.ray(np.stack([x, np.full_like(x, 360)], axis=1))
    # Every pixel that some ray reaches has one, no pixel beyond has, and none is made up.
    assert np.isfinite(rays[x < seen[last] - 0.1]).all()
    assert np.isnan(rays[x > seen[last] + 5]).all()
    found = np.isfinite(rays[:, 0])
    assert np.abs(camera.project(rays[found])[:, 0] - x[found]).max() < 1e-2


def test_virtual_pinhole_of_a_pinhole_is_itself():
    camera = camera_with('none', 700, 700)
    raw = np.array([[3.0, 4.0], [1000, 600]])
    assert camera.is_pinhole and camera.f == 700
    assert np.allclose(camera.undistort(raw), raw) and np.allclose(camera.distort(raw), raw)


def test_what_is_a_pinhole():
    assert camera_with('none', 700, 700, R=np.eye(3)).is_pinhole
    assert not camera_with('none', 700, 690).is_pinhole and camera_with('none', 700, 690).is_projective
    assert not camera_with('none', 700, 700, R=STEREO).is_pinhole
    assert not camera_with('plumb_bob', 700, 700).is_projective
    zeros = Camera(8, 8, np.eye(3), 'plumb_bob', (0, 0, 0, 0, 0))
    assert zeros.is_pinhole
    ideal_fisheye = Camera(8, 8, np.eye(3), 'equidistant', (0, 0, 0, 0))
    assert not ideal_fisheye.is_projective
    assert np.isclose(camera_with('none', 700, 690).f, np.sqrt(700 * 690))


@settings(max_examples=30, deadline=None)
@given(
    x=st.integers(0, 300),
    y=st.integers(0, 200),
    x_bin=st.integers(1, 4),
    y_bin=st.integers(1, 4),
    rectified=st.booleans(),
)
def test_roi_and_binning(x, y, x_bin, y_bin, rectified):
    """A binned pixel sits in the middle of the pixels that it combines."""
    roi = SimpleNamespace(x_offset=x, y_offset=y, width=640, height=480, do_rectify=False)
    part = Camera.from_info(info(roi=roi, binning_x=x_bin, binning_y=y_bin), rectified, (640 // x_bin, 480 // y_bin))
    whole = Camera.from_info(info(), rectified)
    column, row = 7, 9
    combined = np.array(
        [[x + column * x_bin + i, y + row * y_bin + j] for i in range(x_bin) for j in range(y_bin)], float
    )
    assert np.allclose(part.ray([column, row]), whole.ray(combined.mean(axis=0)), atol=1e-9)


def test_rectified_and_raw_describe_one_camera():
    message = info(r=STEREO.ravel())
    raw, rectified = Camera.from_info(message), Camera.from_info(message, rectified=True)
    assert rectified.is_pinhole and not raw.is_projective
    points = np.array([[0.5, -0.3, 4.0], [-1.0, 0.4, 3.0]])
    P = np.reshape(message.p, (3, 4))[:, :3]
    through_opencv = cv2.undistortPoints(raw.project(points), raw.K, raw.d, R=STEREO, P=P)[:, 0]
    assert np.abs(rectified.project(points) - through_opencv).max() < 1e-2  # OpenCV stops after 5 steps


def test_the_real_message():
    messages = pytest.importorskip('sensor_msgs.msg', reason='needs the ROS 2 Python packages')
    fields = vars(info(d=[0.1, 0.2, 0, 0, 0.0]))
    roi = messages.RegionOfInterest(x_offset=10, y_offset=20, width=320, height=240)
    camera = Camera.from_info(messages.CameraInfo(**{**fields, 'roi': roi}), image_size=(320, 240))
    assert camera.size == (320, 240) and np.allclose(camera.K[:2, 2], [623.2, 351.9])
    with pytest.raises(InputError, match='K is all zero'):
        Camera.from_info(messages.CameraInfo(), image_size=(320, 240))


def test_unset_fields_of_camera_info():
    camera = Camera.from_info(info(distortion_model='', d=[], r=np.zeros(9), p=np.zeros(12)))
    assert camera.is_projective and camera.R is None and camera.P is None


def test_uncalibrated_is_the_authors_guess():
    camera = Camera.uncalibrated(1280, 720)
    assert camera.is_pinhole and np.isclose(camera.f, 1468.6, atol=0.05)
    # The middle of the image, from the corner of its first pixel.
    assert (camera.cx + 0.5, camera.cy + 0.5) == (640, 360)


@pytest.mark.parametrize('lens', LENSES)
def test_yaml_round_trip(lens, tmp_path):
    camera = camera_with(lens, R=STEREO)
    camera.to_yaml(tmp_path / 'camera.yaml')
    again = Camera.from_yaml(tmp_path / 'camera.yaml')
    assert (again.size, again.distortion_model) == (camera.size, camera.distortion_model)
    assert np.array_equal(again.K, camera.K) and np.array_equal(again.d, camera.d)
    assert np.array_equal(again.R, camera.R)


def test_yaml_of_camera_calibration(tmp_path):
    path = tmp_path / 'head.yaml'
    path.write_text("""
image_width: 640
image_height: 480
camera_name: head
camera_matrix:
  rows: 3
  cols: 3
  data: [430.15433, 0., 306.69151, 0., 430.60920, 227.22480, 0., 0., 1.]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.337586, 0.111431, -0.000110, -0.000713, 0.]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1., 0., 0., 0., 1., 0., 0., 0., 1.]
projection_matrix:
  rows: 3
  cols: 4
  data: [323.07199, 0., 303.71, 0., 0., 383.58, 225.40, 0., 0., 0., 1., 0.]
""")
    camera = Camera.from_yaml(path)
    assert camera.size == (640, 480) and camera.d.size == 5 and camera.R is None and camera.cx == 306.69151


@pytest.mark.parametrize(
    'changes, sentence',
    [
        ({'k': np.zeros(9)}, 'K is all zero.*calibrate'),
        ({'k': np.zeros(9), 'width': 0, 'height': 0}, 'K is all zero.*calibrate'),
        ({'distortion_model': 'fov'}, "'fov' is unknown.*plumb_bob, rational_polynomial, equidistant"),
        ({'distortion_model': ''}, 'unknown'),
        ({'d': [0.1, 0.2]}, 'plumb_bob takes 0 or 4 or 5 coefficients, not 2'),
        ({'d': [np.nan] * 5}, 'd holds a number that is not finite'),
        ({'k': [np.inf, 0, 1, 0, 1, 1, 0, 0, 1]}, 'K holds a number that is not finite'),
        ({'k': [700, 0, 633, 0, -1, 371, 0, 0, 1]}, 'no camera matrix'),
        ({'k': [700, 0, 633, 0, 700, 371, 0, 0, 0]}, 'no camera matrix'),
        ({'r': np.ones(9)}, 'R is not a rotation'),
        ({'width': 0, 'height': 0}, '0x0'),
        ({'roi': SimpleNamespace(x_offset=900, y_offset=0, width=640, height=480)}, 'outside the 1280x720'),
    ],
)
def test_camera_info_that_describes_no_camera(changes, sentence):
    with pytest.raises(InputError, match=sentence) as refusal:
        Camera.from_info(info(**changes))
    assert str(refusal.value).endswith('.') and ':' in str(refusal.value)


def test_more_refusals(tmp_path):
    with pytest.raises(InputError, match='P is all zero'):
        Camera.from_info(info(p=np.zeros(12)), rectified=True)
    with pytest.raises(InputError, match='640x480 but CameraInfo describes 1280x720'):
        Camera.from_info(info(), image_size=(640, 480))
    with pytest.raises(InputError, match='K must be 3 x 3 numbers'):
        Camera(640, 480, np.eye(4))
    with pytest.raises(InputError, match='cannot read the camera file'):
        Camera.from_yaml(tmp_path / 'absent.yaml')
    for content in (
        '',
        'just words',
        'image_width: 3',
        'camera_matrix: [1, 2]',
        '[1, 2]',
        'image_width: wide\nimage_height: 2\ncamera_matrix: {data: [1,0,0,0,1,0,0,0,1]}',
    ):
        (tmp_path / 'bad.yaml').write_text(content)
        with pytest.raises(InputError, match='calibration'):
            Camera.from_yaml(tmp_path / 'bad.yaml')
    (tmp_path / 'bad.yaml').write_text('a: [1, 2')
    with pytest.raises(InputError, match='is not YAML'):
        Camera.from_yaml(tmp_path / 'bad.yaml')
