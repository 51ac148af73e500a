"""A report that people look at: figures, charts and pictures on one page, as a single HTML file or as a PNG.

The HTML needs nothing else: charts are SVG in it, pictures are JPEG in it, and it runs no script.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from cliff_ros.errors import InputError
from cliff_ros.files import write_bytes
from cliff_ros.render.sheet import contact_sheet, save_png

WIDTH = 1200  # [px] of the PNG
_PAPER, _INK, _FAINT, _BAR = (250, 250, 248), (30, 34, 40), (150, 154, 160), (70, 130, 190)
_ROW, _LABEL = 26, 330  # [px] height of a bar, room for its label
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1200px;padding:0 1rem}
body{color:#1e2228;background:#fafaf8}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse}
td,th{padding:.15rem .9rem .15rem 0;text-align:right}td:first-child,th:first-child{text-align:left}
th{border-bottom:1px solid #c8c8c4}figure{margin:0}figcaption{color:#5a5e64;font-size:.85rem}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:1rem}img{width:100%}
@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e2}th{border-color:#444}figcaption{color:#9a9ea4}}
"""


@dataclass
class Chart:
    """Bars: one value for each label, None where there is nothing."""

    title: str
    labels: Sequence[str]
    values: Sequence[float | None]
    unit: str = ''


@dataclass
class Table:
    """Rows of text under heads; the first column names the row."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Pictures:
    """Pictures (h, w, 3) uint8 RGB of one size, each with its caption."""

    title: str
    pictures: Sequence[np.ndarray]
    captions: Sequence[str]


@dataclass
class Page:
    """Sections in order."""

    title: str
    text: str = ''
    sections: list[Chart | Table | Pictures] = field(default_factory=list)

    def add(self, section: Chart | Table | Pictures) -> None:
        """One more; empty ones are left out."""
        if _length(section):
            self.sections.append(section)

    def write(self, path: Path) -> None:
        """As HTML or PNG, by the file's name. OutputError; InputError for other names."""
        check(path)
        if path.suffix.lower() == '.png':
            save_png(path, self.picture())
        else:
            write_bytes(path, self.html().encode())

    def html(self) -> str:
        """The page as one file."""
        parts = [_html(section) for section in self.sections]
        title = html.escape(self.title)
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
            f'<h1>{title}</h1><p>{html.escape(self.text)}</p>{"".join(parts)}</body></html>\n'
        )

    def picture(self) -> np.ndarray:
        """The page as an image (H, `WIDTH`, 3) uint8 RGB."""
        strips = [_text_strip(self.title, 1.0, 56)]
        if self.text:
            strips.append(_text_strip(self.text, 0.5, 30))
        for section in self.sections:
            strips += [_text_strip(section.title, 0.65, 48), *_drawn(section)]
        return np.concatenate(strips)


def check(path: Path) -> None:
    """InputError where a page cannot be written under that name."""
    if path.suffix.lower() not in ('.html', '.htm', '.png'):
        raise InputError(f"--page is '{path}': name it *.html or *.png")


def _length(section: Chart | Table | Pictures) -> int:
    if isinstance(section, Table):
        return len(section.rows)
    return len(section.labels if isinstance(section, Chart) else section.pictures)


def _html(section: Chart | Table | Pictures) -> str:
    title = f'<h2>{html.escape(section.title)}</h2>'
    if isinstance(section, Table):
        head = ''.join(f'<th>{html.escape(text)}</th>' for text in section.heads)
        rows = ''.join(
            '<tr>' + ''.join(f'<td>{html.escape(text)}</td>' for text in row) + '</tr>' for row in section.rows
        )
        return f'{title}<table><tr>{head}</tr>{rows}</table>'
    if isinstance(section, Pictures):
        figures = ''.join(
            f'<figure><img alt="" src="data:image/jpeg;base64,{_jpeg(picture)}">'
            f'<figcaption>{html.escape(caption)}</figcaption></figure>'
            for picture, caption in zip(section.pictures, section.captions, strict=True)
        )
        return f'{title}<div class="pictures">{figures}</div>'
    most = _most(section)
    bars = []
    for row, (label, value) in enumerate(zip(section.labels, section.values, strict=True)):
        y, length = row * 24, 0 if value is None else max(0.0, value) / most * 700
        name, said = html.escape(label), html.escape(_said(value, section.unit))
        bars += [
            f'<text x="230" y="{y + 16}" text-anchor="end" fill="currentColor">{name}</text>',
            f'<rect x="240" y="{y + 4}" width="{length:.1f}" height="16" rx="2" fill="#4682be"/>',
            f'<text x="{250 + length:.1f}" y="{y + 16}" fill="currentColor">{said}</text>',
        ]
    height = 24 * len(section.labels) + 6
    return f'{title}<svg viewBox="0 0 1100 {height}" width="100%" font-size="13" role="img">{"".join(bars)}</svg>'


def _drawn(section: Chart | Table | Pictures) -> list[np.ndarray]:
    if isinstance(section, Pictures):
        sheet = contact_sheet(section.pictures, section.captions, width=WIDTH)
        return [sheet]
    if isinstance(section, Table):
        step = max(90, (WIDTH - _LABEL - 40) // max(1, len(section.heads) - 1))
        return [
            _cells(list(row), step, _FAINT if i == 0 else _INK) for i, row in enumerate([section.heads, *section.rows])
        ]
    most, strips = _most(section), []
    for label, value in zip(section.labels, section.values, strict=True):
        strip = _blank(_ROW)
        _put(strip, label[:40], 24, 18, 0.45)
        length = 0 if value is None else round(max(0.0, value) / most * (WIDTH - _LABEL - 190))
        cv2.rectangle(strip, (_LABEL, 5), (_LABEL + length, _ROW - 5), _BAR, -1)
        _put(strip, _said(value, section.unit), _LABEL + length + 10, 18, 0.45)
        strips.append(strip)
    return strips


def _cells(texts: list[str], step: int, color: tuple[int, int, int]) -> np.ndarray:
    strip = _blank(_ROW)
    for column, text in enumerate(texts):
        _put(strip, text[:44], 24 if column == 0 else _LABEL + (column - 1) * step, 18, 0.42, color)
    return strip


def _text_strip(text: str, size: float, height: int) -> np.ndarray:
    strip = _blank(height)
    _put(strip, text, 24, height - 12, size)
    return strip


def _blank(height: int) -> np.ndarray:
    return np.full((height, WIDTH, 3), _PAPER, np.uint8)


def _put(image: np.ndarray, text: str, x: int, y: int, size: float, color: tuple[int, int, int] = _INK) -> None:
    plain = text.encode('ascii', 'replace').decode()  # OpenCV's font has nothing else
    cv2.putText(image, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)


def _most(chart: Chart) -> float:
    return max([value for value in chart.values if value is not None and np.isfinite(value)], default=1.0) or 1.0


def _said(value: float | None, unit: str) -> str:
    if value is None or not np.isfinite(value):
        return '-'
    return f'{value:.3g} {unit}'.strip() if abs(value) < 100 else f'{value:.0f} {unit}'.strip()


def _jpeg(picture: np.ndarray) -> str:
    data = cv2.imencode('.jpg', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return base64.b64encode(data.tobytes()).decode()
