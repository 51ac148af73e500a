"""Video files, folders, devices and calibrations."""

import cv2
import numpy as np
import pytest

from cliff_ros.camera import Camera
from cliff_ros.errors import InputError
from cliff_ros.sources import open_source

WIDTH, HEIGHT = 64, 48


def picture(n):
    """Left half red, right half with the number in its brightness: colors and order can be checked."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, : WIDTH // 2, 0] = 220
    image[:, WIDTH // 2 :] = 20 * n
    return image


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'images'
    path.mkdir()
    for n in (1, 2, 10):
        cv2.imwrite(str(path / f'img{n}.png'), picture(n)[..., ::-1])
    (path / 'notes.txt').write_text('not an image')
    return path


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'clip.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 12.0, (WIDTH, HEIGHT))
    for n in range(6):
        writer.write(picture(n)[..., ::-1].copy())
    writer.release()
    return path


@pytest.fixture
def calibration(tmp_path):
    path = tmp_path / 'camera.yaml'
    K = np.array([[80.0, 0, 30], [0, 82, 25], [0, 0, 1]])
    Camera(WIDTH, HEIGHT, K, d=(0.1, 0, 0, 0, 0)).to_yaml(path)
    return path


def test_folder_in_natural_order_as_rgb(folder):
    source = open_source(str(folder), fps=5)
    frames = list(source)
    assert len(source) == len(frames) == 3
    assert [int(frame.image[0, -1, 0]) for frame in frames] == [20, 40, 200]
    assert frames[0].image[0, 0].tolist() == [220, 0, 0]
    assert [frame.stamp for frame in frames] == [0.0, 0.2, 0.4]
    assert frames[0].order == 'rgb' and frames[0].camera is source.camera


def test_video_knows_its_rate_and_length_and_can_be_read_twice(video):
    source = open_source(str(video))
    assert (source.fps, len(source), source.live) == (12.0, 6, False)
    first, again = list(source), list(source)
    assert len(first) == len(again) == 6
    assert np.array_equal(first[3].image, again[3].image)
    assert first[0].image[10, 10, 0] > 150 > first[0].image[10, 10, 2]
    assert first[5].stamp == pytest.approx(5 / 12)


def test_loop_goes_on_with_growing_stamps_and_has_no_length(video):
    source = open_source(str(video), loop=True)
    frames = [frame for frame, _ in zip(source, range(15), strict=False)]
    assert np.all(np.diff([frame.stamp for frame in frames]) > 0)
    assert np.array_equal(frames[0].image, frames[6].image)
    with pytest.raises(TypeError):
        len(source)


def test_calibration_is_used(video, calibration):
    source = open_source(str(video), camera_yaml=calibration)
    assert source.camera.K[1, 1] == 82 and not source.camera.is_pinhole


def test_without_calibration_the_guess_is_used_and_said(video, caplog):
    source = open_source(str(video))
    assert source.camera.f == pytest.approx(np.hypot(WIDTH, HEIGHT))
    assert 'distances will be off' in caplog.text and '--camera' in caplog.text


def test_calibration_of_another_size_is_refused(video, tmp_path):
    path = tmp_path / 'other.yaml'
    Camera.uncalibrated(1280, 720).to_yaml(path)
    with pytest.raises(InputError, match='calibrates 1280x720, but the images are 64x48'):
        open_source(str(video), camera_yaml=path)


def test_missing_calibration_is_refused(video, tmp_path):
    with pytest.raises(InputError, match='absent.yaml'):
        open_source(str(video), camera_yaml=tmp_path / 'absent.yaml')


@pytest.mark.parametrize('spec', ['absent.mp4', '/nowhere/at/all', 'http://camera/stream'])
def test_nothing_there(spec):
    with pytest.raises(InputError, match='There is no'):
        open_source(spec)


def test_a_file_that_is_no_video(tmp_path):
    path = tmp_path / 'fake.mp4'
    path.write_bytes(b'not a video' * 100)
    with pytest.raises(InputError, match='cannot read a frame'):
        open_source(str(path))


def test_a_folder_without_images(tmp_path):
    with pytest.raises(InputError, match='no image in the folder'):
        open_source(str(tmp_path))


def test_an_image_of_another_size_is_named(folder):
    cv2.imwrite(str(folder / 'img11.png'), np.zeros((10, 10, 3), np.uint8))
    frames = iter(open_source(str(folder)))
    for _ in range(3):
        next(frames)
    with pytest.raises(InputError, match=r"img11.png' is 10x10, but the images before it are 64x48"):
        next(frames)


def test_a_damaged_image_is_named(folder):
    (folder / 'img0.png').write_bytes(b'broken')
    with pytest.raises(InputError, match='img0.png'):
        open_source(str(folder))


def test_a_device_that_is_not_there():
    with pytest.raises(InputError, match='gives no image'):
        open_source('97')


def test_a_rate_that_is_none(video):
    with pytest.raises(InputError, match='above zero'):
        open_source(str(video), fps=0.0)


def test_synthetic_brings_its_truth():
    pytest.importorskip('numba')
    source = open_source('synthetic:3', fps=10.0)
    frame = next(iter(source))
    assert frame.image.shape == (source.camera.height, source.camera.width, 3)
    assert frame.image.std() > 10
    assert source.fps == 10.0 and len(source) == len(source.sequence)
    again = open_source('synthetic:3', fps=10.0).sequence.image(0)
    assert np.array_equal(frame.image, again)


def test_synthetic_refuses_what_makes_no_sense(calibration):
    with pytest.raises(InputError, match='number after the colon'):
        open_source('synthetic:red')
