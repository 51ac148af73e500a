"""A command of ``cliff`` on one file, as a unit of work."""

from __future__ import annotations

import argparse
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from cliff_ros.errors import InputError
from cliff_ros.private import private_files

LOG = 'log.txt'
REPORT = 'report.json'


def command(name: str, source: str, output: str, words: list[str]) -> dict[str, Any]:
    """Run ``cliff NAME SOURCE`` into a folder of its own, which appears when all of it is there.

    Returns frames, people and the folder. Raises what the command raises, or InputError with its last words.
    """
    final, partial = Path(output), Path(f'{output}.partial')
    for old in (partial, final):  # of a process that was killed, or of a start before this one
        shutil.rmtree(old, ignore_errors=True)
    module = import_module(f'cliff_ros.commands.{name}')
    parser = argparse.ArgumentParser(prog=f'cliff {name}')
    module.add_arguments(parser)
    target = ['--output', str(partial)] if name == 'video' else [str(partial / f'{Path(source).stem}.mcap')]
    with private_files():  # of what shows people
        partial.mkdir(parents=True)
        with open(partial / LOG, 'w') as log, redirect_stdout(log), redirect_stderr(log):
            try:
                code = module.run(parser.parse_args([source, *target, '--report', str(partial / REPORT), *words]))
            except SystemExit:
                code = 2
    said = (partial / LOG).read_text(errors='replace').strip().splitlines()
    if code:
        raise InputError(f"'{source}': {said[-1] if said else f'cliff {name} ended with {code}'}")
    report = json.loads((partial / REPORT).read_bytes())
    partial.rename(final)
    return {'frames': int(report['frames']), 'people': int(report['people']), 'folder': str(final)}
