"""Official body files: SMPL ``.pkl`` and ``.npz``, SMPL-X ``.npz``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.body.names import NUM_JOINTS, PARENTS
from cliff_ros.body.pickled_arrays import to_array
from cliff_ros.body.pickles import read_pickle
from cliff_ros.errors import ModelError
from cliff_ros.files import check_npy, check_npz, check_regular, write_aside
from cliff_ros.sandbox import run_limited

ARRAYS = ('v_template', 'shapedirs', 'posedirs', 'weights', 'J_regressor', 'kintree_table', 'f')
OPTIONAL = ('J_regressor_h36m', 'name', 'licence', 'gender', 'provenance')
NUM_H36M_JOINTS = 17
_SMPLX_JOINTS = 55
# Columns of SMPL-X's shapedirs -> how many of them are shape; expressions follow.
_SMPLX_SHAPES = {20: 10, 400: 300}
# SMPL's joints in SMPL-X: 22 of the body, then the roots of the middle fingers.
_SMPLX_TO_SMPL = [*range(22), 28, 43]
# What moves with an SMPL joint besides itself: jaw and eyes with the head, fingers with the hands.
_SMPLX_FOLLOWERS = {15: slice(22, 25), 22: slice(25, 40), 23: slice(40, 55)}


def read_body(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a body file under SMPL's names, checked, ready for ``BodyModel.from_arrays``.

    Parameters
    ----------
    path: SMPL ``.pkl`` or ``.npz`` (neutral, male or female, 10 to 300 betas), or SMPL-X ``.npz``.

    Returns
    -------
    v_template (V, 3), shapedirs (V, 3, B), posedirs (V, 3, 207), weights (V, 24), J_regressor (24, V),
    kintree_table (2, 24), f (F, 3); where the file has them J_regressor_h36m (17, V), name, licence.
    SMPL-X comes folded onto SMPL's 24 joints: exact for a neutral face and flat, rigid hands.

    The file is parsed in a child process with limits on memory and time (`cliff_ros.sandbox`).

    Raises
    ------
    ModelError
        when the file is not a body, is damaged, holds anything but data, or takes more than it may.
    """
    return run_limited(f'{__name__}:parse_body', _found('body file', path), what=f"body file '{path}'")


def parse_body(path: str | Path) -> dict[str, np.ndarray]:
    """As `read_body`, in this process."""
    path = Path(path)
    try:
        check_regular(path)
        raw = _read_npz(path) if zipfile.is_zipfile(path) else read_pickle(path)
        return _checked({key: to_array(key, raw[key]) for key in (*ARRAYS, *OPTIONAL) if key in raw})
    except ModelError as error:
        raise ModelError(f"body file '{path}' {error}") from None
    except OSError as error:
        raise ModelError(f"body file '{path}' cannot be read: {error.strerror or error}") from None


def read_h36m_regressor(path: str | Path, num_vertices: int) -> np.ndarray:
    """The (17, V) regressor of Human3.6M's joints from a ``.npy`` file, float32; read as bodies are."""
    regressor = run_limited(
        f'{__name__}:parse_regressor', _found('joint regressor', path), what=f"joint regressor '{path}'"
    )['regressor']
    want = (NUM_H36M_JOINTS, num_vertices)
    if regressor.shape != want or regressor.dtype.kind not in 'iuf':
        raise ModelError(f"joint regressor '{path}' does not fit this body: its shape has to be {want}")
    return regressor.astype(np.float32)


def parse_regressor(path: str) -> dict[str, np.ndarray]:
    """The array of a ``.npy`` file, in this process."""
    try:
        check_npy(path)
        return {'regressor': np.load(path, allow_pickle=False)}
    except ModelError as error:
        raise ModelError(f"joint regressor '{path}' {error}") from None
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(f"joint regressor '{path}' is not a .npy array of numbers: {error}") from None


