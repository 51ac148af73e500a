"""All units, on whatever machines there are: outcomes in the order of the units, and a plan of what a million cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cliff_ros.scale.local import run_local
from cliff_ros.scale.ray_cluster import run_ray
from cliff_ros.scale.units import Notes, Outcome, Unit, do


def run_units(
    work: str,
    units: Sequence[Unit],
    notes: Path,
    workers: int = 1,
    ray: str | None = None,
    told: Callable[[int, Outcome], object] = lambda number, outcome: None,
) -> Iterator[Outcome]:
    """What became of every unit, in their order.

    work: 'module:function'. notes: a folder; units that it says are done are not done again. workers: processes of this
    machine, unless ``ray`` is the address of a cluster. told: of every unit as it is done, in whatever order.
    """
    kept = Notes(notes, work, units)
    done = {number: outcome for number in range(len(units)) if (outcome := kept.read(number))}
    todo = [(number, unit) for number, unit in enumerate(units) if number not in done]
    coming = run_ray(work, todo, ray) if ray else run_local(work, todo, max(1, min(workers, len(todo) or 1)))
    next_one = 0
    for number, outcome in done.items():
        told(number, outcome)
    while next_one < len(units) and next_one in done:
        yield done[next_one]
        next_one += 1
    if not todo:
        return
    for number, outcome in coming:
        kept.write(number, outcome)
        done[number] = outcome
        told(number, outcome)
        while next_one in done:
            yield done[next_one]
            next_one += 1


@dataclass(frozen=True)
class Plan:
    """What a lot of frames cost, by one unit that was measured."""

    frames: int
    seconds: float
    memory_mb: float

    def hours(self, frames: float, machines: int, workers: int) -> float:
        """For so many frames on so many machines with so many workers each, if nothing but work took time."""
        return self.seconds / max(1, self.frames) * frames / (machines * workers) / 3600

    def text(self, machines: int, workers: int) -> str:
        """For people."""
        ms = 1e3 * self.seconds / max(1, self.frames)
        return (
            f'measured: {self.frames} frames in {self.seconds:.1f} s ({ms:.1f} ms each), '
            f'{self.memory_mb:.0f} MB a worker\n'
            f'a million frames on {machines} machine(s) with {workers} worker(s) each: '
            f'{self.hours(1e6, machines, workers):.1f} hours, {workers * self.memory_mb / 1024:.1f} GB of memory each'
        )


def plan(work: str, unit: Unit, frames: Callable[[Outcome], int]) -> Plan | Outcome:
    """Work on one unit in a process of its own and say what it cost; its outcome where it failed.

    It is done twice, and the second time counts: what a process loads once is not the frames' cost.
    """
    for _, outcome in run_local(work, [(0, unit), (1, unit)], 1):
        if outcome.error:
            break
    return outcome if outcome.error else Plan(frames(outcome), outcome.seconds, outcome.memory_mb)


__all__ = ['Outcome', 'Plan', 'do', 'plan', 'run_units']
