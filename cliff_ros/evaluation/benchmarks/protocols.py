"""How each benchmark measures: columns with a row per person, and what they are summed up to.

Lengths come in as meters and go out as millimeters, by the keys' endings; all in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cliff_ros.evaluation import metrics, motion
from cliff_ros.evaluation.regressed import about_pelvis, h36m_joints

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class People:
    """N people as arrays, each of which may be missing: joints (N, 24, 3), vertices (N, 6890, 3), rotations
    (N, 24, 3, 3), SMPL's transl (N, 3), joints14 (N, 14, 3) about the pelvis, keypoints (N, 29, 2) [px] with confidence
    (N, 29), boxes (N, 4)."""

    joints: np.ndarray | None = None
    vertices: np.ndarray | None = None
    rotations: np.ndarray | None = None
    translation: np.ndarray | None = None
    joints14: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    confidence: np.ndarray | None = None
    boxes: np.ndarray | None = None


@dataclass(frozen=True)
class Protocol:
    """One way of measuring.

    text: what it is, for people. needs_h36m: whether Human3.6M's regressor. columns: errors of (predicted, true), given
    that regressor (17, 6890) or None. sums: what the columns come to besides their means, or in place of them.
    """

    name: str
    text: str
    columns: Callable[[People, People, np.ndarray | None], Columns]
    needs_h36m: bool = False
    sums: Callable[[Columns, Mapping[str, np.ndarray]], dict[str, float]] | None = None

    def summary(self, columns: Columns, sequences: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """Of all people. sequences: person -> rows of theirs in the order of their frames."""
        means = {name: _mean(values) for name, values in columns.items() if values.ndim == 1 and values.dtype != object}
        return means | {
            name: _plain(value) for name, value in (self.sums(columns, sequences) if self.sums else {}).items()
        }


def _spin(predicted: People, true: People, regressor: np.ndarray | None) -> Columns:
    assert regressor is not None and predicted.vertices is not None
    joints, pelvis = about_pelvis(h36m_joints(predicted.vertices, regressor))
    if true.vertices is None:
        assert true.joints14 is not None
        return _fourteen(joints, true.joints14)
    true_joints, true_pelvis = about_pelvis(h36m_joints(true.vertices, regressor))
    return _fourteen(joints, true_joints) | {
        'pve_mm': metrics.mpvpe(predicted.vertices, true.vertices, pelvis, true_pelvis)
    }


def _fourteen(joints: np.ndarray, true: np.ndarray) -> Columns:
    return {'mpjpe_mm': metrics.mpjpe(joints, true, None), 'pa_mpjpe_mm': metrics.pa_mpjpe(joints, true)}


def _challenge(predicted: People, true: People, regressor: np.ndarray | None) -> Columns:
    assert predicted.joints is not None and true.joints is not None
    errors = metrics.joint_errors(predicted.joints, true.joints)
    return {
        'mpjpe_mm': errors.mean(1),
        'pa_mpjpe_mm': metrics.pa_mpjpe(predicted.joints, true.joints),
        'joint_errors': errors,
        **_angles(predicted, true),
    }


def _challenge_sums(columns: Columns, sequences: Mapping[str, np.ndarray]) -> dict[str, float]:
    errors = columns['joint_errors'][:, list(metrics.PCK_JOINTS)]
    return {'pck_percent': 100 * metrics.pck(errors), 'auc': metrics.auc(errors)}


def _mid_hip(predicted: People, true: People, regressor: np.ndarray | None) -> Columns:
    assert predicted.joints is not None and true.joints is not None
    assert predicted.vertices is not None and true.vertices is not None
    hips = [metrics.root_of(side.joints, metrics.MID_HIP)[:, 0] for side in (predicted, true)]  # type: ignore[arg-type]
    return {
        'mpjpe_mm': metrics.mpjpe(predicted.joints, true.joints, metrics.MID_HIP),
        'pa_mpjpe_mm': metrics.pa_mpjpe(predicted.joints, true.joints),
        'mve_mm': metrics.mpvpe(predicted.vertices, true.vertices, *hips),
        'pa_mve_mm': metrics.pa_mpvpe(predicted.vertices, true.vertices, predicted.joints, true.joints),
        'joint_errors': metrics.joint_errors(predicted.joints, true.joints, metrics.MID_HIP),
    }


def _emdb(predicted: People, true: People, regressor: np.ndarray | None) -> Columns:
    assert predicted.joints is not None and predicted.translation is not None
    # EMDB sets the predicted translation to zero: its jitter is of the pose, not of the place.
    still = predicted.joints - predicted.translation[:, None]
    return _mid_hip(predicted, true, regressor) | _angles(predicted, true) | {'unmoved': still}


def _emdb_sums(columns: Columns, sequences: Mapping[str, np.ndarray]) -> dict[str, float]:
    jitters = [motion.jitter(columns['unmoved'][rows]) for rows in sequences.values()]
    jitters = [value for value in jitters if np.isfinite(value)]
    return {'jitter_10m_s3': float(np.mean(jitters)) if jitters else float('nan')}


def _angles(predicted: People, true: People) -> Columns:
    if predicted.rotations is None or true.rotations is None or predicted.joints is None or true.joints is None:
        return {}
    sides = predicted.rotations, true.rotations
    return {'mpjae_deg': metrics.mpjae(*sides), 'mpjae_pa_deg': metrics.mpjae_pa(*sides, predicted.joints, true.joints)}


def _two(predicted: People, true: People, regressor: np.ndarray | None) -> Columns:
    assert predicted.keypoints is not None and true.keypoints is not None
    assert true.confidence is not None and true.boxes is not None
    off = np.linalg.norm(predicted.keypoints - true.keypoints, axis=2)
    off /= (true.boxes[:, 2:] - true.boxes[:, :2]).max(1)[:, None]
    seen = true.confidence > 0
    number = seen.sum(1)

    def share(values: np.ndarray) -> np.ndarray:
        total = np.where(seen, values, 0).sum(1)
        return np.divide(100.0 * total, number, out=np.full(len(total), np.nan), where=number > 0)

    return {'error_box_percent': share(off), 'pck5_percent': share(off <= 0.05), 'pck10_percent': share(off <= 0.1)}


def _mean(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol('14 joints', "Human3.6M's 14 joints about its pelvis (SPIN; the paper's)", _spin, True),
        Protocol('challenge', "3DPW challenge: SMPL's 24 joints about its pelvis", _challenge, sums=_challenge_sums),
        Protocol('emdb', "EMDB: SMPL's 24 joints about the middle of the hips", _emdb, sums=_emdb_sums),
        Protocol('mid-hip', "SMPL's 24 joints about the middle of the hips (AGORA, BEDLAM, RICH)", _mid_hip),
        Protocol('2D', 'keypoints in the image, over the longer side of the box', _two),
    )
}
