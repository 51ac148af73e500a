"""Bring recorded and drawn motions of other rigs onto the embedded body: the file of poses that training samples.

    python tools/bake_motions.py cliff_ros/data/poses.npz --motion FOLDER --poses FOLDER [--sheet SHEET.jpg]

motion: glTF binaries of Mesh2Motion's human animations (github.com/scottpetrovic/mesh2motion-app, CC0 1.0), on a
Rigify and on an Unreal-like rig. poses: single-pose .bvh files on MakeHuman's default rig
(github.com/makehumancommunity/makehuman-assets, CC0 1.0).

How: a bone's turn away from its rest pose, in the world, is what a joint of the body does; before it a joint is turned
by the smallest rotation that brings its own limb at rest (arms out) to that of the rig (arms out, or hanging). Chains
of another length: each joint of the body takes the bone whose far end carries the next joint. Frames are kept where
they differ from the last one kept; those in which hands or arms are inside the body are dropped.
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from cliff_ros.body import load_body
from cliff_ros.body.names import PARENTS

FPS = 30
STEP = 1.2  # [deg] mean over the joints between two frames that are kept
LEFT = {1: 'thigh', 4: 'shin', 7: 'foot', 10: 'toe', 13: 'collar', 16: 'arm', 18: 'forearm', 20: 'hand', 22: 'fingers'}
MIDDLE = {0: 'pelvis', 3: 'spine1', 6: 'spine2', 9: 'spine3', 12: 'neck', 15: 'head'}
ROLES = MIDDLE | {j: name + '.L' for j, name in LEFT.items()} | {j + 1: name + '.R' for j, name in LEFT.items()}
# joint -> the child that its limb points to; the others keep the rig's turn as it is: soles, spines and heads are alike
LIMBS = {1: 4, 2: 5, 4: 7, 5: 8, 16: 18, 17: 19, 18: 20, 19: 21, 20: 22, 21: 23}
RIGIFY = dict(
    pelvis='DEF-hips',
    spine1='DEF-spine.001',
    spine2='DEF-spine.002',
    spine3='DEF-spine.003',
    neck='DEF-neck',
    head='DEF-head',
    thigh='DEF-thigh.',
    shin='DEF-shin.',
    foot='DEF-foot.',
    toe='DEF-toe.',
    collar='DEF-shoulder.',
    arm='DEF-upper_arm.',
    forearm='DEF-forearm.',
    hand='DEF-hand.',
    fingers='DEF-f_middle.01.',
)
UNREAL = dict(
    pelvis='pelvis',
    spine1='spine_01',
    spine2='spine_02',
    spine3='spine_03',
    neck='neck_01',
    head='head',
    thigh='thigh_',
    shin='calf_',
    foot='foot_',
    toe='ball_',
    collar='clavicle_',
    arm='upperarm_',
    forearm='lowerarm_',
    hand='hand_',
    fingers='middle_01_',
)
MAKEHUMAN = dict(
    pelvis='root',
    spine1='spine04',
    spine2='spine03',
    spine3='spine01',
    neck='neck02',
    head='head',
    thigh='upperleg02.',
    shin='lowerleg01.',
    foot='foot.',
    toe='toe2-1.',
    collar='clavicle.',
    arm='upperarm01.',
    forearm='lowerarm01.',
    hand='wrist.',
    fingers='finger3-1.',
)
# What an animation shows -> words in its name; the first that fits. Everything else is 'act'.
CLASSES = {
    'rest': ('t-pose', 'tpose', 'rest pose'),
    'lie': ('sleeping',),
    'fall': ('death',),
    'dance': ('dance', 'gym', 'victory'),
    'swim': ('swim', 'flying', 'fly0'),
    'crawl': ('crawl', 'pushup', 'tired hunched'),
    'roll': ('roll', 'backflip'),
    'kneel': ('kneeling', 'meditate'),
    'crouch': ('crouch', 'power up'),
    'sit': ('sit', 'driving'),
    'pick_up': ('pickup', 'interact', 'push_loop', 'fixing', 'consume', 'throw'),
    'jump': ('jump', 'levitate'),
    'fight': ('punch', 'sword', 'pistol', 'fight', 'defend', 'spell', 'blast', 'hit'),
    'run': ('jog', 'sprint', 'run'),
    'walk': ('walk',),
    'stand': ('idle', 'standing', 'nod', 'shivering'),
}
# Arms out as at rest, and three that repeat on the move what others do on the spot.
UNUSABLE = ('rest', 'Idle', 'Sit', 'Walk', 'Roll_RM', 'Crawl RM', 'Sword_Attack_RM')


def class_of(name: str) -> str:
    return next((kind for kind, words in CLASSES.items() if any(word in name.lower() for word in words)), 'act')


def bone_of(rig: dict[str, str], role: str) -> str:
    part, _, side = role.partition('.')
    return rig[part] + ({'L': 'l', 'R': 'r'}[side] if rig is UNREAL and side else side)


def quaternion_to_matrix(q: np.ndarray) -> np.ndarray:
    """(..., 4) x, y, z, w -> (..., 3, 3)."""
    return Rotation.from_quat(q.reshape(-1, 4)).as_matrix().reshape(*q.shape[:-1], 3, 3)


def matrix_to_quaternion(m: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 4) x, y, z, w with w >= 0."""
    return Rotation.from_matrix(m.reshape(-1, 3, 3)).as_quat(canonical=True).reshape(*m.shape[:-2], 4)


