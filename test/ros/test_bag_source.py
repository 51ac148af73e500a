"""Images of a bag as a source: those that were recorded, with their stamps and their camera."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs the extra 'record'")

from cliff_ros.body import load_body
from cliff_ros.commands.open_input import open_input
from cliff_ros.errors import InputError
from cliff_ros.record import Recorders, Take
from cliff_ros.ros.bag_source import BagSource
from cliff_ros.sources import FolderSource
from cliff_ros.synthetic import Sequence

START = 1_795_710_833_123_456_789


@pytest.fixture(scope='module')
def scene():
    return Sequence(seed=4, width=320, height=180, fps=10.0, seconds=0.5, people=1)


@pytest.fixture(scope='module')
def bag(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp('bag')
    recorders = Recorders(['mcap'], folder, load_body(), 10.0)
    for i in range(len(scene)):
        image = scene.image(i)
        recorders.add(Take(START + i * 100_000_000, scene.camera, [], image, 255 - image))
    recorders.close([])
    return folder / 'recording'


def test_a_bag_gives_its_images_camera_and_stamps(bag, scene):
    source = open_input(str(bag))
    assert isinstance(source, BagSource) and len(source) == 5
    assert source.fps == pytest.approx(12.5)  # five images in the four tenths of a second between first and last
    np.testing.assert_allclose(source.camera.K, scene.camera.K)
    frames = list(source)
    assert [frame.stamp for frame in frames] == pytest.approx([START * 1e-9 + i / 10 for i in range(5)], abs=1e-6)
    for i, frame in enumerate(frames):
        shown = frame.image if frame.order == 'rgb' else frame.image[..., ::-1]
        assert np.abs(shown.astype(float) - scene.image(i)).mean() < 5
        assert frame.frame_id == 'camera_optical_frame'


def test_another_topic_may_be_named_and_stamps_go_on_when_it_starts_again(bag, scene):
    source = BagSource(f'{bag}:/cliff/overlay/compressed', loop=True)
    frames = [frame for frame, _ in zip(source, range(7), strict=False)]
    shown = frames[0].image if frames[0].order == 'rgb' else frames[0].image[..., ::-1]
    assert np.abs(shown.astype(float) - (255 - scene.image(0))).mean() < 5
    assert (np.diff([frame.stamp for frame in frames]) > 0.05).all()


def test_what_cannot_be_read_is_said(bag, tmp_path):
    with pytest.raises(InputError, match='/camera/image_raw/compressed'):
        BagSource(f'{bag}:/left/image')
    (tmp_path / 'damaged.mcap').write_bytes((bag / 'recording.mcap').read_bytes()[:5000])
    with pytest.raises(InputError, match='no bag that can be read'):
        BagSource(str(tmp_path / 'damaged.mcap'))
    (tmp_path / 'images').mkdir()
    import cv2

    cv2.imwrite(str(tmp_path / 'images' / '1.png'), np.zeros((64, 64, 3), np.uint8))
    assert isinstance(open_input(str(tmp_path / 'images')), FolderSource)


def test_ros_itself_reads_what_was_recorded(bag, scene, ros, tmp_path):
    """Every message of a recording, deserialized by rclpy, as `ros2 bag play` and its listeners do."""
    from importlib import import_module

    from rclpy.serialization import deserialize_message
    from rosbags.highlevel import AnyReader

    recorders = Recorders(['mcap'], tmp_path, load_body(), 10.0)
    people = scene.truth(0)
    recorders.add(Take(START, scene.camera, people, scene.image(0), scene.image(0)))
    recorders.close([])
    read = {}
    with AnyReader([tmp_path / 'recording']) as reader:
        for connection, _, raw in reader.messages():
            package, _, name = connection.msgtype.partition('/msg/')
            read[connection.topic] = deserialize_message(bytes(raw), getattr(import_module(f'{package}.msg'), name))
    assert len(read) == 7
    smpl = read['/cliff/people'].people[0]
    np.testing.assert_allclose([(p.x, p.y, p.z) for p in smpl.joints], people[0].joints, atol=1e-6)
    assert read['/cliff/people'].header.stamp.nanosec == START % 10**9
    assert read['/cliff/body'].body_sha256 == load_body().sha256 and read['/cliff/body'].privacy == 'off'
    assert len(read['/tf'].transforms) == 24 * len(people)
    assert len(read['/cliff/skeleton'].markers) == len(people)
