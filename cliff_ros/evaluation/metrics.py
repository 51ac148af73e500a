"""Error measures of human mesh recovery, each by its published protocol.

Everything is float64 numpy over N people; lengths come in as meters and go out as the unit in the docstring.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import integrate
from scipy.optimize import linear_sum_assignment

from cliff_ros.body.tree import world_rotations
from cliff_ros.boxes import inside, iou

# Joints whose global orientation the 3DPW challenge and EMDB compare.
MPJAE_JOINTS = (0, 1, 2, 4, 5, 16, 17, 18, 19)
PCK_JOINTS = (1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21)  # those of the 3DPW challenge
MID_HIP = (1, 2)  # EMDB and AGORA take the mean of SMPL's hips for the pelvis
NECK = 12
# A yaw error beyond this is the front taken for the back, not a person turned a little too far [deg].
FLIP = 90.0


def mpjpe(predicted: np.ndarray, true: np.ndarray, root: int | Sequence[int] | None = 0) -> np.ndarray:
    """Mean per-joint position error (N,) [mm] of joints (N, J, 3) [m].

    root: what both sides are moved to: a joint (3DPW challenge: SMPL's pelvis, 0), or the mean of some (`MID_HIP`:
    EMDB, AGORA); None compares as they are.
    """
    return joint_errors(predicted, true, root).mean(-1)


def joint_errors(predicted: np.ndarray, true: np.ndarray, root: int | Sequence[int] | None = 0) -> np.ndarray:
    """Position error (N, J) [mm] of every joint of (N, J, 3) [m]; root as of `mpjpe`."""
    predicted, true = _float(predicted), _float(true)
    if root is not None:
        predicted, true = predicted - root_of(predicted, root), true - root_of(true, root)
    return 1e3 * np.linalg.norm(predicted - true, axis=-1)


def root_of(joints: np.ndarray, root: int | Sequence[int]) -> np.ndarray:
    """(..., 1, 3): that joint of (..., J, 3), or the mean of those."""
    return _float(joints)[..., np.atleast_1d(root), :].mean(-2, keepdims=True)


def mpjpe_visible(predicted: np.ndarray, true: np.ndarray, visible: np.ndarray, root: int = NECK) -> np.ndarray:
    """Mean position error (N,) [mm] of the joints (N, J, 3) [m] that are visible (N, J) bool; NaN where none is.

    Both sides are moved to the neck, not to the pelvis: of somebody near it is in the image, and a pelvis that nobody
    sees would put its own error on every joint that is seen.
    """
    predicted, true = (_float(side) - _float(side)[..., root : root + 1, :] for side in (predicted, true))
    off, number = np.linalg.norm(predicted - true, axis=-1), np.asarray(visible).sum(-1)
    return np.divide(1e3 * (off * visible).sum(-1), number, out=np.full(number.shape, np.nan), where=number > 0)


def pa_mpjpe(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """MPJPE (N,) [mm] after the best similarity transform of each person (Procrustes analysis; SPIN)."""
    return mpjpe(procrustes(predicted, true), true, root=None)


def pa_mpvpe(predicted: np.ndarray, true: np.ndarray, joints: np.ndarray, true_joints: np.ndarray) -> np.ndarray:
    """Mean per-vertex error (N,) [mm] of meshes (N, V, 3) after the similarity transform that fits their joints
    (N, J, 3) best (EMDB: MVE-PA)."""
    return mpjpe(Similarity.between(joints, true_joints)(predicted), true, root=None)


def mpvpe(predicted: np.ndarray, true: np.ndarray, predicted_root: np.ndarray, true_root: np.ndarray) -> np.ndarray:
    """Mean per-vertex error (N,) [mm] of meshes (N, V, 3) moved to their pelvis (N, 3) (3DPW: PVE)."""
    predicted = _float(predicted) - _float(predicted_root)[..., None, :]
    return mpjpe(predicted, _float(true) - _float(true_root)[..., None, :], root=None)


@dataclass(frozen=True)
class Similarity:
    """N similarity transforms: x -> scale x rotation^T + shift. scale (N,), rotation (N, 3, 3), shift (N, 3)."""

    scale: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray

    @classmethod
    def between(cls, source: np.ndarray, target: np.ndarray) -> Similarity:
        """Those that bring points (N, J, 3) as close to the target as they can.

        Least squares, without reflection (Umeyama 1991). A source of one point only is moved to the target's mean.
        """
        source, target = _float(source), _float(target)
        mean_source, mean_target = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
        a, b = source - mean_source, target - mean_target
        u, s, vt = np.linalg.svd(np.swapaxes(a, -1, -2) @ b)
        sign = np.sign(np.linalg.det(u) * np.linalg.det(vt))
        u[..., -1] *= sign[..., None]
        s[..., -1] *= sign
        size = (a**2).sum((-1, -2))
        scale = np.divide(s.sum(-1), size, out=np.zeros_like(size), where=size > 0)
        turn = np.swapaxes(u @ vt, -1, -2)
        shift = mean_target[..., 0, :] - scale[..., None] * (mean_source @ np.swapaxes(turn, -1, -2))[..., 0, :]
        return cls(scale, turn, shift)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points (N, K, 3), each of the N by its own transform."""
        turned = _float(points) @ np.swapaxes(self.rotation, -1, -2)
        return self.scale[..., None, None] * turned + self.shift[..., None, :]


