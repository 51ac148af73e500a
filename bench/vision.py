"""vision_msgs where ROS does not come with it: test/packages/vision_msgs, built once into build/."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
_LIBRARIES = ('rosidl_generator_c', 'rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c')


class NotBuilt(Exception):
    """vision_msgs is neither installed nor can it be built; the message says why."""


def messages() -> ModuleType:
    """The module vision_msgs.msg; built where it is not installed (half a minute). Raises NotBuilt."""
    try:
        import vision_msgs.msg
    except ImportError:
        _load(_built())
        import vision_msgs.msg
    return vision_msgs.msg


def _built() -> Path:
    """Where it is installed for this Python."""
    source, environment = ROOT / 'test' / 'packages' / 'vision_msgs', Path(sys.executable).parent
    path = f'{environment}{os.pathsep}{os.environ.get("PATH", "")}'
    if not shutil.which('cmake', path=path):
        raise NotBuilt('vision_msgs is not installed, and there is no cmake to build it')
    digest = hashlib.sha256(sys.executable.encode())
    for file in sorted(path for path in source.rglob('*') if path.is_file()):
        digest.update(file.read_bytes())
    work = ROOT / 'build' / f'vision_msgs-{digest.hexdigest()[:12]}'
    prefix = work / 'install'
    if (work / 'built').exists():
        return prefix
    base = os.environ.get('AMENT_PREFIX_PATH') or sys.prefix
    env = {**os.environ, 'AMENT_PREFIX_PATH': base, 'CMAKE_PREFIX_PATH': base, 'PATH': path}
    configure = [
        *('cmake', '-S', source, '-B', work / 'cmake', f'-DCMAKE_INSTALL_PREFIX={prefix}', '-DBUILD_TESTING=OFF'),
        *(f'-DCMAKE_INSTALL_RPATH={prefix / "lib"}', f'-DPython3_EXECUTABLE={sys.executable}'),
    ]
    for command in (
        configure,
        ['cmake', '--build', work / 'cmake', '--parallel', '2'],
        ['cmake', '--install', work / 'cmake'],
    ):
        done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])
    (work / 'built').touch()
    return prefix


def _load(prefix: Path) -> None:
    """Make it importable."""
    from geometry_msgs.msg import Point

    # ROS looks for these by name alone, and finds what is loaded already; so must be what they need.
    Point.__import_type_support__()
    for kind in _LIBRARIES:
        ctypes.CDLL(str(prefix / 'lib' / f'libvision_msgs__{kind}.so'))
    sys.path.insert(0, str(next(prefix.glob('lib/python3*/site-packages'))))
