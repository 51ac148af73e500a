"""Files from outside looked at before they are read, and files of ours written so that nobody meets half of one."""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cliff_ros.errors import InputError, ModelError, OutputError

LARGEST = 1 << 31  # [bytes] SMPL with 300 shape directions has 250 MB, SMPL-X 540, ONNX ends at 2 GB
LARGEST_YAML = 1 << 16  # [bytes] a calibration has 1 kB, a training's configuration 5 kB
_DEEPEST_YAML = 20
_LARGEST_RATIO = 1100  # deflate cannot shrink by more than 1032


def check_regular(path: str | Path, most: int = LARGEST) -> None:
    """Look at a file before it is opened: a pipe would be waited for, a device never end.

    Raises
    ------
    ModelError
        for what is no regular file, or has more than ``most`` bytes; the sentence goes on after the file's name.
    OSError
        where there is none.
    """
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        kinds = ((stat.S_ISDIR, 'folder'), (stat.S_ISFIFO, 'pipe'), (stat.S_ISSOCK, 'socket'))
        kind = next((name for test, name in kinds if test(found.st_mode)), 'device')
        raise ModelError(f'is a {kind}, not a file: give the path of a file')
    if found.st_size > most:
        size = f'{most >> 30} GB' if most >> 30 else f'{most >> 10} kB'
        raise ModelError(f'has more than {size}, more than any file of its kind: check what it is')


def check_npz(path: str | Path, keys: Iterable[str] | None = None, most: int = LARGEST) -> None:
    """Look at what an ``.npz`` says of its arrays before any of them is given room.

    keys: of the arrays that will be read; None: all.

    Raises ModelError, whose sentence goes on after the file's name, where the sizes contradict each other (a bomb, a
    damaged file) or come to more than ``most`` bytes, or where an array holds anything but numbers and text; OSError.
    """
    check_regular(path)
    wanted, name, total = None if keys is None else {f'{key}.npy' for key in keys}, '', 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if wanted is not None and member.filename not in wanted:
                    continue
                name, total = member.filename, total + member.file_size
                if total > most:
                    raise ModelError(
                        f'unpacks to more than {most >> 20} MB, more than any file of its kind: get it from its authors'
                    )
                if member.file_size > _LARGEST_RATIO * (member.compress_size + 64):
                    raise ValueError(f'{member.file_size} bytes out of {member.compress_size}')
                with archive.open(member) as file:
                    _check_npy(file, member.file_size)
    except (ModelError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  a damaged file can fail in any way
        raise _damaged(error, f" in its array '{name.removesuffix('.npy')}'" if name else '') from None


def check_npy(path: str | Path) -> None:
    """As `check_npz`, of a ``.npy``."""
    check_regular(path)
    try:
        with open(path, 'rb') as file:
            _check_npy(file, os.fstat(file.fileno()).st_size)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged file can fail in any way
        raise _damaged(error) from None


def _damaged(error: Exception, where: str = '') -> ModelError:
    return ModelError(
        f'is damaged or holds more than numbers{where} ({_reason(error)}): nothing of it was run; '
        'get the file from its authors'
    )


def _check_npy(file, size: int) -> None:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, _, dtype = read(file)
    if dtype.hasobject or dtype.kind not in 'biufSU':
        raise ValueError(f'objects, {dtype}' if dtype.hasobject else f'the type {dtype}')
    if len(shape) > 8 or file.tell() + dtype.itemsize * math.prod(shape) != size:
        raise ValueError(f'{size} bytes for the shape {shape} of {dtype}')


class _Loader(yaml.SafeLoader):
    """Safe, without aliases (of which a few lines make billions of entries) and without endless depth."""

    depth = 0

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError('it repeats parts of itself by an alias (*), which is not read')
        if self.depth >= _DEEPEST_YAML:
            raise yaml.YAMLError('it is nested too deep')
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_yaml(path: str | Path) -> Any:
    """What a small YAML file holds: plain values, no aliases, not deeper than such files are.

    Raises OSError; InputError for what is no regular file or too large; ValueError, which says why it is not YAML.
    """
    try:
        check_regular(path, LARGEST_YAML)
    except ModelError as error:
        raise InputError(f"'{path}' {error}") from None
    try:
        return parse_yaml(Path(path).read_text(encoding='utf-8'))
    except UnicodeDecodeError:
        raise ValueError('it is no text in UTF-8') from None


def parse_yaml(text: str) -> Any:
    """As `read_yaml`, of a text."""
    try:
        return yaml.load(text, _Loader)
    except Exception as error:  # noqa: BLE001  PyYAML lets ValueError and others out of damaged numbers and dates
        raise ValueError(_reason(error)) from None


def _reason(error: Exception) -> str:
    return (' '.join(str(error).split()) or type(error).__name__)[:200]


@contextmanager
def write_aside(path: str | Path, sync: bool = True) -> Iterator[Path]:
    """Write a file under the name that this yields; whoever reads ``path`` meets the old file or the whole new one.

    Also where the disk is full or the process is told to end: then ``path`` stays as it was. Makes the folder. The
    yielded name has the same suffix and holds '.partial'.

    sync: wait until it is on the disk; not for what can be made again, such as gigabytes of rendered crops.

    Raises OutputError where it cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    partial = path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.is_file():  # /dev/stdout and pipes are written as they are
            partial = path.with_name(f'{path.stem[:100]}.{os.getpid()}.partial{path.suffix}')
        yield partial
        if partial is not path:
            if sync:
                with open(partial, 'rb') as file:
                    os.fsync(file.fileno())  # some file systems tell only now that they are full
            partial.replace(path)
    except OutputError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if partial is not path:
            with suppress(OSError):
                partial.unlink()


def unwritable(path: str | Path, error: OSError) -> OutputError:
    """The sentence for a file that cannot be written."""
    return OutputError(
        f"'{path}' cannot be written ({error.strerror or error}): make room there, or choose another place"
    )


def write_bytes(path: str | Path, content: bytes) -> None:
    """All or nothing; OutputError."""
    with write_aside(path) as partial:
        partial.write_bytes(content)


def write_json(path: str | Path, content: Any) -> None:
    """A report: all or nothing; OutputError."""
    write_bytes(path, (json.dumps(content, indent=2) + '\n').encode())


def save_tensors(content: Any, path: Path) -> None:
    """``torch.save`` that says as OSError what PyTorch calls a RuntimeError: that there is no room."""
    import torch

    with open(path, 'wb') as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            raise OSError(None, f'{str(error).splitlines()[0]}; is the disk full?') from error


def make_folder(path: Path) -> None:
    """A folder to write into; OutputError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def for_library(path: str | Path) -> str:
    """A path for OpenCV, which ends the process on one that is no UTF-8. InputError for such."""
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode('utf-8', 'backslashreplace').decode()
        raise InputError(f"The name '{shown}' is not UTF-8, which OpenCV needs: rename the file or folder.") from None
    return text


def read_image(path: str | Path, flags: int) -> np.ndarray | None:
    """An image file as ``cv2.imread`` gives it, (H, W, 3) BGR uint8 or as the flags say, under any name; None where it
    is not one."""
    import cv2

    try:
        check_regular(path)
        content = np.fromfile(path, np.uint8)
        return cv2.imdecode(content, flags) if content.size else None
    except (ModelError, OSError, cv2.error):
        return None
