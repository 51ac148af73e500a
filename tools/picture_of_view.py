"""Draws docs/images/view.jpg: `cliff view` in headless Chromium (`python tools/picture_of_view.py [SECONDS]`).

Needs the extra `view`, playwright and a Chromium that is installed.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from cliff_ros.pipeline import Pipeline
from cliff_ros.sources import open_source
from cliff_ros.view.player import Player
from cliff_ros.view.viewer import Viewer

OUTPUT = Path(__file__).resolve().parents[1] / 'docs' / 'images' / 'view.jpg'
SIZE = {'width': 1400, 'height': 700}


def main(seconds: float) -> None:
    stop = threading.Event()
    player = Player(open_source('synthetic:3', loop=True), Pipeline())
    with Viewer(port=0) as viewer, sync_playwright() as playwright:
        thread = threading.Thread(target=player.play, args=(viewer, stop.is_set))
        thread.start()
        browser = playwright.chromium.launch(
            executable_path=shutil.which('chromium') or shutil.which('google-chrome'),
            args=['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'],
        )
        page = browser.new_page(viewport=SIZE)
        page.goto(viewer.url)
        page.wait_for_selector('#cliff-people tr[data-id]', timeout=60_000)
        time.sleep(seconds)
        viewer.look_from('beside the camera')  # people have moved since the page opened
        time.sleep(2)
        note = page.locator('.mantine-Notification-closeButton')  # that a CPU draws the scene, which it does here
        if note.count():
            note.first.click()
        time.sleep(2)
        picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        browser.close()
        stop.set()
        thread.join()
    cv2.imwrite(str(OUTPUT), picture, [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == '__main__':
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 15)
