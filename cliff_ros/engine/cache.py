"""Built engines, kept between starts.

Building takes minutes, and a built engine fits one graph, one TensorRT and one kind of GPU. The key holds
everything that matters; it is compared when a file is read, so a file that was renamed, left from an
older version, cut off or damaged is never run but built anew. TensorRT runs what is in an engine as a program: one
that somebody else could have written is not read either.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from cliff_ros.errors import ModelError
from cliff_ros.files import check_regular
from cliff_ros.graph.metadata import ENGINE_SUFFIX, GraphMetadata

FORMAT = 2
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """What a built engine depends on.

    graph: SHA-256 of the ONNX file; tensorrt: version; gpu: name; capability: 'major.minor' of the GPU;
    precision: of the encoder's trunk; profile: fewest, usual and most people, as in '1/4/32'.
    """

    graph: str
    tensorrt: str
    gpu: str
    capability: str
    precision: str
    profile: str

    @property
    def digest(self) -> str:
        """Hexadecimal name of the key."""
        text = json.dumps([FORMAT, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


class Built(NamedTuple):
    """A built engine as it is kept: for what, the metadata of its graph, and what TensorRT made of it."""

    key: EngineKey
    metadata: GraphMetadata
    plan: bytes


def cache_folder() -> Path:
    """The user's own cache: ``$XDG_CACHE_HOME/cliff_ros``, by default ``~/.cache/cliff_ros``."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'cliff_ros'


def load(key: EngineKey, folder: Path | None = None) -> bytes | None:
    """The engine built for exactly this key; None where there is none that can be trusted."""
    path = _path(key, folder)
    if not os.path.lexists(path):
        return None
    try:
        _check_folder(path.parent)
        built = read(path, ours=True)
    except ModelError as error:
        logger.warning('The cached engine is not used and will be built anew: %s', error)
        return None
    if built.key != key:
        logger.warning('The cached engine %s is not used: it was built for something else', path)
        return None
    return built.plan


def store(built: Built, folder: Path | None = None) -> Path:
    """Keep an engine in the cache; returns where. ModelError where others may write into its folder."""
    path = _path(built.key, folder)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_folder(path.parent)
    write(path, built)
    return path


def read(path: Path, ours: bool = False) -> Built:
    """An engine's file. ModelError where it is missing, cut off, damaged, or no engine.

    ours: refuse links, what is no plain file, and files that another user owns or may write.
    """
    try:
        check_regular(path)
    except OSError:
        pass  # said below
    except ModelError as error:
        raise ModelError(f'{path} {error}') from None
    try:
        with open(path, 'rb', opener=_open_ours if ours else None) as file:
            header, plan = json.loads(file.readline(1 << 24)), file.read()
        if header['format'] != FORMAT:
            raise ModelError(f'{path} was written by another version of cliff_ros: build it again')
        stored = header['metadata']
        built = Built(EngineKey(**header['key']), GraphMetadata.from_json(stored, stored['sha256']), plan)
        whole = header['sha256'] == hashlib.sha256(plan).hexdigest()
    except FileNotFoundError:
        raise ModelError(f"there is no engine {path}: build it with 'cliff build-engine'") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f'{path} cannot be read as an engine ({error}): build it again') from error
    if not whole:
        raise ModelError(f'the engine {path} is damaged: build it again')
    return built


def write(path: Path, built: Built) -> None:
    """Whoever reads at the same time finds the old file or the new one, never a part."""
    header = {
        'format': FORMAT,
        'key': asdict(built.key),
        'metadata': built.metadata.as_json() | {'sha256': built.metadata.sha256},
        'sha256': hashlib.sha256(built.plan).hexdigest(),
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(json.dumps(header).encode() + b'\n')
            file.write(built.plan)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def _open_ours(path: str, flags: int) -> int:
    # Not waiting: somebody's FIFO would keep us for ever.
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ModelError(f'{path} is no plain file: delete it')
        _check_owner(Path(path), found)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _check_folder(folder: Path) -> None:
    for found in (folder.lstat(), folder.stat()):  # of a link, too
        _check_owner(folder, found, link=stat.S_ISLNK(found.st_mode))


def _check_owner(path: Path, found: os.stat_result, link: bool = False) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise ModelError(
            f'{path} belongs to another user ({found.st_uid}), who could have any program run here: '
            'delete it, or set XDG_CACHE_HOME to a folder of your own'
        )
    if not link and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):  # of links the mode says nothing
        raise ModelError(
            f'others may write {path}, and have any program run here: chmod go-w it, or set '
            'XDG_CACHE_HOME to a folder of your own'
        )


def _path(key: EngineKey, folder: Path | None) -> Path:
    return (folder or cache_folder()) / f'{key.digest}{ENGINE_SUFFIX}'
