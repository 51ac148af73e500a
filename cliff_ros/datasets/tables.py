"""Files of labels: .npz tables, one row per person, and what their columns hold.

These files count pixels from the corner of the image, where the middle of the first pixel is (0.5, 0.5): half a pixel
is taken off, so that everything counts as `Camera` does.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from cliff_ros.datasets.cameras import NO_CAMERAS, Cameras
from cliff_ros.datasets.sample import NUM_BETAS
from cliff_ros.errors import InputError, ModelError
from cliff_ros.files import check_npz


class Table:
    """The arrays of an .npz file, one row per person, checked when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            check_npz(path, ('imgname',))
            with np.load(path, allow_pickle=False) as file:
                self._present = set(file.files)
                self.names = file['imgname'].astype(str)
        except KeyError:
            raise InputError(f"'{path}' has no array 'imgname': it is not a file of labels") from None
        except ModelError as error:
            raise InputError(f"'{path}' {error}") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"'{path}' is not an .npz file of plain arrays ({error}): check the path, or get the file again"
            ) from None

    def __contains__(self, name: str) -> bool:
        return name in self._present

    def take(self, name: str, *shape: int | None) -> np.ndarray:
        """An array (N, *shape); None: any length."""
        if name not in self._present:
            raise InputError(f"'{self.path}' has no array '{name}': it has another layout than the one asked for")
        try:
            check_npz(self.path, (name,))
            with np.load(self.path, allow_pickle=False) as file:
                value = file[name]
        except ModelError as error:
            raise InputError(f"'{self.path}' {error}") from None
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"'{self.path}' has a damaged array '{name}' ({error}): get the file again") from None
        want = (len(self.names), *shape)
        if value.ndim != len(want) or any(w not in (None, g) for w, g in zip(want, value.shape, strict=True)):
            text = ' x '.join('any' if size is None else str(size) for size in want)
            raise InputError(f"'{self.path}': '{name}' has shape {value.shape}, not {text}")
        return value


class Labels:
    """People of one .npz file: the part that all layouts share."""

    def __init__(self, labels: Path, images: Path, turn: int = 0, cameras: Cameras = NO_CAMERAS) -> None:
        self.images, self.turn, self.cameras = images, turn, cameras
        self.table = Table(labels)
        self.names = self.table.names
        self.center, self.scale = self.table.take('center', 2), self.table.take('scale')
        self.K = self.table.take('cam_int', 3, 3) if 'cam_int' in self.table else None

    def __len__(self) -> int:
        return len(self.names)

    def require_cameras(self) -> None:
        """InputError where labels without intrinsics name an image whose camera is not known otherwise."""
        if self.K is not None:
            return
        lost = next((name for name in self.names.tolist() if not self.cameras.of(name)), None)
        if lost is not None:
            raise InputError(
                f"'{self.table.path}' says nothing of focal lengths, and the camera of '{lost}' is not known: give "
                "'cameras', a file of intrinsics by image name, or 'focal' in pixels; 'focal: diagonal' is the guess "
                "of CLIFF's authors, for photographs whose camera nobody knows"
            )

    def common(self, index: int, height: float) -> dict:
        """Image, box of a person `height` pixels high, and camera."""
        half = height * np.array([0.375, 0.5])  # of the proportions of CLIFF's crops: they decide by the height
        center = self.center[index].astype(np.float64) - 0.5
        common = dict(
            image=self.images / str(self.names[index]),
            turn=self.turn,
            box=np.concatenate([center - half, center + half]),
        )
        if self.K is not None:
            common['K'] = self.K[index].astype(np.float64) - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
        else:
            common |= self.cameras.of(str(self.names[index]))
        return common


def betas_of(values: np.ndarray) -> np.ndarray:
    """The first NUM_BETAS shape coefficients, float64; InputError where there are fewer."""
    betas = np.asarray(values, np.float64)[:NUM_BETAS]
    if len(betas) < NUM_BETAS:
        raise InputError(f'there are {len(betas)} shape coefficients where {NUM_BETAS} are needed')
    return betas


def gender_of(text: str) -> str:
    """'male', 'female' or 'neutral', told by the first letter in either case; InputError for any other text."""
    names = {'m': 'male', 'f': 'female', 'n': 'neutral'}
    if text[:1].lower() not in names:
        raise InputError(f"a gender is '{text}': it must be male, female or neutral")
    return names[text[:1].lower()]
