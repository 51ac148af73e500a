"""pip and colcon install the same package: messages, modules, data, executables, share files.

colcon must not build into an environment that has cliff_ros installed. So these tests work in a
copy of this environment (hard links, hence small and quick) from which cliff_ros is removed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from places import ROOT

PREFIX = Path(sys.prefix)
MESSAGES = sorted(path.stem for path in ROOT.glob('msg/*.msg'))
EXECUTABLES = ['camera_node', 'cliff', 'cliff_node', 'rviz']

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec('colcon_core') is None or shutil.which('make') is None,
        reason='colcon or make is not installed; `make test` installs colcon',
    ),
    pytest.mark.skipif(
        not (PREFIX / 'share' / 'rosidl_cmake').is_dir() or sys.prefix == sys.base_prefix,
        reason='ROS 2 is not in this virtual environment (on a robot it is elsewhere)',
    ),
]


@dataclass(frozen=True)
class Environment:
    """A virtual environment with ROS 2 and without cliff_ros, and a copy of the checkout."""

    prefix: Path
    source: Path

    @property
    def python(self) -> Path:
        return self.prefix / 'bin' / 'python'

    def run(self, *command: object, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        # Only what an activated environment has: ours would lead the child back to our libraries.
        env = {
            'HOME': os.environ.get('HOME', '/'),
            'VIRTUAL_ENV': str(self.prefix),
            'PATH': f'{self.prefix}/bin:{os.environ["PATH"]}',
            'AMENT_PREFIX_PATH': str(self.prefix),
            'CMAKE_PREFIX_PATH': str(self.prefix),
        }
        done = subprocess.run(
            [str(part) for part in command],
            env=env,
            cwd=cwd,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert not (check and done.returncode), f'{command} failed:\n{done.stdout[-4000:]}'
        return done


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


@pytest.fixture(scope='module')
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp('install')
    shutil.copytree(
        PREFIX,
        folder / 'env',
        symlinks=True,
        copy_function=link_or_copy,
        ignore=shutil.ignore_patterns('torch', 'nvidia', 'triton', '__pycache__'),
    )
    shutil.copytree(
        ROOT,
        folder / 'ws' / 'src' / 'cliff_ros',
        ignore=shutil.ignore_patterns('.git', '.venv', 'build', 'install', 'log', 'out', '*.egg-info', '__pycache__'),
    )
    result = Environment(folder / 'env', folder / 'ws' / 'src' / 'cliff_ros')
    result.run(result.python, '-m', 'pip', 'uninstall', '--yes', 'cliff_ros')
    return result


@dataclass(frozen=True)
class Workspace:
    """A colcon workspace in which cliff_ros is built."""

    environment: Environment
    folder: Path
    symlink: bool

    def run(self, code: str) -> str:
        """Output of Python code in the sourced workspace, away from the sources."""
        sourced = f'. {self.folder}/install/local_setup.sh && exec "$@"'
        done = self.environment.run('sh', '-c', sourced, 'sh', 'python', '-c', code, cwd=Path('/'))
        return done.stdout.strip()


@pytest.fixture(scope='module', params=[False, True], ids=['plain', 'symlink'])
def workspace(request: pytest.FixtureRequest, environment: Environment) -> Workspace:
    folder = environment.source.parents[1] / ('symlink' if request.param else 'plain')
    folder.mkdir()
    environment.run(
        environment.python,
        '-m',
        'colcon',
        '--log-base',
        folder / 'log',
        'build',
        '--base-paths',
        environment.source,
        '--build-base',
        folder / 'build',
        '--install-base',
        folder / 'install',
        *(['--symlink-install'] if request.param else []),
    )
    return Workspace(environment, folder, request.param)


def modules_and_data(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in (folder / 'cliff_ros').rglob('*')
        if path.is_file() and path.suffix in ('.py', '.typed', '.onnx', '.npz', '.md')
    }


def test_colcon_workspace(workspace: Workspace) -> None:
    imported = workspace.run(
        'import cliff_ros, cliff_ros.msg; from cliff_ros.msg import '
        f'{", ".join(MESSAGES)}; Smpl(); print(cliff_ros.msg.__file__)'
    )
    assert imported.startswith(str(workspace.folder / 'install'))

    prefix = workspace.folder / 'install' / 'cliff_ros'
    site = Path(imported).parents[2]
    assert modules_and_data(workspace.environment.source) <= modules_and_data(site)
    for name in EXECUTABLES:
        assert os.access(prefix / 'lib' / 'cliff_ros' / name, os.X_OK), name
    for folder in ('launch', 'config', 'msg'):
        for path in (ROOT / folder).glob('*.*'):
            assert (prefix / 'share' / 'cliff_ros' / folder / path.name).exists(), path


def test_edited_module_needs_no_rebuild_only_with_symlinks(workspace: Workspace) -> None:
    module = workspace.environment.source / 'cliff_ros' / 'errors.py'
    before = module.read_text()
    try:
        module.write_text(before + '\nEDITED = True\n')
        edited = workspace.run("import cliff_ros.errors; print(hasattr(cliff_ros.errors, 'EDITED'))")
    finally:
        module.write_text(before)
    assert edited == str(workspace.symlink)


def test_wheel(environment: Environment) -> None:
    environment.run(
        environment.python,
        '-m',
        'pip',
        'wheel',
        '--no-build-isolation',
        '--no-deps',
        '--wheel-dir',
        environment.prefix.parent,
        environment.source,
    )
    wheel = next(environment.prefix.parent.glob('cliff_ros-*.whl'))
    names = set(zipfile.ZipFile(wheel).namelist())
    assert modules_and_data(environment.source) <= names
    assert {f'cliff_ros/msg/_{name}.py' for name in ('smpl', 'smpl_array', 'smpl_info', 'timing')} <= names

    data = {name.split('.data/data/')[1] for name in names if '.data/data/' in name}
    assert {f'lib/cliff_ros/{name}' for name in EXECUTABLES} <= data
    assert {
        f'share/cliff_ros/{path.relative_to(ROOT)}'
        for folder in ('launch', 'config', 'msg')
        for path in (ROOT / folder).glob('*.*')
    } <= data
    assert 'share/ament_index/resource_index/packages/cliff_ros' in data
    assert 'share/tf2_msgs/msg/TFMessage.msg' in data, 'no tf2_msgs on PyPI: the wheel brings it'


def test_editable_install_is_refused_with_the_way_out(environment: Environment) -> None:
    done = environment.run(
        environment.python,
        '-m',
        'pip',
        'install',
        '--no-build-isolation',
        '--no-deps',
        '--editable',
        environment.source,
        check=False,
    )
    assert done.returncode
    assert 'no editable install' in done.stdout and 'colcon build --symlink-install' in done.stdout
