"""`make fuzz` notices what it is there for, and a short run of it finds nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from places import ROOT

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from bench import fuzz, fuzz_targets
from cliff_ros.camera import Camera
from cliff_ros.errors import CliffError, InputError

# A target with each of the faults: Python's, a crash inside of C, a hang.
BROKEN = """
import ctypes, time
from bench import fuzz_targets
def run(raw):
    if {what!r} == 'escape' and raw[:1] != b'g':
        raise ZeroDivisionError
    if {what!r} == 'death':
        ctypes.string_at(1)
    if {what!r} == 'hang':
        time.sleep(99)
fuzz_targets.TARGETS['broken'] = fuzz_targets.Target(lambda: [b'good'], run)
fuzz_targets.main(*[{name!r}, 0, *__import__('sys').argv[3:]])
"""


@pytest.mark.parametrize('what', ['escape', 'death', 'hang'])
def test_escapes_deaths_and_hangs_are_noticed(tmp_path, monkeypatch, what):
    script = tmp_path / 'broken.py'
    script.write_text(BROKEN.format(what=what, name='broken'))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setattr(fuzz, 'CHILD', [sys.executable, str(script)])
    if what == 'hang':
        monkeypatch.setattr(fuzz, 'HANG', 0.7)
    result = fuzz.fuzz('broken', 1.0, 0, tmp_path)
    assert result['hangs' if what == 'hang' else 'escapes'] > 0, result
    assert bool(result['deaths']) == (what == 'death') and (what == 'hang') == bool(result['hangs'])
    if what == 'escape':
        assert result['places'][0].startswith('ZeroDivisionError broken.py:')
    else:
        assert (tmp_path / f'broken-{what}-1.bin').read_bytes() == b'good'
        assert what != 'death' or 'Segmentation fault' in result['causes'][0]


def test_good_inputs_are_taken_by_every_target():
    refused = {}
    for name, target in fuzz_targets.TARGETS.items():
        if name in ('camera_info', 'detections', 'parameters'):
            continue  # these need what their child sets up; a run shows them
        good = 0
        for seed in target.seeds():
            try:
                target.run(seed)
                good += 1
            except CliffError as error:
                refused[name] = str(error)
        # A checkpoint of the real size, and a body of all vertices, are too large to be damaged thousands of times.
        assert good or name in ('safetensors', 'pickle'), (name, refused[name])


@pytest.mark.slow
def test_a_short_run_reports_every_target_and_finds_nothing_in_what_arrives(tmp_path):
    names = [
        'image',
        'compressed',
        'camera_info',
        'detections',
        'tf',
        'clock',
        'camera_yaml',
        'training_yaml',
        'parameters',
    ]
    done = subprocess.run(
        [sys.executable, '-m', 'bench.fuzz', '--seconds', '9', '--output', tmp_path, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    report = json.loads((tmp_path / 'report.json').read_text())
    assert set(report) == set(names)
    few = {
        name: (result['iterations'], result['refused'])
        for name, result in report.items()
        if result['iterations'] < 3 or (not result['refused'] and name not in ('tf', 'parameters'))
    }
    assert not few
    assert done.returncode == 0, (done.stdout, done.stderr, report)


@pytest.mark.parametrize(
    'old, new',
    [
        ('data: [', 'data: [' + '9' * 400 + ', '),
        ('image_width: 64', 'image_width: .inf'),
        ('image_width: 64', 'image_width: 2021-99-99'),
        ('camera_matrix:', '[' * 5000),
        ('distortion_coefficients:', 'distortion_coefficients: {data: }\nold:'),
    ],
    ids=['number', 'infinite', 'date', 'nested', 'nothing'],
)
def test_what_fuzzing_found_in_calibration_files_is_refused(tmp_path, old, new):
    path = tmp_path / 'camera.yaml'
    good = fuzz_targets.camera_files()[0].decode()
    assert old in good
    path.write_text(good.replace(old, new, 1))
    with pytest.raises(InputError):
        Camera.from_yaml(path)
