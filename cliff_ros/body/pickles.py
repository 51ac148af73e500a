"""Pickles read as data only: nothing that a file names is ever called, and no object of a library is ever made.

A pickle is a program for a small stack machine. The machine here knows its instructions, but where Python's would
import a name, call it or hand it a state, this one writes down name, arguments and state as a `Record`. SMPL's files
hold numpy arrays, chumpy objects and scipy's sparse matrices; `pickled_arrays.to_array` makes arrays of their records.
"""

from __future__ import annotations

import codecs
import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cliff_ros.errors import ModelError
from cliff_ros.files import check_regular

_MARK = object()
_OPCODES: dict[str, Any] = {opcode.code: opcode for opcode in pickletools.opcodes}
_KEYS = (str, bytes, int, float, type(None))  # hashing nested tuples would recurse as deep as the file likes


@dataclass(frozen=True)
class Name:
    """What a file would have imported."""

    full: str


@dataclass
class Record:
    """What a file would have made by calling `name` with `args`, and the state that it would have set.

    name: such as 'numpy.dtype', always one of the list in this module.
    """

    name: str
    args: tuple[Any, ...]
    state: Any = field(default=None)


def read_pickle(path: Path) -> dict[Any, Any]:
    """The dictionary in a pickle file of Python 2 or 3: numbers, text, containers and Records.

    Raises
    ------
    ModelError
        naming what the file wanted to call, or why it is not a dictionary.
    OSError
        where the file cannot be read.
    """
    content = read_records(path)
    if not isinstance(content, dict):
        kind = content.name if isinstance(content, Record) else type(content).__name__
        raise ModelError(f'holds a {kind}, but a body model is a dictionary of arrays')
    return content


