"""The people of one image with its header, and what several outputs make of them, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from cliff_ros.arrays import Floats
from cliff_ros.body.names import PARENTS
from cliff_ros.body.tree import world_rotations
from cliff_ros.people import People


@dataclass(frozen=True)
class Batch:
    """N people with the header of their image.

    stamp: (seconds, nanoseconds); frame_id: the camera's optical frame, as in the image's header.
    """

    stamp: tuple[int, int]
    frame_id: str
    people: People

    def __len__(self) -> int:
        return len(self.people)

    @property
    def header(self) -> Header:
        """The image's header, unaltered."""
        return Header(stamp=Time(sec=self.stamp[0], nanosec=self.stamp[1]), frame_id=self.frame_id)

    @property
    def has_vertices(self) -> bool:
        """Whether everybody's mesh is there."""
        return self.people.vertices is not None or not self.people

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """The N people's track ids, in their order."""
        return tuple(self.people.id.tolist())

    @cached_property
    def quaternions(self) -> Floats:
        """(N, 24, 4) x y z w of their rotations."""
        return quaternions(self.people.rotations)

    @cached_property
    def joint_offsets(self) -> Floats:
        """(N, 24, 3) [m]: each joint in its parent's axes; [:, 0] the pelvis in the optical frame."""
        joints, world, parents = self.people.joints, world_rotations(self.people.rotations), np.asarray(PARENTS[1:])
        offsets = joints.copy()
        between = joints[:, 1:] - joints[:, parents]
        offsets[:, 1:] = np.einsum('njkl,njk->njl', world[:, parents], between)  # R^T d
        return offsets


def quaternions(rotations: Floats) -> Floats:
    """Unit quaternions x y z w, w >= 0, of rotation matrices (..., 3, 3); float64.

    Each of the four rows below is the quaternion times four times one of its components (Shepperd
    1978); the row of the largest component is the accurate one.
    """
    m = np.asarray(rotations, np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    xw, yw, zw = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    rows = np.empty((*m.shape[:-2], 4, 4))
    rows[..., 0, 0], rows[..., 1, 1] = 1 + xx - yy - zz, 1 - xx + yy - zz
    rows[..., 2, 2], rows[..., 3, 3] = 1 - xx - yy + zz, 1 + xx + yy + zz
    rows[..., 0, 1] = rows[..., 1, 0] = xy
    rows[..., 0, 2] = rows[..., 2, 0] = xz
    rows[..., 1, 2] = rows[..., 2, 1] = yz
    rows[..., 0, 3] = rows[..., 3, 0] = xw
    rows[..., 1, 3] = rows[..., 3, 1] = yw
    rows[..., 2, 3] = rows[..., 3, 2] = zw
    largest = np.diagonal(rows, axis1=-2, axis2=-1).argmax(-1)
    q = np.take_along_axis(rows, largest[..., None, None], -2)[..., 0, :]
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., 3:] < 0, -q, q)
