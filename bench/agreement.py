"""Does the mesh sit on a real person? Our joints in the image against another estimator's, in a video of one person.

    cliff video clip.mp4 --camera camera_info.yaml --output out/clip
    python bench/agreement.py clip.mp4 out/clip/people.npz --sheet sheet.png

The other is MediaPipe Pose (``pip install mediapipe==0.10.21``: later ones lack it; an environment of its own will do,
without ROS and torch). It is no truth: hips and shoulders are defined a few per cent of the height apart, and it errs
too. The sheet shows meshes and its skeleton without the recording, so that it may be shown where the recording may not.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

# Shoulders, elbows, wrists, hips, knees, ankles, left and right: SMPL's joints and MediaPipe's landmarks.
SMPL = [16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8]
MEDIAPIPE = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
LIMBS = [(11, 12), (11, 13), (13, 15), (12, 14), (14, 16), (11, 23), (12, 24), (23, 24), (23, 25), (25, 27), (24, 26),
         (26, 28), (27, 31), (28, 32), (0, 7), (0, 8)]  # MediaPipe's
NAMES = ('shoulders', 'elbows', 'wrists', 'hips', 'knees', 'ankles')
VISIBLE, ENOUGH = .5, 6  # of a landmark; landmarks of a frame that counts
SITS = .1  # mean distance of the joints, in heights of the person, below which the mesh sits on the person


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('video', type=Path)
    parser.add_argument('people', type=Path, help='people.npz of cliff video')
    parser.add_argument('--sheet', type=Path, help='draw some frames: meshes, and the other estimate in white')
    parser.add_argument('--report', type=Path, help='write the figures as JSON')
    args = parser.parse_args()
    reference = landmarks(args.video)
    with np.load(args.people) as file:
        people = dict(file)
    found = compare(reference, people['frame'], people['joints2d'], people['id'])
    for name, value in found.items():
        print(f'{name:<28}{value if isinstance(value, (int, dict)) else round(value, 3)}')
    if args.sheet:
        draw(args.sheet, reference, people)
    if args.report:
        args.report.write_text(json.dumps(found, indent=2))


def landmarks(video: Path) -> list[np.ndarray | None]:
    """(33, 3) x, y [px] and visibility of each frame; None where nobody was found."""
    from mediapipe.python.solutions.pose import Pose
    capture, frames = cv2.VideoCapture(str(video)), []
    with Pose(model_complexity=1, min_detection_confidence=.3) as pose:
        while (read := capture.read())[0]:
            height, width = read[1].shape[:2]
            answer = pose.process(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)).pose_landmarks
            frames.append(answer and np.array([[p.x * width, p.y * height, p.visibility] for p in answer.landmark]))
    return frames


def compare(reference: list[np.ndarray | None], frame: np.ndarray, joints2d: np.ndarray, ids: np.ndarray) -> dict:
    """Figures over the frames with a reference; rows of ours: frame (N,), joints2d (N, 24, 2) [px], ids (N,)."""
    errors, sits, others, used = [], [], [], set()
    for n, points in enumerate(reference):
        seen = np.zeros(len(MEDIAPIPE), bool) if points is None else points[MEDIAPIPE, 2] > VISIBLE
        if seen.sum() < ENOUGH:
            continue
        height = np.ptp(points[:, 1])
        rows = np.flatnonzero(frame == n)
        apart = np.linalg.norm(joints2d[rows][:, SMPL] - points[MEDIAPIPE, :2], axis=-1) / height
        best = apart[:, seen].mean(1).argmin() if len(rows) else None
        sits.append(best is not None and apart[best, seen].mean() < SITS)
        others.append(len(rows) - bool(sits[-1]))
        if sits[-1]:
            errors.append(np.where(seen, apart[best], np.nan))
            used.add(int(ids[rows[best]]))
    found = {'frames': len(sits)}
    if sits:
        found |= {'mesh sits on the person': float(np.mean(sits)), 'ids of the person': len(used),
                  'others, in a frame': float(np.mean(others))}
    if errors:
        pairs = np.array(errors).reshape(-1, len(NAMES), 2)
        every = pairs[np.isfinite(pairs)]
        found |= {'joints, median of height': float(np.median(every)),
                  'joints within 5 % of height': float((every < .05).mean()),
                  'median of': {name: round(float(np.nanmedian(pairs[:, i])), 3) for i, name in enumerate(NAMES)
                                if np.isfinite(pairs[:, i]).any()}}
    return found


def draw(path: Path, reference: list[np.ndarray | None], people: dict[str, np.ndarray], count: int = 10) -> None:
    """Every so many frames on grey: our meshes, the other's limbs in white."""
    from cliff_ros.body import load_body
    from cliff_ros.camera import Camera
    from cliff_ros.render.colors import color_of
    from cliff_ros.render.overlay import to_pinhole
    from cliff_ros.render.raster import shade
    from cliff_ros.render.sheet import contact_sheet, save_png
    camera = Camera(*people['camera_size'].tolist(), people['camera_K'], str(people['camera_model']),
                    people['camera_d'])
    body, tiles, shown = load_body(), [], np.linspace(0, len(reference) - 1, count).astype(int)
    for n in shown:
        image = np.full((camera.height, camera.width, 3), 70, np.uint8)
        depth = np.zeros(image.shape[:2], np.float32)
        rows = np.flatnonzero(people['frame'] == n)
        if len(rows):
            _, vertices = body(*(people[name][rows].astype(np.float64)
                                 for name in ('betas', 'rotations', 'translation')))
            for row, mesh in zip(rows, vertices, strict=True):
                shade(to_pinhole(mesh, camera), body.faces, camera.f, camera.cx, camera.cy, image,
                      color_of(int(people['id'][row])), 1., depth=depth)
        if reference[n] is not None:
            for a, b in LIMBS:
                start, end = (tuple(reference[n][k, :2].round().astype(int).tolist()) for k in (a, b))
                cv2.line(image, start, end, (255, 255, 255), max(2, camera.height // 300), cv2.LINE_AA)
        tiles.append(image)
    save_png(path, contact_sheet(tiles, [f'frame {n}' for n in shown], columns=count))


if __name__ == '__main__':
    main()
