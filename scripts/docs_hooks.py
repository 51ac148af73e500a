"""What the built pages need besides mkdocs: links out of docs/, and our docstrings as Markdown.

Our docstrings say what parameters, fields and results are in lines such as ``name: what it is``, which Markdown would
run together to a paragraph: they become lists. Sections as of NumPy's docstrings become bold words.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_OUTSIDE = re.compile(r'\[([^\]]+)\]\(\.\./[^)]*\)')
_SECTION = re.compile(r'^(\w+)\n-{3,}\n', re.MULTILINE)
_ITEM = re.compile(r'^(?![A-Z][a-z])(\*{0,2}\w+(?:, \*{0,2}\w+)*): ')  # 'Frames: ...' is a sentence


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Called by mkdocs for every page: links to files that are no pages, such as configurations, become their names."""
    if '/' in page.file.src_uri:
        return markdown  # its .. is docs/
    return _OUTSIDE.sub(lambda link: link[1] if link[1].startswith('`') else f'`{link[1]}`', markdown)


def as_markdown(docstring: str) -> str:
    """One of our docstrings, so that it looks in Markdown as it is meant."""
    blocks = re.split(r'\n{2,}', _SECTION.sub(r'**\1**\n\n', docstring))
    return '\n\n'.join(map(_listed, blocks))


def _listed(block: str) -> str:
    lines, out = block.split('\n'), []
    if not any(_ITEM.match(line) for line in lines) or block.lstrip().startswith(('>>>', '|', '- ', '    ')):
        return block
    inside = False
    for line in lines:
        if item := _ITEM.match(line):
            if out and not inside:
                out.append('')
            out.append(f'- `{item[1]}`: {line[item.end() :]}')
            inside = True
        elif inside and line.startswith('    '):
            out.append(f'    {line.strip()}')
        else:
            out += ['', line] if inside else [line]
            inside = False
    return '\n'.join(out)


class Docstrings(Extension):
    """Called by mkdocstrings for every module, class and function."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
