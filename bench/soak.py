"""`make soak-memory`: the node for half an hour at camera rate, with people who come and go; does its memory grow?

    python -m bench.soak --seconds 1800 --output out/bench

Every ten seconds the room is empty for one, so that everybody comes back with a new id and all that is kept per
person or per message layout is made anew. Writes ``soak.json``; the exit code is 1 where the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench import tables
from bench.contestants import OURS, Contestants, enter_environment
from bench.driver import Driver
from bench.frames import FRAMES, filmed
from bench.machine import describe
from bench.measures import cpu_seconds, growth, memory

RATE = 30.0
ROUND, EMPTY = 10.0, 1.0  # [s] of which the last is without people
PEOPLE = 4
LARGEST_MESSAGE = 5_000_000


def soak(seconds: float, folder: Path) -> dict:
    """The report of one run."""
    camera, images = filmed(PEOPLE)
    nobody = np.zeros_like(images[0])
    sizes, ids, answered = [], set(), 0

    def choose(count: int) -> int:
        return FRAMES if count / RATE % ROUND >= ROUND - EMPTY else count % FRAMES

    with (
        Driver() as driver,
        Contestants(folder / 'logs', driver) as nodes,
        tqdm(total=round(seconds), unit='s', mininterval=1) as bar,
    ):
        link = driver.link('ours')
        link.load(camera, [*images, nobody])
        nodes.launch(link, OURS, autostart=True)
        pid = nodes.join(link)

        def each(count: int) -> None:
            nonlocal answered
            if count % RATE == 0:
                nodes.check(link.name)
                sizes.append(memory(pid))
                answers = [stamp for stamp, outputs in link.answers.items() if 'people' in outputs]
                ids.update(person.id for stamp in answers[-1:] for person in link.people(stamp).people)
                answered += len(answers)
                link.forget()
                bar.update()
                bar.set_postfix_str(f'{sizes[-1]:.0f} MB')

        cpu, start = cpu_seconds(pid), time.monotonic()
        sent = driver.play(link, seconds, RATE, choose, each)
        share = (cpu_seconds(pid) - cpu) / (time.monotonic() - start)
        driver.spin(0.5)
        each(0)
    return {
        'machine': describe(),
        'seconds': seconds,
        'rate': RATE,
        'people': PEOPLE,
        'sent': sent,
        'answered': answered,
        'ids': len(ids),
        'share_of_a_core': share,
        'growth': growth(sizes),
        'memory_mb': [round(size, 1) for size in sizes],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=1800)
    parser.add_argument('--output', type=Path, default=Path('out/bench'), metavar='DIR')
    args = parser.parse_args()
    enter_environment(args.output / 'logs', LARGEST_MESSAGE)
    report = soak(args.seconds, args.output)
    path = args.output / 'soak.json'
    path.write_text(json.dumps(report) + '\n')
    print(tables.text(report))
    print(f'\n{path}')
    return int(report['growth'] >= tables.GROWTH)


if __name__ == '__main__':
    raise SystemExit(main())
