"""Cameras that labels do not describe: given from outside, known from publications, or openly guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.errors import InputError
from cliff_ros.files import read_yaml

# Human3.6M's four, by the number in the names of its images: fx, fy, cx, cy [px], as published with the data set.
HUMAN36M = {
    '54138969': (1145.0494384765625, 1143.7811279296875, 512.54150390625, 515.4514770507812),
    '55011271': (1149.6756591796875, 1147.5916748046875, 508.8486328125, 508.0649108886719),
    '58860488': (1149.1407470703125, 1148.7989501953125, 519.8158569335938, 501.40264892578125),
    '60457274': (1145.5113525390625, 1144.77392578125, 514.9682006835938, 501.88201904296875),
}
DIAGONAL = 'diagonal'


def intrinsics(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """(3, 3) matrix."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


@dataclass(frozen=True)
class Cameras:
    """What is known of cameras beyond the labels.

    by_name: part of an image's name -> fx, fy, cx, cy [px]. focal: of all others [px], or `DIAGONAL`, the guess of
    CLIFF's authors, for photographs whose camera nobody knows. Neither: what a label does not say is refused.
    """

    by_name: Mapping[str, tuple[float, float, float, float]] = field(default_factory=lambda: HUMAN36M)
    focal: float | str | None = None

    @classmethod
    def read(cls, path: str | Path = '', focal: str = '') -> Cameras:
        """cameras: a YAML file of ``part of the name: [fx, fy, cx, cy]``; focal: pixels, or 'diagonal'."""
        known = dict(HUMAN36M)
        if path:
            known |= _cameras(Path(path).expanduser())
        if focal in ('', DIAGONAL):
            return cls(known, focal or None)
        try:
            length = float(focal)
        except ValueError:
            length = -1.0
        if not 0 < length < 1e7:
            raise InputError(f"'focal' is '{focal}': give a focal length in pixels, or '{DIAGONAL}'")
        return cls(known, length)

    def of(self, name: str) -> dict[str, Any]:
        """Fields of `Sample` for the image of that name; none where nothing is known."""
        for part, values in self.by_name.items():
            if part in name:
                return {'K': intrinsics(*values)}
        if self.focal is None:
            return {}
        return {'guessed': True} if self.focal == DIAGONAL else {'focal': float(self.focal)}


NO_CAMERAS = Cameras()


def _cameras(path: Path) -> dict[str, tuple[float, float, float, float]]:
    try:
        content = read_yaml(path)
        return {str(name): _four(values) for name, values in content.items()}
    except InputError:
        raise
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"'{path}' is no list of cameras ({error}): write 'part of the image name: [fx, fy, cx, cy]', one a line"
        ) from None


def _four(values: Any) -> tuple[float, float, float, float]:
    fx, fy, cx, cy = (float(value) for value in values)
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0):
        raise ValueError(f'{values} are no intrinsics')
    return fx, fy, cx, cy
