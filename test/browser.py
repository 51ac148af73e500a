"""Headless Chromium for tests of pages; they skip where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

_NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
# WebGL on the CPU: these machines have no GPU.
_ARGUMENTS = ['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader']
# Small: every pixel of the scene is drawn on the CPU.
SIZE = {'width': 1100, 'height': 320}


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


def of_colors(image: np.ndarray, colors) -> np.ndarray:
    """Where the hue is one of the colors', and strong."""
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV).astype(int)
    found = np.zeros(image.shape[:2], bool)
    for color in colors:
        hue = int(cv2.cvtColor(np.uint8([[color]]), cv2.COLOR_RGB2HSV)[0, 0, 0])
        away = np.abs(hsv[..., 0] - hue)
        found |= (np.minimum(away, 180 - away) < 8) & (hsv[..., 1] > 70) & (hsv[..., 2] > 40)
    return found


def hide_notes(page) -> None:
    """The page says that a CPU draws the scene, over the scene."""
    page.add_style_tag(content='.mantine-Notifications-root { display: none }')
