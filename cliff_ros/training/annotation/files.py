"""What an annotation leaves: pseudo ground truth in the authors' layout (cliffGT) and ours, and a sheet of the worst.

cliffGT (coco2014part_cliffGT.npz): imgname, center (N, 2), scale (N,) = crop height / 200, part (N, 24, 3) in SPIN's
order, annot_id, pose (N, 72), shape (N, 10), has_smpl, global_t (N, 3), focal_l (N,), S (N, 24, 4). Pixels count from
the image's corner. `datasets.cliff_gt.CliffGT` reads it, and so does whatever was written for the authors' files.

Ours: image, id, box (N, 4), K (N, 3, 3), rotations (N, 24, 3, 3), betas (N, 10), translation (N, 3), joints (N, 24, 3)
in the optical frame [m], joints2d (N, 24, 2) [px, centers at integers], keypoints (N, 29, 2) and confidence (N, 29) as
marked, error (N,): the mean distance of both [box sizes].
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from cliff_ros.body import JOINT_NAMES, NUM_JOINTS, BodyModel
from cliff_ros.crop.translation import full_translation
from cliff_ros.crop.views import view_of
from cliff_ros.datasets.cliff_gt import MARGIN, SPIN
from cliff_ros.datasets.sample import face_of
from cliff_ros.files import write_aside
from cliff_ros.render.overlay import draw_skeleton
from cliff_ros.render.page import Chart, Page, Pictures
from cliff_ros.render.raster import shade
from cliff_ros.render.sheet import contact_sheet, save_png
from cliff_ros.track.so3 import log
from cliff_ros.training.annotation.annotator import Estimates
from cliff_ros.training.published.crop_sources import Photographs, corner_box

_J24_PELVIS, _J24_NECK = 14, 12
_TILE = (320, 400)  # [px] width, height


Columns = dict[str, np.ndarray]


def columns_of(people: Photographs, estimates: Estimates, body: BodyModel, errors: np.ndarray) -> Columns:
    """Our columns for everybody in photographs, in the camera's optical frame."""
    rows, face = [], face_of(body)
    for i in range(len(people)):
        _, person = people.open(i)
        view = view_of(corner_box(person.box, people.spec), person.camera, people.spec)
        rotations, betas = estimates.rotations[i].astype(np.float64), estimates.betas[i].astype(np.float64)
        translation = full_translation(estimates.camera[i : i + 1].astype(np.float64), view.location[None])[0]
        pelvis = translation + body.rest_joints(betas[None])[0, 0]
        rotations[0], translation = view.pose_to_camera(rotations[0], translation, pelvis)
        joints, points = face(betas[None], rotations[None], translation[None])
        sample = people.samples[i]
        rows.append(
            dict(
                image=str(sample.image.relative_to(people.samples.images)),
                id=people.samples.annotation_id(i) if hasattr(people.samples, 'annotation_id') else i,
                box=person.box,
                K=person.camera.K,
                rotations=rotations,
                betas=betas,
                translation=translation,
                joints=joints[0],
                points=np.concatenate([joints[0], points[0]]),
                joints2d=person.camera.project(joints[0]),
                keypoints=person.keypoints,
                confidence=person.confidence,
                error=errors[i],
            )
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def cliff_gt(columns: Columns) -> Columns:
    """The authors' columns from ours."""
    count, box = len(columns['image']), columns['box'] + 0.5
    part, S = np.zeros((count, 24, 3)), np.zeros((count, 24, 4))
    for theirs, ours in SPIN.items():
        marked = columns['confidence'][:, ours] > 0
        part[:, theirs, :2] = np.where(marked[:, None], columns['keypoints'][:, ours] + 0.5, 0)
        part[:, theirs, 2] = columns['confidence'][:, ours]
        S[:, theirs, :3], S[:, theirs, 3] = columns['points'][:, ours], 1
    S[:, _J24_PELVIS, :3], S[:, _J24_NECK, :3] = columns['joints'][:, 0], columns['joints'][:, 12]
    S[:, [_J24_PELVIS, _J24_NECK], 3] = 1
    sides = box[:, 2:] - box[:, :2]
    return {
        'imgname': columns['image'],
        'center': (box[:, :2] + box[:, 2:]) / 2,
        'scale': MARGIN * np.maximum(sides[:, 1], sides[:, 0] * 4 / 3) / 200,
        'part': part,
        'annot_id': columns['id'],
        'pose': log(columns['rotations']).reshape(count, 72),
        'shape': columns['betas'],
        'has_smpl': np.isfinite(columns['translation']).all(1).astype(np.uint8),
        'global_t': columns['translation'],
        'focal_l': np.sqrt(columns['K'][:, 0, 0] * columns['K'][:, 1, 1]),
        'S': S,
    }


def write(folder: Path, name: str, columns: Columns) -> tuple[Path, Path]:
    """Both files: ``<name>_cliffGT.npz`` and ``<name>.npz``. OutputError."""
    paths = folder / f'{name}_cliffGT.npz', folder / f'{name}.npz'
    ours = {key: value for key, value in columns.items() if key != 'points'}
    for path, arrays in zip(paths, (cliff_gt(columns), ours), strict=True):
        with write_aside(path) as partial, open(partial, 'wb') as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return paths


def sheet(path: Path, people: Photographs, columns: Columns, body: BodyModel, errors: np.ndarray) -> bool:
    """Draw those whose keypoints fit worst: the mesh, and what was marked in white. False where nobody was judged."""
    tiles, captions = worst(people, columns, body, errors)
    if tiles:
        save_png(path, contact_sheet(tiles, captions, title='worst fits: distance of keypoints, in box sizes'))
    return bool(tiles)


def page(people: Photographs, columns: Columns, body: BodyModel, before: np.ndarray, after: np.ndarray) -> Page:
    """What people look at: errors before and after, by keypoint, and the worst fits."""
    found = Page('cliff annotate', f'{len(after)} people; distances of keypoints in % of the box')
    ends = [100 * float(np.nanmean(errors)) for errors in (before, after)]
    found.add(Chart('Mean distance from what was marked', ['prior', 'annotated'], ends, '%'))
    sizes = (columns['box'][:, 2:] - columns['box'][:, :2]).max(1)[:, None]
    off = np.linalg.norm(columns['joints2d'] - columns['keypoints'][:, :NUM_JOINTS], axis=2) / sizes
    off = np.where(columns['confidence'][:, :NUM_JOINTS] > 0, off, np.nan)
    known = np.flatnonzero(np.isfinite(off).any(0))
    means = {JOINT_NAMES[j].replace('_', ' '): 100 * float(np.nanmean(off[:, j])) for j in known}
    order = sorted(means, key=lambda name: -means[name])
    found.add(Chart('By keypoint', order, [means[name] for name in order], '%'))
    edges = np.array([0, 0.01, 0.02, 0.03, 0.05, 0.1, np.inf])
    counts, _ = np.histogram(after[np.isfinite(after)], edges)
    names = [f'{100 * low:.0f} to {100 * high:.0f} %' for low, high in pairwise(edges[:-1])] + ['above 10 %']
    found.add(Chart('People by their distance', names, [float(count) for count in counts]))
    found.add(Pictures('Worst fits: meshes, and what was marked in white', *worst(people, columns, body, after)))
    return found


def worst(
    people: Photographs, columns: Columns, body: BodyModel, errors: np.ndarray, most: int = 12
) -> tuple[list[np.ndarray], list[str]]:
    """Pictures of those whose keypoints fit worst, and what to say of each."""
    chosen = [int(i) for i in np.argsort(-np.nan_to_num(errors, nan=-1))[:most] if np.isfinite(errors[i])]
    tiles, captions = [], []
    for i in chosen:
        image, person = people.open(i)
        picture = np.ascontiguousarray(image[..., ::-1])
        one = slice(i, i + 1)
        vertices = body(columns['betas'][one], columns['rotations'][one], columns['translation'][one])[1][0]
        camera = person.camera
        if camera.is_pinhole:
            shade(vertices, body.faces, camera.f, camera.cx, camera.cy, picture)
        draw_skeleton(picture, columns['joints2d'][i], (90, 170, 255), thickness=1)
        tiles.append(_tile(picture, person.box, person.keypoints[person.confidence > 0]))
        captions.append(f'{Path(str(columns["image"][i])).name} {100 * errors[i]:.1f} %')
    return tiles, captions


def _tile(picture: np.ndarray, box: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """A tile that shows a box with some room around it, and points (N, 2) in white."""
    center, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    scale = _TILE[1] / (1.3 * max(sides[1], sides[0] * _TILE[1] / _TILE[0]))
    move = np.array([[scale, 0, _TILE[0] / 2 - scale * center[0]], [0, scale, _TILE[1] / 2 - scale * center[1]]])
    tile = cv2.warpAffine(picture, move, _TILE, flags=cv2.INTER_AREA)
    for x, y in (marked @ move[:, :2].T + move[:, 2]).round().astype(int).tolist():
        cv2.circle(tile, (x, y), 3, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(tile, (x, y), 2, (255, 255, 255), -1, cv2.LINE_AA)
    return tile
