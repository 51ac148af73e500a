"""Runs camera, node and recorder as separate processes until the camera has played all its frames."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from cliff_ros.demo.processes import Processes, ros_environment
from cliff_ros.ros.runtime.middleware import for_large_messages

CAMERA, NODE, RECORDER, VIEW = 'camera', 'cliff', 'recorder', 'view'
_PREPARATION = 300.0  # [s] at most until the first image; the first run also compiles the rasterizer
_NODE_START = 30.0  # [s] at most that a ready camera waits for the node, and until the first answer
_VIEW_START = 30.0  # [s] at most until the page can be opened
_DRAIN = 10.0  # [s] at most for what is under way when the camera ends
_QUIET = 1.0  # [s] without a new message: nothing more comes


@dataclass(frozen=True)
class Scene:
    """What the synthetic camera plays."""

    seconds: float = 20.0
    rate: float = 15.0
    width: int = 1280
    height: int = 720
    seed: int = 0
    people: int = 3

    @property
    def frames(self) -> int:
        """How many images that makes."""
        return round(self.seconds * self.rate)

    @property
    def largest_message(self) -> int:
        """Bytes, generously, of an image or of the meshes of everybody (1 MB each)."""
        return max(3 * self.width * self.height, self.people * 1_100_000) + 500_000


def play(scene: Scene, folder: Path, node: dict[str, str], view: bool = False) -> None:
    """Play the scene through the node; leaves ``recording.npz``, ``images.npz`` and ``logs/`` in ``folder``.

    node : parameters of the node ``cliff`` by name, such as model, body, engine, detector.
    view : also show it in a browser, and print where.

    Raises
    ------
    ProcessFailed : a process ended early, or nothing came for too long. All others are stopped by then.
    """
    try:
        _play(scene, folder, node, view)
    except KeyboardInterrupt:
        for half in folder.glob('*.[0-9]*.partial.*'):  # of a recorder that was not waited for
            half.unlink(missing_ok=True)
        raise


def _play(scene: Scene, folder: Path, node: dict[str, str], view: bool) -> None:
    logs = folder / 'logs'
    with Processes(logs, for_large_messages(ros_environment(), logs, scene.largest_message)) as processes:
        processes.start(RECORDER, ['-m', 'cliff_ros.demo.recorder', str(folder)])
        processes.start(
            NODE,
            [
                '-m',
                'cliff_ros.ros.node',
                '--ros-args',
                '-r',
                'image:=/camera/image_raw',
                '-r',
                'camera_info:=/camera/camera_info',
                *_parameters({'autostart': True, **node}),
            ],
        )
        processes.start(
            CAMERA,
            [
                '-m',
                'cliff_ros.ros.camera_node',
                '--ros-args',
                *_parameters(
                    {
                        'source': f'synthetic:{scene.seed}',
                        'rate': float(scene.rate),
                        'seconds': float(scene.seconds),
                        'width': scene.width,
                        'height': scene.height,
                        'people': scene.people,
                        'loop': False,
                        'wait_for_subscribers': 2,
                    }
                ),
            ],
        )  # the node, once it is active, and the recorder
        if view:
            processes.start(
                VIEW, ['-m', 'cliff_ros.cli', 'view', f'ros:/{NODE}', '--body', node.get('body', 'embedded')]
            )
            print(_address(processes), flush=True)
        _wait_for_images(processes, scene)
        _watch(processes, scene)
        # Before the node: what that says on leaving answers no image.
        code = processes.stop(RECORDER, patience=60.0)
        if code:
            raise processes.failure(RECORDER, f'the recorder ended with exit code {code}')


def _address(processes: Processes) -> str:
    """The line that says where to look."""
    end = time.monotonic() + _VIEW_START
    while time.monotonic() < end:
        processes.check(VIEW)
        line = next((line for line in processes.tail(VIEW).splitlines() if line.startswith('Look at')), None)
        if line is not None:
            return line
        time.sleep(0.1)
    raise processes.failure(VIEW, 'the view did not start')


def _parameters(values: dict[str, object]) -> list[str]:
    """The command line that sets ROS parameters; JSON is YAML, so every value keeps its type."""
    return [word for name, value in values.items() for word in ('-p', f'{name}:={json.dumps(value)}')]


def _wait_for_images(processes: Processes, scene: Scene) -> None:
    """Until the first image reaches the recorder."""
    started = ready = time.monotonic()
    with _bar('drawing the scene', scene.frames) as bar:
        while not _counts(processes).get('images'):
            processes.check(CAMERA, NODE, RECORDER)
            drawn, now = _drawn(processes), time.monotonic()
            _advance(bar, drawn)
            if drawn < scene.frames:
                ready = now
            if now - ready > _NODE_START:
                raise processes.failure(NODE, 'the node does not listen to the camera')
            if now - started > _PREPARATION:
                raise processes.failure(CAMERA, f'the camera sent no image within {_PREPARATION:.0f} s')
            time.sleep(0.2)
        _advance(bar, scene.frames)


def _watch(processes: Processes, scene: Scene) -> None:
    """Until the camera has ended and nothing more comes out of the node."""
    first_image = last_change = time.monotonic()
    people = 0
    with _bar('playing', scene.frames) as bar:
        while True:
            counts = _counts(processes)
            now = time.monotonic()
            if counts.get('people', 0) != people:
                people, last_change = counts['people'], now
            bar.set_postfix_str(f'{people} answers from the node', refresh=False)
            _advance(bar, counts.get('truth', 0))
            if processes.running(CAMERA):
                processes.check(NODE, RECORDER)
                ended = now
                if not people and now - first_image > _NODE_START:
                    raise processes.failure(NODE, f'the node answered no image within {_NODE_START:.0f} s')
            else:
                processes.check(NODE, RECORDER)
                # Counts arrive once a second: be sure to have seen one from after the last change.
                if now - max(ended, last_change) > 1.0 + _QUIET or now - ended > _DRAIN:
                    return
            time.sleep(0.1)


def _counts(processes: Processes) -> dict[str, int]:
    """The recorder's latest counts."""
    for line in reversed(processes.tail(RECORDER, 3).splitlines()):
        if line.startswith('{') and line.endswith('}'):
            return json.loads(line)
    return {}


def _drawn(processes: Processes) -> int:
    """Frames that the camera says it has prepared: the last 'n/m' in its log."""
    found = re.findall(r'(\d+)/\d+', processes.tail(CAMERA, 5))
    return int(found[-1]) if found else 0


def _bar(label: str, total: int) -> tqdm:
    # Without a terminal a bar would fill a log file with carriage returns: a line every 10 s is enough.
    return tqdm(
        total=total,
        desc=f'  {label:<18}',
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
        bar_format='{desc} {percentage:3.0f}% |{bar:30}| {n_fmt}/{total_fmt} [{elapsed}] {postfix}',
    )


def _advance(bar: tqdm, value: int) -> None:
    bar.update(min(value, bar.total or value) - bar.n)
