"""Cameras mounted on their side or upside down: detector and network get people as they know them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cliff_ros.camera import Camera
from cliff_ros.detect.upright import turned, turned_back
from cliff_ros.errors import InputError
from cliff_ros.people import Box, Frame
from cliff_ros.pipeline import Pipeline
from cliff_ros.synthetic import Sequence

WIDTH, HEIGHT = 320, 240
# By the degrees that make an upright image of it: how cv2 turns an upright image so, and where its axes go.
MOUNTS = {
    90: (cv2.ROTATE_90_COUNTERCLOCKWISE, [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    180: (cv2.ROTATE_180, [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]),
    270: (cv2.ROTATE_90_CLOCKWISE, [[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
}


@pytest.mark.parametrize('upright', [0, 90, 180, 270])
def test_a_box_comes_back_to_where_it_was(upright):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[40:100, 30:50] = 255
    rows, columns = np.nonzero(turned(image, upright)[..., 0])
    found = Box([columns.min(), rows.min(), columns.max(), rows.max()], 0.7, 3)
    back = turned_back(found, upright, WIDTH, HEIGHT)
    np.testing.assert_array_equal(back.xyxy, [30, 40, 49, 99])
    assert (back.score, back.id) == (0.7, 3)


@pytest.mark.parametrize('upright', MOUNTS)
def test_the_same_people_however_the_camera_is_mounted(upright):
    scene = Sequence(seed=3, width=640, height=480, seconds=1.0, people=2)
    turn, axes = MOUNTS[upright]
    image, K = scene.image(0), scene.camera.K
    mounted = cv2.rotate(image, turn)
    height, width = mounted.shape[:2]
    center = np.array([[K[0, 2] - 319.5, K[1, 2] - 239.5, 1]]) @ np.transpose(axes)
    camera = Camera(
        width,
        height,
        [[K[0, 0], 0, center[0, 0] + (width - 1) / 2], [0, K[1, 1], center[0, 1] + (height - 1) / 2], [0, 0, 1]],
    )
    options = dict(engine='onnx', smoothing=False, threads=1)
    straight = Pipeline(**options)(Frame(image, scene.camera))
    people = Pipeline(upright=upright, **options)(Frame(mounted, camera))
    assert len(people) == len(straight) == len(scene.truth(0))
    for person, other in zip(people, straight, strict=True):
        np.testing.assert_allclose(person.joints, other.joints @ np.transpose(axes), atol=0.1)
        mine, theirs = (np.array([p.joints2d.min(0), p.joints2d.max(0)]) for p in (person, other))
        assert np.ptp(mine, 0) == pytest.approx(np.ptp(theirs, 0)[:: -1 if upright != 180 else 1], abs=4)


def test_other_angles_are_refused():
    with pytest.raises(InputError, match='0, 90, 180, 270'):
        Pipeline(upright=45)
