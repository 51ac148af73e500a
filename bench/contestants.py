"""Starting the nodes under test, each as a process of its own."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from bench.driver import Driver, Link, NoAnswer
from cliff_ros.demo.processes import Processes, ros_environment
from cliff_ros.ros.runtime.middleware import for_large_messages

OURS, NAIVE, MEASURED = 'cliff_ros.ros.node', 'bench.naive_node', 'bench.measured_node'
ROOT = Path(__file__).resolve().parents[1]
LARGEST_MESSAGE = 34_000_000  # bytes: the meshes of 32 people


def enter_environment(folder: Path, largest: int = LARGEST_MESSAGE) -> None:
    """Give this process and its children a DDS domain of their own that carries large messages.

    Before the first ROS context: Fast DDS reads its profile once.
    """
    env = for_large_messages(ros_environment(), folder, largest)
    env['PYTHONPATH'] = os.pathsep.join([str(ROOT), *filter(None, [env.get('PYTHONPATH')])])
    os.environ.update(env)
    os.environ.pop('PYTHONDONTWRITEBYTECODE', None)  # a second start finds compiled modules, as everywhere


class Contestants(Processes):
    """Nodes under test, each in the namespace of its name; stopped when the ``with`` block is left."""

    def __init__(self, folder: Path, driver: Driver) -> None:
        super().__init__(folder, dict(os.environ))
        self._driver = driver

    def launch(self, link: Link, module: str, *arguments: str, **parameters: object) -> None:
        """Start the node at the other end of a link."""
        parameters = {'tf_prefix': '', **parameters}  # names of frames of one length, whatever the namespace
        values = [word for key, value in parameters.items() for word in ('-p', f'{key}:={json.dumps(value)}')]
        link.forget()
        self.start(
            link.name,
            [
                '-m',
                module,
                *arguments,
                '--ros-args',
                '-r',
                f'__ns:=/{link.name}',
                '-r',
                f'/tf:=/{link.name}/tf',
                *values,
            ],
        )

    def join(self, link: Link, warm_up: int = 3, patience: float = 90.0) -> int:
        """Wait until a node listens, have it answer a few images, and return its process id.

        ProcessFailed where the node ends or never listens, NoAnswer where it does not answer.
        """

        def ready() -> bool:
            self.check(link.name)
            return link.connected

        if not self._driver.until(ready, patience):
            raise self.failure(link.name, f'{link.name} does not listen to images')
        self._greet(link, patience)
        for index in range(warm_up):
            link.ask(index)
        link.forget()
        return self._children[link.name].pid

    def _greet(self, link: Link, patience: float) -> None:
        """Until the node answers for the first time. DDS matches topics one by one: the first images may get lost."""
        end = time.monotonic() + patience
        while True:
            self._driver.spin(0.5)
            try:
                link.ask(0, patience=5.0, attempts=1)
                return
            except NoAnswer:
                self.check(link.name)
                if time.monotonic() > end:
                    raise

    def __exit__(self, *exc) -> None:
        super().__exit__(*exc)
        self._driver.until(lambda: not self._driver.connected, 10.0)  # the next node is not taken for this one
