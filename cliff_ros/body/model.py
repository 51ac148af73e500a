"""The SMPL body as data, and its forward function in numpy.

`smplx` is the reference implementation: the forward here agrees with it to 1e-5 m (test/body/test_body.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from cliff_ros.body.names import JOINT_NAMES, NUM_JOINTS
from cliff_ros.body.tree import world_positions, world_rotations
from cliff_ros.errors import ModelError


@dataclass(frozen=True, eq=False)
class BodyModel:
    """An SMPL-format body (Loper et al. 2015). Lengths in meters; axes x left, y up, z out of the chest.

    v_template (V, 3); shapedirs (V, 3, B); posedirs (V, 3, 207) or None where all are zero;
    weights (V, 24) skinning; J_regressor (24, V); parents (24,) with -1 for the root; faces (F, 3),
    counter-clockwise seen from outside. J_regressor_h36m (17, V) or None: Human3.6M's joints are
    ``J_regressor_h36m @ vertices``, for the 3DPW and Human3.6M protocols.
    """

    name: str
    v_template: np.ndarray
    shapedirs: np.ndarray
    posedirs: np.ndarray | None
    weights: np.ndarray
    J_regressor: np.ndarray
    parents: np.ndarray
    faces: np.ndarray
    licence: str = 'unknown'
    sha256: str = ''
    joint_names: tuple[str, ...] = field(default=JOINT_NAMES)
    J_regressor_h36m: np.ndarray | None = None

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any], name: str = 'smpl', sha256: str = '') -> BodyModel:
        """From SMPL's own array names (v_template, shapedirs, ..., kintree_table, f), checked.

        Raises
        ------
        ModelError
            naming the first array that is missing or has the wrong shape.
        """

        def take(key: str, *shape: int | None) -> np.ndarray:
            if key not in arrays:
                raise ModelError(f"body model {name!r} has no array '{key}': it is not an SMPL-format file")
            value = np.asarray(arrays[key])
            if value.ndim != len(shape) or any(
                want not in (None, got) for want, got in zip(shape, value.shape, strict=True)
            ):
                want_text = ' x '.join('any' if s is None else str(s) for s in shape)
                raise ModelError(f"body model {name!r}: '{key}' has shape {value.shape}, expected {want_text}")
            if value.dtype.kind == 'f' and not np.isfinite(value).all():
                raise ModelError(f"body model {name!r}: '{key}' holds values that are not finite")
            return value

        template = take('v_template', None, 3).astype(np.float32)
        num_vertices = len(template)
        tree = take('kintree_table', 2, NUM_JOINTS)
        parents = tree[0].astype(np.int64)
        parents[0] = -1
        posedirs = arrays.get('posedirs')
        if posedirs is not None:
            posedirs = take('posedirs', num_vertices, 3, (NUM_JOINTS - 1) * 9)
            posedirs = posedirs.astype(np.float32) if np.any(posedirs) else None
        h36m = arrays.get('J_regressor_h36m')
        if h36m is not None:
            h36m = take('J_regressor_h36m', 17, num_vertices).astype(np.float32)
        return cls(
            name=str(arrays.get('name', name)),
            v_template=template,
            shapedirs=take('shapedirs', num_vertices, 3, None).astype(np.float32),
            posedirs=posedirs,
            weights=take('weights', num_vertices, NUM_JOINTS).astype(np.float32),
            J_regressor=take('J_regressor', NUM_JOINTS, num_vertices).astype(np.float32),
            parents=parents,
            faces=take('f', None, 3).astype(np.int32),
            licence=str(arrays.get('licence', 'unknown')),
            sha256=sha256 or _digest(template, arrays['shapedirs'], arrays['weights']),
            J_regressor_h36m=h36m,
        )

    def only(self, vertices: np.ndarray) -> BodyModel:
        """The same body with only some of its vertices (K,), by index, and no faces; its joints stay what they were."""
        few = replace(
            self,
            v_template=self.v_template[vertices],
            shapedirs=self.shapedirs[vertices],
            posedirs=None if self.posedirs is None else self.posedirs[vertices],
            weights=self.weights[vertices],
            J_regressor=self.J_regressor[:, vertices],
            faces=np.empty((0, 3), np.int32),
            J_regressor_h36m=None,
        )
        few.__dict__['rest_joint_basis'] = self.rest_joint_basis  # a cached property: regressed from all vertices
        return few

    @property
    def num_vertices(self) -> int:
        """V: 6890 for SMPL, 10475 for SMPL-X."""
        return len(self.v_template)

    @property
    def num_betas(self) -> int:
        """B, the number of shape directions in the file; networks may use fewer."""
        return self.shapedirs.shape[2]

    @cached_property
    def shape_basis(self) -> np.ndarray:
        """(B, 3 V): shapedirs as a matrix, betas @ shape_basis moves the vertices."""
        return np.ascontiguousarray(self.shapedirs.reshape(-1, self.num_betas).T)

    @cached_property
    def _planes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        """Template (3 V,), shapedirs (B, 3 V), posedirs (207, 3 V) and weights (24, V), every coordinate in a row:
        skinning is then products and sums of long rows."""
        posedirs = self.posedirs
        return (
            self.v_template.T.ravel(),
            np.ascontiguousarray(self.shapedirs.T).reshape(self.num_betas, -1),
            None if posedirs is None else np.ascontiguousarray(posedirs.T).reshape(posedirs.shape[-1], -1),
            np.ascontiguousarray(self.weights.T),
        )

    @cached_property
    def rest_joint_basis(self) -> tuple[np.ndarray, np.ndarray]:
        """Joints (24, 3) of the mean T-pose, and how each beta moves them (B, 24, 3)."""
        regressor = self.J_regressor.astype(np.float64)
        return (regressor @ self.v_template).astype(np.float32), np.einsum(
            'jv,vck->kjc', regressor, self.shapedirs
        ).astype(np.float32)

    def rest_joints(self, betas: np.ndarray) -> np.ndarray:
        """Joints of the T-pose, (B, 24, 3), for betas (B, up to num_betas)."""
        template, directions = self.rest_joint_basis
        betas = np.asarray(betas, np.float32)
        moved = betas @ directions[: betas.shape[1]].reshape(betas.shape[1], -1)
        return template + moved.reshape(len(betas), *template.shape)

    def joints(self, betas: np.ndarray, rotations: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """Joints only, (B, 24, 3): much cheaper than the mesh. Arguments as for the call."""
        return (
            self.bones(self.rest_joints(betas), np.asarray(rotations, np.float32))[1]
            + np.asarray(translation, np.float32)[:, None]
        )

    def bones(self, rest: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World rotation (B, 24, 3, 3) and position (B, 24, 3) of every joint along SMPL's tree."""
        world = world_rotations(rotations)
        return world, world_positions(rest, world)

    def __call__(
        self, betas: np.ndarray, rotations: np.ndarray, translation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Linear blend skinning.

        Parameters
        ----------
        betas: (B, up to num_betas)
        rotations: (B, 24, 3, 3) parent-relative; [:, 0] is the root
        translation: (B, 3), SMPL's ``transl``: added after the pelvis offset, as in smplx

        Returns
        -------
        joints (B, 24, 3), vertices (B, V, 3), float32, in the frame that root and translation are given in.
        """
        betas, rotations = np.asarray(betas, np.float32), np.asarray(rotations, np.float32)
        translation = np.asarray(translation, np.float32)
        batch, num_vertices = len(betas), self.num_vertices
        rest = self.rest_joints(betas)
        template, shapedirs, posedirs, weights = self._planes
        shaped = template + betas @ shapedirs[: betas.shape[1]]
        if posedirs is not None:
            shaped += (rotations[:, 1:] - np.eye(3, dtype=np.float32)).reshape(batch, len(posedirs)) @ posedirs
        world, position = self.bones(rest, rotations)
        position += translation[:, None]
        offset = position - (world @ rest[..., None])[..., 0]
        bones = np.concatenate([world, offset[..., None]], -1).reshape(batch, NUM_JOINTS, 12)
        blend = (bones.transpose(0, 2, 1) @ weights).reshape(batch, 3, 4, num_vertices)
        turned = np.einsum('bijv,bjv->biv', blend[:, :, :3], shaped.reshape(batch, 3, num_vertices))
        vertices = np.empty((batch, num_vertices, 3), np.float32)
        np.add(turned, blend[:, :, 3], out=vertices.transpose(0, 2, 1))
        return position, vertices


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, np.float32).data)
    return digest.hexdigest()