def procrustes(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Points (N, J, 3) scaled, turned and moved to lie as close to the target as they can."""
    return Similarity.between(source, target)(source)


def rotation_error(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Angle (...) [deg] between rotation matrices (..., 3, 3): the geodesic distance on SO(3)."""
    difference = np.swapaxes(_float(predicted), -1, -2) @ _float(true)
    # atan2 of sine and cosine is exact at both ends, where arccos of the trace alone is not.
    sine = np.sqrt(
        (difference[..., 2, 1] - difference[..., 1, 2]) ** 2
        + (difference[..., 0, 2] - difference[..., 2, 0]) ** 2
        + (difference[..., 1, 0] - difference[..., 0, 1]) ** 2
    )
    return np.degrees(np.arctan2(sine, np.trace(difference, axis1=-2, axis2=-1) - 1))


def global_rotations(rotations: np.ndarray) -> np.ndarray:
    """Orientation of every joint (N, 24, 3, 3) from parent-relative rotations (N, 24, 3, 3)."""
    return world_rotations(_float(rotations))


def mpjae(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Mean per-joint angular error (N,) [deg] of parent-relative rotations (N, 24, 3, 3).

    3DPW challenge and EMDB: global orientations of `MPJAE_JOINTS`.
    """
    joints = list(MPJAE_JOINTS)
    return rotation_error(
        global_rotations(predicted)[..., joints, :, :], global_rotations(true)[..., joints, :, :]
    ).mean(-1)


def mpjae_pa(predicted: np.ndarray, true: np.ndarray, joints: np.ndarray, true_joints: np.ndarray) -> np.ndarray:
    """`mpjae` (N,) [deg] after turning everybody as the similarity transform of their joints (N, J, 3) does
    (3DPW challenge and EMDB: MPJAE-PA)."""
    turned = _float(predicted).copy()
    turned[..., 0, :, :] = Similarity.between(joints, true_joints).rotation @ turned[..., 0, :, :]
    return mpjae(turned, true)


def pck(errors: np.ndarray, threshold: float = 50.0) -> float:
    """Share of joint errors (N, J) [mm] that are at most the threshold [mm] (3DPW challenge: of `PCK_JOINTS`)."""
    return float((_float(errors) <= threshold).mean()) if np.size(errors) else float('nan')


def auc(errors: np.ndarray, most: float = 200.0) -> float:
    """Area under the curve of `pck` over thresholds 0, 1, ..., most - 1 mm, which are brought to 0..1 (3DPW challenge).

    Integrated as the challenge's code does, to give its figure: adaptively, which for this curve of many corners ends
    some 1e-5 beside the sum of the trapezoids.
    """
    errors = _float(errors)
    if not errors.size:
        return float('nan')
    thresholds = np.arange(0.0, most)
    shares = np.searchsorted(np.sort(errors, axis=None), thresholds, side='right') / errors.size
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', integrate.IntegrationWarning)
        return float(integrate.quad(lambda x: np.interp(x, thresholds / thresholds[-1], shares), 0.0, 1.0)[0])


def joint_angle_error(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Mean angle (N,) [deg] of the 23 parent-relative rotations below the root, given (N, 24, 3, 3)."""
    return rotation_error(predicted[..., 1:, :, :], true[..., 1:, :, :]).mean(-1)


def yaw(root: np.ndarray) -> np.ndarray:
    """Where a chest points (...) [deg], seen from above, of root rotations (..., 3, 3) in the optical frame.

    0 is along the optical axis (the person's back to the camera), 90 to the right of the image.
    """
    # SMPL's z axis comes out of the chest; x right and z forward span the optical frame's floor.
    return np.degrees(np.arctan2(root[..., 0, 2], root[..., 2, 2]))


def yaw_error(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Signed difference of yaw (...) [deg], in [-180, 180), of root rotations (..., 3, 3)."""
    return _wrap(yaw(_float(predicted)) - yaw(_float(true)))


def flip_rate(predicted: np.ndarray, true: np.ndarray) -> float:
    """Share of people, given their roots (N, 3, 3), whose yaw is more than 90 degrees off."""
    return float((np.abs(yaw_error(predicted, true)) > FLIP).mean())


def yaw_slope(
    errors: np.ndarray, azimuths: np.ndarray, resamples: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """How a signed yaw error grows with where a person stands: slope, and its 95 % bootstrap interval.

    errors: (N,) [deg] from `yaw_error`; azimuths: (N,) [deg] of the people, positive to the right of the image.
    0 is right. -1 is a network that sees only a crop: it reports people as if they stood on the optical axis,
    and so is wrong by the very angle at which they stand (the argument of CLIFF, figure 1).

    A line is fitted robustly (Tukey's biweight) to errors that wrap around; whoever is more than `FLIP` from
    the line has no say. NaN throughout where no line can be drawn: fewer than three people, or all of them in
    one direction or flipped.
    """
    errors, azimuths = _float(errors), _float(azimuths)
    if len(errors) < 3 or np.ptp(azimuths) < 1e-6:
        return np.nan, np.nan, np.nan
    line = _robust_line(azimuths, errors, np.zeros(2))
    if np.isnan(line).any():
        return np.nan, np.nan, np.nan
    rng, slopes = np.random.default_rng(seed), np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(0, len(errors), len(errors))
        slopes[i] = _robust_line(azimuths[drawn], errors[drawn], line)[1]
    low, high = np.nanpercentile(slopes, (2.5, 97.5))
    return float(line[1]), float(low), float(high)


def _robust_line(x: np.ndarray, y: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(intercept, slope) of angles y [deg] over x, improved from a first guess by reweighting.

    NaN where too few points are left for a line.
    """
    cutoff = FLIP  # at first everybody who is not flipped counts
    for _ in range(30):
        residual = _wrap(y - line[0] - line[1] * x)
        distance = np.abs(residual)
        weights = np.clip(1 - (distance / cutoff) ** 2, 0, None) ** 2
        total = weights.sum()
        mean = weights @ x / max(total, 1e-12)
        spread = weights @ (x - mean) ** 2
        if spread < 1e-9 * max(total, 1):
            return np.full(2, np.nan)
        # Each error is seen as a step from the line, on the side of the circle where it is the shorter one.
        slope = weights @ ((x - mean) * residual) / spread
        step = np.array([weights @ residual / total - slope * mean, slope])
        line = line + step
        if np.abs(step).max() < 1e-6:
            break
        # 4.685 deviations have 95 % of the efficiency of least squares (Tukey); 0.6745 of one is the median.
        cutoff = min(max(4.685 / 0.6745 * np.median(distance[distance < FLIP]), 1.0), FLIP)
    return line


def _wrap(degrees: np.ndarray) -> np.ndarray:
    """Angles [deg] brought to [-180, 180)."""
    return (degrees + 180) % 360 - 180


def translation_error(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distance (N,) [m] between positions (N, 3) [m], such as pelvises."""
    return np.linalg.norm(_float(predicted) - _float(true), axis=-1)


def reprojection_error(predicted: np.ndarray, true: np.ndarray, visible: np.ndarray | None = None) -> np.ndarray:
    """Mean distance (N,) [px] of joints in the image (N, J, 2).

    visible: (N, J) bool, the joints that count; by default all with finite true positions. NaN where none do.
    """
    distance = np.linalg.norm(_float(predicted) - _float(true), axis=-1)
    counts = np.isfinite(_float(true)).all(-1)
    if visible is not None:
        counts &= visible
    number = counts.sum(-1)
    total = np.where(counts, distance, 0).sum(-1)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def box_fraction(pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Errors (N,) [px] as fractions of the heights of boxes (N, 4)."""
    boxes = _float(boxes)
    return pixels / (boxes[..., 3] - boxes[..., 1])


def match(predicted: np.ndarray, true: np.ndarray, min_iou: float = 0.5) -> list[tuple[int, int]]:
    """Pairs (index of predicted, index of true) of boxes (N, 4) and (M, 4): best total overlap, one to one.

    Pairs that overlap by less than min_iou do not count.
    """
    overlap = iou(_float(predicted), _float(true))
    overlap[overlap < min_iou] = 0
    best = zip(*linear_sum_assignment(-overlap), strict=True)
    return [(int(i), int(j)) for i, j in best if overlap[i, j] > 0]


def left_out(predicted: np.ndarray, ignored: np.ndarray, min_iou: float = 0.4) -> np.ndarray:
    """(N,) bool: predicted boxes (N, 4) that are neither right nor wrong, because they show somebody in a box
    of ignored (M, 4): they overlap it by min_iou, or lie mostly in it.
    """
    predicted, ignored = (np.reshape(_float(boxes), (-1, 4)) for boxes in (predicted, ignored))
    mostly = (iou(predicted, ignored) >= min_iou) | (inside(predicted, ignored) > 0.5)
    return np.any(mostly, axis=1)


def recall_precision(frames: Iterable[Sequence[np.ndarray]], min_iou: float = 0.5) -> tuple[float, float]:
    """Share of true people who are found, and of predicted ones who are there.

    frames: (predicted boxes (N, 4), true boxes (M, 4)) of every image, and perhaps a third, the boxes of
    people who are not asked for (`left_out`). NaN where there is nobody to find.
    """
    matched = found = asked = 0
    for predicted, true, *ignored in frames:
        pairs = match(predicted, true, min_iou)
        wrong = np.delete(np.arange(len(predicted)), [i for i, _ in pairs])
        if ignored:
            wrong = wrong[~left_out(np.asarray(predicted)[wrong], ignored[0])]
        matched, asked, found = matched + len(pairs), asked + len(true), found + len(pairs) + len(wrong)
    return matched / asked if asked else np.nan, matched / found if found else np.nan


def _float(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64)
