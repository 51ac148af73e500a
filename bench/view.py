"""What the page in the browser costs, and how fast it is: ``python -m bench.view`` (docs/view.md; needs `view`).

first picture: from the start of ``cliff view synthetic`` as a process to the first image in a browser's socket, and the
CPU time that took, which is what counts on a machine that others use. rate:
images a second that reach it, two people at 1280x720, sent at 15 Hz. nobody looks: CPU of the calling thread and of the
whole process for each `Viewer.show`, without a browser. page: JavaScript heap of a headless Chromium over some time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # as the installed programs do

import numpy as np

from cliff_ros.body import load_body
from cliff_ros.synthetic import Sequence
from cliff_ros.view.moment import Moment
from cliff_ros.view.viewer import Viewer

RATE = 15.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=20.0, help='of each measurement')
    parser.add_argument('--page-seconds', type=float, default=60.0, help='of the page in Chromium; 0: not measured')
    args = parser.parse_args()
    moments = _moments()
    report = _first_picture()
    with Viewer(port=0) as viewer:
        report |= _nobody_looks(viewer, moments, args.seconds)
        report |= _rate(viewer, moments, args.seconds)
        if args.page_seconds:
            report |= _page(viewer, moments, args.page_seconds)
    print(json.dumps(report, indent=2))


def _moments() -> list[Moment]:
    scene = Sequence(seed=3, width=1280, height=720, fps=RATE, seconds=3, people=2)
    body = load_body()
    moments = []
    for i in range(len(scene)):
        people = [person.with_(vertices=None) for person in scene.truth(i)]
        moments.append(Moment(scene.camera, people, body, scene.image(i), i / RATE, 20.0))
    return moments


def _connect(port: int):
    import viser
    from websockets.sync.client import connect

    return connect(f'ws://127.0.0.1:{port}', subprotocols=[f'viser-v{viser.__version__}'], max_size=None)


def _hello(socket) -> None:
    """What a page says first: where its eye is."""
    import msgspec

    camera = dict(
        type='ViewerCameraMessage', wxyz=(1.0, 0, 0, 0), position=(0.0, 0, 0), image_height=600, image_width=800,
        fov=1.0, near=0.01, far=100.0, look_at=(0.0, 0, 1), up_direction=(0.0, 0, 1),
    )  # fmt: skip
    socket.send(msgspec.msgpack.encode(camera))


def _images(socket, seconds: float) -> int:
    """How many pictures of the camera's frustum arrive; the panel's are packed."""
    end, count = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        try:
            count += len(re.findall(b'\xff\xd8\xff\xe0', socket.recv(timeout=left)))
        except TimeoutError:
            break
    return count


def _first_picture() -> dict:
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, '-m', 'cliff_ros.cli', 'view', 'synthetic', '--port', '0'], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(re.search(r':(\d+)', child.stdout.readline().partition('//')[2]).group(1))
        with _connect(port) as socket:
            _hello(socket)
            # The page's own gray picture before anything is known is smaller than 3 kB.
            while max(map(len, re.split(b'\xff\xd8\xff\xe0', socket.recv(timeout=60)))) < 20_000:
                pass
            wall = time.monotonic() - began
            ticks = Path(f'/proc/{child.pid}/stat').read_text().rpartition(')')[2].split()[11:13]
            cpu = sum(map(int, ticks)) / os.sysconf('SC_CLK_TCK')
            return {'first_picture_s': round(wall, 2), 'first_picture_cpu_s': round(cpu, 2)}
    finally:
        child.terminate()
        child.wait()


def _feed(viewer: Viewer, moments: list[Moment], seconds: float) -> threading.Thread:
    def run() -> None:
        began = time.monotonic()
        for i in range(int(seconds * RATE)):
            viewer.show(moments[i % len(moments)])
            time.sleep(max(0.0, began + (i + 1) / RATE - time.monotonic()))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def _nobody_looks(viewer: Viewer, moments: list[Moment], seconds: float) -> dict:
    cpu = time.process_time()
    _feed(viewer, moments, seconds).join()
    return {'nobody_looks_percent_of_a_core': round(100 * (time.process_time() - cpu) / seconds, 3)}


def _rate(viewer: Viewer, moments: list[Moment], seconds: float) -> dict:
    with _connect(viewer.port) as socket:
        _hello(socket)
        while not viewer.watched:
            time.sleep(0.01)
        cpu, drawn = time.process_time(), viewer.drawn
        thread = _feed(viewer, moments, seconds)
        images = _images(socket, seconds)
        thread.join()
        return {
            'sent_hz': RATE,
            'drawn_hz': round((viewer.drawn - drawn) / seconds, 2),
            'received_hz': round(images / seconds, 2),
            'somebody_looks_percent_of_a_core': round(100 * (time.process_time() - cpu) / seconds, 1),
        }


def _page(viewer: Viewer, moments: list[Moment], seconds: float) -> dict:
    from playwright.sync_api import sync_playwright

    path = shutil.which('chromium') or shutil.which('google-chrome')
    if path is None:
        return {'page': 'no Chromium here'}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader',
                  '--js-flags=--expose-gc', '--enable-precise-memory-info'],
        )  # fmt: skip
        page = browser.new_page(viewport={'width': 1100, 'height': 320})
        page.goto(viewer.url)
        thread = _feed(viewer, moments, seconds + 5)
        page.wait_for_selector('#cliff-people tr[data-id]', timeout=60_000)
        heap = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(10.0, seconds / 4))
            heap.append(page.evaluate('() => performance.memory.usedJSHeapSize') / 1e6)
        page.evaluate('() => window.gc && window.gc()')
        after = page.evaluate('() => performance.memory.usedJSHeapSize') / 1e6
        browser.close()
        thread.join()
    return {
        'page_heap_mb_max': round(max(heap), 1),
        'page_heap_mb_over_time': [round(value, 1) for value in heap],
        'page_heap_mb_after_collection': round(after, 1),
        'cpus': os.cpu_count(),
        'page_seconds': seconds,
        'picture_bytes': int(np.prod(moments[0].image.shape)),
    }


if __name__ == '__main__':
    main()
