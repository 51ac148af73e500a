"""Errors that a user can act on: each says what is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class CliffError(Exception):
    """Base of every error that this package raises on purpose."""

    code = ''


class InputError(CliffError, ValueError):
    """An image, CameraInfo, box or parameter that cannot be used.

    code: our own short name of what is wrong, by which it is counted; never holds anything of the input.
    """

    def __init__(self, message: str, code: str = '') -> None:
        super().__init__(message)
        self.code = code


class ModelError(CliffError, ValueError):
    """A network, body or engine file that is missing, damaged, unsafe or of an unknown form."""


class OutputError(CliffError, OSError):
    """A file or folder that cannot be written: the disk is full, or the place forbids it."""


@contextmanager
def keeping(unwritten: list[OutputError]) -> Iterator[None]:
    """One result of several: where it cannot be written, that is noted, and the others still are."""
    try:
        yield
    except OutputError as error:
        unwritten.append(error)


def raise_all(unwritten: list[OutputError]) -> None:
    """What was noted by `keeping`, as one error; nothing where that is nothing."""
    if unwritten:
        raise OutputError('; '.join(dict.fromkeys(str(error) for error in unwritten)))


class EngineError(CliffError, RuntimeError):
    """What runs the network failed: the GPU, its driver or its memory.

    lost: nothing can run on that device in this process any more; else the next image may do.
    """

    def __init__(self, message: str, lost: bool = False) -> None:
        super().__init__(message)
        self.lost = lost


class MissingExtra(CliffError, ImportError):
    """An optional library is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'cliff_ros[{extra}]'")
        self.extra = extra