def rotation_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation from direction a to direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    v, c = np.cross(a, b), a @ b
    skew = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + c)


class Glb:
    """What we need of a glTF 2.0 binary: the skeleton at rest, and the rotations of animations."""

    def __init__(self, path: Path) -> None:
        raw = path.read_bytes()
        (length,) = struct.unpack_from('<I', raw, 12)
        self.json = json.loads(raw[20 : 20 + length])
        self.binary = raw[28 + length :]
        self.nodes = self.json['nodes']
        self.parent = {child: i for i, node in enumerate(self.nodes) for child in node.get('children', ())}
        skin = self.json['skins'][0]
        inverse = self.accessor(skin['inverseBindMatrices']).reshape(-1, 4, 4).transpose(0, 2, 1)
        bind = np.linalg.inv(inverse)
        self.rest = {self.nodes[node]['name']: bind[k] for k, node in enumerate(skin['joints'])}
        self.clips = {clip['name']: clip for clip in self.json['animations']}

    def accessor(self, index: int) -> np.ndarray:
        about = self.json['accessors'][index]
        view = self.json['bufferViews'][about['bufferView']]
        width = {'SCALAR': 1, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}[about['type']]
        assert about['componentType'] == 5126 and 'byteStride' not in view, 'tightly packed floats only'
        start = view.get('byteOffset', 0) + about.get('byteOffset', 0)
        return np.frombuffer(self.binary, '<f4', about['count'] * width, start).reshape(about['count'], width)

    def world(self, clip: str) -> dict[str, np.ndarray]:
        """Bone -> (T, 3, 3) its rotation in the world at FPS."""
        tracks, end = {}, 0.0
        for channel in self.clips[clip]['channels']:
            if channel['target']['path'] == 'rotation':
                sampler = self.clips[clip]['samplers'][channel['sampler']]
                times, values = self.accessor(sampler['input'])[:, 0], self.accessor(sampler['output'])
                tracks[channel['target']['node']] = times, values
                end = max(end, float(times[-1]))
        at, done = np.arange(0, end + 1e-6, 1 / FPS), {}

        def local(node: int) -> np.ndarray:
            if node not in tracks:
                q = np.array(self.nodes[node].get('rotation', (0, 0, 0, 1)), float)
                return np.broadcast_to(quaternion_to_matrix(q), (len(at), 3, 3))
            times, q = tracks[node]
            q = q.astype(float).copy()
            for i in range(1, len(q)):  # the nearer of q and -q
                q[i] *= np.sign(q[i] @ q[i - 1]) or 1.0
            return quaternion_to_matrix(np.stack([np.interp(at, times, q[:, k]) for k in range(4)], -1))

        def whole(node: int) -> np.ndarray:
            if node not in done:
                above = self.parent.get(node)
                done[node] = local(node) if above is None else whole(above) @ local(node)
            return done[node]

        return {self.nodes[i]['name']: whole(i) for i in range(len(self.nodes)) if 'name' in self.nodes[i]}


