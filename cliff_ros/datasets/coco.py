"""Annotated 2D keypoints in COCO's format: COCO itself, MPII, CrowdPose, or anybody's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.datasets.cameras import NO_CAMERAS, Cameras
from cliff_ros.datasets.sample import NUM_KEYPOINTS, Sample
from cliff_ros.errors import InputError, ModelError
from cliff_ros.files import check_regular

# Names of keypoints -> ours. Others, such as the top of the head, are no joints of SMPL's and are left out.
NAMES = {
    'nose': 24,
    'left_eye': 25,
    'right_eye': 26,
    'left_ear': 27,
    'right_ear': 28,
    'left_shoulder': 16,
    'right_shoulder': 17,
    'left_elbow': 18,
    'right_elbow': 19,
    'left_wrist': 20,
    'right_wrist': 21,
    'left_hip': 1,
    'right_hip': 2,
    'left_knee': 4,
    'right_knee': 5,
    'left_ankle': 7,
    'right_ankle': 8,
}
_SIDES = [
    f'{side}_{part}' for part in ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle') for side in ('left', 'right')
]
# The order of files whose category names no keypoints, by their number.
_ORDERS = {
    17: ['nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', *_SIDES],  # COCO
    14: [*_SIDES, 'head', 'neck'],  # CrowdPose
    16: [  # MPII
        *(
            f'{side}_{part}'
            for side, parts in (('right', ('ankle', 'knee', 'hip')), ('left', ('hip', 'knee', 'ankle')))
            for part in parts
        ),
        'pelvis',
        'thorax',
        'upper_neck',
        'head_top',
        *(
            f'{side}_{part}'
            for side, parts in (('right', ('wrist', 'elbow', 'shoulder')), ('left', ('shoulder', 'elbow', 'wrist')))
            for part in parts
        ),
    ],
}
_LARGEST = 1 << 30  # [bytes] COCO's training annotations have 0.25 GB


class CocoKeypoints:
    """People of a JSON file in COCO's format who have keypoints, in the order of the file.

    annotations: image_id, keypoints (x, y, visibility or confidence) x K, bbox (x, y, width, height); crowds and people
    without a visible keypoint are left out. What the keypoints are is read from their names in ``categories``. Pixels
    count from the corner of the image.
    fewest: keypoints that somebody must have.
    """

    def __init__(
        self, labels: Path, images: Path, turn: int = 0, cameras: Cameras = NO_CAMERAS, fewest: int = 1
    ) -> None:
        self.labels, self.images, self.turn, self.cameras = labels, images, turn, cameras
        content = _content(labels)
        try:
            self._files = {entry['id']: str(entry['file_name']) for entry in content['images']}
            orders = {entry['id']: entry.get('keypoints') for entry in content.get('categories', [])}
            self._people = [
                entry
                for entry in content['annotations']
                if not entry.get('iscrowd') and np.count_nonzero(entry.get('keypoints', [])[2::3]) >= fewest
            ]
            self._columns = [
                _columns(len(entry['keypoints']) // 3, orders.get(entry.get('category_id'))) for entry in self._people
            ]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"'{labels}' is not in COCO's format ({type(error).__name__}: {error})") from None
        if not self._people:
            raise InputError(f"'{labels}' has nobody with {fewest} keypoints")

    def __len__(self) -> int:
        return len(self._people)

    def annotation_id(self, index: int) -> int:
        """The number of a person in the file; their place where it has none."""
        return int(self._people[index].get('id', index))

    def __getitem__(self, index: int) -> Sample:
        entry = self._people[index]
        try:
            name = self._files[entry['image_id']]
            given = np.array(entry['keypoints'], np.float64).reshape(-1, 3)
            x, y, width, height = map(float, entry['bbox'])
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"'{self.labels}': annotation {entry.get('id', index)} is damaged ({error!r})") from None
        keypoints, confidence = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
        theirs, ours = self._columns[index]
        keypoints[ours] = given[theirs, :2] - 0.5
        # Visibility is 1 for what is hidden and marked all the same, 2 for what is seen; other numbers are confidences.
        confidence[ours] = np.minimum(given[theirs, 2], 1)
        box = np.array([x, y, x + width, y + height]) - 0.5
        return Sample(
            self.images / name,
            turn=self.turn,
            box=box,
            boxes={'file': box},
            keypoints=keypoints,
            confidence=confidence,
            person=str(entry.get('id', index)),
            **self.cameras.of(name),
        )


def _columns(count: int, names: list[str] | None) -> tuple[list[int], list[int]]:
    """Which of a person's keypoints are which of ours."""
    names = names or _ORDERS.get(count)
    if names is None or len(names) != count:
        raise ValueError(f'{count} keypoints that no category names')
    plain = [str(name).lower().replace(' ', '_') for name in names]
    known = [i for i, name in enumerate(plain) if name in NAMES]
    return known, [NAMES[plain[i]] for i in known]


def _content(path: Path) -> dict[str, Any]:
    try:
        check_regular(path, _LARGEST)
        content = json.loads(path.read_bytes())
    except ModelError as error:
        raise InputError(f"'{path}' {error}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is not JSON ({error}): check the path, or get the file again") from None
    if not isinstance(content, dict):
        raise InputError(f"'{path}' is not in COCO's format: it holds a {type(content).__name__}")
    return content
