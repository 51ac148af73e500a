"""`pytest` in a sourced workspace, where ROS's own plugins are present, runs what it runs elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys

from places import ROOT

CONFTEST = ROOT / 'test' / 'conftest.py'

# Does what the plugin of launch_testing does, which no package index has.
PLUGIN = """
import runpy

import pytest

def pytest_pycollect_makemodule(module_path, parent):
    runpy.run_path(str(module_path))
    return pytest.Module.from_parent(parent, path=module_path)
"""


def test_one_skipped_module_does_not_take_the_others_along(tmp_path) -> None:
    (tmp_path / 'conftest.py').write_text(CONFTEST.read_text())
    (tmp_path / 'as_launch_testing.py').write_text(PLUGIN)
    (tmp_path / 'test_absent.py').write_text("import pytest\npytest.importorskip('a_package_that_is_not_there')\n")
    (tmp_path / 'test_there.py').write_text('def test_it(): pass\n')
    run = subprocess.run(
        [sys.executable, '-m', 'pytest', '-p', 'as_launch_testing', '-q', str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT / "test"}'},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert '1 passed, 1 skipped' in run.stdout
