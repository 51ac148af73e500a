"""Plausible body poses, as Euler angles of SMPL's joints.

Angles are degrees, (..., 24, 3), rotations about the joint's own x, y, z axes (R = Rx Ry Rz; rest axes
x left, y up, z forward). Joint 0 holds only the lean of the whole body; where it faces is the scene's.
A pose is *angles* until the last moment, because angles interpolate naturally between key poses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cliff_ros.body.names import NUM_JOINTS
from cliff_ros.synthetic import motions

EVERYDAY = dict(walk=0.25, run=0.04, stand=0.14, gesture=0.2, reach=0.1, lift=0.05, sit=0.09, crouch=0.07, wild=0.06)
COMMON_POSES = {name: share for name, share in EVERYDAY.items() if name != 'wild'}
# What training adds: poses of `motions`, and some of which there are few motions
_MORE = dict(motion=0.36, lie=0.06, kneel=0.04, floor=0.04, climb=0.04)


def _with_more(mix: dict[str, float], share: float) -> dict[str, float]:
    """`mix`, of which other poses take so much."""
    left, of_mix, of_more = 1 - share, sum(mix.values()), sum(_MORE.values())
    return {name: left * value / of_mix for name, value in mix.items()} | {
        name: share * value / of_more for name, value in _MORE.items()
    }


ALL_POSES = _with_more(EVERYDAY, 0.54)
LIVED_POSES = _with_more(COMMON_POSES, 0.35)  # of everyday scenes that are trained on
KINDS = tuple(ALL_POSES)
# (hip, knee, ankle, foot, collar, shoulder, elbow, wrist, hand) of the left and the right side
SIDES = ((1, 4, 7, 10, 13, 16, 18, 20, 22), (2, 5, 8, 11, 14, 17, 19, 21, 23))


def euler_to_matrix(angles: np.ndarray) -> np.ndarray:
    """(..., 3) degrees -> (..., 3, 3) float32, R = Rx Ry Rz."""
    angles = np.deg2rad(angles)
    cx, cy, cz = np.moveaxis(np.cos(angles), -1, 0)
    sx, sy, sz = np.moveaxis(np.sin(angles), -1, 0)
    rows = [
        cy * cz,
        -cy * sz,
        sy,
        cx * sz + sx * sy * cz,
        cx * cz - sx * sy * sz,
        -sx * cy,
        sx * sz - cx * sy * cz,
        sx * cz + cx * sy * sz,
        cx * cy,
    ]
    return np.stack(rows, -1).reshape(*angles.shape[:-1], 3, 3).astype(np.float32)


@dataclass(frozen=True)
class WalkStyle:
    """How n people walk: every field is (n,), degrees unless it says otherwise."""

    stride: np.ndarray
    knee: np.ndarray
    arm_swing: np.ndarray  # relative to the stride
    arm_abduction: np.ndarray
    elbow: np.ndarray
    lean: np.ndarray

    @classmethod
    def sample(cls, rng: np.random.Generator, n: int) -> WalkStyle:
        """Styles of n people, every field drawn independently; a fifth of the elbows are bent by 60 degrees more."""
        return cls(
            stride=rng.uniform(10, 40, n),
            knee=rng.uniform(20, 75, n),
            arm_swing=rng.uniform(0.3, 1.3, n),
            arm_abduction=rng.normal(-70, 6, n),
            elbow=rng.gamma(2, 14, n) + (rng.random(n) < 0.2) * 60,
            lean=rng.normal(3, 3, n),
        )

    def angles(self, phase: np.ndarray) -> np.ndarray:
        """(n, 24, 3) at that phase of the gait cycle [rad]."""
        pose = np.zeros((len(self.stride), NUM_JOINTS, 3))
        for side, (hip, knee, ankle, foot, _, shoulder, elbow, _, _) in enumerate(SIDES):
            sign, p = 1 - 2 * side, phase + np.pi * side
            pose[:, hip, 0] = -self.stride * np.sin(p) - 4
            pose[:, hip, 2] = sign * 2
            pose[:, knee, 0] = 5 + self.knee * np.maximum(0, np.cos(p))
            pose[:, ankle, 0] = 8 * np.sin(p + 0.5)
            pose[:, foot, 0] = -12 * np.maximum(0, -np.sin(p))
            pose[:, shoulder, 0] = self.stride * self.arm_swing * np.sin(p)
            pose[:, shoulder, 1] = -sign * 5
            pose[:, shoulder, 2] = sign * self.arm_abduction
            pose[:, elbow, 1] = -sign * self.elbow * (0.8 + 0.4 * np.maximum(0, -np.sin(p)))
        pose[:, 0, 0] = self.lean
        pose[:, 3, 0], pose[:, 3, 1] = 3, 8 * np.sin(phase)
        pose[:, 9, 1] = -10 * np.sin(phase)
        return pose


def _torso(rng, n, spread):
    """Spine, neck, head, collars, wrists: small, independent, `spread` times the everyday amount."""
    pose = np.zeros((n, NUM_JOINTS, 3))
    for joint, sigma in ((3, (6, 7, 4)), (6, (5, 6, 4)), (9, (5, 6, 4)), (12, (8, 12, 6)), (15, (10, 18, 6))):
        pose[:, joint] = rng.normal(0, sigma, (n, 3)) * spread
    for _, _, _, foot, collar, _, _, wrist, hand in SIDES:
        pose[:, collar] = rng.normal(0, (3, 5, 5), (n, 3))
        pose[:, wrist] = rng.normal(0, (12, 10, 15), (n, 3))
        pose[:, hand] = rng.normal(0, (5, 5, 10), (n, 3))
        pose[:, foot] = rng.normal(0, (6, 2, 2), (n, 3))
    pose[:, 3, 0] += 4
    lean = (rng.random(n) < 0.2) * rng.gamma(2, 12, n)
    pose[:, 3, 0] += 0.4 * lean
    pose[:, 6, 0] += 0.3 * lean
    pose[:, 9, 0] += 0.3 * lean
    return pose


def _twist(rng, n, sign):
    """Of the elbow's hinge about the upper arm [deg]; positive turns the forearm inward, across the body."""
    return sign * rng.normal(5, 14, n)