def read_bvh(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Bone -> position at rest (3,), and bone -> its rotation in the world (1, 3, 3), of the first frame."""
    text = path.read_text()
    hierarchy, _, motion = text.partition('MOTION')
    values = [float(word) for word in motion.split('Frame Time:')[1].split('\n')[1].split()]
    rest, world, stack, name, used = {}, {}, [], '', 0
    for line in hierarchy.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] in ('ROOT', 'JOINT', 'End'):
            name = '' if words[0] == 'End' else words[1]
        elif words[0] == '{':
            stack.append(name)
        elif words[0] == '}':
            stack.pop()
        elif words[0] == 'OFFSET' and name:
            above = stack[-2] if len(stack) > 1 else None
            rest[name] = np.array(words[1:], float) + (rest[above] if above else 0)
        elif words[0] == 'CHANNELS':
            turn = np.eye(3)
            for channel, value in zip(words[2:], values[used : used + int(words[1])], strict=True):
                if channel.endswith('rotation'):
                    axis = 'XYZ'.index(channel[0])
                    q = np.zeros(4)
                    q[axis], q[3] = np.sin(np.radians(value) / 2), np.cos(np.radians(value) / 2)
                    turn = turn @ quaternion_to_matrix(q)
            used += int(words[1])
            above = stack[-2] if len(stack) > 1 else None
            world[name] = (world[above] if above else np.eye(3)) @ turn
    # Blender's axes (z up, facing -y) to the body's (y up, facing z)
    axes = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    return (
        {bone: axes @ place for bone, place in rest.items()},
        {bone: (axes @ turn @ axes.T)[None] for bone, turn in world.items()},
    )


def retarget(
    rig: dict[str, str], turns: dict[str, np.ndarray], rest: dict[str, np.ndarray], body_rest: np.ndarray
) -> np.ndarray:
    """(T, 24, 3, 3) SMPL rotations. turns: bone -> (T, 3, 3) away from rest, in the world; rest: where bones start."""
    names = [bone_of(rig, ROLES[joint]) for joint in range(24)]
    world = np.stack([turns[name] for name in names], 1)
    for joint, child in LIMBS.items():
        own, other = body_rest[child] - body_rest[joint], rest[names[child]] - rest[names[joint]]
        world[:, joint] = world[:, joint] @ rotation_between(own, other)
    for side in (22, 23):  # one bone for all fingers, less bent than the one in the middle
        world[:, side] = world[:, side - 2]
    local = world.copy()
    for joint in range(1, 24):
        local[:, joint] = world[:, PARENTS[joint]].swapaxes(-1, -2) @ world[:, joint]
    return local


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean angle [deg] between poses (..., 24, 3, 3)."""
    trace = np.einsum('...jab,...jab->...j', a, b)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))).mean(-1)


def thinned(poses: np.ndarray, step: float = STEP) -> np.ndarray:
    """Indices of frames that differ from the one kept before."""
    kept = [0]
    for i in range(1, len(poses)):
        if apart(poses[i], poses[kept[-1]]) > step:
            kept.append(i)
    return np.array(kept)


