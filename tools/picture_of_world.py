"""Draw what the synthetic world looks like: crops, and stills with their truth.

python tools/picture_of_world.py docs/images/synthetic.jpg
"""

from __future__ import annotations

import sys

import cv2
import numpy as np

from cliff_ros.synthetic.crops import CropSampler
from cliff_ros.synthetic.stills import Still, StillSampler

COLUMNS, STILLS, STILL_SIZE = 16, 4, (480, 360)


def still_with_truth(still: Still) -> np.ndarray:
    image = still.image.copy()
    for person in still.people:
        low, high = (tuple(corner) for corner in np.round(person.box).astype(int).reshape(2, 2).tolist())
        cv2.rectangle(image, low, high, (90, 230, 90), 1)
        seen = np.isfinite(person.joints2d).all(1)
        for joint in np.round(person.joints2d[seen]).astype(int).tolist():
            cv2.circle(image, tuple(joint), 2, (255, 230, 60), -1)
    return image


def main() -> None:
    crops = CropSampler(1, negatives=0.0)
    tiles = [crops.sample()[0] for _ in range(3 * COLUMNS)]
    rows = [np.concatenate(tiles[i : i + COLUMNS], 1) for i in range(0, len(tiles), COLUMNS)]
    stills = StillSampler(4, everyday=True)
    drawn = []
    while len(drawn) < STILLS:
        still = stills.scene(*STILL_SIZE)
        if len(still.people) > 1:
            drawn.append(still_with_truth(still))
    strip = np.concatenate(drawn, 1)
    scale = rows[0].shape[1] / strip.shape[1]
    rows.append(cv2.resize(strip, (rows[0].shape[1], round(strip.shape[0] * scale)), interpolation=cv2.INTER_AREA))
    cv2.imwrite(sys.argv[1], cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == '__main__':
    main()