def _hanging_arm(rng, n, sign):
    shoulder = np.stack([rng.normal(0, 12, n), sign * rng.normal(-8, 12, n), sign * rng.normal(-66, 10, n)], 1)
    return shoulder, rng.gamma(1.5, 14, n), _twist(rng, n, sign)


def _bent_arm(rng, n, sign):
    """Upper arm at the side, forearm up or across: telephone, cup, folded arms, hand at the chin."""
    shoulder = np.stack([rng.normal(-8, 14, n), sign * rng.normal(-12, 14, n), sign * rng.normal(-64, 12, n)], 1)
    return shoulder, rng.uniform(70, 145, n), sign * rng.uniform(-15, 75, n)


def _hip_arm(rng, n, sign):
    """Hand on the hip or in a pocket: elbow out, forearm back to the body."""
    out = rng.uniform(0, 1, n)
    shoulder = np.stack([rng.normal(15, 10, n), sign * rng.normal(5, 10, n), sign * (-66 + 28 * out)], 1)
    return shoulder, 25 + 75 * out + rng.normal(0, 8, n), sign * rng.uniform(45, 100, n)


def _gesturing_arm(rng, n, sign):
    shoulder = np.stack([rng.normal(0, 20, n), sign * rng.uniform(-80, 20, n), sign * rng.uniform(-70, 60, n)], 1)
    return shoulder, rng.gamma(2, 28, n), _twist(rng, n, sign)


def _forward_arm(rng, n, sign):
    """Reaching, carrying, working at a table: hands in front of the body."""
    shoulder = np.stack([rng.normal(0, 15, n), sign * rng.uniform(-95, -35, n), sign * rng.uniform(-65, 20, n)], 1)
    return shoulder, rng.gamma(2, 22, n), _twist(rng, n, sign)


def _wild_arm(rng, n, sign):
    shoulder = np.stack([rng.normal(0, 35, n), sign * rng.uniform(-90, 35, n), sign * rng.uniform(-80, 80, n)], 1)
    return shoulder, rng.gamma(2, 32, n), 2 * _twist(rng, n, sign)


def _set_arms(pose, rng, choices):
    """Each arm of each person takes one of the styles; `choices` maps a style to its probability."""
    n = len(pose)
    for side, indices in enumerate(SIDES):
        sign, shoulder, elbow = 1 - 2 * side, indices[5], indices[6]
        pick = rng.choice(len(choices), n, p=np.array(list(choices.values())))
        for k, style in enumerate(choices):
            angles, bend, twist = style(rng, n, sign)
            mask = pick == k
            pose[mask, shoulder] = angles[mask]
            pose[mask, elbow, 0] = twist[mask]
            pose[mask, elbow, 1] = -sign * np.minimum(140, bend)[mask]


def _set_legs(pose, rng, flexion, knee, spread):
    """Hips flexed by `flexion` (n,), knees by `knee` (n,), each with its own variation."""
    n = len(pose)
    for side, (hip, knee_joint, ankle, *_) in enumerate(SIDES):
        sign = 1 - 2 * side
        pose[:, hip] = np.stack(
            [
                -flexion + rng.normal(-4, 8, n) * spread,
                sign * rng.normal(4, 9, n) * spread,
                sign * np.abs(rng.normal(3, 8, n)) * spread,
            ],
            1,
        )
        pose[:, knee_joint, 0] = np.clip(knee * rng.uniform(0.85, 1.15, n) + rng.gamma(1.2, 6, n) * spread, 0, 145)
        pose[:, ankle, 0] = rng.normal(0, 8, n) - 0.12 * flexion


