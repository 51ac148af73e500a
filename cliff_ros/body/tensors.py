"""Constant tensors on the device that uses them, made once: each new one would make a GPU and its program wait."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor


def index(device: torch.device, numbers: Sequence[int] | np.ndarray) -> Tensor:
    """int64 (N,): what to index another tensor with."""
    return _constant(device, tuple(map(int, numbers)), torch.int64)


def constant(device: torch.device, numbers: Sequence[Any]) -> Tensor:
    """float32 of (nested) numbers. Nobody may change it."""
    return _constant(device, _frozen(numbers), torch.float32)


def _frozen(numbers: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(_frozen(n) if isinstance(n, (list, tuple)) else n for n in numbers)


@cache
def _constant(device: torch.device, numbers: tuple[Any, ...], dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False), warnings.catch_warnings():  # else nothing that has a gradient could use it
        warnings.simplefilter('ignore', torch.jit.TracerWarning)  # they are constants of a traced graph
        return torch.from_numpy(np.array(numbers, np.int64 if dtype == torch.int64 else np.float32)).to(device)


forget = _constant.cache_clear
