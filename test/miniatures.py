"""Small data sets in exactly the layouts of the real ones: rendered people of the embedded body, with their truth."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from cliff_ros.assets import BODY
from cliff_ros.body import load_body
from cliff_ros.people import Person
from cliff_ros.synthetic.actor import FACE_VERTICES
from cliff_ros.synthetic.stills import Still, StillSampler

SIZE = WIDTH, HEIGHT = 320, 240
# The regressor's 17 joints of Human3.6M - pelvis, left leg, right leg, spine, neck, head, left arm, right arm - and
# SMPL's joints that stand for them here.
H36M = [0, 1, 4, 7, 2, 5, 8, 6, 12, 15, 15, 16, 18, 20, 17, 19, 21]
COCO17 = [24, 25, 26, 27, 28, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8]


@dataclass(frozen=True)
class Shot:
    """A still and the intrinsics that its labels say, which count from the middle of the first pixel."""

    still: Still
    K: np.ndarray

    @property
    def people(self) -> list[Person]:
        return list(self.still.people)

    def write(self, path: Path, size: tuple[int, int] = SIZE) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = cv2.resize(self.still.image, size, interpolation=cv2.INTER_LINEAR) if size != SIZE else self.still.image
        # Without loss, whatever the name says: readers go by the content.
        path.write_bytes(cv2.imencode('.png', image[..., ::-1])[1].tobytes())


def shots(count: int, people: int = 1, seed: int = 7) -> list[Shot]:
    """Stills of straight lenses with at least so many people, of whom the first so many are kept."""
    sampler, found = StillSampler(seed, num_backgrounds=3, everyday=True), []
    while len(found) < count:
        still = sampler.scene(*SIZE, max_people=max(2, people))
        if still.camera.is_pinhole and len(still.people) >= people:
            kept = Still(still.image, still.camera, still.people[:people], still.ignored)
            found.append(Shot(kept, np.array(still.camera.K)))
    return found


def keypoints(person: Person) -> np.ndarray:
    """(29, 3) [m]."""
    return np.concatenate([person.joints, person.vertices[FACE_VERTICES]])


def pixels(shot: Shot, points: np.ndarray) -> np.ndarray:
    return points[:, :2] / points[:, 2:] * [shot.K[0, 0], shot.K[1, 1]] + shot.K[:2, 2]


def axis_angle(rotations: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(rotations).as_rotvec()


def bodies(folder: Path) -> Path:
    """A folder of bodies: the embedded one under SMPL's and SMPL-X's names, and what leads from these to benchmarks."""
    folder.mkdir(parents=True, exist_ok=True)
    for gender in ('NEUTRAL', 'MALE', 'FEMALE'):
        (folder / f'SMPL_{gender}.npz').write_bytes(BODY.read_bytes())
    body = load_body()
    np.save(folder / 'J_regressor_h36m.npy', body.J_regressor[H36M])
    weights, regressor = np.zeros((body.num_vertices, 55)), np.zeros((55, body.num_vertices))
    weights[:, [*range(22), 28, 43]], regressor[[*range(22), 28, 43]] = body.weights, body.J_regressor
    parents = np.array([*body.parents[:22], 15, 15, 15, *[20] * 15, *[21] * 15])
    parents[0] = 4294967295
    shapes = np.concatenate([body.shapedirs, np.zeros_like(body.shapedirs)], 2)
    for gender in ('NEUTRAL', 'MALE', 'FEMALE'):
        np.savez_compressed(
            folder / f'SMPLX_{gender}.npz',
            v_template=body.v_template,
            shapedirs=shapes,
            posedirs=np.zeros((body.num_vertices, 3, 9 * 54), np.float16),
            weights=weights.astype(np.float32),
            J_regressor=regressor.astype(np.float32),
            kintree_table=np.stack([parents, np.arange(55)]),
            f=body.faces,
        )
    with open(folder / 'smplx2smpl.pkl', 'wb') as file:
        pickle.dump({'matrix': sparse.identity(body.num_vertices, format='csc')}, file, protocol=2)
    return folder


def _world(person: Person, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose (72,), transl (3,) in a world, and that world's camera (4, 4)."""
    turn = Rotation.random(rng=seed).as_matrix()
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = turn, np.random.default_rng(seed).normal(0, 1, 3)
    rest = load_body().rest_joints(person.betas[None])[0, 0]
    rotations = np.array(person.rotations, np.float64)
    rotations[0] = turn.T @ rotations[0]
    return axis_angle(rotations).ravel(), turn.T @ (person.translation + rest - camera[:3, 3]) - rest, camera


