"""`make signals`: programs told to end at random moments; is each end clean, and within two seconds?

    python -m bench.signals --count 200 --output out/signals

A program is started as it is installed, gets SIGINT or SIGTERM at a random moment between its start and well into its
work, every third time twice, and has to end within 2 s: with an exit status by convention, without a traceback, without
a process or a half-written file that stays behind. Writes ``report.json``; the exit code is 1 where one did not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from bench.contestants import ROOT
from bench.machine import describe
from cliff_ros.demo.processes import ros_environment

BAR = 2.0  # [s]
PATIENCE = 60.0  # [s] after which it is killed
NOISE = ('Traceback', 'terminate called', 'Fatal Python error', 'Exception ignored', 'core dumped', 'Aborted')
NODE = ('cliff_ros.ros.node', '--ros-args', '-p', 'autostart:=true')


class Program(NamedTuple):
    """words: module and arguments, in which {out} is a folder of its own. seconds: of its start and work [s]. ends: by
    itself, which it may have done before the signal."""

    words: tuple[str, ...]
    seconds: float
    ends: bool = True
    node: bool = False


def cli(*words: str, seconds: float = 8.0) -> Program:
    return Program(('cliff_ros.cli', *words), seconds)


PROGRAMS: dict[str, Program] = {
    'video': cli(
        'video', 'synthetic', '--max-frames', '200', '--output', '{out}/video', '--report', '{out}/report.json',
        seconds=15.0,
    ),
    'evaluate': cli(
        'evaluate', '--frames', '40', '--sheet', '{out}/sheet.png', '--report', '{out}/report.json', seconds=15.0
    ),
    'demo': cli('demo', '--seconds', '5', '--output', '{out}/demo', '--width', '640', '--height', '480', seconds=30.0),
    'train': cli(
        'train', '--minutes', '3', '--workers', '2', '--device', 'cpu',
        '--work', '{out}/work', '--output', '{out}/data', seconds=30.0,
    ),
    'train --config': cli('train', '--config', 'embedded', '--set', 'output={out}/published', seconds=20.0),
    'export': cli('export', 'embedded', '{out}/cliff.onnx', seconds=10.0),
    'convert': cli('convert', str(ROOT / 'cliff_ros' / 'data' / 'body_embedded.npz'), '{out}/body.npz', seconds=3.0),
    'doctor': cli('doctor', '--report', '{out}/report.json', seconds=5.0),
    'node': Program(NODE, 6.0, ends=False, node=True),
    'camera': Program(
        ('cliff_ros.ros.camera_node', '--ros-args', '-p', 'people:=1', '-p', 'wait_for_subscribers:=0'), 8.0,
        ends=False, node=True,
    ),
}  # fmt: skip


def launcher(folder: Path, module: str) -> Path:
    """The executable that is installed for a module."""
    path = folder / 'lib' / 'cliff_ros' / module.rpartition('.')[2]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((ROOT / 'scripts' / 'run_module.sh.in').read_text().replace('@MODULE@', module))
        path.chmod(0o755)
    return path


def attempt(name: str, program: Program, folder: Path, rng: random.Random) -> dict:
    """Start, signal, and look at what is left."""
    out = Path(tempfile.mkdtemp(prefix='run_', dir=folder))
    command = [word.format(out=out) for word in program.words]
    command[0] = str(launcher(folder, command[0]))
    sign = rng.choice((signal.SIGINT, signal.SIGTERM))
    delay = rng.uniform(0.0, program.seconds if rng.random() < 0.8 else 1.0)
    twice = rng.uniform(0.05, 0.5) if rng.random() < 1 / 3 else None
    with open(out / 'log', 'w+') as log:
        child = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=out,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        finished = _wait(child, delay)
        start = time.monotonic()
        if not finished:
            child.send_signal(sign)
            if twice and not _wait(child, twice):
                child.send_signal(sign)
        hung = not _wait(child, PATIENCE)
        seconds = time.monotonic() - start
        if hung:
            child.kill()
            child.wait()
        log.seek(0)
        said = log.read()
    stay, end = _group(child.pid), time.monotonic() + 1.0
    while stay and time.monotonic() < end:  # some notice a moment later
        time.sleep(0.05)
        stay = _group(child.pid)
    for pid in stay:
        os.kill(pid, signal.SIGKILL)
    status = child.returncode
    allowed = {0, 1, 2} if finished else {0, -sign} if program.node else {-sign, 128 + sign}
    if not finished and program.ends and status == 0:
        allowed = allowed | {0}  # it ended by itself at that very moment
    halves = [path.relative_to(out).as_posix() for path in out.rglob('*') if re.search(r'\.\d+\.partial', path.name)]
    wrong = {
        'hangs': hung,
        'late': not finished and seconds > BAR,
        'exit status': status not in allowed,
        'noise': any(word in said for word in NOISE),
        'processes stay': bool(stay),
        'half files stay': bool(halves),
    }
    return {
        'program': name,
        'signal': sign.name,
        'delay_s': round(delay, 3),
        'twice_s': twice and round(twice, 3),
        'finished_before': finished,
        'seconds': round(seconds, 3),
        'status': status,
        'wrong': [what for what, is_so in wrong.items() if is_so],
        'halves': halves,
        'said': said[-1500:] if any(wrong.values()) else '',
    }


def _wait(child: subprocess.Popen, seconds: float) -> bool:
    """Whether it has ended by then."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _group(session: int) -> list[int]:
    """Processes of a session that live."""
    found = []
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = stat.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != 'Z':
            found.append(int(stat.parent.name))
    return found


def run(count: int, folder: Path, names: list[str], seed: int, report: Callable[[dict], None]) -> list[dict]:
    """The attempts, each told as it is done."""
    rng, rows = random.Random(seed), []
    for turn in tqdm(range(count), unit='signal'):
        name = names[turn % len(names)]
        rows.append(attempt(name, PROGRAMS[name], folder, rng))
        report(rows[-1])
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=200)
    parser.add_argument('--output', type=Path, default=Path('out/signals'), metavar='DIR')
    parser.add_argument('--seed', type=int, default=0, help='of moments and signals')
    parser.add_argument('programs', nargs='*', help=f'some of {", ".join(PROGRAMS)}; all without')
    args = parser.parse_args()
    if unknown := set(args.programs) - set(PROGRAMS):
        parser.error(f'there is no {", ".join(sorted(unknown))}')
    args.output.mkdir(parents=True, exist_ok=True)
    os.environ.update(ros_environment())
    os.environ['PYTHONPATH'] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
    os.environ['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'

    def tell(row: dict) -> None:
        if row['wrong']:
            tqdm.write(json.dumps({key: value for key, value in row.items() if key != 'said'}))

    with tempfile.TemporaryDirectory(prefix='cliff_signals_', ignore_cleanup_errors=True) as folder:
        rows = run(args.count, Path(folder), args.programs or list(PROGRAMS), args.seed, tell)
    clean = sum(not row['wrong'] for row in rows)
    told = [row for row in rows if not row['finished_before']]
    result = {
        'machine': describe(),
        'attempts': len(rows),
        'clean': clean,
        'told_to_end': len(told),
        'slowest_s': max((row['seconds'] for row in told), default=0.0),
        'rows': rows,
    }
    path = args.output / 'report.json'
    path.write_text(json.dumps(result, indent=1) + '\n')
    print(f'{clean} of {len(rows)} clean, {len(told)} of them before they had ended')
    print(f'slowest {result["slowest_s"]:.1f} s; {path}')
    return int(clean < len(rows))


if __name__ == '__main__':
    raise SystemExit(main())
