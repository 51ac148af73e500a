"""`cliff bag`: what was recorded comes back as people at the same stamps, and twice the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs the extra 'record'")
pytest.importorskip('mcap_ros2', reason='needs mcap-ros2-support')

from recorded_bag import decoded, read_bag, stamps, write_bag

from cliff_ros import cli
from cliff_ros.people import Frame
from cliff_ros.pipeline import Pipeline
from cliff_ros.synthetic import Sequence

FRAMES = 4


@pytest.fixture(scope='module')
def scene():
    return Sequence(seed=4, width=320, height=240, fps=10.0, seconds=FRAMES / 10, people=1)


@pytest.fixture(scope='module')
def recording(scene, tmp_path_factory):
    images = [scene.image(i) for i in range(FRAMES)]
    return write_bag(tmp_path_factory.mktemp('recorded') / 'bag', images, scene.camera)


def test_people_come_at_the_stamps_of_the_images_and_twice_the_same(recording, scene, tmp_path) -> None:
    words = ['bag', str(recording), '--threads', '1']
    assert cli.main([*words[:2], str(tmp_path / 'a.mcap'), *words[2:], '--report', str(tmp_path / 'r.json')]) == 0
    assert cli.main([*words[:2], str(tmp_path / 'b.mcap'), *words[2:]]) == 0
    first, second = read_bag(tmp_path / 'a.mcap'), read_bag(tmp_path / 'b.mcap')
    for topic in ('/cliff/people', '/tf', '/cliff/skeleton', '/cliff/body', '/camera/camera_info'):
        assert first[topic] == second[topic], topic
    for topic in ('/cliff/people', '/tf', '/cliff/timing', '/cliff/skeleton'):
        assert [time for time, _ in first[topic]] == stamps(FRAMES)
    report = json.loads((tmp_path / 'r.json').read_text())
    assert (report['frames'], report['complete']) == (FRAMES, True) and report['people'] >= FRAMES - 1
    # The people are the pipeline's, and every message has the image's header.
    pipeline = Pipeline(threads=1)
    for i, message in enumerate(decoded(tmp_path / 'a.mcap', '/cliff/people')):
        assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamps(FRAMES)[i]
        assert message.header.frame_id == 'head_camera'
        people = pipeline(Frame(scene.image(i), scene.camera, stamp=stamps(FRAMES)[i] * 1e-9), vertices=False)
        assert [smpl.id for smpl in message.people] == [person.id for person in people]
        for smpl, person in zip(message.people, people, strict=True):
            np.testing.assert_allclose([(p.x, p.y, p.z) for p in smpl.joints], person.joints, atol=1e-5)
            np.testing.assert_allclose(smpl.betas, person.betas, atol=1e-5)
    timing = decoded(tmp_path / 'a.mcap', '/cliff/timing')
    assert [m.frames_processed for m in timing] == [1, 2, 3, 4] and all(m.infer_ms > 0 for m in timing)
    body = decoded(tmp_path / 'a.mcap', '/cliff/body')
    assert len(body) == 1 and body[0].model == 'cliff_embedded' and len(body[0].faces) > 1000
    assert not [path for path in tmp_path.iterdir() if 'partial' in path.name]


def test_a_bag_of_ros_1_with_its_images(scene, tmp_path) -> None:
    path = write_bag(tmp_path / 'old.bag', [scene.image(i) for i in range(2)], scene.camera, ros1=True)
    assert cli.main(['bag', str(path), str(tmp_path / 'new.mcap'), '--images', '--max-frames', '2']) == 0
    found = read_bag(tmp_path / 'new.mcap')
    assert len(found['/camera/image_raw/compressed']) == 2
    info = decoded(tmp_path / 'new.mcap', '/camera/camera_info')[0]
    np.testing.assert_allclose(info.k, scene.camera.K.ravel())


def test_what_cannot_be_converted_leaves_nothing(recording, tmp_path, capsys) -> None:
    assert cli.main(['bag', str(recording), str(tmp_path / 'a.bag')]) == 2 and '*.mcap' in capsys.readouterr().err
    assert cli.main(['bag', str(tmp_path / 'none'), str(tmp_path / 'a.mcap')]) == 2
    assert cli.main(['bag', f'{recording}:/left/image', str(tmp_path / 'a.mcap')]) == 2
    assert '/head/image_raw' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
