"""``cliff doctor``: what is here, what will run, and what to do about each gap."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import cliff_ros
from cliff_ros.commands.doctor_files import (
    check_pair,
    describe_body,
    describe_checkpoint,
    describe_graph,
    how_to_export,
    is_checkpoint,
)
from cliff_ros.files import write_json

OK, ABSENT, BROKEN = 'ok', 'absent', 'broken'


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``absent`` is something optional; ``broken`` keeps the default from working."""

    group: str
    name: str
    status: str
    detail: str
    advice: str = ''


@dataclass(frozen=True)
class Library:
    """A module to look for. ``required`` ones are needed by the default; others switch something on."""

    module: str
    purpose: str
    advice: str
    required: bool = False
    describe: Callable[[object], str] = lambda module: ''


def _torch(torch) -> str:
    return f'CUDA {torch.version.cuda}' if torch.cuda.is_available() else 'CPU'


_PIP = "pip install 'cliff_ros[{}]'"
_APT = 'comes with the ROS distro: apt install ros-$ROS_DISTRO-{}'
_LIBRARIES = (
    Library('numpy', 'arrays', 'pip install numpy', True),
    Library('cv2', 'images', "pip install 'opencv-python-headless<5'", True),
    Library('yaml', 'calibration files', 'pip install pyyaml', True),
    Library(
        'onnxruntime',
        'runs the networks',
        'pip install onnxruntime',
        True,
        lambda module: ', '.join(vars(module)['get_available_providers']()),
    ),
    Library('rclpy', 'ROS 2', 'source your ROS workspace, or run make demo, which installs ROS 2 from PyPI'),
    Library('cliff_ros.msg', 'our messages', 'pip install . or colcon build: the sources alone have none'),
    Library('tf2_msgs.msg', '/tf', _APT.format('tf2-msgs')),
    Library('visualization_msgs.msg', 'mesh and skeleton markers', _APT.format('visualization-msgs')),
    Library('vision_msgs.msg', 'detections from another node', _APT.format('vision-msgs')),
    Library('cv_bridge', 'rare image encodings (the common ones we read ourselves)', _APT.format('cv-bridge')),
    Library('numba', 'overlay, synthetic scenes', 'pip install numba'),
    Library('torch', 'training, checkpoints, export', _PIP.format('torch'), describe=_torch),
    Library('tensorrt', 'NVIDIA GPUs', 'comes with JetPack; elsewhere: ' + _PIP.format('tensorrt')),
    Library('viser', 'people in a browser', _PIP.format('view')),
    Library('rosbags', 'bags: read and recorded (MCAP)', _PIP.format('record')),
    Library('pygltflib', 'recorded glTF', _PIP.format('record')),
    Library('smplx', 'reference body, in tests', _PIP.format('smplx')),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff doctor``."""
    parser.add_argument(
        '--model',
        default='embedded',
        metavar='FILE',
        help='a runtime graph (.onnx) or a checkpoint to verify (default: embedded)',
    )
    parser.add_argument(
        '--body',
        default='embedded',
        metavar='FILE',
        help='an SMPL or SMPL-X body (.pkl, .npz) to verify (default: embedded)',
    )
    parser.add_argument(
        '--detector', default='embedded', metavar='FILE', help='a detector (.onnx) to verify (default: embedded)'
    )
    parser.add_argument('--report', metavar='FILE', type=Path, help='also write the findings as JSON')
    parser.add_argument(
        '--network',
        action='store_true',
        help='instead list what is heard over ROS: topics, rates, QoS, sizes, stamps, frames; and likely faults',
    )
    parser.add_argument('--seconds', type=float, default=3.0, help='how long --network listens (default: 3)')


def run(args: argparse.Namespace) -> int:
    """Print what works here and what to do about the rest; 1 where something is broken, else 0.

    With --network listen to ROS instead; 1 where faults are likely.
    """
    if args.network:
        from cliff_ros.commands.doctor_network import run_network

        return run_network(args.seconds, args.report)
    findings: list[Finding] = []
    for finding in examine(args.model, args.body, args.detector):
        if not findings or findings[-1].group != finding.group:
            print(f'\n{finding.group}')
        findings.append(finding)
        _print(finding)
    broken = [finding for finding in findings if finding.status == BROKEN]
    if args.report:
        write_json(args.report, [asdict(f) for f in findings])
    print(
        '\n'
        + (
            f'{len(broken)} broken: {", ".join(f.name for f in broken)}.'
            if broken
            else 'All that the default needs works.'
        )
    )
    return 1 if broken else 0


def examine(model: str = 'embedded', body: str = 'embedded', detector: str = 'embedded') -> Iterator[Finding]:
    """Findings in the order in which things depend on each other, as they are made."""
    yield Finding('System', 'cliff_ros', OK, f'{cliff_ros.__version__} in {Path(cliff_ros.__file__).parent}')
    yield Finding('System', 'python', OK, f'{platform.python_version()} on {platform.platform()}')
    for library in _LIBRARIES:
        yield _library(library)
    shape = _checked('Files', f'body {body}', lambda: describe_body(body))
    yield shape
    describe = describe_checkpoint if is_checkpoint(model) else describe_graph
    network = _checked('Files', f'network {model}', lambda: describe(model))
    yield network
    yield _checked('Files', f'detector {detector}', lambda: _detector(detector))
    if shape.status == network.status == OK and not is_checkpoint(model):
        yield _checked('Files', 'network and body', lambda: check_pair(model, body))
    if not is_checkpoint(model):
        yield _checked('Engine', 'auto', lambda: _engine(model))
    elif shape.status == network.status == OK:
        yield Finding(
            'Engine', 'auto', ABSENT, 'none runs a checkpoint: make a graph of it', how_to_export(model, body)
        )


def _library(library: Library) -> Finding:
    group = 'Libraries'
    try:
        module = import_module(library.module)
        details = _version(library.module), library.describe(module), library.purpose
        return Finding(group, library.module, OK, ', '.join(filter(None, details)))
    except ImportError as error:
        status = BROKEN if library.required else ABSENT
        # Installed but not loadable (a missing .so, say) is another matter than not installed.
        why = '' if isinstance(error, ModuleNotFoundError) else f' ({error})'
        return Finding(group, library.module, status, f'{library.purpose}{why}', library.advice)
    except Exception as error:  # noqa: BLE001  a library may fail in any way while it is imported
        return Finding(
            group,
            library.module,
            BROKEN if library.required else ABSENT,
            f'{type(error).__name__}: {error}',
            library.advice,
        )


def _version(module: str) -> str:
    for distribution in packages_distributions().get(module.partition('.')[0], ()):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return ''


def _checked(group: str, name: str, examine_it: Callable[[], str]) -> Finding:
    """Really load a thing; what its loader says is the advice."""
    try:
        return Finding(group, name, OK, examine_it())
    except Exception as error:  # noqa: BLE001  the doctor reports every disease
        return Finding(group, name, BROKEN, type(error).__name__, str(error))


def _detector(detector: str) -> str:
    import numpy as np

    from cliff_ros.detect import load_detector

    finder = load_detector(detector)
    milliseconds = _milliseconds(lambda: finder(np.zeros((720, 1280, 3), np.uint8), 'rgb'))
    return f'{type(finder).__name__}, {milliseconds:.0f} ms for 1280x720'


def _engine(model: str) -> str:
    import numpy as np

    from cliff_ros.engine import load_engine

    engine = load_engine(model)
    crops = np.zeros((1, engine.spec.height, engine.spec.width, 3), np.uint8)
    location = np.array([[0.0, 0.0, 0.3]], np.float32)
    milliseconds = _milliseconds(lambda: engine(crops, location))
    return f'{engine.name} ({engine.reason}), {milliseconds:.0f} ms for one person'


def _milliseconds(call: Callable[[], object]) -> float:
    """The quickest of three calls: the first one also warms up."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def _print(finding: Finding) -> None:
    mark, color = {OK: ('ok', 32), ABSENT: ('--', 33), BROKEN: ('!!', 31)}[finding.status]
    if sys.stdout.isatty():
        mark = f'\033[{color}m{mark}\033[0m'
    print(f'  {mark} {finding.name:<24} {finding.detail}')
    if finding.advice:
        print(f'     {"":<24} -> {finding.advice}')
