"""What every reader speaks: one person in one image, and what is known of them.

Keypoints are 29 everywhere: SMPL's joints, then nose, left eye, right eye, left ear, right ear. Pixels have their
centers at integers, as in the rest of the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from cliff_ros.body import NUM_JOINTS, BodyModel
from cliff_ros.camera import Camera
from cliff_ros.errors import InputError
from cliff_ros.synthetic.actor import FACE_VERTICES

NUM_KEYPOINTS = NUM_JOINTS + len(FACE_VERTICES)
NUM_VERTICES = 6890  # SMPL's
NUM_BETAS = 10
# Enough of the surface to find the extents of a person to a centimeter, and the five points of the face.
_OUTLINE = np.concatenate([FACE_VERTICES, np.arange(0, NUM_VERTICES, 10)])
# COCO's 17 keypoints among ours: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
COCO = (24, 25, 26, 27, 28, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8)


def _unknown(*shape: int):
    return field(default_factory=lambda: np.full(shape, np.nan))


@dataclass(frozen=True, eq=False)
class Sample:
    """A person in an image. NaN stands for what is not known.

    image: the file. turn: degrees by which it must be turned clockwise before all else fits it.
    K: (3, 3) intrinsic matrix [px]; without it ``focal`` [px] with the principal point in the middle of the
        image; where ``guessed`` the guess of CLIFF's authors, the image's diagonal. Else nothing is known, and refused.
    box: (4,) left, top, right, bottom of the person [px], no margin; None: the extents of the body.
    boxes: others that the files have, by where they come from.
    rotations (24, 3, 3) parent-relative, root in the optical frame; betas (10,); translation (3,) SMPL's transl.
    extrinsics: (4, 4) the camera's pose, world to optical frame, where root and translation are in the world's.
    gender: whose betas they are, 'neutral', 'male' or 'female'.
    joints: (24, 3) [m] where the file has them, up to a shift.
    keypoints (29, 2) [px] with their confidence (29,); all 0: the projections of the body.
    person: whose recording it is, such as 'downtown_walking_00/1'; frame: which image of it.
    asked: whether the benchmark counts them; nobody is wrong to find the others.
    smplx_betas: of SMPL-X, whose 22 rotations of the body are known then; they mean nothing to SMPL.
    vertices: (6890, 3) [m] of the truth, in the optical frame, where a benchmark has these and no parameters; points2d:
        (K, 2) [px] by which it says who is who.
    joints14: (14, 3) [m] of `evaluation.regressed.J14`, about the pelvis, where a benchmark measured these and no body.
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
    guessed: bool = False
    boxes: Mapping[str, np.ndarray] = field(default_factory=dict)
    person: str = ''
    frame: int = 0
    asked: bool = True
    smplx_betas: np.ndarray | None = None
    vertices: np.ndarray | None = None
    points2d: np.ndarray | None = None
    joints14: np.ndarray | None = None

    def camera(self, width: int, height: int) -> Camera:
        """The camera of the image, which is that large [px]."""
        if self.K is not None:
            return Camera(width, height, self.K)
        if self.focal is None:
            if not self.guessed:
                raise InputError(
                    f"nothing says which focal length '{self.image}' was taken with: give per-camera intrinsics "
                    "('cameras') or a focal length [px] ('focal'), or 'focal: diagonal' if nobody knows it"
                )
            return Camera.uncalibrated(width, height)
        f = self.focal
        return Camera(width, height, np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]]))


@lru_cache(maxsize=16)
def only(body: BodyModel, vertices: tuple[int, ...]) -> BodyModel:
    """The same body with only some of its vertices; its joints stay what they were."""
    if body.num_vertices != NUM_VERTICES:
        raise InputError(
            f"the body '{body.name}' has {body.num_vertices} vertices: labels need one of SMPL's {NUM_VERTICES}"
        )
    return body.only(np.array(vertices))


def face_of(body: BodyModel) -> BodyModel:
    """The body with the five points of the face as its vertices: its joints and vertices are the 29 keypoints."""
    return only(body, tuple(FACE_VERTICES.tolist()))


def outline(
    body: BodyModel, betas: np.ndarray, rotations: np.ndarray, translation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (29, 3) and points all over the surface (N, 3) of one body [m]; arguments as in `Sample`."""
    joints, vertices = only(body, tuple(_OUTLINE.tolist()))(betas[None], rotations[None], translation[None])
    return np.concatenate([joints[0], vertices[0, : len(FACE_VERTICES)]]), vertices[0]
