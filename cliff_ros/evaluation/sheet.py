"""Pictures of an evaluation: what was found over what was there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from cliff_ros.evaluation.datasets import Sample
from cliff_ros.people import People
from cliff_ros.render.overlay import draw_box, draw_people, draw_skeleton
from cliff_ros.render.sheet import contact_sheet, save_png

_TRUTH, _IGNORED = (255, 255, 255), (150, 150, 150)
_TILE = (640, 480)  # [px] width, height


class Sheet:
    """Draws ``wanted`` of ``total`` images, evenly spaced, on one page. faces: (F, 3) of the body."""

    def __init__(self, faces: np.ndarray, total: int, wanted: int = 12) -> None:
        self._faces = faces
        self._chosen = set(np.linspace(0, total - 1, min(wanted, total)).round().astype(int).tolist())
        self._tiles: list[np.ndarray] = []
        self._captions: list[str] = []

    def add(self, index: int, sample: Sample, people: People) -> None:
        """Offer an image: meshes are what was found, white skeletons the truth, dashed boxes who is not asked for."""
        if index not in self._chosen:
            return
        self._tiles.append(_fit(draw_sample(sample, people, self._faces)))
        self._captions.append(f'{index}: {len(people)} found, {len(sample.people)} asked for')

    def save(self, path: Path, title: str) -> bool:
        """Write the page as PNG; False where nothing was drawn."""
        if self._tiles:
            save_png(path, contact_sheet(self._tiles, self._captions, title=title))
        return bool(self._tiles)


def draw_sample(sample: Sample, people: People, faces: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB: meshes are what was found, white skeletons the truth, dashed boxes who is not asked for."""
    # Ids only count up from image to image: here they say who is who in one picture.
    numbered = people.with_(id=np.arange(len(people)))
    picture = draw_people(sample.image, numbered, sample.camera, faces)
    for person in sample.people:
        draw_skeleton(picture, person.joints2d, _TRUTH, thickness=1)
    for box in sample.ignored:
        draw_box(picture, box, _IGNORED, dashed=True)
    return picture


def _fit(picture: np.ndarray) -> np.ndarray:
    """The picture in the middle of a tile of the common size."""
    height, width = picture.shape[:2]
    scale = min(_TILE[0] / width, _TILE[1] / height)
    small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    tile = np.zeros((_TILE[1], _TILE[0], 3), np.uint8)
    top, left = (_TILE[1] - small.shape[0]) // 2, (_TILE[0] - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    return tile
