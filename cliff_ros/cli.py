"""The command line: ``cliff COMMAND``, or ``python -m cliff_ros.cli COMMAND``.

Exit codes: 0 it worked; 1 it did not; 2 the arguments or their files cannot be used (one sentence says why);
130 interrupted, 143 told to end.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from contextlib import nullcontext
from importlib import import_module
from types import ModuleType

from cliff_ros import __version__, signals
from cliff_ros.commands import COMMANDS
from cliff_ros.errors import CliffError
from cliff_ros.private import private_files

LOOK_ONLY = ('doctor',)  # these have nothing to lose: a signal ends them at once
SHOW_PEOPLE = ('demo', 'video', 'bag')  # what these write is for the user's eyes only


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    # Small matrix products: BLAS threads cost more than they give. Read when numpy loads, which is later.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
    parser, module = _parser(argv)
    args = parser.parse_args(argv)
    if module is None:
        parser.print_help()
        return 2
    level = logging.DEBUG if args.debug else logging.WARNING
    logging.basicConfig(format='%(levelname)s: %(message)s', level=level)
    request = signals.StopRequest()  # not told of anything yet
    try:
        private = args.command in SHOW_PEOPLE and not args.readable
        heed = signals.loading if args.command in LOOK_ONLY else signals.interrupting
        with private_files() if private else nullcontext(), heed() as request:
            # Interrupted, a command writes what it has so far.
            return module.run(args)
    except KeyboardInterrupt:
        print('\ninterrupted', file=sys.stderr)
        return 128 + (request.sign or signals.INTERRUPT)
    except CliffError as error:
        return _fail(args, error, str(error), 128 + request.sign if request.sign else 2)
    except Exception as error:  # noqa: BLE001  the last station before the user: a sentence, not a traceback
        if request.sign and not args.debug:  # libraries make other errors of the interruption while they are imported
            print('\ninterrupted', file=sys.stderr)
            return 128 + request.sign
        sentence = f'{type(error).__name__}: {error} (cliff --debug {args.command} ... shows where)'
        return _fail(args, error, sentence, 1)


def program() -> None:
    """The installed program ``cliff``, and ``python -m cliff_ros.cli``."""
    signals.end_at_once()  # until there is something to write
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='backslashreplace')  # names of files may be no text; so has stderr
    signals.leave(main())


def _parser(argv: list[str]) -> tuple[argparse.ArgumentParser, ModuleType | None]:
    """The parser, with the options of only the command that ``argv`` names: other modules stay unimported."""
    parser = argparse.ArgumentParser(
        prog='cliff',
        description='From a calibrated camera to 3D people (SMPL) in real time.',
        epilog='cliff COMMAND --help tells more about a command.',
    )
    parser.add_argument('--version', action='version', version=f'cliff_ros {__version__}')
    parser.add_argument('--debug', action='store_true', help='full tracebacks and debug log')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND')
    wanted = next((word for word in argv if not word.startswith('-')), None)
    module = None
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=f'{summary[0].upper()}{summary[1:]}.')
        if name == wanted:
            module = import_module(f'cliff_ros.commands.{name.replace("-", "_")}')
            module.add_arguments(sub)
            if name in SHOW_PEOPLE:
                sub.add_argument(
                    '--readable',
                    action='store_true',
                    help='let other users read what is written, as far as the umask does; without it nobody else may',
                )
    return parser, module


def _fail(args: argparse.Namespace, error: Exception, sentence: str, code: int) -> int:
    if args.debug:
        raise error
    print(f'cliff {args.command}: {sentence}', file=sys.stderr)
    return code


if __name__ == '__main__':
    program()
