"""The bodies that a benchmark needs: the network's, those of men and women, and what leads from one to another."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from cliff_ros.body import BodyModel, load_body
from cliff_ros.datasets.sample import NUM_VERTICES
from cliff_ros.errors import ModelError

_SUFFIXES = ('.npz', '.pkl')
REGRESSOR = 'J_regressor_h36m.npy'
CONVERSION = ('smplx2smpl.npz', 'smplx2smpl.pkl')


class BodyFolder:
    """SMPL's bodies, found in a folder by their names.

    path: ``'embedded'``, one body's file, or a folder with ``SMPL_NEUTRAL.pkl``, ``SMPLX_FEMALE.npz``,
    ``basicmodel_m_lbs_10_207_0_v1.1.0.pkl`` and the like, .npz or .pkl, as published or by ``cliff convert``; there
    `REGRESSOR` (SPIN's data pack) gives all of them Human3.6M's joints, and smplx2smpl.pkl (BEDLAM) makes SMPL's mesh
    of SMPL-X's.
    """

    def __init__(self, path: str | Path = 'embedded') -> None:
        self.path = str(path)
        self._files: dict[tuple[str, str], Path | str] = {}
        folder = Path(path).expanduser()
        self._folder = folder if folder.is_dir() else None
        if self._folder is None:
            self._files['smpl', 'neutral'] = path
            return
        for file in sorted(self._folder.iterdir()):
            kind = _kind(file)
            if kind:
                self._files.setdefault(kind, file)
        if not self._files:
            raise ModelError(
                f"there is no body in '{path}': put SMPL's files there under their own names, such as SMPL_NEUTRAL.pkl"
            )

    def file(self, gender: str = 'neutral', kind: str = 'smpl') -> Path | str:
        """Of a body by gender and 'smpl' or 'smplx'; ModelError where the folder has none."""
        found = self._files.get((kind, gender))
        if found is None:
            raise ModelError(
                f"a body is missing in '{self.path}': {kind.upper()}, {gender}, to which the shape of people in this "
                f'data set belongs; put {kind.upper()}_{gender.upper()}.npz or .pkl into that folder'
            )
        return found

    def has(self, gender: str = 'neutral', kind: str = 'smpl') -> bool:
        """Whether there is such a file."""
        return (kind, gender) in self._files

    def body(self, gender: str = 'neutral', kind: str = 'smpl') -> BodyModel:
        """As `file`, read; with Human3.6M's joints where the folder has the regressor."""
        return _read(str(self.file(gender, kind)), str(self._extra(REGRESSOR) or ''))

    def of_sha256(self, digest: str) -> Path | str:
        """The file with that content: the body that a runtime graph was exported with."""
        for (kind, gender), file in self._files.items():
            if self.body(gender, kind).sha256 == digest:
                return file
        return self.file()

    @property
    def to_smpl(self) -> csr_matrix:
        """(6890, 10475) sparse: SMPL's vertices from SMPL-X's."""
        path = next((found for name in CONVERSION if (found := self._extra(name))), None)
        if path is None:
            raise ModelError(
                f"'{self.path}' lacks smplx2smpl.pkl (BEDLAM's data pack), which makes SMPL's mesh of SMPL-X's: "
                'put it there'
            )
        return _conversion(str(path))

    def _extra(self, name: str) -> Path | None:
        path = self._folder / name if self._folder else None
        return path if path and path.is_file() else None


def _kind(path: Path) -> tuple[str, str] | None:
    """(body, gender) by the name of a file."""
    name = path.name.lower()
    if path.suffix.lower() not in _SUFFIXES or '2smpl' in name or 'smpl' not in name.replace('basicmodel', 'smpl'):
        return None
    gender = next(
        (
            gender
            for gender, marks in (('neutral', ('neutral',)), ('female', ('female', '_f_')), ('male', ('male', '_m_')))
            if any(mark in name for mark in marks)
        ),
        None,
    )
    return None if gender is None else ('smplx' if 'smplx' in name else 'smpl', gender)


@lru_cache(maxsize=8)
def _read(path: str, regressor: str) -> BodyModel:
    body = load_body(path)
    if body.J_regressor_h36m is None and regressor and body.num_vertices == NUM_VERTICES:
        from cliff_ros.body.files import read_h36m_regressor

        body = replace(body, J_regressor_h36m=read_h36m_regressor(regressor, body.num_vertices))
    return body


@lru_cache(maxsize=1)
def _conversion(path: str) -> csr_matrix:
    from cliff_ros.body.pickled_arrays import to_array
    from cliff_ros.body.pickles import read_pickle
    from cliff_ros.files import check_npz

    try:
        if path.endswith('.npz'):
            check_npz(path, ('matrix',))
            with np.load(path, allow_pickle=False) as file:
                matrix = file['matrix']
        else:
            matrix = to_array('matrix', read_pickle(Path(path))['matrix'])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"'{path}' is not BEDLAM's smplx2smpl ({error}): get it again") from None
    if matrix.ndim != 2 or matrix.shape[0] != NUM_VERTICES:
        raise ModelError(f"'{path}' has a matrix of shape {matrix.shape}, not {NUM_VERTICES} x SMPL-X's vertices")
    return csr_matrix(matrix.astype(np.float64))
