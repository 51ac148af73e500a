"""A command of ``cliff`` on one file, as a unit of work."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from cliff_ros.errors import InputError

LOG = 'log.txt'
REPORT = 'report.json'


def command(name: str, source: str, output: str, words: list[str]) -> dict[str, Any]:
    """Run ``cliff NAME SOURCE`` into a folder of its own, which appears when all of it is there.

    Returns frames, people and the folder. Raises InputError with the command's last words where it does not work.
    """
    from cliff_ros import cli

    final, partial = Path(output), Path(f'{output}.partial')
    for old in (partial, final):  # of a process that was killed, or of a start before this one
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    target = ['--output', str(partial)] if name == 'video' else [str(partial / f'{Path(source).stem}.mcap')]
    with open(partial / LOG, 'w') as log, redirect_stdout(log), redirect_stderr(log):
        code = cli.main([name, source, *target, '--report', str(partial / REPORT), *words])
    said = (partial / LOG).read_text(errors='replace').strip().splitlines()
    if code:
        raise InputError(f"'{source}': {said[-1] if said else f'cliff {name} ended with {code}'}")
    report = json.loads((partial / REPORT).read_bytes())
    partial.rename(final)
    sys.stdout.flush()
    return {'frames': int(report['frames']), 'people': int(report['people']), 'folder': str(final)}