def _stand(rng, n):
    pose = _torso(rng, n, 1)
    _set_legs(pose, rng, np.zeros(n), np.zeros(n), 0.8)
    _set_arms(pose, rng, {_hanging_arm: 0.5, _bent_arm: 0.22, _hip_arm: 0.18, _forward_arm: 0.1})
    return pose


def _gesture(rng, n):
    pose = _torso(rng, n, 1.2)
    _set_legs(pose, rng, np.zeros(n), np.zeros(n), 1.2)
    _set_arms(
        pose, rng, {_hanging_arm: 0.25, _gesturing_arm: 0.45, _forward_arm: 0.12, _bent_arm: 0.13, _hip_arm: 0.05}
    )
    return pose


def _reach(rng, n):
    pose = _torso(rng, n, 1.2)
    bend = rng.uniform(0, 55, n)
    pose[:, 3, 0] += 0.4 * bend
    pose[:, 6, 0] += 0.2 * bend
    _set_legs(pose, rng, 0.6 * bend, rng.uniform(0, 40, n), 1.2)
    _set_arms(pose, rng, {_forward_arm: 0.7, _gesturing_arm: 0.3})
    pose[:, 0, 0] += 0.3 * bend
    return pose


def _lift(rng, n):
    """Both hands down to a thing on the floor, out of the back or out of the knees."""
    pose = _torso(rng, n, 1)
    back, knees = rng.uniform(20, 95, n), rng.uniform(5, 90, n)
    pose[:, 0, 0] += 0.45 * back
    pose[:, 3, 0] += 0.3 * back
    pose[:, 6, 0] += 0.15 * back
    pose[:, 9, 0] += 0.1 * back
    _set_legs(pose, rng, 0.45 * back + knees, knees * 1.1, 0.7)
    _set_arms(pose, rng, {_forward_arm: 0.8, _hanging_arm: 0.2})
    return pose


def _sit(rng, n):
    pose = _torso(rng, n, 1.1)
    _set_legs(pose, rng, rng.normal(88, 9, n), rng.normal(85, 14, n), 1)
    _set_arms(pose, rng, {_hanging_arm: 0.25, _forward_arm: 0.4, _gesturing_arm: 0.15, _bent_arm: 0.2})
    return pose


def _crouch(rng, n):
    pose = _torso(rng, n, 1.2)
    depth = rng.uniform(30, 115, n)
    _set_legs(pose, rng, depth, depth * rng.uniform(0.7, 1.2, n), 1.2)
    pose[:, 3, 0] += depth * 0.2
    pose[:, 0, 0] += depth * rng.uniform(0, 0.35, n)
    _set_arms(pose, rng, {_forward_arm: 0.6, _hanging_arm: 0.2, _gesturing_arm: 0.2})
    return pose


def _wild(rng, n):
    pose = _torso(rng, n, 1.6)
    _set_legs(pose, rng, np.abs(rng.normal(20, 30, n)), rng.gamma(1.8, 28, n), 2)
    _set_arms(pose, rng, {_wild_arm: 0.8, _gesturing_arm: 0.2})
    pose[:, 0] += rng.normal(0, (14, 0, 11), (n, 3))
    return pose


def _walk(rng, n):
    pose = WalkStyle.sample(rng, n).angles(rng.uniform(0, 2 * np.pi, n)) + _torso(rng, n, 0.7)
    busy = rng.random(n) < 0.3  # one arm carries, points or telephones meanwhile
    acting = pose.copy()
    _set_arms(acting, rng, {_bent_arm: 0.4, _hip_arm: 0.15, _forward_arm: 0.25, _hanging_arm: 0.2})
    for _, _, _, _, _, shoulder, elbow, _, _ in SIDES:
        mask = busy & (rng.random(n) < 0.6)
        pose[mask, shoulder], pose[mask, elbow] = acting[mask, shoulder], acting[mask, elbow]
    return pose


def _run(rng, n):
    style = WalkStyle.sample(rng, n)
    fast = replace(
        style,
        stride=rng.uniform(32, 60, n),
        knee=rng.uniform(70, 120, n),
        elbow=rng.uniform(60, 110, n),
        lean=rng.normal(10, 5, n),
    )
    return fast.angles(rng.uniform(0, 2 * np.pi, n)) + _torso(rng, n, 0.8)