def read_records(path: Path, packages: tuple[str, ...] = ()) -> Any:
    """Whatever is in a pickle file; errors as of `read_pickle`.

    packages: whose names become Records too. As always, none of them is imported or called.
    """
    check_regular(path)
    try:
        return _Machine(path.read_bytes(), packages).run()
    except (ModelError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  a damaged pickle can fail in any way
        reason = f'{type(error).__name__}: {error}'[:200]
        raise ModelError(f'is not a body model or is damaged ({reason}): download it again') from None


class _Machine:
    """Runs the instructions of one pickle; `pickletools` knows how their arguments are written."""

    def __init__(self, content: bytes, packages: tuple[str, ...] = ()) -> None:
        self.packages = packages
        self.file = io.BytesIO(content)
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while True:
            code = self.file.read(1).decode('latin1')
            if not code:
                raise EOFError('the file ends too early')
            opcode = _OPCODES[code]
            argument = self._argument(opcode)
            if opcode.name == 'STOP':
                return self.stack.pop()
            if opcode.name in _VALUES:
                self.stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name]())
            else:
                method = getattr(self, f'_{opcode.name.lower()}', None)
                if method is None:
                    raise ModelError(
                        f"has the instruction '{opcode.name}', which body models do not need: it was "
                        'refused; get the file from its authors'
                    )
                method(argument)

    def _argument(self, opcode: Any) -> Any:
        if opcode.arg is None:
            return None
        if opcode.name == 'STRING':  # of Python 2: any byte; pickletools takes ASCII only
            line = pickletools.read_stringnl(self.file, decode=False)
            return codecs.escape_decode(line)[0].decode('latin1')
        return opcode.arg.reader(self.file)

    def _popped(self) -> list[Any]:
        """What is above the topmost mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError('an instruction without its mark')
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    # ---- the instructions, by pickletools' names

    def _proto(self, version: int) -> None:
        if version > 5:
            raise ValueError(f'pickle protocol {version} is not known')

    def _frame(self, size: int) -> None:
        pass

    def _mark(self, _: None) -> None:
        self.stack.append(_MARK)

    def _pop(self, _: None) -> None:
        self.stack.pop()

    def _pop_mark(self, _: None) -> None:
        self._popped()

    def _dup(self, _: None) -> None:
        self.stack.append(self.stack[-1])

    def _get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def _put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    _binget = _long_binget = _get
    _binput = _long_binput = _put

    def _memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _tuple(self, _: None) -> None:
        self.stack.append(tuple(self._popped()))

    def _last(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError('a tuple of more than there is')
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def _tuple1(self, _: None) -> None:
        self._last(1)

    def _tuple2(self, _: None) -> None:
        self._last(2)

    def _tuple3(self, _: None) -> None:
        self._last(3)

    def _list(self, _: None) -> None:
        self.stack.append(self._popped())

    def _append(self, _: None) -> None:
        item = self.stack.pop()
        self._top(list).append(item)

    def _appends(self, _: None) -> None:
        items = self._popped()
        self._top(list).extend(items)

    def _dict(self, _: None) -> None:
        self.stack.append(_pairs(self._popped()))

    def _setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._top(dict).update(_pairs([key, value]))

    def _setitems(self, _: None) -> None:
        items = self._popped()
        self._top(dict).update(_pairs(items))

    def _additems(self, _: None) -> None:
        items = self._popped()
        self._top(set).update(map(_key, items))

    def _frozenset(self, _: None) -> None:
        self.stack.append(frozenset(map(_key, self._popped())))

    def _global(self, names: str) -> None:
        self.stack.append(self._allowed(*names.split(' ', 1)))

    def _stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self._allowed(module, name))

    def _inst(self, names: str) -> None:
        args = self._popped()
        self.stack.append(_called(self._allowed(*names.split(' ', 1)), tuple(args)))

    def _obj(self, _: None) -> None:
        kind, *args = self._popped()
        self.stack.append(_called(kind, tuple(args)))

    def _reduce(self, _: None) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.stack.append(_called(function, args))

    _newobj = _reduce

    def _newobj_ex(self, _: None) -> None:
        if self.stack.pop():
            raise ValueError('an object with keyword arguments')
        self._reduce(_)

    def _build(self, _: None) -> None:
        state = self.stack.pop()
        self._top(Record).state = state

    def _allowed(self, module: Any, name: Any) -> Name:
        if type(module) is str and type(name) is str and module.partition('.')[0] in self.packages:
            return Name(f'{module}.{name}')
        return _allowed(module, name)

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError(f'an instruction for a {kind.__name__} meets a {type(self.stack[-1]).__name__}')
        return self.stack[-1]


# Instructions whose argument is the value, and those that bring a value along.
_VALUES = frozenset(
    (
        'INT',
        'BININT',
        'BININT1',
        'BININT2',
        'LONG',
        'LONG1',
        'LONG4',
        'FLOAT',
        'BINFLOAT',
        'STRING',
        'BINSTRING',
        'SHORT_BINSTRING',
        'BINBYTES',
        'SHORT_BINBYTES',
        'BINBYTES8',
        'BYTEARRAY8',
        'UNICODE',
        'SHORT_BINUNICODE',
        'BINUNICODE',
        'BINUNICODE8',
    )
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    'NONE': lambda: None,
    'NEWTRUE': lambda: True,
    'NEWFALSE': lambda: False,
    'EMPTY_TUPLE': tuple,
    'EMPTY_LIST': list,
    'EMPTY_DICT': dict,
    'EMPTY_SET': set,
}

_PYTHON2 = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}
_NAMES = frozenset(
    (
        *(
            f'builtins.{kind}'
            for kind in (
                'object',
                'set',
                'frozenset',
                'list',
                'dict',
                'tuple',
                'int',
                'float',
                'complex',
                'bool',
                'str',
                'bytes',
                'bytearray',
                'slice',
            )
        ),
        'copyreg._reconstructor',
        '_codecs.encode',
        'numpy.ndarray',
        'numpy.dtype',
        'numpy.core.multiarray._reconstruct',
        'numpy.core.multiarray.scalar',
        'numpy.core.numeric._frombuffer',
    )
)


def _allowed(module: str, name: str) -> Name:
    """A name that body files have. numpy 2 calls the package 'core' of numpy 1 '_core'."""
    if type(module) is not str or type(name) is not str:
        raise TypeError('a name that is no text')
    module = _PYTHON2.get(module, module)
    known = f'{module}.{name}'.replace('numpy._core.', 'numpy.core.', 1)
    package = module.partition('.')[0]
    is_sparse = module.startswith('scipy.sparse') and name in ('csc_matrix', 'csr_matrix')
    if known not in _NAMES and not is_sparse and package != 'chumpy':
        raise ModelError(
            f"wants to call '{module}.{name}': it was refused and nothing of it was run; get the file from its authors"
        )
    return Name(known)


def _called(function: Any, args: Any) -> Any:
    """The record of a call. Bytes that Python 3 wrote for Python 2 are read at once: they are values."""
    if type(function) is not Name or type(args) is not tuple:
        raise TypeError(f'a {type(function).__name__} is called')
    if function.full == 'copyreg._reconstructor':  # (class, base, state of the base)
        return Record(args[0].full, ())
    if function.full == '_codecs.encode':
        text, encoding = args
        if encoding not in ('latin1', 'latin-1'):
            raise ModelError(f"wants the codec '{encoding}': it was refused; get the file from its authors")
        return text.encode('latin1')
    return Record(function.full, args)


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _key(value: Any) -> Any:
    if not isinstance(value, _KEYS):
        raise TypeError(f'a {type(value).__name__} is a key')
    return value
