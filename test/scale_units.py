"""Work for the tests of cliff_ros.scale: real processes that note, fail, or are killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from cliff_ros.errors import InputError


def square(number: int, folder: str) -> dict:
    """Notes that it ran, then answers."""
    with open(Path(folder) / 'journal', 'a') as file:
        file.write(f'{number}\n')
    return {'square': number * number, 'process': os.getpid(), 'frames': 10}


def killed_once(number: int, folder: str, victim: int) -> dict:
    """The victim's process is killed half way, the first time."""
    mark = Path(folder) / 'was_killed'
    if number == victim and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number, folder)


def killed_always(number: int, folder: str) -> dict:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number, folder)


def refused(number: int, folder: str) -> dict:
    if number == 2:
        raise InputError('the second cannot be read')
    return square(number, folder)
