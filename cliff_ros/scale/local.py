"""Worker processes of this machine. One that dies costs the unit it had, which is begun again by another."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait

from cliff_ros.scale.units import Outcome, Unit, do

MOST_TRIES = 3


class Worker:
    """A fresh interpreter that works on one unit after the other."""

    def __init__(self, work: str) -> None:
        context = multiprocessing.get_context('spawn')  # a fork would inherit threads and locks
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(work, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.number: int | None = None

    def begin(self, number: int, unit: Unit) -> None:
        """Send a unit to the process, which works on it while this returns; OSError where the process has died."""
        self.number = number
        self.pipe.send(unit)

    def stop(self) -> None:
        """End it, whatever it does."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def run_local(work: str, units: Sequence[tuple[int, Unit]], workers: int) -> Iterator[tuple[int, Outcome]]:
    """Work on numbered units with so many processes; outcomes as they come, each unit's once."""
    todo, tries = deque(units), dict.fromkeys((number for number, _ in units), 0)
    by_number, left = dict(units), len(units)
    team: list[Worker] = []
    try:
        while left:
            while todo and len(team) < workers:
                team.append(Worker(work))
            for worker in team:
                if worker.number is None and todo:
                    number, unit = todo.popleft()
                    tries[number] += 1
                    try:
                        worker.begin(number, unit)
                    except OSError:  # it died before it was given anything: seen below
                        worker.number = number
            for worker in _ready(team):
                which, outcome = worker.number, _heard(worker)
                if outcome is None:
                    code = worker.process.exitcode
                    team.remove(worker)
                    worker.stop()
                    if which is None:
                        continue
                    if tries[which] < MOST_TRIES:
                        todo.appendleft((which, by_number[which]))
                        continue
                    outcome = Outcome(None, f'its process died {MOST_TRIES} times (exit code {code})')
                worker.number = None
                if which is not None:
                    left -= 1
                    yield which, replace(outcome, tries=tries[which])
    finally:
        for worker in team:
            worker.stop()


def _ready(team: Sequence[Worker]) -> list[Worker]:
    """Those that said something or died."""
    found = wait([worker.pipe for worker in team] + [worker.process.sentinel for worker in team])
    return [worker for worker in team if worker.pipe in found or worker.process.sentinel in found]


def _heard(worker: Worker) -> Outcome | None:
    """What it said; None where it is dead."""
    try:
        if worker.pipe.poll():  # said before it died, if it did
            return worker.pipe.recv()
    except (EOFError, OSError):
        pass
    return None


def _serve(work: str, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one decides
    while True:
        try:
            unit = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(do(work, unit))
