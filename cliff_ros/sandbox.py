"""Files of other people's making are read in a child process that may use only so much memory and time.

A library that meets a hostile file may crash, take all memory, or never come back; then only the child does. It is a
fresh interpreter, not a fork of a node with threads, and gives its result back as plain arrays: a line of JSON that
says what there is, then the bytes, in memory that has no name. It keeps a mistake in a parser from ending a node; it
does not keep a program that has taken over the child from what its user may do.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple

from cliff_ros import signals
from cliff_ros.errors import InputError, ModelError

_TYPES = re.compile(r'[<|](b1|[iu][1248]|f[248]|[SU][0-9]{1,6})')
_ERRORS = {kind.__name__: kind for kind in (ModelError, InputError)}
_LONGEST_HEADER = 1 << 22  # [bytes] a checkpoint has some thousand tensors, each with a name
# Told by hand what this interpreter imports from: nothing comes from a working directory that is not in it.
_PROGRAM = 'import sys; sys.path[:] = sys.argv[1].split("\\n"); from cliff_ros import sandbox; sandbox.child()'


class Limits(NamedTuple):
    """What a child may use: memory [bytes] besides its libraries, seconds of a CPU, seconds of the clock, and bytes of
    its result."""

    memory: int = 4 << 30
    cpu: int = 60
    wall: int = 180  # on a busy robot
    result: int = 4 << 30


def run_limited(
    function: str, *args: Any, what: str, limits: Limits | None = None, libraries: tuple[str, ...] = ('numpy',)
) -> dict[str, Any]:
    """Call a function in a child process and return the arrays that it returns.

    Parameters
    ----------
    function: ``module:name``, which takes ``args`` (JSON values; paths as text) and returns a dict of arrays.
    what: is read, for the sentences, such as "body file 'x.pkl'".
    libraries: imported by the child before its memory is limited.

    Raises
    ------
    ModelError, InputError
        that the function raised; ModelError where the child died, or used up its memory or time.
    """
    limits = limits or Limits()
    task = {
        'function': function,
        'args': [os.fspath(arg) if hasattr(arg, '__fspath__') else arg for arg in args],
        'limits': limits,
        'libraries': libraries,
    }
    with _memory() as result:
        env = os.environ | {'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
        child = subprocess.Popen(
            [sys.executable, '-c', _PROGRAM, '\n'.join(sys.path), str(result.fileno()), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=env,
            pass_fds=[result.fileno()],
            start_new_session=True,
        )
        try:
            child.communicate(json.dumps(task).encode(), limits.wall)
        except subprocess.TimeoutExpired:
            raise _out_of_time(what, limits.wall) from None
        finally:  # also when this process is told to end
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode == -signal.SIGXCPU:
            raise _out_of_time(what, limits.cpu)
        if child.returncode:
            how = f'by signal {-child.returncode}' if child.returncode < 0 else f'with exit code {child.returncode}'
            raise ModelError(
                f'{what} ends what reads it ({how}): it is damaged or harmful, or needs more than the '
                f'{_size(limits.memory)} that it may use; get it from its authors'
            )
        return _read(result, what, limits)


def _memory() -> BinaryIO:
    """A file without a name, in memory where there is such."""
    if hasattr(os, 'memfd_create'):
        return os.fdopen(os.memfd_create('cliff_ros'), 'w+b')
    return tempfile.TemporaryFile()


def _out_of_time(what: str, seconds: int) -> ModelError:
    return ModelError(
        f'{what} was not read within {seconds} s: it is harmful, or this machine too slow for it; '
        'get it from its authors'
    )


def _size(number: int) -> str:
    return f'{number / (1 << 30):.3g} GB'


def _read(result: BinaryIO, what: str, limits: Limits) -> dict[str, Any]:
    """The child's result; it may have been taken over, so that nothing that it says is believed."""
    import numpy as np

    size = os.fstat(result.fileno()).st_size
    result.seek(0)
    try:
        header = json.loads(result.readline(_LONGEST_HEADER))
        if 'error' in header:
            kind, sentence = header['error']
            raise _ERRORS[kind](str(sentence))
        arrays = {}
        for name, kind, shape in header['arrays']:
            if (
                not isinstance(name, str)
                or not _TYPES.fullmatch(kind)
                or len(shape) > 32
                or any(type(side) is not int or side < 0 for side in shape)
            ):
                raise ValueError('an array of another kind')
            kind = np.dtype(kind)
            if size > limits.result or kind.itemsize * math.prod(shape) > size - result.tell():
                raise ValueError('arrays that are not there')
            arrays[name] = np.empty(shape, kind)
            if arrays[name].nbytes:
                result.readinto(arrays[name].reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        return arrays
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, (ModelError, InputError)):
            raise
        raise ModelError(
            f'{what} was read, but what came of it is not whole: it is harmful or damaged; get it from its authors'
        ) from None


# ---- in the child


def child() -> None:
    """The child's program: ``sys.argv`` is the import path, the result's file and the parent; the task is on stdin."""
    _die_with(int(sys.argv[3]))
    task = json.loads(sys.stdin.buffer.read())
    limits = Limits(*task['limits'])
    module, _, name = task['function'].partition(':')
    with os.fdopen(int(sys.argv[2]), 'wb') as result:
        try:
            function: Callable[..., dict] = getattr(import_module(module), name)
            for library in task['libraries']:
                import_module(library)
            _limit(limits)
            _write(result, function(*task['args']))
        except MemoryError:
            _say(
                result,
                ModelError.__name__,
                f'needs more than the {_size(limits.memory)} of memory that reading a '
                'file may take: it is harmful or damaged; get it from its authors',
            )
        except (ModelError, InputError) as error:
            _say(result, type(error).__name__, str(error))
    os._exit(0)  # without the libraries' farewell


def _die_with(parent: int) -> None:
    signals.leave_interrupts_to_parent()
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signals.end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _limit(limits: Limits) -> None:
    with open('/proc/self/statm') as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    used = math.ceil(time.process_time())
    for kind, most in (
        (resource.RLIMIT_AS, mapped + limits.memory),
        (resource.RLIMIT_CPU, used + limits.cpu),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.result),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, hard if kind == resource.RLIMIT_CPU else most))


def _say(result: BinaryIO, kind: str, sentence: Any) -> None:
    result.seek(0)
    result.truncate()
    result.write(json.dumps({'error': [kind, sentence]}).encode() + b'\n')


def _write(result: BinaryIO, arrays: dict[str, Any]) -> None:
    import numpy as np

    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    arrays = {
        name: np.ascontiguousarray(array, array.dtype.newbyteorder('<')).reshape(array.shape)
        for name, array in arrays.items()
    }
    about = [[name, array.dtype.str.replace('=', '<'), array.shape] for name, array in arrays.items()]
    result.write(json.dumps({'arrays': about}).encode() + b'\n')
    for array in arrays.values():
        if array.nbytes:
            result.write(memoryview(array.reshape(-1).view(np.uint8)))
