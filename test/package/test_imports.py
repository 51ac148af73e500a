"""Who imports whom: rooms lie in layers, as the table in docs/architecture.md has them, and nothing goes in circles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from places import ROOT

PACKAGE = 'cliff_ros'
WITH_ROS = {'ros', 'demo'}
ROS = re.compile(r'^(rclpy|rosidl\w*|rmw\w*|builtin_interfaces|launch|ament\w*|cv_bridge|\w+_msgs)(\.|$)')


class Import(NamedTuple):
    """A module that another one imports; for annotations only: under `if TYPE_CHECKING`."""

    source: str
    target: str
    for_types: bool


@cache
def modules() -> dict[str, ast.Module]:
    """All modules of the package by their names."""
    found = {}
    for path in (ROOT / PACKAGE).rglob('*.py'):
        parts = path.relative_to(ROOT).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = ast.parse(path.read_text())
    return found


def names_imported(node: ast.AST, for_types: bool = False) -> Iterator[tuple[str, bool]]:
    """Everything that a module imports anywhere, also inside of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, for_types) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, 'imports are absolute'
            yield from ((f'{child.module}.{alias.name}', for_types) for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == 'TYPE_CHECKING':
            yield from names_imported(child, True)
        else:
            yield from names_imported(child, for_types)


@cache
def imports() -> list[Import]:
    """The package's imports of itself."""
    return [
        Import(source, name if name in modules() else name.rpartition('.')[0], for_types)
        for source, tree in modules().items()
        for name, for_types in names_imported(tree)
        if name.startswith(f'{PACKAGE}.')
    ]


def room(module: str) -> str:
    """As the table calls it: 'body/', 'camera.py'; '' for the package itself."""
    _, _, inside = module.partition('.')
    if not inside:
        return ''
    folder = inside.partition('.')[0]
    return f'{folder}/' if (ROOT / PACKAGE / folder).is_dir() else f'{folder}.py'


@cache
def layers() -> dict[str, int]:
    """The layer of every room; the lowest is 0."""
    text = (ROOT / 'docs' / 'architecture.md').read_text()
    rows = re.search(r'\| room \|.*\n\|[-|]+\n((?:\|.*\n)+)', text)
    assert rows
    found: dict[str, int] = {}
    for layer, row in enumerate(rows[1].splitlines()):
        for name in re.findall(r'`([\w./]+)`', row.split('|')[1]):
            assert name not in found, f'{name} is in two rows'
            found[name] = layer
    return found


def circle(edges: Iterable[tuple[str, str]]) -> list[str]:
    """One circle among the edges; empty where there is none."""
    graph: dict[str, set[str]] = {}
    for source, target in edges:
        graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_a_circle_is_found():
    assert circle([('a', 'b'), ('b', 'c')]) == []
    assert set(circle([('a', 'b'), ('b', 'c'), ('c', 'a')])) == {'a', 'b', 'c'}
    assert len(modules()) > 150 and len(imports()) > 500
    assert {one.for_types for one in imports()} == {True, False}


def test_the_table_names_every_room():
    there = {room(module) for module in modules()} - {''}
    assert there == set(layers()), 'docs/architecture.md, the rooms'


def test_no_room_imports_one_above_it():
    generated = f'{PACKAGE}.msg'
    upward = [
        f'{one.source} imports {one.target}'
        for one in imports()
        if not one.target.startswith(generated)
        and room(one.target)
        and room(one.source)
        and layers()[room(one.source)] < layers()[room(one.target)]
    ]
    assert not upward


def test_rooms_do_not_import_each_other_in_a_circle():
    edges = {(room(one.source), room(one.target)) for one in imports()}
    assert not circle((a, b) for a, b in edges if a != b and a and b)


def test_modules_do_not_import_each_other_in_a_circle():
    """Also not from inside of functions. What is imported for annotations alone makes no circle when it runs."""
    assert not circle((one.source, one.target) for one in imports() if not one.for_types and one.target != PACKAGE)


def test_only_the_edge_knows_ros():
    found = [
        f'{module} imports {name}'
        for module, tree in modules().items()
        if room(module).strip('/') not in WITH_ROS
        for name, _ in names_imported(tree)
        if ROS.match(name) or name.startswith(f'{PACKAGE}.msg')
    ]
    assert not found


def test_no_module_is_longer_than_400_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / PACKAGE).rglob('*.py')}
    assert not [str(path) for path, length in lengths.items() if length > 400]
