"""Child processes that never outlive their parent, with a log each."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cliff_ros import signals
from cliff_ros.ros.runtime.middleware import SHARED_MEMORY

# First UDP port of DDS domain 0, ports per domain, and the offset of the first participant's own port
# (OMG DDSI-RTPS 2.2, 9.6.1).
_PORT, _PORTS_PER_DOMAIN, _PARTICIPANT = 7400, 250, 10

# What scripts/run_module.sh.in sets, and why.
_AS_INSTALLED = {
    'OPENBLAS_NUM_THREADS': '1',
    'MALLOC_ARENA_MAX': '1',
    'MALLOC_MMAP_THRESHOLD_': '1073741824',
    'MALLOC_TRIM_THRESHOLD_': '1073741824',
}


class ProcessFailed(Exception):
    """A child ended when it should not have. The message is for the user and holds the end of its log."""


class Processes:
    """Starts children in order; stops them in reverse when the ``with`` block is left, in whatever way."""

    def __init__(self, logs: Path, env: dict[str, str]) -> None:
        self.logs, self.env = logs, env
        self._children: dict[str, subprocess.Popen] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Run ``python ARGUMENTS``; what it prints goes to ``logs/NAME.log``."""
        with open(self.log(name), 'wb') as log:
            self._children[name] = subprocess.Popen(
                [sys.executable, '-u', *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
                start_new_session=True,
                preexec_fn=_prepare_child,
            )

    def log(self, name: str) -> Path:
        """Where the child of this name writes its output: ``logs/NAME.log``, whether or not it was started."""
        return self.logs / f'{name}.log'

    def tail(self, name: str, lines: int = 15) -> str:
        """The last lines of a child's log."""
        text = self.log(name).read_text(encoding='utf-8', errors='replace')
        return '\n'.join(text.splitlines()[-lines:])

    def running(self, name: str) -> bool:
        """Whether a child that was started has not ended yet."""
        return self._children[name].poll() is None

    def check(self, *must_run: str) -> None:
        """ProcessFailed if a child failed, or if one of ``must_run`` ended at all."""
        for name, child in self._children.items():
            code = child.poll()
            if code or (code == 0 and name in must_run):
                raise self.failure(name, f'the {name} process ended with exit code {code}')

    def failure(self, name: str, sentence: str) -> ProcessFailed:
        """An error to raise, with the end of that child's log."""
        return ProcessFailed(f'{sentence}; the end of {self.log(name)}:\n{self.tail(name)}')

    def stop(self, name: str, patience: float = 10.0) -> int:
        """SIGINT, after ``patience`` seconds SIGTERM, then SIGKILL; returns the exit code."""
        child = self._children[name]
        for sign, seconds in ((signal.SIGINT, patience), (signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
            if child.poll() is not None:
                break
            child.send_signal(sign)
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
        return child.wait()

    def __enter__(self) -> Processes:
        return self

    def end_all(self, patience: float = 1.0) -> None:
        """SIGINT to all at once, after ``patience`` seconds in all SIGKILL: for a user who waits."""
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        end = time.monotonic() + patience
        for child in self._children.values():
            try:
                child.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def __exit__(self, kind: type[BaseException] | None, *exc) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.end_all()
        for name in reversed(self._children):
            self.stop(name)


def _prepare_child() -> None:
    """Runs in the child. A shell's background jobs ignore SIGINT and children inherit that; and when the
    parent is killed, a child that nobody will stop must go too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals.end_with_parent(signal.SIGTERM)


def ros_environment() -> dict[str, str]:
    """This environment, with a DDS domain of its own that does not leave this machine."""
    env = _AS_INSTALLED | os.environ | {'ROS_DOMAIN_ID': str(free_domain()), 'PYTHONUNBUFFERED': '1'}
    if env.get('ROS_DISTRO') == 'humble':  # later distros replaced the variable and warn about the old one
        env['ROS_LOCALHOST_ONLY'] = '1'
    else:
        env['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    return env


def free_domain() -> int:
    """A random DDS domain, 1..100, in which nobody on this machine has a participant."""
    domains = list(range(1, 101))
    random.shuffle(domains)
    return next((domain for domain in domains if _is_free(domain)), domains[0])


def _is_free(domain: int) -> bool:
    port = _PORT + _PORTS_PER_DOMAIN * domain + _PARTICIPANT
    if (SHARED_MEMORY / f'fastdds_port{port}').exists():  # a participant that has shared memory only
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(('', port))
        except OSError:
            return False
    return True
