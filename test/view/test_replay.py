"""The page that plays a recording from disk, in a real browser."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from browser import chromium, hide_notes, of_colors

pytest.importorskip('viser', reason="needs the extra 'view'")

from cliff_ros.body import load_body
from cliff_ros.record import Recorders, Take
from cliff_ros.render.colors import color_of
from cliff_ros.synthetic import Sequence


def test_a_replay_opens_from_disk_asks_for_nothing_and_moves(tmp_path):
    scene = Sequence(seed=4, width=320, height=180, fps=4.0, seconds=3, people=2)
    recorders = Recorders(['html'], tmp_path, load_body(), 4.0)
    for i in range(len(scene)):
        recorders.add(Take(round(i * 0.25e9), scene.camera, scene.truth(i), scene.image(i)))
    (path,) = recorders.close([])
    assert path.stat().st_size < 4 << 20
    colors = [color_of(person.id) for person in scene.truth(0)]
    with chromium() as browser:
        page = browser.new_page(viewport={'width': 320, 'height': 240})
        asked: list[str] = []
        page.on('request', lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        hide_notes(page)
        seen: list[np.ndarray] = []
        end = time.monotonic() + 90
        while time.monotonic() < end and not (len(seen) > 1 and np.mean(seen[0] ^ seen[-1]) > 0.001):
            picture = cv2.imdecode(np.frombuffer(page.screenshot(timeout=90_000), np.uint8), cv2.IMREAD_COLOR)
            found = of_colors(picture[..., ::-1], colors)
            if found.mean() > 0.002:  # people are there
                seen.append(found)
        assert len(seen) > 1 and np.mean(seen[0] ^ seen[-1]) > 0.001  # and somewhere else than before
        assert {url.partition(':')[0] for url in asked} <= {'file', 'data', 'blob'}
