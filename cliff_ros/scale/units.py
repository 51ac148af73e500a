"""Units of work, what became of each, and the notes that a second start goes on from.

A unit is a dictionary that JSON can hold; the work is a function named 'module:function' that takes it as keywords and
returns another. What it writes it writes whole or not at all (`files.write_aside`), to a place that is the unit's own:
then a unit whose process was killed can be done again as if it had never begun.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cliff_ros.errors import CliffError, InputError
from cliff_ros.files import make_folder, write_json

Unit = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    value: what the work returned, None where it failed. error: why it did. seconds: of the try that counted; memory_mb:
    the most that its process had ever taken; tries: how often it was begun.
    """

    value: dict[str, Any] | None
    error: str = ''
    seconds: float = 0.0
    memory_mb: float = 0.0
    tries: int = 1


def do(work: str, unit: Unit) -> Outcome:
    """Work on one unit in this process. Whatever it raises becomes its error."""
    began = time.monotonic()
    try:
        module, _, name = work.partition(':')
        value, error = getattr(import_module(module), name)(**unit), ''
    except CliffError as problem:
        value, error = None, str(problem)
    except Exception as problem:  # noqa: BLE001  one unit's trouble is not that of the others
        value, error = None, f'{type(problem).__name__}: {problem}'
    # Linux counts kB, macOS bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == 'darwin' else 1 << 10)
    return Outcome(value, error, time.monotonic() - began, peak)


class Notes:
    """What is done, in a folder: one file a unit, written when it is done."""

    def __init__(self, folder: Path, work: str, units: Sequence[Unit]) -> None:
        """InputError where the folder has notes of other work."""
        make_folder(folder)
        self._folder = folder
        about = {'work': work, 'units': list(units)}
        path = folder / 'units.json'
        if path.exists():
            try:
                before = json.loads(path.read_bytes())
            except (OSError, ValueError):
                before = None
            if before != json.loads(json.dumps(about)):
                raise InputError(f"'{folder}' holds the notes of other work: give another folder, or remove it")
        else:
            write_json(path, about)

    def read(self, number: int) -> Outcome | None:
        """Of a unit that was done; those that failed are tried again."""
        try:
            outcome = Outcome(**json.loads(self._path(number).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return None if outcome.error else outcome

    def write(self, number: int, outcome: Outcome) -> None:
        """Keep what became of a unit, in a file of its own, whole or not at all; OutputError where that fails."""
        write_json(self._path(number), asdict(outcome))

    def _path(self, number: int) -> Path:
        return self._folder / f'unit_{number:06d}.json'
