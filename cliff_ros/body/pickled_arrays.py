"""Arrays out of the records of a pickle: numpy's own, scipy's sparse matrices, chumpy's variables and selections."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from cliff_ros.body.pickles import Record
from cliff_ros.errors import ModelError

# Numbers and text of fixed size. Everything else that numpy can read from a name has no place in these files.
_TYPES = re.compile(r'(b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,3})')
_DEEPEST = 8  # selections from selections
_MOST = 1 << 28  # numbers of an array that a file of a few bytes may ask for (sparse matrices, selections)


def to_array(key: str, value: Any, depth: int = 0) -> np.ndarray:
    """A value of ``read_pickle`` as an array of numbers or text: sparse made dense, chumpy evaluated.

    key: what the value is called in the file, for the error. Arrays are copies.

    Raises
    ------
    ModelError
        where the value is no array of numbers or text, or is damaged.
    """
    try:
        array = _array(key, value, depth)
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  a damaged record can fail in any way
        reason = f'{type(error).__name__}: {error}'[:200]
        raise ModelError(f"has a damaged array '{key}' ({reason}): download it again") from None
    if array.dtype.hasobject:
        raise ModelError(f"has objects instead of numbers in its array '{key}': download it again")
    return array


def _array(key: str, value: Any, depth: int) -> np.ndarray:
    if depth > _DEEPEST:
        raise ValueError('formulas of formulas without end')
    if isinstance(value, Record):
        name = value.name
        if name == 'numpy.core.multiarray._reconstruct':
            _, shape, dtype, by_column, raw = value.state
            return _from_bytes(key, raw, dtype, shape, 'F' if by_column else 'C')
        if name == 'numpy.core.numeric._frombuffer':
            return _from_bytes(key, *value.args)
        if name == 'numpy.core.multiarray.scalar':
            dtype, raw = value.args
            return _from_bytes(key, raw, dtype, (), 'C')
        if name.endswith(('.csc_matrix', '.csr_matrix')):
            return _sparse(key, value, depth)
        if name in ('chumpy.Ch', 'chumpy.ch.Ch'):
            return to_array(key, value.state['x'], depth + 1)
        if name == 'chumpy.reordering.Select':
            source = to_array(key, value.state['a'], depth + 1)
            index = to_array(key, value.state['idxs'], depth + 1)
            return source.ravel()[index].reshape(_shape(value.state['preferred_shape']))
        raise ModelError(f"has a formula or object ('{name}') instead of numbers as '{key}': save it with plain arrays")
    if isinstance(value, (list, tuple)):
        if not all(isinstance(item, (bool, int, float, str)) for item in value):
            raise ValueError('a list of other things than numbers or text')
        # numpy gives every text of an array the room of the longest.
        if len(value) * max((len(item) for item in value if isinstance(item, str)), default=1) > _MOST:
            raise ValueError('a list of long texts')
    return np.asarray(value)


def _from_bytes(key: str, raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    kind, shape = _dtype(key, dtype), _shape(shape)
    if isinstance(raw, Record):  # an empty one, or one of Python 3 written for Python 2
        raw = _bytes(raw)
    raw = raw.encode('latin1') if isinstance(raw, str) else raw
    if len(raw) != kind.itemsize * math.prod(shape):
        raise ValueError(f'{len(raw)} bytes for {shape} numbers of {kind.itemsize}')
    if order not in ('C', 'F'):
        raise ValueError('an order that is neither C nor F')
    return np.frombuffer(raw, kind).reshape(shape, order=order).copy(order='K')


def _bytes(record: Record) -> bytes:
    if record.name not in ('builtins.bytes', 'builtins.bytearray') or any(type(a) is not bytes for a in record.args):
        raise ValueError(f"a '{record.name}' instead of bytes")
    return b''.join(record.args[:1])


def _dtype(key: str, record: Any) -> np.dtype[Any]:
    """A type from its plain name and byte order; what else a file says of it is not looked at."""
    if not isinstance(record, Record) or record.name != 'numpy.dtype':
        raise ValueError('an array without a type')
    name = record.args[0]
    if isinstance(name, str) and name.startswith('O'):
        raise ModelError(f"has objects instead of numbers in its array '{key}': download it again")
    if not isinstance(name, str) or not _TYPES.fullmatch(name):
        raise ValueError(f'the type {name!r}'[:80])
    order: Any = record.state[1] if record.state else '='
    if order not in ('<', '>', '=', '|'):
        raise ValueError(f'the byte order {order!r}'[:80])
    return np.dtype(name).newbyteorder(order)


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, Record):
        value = to_array('shape', value).tolist()
    shape = tuple(value)
    if len(shape) > 8 or any(type(size) is not int or size < 0 for size in shape) or math.prod(shape) > _MOST:
        raise ValueError(f'the shape {shape}'[:80])
    return shape


def _sparse(key: str, record: Record, depth: int) -> np.ndarray:
    data, indices, pointers = (to_array(key, record.state[name], depth + 1) for name in ('data', 'indices', 'indptr'))
    shape = _shape(tuple(_plain(size) for size in record.state['_shape']))
    by_column = record.name.endswith('.csc_matrix')
    if len(pointers) != shape[by_column] + 1 or not len(data) == len(indices) == pointers[-1]:
        raise ValueError('a sparse matrix whose parts do not fit')
    major = np.repeat(np.arange(shape[by_column]), np.diff(pointers))
    dense = np.zeros(shape)
    np.add.at(dense, (indices, major) if by_column else (major, indices), data)
    return dense


def _plain(size: Any) -> Any:
    return to_array('shape', size).item() if isinstance(size, Record) else size
