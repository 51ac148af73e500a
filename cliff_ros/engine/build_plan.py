"""What a TensorRT build is told and what it tells, without TensorRT."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

USUAL_PEOPLE = 4  # the batch the kernels are chosen for
WHAT = 'building the TensorRT engine'

Progress = Callable[[float, str], None]  # (fraction done, what is being done)


def profile(max_people: int) -> tuple[int, int, int]:
    """Fewest, usual and most people at once."""
    return 1, min(USUAL_PEOPLE, max_people), max_people


def belongs(layer: str, trunk: Collection[str], others: Collection[str]) -> bool:
    """Whether a layer was made of a node of the trunk: the parser numbers the further layers of a node."""
    if layer in trunk or layer in others:
        return layer in trunk
    return re.sub(r'_\d+$', '', layer) in trunk


class Phases:
    """One rising fraction out of TensorRT's nested phases: a phase's steps share its parent's present step.

    Used by several of TensorRT's threads.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._open: dict[str, tuple[str | None, int, int]] = {}  # parent, steps, done
        self._highest = 0.0

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins within its parent; None or one that is not open: at the top."""
        self._open[phase] = (parent if parent in self._open else None, max(int(steps), 1), 0)
        self._say(phase)

    def step(self, phase: str, step: int) -> None:
        """A step of a phase, counted from 0, is done; ignored where the phase is not open."""
        if phase in self._open:
            parent, steps, _ = self._open[phase]
            self._open[phase] = (parent, steps, min(int(step) + 1, steps))
            self._say(phase)

    def finish(self, phase: str) -> None:
        """A phase is over: it is forgotten, and nothing is reported."""
        self._open.pop(phase, None)

    def _say(self, phase: str) -> None:
        # Some phases come several times: what was said is never taken back.
        self._highest = max(self._highest, self._fraction(phase))
        self._progress(self._highest, f'{WHAT} ({phase})')

    def _fraction(self, phase: str) -> float:
        fraction, inner = 0.0, 0.0
        at: str | None = phase
        while at is not None and at in self._open:
            parent, steps, done = self._open[at]
            fraction = min((done + inner) / steps, 1.0)
            at, inner = parent, fraction
        return fraction
