"""Draw the embedded body: T-pose, from all sides, small and large, and in everyday poses.

python tools/picture_of_body.py docs/images/body.png
"""

from __future__ import annotations

import sys

import cv2
import numpy as np

from cliff_ros.body import load_body
from cliff_ros.render.raster import shade
from cliff_ros.synthetic.poses import euler_to_matrix, sample_poses
from cliff_ros.synthetic.scene import FACING_CAMERA

WIDTH, HEIGHT, F = 1400, 680, 1250.0


def main(path: str) -> None:
    body, rng = load_body(), np.random.default_rng(4)
    image = np.full((HEIGHT, WIDTH, 3), 244, np.uint8)
    relaxed = np.zeros((24, 3))
    relaxed[16, 2], relaxed[17, 2], relaxed[18, 1], relaxed[19, 1] = -62, 62, -20, 20
    everyday = [sample_poses(rng, 1, {kind: 1.0})[0] for kind in ('walk', 'gesture', 'reach', 'sit', 'crouch')]
    top = [
        (np.zeros((24, 3)), 0, 0),
        (relaxed, 40, 0),
        (relaxed, 90, 0),
        (relaxed, 180, 0),
        (relaxed, 20, -1.5),
        (relaxed, 20, 1.5),
    ]
    bottom = [(pose, heading, 0) for pose, heading in zip(everyday, (40, -20, 60, 30, -50), strict=True)]
    for row, people in enumerate((top, bottom)):
        for k, (pose, heading, size) in enumerate(people):
            rotations = euler_to_matrix(pose)
            rotations[0] = FACING_CAMERA @ euler_to_matrix(np.array([0.0, heading, 0.0])) @ rotations[0]
            betas = np.zeros((1, 10))
            betas[0, :2] = size, 0.7 * size
            x = (k - (len(people) - 1) / 2) * 1.25
            _, vertices = body(betas, rotations[None], np.array([[x, -0.65 + 1.75 * row, 6.6]]))
            shade(vertices[0], body.faces, F * 0.9, WIDTH / 2, HEIGHT / 2 - 10, image, (205, 160, 130), alpha=1)
    cv2.imwrite(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


if __name__ == '__main__':
    main(sys.argv[1])
