"""Names for the types of arrays that signatures use; shapes are in the docstrings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Rows: TypeAlias = npt.NDArray[np.intp]  # which rows of an array
Bools: TypeAlias = npt.NDArray[np.bool_]
Pixels: TypeAlias = npt.NDArray[np.uint8]
if TYPE_CHECKING:
    Reals: TypeAlias = npt.NDArray[np.floating[Any]]  # float32 or float64
else:  # NumPy 1.21, of Ubuntu 22.04, knows this to type checkers only
    Reals: TypeAlias = np.ndarray
