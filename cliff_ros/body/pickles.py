"""Pickles of arrays, read as data only: nothing in a file runs.

SMPL's hold chumpy objects and scipy sparse matrices. They are read without either library, by an unpickler
that knows a short list of harmless names and refuses all others by name.
"""

from __future__ import annotations

import copyreg
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cliff_ros.errors import ModelError


def read_pickle(path: Path) -> dict[str, Any]:
    """The dictionary in a pickle file of Python 2 or 3; ``to_array`` makes arrays of its values.

    Raises
    ------
    ModelError
        naming what the file wanted to call, or why it is not a dictionary.
    """
    with path.open('rb') as file:
        try:
            content = _DataUnpickler(file).load()
        except (ModelError, OSError):
            raise
        except Exception as error:  # noqa: BLE001  a damaged pickle can fail in any way
            reason = f'{type(error).__name__}: {error}'
            raise ModelError(f'is not a body model or is damaged ({reason}): download it again') from None
    if not isinstance(content, dict):
        raise ModelError(f'holds a {type(content).__name__}, but a body model is a dictionary of arrays')
    return content


def to_array(key: str, value: Any) -> np.ndarray:
    """A value of ``read_pickle`` as an array of numbers or text: sparse made dense, chumpy evaluated."""
    try:
        if isinstance(value, _Record):
            value = _sparse(value) if value.kind.endswith('_matrix') else _chumpy(key, value)
        array = np.asarray(value)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        reason = f'{type(error).__name__}: {error}'
        raise ModelError(f"has a damaged array '{key}' ({reason}): download it again") from None
    if array.dtype.hasobject:
        raise ModelError(f"has objects instead of numbers in its array '{key}': download it again")
    return array


class _Record:
    """Stands in for an object of a library that is not needed: keeps its state, does nothing."""

    kind = ''

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _record(kind: str) -> type[_Record]:
    return type('_Record', (_Record,), {'kind': kind})


class _DataUnpickler(pickle.Unpickler):
    """Reconstructs numbers, arrays and containers. Any other name that a file asks for is refused."""

    _PYTHON2 = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}
    _BUILTINS = {kind.__name__: kind for kind in (
        object, set, frozenset, list, dict, tuple, int, float, complex, bool, str, bytes, bytearray)}
    _NUMPY = {
        'ndarray': np.ndarray,
        'dtype': np.dtype,
        'core.multiarray._reconstruct': np.empty(0).__reduce__()[0],
        'core.multiarray.scalar': np.float64(0).__reduce__()[0],
        'core.numeric._frombuffer': np.empty(0).__reduce_ex__(5)[0],
    }

    def __init__(self, file: BinaryIO) -> None:
        # latin1 turns the byte strings of Python 2 into what numpy expects.
        super().__init__(file, encoding='latin1')

    def find_class(self, module: str, name: str) -> Any:
        module = self._PYTHON2.get(module, module)
        full = f'{module}.{name}'
        if module == 'builtins' and name in self._BUILTINS:
            return self._BUILTINS[name]
        if module.partition('.')[0] == 'numpy':
            # numpy 2 calls the package 'core' of numpy 1 '_core'.
            known = self._NUMPY.get(full.removeprefix('numpy.').removeprefix('_'))
            if known is not None:
                return known
        if full == 'copyreg._reconstructor':
            return copyreg._reconstructor
        if full == '_codecs.encode':
            return _latin1_bytes
        if module.startswith('scipy.sparse') and name in ('csc_matrix', 'csr_matrix'):
            return _record(name)
        if module.partition('.')[0] == 'chumpy':
            return _record(full)
        raise ModelError(f"wants to call '{full}': it was refused and nothing of it was run; "
                         'get the file from its authors')


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2; ``codecs.encode`` itself would take any codec."""
    if encoding != 'latin1':
        raise ModelError(f"wants the codec '{encoding}': it was refused; get the file from its authors")
    return text.encode('latin1')


def _sparse(record: _Record) -> np.ndarray:
    data, indices, pointers = (np.asarray(record.state[key]) for key in ('data', 'indices', 'indptr'))
    shape = tuple(int(size) for size in record.state['_shape'])
    by_column = record.kind == 'csc_matrix'
    major = np.repeat(np.arange(shape[by_column]), np.diff(pointers))
    dense = np.zeros(shape)
    np.add.at(dense, (indices, major) if by_column else (major, indices), data)
    return dense


def _chumpy(key: str, record: _Record) -> np.ndarray:
    """The value of the two chumpy nodes that body files use: a variable, and a selection from one."""
    if record.kind in ('chumpy.Ch', 'chumpy.ch.Ch'):
        return np.asarray(record.state['x'])
    if record.kind == 'chumpy.reordering.Select':
        source = to_array(key, record.state['a'])
        return source.ravel()[np.asarray(record.state['idxs'])].reshape(record.state['preferred_shape'])
    raise ModelError(
        f"has a chumpy formula ('{record.kind}') instead of numbers as '{key}': save it with plain arrays")
