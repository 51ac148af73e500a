"""The referee's side: several people in every frame of a clip, found by MediaPipe Pose, which has nothing of ours.

    python bench/landmarks.py clip.mp4 out/landmarks/clip.npz

An environment of its own, without ROS and torch: ``pip install mediapipe==0.10.21`` (later ones lack the models and
would download them). MediaPipe finds several people only with a bundle of models (.task) that its wheel does not
have; but it has the two networks that a bundle is made of, so the bundle is put together here. Its detector sees 224
pixels and looks for people of a third of the picture and more: a frame is shown whole and in overlapping squares.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

CONFIDENCE = 0.5
MOST = 6  # people in a view
JOINTS = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
SEEN = 0.6  # least mean visibility of the joints: below, mostly a pole, a limb or a face in a window
SAME = 0.2  # mean distance of the joints of two finds of one person, in sizes of the person
INSIDE = 0.6  # share of the smaller box in the larger: a part of somebody, or front taken for back
EDGE = 0.02  # of a square: who reaches into that margin is cut by the square


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('video', type=Path)
    parser.add_argument('landmarks', type=Path, help='.npz to write: frame (M,), landmarks (M, 33, 3), frames, size')
    parser.add_argument(
        '--scales',
        type=float,
        nargs='*',
        default=[1.0],
        metavar='SCALE',
        help='of the squares, in shorter sides of the image (default: 1); 0.6 as well finds smaller '
        'people, at four times the time',
    )
    parser.add_argument('--max-frames', type=int, default=10**9)
    args = parser.parse_args()
    started, frame, landmarks, count, size = time.monotonic(), [], [], 0, (0, 0)
    capture = cv2.VideoCapture(str(args.video))
    with landmarker() as find:
        while count < args.max_frames and (read := capture.read())[0]:
            size = read[1].shape[1::-1]
            found = people(find, cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), args.scales)
            landmarks += found
            frame += [count] * len(found)
            count += 1
    if not count:
        sys.exit(f"no frame can be read from '{args.video}'")
    args.landmarks.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        args.landmarks,
        frame=np.array(frame, np.int64),
        frames=count,
        size=size,
        landmarks=np.array(landmarks, np.float32).reshape(-1, 33, 3),
    )
    print(f'{args.video.name}: {len(frame)} people in {count} frames, {time.monotonic() - started:.0f} s')


def landmarker():
    """MediaPipe's finder of several people in single images, from the models in its wheel."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision
    from mediapipe.tasks.python.metadata.metadata_writers.metadata_writer import MetadataWriter

    modules = Path(mediapipe.__file__).parent / 'modules'
    bundle = Path(tempfile.mkdtemp()) / 'pose.task'
    with zipfile.ZipFile(bundle, 'w', zipfile.ZIP_STORED) as parts:
        # Inside a bundle a network says itself what its pixels mean: -1 to 1, and 0 to 1.
        for name, path, mean, deviation in (
            ('pose_detector.tflite', 'pose_detection/pose_detection.tflite', 127.5, 127.5),
            ('pose_landmarks_detector.tflite', 'pose_landmark/pose_landmark_full.tflite', 0.0, 255.0),
        ):
            writer = MetadataWriter.create(bytearray((modules / path).read_bytes()))
            writer.add_image_input([mean], [deviation])
            parts.writestr(name, bytes(writer.populate()[0]))
    return vision.PoseLandmarker.create_from_options(
        vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(bundle)),
            num_poses=MOST,
            min_pose_detection_confidence=CONFIDENCE,
            min_pose_presence_confidence=CONFIDENCE,
        )
    )


def people(find, image: np.ndarray, scales: Sequence[float]) -> list[np.ndarray]:
    """(33, 3) x, y [px] and visibility of everybody in an image (H, W, 3) uint8 RGB, once."""
    import mediapipe

    height, width = image.shape[:2]
    found = []
    for left, top, side in squares(width, height, scales):
        view = np.zeros((side, side, 3), np.uint8)
        part = image[top : top + side, left : left + side]
        view[: part.shape[0], : part.shape[1]] = part
        for answer in find.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, view)).pose_landmarks:
            points = np.array([[left + p.x * side, top + p.y * side, p.visibility] for p in answer])
            if whole(points, left, top, side, width, height):
                found.append(points)
    return once(found)


def squares(width: int, height: int, scales: Sequence[float]) -> list[tuple[int, int, int]]:
    """Left, top, side of the views of an image: all of it, then overlapping squares, large ones first."""
    views = [(0, 0, max(width, height))]
    for scale in scales:
        side = round(scale * min(width, height))
        lefts, tops = (
            np.linspace(0, length - side, 1 + int(np.ceil(2 * (length - side) / side))).round().astype(int)
            for length in (width, height)
        )
        views += [(int(left), int(top), side) for top in tops for left in lefts]
    return views if width != height else views[1:]


def whole(points: np.ndarray, left: int, top: int, side: int, width: int, height: int) -> bool:
    """Whether nobody is cut by a square: only the image's own border may cut."""
    margin = EDGE * side
    low, high = points[JOINTS, :2].min(0), points[JOINTS, :2].max(0)
    return bool(
        (low[0] > left + margin or left == 0)
        and (low[1] > top + margin or top == 0)
        and (high[0] < left + side - margin or left + side >= width)
        and (high[1] < top + side - margin or top + side >= height)
    )


def once(found: list[np.ndarray]) -> list[np.ndarray]:
    """Of finds of the same person, or of a part of them, the one whose landmarks are seen best; nobody hardly seen."""
    kept: list[np.ndarray] = []
    for points in sorted(found, key=lambda points: -points[JOINTS, 2].mean()):
        if points[JOINTS, 2].mean() >= SEEN and not any(same(points, other) for other in kept):
            kept.append(points)
    return kept


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two finds (33, 3) are of one person."""
    low = np.maximum(one[:, :2].min(0), other[:, :2].min(0))
    high = np.minimum(one[:, :2].max(0), other[:, :2].max(0))
    sizes = [np.ptp(points[:, :2], axis=0) for points in (one, other)]
    apart = np.linalg.norm(one[JOINTS, :2] - other[JOINTS, :2], axis=1).mean()
    return bool(
        apart < SAME * np.max(sizes) or np.maximum(high - low, 0).prod() > INSIDE * min(size.prod() for size in sizes)
    )


if __name__ == '__main__':
    main()
