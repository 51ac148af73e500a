"""Held-out rendered scenes: people in everyday poses who face any way, before cameras of many kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cliff_ros.errors import InputError
from cliff_ros.synthetic.stills import Still, StillSampler

# Training never reaches seeds this high, so nothing here was trained on.
FIRST_SEED = 2_000_000
SMALLEST = 64  # [px]
LEAST_VISIBLE = 0.2  # of a person's height: a head


class SyntheticScenes:
    """Still images, independent of each other; the same for the same arguments.

    seed: from 0. frames: how many. sizes: (width, height) [px] of the images, in turns. look: see StillSampler.
    visible: of everybody only the upper part is in the image, so much of their height; None: people mostly whole.
    """

    def __init__(
        self,
        seed: int,
        frames: int,
        sizes: Sequence[tuple[int, int]] = ((640, 480), (1280, 720)),
        look: str = 'plain',
        visible: float | None = None,
    ) -> None:
        if frames < 1:
            raise InputError(f'the number of frames must be at least 1, not {frames}')
        if seed < 0:
            raise InputError(f'the seed must be at least 0, not {seed}')
        if not sizes or min(min(size) for size in sizes) < SMALLEST:
            raise InputError(f'images must be at least {SMALLEST} pixels wide and high: give larger sizes')
        if visible is not None and not LEAST_VISIBLE <= visible < 1:
            raise InputError(f'the visible share of people must be from {LEAST_VISIBLE} to below 1, not {visible}')
        self.seed, self.frames, self.sizes, self.look, self.visible = seed, frames, tuple(sizes), look, visible

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[Still]:
        sampler = StillSampler(FIRST_SEED + self.seed, everyday=True, look=self.look, visible=self.visible)
        for index in range(self.frames):
            yield sampler.scene(*self.sizes[index % len(self.sizes)])
