"""`make fuzz`: damaged input for everything that reads what others wrote. Only CliffError may come out.

    python -m bench.fuzz --seconds 600 --output out/fuzz

The time is shared by all targets (fuzz_targets.py), each in a child process: one that dies has let something escape,
one that is busy with an input for more than five seconds hangs; both are started again with other damage. Writes
report.json ({target: {iterations, refused, escapes, hangs, places}}) and the inputs that did it; exit code 1 where
there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.fuzz_targets import BOARD_SIZE, HEADER, TARGETS

HANG = 5.0  # [s] for one input
START = 60.0  # [s] for imports and the good inputs
CHILD = [sys.executable, '-m', 'bench.fuzz_targets']


def fuzz(name: str, seconds: float, seed: int, output: Path) -> dict:
    """Run one target for so long."""
    notes = output / f'{name}.jsonl'
    notes.unlink(missing_ok=True)
    deaths = hangs = 0
    causes: list[str] = []
    with tempfile.TemporaryDirectory(prefix='cliff_fuzz_') as folder, open(f'{folder}/board', 'w+b') as file:
        file.truncate(BOARD_SIZE)
        board = mmap.mmap(file.fileno(), BOARD_SIZE)
        end = None
        while end is None or time.monotonic() < end:
            HEADER.pack_into(board, 0, *HEADER.unpack_from(board)[:3], 0)
            child = subprocess.Popen(
                [*CHILD, name, str(seed + deaths + hangs), file.name, str(notes)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={
                    **os.environ,
                    'OMP_NUM_THREADS': '1',
                    'OPENBLAS_NUM_THREADS': '1',
                    'TMPDIR': folder,
                    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'OFF',
                },
            )
            os.set_blocking(child.stderr.fileno(), False)
            said, at, since = b'', -1, time.monotonic()
            while child.poll() is None:
                iterations, *_, length = HEADER.unpack_from(board)
                now = time.monotonic()
                if length and end is None:
                    end = now + seconds  # imports do not count
                said = (said + (child.stderr.read() or b''))[-4000:]
                if iterations != at or (not length and now - since < START):
                    at, since = (iterations, now) if iterations != at else (at, since)
                elif now - since > (HANG if length else START):
                    hangs += 1
                    causes.append(_keep(output, f'{name}-hang-{hangs}', board))
                    break
                if end is not None and now > end:
                    break
                time.sleep(0.02)
            else:
                said += child.stderr.read() or b''  # its last words
                deaths += 1
                causes.append(
                    f'{_keep(output, f"{name}-death-{deaths}", board)}: exit status {child.returncode}: '
                    f'{said.decode(errors="replace").strip()[-600:]}'
                )
                if end is None or deaths > 50:  # it does not even start
                    break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        iterations, refused, escapes, _ = HEADER.unpack_from(board)
    places = [json.loads(line)['place'] for line in notes.read_text().splitlines()] if notes.exists() else []
    return {
        'iterations': iterations,
        'refused': refused,
        'escapes': escapes + deaths,
        'deaths': deaths,
        'hangs': hangs,
        'places': sorted(set(places)),
        'causes': causes,
    }


def _keep(output: Path, name: str, board: mmap.mmap) -> str:
    """Write the input under way aside."""
    *_, length = HEADER.unpack_from(board)
    path = output / f'{name}.bin'
    path.write_bytes(board[HEADER.size : HEADER.size + length])
    return path.name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=600.0, help='for all targets together')
    parser.add_argument('--output', type=Path, default=Path('out/fuzz'))
    parser.add_argument('--seed', type=int, default=0, help='of the damage')
    parser.add_argument('targets', nargs='*', help=f'some of {", ".join(TARGETS)}; all without')
    args = parser.parse_args()
    if unknown := set(args.targets) - set(TARGETS):
        parser.error(f'there is no target {", ".join(sorted(unknown))}')
    names = args.targets or list(TARGETS)
    args.output.mkdir(parents=True, exist_ok=True)
    report = {}
    for name in names:
        report[name] = result = fuzz(name, args.seconds / len(names), args.seed, args.output)
        print(
            f'{name:15s} {result["iterations"]:9d} iterations  {result["escapes"]:6d} escapes'
            f'  {result["hangs"]:3d} hangs  {", ".join(result["places"][:3])}',
            flush=True,
        )
        (args.output / 'report.json').write_text(json.dumps(report, indent=2) + '\n')
    bad = sum(result['escapes'] + result['hangs'] for result in report.values())
    print(f'{sum(result["iterations"] for result in report.values())} iterations; {args.output / "report.json"}')
    return int(bad > 0)


if __name__ == '__main__':
    sys.exit(main())
