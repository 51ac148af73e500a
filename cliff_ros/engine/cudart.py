"""The few calls of the CUDA runtime that an engine needs, through ctypes.

The runtime library comes with every TensorRT; Python bindings for it do not (least of all on a Jetson).
"""

from __future__ import annotations

import ctypes
import glob
import os
from collections.abc import Callable, Mapping
from ctypes.util import find_library
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from cliff_ros.errors import EngineError

TO_DEVICE, TO_HOST, ON_DEVICE = 1, 2, 3  # cudaMemcpyKind
ALIGNMENT = 256  # what TensorRT wants of tensor addresses
_NON_BLOCKING = 1  # cudaStreamNonBlocking: no waiting for the legacy default stream
_THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal: other threads may use CUDA meanwhile
_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # cudaDeviceAttr


class CudaError(EngineError):
    """The GPU, its driver or its memory failed."""


def call(function: str, *arguments: Any) -> None:
    """Call a function of the CUDA runtime by its name; CudaError where it fails."""
    status = getattr(_library(), function)(*arguments)
    if status != 0:
        _library().cudaGetErrorString.restype = ctypes.c_char_p
        raise error_of(function, status, _library().cudaGetErrorString(status).decode())


def error_of(function: str, status: int, text: str) -> CudaError:
    """The error for a status of the CUDA runtime. All but a lack of memory stay for the life of the process."""
    if status == _OUT_OF_MEMORY:
        return CudaError(
            f'the GPU has too little memory ({function}: {text}): lower max_people, or choose the engine onnx'
        )
    if function == 'cudaSetDevice':
        return CudaError(
            f'no NVIDIA GPU can be used ({function} failed: {text}): install its driver, or choose the engine onnx',
            lost=True,
        )
    return CudaError(
        f'the GPU failed ({function} failed: {text}): look at its driver (dmesg, nvidia-smi), then start '
        f'again, or choose the engine onnx',
        lost=True,
    )


def use_device(device: int = 0) -> None:
    """Make a GPU the calling thread's; CudaError where there is none."""
    call('cudaSetDevice', ctypes.c_int(device))


def device_name(device: int = 0) -> str:
    """As in 'NVIDIA H100'."""
    # cudaDeviceProp has grown with every version, but always begins with char name[256].
    properties = ctypes.create_string_buffer(16384)
    call('cudaGetDeviceProperties', properties, ctypes.c_int(device))
    return properties.value.decode()


def compute_capability(device: int = 0) -> str:
    """As in '8.7'."""
    values = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        value = ctypes.c_int()
        call('cudaDeviceGetAttribute', ctypes.byref(value), ctypes.c_int(attribute), ctypes.c_int(device))
        values.append(value.value)
    return '{}.{}'.format(*values)


class Stream:
    """A queue of work on the GPU."""

    def __init__(self) -> None:
        self.handle = ctypes.c_void_p()
        call('cudaStreamCreateWithFlags', ctypes.byref(self.handle), ctypes.c_uint(_NON_BLOCKING))

    def synchronize(self) -> None:
        """Wait for all that was queued. Errors of earlier work come out here."""
        call('cudaStreamSynchronize', self.handle)

    def copy(self, target: int, source: int, size: int) -> None:
        """Queue a copy within the GPU's memory."""
        call(
            'cudaMemcpyAsync',
            ctypes.c_void_p(target),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size),
            ctypes.c_int(ON_DEVICE),
            self.handle,
        )

    def record(self, work: Callable[[], None]) -> Graph | None:
        """What ``work`` queues here, to be launched later as one; None where it holds what cannot be recorded.

        Nothing is run. ``work`` must have run here before, unrecorded: libraries allocate when first called.
        """
        graph, launchable = ctypes.c_void_p(), ctypes.c_void_p()
        try:
            call('cudaStreamBeginCapture', self.handle, ctypes.c_int(_THREAD_LOCAL))
            try:
                work()
            finally:
                call('cudaStreamEndCapture', self.handle, ctypes.byref(graph))
            # By this name the call is the same in CUDA 11.4 to 13.
            call('cudaGraphInstantiateWithFlags', ctypes.byref(launchable), graph, ctypes.c_ulonglong(0))
        except EngineError:
            _library().cudaGetLastError()  # an attempt that failed must not fail the next call
            return None
        finally:
            if graph:
                _library().cudaGraphDestroy(graph)
        return Graph(launchable)

    def __del__(self) -> None:
        if getattr(self, 'handle', None):
            _library().cudaStreamDestroy(self.handle)


class Graph:
    """Recorded work."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self._handle = handle

    def launch(self, stream: Stream) -> None:
        """Queue all of it."""
        call('cudaGraphLaunch', self._handle, stream.handle)

    def __del__(self) -> None:
        _library().cudaGraphExecDestroy(self._handle)


class Block:
    """Memory on the GPU and as much of the host's, pinned so that copies do not pass through another buffer.

    address: on the GPU. host: (size,) uint8.
    """

    def __init__(self, size: int) -> None:
        self._device, self._host = ctypes.c_void_p(), ctypes.c_void_p()
        call('cudaMalloc', ctypes.byref(self._device), ctypes.c_size_t(size))
        call('cudaHostAlloc', ctypes.byref(self._host), ctypes.c_size_t(size), ctypes.c_uint(0))
        self.address = self._device.value or 0
        self.host = np.ctypeslib.as_array(ctypes.cast(self._host, ctypes.POINTER(ctypes.c_uint8)), (size,))

    def copy(self, kind: int, size: int, stream: Stream) -> None:
        """Queue a copy of the first ``size`` bytes, `TO_DEVICE` or `TO_HOST`."""
        pair = (self._device, self._host) if kind == TO_DEVICE else (self._host, self._device)
        call('cudaMemcpyAsync', *pair, ctypes.c_size_t(size), ctypes.c_int(kind), stream.handle)

    def __del__(self) -> None:
        if getattr(self, '_device', None):
            _library().cudaFree(self._device)
        if getattr(self, '_host', None):
            _library().cudaFreeHost(self._host)


def pack(sizes: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Where buffers of these sizes lie in one block, in their order, and how large it is [bytes]."""
    offsets, end = {}, 0
    for name, size in sizes.items():
        offsets[name] = end
        end += -(-size // ALIGNMENT) * ALIGNMENT
    return offsets, end


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    candidates = [find_library('cudart'), 'libcudart.so']
    candidates += _newest_first('/usr/local/cuda*/lib64/libcudart.so*')
    if (wheels := find_spec('nvidia')) is not None:
        for folder in wheels.submodule_search_locations or ():
            candidates += _newest_first(os.path.join(folder, '*', 'lib', 'libcudart.so*'))
    for name in filter(None, candidates):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise CudaError(
        'the CUDA runtime (libcudart.so) was not found: install it (pip install '
        'nvidia-cuda-runtime-cu12, or cuda-cudart of the system), or choose the engine onnx'
    )


def _newest_first(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern), reverse=True)
