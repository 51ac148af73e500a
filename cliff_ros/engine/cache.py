"""Built engines, kept between starts.

Building takes minutes, and a built engine fits one graph, one TensorRT and one kind of GPU. The key holds
everything that matters; it is compared when a file is read, so a file that was renamed, left from an
older version, cut off or damaged is never run but built anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """What a built engine depends on.

    graph: SHA-256 of the ONNX file; tensorrt: version; gpu: name; capability: 'major.minor' of the GPU;
    precision: of the encoder; max_people: upper end of the optimisation profile.
    """

    graph: str
    tensorrt: str
    gpu: str
    capability: str
    precision: str
    max_people: int

    @property
    def digest(self) -> str:
        """Hexadecimal name of the key."""
        text = json.dumps([FORMAT, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def cache_folder() -> Path:
    """The user's own cache: ``$XDG_CACHE_HOME/cliff_ros``, by default ``~/.cache/cliff_ros``."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'cliff_ros'


def load(key: EngineKey, folder: Path | None = None) -> bytes | None:
    """The engine built for exactly this key; None where there is none that can be trusted."""
    path = _path(key, folder)
    try:
        with path.open('rb') as file:
            header, plan = json.loads(file.readline(1 << 16)), file.read()
        if header['key'] != asdict(key):
            reason = 'it was built for something else'
        elif header['sha256'] != hashlib.sha256(plan).hexdigest():
            reason = 'it is damaged'
        else:
            return plan
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f'it cannot be read ({error})'
    logger.warning('The cached engine %s is not used: %s', path, reason)
    return None


def store(key: EngineKey, plan: bytes, folder: Path | None = None) -> Path:
    """Keep an engine. Whoever reads at the same time finds the old file or the new one, never a part."""
    path = _path(key, folder)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    header = {'key': asdict(key), 'sha256': hashlib.sha256(plan).hexdigest()}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(json.dumps(header).encode() + b'\n')
            file.write(plan)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def _path(key: EngineKey, folder: Path | None) -> Path:
    return (folder or cache_folder()) / f'{key.digest}.engine'
