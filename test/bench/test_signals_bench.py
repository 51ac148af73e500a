"""`make signals` notices what it is there for."""

from __future__ import annotations

import random
import textwrap

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from bench import signals

CLEAN = """
    import os, signal
    def leave(sign, frame):
        os._exit(128 + sign)
"""
FAULTS = {
    'nothing': CLEAN,
    'exit status': 'import os\ndef leave(sign, frame): os._exit(7)\n',
    'noise': CLEAN.replace('os._exit', 'print("Traceback (most recent call last)", flush=True); os._exit'),
    'processes stay': CLEAN.replace('os._exit', 'os.fork() or __import__("time").sleep(60); os._exit'),
    'half files stay': CLEAN.replace('os._exit', 'open("report.77.partial.json", "w").close(); os._exit'),
    'late': CLEAN.replace('os._exit', '__import__("time").sleep(0.7); os._exit'),
}
PROGRAM = """
import signal
{leave}
for sign in (signal.SIGINT, signal.SIGTERM):
    signal.signal(sign, leave)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
while True:
    signal.pause()
"""


@pytest.mark.parametrize('wrong', FAULTS)
def test_an_end_that_is_not_clean_is_noticed(tmp_path, monkeypatch, wrong):
    (tmp_path / 'patient.py').write_text(PROGRAM.format(leave=textwrap.dedent(FAULTS[wrong])))
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    if wrong == 'late':
        monkeypatch.setattr(signals, 'BAR', 0.5)
    # A moment at which it surely waits, and one signal.
    rng = type('Rng', (random.Random,), {'uniform': lambda self, a, b: 1.5, 'random': lambda self: 0.7})(0)
    row = signals.attempt('patient', signals.Program(('patient',), 2.0), tmp_path, rng)
    assert row['wrong'] == ([] if wrong == 'nothing' else [wrong]), row
