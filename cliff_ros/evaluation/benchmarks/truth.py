"""Labels made into bodies in front of a camera: the truth that predictions are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cliff_ros.body import NUM_JOINTS
from cliff_ros.camera import Camera
from cliff_ros.datasets.sample import COCO, NUM_VERTICES, Sample
from cliff_ros.errors import InputError
from cliff_ros.evaluation.benchmarks.registry import BOXES, FOCALS
from cliff_ros.evaluation.bodies import BodyFolder
from cliff_ros.synthetic.actor import FACE_VERTICES

_NEAREST = 0.05  # [m] points nearer to the camera, or behind it, are not in the image


@dataclass(frozen=True)
class Truth:
    """One person in the optical frame [m]; None for what the labels do not have.

    joints (24, 3), vertices (6890, 3), rotations (24, 3, 3) parent-relative with the root's first. placed: whether
    joints are where they are in front of the camera, and not only relative to each other.
    """

    sample: Sample
    joints: np.ndarray | None = None
    vertices: np.ndarray | None = None
    rotations: np.ndarray | None = None
    placed: bool = False

    @classmethod
    def of(cls, sample: Sample, bodies: BodyFolder) -> Truth:
        """The body of a sample, by the model to which its shape belongs."""
        if sample.vertices is not None:
            return cls(sample, np.asarray(sample.joints), sample.vertices, None, True)
        smplx = sample.smplx_betas is not None
        betas = sample.smplx_betas if smplx else sample.betas
        if betas is None or not np.isfinite(betas).all():
            return cls(sample)
        body = bodies.body(sample.gender, 'smplx' if smplx else 'smpl')
        rotations, translation = np.array(sample.rotations, np.float64), np.array(sample.translation, np.float64)
        rotations[np.isnan(rotations).any((1, 2))] = np.eye(3)  # SMPL's hands, of which SMPL-X says other things
        if sample.extrinsics is not None:
            rest = body.rest_joints(betas[None, : body.num_betas])[0, 0]
            turn, shift = sample.extrinsics[:3, :3], sample.extrinsics[:3, 3]
            rotations[0] = turn @ rotations[0]
            translation = turn @ (translation + rest) + shift - rest
        placed = bool(np.isfinite(translation).all())
        joints, vertices = (
            out[0].astype(np.float64)
            for out in body(betas[None, : body.num_betas], rotations[None], np.nan_to_num(translation)[None])
        )
        if smplx:
            vertices = bodies.to_smpl @ vertices
        return cls(sample, joints, vertices, rotations, placed)

    @property
    def pelvis(self) -> np.ndarray:
        """(3,) [m], NaN where it is not known."""
        return self.joints[0] if self.placed and self.joints is not None else np.full(3, np.nan)

    @property
    def keypoints(self) -> np.ndarray:
        """(29, 3) [m]: joints and the points of the face."""
        assert self.joints is not None and self.vertices is not None
        return np.concatenate([self.joints[:NUM_JOINTS], self.vertices[FACE_VERTICES]])

    def box(self, source: str, camera: Camera) -> np.ndarray:
        """(4,) raw pixels, no margin, from a source of `BOXES`.

        joints: around COCO's 17 keypoints of the body, as CLIFF's authors did (SMPL's joints and points of its face
        stand for COCO's); body: around the mesh; keypoints, file: what the labels bring along. Where a file has no box,
        or calls it invalid, it is that around the joints.
        """
        sample = self.sample
        if source in sample.boxes:
            return np.asarray(sample.boxes[source], np.float64)
        if source == 'file' and sample.box is not None:
            return np.asarray(sample.box, np.float64)
        if source == 'file':  # EMDB calls some of its own boxes invalid
            source = 'joints'
        if source in ('joints', 'body') and self.placed and self.vertices is not None:
            points = self.keypoints[list(COCO)] if source == 'joints' else self.vertices
            pixels = camera.project(points[points[:, 2] > _NEAREST])
            pixels = pixels[np.isfinite(pixels).all(1)]
            if len(pixels) and (np.ptp(pixels, 0) > 0).all():
                return np.concatenate([pixels.min(0), pixels.max(0)])
        raise InputError(
            f"the labels of '{sample.image.name}' give no box by '{source}': choose another --boxes "
            f'({", ".join(BOXES)})'
        )


def camera_of(sample: Sample, width: int, height: int, focal: str) -> Camera:
    """The camera that the network is told of, by a rule of `FOCALS` or a number of pixels.

    truth: what the labels say. diagonal: CLIFF's guess, sqrt(W^2 + H^2). sum: W + H over 2, with which CLIFF's authors
    tested AGORA.
    """
    if focal == 'truth':
        return sample.camera(width, height)
    if focal == 'diagonal':
        return Camera.uncalibrated(width, height)
    try:
        f = (width + height) / 2 if focal == 'sum' else float(focal)
    except ValueError:
        raise InputError(f"--focal is '{focal}': give {', '.join(FOCALS)}, or pixels") from None
    return Camera(width, height, np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]]))


def as_smpl(vertices: np.ndarray, bodies: BodyFolder) -> np.ndarray:
    """SMPL's meshes (N, 6890, 3) of a network's, float64."""
    vertices = np.asarray(vertices, np.float64)
    if vertices.shape[1] == NUM_VERTICES:
        return vertices
    matrix = bodies.to_smpl
    if matrix.shape[1] != vertices.shape[1]:
        raise InputError(f'the network has {vertices.shape[1]} vertices, smplx2smpl expects {matrix.shape[1]}')
    return np.array([matrix @ one for one in vertices])
