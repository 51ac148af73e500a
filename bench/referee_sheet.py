"""Contact sheets of a clip for `bench.referee`: our meshes and the referee's limbs, on gray or on the recording."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from bench.agreement import Clip
from cliff_ros.body import load_body
from cliff_ros.camera import Camera
from cliff_ros.render.colors import color_of
from cliff_ros.render.overlay import to_pinhole
from cliff_ros.render.raster import shade
from cliff_ros.render.sheet import contact_sheet, save_png

LIMBS = [
    (11, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
    (11, 23),
    (12, 24),
    (23, 24),
    (23, 25),
    (25, 27),
    (24, 26),
    (26, 28),
    (27, 31),
    (28, 32),
    (0, 7),
    (0, 8),
]  # MediaPipe's
GRAY = 70
LONGEST = 900  # [px] of a tile before it is shrunk to the page


def save(path: Path, clip: Clip, camera: Camera, video: Path | None, title: str, count: int = 24) -> None:
    """Frames of the clip evenly spaced, as PNG, or smaller as JPEG. video: draw on its frames; None: on gray."""
    frames = sorted(set(np.linspace(0, len(clip.judged) - 1, count).round().astype(int).tolist()))
    pictures = _frames(video, set(frames)) if video else {}
    body, tiles, captions = load_body(), [], []
    for n in frames:
        blank = np.full((camera.height, camera.width, 3), GRAY, np.uint8)
        image = draw(clip, n, camera, body, pictures.get(n, blank))
        scale = min(1.0, LONGEST / max(image.shape[:2]))
        tiles.append(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        judged = clip.judged[n]
        captions.append(f'{n}: {len(judged.rows)} reported, {judged.too_many} too many')
    title = f'{title}; white: the referee'
    if path.suffix == '.jpg':
        page = contact_sheet(tiles, captions, title=title, width=1400, columns=4)
        cv2.imwrite(str(path), cv2.cvtColor(page, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    else:
        save_png(path, contact_sheet(tiles, captions, title=title))


def draw(clip: Clip, n: int, camera: Camera, body, image: np.ndarray) -> np.ndarray:
    """Frame n with meshes and limbs, drawn into the image (H, W, 3) uint8 RGB."""
    image, people, rows = np.ascontiguousarray(image), clip.people, clip.judged[n].rows
    depth = np.zeros(image.shape[:2], np.float32)
    if len(rows):
        _, vertices = body(*(people[name][rows].astype(np.float64) for name in ('betas', 'rotations', 'translation')))
        for row, mesh in zip(rows, vertices, strict=True):
            shade(
                to_pinhole(mesh, camera),
                body.faces,
                camera.f,
                camera.cx,
                camera.cy,
                image,
                color_of(int(people['id'][row])),
                1.0,
                depth=depth,
            )
    for points in clip.judged[n].referee:
        for a, b in LIMBS:
            start, end = (tuple(points[k, :2].round().astype(int).tolist()) for k in (a, b))
            cv2.line(image, start, end, (255, 255, 255), max(2, camera.height // 300), cv2.LINE_AA)
    return image


def _frames(video: Path, wanted: set[int]) -> dict[int, np.ndarray]:
    """Frames of a video, RGB."""
    capture, pictures, n = cv2.VideoCapture(str(video)), {}, 0
    while wanted - set(pictures) and (read := capture.read())[0]:
        if n in wanted:
            pictures[n] = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
        n += 1
    return pictures
