"""SMPL-format bodies: the embedded one, and the official files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from cliff_ros import assets
from cliff_ros.body.model import BodyModel
from cliff_ros.body.names import JOINT_NAMES, MIRROR, NUM_JOINTS, PARENTS
from cliff_ros.errors import ModelError

__all__ = ['JOINT_NAMES', 'MIRROR', 'NUM_JOINTS', 'PARENTS', 'BodyModel', 'load_body', 'shareable_file']


def load_body(body: str | Path = 'embedded') -> BodyModel:
    """The body of that name or file.

    Parameters
    ----------
    body: ``'embedded'`` (CC0, ships with the package) or the path of an SMPL file, ``.npz`` or ``.pkl``.

    Raises
    ------
    ModelError
        when the file is missing, is not an SMPL body, or holds anything but data.
    """
    path = assets.BODY if str(body) == 'embedded' else Path(body).expanduser()
    if not path.is_file():
        raise ModelError(f"no body model at '{path}': give 'embedded' or the path of an SMPL .npz or .pkl file")
    stat = path.stat()
    return _load(path.resolve(), stat.st_mtime_ns, stat.st_size)


def shareable_file(body: BodyModel) -> bytes:
    """The file of the embedded body, which is CC0; nothing of any other."""
    file = assets.BODY.read_bytes()
    return file if hashlib.sha256(file).hexdigest() == body.sha256 else b''


@lru_cache(maxsize=4)
def _load(path: Path, _mtime: int, _size: int) -> BodyModel:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if (
        path == assets.BODY or digest == hashlib.sha256(assets.BODY.read_bytes()).hexdigest()
    ):  # also a copy, as over DDS
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
    else:
        from cliff_ros.body.files import read_body

        arrays = read_body(path)
    return BodyModel.from_arrays(arrays, name=path.stem, sha256=digest)
