"""`make soak`: the node at camera rate while a fault happens every 20 s; is each named, and overcome, in two seconds?

    python -m bench.fault_soak --seconds 1800 --output out/soak

The faults are those of bench/faults.py, shuffled, as often as the time allows. Each is done once before the time
begins, so that what is kept for a case is there when memory is first looked at. Writes ``report.json``:

- ``faults_injected``; ``faults_named``: those whose sentence was on /diagnostics, at the right level, within 2 s, of
  ``faults_to_name`` (others are no reason to complain); ``faults_recovered``: everybody was seen again, and
  the sentence was gone (but for a node that was started again, which goes on saying that), within 2 s of the end of
  the cause;
- ``memory_growth`` of the node that runs all the time, ``memory_mb`` by the second; ``deaths`` of a node that nobody
  killed;
- ``rows``: what happened: ``named_s``, ``seen_s``, ``gone_s``, ``well_s`` (nothing else was complained of either, such
  as a machine that leaves the node no time), and ``late_s``, how long this process itself was kept
  waiting at most meanwhile by whatever else the machine does [s].

The exit code is 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path

from tqdm import tqdm

from bench import tables
from bench.contestants import ROOT
from bench.fault_world import MAIN, OK, PEOPLE, State, World
from bench.faults import FAULTS, PATIENCE, Fault
from bench.machine import describe
from bench.measures import growth, memory
from cliff_ros.demo.processes import ros_environment
from cliff_ros.ros.runtime.middleware import beside_the_network

PERIOD = 20.0  # [s] from fault to fault
BAR = 2.0  # [s]
LATE = 15.0  # [s] after which a sentence or a person is not waited for any more
OVERLOAD, MINUTE = 'overload 200 %', 60.0  # this one lasts a minute, once


class Soak:
    """Runs faults and keeps the books."""

    def __init__(self, world: World) -> None:
        self.world, self.rows, self.sizes, self.deaths = world, [], [], []
        self.measuring = False
        world.each = self._each

    def bring_up(self) -> None:
        self.world.start(MAIN, 'bench.faulty_node', autostart=True)
        if not self.world.until(lambda: self.world.well_at(MAIN, 0.0) is not None, 2 * PATIENCE):
            raise self.world.processes.failure(MAIN, 'the node finds nobody')

    def _each(self) -> None:
        child = self.world.process(MAIN)
        if child.poll() is None:
            if self.measuring:
                self.sizes.append(memory(child.pid))
        elif child.returncode is not None and self._alive:
            self.deaths.append(f'exit status {child.returncode}: {self.world.processes.tail(MAIN)}')
            self._alive = False

    _alive = True

    def fault(self, name: str, fault: Fault, hold: float | None = None) -> dict:
        """Let it happen; what came of it."""
        world, row = self.world, {'fault': name, 'at': round(time.time(), 3)}
        if not self._alive:  # goes on with another
            self.bring_up()
            self._alive = True
        world.late, began = 0.0, time.monotonic()
        row['well_before'] = world.until(lambda: world.well_at(MAIN, began) is not None, PERIOD / 4)
        script = fault.script(world)
        try:
            next(script)
            start = time.monotonic()
            if fault.words:
                row['named_s'] = self._wait(lambda: world.said_at(fault.node, fault.level, fault.words, start), start)
            world.spin(max(0.0, start + (hold or fault.hold) - time.monotonic()))
            if not fault.words:
                row['longest_gap_s'] = world.longest_gap(MAIN, start)
            end = start if fault.over else time.monotonic()
            next(script)
            row['seen_s'] = self._wait(lambda: world.seen_at(fault.node, end), end)
            if fault.words:
                row['gone_s'] = self._wait(lambda: world.gone_at(fault.node, fault.words, end), end)
            row['well_s'] = self._wait(lambda: world.well_at(fault.node, end), end)
            next(script, None)
            if not in_time(row['well_s']):
                row['said'] = sorted(
                    {s.message[:200] for s in world.said[fault.node] if s.when >= end and s.level != OK}
                )
        except Exception as error:  # noqa: BLE001  the others still have their turn
            row['failed'] = f'{type(error).__name__}: {error}'
            script.close()
            world.state = State()
        row['late_s'] = round(world.late, 3)
        with open(world.folder / 'rows.jsonl', 'a') as file:  # to be looked at while it runs
            file.write(json.dumps(row) + '\n')
        return row

    def _wait(self, when, since: float) -> float | None:
        """How long after a moment it was so [s]; None where it was not."""
        self.world.until(lambda: when() is not None, LATE)
        found = when()
        return None if found is None else round(found - since, 3)


def run(seconds: float, rate: float, folder: Path, names: list[str], seed: int) -> dict:
    """The report of one run."""
    with World(folder, rate) as world:
        soak = Soak(world)
        soak.bring_up()
        faults = {name: FAULTS[name] for name in names if not (name == 'detector dies' and world.vision is None)}
        rehearsal = [soak.fault(name, fault) for name, fault in tqdm(faults.items(), 'each once', unit='fault')]
        soak.measuring, begin, rng, turn = True, time.monotonic(), random.Random(seed), []
        rounds = round(seconds / PERIOD)
        for count in tqdm(range(rounds), 'faults', unit='fault'):
            turn = turn or rng.sample(sorted(faults), len(faults))
            name = turn.pop()
            first = not any(row['fault'] == OVERLOAD for row in soak.rows)
            hold = min(MINUTE, seconds / 4) if name == OVERLOAD and first else None
            soak.rows.append(soak.fault(name, faults[name], hold))
            behind = (MINUTE - PERIOD) if any(row['fault'] == OVERLOAD for row in soak.rows) else 0.0
            world.spin(max(0.0, begin + behind + (count + 1) * PERIOD - time.monotonic()))
        soak._each()
        elapsed = time.monotonic() - begin
    rows = soak.rows
    return {
        'machine': describe(),
        'seconds': round(elapsed, 1),
        'rate': rate,
        'people': PEOPLE,
        'faults_injected': len(rows),
        'faults_to_name': sum('named_s' in row for row in rows),
        'faults_named': sum(in_time(row.get('named_s')) for row in rows),
        'faults_recovered': sum(map(recovered, rows)),
        'named_at_all': sum(row.get('named_s') is not None for row in rows),
        'recovered_at_all': sum(row.get('seen_s') is not None for row in rows),
        'memory_growth': growth(soak.sizes),
        'deaths': len(soak.deaths),
        'last_words': soak.deaths,
        'memory_mb': [round(size, 1) for size in soak.sizes],
        'rows': rows,
        'rehearsal': rehearsal,
    }


def in_time(*seconds: float | None) -> bool:
    return all(one is not None and one <= BAR for one in seconds)


def recovered(row: dict) -> bool:
    """Whether everybody was seen again in time, and nothing said of it but the remark that it was started again."""
    fault = FAULTS[row['fault']]
    return in_time(row.get('seen_s')) and (fault.over or not fault.words or in_time(row.get('gone_s')))


def is_met(report: dict) -> bool:
    """Whether no bar is missed."""
    return (
        not report['deaths']
        and report['memory_growth'] < tables.GROWTH
        and report['faults_named'] == report['faults_to_name']
        and report['faults_recovered'] == report['faults_injected']
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=1800.0)
    parser.add_argument('--rate', type=float, default=30.0, help='of the camera [Hz]')
    parser.add_argument('--output', type=Path, default=Path('out/soak'), metavar='DIR')
    parser.add_argument('--seed', type=int, default=0, help="of the faults' order")
    parser.add_argument('faults', nargs='*', help='some of the table; all without')
    args = parser.parse_args()
    if unknown := set(args.faults) - set(FAULTS):
        parser.error(f'there is no {", ".join(sorted(unknown))}: one of {", ".join(FAULTS)}')
    if args.seconds < 3 * PERIOD:
        parser.error(f'a fault comes every {PERIOD:.0f} s: take at least {3 * PERIOD:.0f} s')
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / 'rows.jsonl').unlink(missing_ok=True)
    env = ros_environment()
    env |= beside_the_network(env, args.output / 'logs')  # as the launch files set it up
    env['PYTHONPATH'] = os.pathsep.join([str(ROOT), *filter(None, [env.get('PYTHONPATH')])])
    env['ROS_LOG_DIR'] = str((args.output / 'logs' / 'ros').resolve())
    os.environ.update(env)
    os.environ.pop('PYTHONDONTWRITEBYTECODE', None)  # a second start finds compiled modules, as everywhere
    report = run(args.seconds, args.rate, args.output, args.faults or list(FAULTS), args.seed)
    path = args.output / 'report.json'
    path.write_text(json.dumps(report, indent=1) + '\n')
    print(tables.text(report))
    print(f'\n{path}')
    return int(not is_met(report))


if __name__ == '__main__':
    raise SystemExit(main())
