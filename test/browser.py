"""Headless Chromium for tests of pages; they skip where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
# WebGL on the CPU: these machines have no GPU.
_ARGUMENTS = ['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader']
# Small: every pixel of the scene is drawn on the CPU.
SIZE = {'width': 1240, 'height': 420}


@contextmanager
def chromium() -> Iterator:
    """A browser (playwright's), or a skip that says what is missing."""
    sync = pytest.importorskip('playwright.sync_api', reason='needs playwright: pip install playwright')
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f'needs Chromium: none of {", ".join(_NAMES)} is installed (apt install chromium)')
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


def bytes_of_image(page, selector: str) -> bytes:
    """What an <img> of the page shows, as it was sent."""
    numbers = page.evaluate(
        """async selector => {
            const answer = await fetch(document.querySelector(selector).src);
            return Array.from(new Uint8Array(await answer.arrayBuffer()));
        }""",
        selector,
    )
    return bytes(numbers)
