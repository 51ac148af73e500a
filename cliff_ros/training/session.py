"""What all processes of a training share: its settings, the shares of its time, the log."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cliff_ros.cliff.embedded import BLOCKS, WIDTHS
from cliff_ros.errors import InputError
from cliff_ros.training import detector
from cliff_ros.training.progress import Clock
from cliff_ros.training.rendering import Plan

# Of the time from the first second to the last file; stages of the same process follow each other.
KEYPOINTS, FEATURES, REGRESSOR = (0.0, 0.70), (0.70, 0.77), (0.77, 0.94)
SKELETONS, DETECTOR = (0.0, 0.2), (0.2, 0.9)


@dataclass(frozen=True)
class Settings:
    """work: of data and checkpoints; output: of the finished graphs; seconds: from the start to the last file.

    record: of weights, the log, and graphs that are not finished.

    workers: processes in all, two of which train; device: 'auto', 'cpu' or 'cuda'; start: the runtime graph of an
    embedded network whose training goes on; None: from nothing, with an encoder of `encoder`'s options. first: number
    and seed of the first crops. keep: leave what is rendered where a second start finds it. looks: strength of the
    augmentation. plan: of the renderers, other than by default.
    """

    work: Path
    output: Path
    record: Path
    seconds: float
    workers: int = 2
    device: str = 'auto'
    start: Path | None = None
    encoder: dict = field(default_factory=lambda: dict(widths=WIDTHS, middle=64, blocks=BLOCKS))
    detector: dict = field(default_factory=lambda: dict(widths=detector.WIDTHS, dilations=detector.DILATIONS))
    first: int = 0
    keep: bool = True
    looks: float = 1.0
    batch: int = 0
    plan: dict = field(default_factory=dict)

    @property
    def torch_device(self) -> torch.device:
        """The device to train on: for 'auto' the GPU, where there is one. InputError for 'cuda' without a GPU."""
        if self.device == 'auto':
            return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        if self.device == 'cuda' and not torch.cuda.is_available():
            raise InputError('--device cuda: PyTorch finds no GPU here: use --device cpu, or a PyTorch for your GPU')
        return torch.device(self.device)

    def render_plan(self) -> Plan:
        """What is rendered, into ``rendered`` in the folder `work`; `plan` replaces its defaults."""
        return Plan(self.work / 'rendered', self.first, **self.plan)


class Log:
    """Lines with the time on the clock, on the screen and in a file."""

    def __init__(self, clock: Clock, path: Path, name: str = '') -> None:
        self.clock, self.path, self.name = clock, path, name

    def __call__(self, *words: object) -> None:
        """Print the words as one line and append it to the file; a file that cannot be written is no error."""
        line = f'[{self.clock.elapsed:7.1f} s] ' + ' '.join(map(str, words))
        print(line, flush=True)
        with contextlib.suppress(OSError), self.path.open('a') as file:
            file.write(line + '\n')


def prepare(device: torch.device, workers: int) -> None:
    """What a process that trains sets once: two of them share the cores with the renderers."""
    torch.set_num_threads(2 if device.type == 'cuda' else max(1, workers // 2))
    torch.set_flush_denormal(True)  # decayed weights are denormal in the end, and those cost many times the others
    if device.type == 'cuda':
        torch.backends.cudnn.benchmark = True


def describe(device: torch.device) -> str:
    """The GPU's name or the number of CPU threads, and PyTorch's version: for the log."""
    if device.type == 'cuda':
        return f'{torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}'
    return f'{torch.get_num_threads()} CPU threads, PyTorch {torch.__version__}'


def free_memory() -> float:
    """Bytes that a process may take."""
    with open('/proc/meminfo') as file:
        for line in file:
            if line.startswith('MemAvailable'):
                return int(line.split()[1]) * 1024.0
    return 4e9
