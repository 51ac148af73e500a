"""Rendered crops and stills on disk: images and labels, deterministic per number. Nothing here needs PyTorch."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from cliff_ros.files import write_aside
from cliff_ros.synthetic import crops
from cliff_ros.synthetic.stills import StillSampler

SHARD_SIZE = 4000
VALIDATION_SHARD = 900_001  # seeds from here on are never trained on
# (width, height) of what the network sees, and the rows of it that are image: 4:3, 16:9, upright 9:16
SIZES = ((384, 288, 288), (384, 224, 216), (224, 384, 384))
PADDING = 114


def shard_path(folder: Path, shard: int) -> Path:
    """The file of a shard, whether it exists or not."""
    return folder / f'crops_{shard:06d}.npz'


def render_shard(folder: Path, shard: int, count: int = SHARD_SIZE, **options) -> Path:
    """Render one shard unless it exists. The shard's number is its seed; `options` are CropSampler's."""
    path = shard_path(folder, shard)
    if not path.exists():
        images, labels = crops.generate(shard, count, **options)
        with write_aside(path, sync=False) as partial:
            np.savez(partial, images=images, labels=labels)
    return path


def render(folder: Path, first: int, count: int, workers: int, size: int = SHARD_SIZE, **options) -> None:
    """Render shards first .. first + count - 1 with several processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(render_shard, folder, shard, size, **options) for shard in range(first, first + count)]
        for job in tqdm(as_completed(jobs), total=count, desc='rendering', unit='shard'):
            job.result()


def load_shard(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, h, w, 3) uint8 RGB and labels (N,) of dtype `synthetic.crops.LABEL`."""
    with np.load(path) as file:
        return file['images'], file['labels']


def render_stills(sampler: StillSampler, path: Path, count: int) -> None:
    """Render frames of all sizes into one file: images_<i>, and boxes as rows (frame, x0, y0, x1, y1, asked for)."""
    arrays: dict[str, np.ndarray] = {}
    for k, (width, height, rows_seen) in enumerate(SIZES):
        images = np.full((count // len(SIZES), height, width, 3), PADDING, np.uint8)
        rows = []
        for i in range(len(images)):
            # Drawn larger and shrunk, as a camera's image is: edges and small people look the same.
            zoom = float(sampler.rng.choice([1.0, 1.25, 5 / 3]))
            image, asked, ignored = sampler.sample(int(width * zoom), int(rows_seen * zoom))
            images[i, :rows_seen] = cv2.resize(image, (width, rows_seen), interpolation=cv2.INTER_AREA)
            for boxes, flag in ((asked, 1), (ignored, 0)):
                shrunk = (boxes + 0.5) / zoom - 0.5
                rows.append(np.column_stack([np.full(len(boxes), i), shrunk, np.full(len(boxes), flag)]))
        arrays |= {f'images_{k}': images, f'boxes_{k}': np.concatenate(rows).astype(np.float32)}
    with write_aside(path, sync=False) as partial:
        np.savez(partial, **arrays)  # type: ignore[arg-type]  # NumPy calls one of its options allow_pickle
