"""Told to end at any moment, our programs end: no traceback, no abort, an exit status that says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from places import ROOT

from cliff_ros import cli, signals
from cliff_ros.commands import convert
from cliff_ros.errors import InputError

NOISE = ('Traceback', 'terminate called', 'Fatal Python error', 'Exception ignored', 'core dumped')


@pytest.fixture(scope='module')
def launcher(tmp_path_factory):
    """``launcher(module)``: the executable that is installed for a module, as `ros2 run` starts it."""
    folder = tmp_path_factory.mktemp('prefix') / 'lib' / 'cliff_ros'
    folder.mkdir(parents=True)

    def make(module: str) -> Path:
        path = folder / module.rpartition('.')[2]
        path.write_text((ROOT / 'scripts' / 'run_module.sh.in').read_text().replace('@MODULE@', module))
        path.chmod(0o755)
        return path

    return make


def end(command: list[str], sign: signal.Signals, delay: float) -> tuple[int, str]:
    """Start, wait so long, send the signal; exit status and output."""
    env = {**os.environ, 'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'}
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        time.sleep(delay)
        child.send_signal(sign)
        output, _ = child.communicate(timeout=60)
    finally:
        child.kill()
    return child.returncode, output


# From before the interpreter is up, through imports and loading, into the run. The moments need not be met exactly:
# every moment must be good.
@pytest.mark.parametrize('delay', [0.005, 0.03, 0.08, 0.2, 0.5, 1.2, 3.0])
@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM])
def test_a_node_ends_cleanly_at_any_moment(ros, launcher, tiny_files, sign, delay):
    parameters = [
        word
        for name, value in {**tiny_files, 'autostart': True, 'num_threads': 1}.items()
        for word in ('-p', f'{name}:={str(value).lower() if isinstance(value, bool) else value}')
    ]
    status, output = end([str(launcher('cliff_ros.ros.node')), '--ros-args', *parameters], sign, delay)
    assert not any(word in output for word in NOISE), output
    assert status in (0, -sign), output  # -sign: the shell that starts Python was still there


@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM])
def test_a_camera_ends_cleanly_while_it_starts(ros, launcher, sign):
    for delay in (0.02, 0.3, 1.0):
        status, output = end([str(launcher('cliff_ros.ros.camera_node'))], sign, delay)
        assert not any(word in output for word in NOISE), output
        assert status in (0, -sign), output


@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM])
def test_a_command_ends_cleanly_while_it_starts(launcher, tmp_path, sign):
    for delay in (0.01, 0.1, 0.5):
        status, output = end(
            [str(launcher('cliff_ros.cli')), 'video', str(tmp_path / 'absent'), '--output', str(tmp_path / 'out')],
            sign,
            delay,
        )
        assert not any(word in output for word in NOISE), output
        assert status in (2, -sign, 128 + sign), output  # 2: it was faster, and there is no such video


def test_the_first_signal_interrupts_and_the_second_leaves_the_writing_alone():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), signals.interrupting() as request:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            written = np.arange(3).sum()
    assert written == 3
    assert request.sign == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def filming(tmp_path):
    """`cliff video` in the middle of its work: (process, its folder)."""
    pytest.importorskip('onnxruntime')
    out = tmp_path / 'out'
    command = ['video', 'synthetic', '--max-frames', '5000', '--output', str(out), '--report', str(out / 'report.json')]
    child = subprocess.Popen(
        [sys.executable, '-m', 'cliff_ros.cli', *command],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end = time.monotonic() + 120
    while not _size(out / 'people.jsonl') or _size(out / 'overlay.partial.avi') < 100_000:
        assert child.poll() is None and time.monotonic() < end, child.communicate()
        time.sleep(0.05)
    yield child, out
    child.kill()
    child.wait()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def frames_of(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def test_interrupted_twice_a_command_keeps_what_it_has(filming):
    child, out = filming
    child.send_signal(signal.SIGINT)
    time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGINT and not any(word in said for word in NOISE), said
    report = json.loads((out / 'report.json').read_text())
    assert report['stopped_by'] == 'interrupted' and not report['complete'] and report['frames'] > 0
    # An image under way may be in one of them already and not in the others.
    assert 0 <= frames_of(out / 'overlay.mp4') - report['frames'] <= 1 and (out / 'contact_sheet.png').exists()
    assert np.isin(np.load(out / 'people.npz')['frame'], range(report['frames'] + 1)).all()
    assert not [path.name for path in out.iterdir() if 'partial' in path.name]


def test_killed_a_command_leaves_rows_that_are_whole_and_a_video_that_can_be_played(filming):
    child, out = filming
    child.kill()
    child.wait()
    lines = (out / 'people.jsonl').read_bytes().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines if line.endswith(b'\n')]
    assert rows and len(lines) - len(rows) <= 1 and all(len(row['joints']) == 24 for row in rows)
    assert frames_of(out / 'overlay.partial.avi') > 0
    assert not (out / 'report.json').exists() and not (out / 'people.npz').exists()  # nothing that looks finished


@pytest.mark.parametrize('error', [ImportError('numpy failed to import'), InputError('no room')])
def test_an_interruption_that_became_another_error_ends_as_one(monkeypatch, capsys, error):
    def run(args):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt:
            raise error from None

    monkeypatch.setattr(convert, 'run', run)
    assert cli.main(['convert', 'a', 'b']) == 128 + signal.SIGTERM
    assert ('no room' if isinstance(error, InputError) else 'interrupted') in capsys.readouterr().err


@pytest.mark.parametrize('answered', [True, False])
def test_who_is_asked_to_end_has_only_so_much_time_to_notice(monkeypatch, answered):
    monkeypatch.setattr(signals, 'PATIENCE', 0.2)
    before, interrupted = signal.getsignal(signal.SIGALRM), False
    try:
        with signals.asking() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop
            if answered:
                signals.heard()
            time.sleep(0.6)
    except KeyboardInterrupt:
        interrupted = True
    assert interrupted != answered and signal.getsignal(signal.SIGALRM) is before
