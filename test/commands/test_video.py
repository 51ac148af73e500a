"""`cliff video`: the real pipeline over a small rendered clip."""

import json

import cv2
import numpy as np
import pytest

from cliff_ros import cli
from cliff_ros.camera import Camera
from cliff_ros.render.video import VideoFile
from cliff_ros.synthetic import Sequence

WIDTH, HEIGHT, FRAMES = 480, 270, 6


@pytest.fixture(scope='module')
def sequence():
    return Sequence(seed=2, width=WIDTH, height=HEIGHT, fps=15.0, seconds=FRAMES / 15, people=1)


@pytest.fixture(scope='module')
def clip(sequence, tmp_path_factory):
    """A rendered video and its calibration."""
    folder = tmp_path_factory.mktemp('clip')
    with VideoFile(folder / 'clip.mp4', 15.0, WIDTH, HEIGHT) as video:
        for n in range(FRAMES):
            video.add(sequence.image(n))
    sequence.camera.to_yaml(folder / 'camera.yaml')
    return folder


@pytest.fixture(scope='module')
def run(clip, tmp_path_factory):
    """The command's output folder, and its report."""
    output = tmp_path_factory.mktemp('out')
    report = output / 'deeper' / 'report.json'
    assert (
        cli.main(
            [
                'video',
                str(clip / 'clip.mp4'),
                '--camera',
                str(clip / 'camera.yaml'),
                '--engine',
                'onnx',
                '--output',
                str(output),
                '--report',
                str(report),
            ]
        )
        == 0
    )
    return output, json.loads(report.read_text())


def test_the_overlay_has_every_frame_and_shows_the_mesh(run, sequence):
    capture = cv2.VideoCapture(str(run[0] / 'overlay.mp4'))
    frames = [capture.read()[1][..., ::-1] for _ in range(FRAMES)]
    assert not capture.read()[0]
    assert frames[0].shape == (HEIGHT, WIDTH, 3)
    assert any(np.abs(frame.astype(int) - sequence.image(n)).max() > 60 for n, frame in enumerate(frames))
    assert cv2.imread(str(run[0] / 'contact_sheet.png')) is not None


def test_both_tables_hold_the_same_people(run):
    output, report = run
    rows = [json.loads(line) for line in (output / 'people.jsonl').read_text().splitlines()]
    with np.load(output / 'people.npz') as table:
        assert len(rows) == len(table['id']) == report['people'] > 0
        for n, row in enumerate(rows):
            for name in ('frame', 'stamp', 'id', 'score', 'box', 'betas', 'translation', 'joints2d'):
                np.testing.assert_allclose(row[name], table[name][n], atol=6e-3, err_msg=name)
            np.testing.assert_allclose(row['rotations'], table['rotations'][n], atol=1e-6)
            assert row['track_state'] in ('new', 'ok', 'coasting')
        assert table['camera_size'].tolist() == [WIDTH, HEIGHT]
        rotations = table['rotations']
    identity = np.broadcast_to(np.eye(3), rotations.shape)
    np.testing.assert_allclose(rotations @ rotations.swapaxes(-1, -2), identity, atol=1e-5)


def test_the_report_says_what_ran_and_how_fast(run):
    report = run[1]
    assert report['complete'] and report['stopped_by'] is None
    assert report['frames'] == FRAMES and report['frames_with_people'] > 0
    assert {'detect', 'track', 'crop', 'infer', 'smooth', 'draw', 'pipeline'} <= set(report['stage_ms'])
    assert all(0 < ms['p50'] <= ms['p95'] for ms in report['stage_ms'].values())
    assert report['camera']['calibrated'] and report['engine'].startswith('onnx')
    plausibility = report['plausibility']
    assert plausibility['ids'] == len(plausibility['body_height_m']) >= 1
    assert all(1.0 < height < 2.6 for height in plausibility['body_height_m'].values())
    assert 0 < plausibility['mesh_box_iou_median'] <= 1


def test_only_a_report_and_fewer_frames(clip, tmp_path):
    report = tmp_path / 'report.json'
    assert (
        cli.main(['video', str(clip / 'clip.mp4'), '--max-frames', '2', '--no-smoothing', '--report', str(report)]) == 0
    )
    content = json.loads(report.read_text())
    assert content['frames'] == 2 and not content['camera']['calibrated']
    assert [path.name for path in tmp_path.iterdir()] == ['report.json']


def test_what_was_done_before_a_failure_is_kept(clip, tmp_path, sequence, capsys):
    images, output, report = tmp_path / 'images', tmp_path / 'out', tmp_path / 'report.json'
    images.mkdir()
    for n in range(3):
        cv2.imwrite(str(images / f'{n}.png'), sequence.image(n)[..., ::-1])
    (images / '3.png').write_bytes(b'damaged')
    assert (
        cli.main(
            [
                'video',
                str(images),
                '--camera',
                str(clip / 'camera.yaml'),
                '--output',
                str(output),
                '--report',
                str(report),
            ]
        )
        == 2
    )
    assert "3.png' is not an image" in capsys.readouterr().err
    content = json.loads(report.read_text())
    assert content['frames'] == 3 and not content['complete'] and '3.png' in content['stopped_by']
    assert cv2.VideoCapture(str(output / 'overlay.mp4')).read()[0]
    with np.load(output / 'people.npz') as table:
        rows = (output / 'people.jsonl').read_text().splitlines()
        assert len(table['id']) == len(rows) == content['people']


def test_a_calibration_of_other_images_is_refused(clip, tmp_path, capsys):
    Camera.uncalibrated(100, 100).to_yaml(tmp_path / 'camera.yaml')
    assert cli.main(['video', str(clip / 'clip.mp4'), '--camera', str(tmp_path / 'camera.yaml')]) == 2
    assert 'calibrates 100x100' in capsys.readouterr().err


def test_recordings_and_privacy(clip, sequence, tmp_path):
    """What is covered is covered in every file, and the report says so."""
    pytest.importorskip('rosbags', reason="needs the extra 'record'")
    from rosbags.highlevel import AnyReader

    source, camera = str(clip / 'clip.mp4'), str(clip / 'camera.yaml')
    words = ['video', source, '--camera', camera, '--engine', 'onnx', '--max-frames', '3', '--min-hits', '1']
    words += ['--privacy', 'people', '--record', 'mcap', 'obj', '--output', str(tmp_path)]
    assert cli.main([*words, '--report', str(tmp_path / 'report.json')]) == 0
    assert json.loads((tmp_path / 'report.json').read_text())['privacy'] == 'people'
    assert (tmp_path / 'people.obj').exists()
    with np.load(tmp_path / 'people.npz') as table:
        x0, y0, x1, y1 = table['box'][0].round().astype(int).clip(0)
    with AnyReader([tmp_path / 'recording']) as reader:
        images = [c for c in reader.connections if c.topic == '/camera/image_raw/compressed']
        for number, (_, _, raw) in enumerate(reader.messages(images)):
            data = bytes(reader.deserialize(raw, images[0].msgtype).data)
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if number == 0:
                assert image[y0:y1, x0:x1].std(axis=(0, 1)).max() < 3
                assert sequence.image(0)[y0:y1, x0:x1].std(axis=(0, 1)).max() > 10
    assert number == 2
    assert cli.main(['video', source, '--record', 'obj']) == 2  # into which folder?
