"""What the pages for contributors name is there."""

from __future__ import annotations

import re

import pytest
from places import ROOT

NAMES = re.compile(r'[\w./-]+\.(?:py|md|yaml|xml|toml|rviz)\b')


@pytest.mark.parametrize('page', ['CONTRIBUTING.md', 'docs/architecture.md'])
def test_every_file_that_is_named_exists(page):
    files = {
        str(path.relative_to(ROOT))
        for folder in ('cliff_ros', 'test', 'docs', 'config', 'launch', 'tools', 'scripts', 'bench')
        for path in (ROOT / folder).rglob('*.*')
    } | {path.name for path in ROOT.iterdir()}
    named = {name.lstrip('./') for name in NAMES.findall((ROOT / page).read_text())}
    assert len(named) > 15
    # In a room's own line its files go by their names alone.
    assert not [name for name in named if not any(f'/{path}'.endswith(f'/{name}') for path in files)]


def test_what_the_checklists_tell_to_extend_is_there():
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    for name in (
        'PUBLISHED',
        'ENCODERS',
        'BODIES',
        '_names',
        'ENGINES',
        'load_engine',
        '_best',
        'detector_kind',
        'CHOICES',
        'Output',
        'OUTPUTS',
        'needs_vertices',
        'Template',
        'open_session',
        'Letterbox',
    ):
        assert f'`{name}`' in text or f'`cliff_ros.boxes.{name}`' in text, name
        assert any(
            re.search(rf'\b(?:def|class) {name}\b|^{name}\b.*=', path.read_text(), re.M)
            for path in [*ROOT.glob('cliff_ros/**/*.py'), *ROOT.glob('launch/*.py')]
        ), name


def test_every_module_that_types_are_not_checked_in_exists():
    text = (ROOT / 'pyproject.toml').read_text()
    named = re.findall(r'"(cliff_ros[\w.]*)"', text[text.index('[[tool.mypy.overrides]]') :])
    assert named
    for name in named:
        path = ROOT / name.replace('.', '/')
        assert path.with_suffix('.py').exists() or (path / '__init__.py').exists(), name
