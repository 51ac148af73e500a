"""``pip install .``: the wheel is what CMakeLists.txt installs, so pip and colcon cannot disagree.

Metadata and requirements are in pyproject.toml. Only the build is here: run CMake into a staging
folder, then pack it. Its Python packages become the wheel's packages; its ``lib`` and ``share``
(executables, message libraries, launch files, ament index) become data files, which pip installs
under the environment's prefix. The environment thereby is an ament prefix.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
TF2_MSGS = ROOT / 'pip_support' / 'tf2_msgs'
# Left beside our own tf2_msgs, so that a reinstall does not take it for the one of a ROS distribution.
OURS = 'built_by_cliff_ros'


def ament_prefixes() -> list[Path]:
    """Where ROS 2 is: AMENT_PREFIX_PATH, then the prefixes around sys.path (wheels, build isolation)."""
    prefixes = [Path(p) for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    for entry in (*sys.path, sys.prefix):
        for folder in (Path(entry), *Path(entry).parents[:3]):  # PREFIX/lib/python3.x/site-packages
            if folder not in prefixes and (folder / 'share' / 'rosidl_cmake').is_dir():
                prefixes.append(folder)
    return prefixes


def has_tf2_msgs(prefixes: list[Path]) -> bool:
    shares = [prefix / 'share' / 'tf2_msgs' for prefix in prefixes]
    return any((s / 'package.xml').exists() and not (s / OURS).exists() for s in shares)


def serves_at_run_time(path: Path) -> bool:
    """Whether a staged file, relative to the stage, belongs into the wheel.

    Headers and CMake files serve those who compile against us, setup files those who source a
    workspace: both are colcon's, and both name folders of the machine that built them.
    """
    if path.parts[0] not in ('lib', 'share') or path.suffix in ('.bash', '.dsv', '.sh', '.zsh'):
        return False
    return not {'cmake', 'environment', 'parent_prefix_path'} & set(path.parts)


class CMakeBuild(build_py):
    """Replaces setuptools' collection of modules by CMake's install step."""

    def run(self) -> None:
        if self.editable_mode:
            raise SystemExit(
                'cliff_ros has no editable install, because its messages are compiled: run '
                '`pip install .` once and start Python in the checkout (its modules win there), '
                'or use `colcon build --symlink-install`.'
            )
        self.prefixes = ament_prefixes()
        if not self.prefixes:
            raise SystemExit(
                'No ROS 2 found: leave out --no-build-isolation, or source a ROS 2 setup file, '
                'or install the build requirements that pyproject.toml lists.'
            )
        self.work = (ROOT / self.get_finalized_command('build').build_temp).resolve()
        self.stage = self.work / 'stage'
        self.forget_other_environments()
        shutil.rmtree(self.stage, ignore_errors=True)

        if not has_tf2_msgs(self.prefixes):
            self.cmake(TF2_MSGS)
            (self.stage / 'share' / 'tf2_msgs' / OURS).touch()
        self.cmake(ROOT)
        self.pack()

    def forget_other_environments(self) -> None:
        """CMake caches absolute paths: start over if Python, ROS 2 (build isolation) or we moved."""
        environment = '\n'.join(map(str, [self.work, sys.executable, *self.prefixes]))
        stamp = self.work / 'environment.txt'
        if not stamp.exists() or stamp.read_text() != environment:
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(parents=True)
            stamp.write_text(environment)

    def cmake(self, source: Path) -> None:
        prefix_path = os.pathsep.join(map(str, self.prefixes))
        env = {
            **os.environ,
            'AMENT_PREFIX_PATH': prefix_path,
            'CMAKE_PREFIX_PATH': prefix_path,
            # The environment need not be activated for its own cmake and ninja to be found.
            'PATH': os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')]),
        }
        build = self.work / source.name

        def run(*command: object) -> None:
            if subprocess.call([str(part) for part in command], env=env):
                raise SystemExit(f'CMake failed on {source}: the reason is in the lines above.')

        configured = build / 'configured'
        if not configured.exists():  # afterwards the build step configures again where it must
            run(
                'cmake',
                '-S',
                source,
                '-B',
                build,
                f'-DCMAKE_INSTALL_PREFIX={self.stage}',
                '-DCMAKE_BUILD_TYPE=Release',
                '-DBUILD_TESTING=OFF',
                f'-DPython3_EXECUTABLE={sys.executable}',
            )
            configured.touch()
        run('cmake', '--build', build, '--parallel', os.cpu_count() or 1)
        run('cmake', '--install', build)

    def pack(self) -> None:
        site = next(self.stage.glob('lib/python3*/site-packages'))
        for package in site.iterdir():
            if package.suffix != '.egg-info':
                target = Path(self.build_lib) / package.name
                shutil.rmtree(target, ignore_errors=True)  # may hold modules deleted since
                shutil.copytree(package, target, ignore=shutil.ignore_patterns('__pycache__', '*.c'))

        data: dict[str, list[str]] = {}
        for file in sorted(self.stage.rglob('*')):
            path = file.relative_to(self.stage)
            if file.is_file() and site not in file.parents and serves_at_run_time(path):
                data.setdefault(str(path.parent), []).append(os.path.relpath(file, ROOT))
        self.distribution.data_files = list(data.items())


class BinaryDistribution(Distribution):
    """Marks the wheel as specific to this Python and platform, although setuptools compiles nothing."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    packages=['cliff_ros'],  # only the name: what is in it, CMakeLists.txt decides
    cmdclass={'build_py': CMakeBuild},
    distclass=BinaryDistribution,
)
