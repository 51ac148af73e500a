"""What every source of training data speaks: one person in one image, and what is known of them.

Keypoints are 29 everywhere: SMPL's joints, then nose, left eye, right eye, left ear, right ear. Pixels have their
centers at integers, as in the rest of the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from cliff_ros.body import MIRROR, NUM_JOINTS, BodyModel
from cliff_ros.camera import Camera
from cliff_ros.cliff.lifting import MIRROR_KEYPOINTS
from cliff_ros.errors import InputError
from cliff_ros.synthetic.actor import FACE_VERTICES

NUM_KEYPOINTS = NUM_JOINTS + len(FACE_VERTICES)
NUM_VERTICES = 6890  # SMPL's
NUM_BETAS = 10
# Enough of the surface to find the extents of a person to a centimeter, and the five points of the face.
_OUTLINE = np.concatenate([FACE_VERTICES, np.arange(0, NUM_VERTICES, 10)])

# The truth of one crop. Lengths [m] in the frame of the view that it was taken from; what is not known is zero.
TRUTH = np.dtype(
    [
        ('rotations', 'f4', (NUM_JOINTS, 3, 3)),
        ('rotations_known', 'f4', NUM_JOINTS),
        ('betas', 'f4', NUM_BETAS),
        ('betas_known', 'f4'),
        ('joints', 'f4', (NUM_JOINTS, 3)),
        ('joints_known', 'f4', NUM_JOINTS),
        ('placed', 'f4'),  # 1: joints are where they are in the view; 0: only relative to each other
        ('location', 'f4', 3),  # (cx/f, cy/f, b/f) of the crop
        ('keypoints', 'f4', (NUM_KEYPOINTS, 2)),  # [crop heights] from the crop's center
        ('confidence', 'f4', NUM_KEYPOINTS),
    ]
)


def _unknown(*shape: int):
    return field(default_factory=lambda: np.full(shape, np.nan))


@dataclass(frozen=True, eq=False)
class Sample:
    """A person in an image. NaN stands for what is not known.

    image: the file. turn: degrees by which it must be turned clockwise before all else fits it.
    K: (3, 3) intrinsic matrix [px]; without it ``focal`` [px] with the principal point in the middle of the
        image; without that the guess of CLIFF's authors.
    box: (4,) left, top, right, bottom of the person [px], no margin; None: the extents of the body.
    rotations (24, 3, 3) parent-relative, root in the optical frame; betas (10,); translation (3,) SMPL's transl.
    extrinsics: (4, 4) the camera's pose, world to optical frame, where root and translation are in the world's.
    gender: whose betas they are, 'neutral', 'male' or 'female'.
    joints: (24, 3) [m] where the file has them, up to a shift.
    keypoints (29, 2) [px] with their confidence (29,); all 0: the projections of the body.
    """

    image: Path
    K: np.ndarray | None = None
    focal: float | None = None
    box: np.ndarray | None = None
    rotations: np.ndarray = _unknown(NUM_JOINTS, 3, 3)
    betas: np.ndarray = _unknown(NUM_BETAS)
    translation: np.ndarray = _unknown(3)
    extrinsics: np.ndarray | None = None
    gender: str = 'neutral'
    joints: np.ndarray = _unknown(NUM_JOINTS, 3)
    keypoints: np.ndarray = field(default_factory=lambda: np.zeros((NUM_KEYPOINTS, 2)))
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(NUM_KEYPOINTS))
    turn: int = 0

    def camera(self, width: int, height: int) -> Camera:
        """The camera of the image, which is that large [px]."""
        if self.K is not None:
            return Camera(width, height, self.K)
        if self.focal is None:
            return Camera.uncalibrated(width, height)
        f = self.focal
        return Camera(width, height, np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]]))


@lru_cache(maxsize=16)
def only(body: BodyModel, vertices: tuple[int, ...]) -> BodyModel:
    """The same body with only some of its vertices; its joints stay what they were."""
    if body.num_vertices != NUM_VERTICES:
        raise InputError(
            f"the body '{body.name}' has {body.num_vertices} vertices: training needs one of SMPL's {NUM_VERTICES}"
        )
    pick = list(vertices)
    small = replace(
        body,
        v_template=body.v_template[pick],
        shapedirs=body.shapedirs[pick],
        weights=body.weights[pick],
        posedirs=None if body.posedirs is None else body.posedirs[pick],
        J_regressor=body.J_regressor[:, pick],
        faces=np.empty((0, 3), np.int32),
        J_regressor_h36m=None,
    )
    small.__dict__['rest_joint_basis'] = body.rest_joint_basis  # a cached property: regressed from all vertices
    return small


def face_of(body: BodyModel) -> BodyModel:
    """The body with the five points of the face as its vertices: its joints and vertices are the 29 keypoints."""
    return only(body, tuple(FACE_VERTICES.tolist()))


def outline(
    body: BodyModel, betas: np.ndarray, rotations: np.ndarray, translation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (29, 3) and points all over the surface (N, 3) of one body [m]; arguments as in `Sample`."""
    joints, vertices = only(body, tuple(_OUTLINE.tolist()))(betas[None], rotations[None], translation[None])
    return np.concatenate([joints[0], vertices[0, : len(FACE_VERTICES)]]), vertices[0]


def rolled(truth: np.ndarray, degrees: float) -> np.ndarray:
    """The truth of a crop that was turned clockwise about its center: the view turns about its optical axis.

    Turning an image about a crop's center and turning the camera about its axis give the same crop, but only the
    latter is something that a camera can see: so the place of the crop in the full frame turns too, and every
    label stays exact.
    """
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    truth = truth.copy()
    truth['rotations'][0] = turn @ truth['rotations'][0]
    truth['joints'] = truth['joints'] @ turn.T
    truth['location'][:2] = turn[:2, :2] @ truth['location'][:2]
    truth['keypoints'] = truth['keypoints'] @ turn[:2, :2].T
    return truth


def mirrored(truth: np.ndarray) -> np.ndarray:
    """The truth of the mirrored crop: the full frame mirrors about its optical axis, and left becomes right."""
    m = np.array([-1.0, 1.0, 1.0])
    truth = truth.copy()
    truth['rotations'] = (truth['rotations'] * m[:, None] * m)[MIRROR]
    truth['joints'] = (truth['joints'] * m)[MIRROR]
    truth['location'] *= m
    truth['keypoints'] = (truth['keypoints'] * m[:2])[MIRROR_KEYPOINTS]
    for name, order in (('rotations_known', MIRROR), ('joints_known', MIRROR), ('confidence', MIRROR_KEYPOINTS)):
        truth[name] = truth[name][order]
    return truth