def threedpw(root: Path, frames: list[Shot], split: str = 'test') -> None:
    """3DPW: two people in every frame; the second is not seen in the last one."""
    for i, shot in enumerate(frames):
        shot.write(root / 'imageFiles' / 'walk_00' / f'image_{i:05d}.jpg')
    content: dict = dict(
        sequence='walk_00',
        genders=['m', 'f'],
        cam_intrinsics=frames[0].K,
        img_frame_ids=np.arange(0, 2 * len(frames), 2),
        cam_poses=np.array([_world(shot.people[0], i)[2] for i, shot in enumerate(frames)]),
        poses=[],
        trans=[],
        betas=[],
        poses2d=[],
        campose_valid=[],
    )
    for who in range(2):
        world = [_world(shot.people[who], i) for i, shot in enumerate(frames)]
        content['poses'].append(np.array([pose for pose, _, _ in world]))
        content['trans'].append(np.array([place for _, place, _ in world]))
        content['betas'].append(np.append(frames[0].people[who].betas, np.zeros(5)))
        seen = np.ones((len(frames), 3, 18))
        for i, shot in enumerate(frames):
            seen[i, :2] = pixels(shot, keypoints(shot.people[who]))[:18].T
        if who:
            seen[-1] = 0
        content['poses2d'].append(seen)
        content['campose_valid'].append(np.ones(len(frames)))
    folder = root / 'sequenceFiles' / split
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'walk_00.pkl', 'wb') as file:
        pickle.dump(content, file, protocol=2)


def emdb(root: Path, frames: list[Shot], part: int = 1) -> None:
    """EMDB: one person; the second frame is not good, the last one's box is invalid."""
    folder = root / 'P3' / '27_indoor'
    world = [_world(shot.people[0], 100 + i) for i, shot in enumerate(frames)]
    count = len(frames)
    for i, shot in enumerate(frames):
        shot.write(folder / 'images' / f'{i:05d}.jpg')
    pose = np.array([pose for pose, _, _ in world])
    content = dict(
        gender='female',
        name='P3_27_indoor',
        emdb1=part == 1,
        emdb2=part == 2,
        n_frames=count,
        good_frames_mask=np.arange(count) != 1,
        camera=dict(
            intrinsics=frames[0].K, extrinsics=np.array([camera for _, _, camera in world]), width=WIDTH, height=HEIGHT
        ),
        smpl=dict(
            poses_root=pose[:, :3],
            poses_body=pose[:, 3:],
            trans=np.array([place for _, place, _ in world]),
            betas=np.asarray(frames[0].people[0].betas),
        ),
        kp2d=np.array([pixels(shot, shot.people[0].joints) for shot in frames]),
        bboxes=dict(bboxes=np.array([shot.people[0].box for shot in frames]), invalid_idxs=np.array([1, count - 1])),
    )
    with open(folder / 'P3_27_indoor_data.pkl', 'wb') as file:
        pickle.dump(content, file)


def spin_joints(person: Person) -> np.ndarray:
    """S (24, 4): Human3.6M's 17 joints about the pelvis in SPIN's order."""
    order = [14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6]
    S = np.zeros((24, 4))
    S[order, :3], S[order, 3] = person.joints[H36M] - person.joints[0], 1
    return S


def human36m(root: Path, frames: list[Shot], mosh: bool = False) -> None:
    """Human3.6M in SPIN's layout, protocol 1; with MoSh's pose and shape, or with joints only."""
    cameras = ['54138969', '60457274']
    names = [f'images/S9_Posing.{cameras[i % 2]}_{5 * i + 1:06d}.jpg' for i in range(len(frames))]
    for name, shot in zip(names, frames, strict=True):
        shot.write(root / name)
    people = [shot.people[0] for shot in frames]
    boxes = np.array([person.box for person in people]) + 0.5
    content = dict(
        imgname=np.array(names),
        center=(boxes[:, :2] + boxes[:, 2:]) / 2,
        scale=0.9 * (boxes[:, 2:] - boxes[:, :2]).max(1) / 200,
        S=np.array([spin_joints(person) for person in people]),
    )
    if mosh:
        content |= dict(
            pose=np.array([axis_angle(person.rotations).ravel() for person in people]),
            shape=np.array([person.betas for person in people]),
        )
    np.savez(root / 'h36m_valid_protocol1.npz', **content)


def parsed(shot_list: list[Shot], names: list[str], smplx: bool) -> dict:
    """BEDLAM's parsed columns that all of its files share."""
    people = [shot.people[0] for shot in shot_list]
    boxes = np.array([person.box for person in people]) + 0.5
    pose = np.array([axis_angle(person.rotations).ravel() for person in people])
    if smplx:
        pose = np.concatenate([pose[:, :66], np.zeros((len(pose), 99))], 1)
    return dict(
        imgname=np.array(names),
        center=(boxes[:, :2] + boxes[:, 2:]) / 2,
        scale=(boxes[:, 3] - boxes[:, 1]) / 200,
        pose_cam=pose,
        shape=np.array([person.betas for person in people]),
        gender=np.array(['m', 'f'] * len(people))[: len(people)],
    )


