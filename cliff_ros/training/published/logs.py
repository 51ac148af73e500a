"""Where the figures of a training go: JSON Lines always, TensorBoard where it is installed."""

from __future__ import annotations

import json
import math
from pathlib import Path


class Scalars:
    """Writes named numbers by step to ``scalars.jsonl`` and to TensorBoard's files in the same folder."""

    def __init__(self, folder: Path, start: int) -> None:
        path = folder / 'scalars.jsonl'
        if path.exists():  # what a stopped training logged after its last checkpoint comes again
            lines = [line for line in path.read_text().splitlines() if _step(line) <= start]
            path.write_text(''.join(line + '\n' for line in lines))
        self._file = path.open('a')
        self._board = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(folder / 'tensorboard'), purge_step=start + 1)

    @property
    def has_tensorboard(self) -> bool:
        """Whether TensorBoard's files are written too."""
        return self._board is not None

    def write(self, step: int, figures: dict[str, float]) -> None:
        """One line, after that many steps; names with a slash (``train/loss``) become TensorBoard's sections."""
        finite = {name: value if math.isfinite(value) else None for name, value in figures.items()}  # JSON has no inf
        self._file.write(json.dumps({'step': step, **finite}) + '\n')
        self._file.flush()
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close ``scalars.jsonl`` and TensorBoard's files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _step(line: str) -> float:
    """The step of a line; a line cut short by a crash belongs to none."""
    try:
        return json.loads(line)['step']
    except (ValueError, KeyError, TypeError):
        return float('inf')
