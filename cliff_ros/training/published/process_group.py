"""The processes of one training: one without torchrun, several with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from cliff_ros.errors import InputError


@dataclass(frozen=True)
class ProcessGroup:
    """This process' place among those of the training, and its device."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that talks and writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def all_gather(self, value: Any) -> list:
        """A value of every process, in every process."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """The group of this process: torchrun's where it was started by it. device: auto, cpu or cuda."""
    has_gpu = torch.cuda.is_available()
    if device == 'cuda' and not has_gpu:
        raise InputError("'device' is cuda, but PyTorch finds no GPU: use auto or cpu, or install PyTorch for CUDA")
    kind = 'cuda' if has_gpu and device != 'cpu' else 'cpu'
    size = int(os.environ.get('WORLD_SIZE', '1'))
    local = int(os.environ.get('LOCAL_RANK', '0'))
    where = torch.device(kind, local) if kind == 'cuda' else torch.device('cpu')
    if kind == 'cuda':
        if local >= torch.cuda.device_count():
            raise InputError(
                f'there are {torch.cuda.device_count()} GPUs for more processes: start torchrun with '
                f'--nproc-per-node {torch.cuda.device_count()}'
            )
        torch.cuda.set_device(where)
    if size == 1:
        yield ProcessGroup(where)
        return
    dist.init_process_group('nccl' if kind == 'cuda' else 'gloo')
    try:
        yield ProcessGroup(where, dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
