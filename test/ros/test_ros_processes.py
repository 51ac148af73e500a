"""Camera and node as processes of their own: they find each other, and end when they are told to."""

from __future__ import annotations

import signal

import cv2
import numpy as np
import pytest
from conftest import cell_picture

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from cliff_ros.camera import Camera
from cliff_ros.msg import SmplArray
from cliff_ros.ros.camera_node import info_message
from cliff_ros.ros.inputs.images import to_array


@pytest.fixture
def folder(tmp_path):
    """Four images, the tiny detector sees one person in each, and their calibration."""
    for i in range(4):
        image = cell_picture((2, 2))
        image[:8, :8] = 60 * i  # tells them apart
        cv2.imwrite(str(tmp_path / f'{i}.png'), image)
    Camera(640, 480, np.array([[500, 0, 320], [0, 510, 240], [0, 0, 1]]), d=(0.1, -0.05, 0, 0, 0)).to_yaml(
        tmp_path / 'camera.yaml'
    )
    return tmp_path


def test_a_folder_goes_through_camera_and_node(start, peer, tiny_files, folder):
    node = start(
        'cliff_ros.ros.node',
        {'image': '/camera/image_raw', 'camera_info': '/camera/camera_info'},
        autostart='true',
        score_threshold=0.6,
        **tiny_files,
    )
    images = peer.listen(Image, '/camera/image_raw')
    people = peer.listen(SmplArray, '/cliff/people')
    camera = start(
        'cliff_ros.ros.camera_node',
        source=folder,
        calibration=folder / 'camera.yaml',
        rate=5.0,
        encoding='bgr8',
        wait_for_subscribers=2,
        loop='true',
        frame_id='eye',
    )

    def answered() -> set[int]:
        """Which of the pictures came back as people. On a busy machine the node skips some: they come again."""
        of_stamp = {stamp_of(m): picture_of(m) for m in images}
        return {of_stamp[stamp] for stamp in map(stamp_of, people) if stamp in of_stamp}

    assert peer.until(lambda: len(answered()) == 4, 60.0)
    stamps = [stamp_of(m) for m in people]
    assert stamps == sorted(set(stamps)) and {m.header.frame_id for m in people} == {'eye'}
    assert {len(m.people) for m in people} == {1}
    for process in (camera, node):
        process.send_signal(signal.SIGINT)
        log = process.communicate(timeout=20)[0]
        assert process.returncode == 0 and 'Traceback' not in log, log
    assert 'Ready' in log


def test_a_folder_is_played_to_its_end(start, peer, folder):
    images, infos = peer.listen(Image, '/camera/image_raw'), peer.listen(CameraInfo, '/camera/camera_info')
    small = peer.listen(CompressedImage, '/camera/image_raw/compressed')
    camera = start(
        'cliff_ros.ros.camera_node',
        source=folder,
        calibration=folder / 'camera.yaml',
        rate=5.0,
        encoding='bgr8',
        wait_for_subscribers=2,
        frame_id='eye',
    )
    assert peer.until(lambda: camera.poll() is not None, 60.0)
    assert camera.returncode == 0 and '4 images sent' in camera.stdout.read()
    assert peer.until(lambda: len(images) == len(small) == 4)
    assert [m.header for m in images] == [m.header for m in small]
    # The camera waits for those who want images, not for whoever listens to CameraInfo: DDS may match this
    # listener later, but then nothing is lost.
    assert peer.until(lambda: infos and infos[-1].header == images[-1].header)
    assert [m.header for m in infos] == [m.header for m in images][4 - len(infos) :]
    assert images[0].header.frame_id == 'eye' and images[0].encoding == 'bgr8'
    for i, (image, jpeg) in enumerate(zip(images, small, strict=True)):
        sent = cv2.imread(str(folder / f'{i}.png'))
        np.testing.assert_array_equal(to_array(image)[0], sent)
        back, order = to_array(jpeg)
        assert np.abs((back if order == 'bgr' else back[..., ::-1]).astype(int) - sent).mean() < 2
    for info in infos:
        assert Camera.from_info(info, image_size=(640, 480)).K[1, 1] == 510


def stamp_of(message) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


def picture_of(image: Image) -> int:
    """The number of the folder's picture, from its marked corner."""
    return round(float(to_array(image)[0][:8, :8].mean()) / 60)


@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_the_node_clears_up_and_ends(start, peer, tiny_files, sign):
    node = start('cliff_ros.ros.node', autostart='true', score_threshold=0.6, **tiny_files)
    people = peer.listen(SmplArray, '/cliff/people')
    for camera in (peer.images, peer.infos):
        assert peer.until(camera.get_subscription_count, 60.0)
    assert peer.until(lambda: peer.show(cell_picture((2, 2)), (1, 0)) or peer.spin(0.2) or people)
    assert len(people[-1].people) == 1
    node.send_signal(sign)
    log = node.communicate(timeout=20)[0]
    assert node.returncode == 0 and 'Traceback' not in log, log
    assert peer.until(lambda: people[-1].people == [])


def test_a_node_that_cannot_load_says_so_and_waits(start, peer):
    said = peer.listen(DiagnosticArray, '/diagnostics')
    node = start('cliff_ros.ros.node', autostart='true', model='/nowhere/model.onnx', detector='topic')
    assert peer.until(lambda: any(status.message for message in said for status in message.status), 60.0)
    assert peer.state() == 'unconfigured' and node.poll() is None


@pytest.mark.parametrize(
    'parameters, words',
    [
        ({'source': '/nowhere/film.mp4'}, "no '/nowhere/film.mp4'"),
        ({'source': 'synthetic:many'}, 'synthetic:'),
        ({'encoding': 'sepia'}, 'must be one of rgb8'),
    ],
)
def test_a_camera_without_a_source_says_so_and_ends(start, parameters, words):
    camera = start('cliff_ros.ros.camera_node', **parameters)
    log = camera.communicate(timeout=60)[0]
    assert camera.returncode == 1 and words in log and 'Traceback' not in log, log


@pytest.mark.parametrize(
    'model, d', [('plumb_bob', (0.1, -0.2, 0.01, 0.02, 0.03)), ('plumb_bob', ()), ('equidistant', (0.1, 0.0, 0.0, 0.0))]
)
def test_camera_infos_describe_the_camera(model, d):
    camera = Camera(640, 480, np.array([[500, 0, 320], [0, 510, 240], [0, 0, 1]]), model, d)
    back = Camera.from_info(info_message(camera), image_size=(640, 480))
    points = np.random.default_rng(0).normal(size=(20, 3)) + [0, 0, 5]
    np.testing.assert_allclose(back.project(points), camera.project(points), atol=1e-6)
