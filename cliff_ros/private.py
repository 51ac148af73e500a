"""Files that show people are the user's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def private_files() -> Iterator[None]:
    """Nobody else may read what this process, and the children that it starts, write meanwhile."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