def rich(root: Path, frames: list[Shot]) -> None:
    """RICH by BEDLAM's evaluation labels: SMPL-X, gendered, no camera."""
    names = [f'test/ParkingLot_007/cam_0{i}/0000{i}_00.jpeg' for i in range(len(frames))]
    for name, shot in zip(names, frames, strict=True):
        shot.write(root / name)
    np.savez(root / 'rich_test.npz', **parsed(frames, names, smplx=True))


def bedlam(root: Path, frames: list[Shot]) -> None:
    """BEDLAM's training labels of one scene, SMPL-X."""
    scene = '20221010_3-10_500_batch01hand_zoom_suburb_d_6fps'
    names = [f'seq_{i:06d}/seq_{i:06d}_0000.png' for i in range(len(frames))]
    for name, shot in zip(names, frames, strict=True):
        shot.write(root / 'training_images' / scene / 'png' / name)
    people = [shot.people[0] for shot in frames]
    corner, moved = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]), np.eye(4)
    moved[:3, 3] = 0.1, 0.2, 0.3
    content = parsed(frames, names, smplx=True) | dict(
        trans_cam=np.array([person.translation for person in people]) - [0.1, 0.2, 0.3],
        cam_ext=np.tile(moved, (len(people), 1, 1)),
        cam_int=np.array([shot.K + corner for shot in frames]),
        gtkps=np.array([pixels(shot, shot.people[0].joints) + 0.5 for shot in frames]),
    )
    (root / 'training_labels').mkdir(parents=True, exist_ok=True)
    np.savez(root / 'training_labels' / f'{scene}.npz', **content)


def agora(root: Path, frames: list[Shot]) -> None:
    """AGORA's validation table with SMPL joints and vertices, made by pandas, and its images of 1280 x 720."""
    import pandas

    rows = []
    for i, shot in enumerate(frames):
        name = f'ag_validationset_renderpeople_bfh_brushifygrasslands_5_15_{i:05d}.png'
        # The canvas of 320 x 180 that AGORA's proportions leave of the still, four times as large.
        image = np.ascontiguousarray(shot.still.image[30:210])
        crop = Shot(Still(image, shot.still.camera, [], shot.still.ignored), shot.K)
        crop.write(root / 'validation' / name.replace('.png', '_1280x720.png'), (1280, 720))
        two = [(pixels(shot, np.concatenate([p.joints, p.vertices[::340]])) - [0, 30] + 0.5) * 12 for p in shot.people]
        rows.append(
            dict(
                imgPath=name,
                camX=0.0,
                camY=0.0,
                camZ=0.0,
                camYaw=0.0,
                X=[0.0] * len(two),
                gender=['female'] * len(two),
                kid=[False] * len(two),
                occlusion=[12.5, 95.0][: len(two)],
                isValid=[True, False][: len(two)],
                gt_path_smpl=['a.obj'] * len(two),
                gt_joints_2d=two,
                gt_joints_3d=[np.concatenate([p.joints, p.vertices[::340]]) for p in shot.people],
                gt_verts=[p.vertices for p in shot.people],
            )
        )
    (root / 'validation_SMPL').mkdir(parents=True, exist_ok=True)
    table = pandas.DataFrame({name: pandas.Series([row[name] for row in rows], dtype=object) for name in rows[0]})
    table.columns = pandas.Index(list(table.columns), dtype=object)  # as all pandas before 3 have them
    table.to_pickle(root / 'validation_SMPL' / 'validation_0_withjv.pkl')


def coco(root: Path, frames: list[Shot], split: str = 'val2017') -> Path:
    """COCO's keypoint annotations; returns the JSON file."""
    images, annotations = [], []
    for i, shot in enumerate(frames):
        images.append(dict(id=100 + i, file_name=f'{100 + i:012d}.jpg', width=WIDTH, height=HEIGHT))
        shot.write(root / split / images[-1]['file_name'])
        for person in shot.people:
            points = pixels(shot, keypoints(person))[COCO17] + 0.5
            inside = ((points >= 0) & (points < SIZE)).all(1)
            marked = np.concatenate([points, np.where(inside, 2, 0)[:, None]], 1)
            marked[~inside] = 0
            x0, y0, x1, y1 = person.box + 0.5
            annotations.append(
                dict(
                    id=1000 + len(annotations),
                    image_id=100 + i,
                    category_id=1,
                    iscrowd=0,
                    keypoints=marked.ravel().tolist(),
                    num_keypoints=int(inside.sum()),
                    bbox=[x0, y0, x1 - x0, y1 - y0],
                )
            )
    annotations.append(dict(id=1, image_id=100, category_id=1, iscrowd=1, keypoints=[0] * 51, bbox=[0, 0, 5, 5]))
    path = root / 'annotations' / f'person_keypoints_{split}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=[dict(id=1, name='person')])))
    return path
