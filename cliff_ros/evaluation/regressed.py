"""Joints that benchmarks regress from the mesh: Human3.6M's 17, and the 14 of them that 3DPW and Human3.6M compare."""

from __future__ import annotations

import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.errors import ModelError

# Of the regressor's 17: right leg from the ankle up, left leg down, right arm from the wrist up, left arm down, neck,
# head (LSP's order).
J14 = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)
PELVIS = 0  # of the 17


def h36m_regressor(body: BodyModel) -> np.ndarray:
    """(17, V) float64 of a body, or ModelError that says where it comes from."""
    if body.J_regressor_h36m is None:
        raise ModelError(
            f"the body '{body.name}' has no joints of Human3.6M, by which this benchmark measures: put "
            "J_regressor_h36m.npy (SPIN's data pack) into the folder of bodies, or convert the body with --h36m"
        )
    return body.J_regressor_h36m.astype(np.float64)


def h36m_joints(vertices: np.ndarray, regressor: np.ndarray) -> np.ndarray:
    """Human3.6M's joints (N, 17, 3) of meshes (N, V, 3), by `h36m_regressor`, in float64."""
    return np.einsum('jv,nvc->njc', regressor, np.asarray(vertices, np.float64), optimize=True)


def about_pelvis(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 14 joints (N, 14, 3) about Human3.6M's pelvis, and that pelvis (N, 3), of the 17 (N, 17, 3) (SPIN)."""
    pelvis = joints[:, PELVIS]
    return joints[:, list(J14)] - pelvis[:, None], pelvis
