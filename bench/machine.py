"""On what was measured."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ('cliff_ros', 'numpy', 'opencv-python-headless', 'onnxruntime', 'torch', 'smplx', 'ros-rclpy', 'ros-fastdds')


def describe() -> dict:
    """The machine and the versions of what runs on it; ``load``: runnable processes in the last 1, 5, 15 minutes."""
    return {
        'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        'cpu': _cpu(),
        'cores': len(os.sched_getaffinity(0)),
        'python': platform.python_version(),
        'load': [round(value, 2) for value in os.getloadavg()],
        'versions': {name: _version(name) for name in PACKAGES},
    }


def _cpu() -> str:
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith(('model name', 'Model')):
            return line.partition(':')[2].strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