def _lie(rng, n):
    """On the back, a side or the belly; legs drawn up or not."""
    pose = _torso(rng, n, 1.2)
    drawn_up = (rng.random(n) < 0.5) * rng.uniform(10, 110, n)
    _set_legs(pose, rng, drawn_up, drawn_up * rng.uniform(0.6, 1.2, n), 1.3)
    _set_arms(pose, rng, {_hanging_arm: 0.3, _gesturing_arm: 0.3, _forward_arm: 0.15, _bent_arm: 0.25})
    roll = rng.choice([0.0, 90.0, -90.0, 180.0], n, p=[0.4, 0.2, 0.2, 0.2]) + rng.normal(0, 15, n)
    pose[:, 0] = np.stack([rng.normal(-90, 6, n), roll, np.zeros(n)], 1)
    return pose


def _kneel(rng, n):
    """On both knees or on one, upright, on the heels or bent forward over the hands."""
    pose = _torso(rng, n, 1.1)
    sink, one = rng.uniform(0, 1, n) ** 1.5, rng.random(n) < 0.4
    bend = (rng.random(n) < 0.4) * rng.uniform(10, 80, n)
    _set_legs(pose, rng, 55 * sink + bend, 88 + 55 * sink, 0.6)
    front = np.where(rng.random(n) < 0.5, 0, 1)
    for side, (hip, knee, ankle, *_) in enumerate(SIDES):
        mask = one & (front == side)
        pose[mask, hip, 0] = -rng.normal(88, 8, mask.sum())
        pose[mask, knee, 0] = rng.normal(88, 8, mask.sum())
        pose[~mask, ankle, 0] = rng.normal(35, 8, (~mask).sum())
    _set_arms(pose, rng, {_forward_arm: 0.55, _hanging_arm: 0.2, _gesturing_arm: 0.1, _bent_arm: 0.15})
    pose[:, 0, 0] += bend
    return pose


def _floor(rng, n):
    """Sitting on the floor or a step: legs stretched, drawn up, crossed."""
    pose = _torso(rng, n, 1.2)
    up = rng.uniform(0, 1, n)
    _set_legs(pose, rng, 80 + 45 * up, 10 + 105 * up, 1)
    crossed = (rng.random(n) < 0.3) * rng.uniform(30, 60, n)
    for side, (hip, *_) in enumerate(SIDES):
        pose[:, hip, 1] += (1 - 2 * side) * crossed
        pose[:, hip, 2] += (1 - 2 * side) * 0.6 * crossed
    _set_arms(pose, rng, {_hanging_arm: 0.3, _forward_arm: 0.45, _gesturing_arm: 0.1, _bent_arm: 0.15})
    pose[:, 0, 0] += rng.normal(-10, 12, n)
    return pose


def _climb(rng, n):
    """A ladder, a wall, a high step: one leg and one arm up."""
    pose, up = _torso(rng, n, 1.2), rng.random(n) < 0.5
    pose[:, 0, 0] += rng.normal(5, 10, n)
    for side, (hip, knee, _, _, _, shoulder, elbow, _, _) in enumerate(SIDES):
        sign, high = 1 - 2 * side, up == bool(side)
        bend = np.where(high, rng.uniform(50, 120, n), rng.uniform(0, 30, n))
        pose[:, hip] = np.stack([-bend, sign * rng.normal(10, 12, n), sign * rng.normal(8, 8, n)], 1)
        pose[:, knee, 0] = np.clip(bend * rng.uniform(0.6, 1.3, n), 0, 140)
        reach = np.where(high, rng.uniform(-20, 30, n), rng.uniform(30, 80, n))
        pose[:, shoulder] = np.stack([rng.normal(0, 12, n), sign * rng.uniform(-80, -30, n), sign * reach], 1)
        pose[:, elbow, 1] = -sign * rng.gamma(2, 22, n).clip(0, 130)
    return pose


_SAMPLERS = dict(
    walk=_walk,
    run=_run,
    stand=_stand,
    gesture=_gesture,
    reach=_reach,
    lift=_lift,
    sit=_sit,
    crouch=_crouch,
    wild=_wild,
    motion=motions.sample,
    lie=_lie,
    kneel=_kneel,
    floor=_floor,
    climb=_climb,
)


def sample_poses(rng: np.random.Generator, n: int, mix: dict[str, float] = ALL_POSES) -> np.ndarray:
    """(n, 24, 3) angles [deg] of n people; `mix` gives the share of each kind."""
    pick = rng.choice(len(mix), n, p=np.array(list(mix.values())) / sum(mix.values()))
    poses = np.zeros((n, NUM_JOINTS, 3))
    for k, kind in enumerate(mix):
        mask = pick == k
        if mask.any():
            poses[mask] = _SAMPLERS[kind](rng, int(mask.sum()))
    poses[:, 0] += rng.normal(0, (4, 0, 3), (n, 3))
    return poses
