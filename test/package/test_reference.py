"""The API reference: every module it names exists, every page is found, docstrings become the lists they look like."""

from __future__ import annotations

import importlib.util
import re

import pytest
import yaml
from places import ROOT

PAGES = sorted((ROOT / 'docs' / 'reference').glob('*.md'))


def test_every_module_that_is_shown_exists():
    shown = [name for page in PAGES for name in re.findall(r'^::: (\S+)$', page.read_text(), re.M)]
    assert len(shown) > 40 and len(set(shown)) == len(shown)
    for name in shown:
        path = ROOT / name.replace('.', '/')
        assert path.with_suffix('.py').exists() or (path / '__init__.py').exists(), name


def test_every_page_is_in_the_contents():
    contents = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())['nav']
    listed = {page for entry in contents for page in (entry['Reference'] if isinstance(entry, dict) else [entry])}
    assert listed == {str(page.relative_to(ROOT / 'docs')) for page in (ROOT / 'docs').rglob('*.md')}


def test_lines_of_a_docstring_become_a_list():
    pytest.importorskip('griffe', reason="pip install 'cliff_ros[docs]'")
    path = ROOT / 'scripts' / 'docs_hooks.py'
    spec = importlib.util.spec_from_file_location('docs_hooks', path)
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    text = 'What it does.\n\nParameters\n----------\na: one\n    and on\nb, c: two\n\nFrames: a sentence.'
    assert hooks.as_markdown(text) == (
        'What it does.\n\n**Parameters**\n\n- `a`: one\n    and on\n- `b, c`: two\n\nFrames: a sentence.'
    )
