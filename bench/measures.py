"""Figures from samples, and what the kernel knows of a process (Linux)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

WARM_UP = 0.1  # of a series of memory sizes: until then caches fill


def percentile(values: Sequence[float], share: float) -> float:
    return float(np.percentile(values, share))


def median(values: Sequence[float]) -> float:
    return float(np.median(values))


def fit_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """a, b of the least-squares line y = a + b x, relative errors weighing the same everywhere."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    b, a = np.polyfit(x, y, 1, w=1 / y)
    return float(a), float(b)


def growth(sizes: Sequence[float]) -> float:
    """By which share a series grew after its warm-up: a robust line's rise over its length, by its start.

    The slope is the median of the slopes between points half the series apart (Theil-Sen's idea), so a
    single peak does not count as growth, and a step does.
    """
    kept = np.asarray(sizes, float)[int(WARM_UP * len(sizes)) :]
    half = len(kept) // 2
    if half < 2:
        raise ValueError(f'{len(sizes)} sizes are too few to see growth')
    rise = float(np.median(kept[-half:] - kept[:half])) * len(kept) / (len(kept) - half)
    return rise / float(np.median(kept[:half]))


def cpu_seconds(pid: int) -> float:
    """CPU time a process has used in all its threads [s]."""
    # The name in parentheses may hold blanks.
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def memory(pid: int) -> float:
    """Memory that belongs to a process alone, without what it shares with others [MB]."""
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    sizes = {name: int(value.split()[0]) for name, _, value in (line.partition(':') for line in lines[1:])}
    return (sizes['Private_Clean'] + sizes['Private_Dirty']) / 1024
