"""Tables of pandas, read out of their pickles as data: no library of theirs is called, or needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.body.pickled_arrays import to_array
from cliff_ros.body.pickles import Record, read_records
from cliff_ros.errors import ModelError


def read_table(path: Path) -> dict[str, list[Any]]:
    """The columns of a pickled DataFrame, by name: numbers, text, lists, and arrays for whatever was one.

    Written by pandas 0.24 or any later one. Raises ModelError, whose sentence goes on after the file's name, and
    OSError.
    """
    content = read_records(path, ('pandas',))
    try:
        if not isinstance(content, Record) or not content.name.endswith('.DataFrame'):
            raise ValueError('no DataFrame in it')
        state = content.state
        manager = state.get('_mgr', state.get('_data'))
        axes, blocks = _blocks(manager)
        names = [str(name) for name in _index(axes[0])]
        columns: dict[str, list[Any]] = {}
        for values, places in blocks:
            rows = _values(values)
            chosen = _places(places, len(names))
            if len(rows) != len(chosen):
                raise ValueError('a block that does not fit its columns')
            columns |= {names[place]: row for place, row in zip(chosen, rows, strict=True)}
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  a damaged pickle can fail in any way
        raise ModelError(f'is no table of pandas ({type(error).__name__}: {error})'[:300]) from None
    return columns


def _blocks(manager: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """Axes, and blocks as (values, places of their columns)."""
    if manager.state is not None:  # until pandas 1.2
        extra = manager.state[3]['0.14.1']
        return extra['axes'], [(block['values'], block['mgr_locs']) for block in extra['blocks']]
    blocks, axes = manager.args[:2]
    return axes, [block.args[:2] for block in blocks]


def _index(record: Any) -> list[Any]:
    """The entries of an Index."""
    kind, fields = record.args
    if kind.full.endswith('RangeIndex'):
        return list(range(*(_plain(fields[name]) for name in ('start', 'stop', 'step'))))
    return _flat(fields['data'])


def _values(value: Any) -> list[list[Any]]:
    """The rows of a block, one for each of its columns."""
    if isinstance(value, Record) and value.name == 'numpy.core.multiarray._reconstruct' and _is_objects(value):
        shape, by_column, items = value.state[1], value.state[3], value.state[4]
        rows, length = (int(_plain(size)) for size in shape)
        if len(items) != rows * length:
            raise ValueError('objects that do not fill their array')
        grid = [items[i::rows] if by_column else items[i * length : (i + 1) * length] for i in range(rows)]
        return [[plain(item) for item in row] for row in grid]
    return [list(row) for row in np.atleast_2d(to_array('values', value))]


def _flat(value: Any) -> list[Any]:
    if isinstance(value, Record) and value.name == 'numpy.core.multiarray._reconstruct' and _is_objects(value):
        return [plain(item) for item in value.state[4]]
    return to_array('data', value).tolist()


def _is_objects(record: Record) -> bool:
    return str(record.state[2].args[0]).startswith('O')


def _places(value: Any, count: int) -> list[int]:
    if isinstance(value, Record) and value.name == 'builtins.slice':
        return list(range(count))[slice(*map(_plain, value.args))]
    return [int(place) for place in to_array('mgr_locs', value)]


def _plain(value: Any) -> Any:
    return to_array('number', value).item() if isinstance(value, Record) else value


def plain(value: Any, depth: int = 0) -> Any:
    """A value with arrays in place of their records; lists stay lists."""
    if depth > 4:
        raise ValueError('lists of lists without end')
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, Record):
        if value.name == 'numpy.core.multiarray._reconstruct' and _is_objects(value):
            return [plain(item, depth + 1) for item in value.state[4]]
        array = to_array('value', value)
        return array.item() if array.ndim == 0 else array
    return value