def inside_itself(joints: np.ndarray) -> np.ndarray:
    """(T,) how deep [m] elbows, wrists and hands are inside the trunk, the head or the thighs; joints (T, 24, 3)."""
    deepest = np.zeros(len(joints))
    for a, b, radius in ((0, 9, 0.1), (9, 12, 0.08), (15, 15, 0.08), (1, 4, 0.06), (2, 5, 0.06)):
        for ends in ((18, 20), (19, 21), (20, 22), (21, 23)):
            for t in (0.5, 1.0):
                p = joints[:, ends[0]] * (1 - t) + joints[:, ends[1]] * t
                axis = joints[:, b] - joints[:, a]
                along = ((p - joints[:, a]) * axis).sum(1) / np.maximum((axis * axis).sum(1), 1e-9)
                nearest = joints[:, a] + along.clip(0, 1)[:, None] * axis
                deepest = np.maximum(deepest, radius - np.linalg.norm(p - nearest, axis=1))
    return deepest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('output', type=Path)
    parser.add_argument('--motion', type=Path, required=True)
    parser.add_argument('--poses', type=Path, required=True)
    parser.add_argument('--sheet', type=Path, help='a picture of a pose of each animation')
    args = parser.parse_args()
    body = load_body()
    body_rest = body.rest_joints(np.zeros((1, body.num_betas)))[0].astype(float)
    clips: list[tuple[str, np.ndarray]] = []
    for path in sorted(args.motion.glob('*.glb')):
        glb = Glb(path)
        rig = RIGIFY if 'DEF-hips' in glb.rest else UNREAL
        rest = {bone: matrix[:3, 3] for bone, matrix in glb.rest.items()}
        for name in glb.clips:
            if name in UNUSABLE or class_of(name) in UNUSABLE:
                continue
            turns = {
                bone: turn @ np.linalg.inv(glb.rest[bone][:3, :3])
                for bone, turn in glb.world(name).items()
                if bone in glb.rest
            }
            clips.append((name, retarget(rig, turns, rest, body_rest)))
    for path in sorted(args.poses.glob('*.bvh')):
        rest, turns = read_bvh(path)
        clips.append((path.stem, retarget(MAKEHUMAN, turns, rest, body_rest)))

    kinds, kept, clip_of, drawn = [], [], [], []
    for name, poses in clips:
        poses = poses[thinned(poses)]
        joints = body.joints(np.zeros((len(poses), 10)), poses, np.zeros((len(poses), 3)))
        good = inside_itself(joints) < 0.045
        print(f'{class_of(name):8} {name:28} {len(poses):4} frames differ, {good.sum():4} kept')
        if good.any():
            kinds += [class_of(name)] * int(good.sum())
            kept.append(poses[good])
            clip_of += [len(drawn)] * int(good.sum())
            drawn.append((name, poses[good]))
    names = sorted(set(kinds))
    quaternions = np.rint(matrix_to_quaternion(np.concatenate(kept)) * 32767).astype(np.int16)
    np.savez_compressed(
        args.output,
        quaternions=quaternions,
        clips=np.array(clip_of, np.uint8),
        kinds=np.array([names.index(kind) for kind in kinds], np.uint8),
        names=np.array(names),
    )
    print(len(quaternions), 'poses,', args.output.stat().st_size, 'bytes;', {name: kinds.count(name) for name in names})
    if args.sheet:
        draw(args.sheet, drawn, body)


def draw(path: Path, clips: list[tuple[str, np.ndarray]], body) -> None:
    """Two poses of each animation, from ahead and from the side."""
    import cv2

    from cliff_ros.render.raster import shade

    tiles = []
    for name, poses in clips:
        tile = np.full((170, 280, 3), 255, np.uint8)
        for column, (frame, heading) in enumerate(((len(poses) // 2, 25.0), (len(poses) * 4 // 5, 90.0))):
            turn = np.radians(heading)
            look = np.diag([1.0, -1.0, -1.0]) @ np.array(
                [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
            )
            pose = poses[frame].copy()
            pose[0] = look @ pose[0]
            vertices = body(np.zeros((1, 10)), pose[None], np.zeros((1, 3)))[1][0]
            middle = (vertices.min(0) + vertices.max(0)) / 2
            shade(vertices - middle + [0, 0, 5.0], body.faces, 360.0, 70 + 140 * column, 90.0, tile, alpha=1.0)
        cv2.putText(tile, f'{class_of(name)}: {name}', (3, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0))
        tiles.append(tile)
    columns = 8
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), np.concatenate(rows))


if __name__ == '__main__':
    main()
