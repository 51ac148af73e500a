"""`cliff demo`, shortened: three real processes over DDS, measured and drawn."""

import json
from importlib.util import find_spec

import cv2
import pytest

from cliff_ros import cli
from cliff_ros.demo.recording import Recording

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

KEYS = {
    'frames_sent',
    'frames_processed',
    'people_true',
    'people_matched',
    'recall',
    'precision',
    'mpjpe_mm',
    'pa_mpjpe_mm',
    'root_rotation_deg_median',
    'translation_m_median',
    'reprojection_px_median',
    'reprojection_box_fraction_median',
    'latency_ms',
    'rate_hz',
    'markers_received',
    'tf_received',
    'headers_altered',
    'stamps_matched',
    'worked',
    'problem',
}


@pytest.mark.slow
def test_the_demo(tmp_path, capsys):
    page = find_spec('viser') is not None
    code = cli.main(
        [
            'demo',
            *(['--view'] if page else []),
            '--seconds',
            '3',
            '--rate',
            '5',
            '--width',
            '480',
            '--height',
            '270',
            '--people',
            '2',
            '--output',
            str(tmp_path),
        ]
    )
    printed = capsys.readouterr()
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report.keys() >= KEYS
    # How well people are found depends on the network; that everything arrives as sent does not.
    assert code == (0 if report['worked'] else 1), printed.err
    assert report['frames_sent'] == 15 and report['frames_processed'] > 0
    assert report['headers_altered'] == 0 and report['stamps_matched'] == report['frames_processed']
    assert report['tf_received'] == report['tf_stamps_matched'] > 0 and report['markers_received'] > 0
    assert report['tf_pelvis_difference_m_max'] < 1e-4
    assert report['body_passed_on'] and report['engine'].startswith('onnx')
    assert set(report['latency_ms']) == {'p50', 'p95', 'p99'}
    assert '(MPJPE)' in printed.out and str(tmp_path / 'report.json') in printed.out
    capture = cv2.VideoCapture(str(tmp_path / 'overlay.mp4'))
    assert capture.read()[0] and cv2.imread(str(tmp_path / 'contact_sheet.png')) is not None
    if page:  # live while it ran, and left as a file
        assert 'Look at  http://127.0.0.1:' in printed.out and 'replay.html' in printed.out
        assert b'__VISER_EMBED_DATA__' in (tmp_path / 'replay.html').read_bytes()
    else:
        assert 'cliff_ros[view]' in printed.out
    recording = Recording.load(tmp_path)
    assert recording.camera.width == 480 and recording.images


@pytest.mark.parametrize(
    'arguments, sentence',
    [(['--model', 'absent.onnx'], 'absent.onnx'), (['--seconds', '0'], 'positive'), (['--width', '8'], 'at least 64')],
)
def test_what_cannot_be_used_is_said_before_anything_starts(tmp_path, capsys, arguments, sentence):
    assert cli.main(['demo', '--output', str(tmp_path / 'out'), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
