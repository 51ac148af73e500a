"""Rendered crops on disk: shards of images and labels, made in parallel, deterministic per shard number."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cliff_ros.synthetic import crops

SHARD_SIZE = 4000
VALIDATION_SHARD = 900_001  # seeds from here on are never trained on


def shard_path(folder: Path, shard: int) -> Path:
    return folder / f'crops_{shard:06d}.npz'


def render_shard(folder: Path, shard: int, count: int = SHARD_SIZE, **options) -> Path:
    """Render one shard unless it exists. The shard's number is its seed; `options` are CropSampler's."""
    path = shard_path(folder, shard)
    if not path.exists():
        images, labels = crops.generate(shard, count, **options)
        partial = path.with_suffix('.partial.npz')
        np.savez(partial, images=images, labels=labels)
        partial.rename(path)  # a reader never meets half a file
    return path


def render(folder: Path, first: int, count: int, workers: int, size: int = SHARD_SIZE,
           **options) -> None:
    """Render shards first .. first + count - 1 with several processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(render_shard, folder, shard, size, **options) for shard in range(first, first + count)]
        for job in tqdm(as_completed(jobs), total=count, desc='rendering', unit='shard'):
            job.result()


def load_shard(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as file:
        return file['images'], file['labels']
