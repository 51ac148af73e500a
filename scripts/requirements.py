"""Prints what building and running this package need, one requirement a line, from pyproject.toml.

The Makefile installs them before it builds without isolation: an isolated build would download and
unpack ROS 2 a second time.
"""

from __future__ import annotations

from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

pyproject = tomllib.loads((Path(__file__).resolve().parents[1] / 'pyproject.toml').read_text())
print(*pyproject['build-system']['requires'], *pyproject['project']['dependencies'], sep='\n')