def save_npz(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a body so that it loads anywhere without pickle: all or nothing. OutputError."""
    with write_aside(path) as partial, open(partial, 'wb') as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # NumPy calls one of its options allow_pickle


def _found(what: str, path: str | Path) -> Path:
    """The path, of a regular file; what is none is not worth a child."""
    try:
        check_regular(path)
    except ModelError as error:
        raise ModelError(f"{what} '{path}' {error}") from None
    except OSError as error:
        raise ModelError(f"{what} '{path}' cannot be read: {error.strerror or error}") from None
    return Path(path)


def _read_npz(path: Path) -> dict[str, Any]:
    check_npz(path, (*ARRAYS, *OPTIONAL))
    key = ''
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {}
            for key in (*ARRAYS, *OPTIONAL):
                if key in file.files:
                    arrays[key] = file[key]
            return arrays
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  zipfile and zlib raise many types
        where = f" in its array '{key}'" if key else ''
        raise ModelError(
            f'is damaged or holds more than numbers{where} ({error}): nothing of it was run; '
            'get the file from its authors'
        ) from None


def _checked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for key in ARRAYS:
        if key not in arrays:
            raise ModelError(f"is not an SMPL or SMPL-X body: it has no array '{key}'")
    joints, num_vertices = arrays['kintree_table'].size // 2, arrays['v_template'].size // 3
    if joints not in (NUM_JOINTS, _SMPLX_JOINTS):
        raise ModelError(
            f'has {joints} joints: only SMPL, with {NUM_JOINTS}, and SMPL-X, with {_SMPLX_JOINTS}, are read'
        )
    shapes = {
        'v_template': (num_vertices, 3),
        'shapedirs': (num_vertices, 3, None),
        'posedirs': (num_vertices, 3, 9 * (joints - 1)),
        'weights': (num_vertices, joints),
        'J_regressor': (joints, num_vertices),
        'kintree_table': (2, joints),
        'f': (None, 3),
        'J_regressor_h36m': (NUM_H36M_JOINTS, num_vertices),
    }
    for key, want in shapes.items():
        got = arrays[key].shape if key in arrays else want
        if len(got) != len(want) or any(w not in (None, g) for w, g in zip(want, got, strict=True)):
            raise ModelError(f"has an array '{key}' of shape {got} where {want} is needed (None: any)")
    num_body = len(PARENTS) if joints == NUM_JOINTS else 22
    if not np.array_equal(arrays['kintree_table'][0, 1:num_body].astype(np.int64), PARENTS[1:num_body]):
        raise ModelError("has another tree of joints than SMPL's in its array 'kintree_table'")
    if arrays['f'].size == 0 or arrays['f'].min() < 0 or arrays['f'].max() >= num_vertices:
        raise ModelError("has faces with vertices that do not exist in its array 'f'")
    return arrays if joints == NUM_JOINTS else _fold_smplx(arrays)


def _fold_smplx(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """SMPL-X on SMPL's 24 joints. What SMPL cannot move rides along with the nearest joint that it can."""
    weights = arrays['weights'][:, :NUM_JOINTS].copy()
    weights[:, 22:] = 0
    for joint, followers in _SMPLX_FOLLOWERS.items():
        weights[:, joint] += arrays['weights'][:, followers].sum(1)
    posedirs = arrays['posedirs'][:, :, : 9 * (NUM_JOINTS - 1)].copy()
    posedirs[:, :, 9 * 21 :] = 0  # SMPL corrects shapes for its hand joints; in SMPL-X these are jaw and eye
    num_columns = arrays['shapedirs'].shape[2]
    return {
        **arrays,
        'weights': weights,
        'posedirs': posedirs,
        'shapedirs': arrays['shapedirs'][:, :, : _SMPLX_SHAPES.get(num_columns, num_columns)],
        'J_regressor': arrays['J_regressor'][_SMPLX_TO_SMPL],
        'kintree_table': np.stack([PARENTS, np.arange(NUM_JOINTS)]),
    }
