"""Pictures: people over images, contact sheets, videos."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cliff_ros.body import load_body
from cliff_ros.camera import Camera
from cliff_ros.errors import InputError, OutputError
from cliff_ros.people import Person, TrackState
from cliff_ros.render.colors import color_of
from cliff_ros.render.overlay import draw_meshes, draw_people, to_pinhole
from cliff_ros.render.sheet import Picks, contact_sheet, save_png
from cliff_ros.render.video import VideoFile, is_readable

WIDTH, HEIGHT = 320, 240
K = np.array([[300.0, 0, 160], [0, 310, 118], [0, 0, 1]])
CAMERAS = {
    'pinhole': Camera.uncalibrated(WIDTH, HEIGHT),
    'fx is not fy': Camera(WIDTH, HEIGHT, K),
    'plumb_bob': Camera(WIDTH, HEIGHT, K, 'plumb_bob', (-0.25, 0.06, 0.001, -0.002, 0)),
    'equidistant': Camera(WIDTH, HEIGHT, K * [[0.7], [0.7], [1]], 'equidistant', (0.05, 0.01, 0, 0)),
}


def stand(camera, x=0.0, z=3.5, person_id=1, **changes):
    """Somebody upright who looks at the camera."""
    body = load_body()
    rotations = np.tile(np.eye(3), (1, 24, 1, 1))
    rotations[0, 0] = np.diag([1.0, -1.0, -1.0])
    translation = np.array([[x, 0.0, z]])
    joints, vertices = body(np.zeros((1, 10)), rotations, translation)
    pixels = camera.project(vertices[0])
    person = Person(
        id=person_id,
        score=0.9,
        box=np.concatenate([pixels.min(0), pixels.max(0)]),
        betas=np.zeros(10),
        rotations=rotations[0],
        translation=translation[0],
        joints=joints[0],
        joints2d=camera.project(joints[0]),
        vertices=vertices[0],
    )
    return person.with_(**changes)


def gray():
    return np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


@pytest.mark.parametrize('camera', CAMERAS.values(), ids=CAMERAS.keys())
def test_the_mesh_lies_where_the_camera_sees_the_body(camera):
    image, person = gray(), stand(camera, x=0.4)
    draw_meshes(image, [person], camera, load_body().faces, alpha=1.0)
    drawn = np.argwhere((image != 128).any(-1))[:, ::-1]
    pixels = camera.project(person.vertices)
    np.testing.assert_allclose(drawn.min(0), pixels.min(0), atol=1.5)
    np.testing.assert_allclose(drawn.max(0), pixels.max(0), atol=1.5)


@pytest.mark.parametrize('camera', CAMERAS.values(), ids=CAMERAS.keys())
def test_to_pinhole_keeps_pixels_and_depth(camera):
    points = stand(camera).vertices
    moved = to_pinhole(points, camera)
    pixels = moved[:, :2] / moved[:, 2:] * camera.f + (camera.cx, camera.cy)
    np.testing.assert_allclose(pixels, camera.project(points), atol=1e-3)
    np.testing.assert_allclose(moved[:, 2], points[:, 2], rtol=1e-6)


@pytest.mark.parametrize('camera', CAMERAS.values(), ids=CAMERAS.keys())
def test_people_behind_or_around_the_camera_are_no_trouble(camera):
    for z in (-2.0, 0.0, 0.1):
        person = stand(CAMERAS['pinhole'], z=3.5)
        shift = np.array([0, 0, z - 3.5])
        person = person.with_(vertices=person.vertices + shift, joints=person.joints + shift)
        draw_people(gray(), [person], camera, load_body().faces)


def test_the_nearer_person_hides_the_other_whatever_the_order():
    camera, faces = CAMERAS['pinhole'], load_body().faces
    near, far = stand(camera, z=3.0, person_id=1), stand(camera, z=4.0, person_id=2)
    one, two = (
        draw_people(gray(), people, camera, faces, box=False, label=False) for people in ([near, far], [far, near])
    )
    assert np.array_equal(one, two)
    chest = camera.project(near.joints[9]).round().astype(int)
    alone = draw_people(gray(), [near], camera, faces, box=False, label=False)
    assert np.array_equal(one[chest[1], chest[0]], alone[chest[1], chest[0]])


def test_the_image_given_is_not_changed():
    image = gray()
    out = draw_people(image, [stand(CAMERAS['pinhole'])], CAMERAS['pinhole'], load_body().faces)
    assert (image == 128).all() and (out != 128).any()


def test_nobody_leaves_the_picture_as_it_was():
    assert np.array_equal(draw_people(gray(), [], CAMERAS['pinhole'], load_body().faces), gray())


def test_without_a_mesh_a_skeleton_in_the_color_of_the_id_is_drawn():
    camera = CAMERAS['pinhole']
    person = stand(camera, person_id=5, vertices=None)
    out = draw_people(gray(), [person], camera, load_body().faces, box=False, label=False)
    knee = person.joints2d[4].round().astype(int)
    np.testing.assert_allclose(out[knee[1], knee[0]], color_of(5), atol=3)


def test_joints_far_outside_or_unseen_are_left_out():
    camera = CAMERAS['pinhole']
    joints2d = stand(camera).joints2d.copy()
    joints2d[5], joints2d[20] = np.nan, (1e9, -1e9)
    person = stand(
        camera, vertices=None, joints2d=joints2d, box=np.array([-1e6, -50, 1e6, 500]), track_state=TrackState.COASTING
    )
    draw_people(gray(), [person], camera, load_body().faces)


def test_ids_have_colors_of_their_own():
    assert len({color_of(person_id) for person_id in range(8)}) == 8
    assert color_of(3) == color_of(3)


def test_contact_sheet_holds_every_picture(tmp_path):
    images = [np.full((90, 160, 3), 30 * n, np.uint8) for n in range(1, 8)]
    page = contact_sheet(images, [f'{n} s' for n in range(7)], title='seven', width=900)
    assert page.shape[1] == 900
    assert all((page == 30 * n).all(-1).sum() > 3000 for n in range(1, 8))
    save_png(tmp_path / 'sheet.png', page)
    assert np.array_equal(cv2.imread(str(tmp_path / 'sheet.png'))[..., ::-1], page)
    with pytest.raises(InputError):
        contact_sheet([])
    with pytest.raises(OutputError, match='cannot be written'):
        save_png(Path('/proc/absent/sheet.png'), page)


@pytest.mark.parametrize('count', [1, 3, 12, 24, 25, 300])
def test_picks_spread_over_a_stream_of_any_length(count):
    picks = Picks(wanted=6)
    for n in range(count):
        picks.add(np.full((4, 6, 3), n % 256, np.uint8), str(n))
    kept = [int(caption) for _, caption in picks._kept]
    assert kept[0] == 0 and kept == sorted(kept) and len(kept) < 12
    assert kept[-1] >= count - max(1, count / 6) - 1
    assert picks.sheet().ndim == 3


def test_video_can_be_read_back(tmp_path):
    path = tmp_path / 'clip.mp4'
    with VideoFile(path, 10.0, 65, 49) as video:  # an odd last row and column are left out
        for n in range(5):
            video.add(np.full((49, 65, 3), 40 * n, np.uint8))
    capture = cv2.VideoCapture(str(path))
    assert is_readable(path) and capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    assert capture.read()[1].shape == (48, 64, 3)


def test_video_where_nothing_can_be_written():
    with pytest.raises(OutputError, match='cannot be written'):
        VideoFile(Path('/proc/absent/clip.mp4'), 10.0, 64, 48)


def test_joints_behind_somebody_nearer_are_not_drawn():
    camera, faces = CAMERAS['pinhole'], load_body().faces
    behind, before = stand(camera, z=4.0, person_id=1), stand(camera, z=2.0, person_id=2)
    alone = draw_people(gray(), [behind], camera, faces, skeleton=True, box=False, label=False)
    both = draw_people(gray(), [behind, before], camera, faces, skeleton=True, box=False, label=False)
    only = draw_people(gray(), [before], camera, faces, skeleton=True, box=False, label=False)
    chest = tuple(np.round(behind.joints2d[9]).astype(int)[::-1])
    assert (alone[chest] == color_of(1)).all()
    assert (both[chest] == only[chest]).all()
