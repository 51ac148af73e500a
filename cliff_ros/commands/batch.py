"""``cliff batch``: the same command over many files, on several processes or machines."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

COMMANDS = ('video', 'bag')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff batch``."""
    from cliff_ros.scale import options

    parser.add_argument(
        'name', choices=COMMANDS, metavar='COMMAND', help=f'what to do with each: {", ".join(COMMANDS)}'
    )
    parser.add_argument('sources', nargs='+', metavar='SOURCE', help='files or folders, each a unit of work')
    parser.add_argument(
        '--output', metavar='DIR', type=Path, required=True, help='a folder for each; a second start goes on'
    )
    parser.add_argument(
        '--options', default='', metavar='WORDS', help="of the command, in quotes: '--max-people 4 --engine onnx'"
    )
    parser.add_argument('--report', metavar='FILE', type=Path, help='what became of each, as JSON')
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command on every source, each into a folder of its own below --output; 1 if any of them failed, else 0.

    With --plan only the first source is run, to say what many frames would cost.
    """
    import shlex
    from dataclasses import asdict

    from tqdm import tqdm

    from cliff_ros.errors import InputError
    from cliff_ros.files import make_folder, write_json
    from cliff_ros.scale.run import Outcome, plan, run_units

    names = [Path(source).name for source in args.sources]
    if len(set(names)) < len(names):
        raise InputError('two sources have the same name, by which their results are called: rename one of them')
    if args.workers < 1 or (args.plan is not None and args.plan < 1):
        raise InputError('--workers and --plan must be at least 1')
    make_folder(args.output)
    words, work = shlex.split(args.options), 'cliff_ros.commands.batch_unit:command'
    units = [
        {'name': args.name, 'source': source, 'output': str(args.output / Path(source).name), 'words': words}
        for source in args.sources
    ]
    if args.plan:
        found = plan(work, units[0], lambda outcome: (outcome.value or {}).get('frames', 0))
        if isinstance(found, Outcome):
            raise InputError(f'the first unit does not work: {found.error}')
        print(found.text(args.plan, args.workers))
        return 0
    failed, outcomes = 0, []
    every = 0.1 if sys.stderr.isatty() else 10.0
    with tqdm(total=len(units), unit='file', mininterval=every) as bar:
        for unit, outcome in zip(
            units,
            run_units(work, units, args.output / 'units', args.workers, args.ray, lambda *_: bar.update()),
            strict=True,
        ):
            outcomes.append({'source': unit['source'], **asdict(outcome)})
            if outcome.value is None:
                failed += 1
                print(f'cliff batch: {outcome.error}', file=sys.stderr)
    frames = sum(one['value']['frames'] for one in outcomes if one['value'])
    memory = max(one['memory_mb'] for one in outcomes)
    print(f'{len(units) - failed} of {len(units)} files, {frames} frames, at most {memory:.0f} MB a worker')
    if args.report:
        write_json(args.report, {'command': args.name, 'frames': frames, 'memory_mb': memory, 'units': outcomes})
    return 1 if failed else 0
