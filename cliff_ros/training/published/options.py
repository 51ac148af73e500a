"""Frozen dataclasses read from YAML: every key known, every value checked, every complaint one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cliff_ros.errors import InputError
from cliff_ros.files import read_yaml
from cliff_ros.specs import KINDS, Spec, specified, specs_of

Options = TypeVar('Options')


@dataclass(frozen=True)
class NestedSpec(Spec):
    """group: the option is a mapping of these options. items: it is a list of mappings of these options."""

    group: type | None = None
    items: type | None = None


def option(
    default: Any, description: str, range: tuple[float, float] | None = None, choices: tuple[str, ...] | None = None
) -> Any:
    """A field with a plain value, of the type of its default."""
    return specified(default, NestedSpec(description, range, choices))


def group(kind: type, description: str) -> Any:
    """A field with options of its own."""
    return field(default_factory=kind, metadata={'spec': NestedSpec(description, group=kind)})


def items(kind: type, description: str) -> Any:
    """A field with a list of options."""
    return specified((), NestedSpec(description, items=kind))


def build(kind: type[Options], values: Any, where: str = '') -> Options:
    """The options of a mapping as YAML gives it. ``where`` it stands in the file, for messages.

    Raises InputError naming the first key that is unknown or has a value that cannot be used.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"'{where or 'the file'}' must hold keys with values, not {values!r}: see docs/training.md")
    specs: dict[str, tuple[Any, NestedSpec]] = specs_of(kind)
    given: dict[str, Any] = {}
    for key, value in values.items():
        name = f'{where}.{key}' if where else str(key)
        if key not in specs:
            near = difflib.get_close_matches(str(key), specs, 1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f'there are {", ".join(specs)}'
            raise InputError(f"there is no option '{name}': {hint}")
        default, spec = specs[key]
        if spec.group:
            given[key] = build(spec.group, value, name)
        elif spec.items:
            if not isinstance(value, list):
                raise InputError(f"'{name}' must be a list, each entry with a dash before it, not {value!r}")
            given[key] = tuple(build(spec.items, entry, f'{name}[{i}]') for i, entry in enumerate(value))
        else:
            given[key] = _value(name, value, spec, type(default))
    return kind(**given)


def read(kind: type[Options], path: Path, changes: Mapping[str, Any] | None = None) -> Options:
    """The options of a YAML file, after ``changes`` of its top-level keys (``augmentation.flip`` goes one deeper)."""
    try:
        values = read_yaml(path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read the configuration '{path}' ({error.strerror}): check the path") from None
    except (ValueError, RecursionError) as error:  # also: a date that there is not
        raise InputError(f"'{path}' is not YAML ({error}): correct it") from None
    if not isinstance(values, dict):
        raise InputError(f"'{path}' holds no options: start from one of the files in config/training")
    for name, value in (changes or {}).items():
        *above, key = name.split('.')
        inner = values
        for part in above:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise InputError(f"'{name}' cannot be set from outside: '{part}' is not a group of options")
        inner[key] = value
    try:
        return build(kind, values)
    except InputError as error:
        raise InputError(f"in '{path}': {error}") from None


def _value(name: str, value: Any, spec: Spec, kind: type) -> Any:
    if kind is float and type(value) in (int, str):  # YAML takes 1e-4 for a string
        try:
            value = float(value)
        except (ValueError, OverflowError):
            pass
    if type(value) is not kind:
        raise InputError(f"'{name}' must be {KINDS[kind]}, not {value!r}")
    problem = spec.problem(value)
    if problem:
        near = difflib.get_close_matches(str(value), spec.choices or (), 1)
        hint = f" (did you mean '{near[0]}'?)" if near else ''
        raise InputError(f"'{name}' {problem}{hint}")
    return value
