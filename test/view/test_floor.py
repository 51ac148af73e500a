"""The floor is found under those who stand, however the camera is held."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cliff_ros.people import Person
from cliff_ros.synthetic import Sequence
from cliff_ros.view.floor import Floor


@pytest.mark.parametrize('seed', [0, 3, 5])
def test_the_floor_of_a_rendered_room_is_found(seed):
    """Of cameras that are pitched and rolled a little, at 0.9 to 2 m."""
    scene = Sequence(seed=seed, width=320, height=180, fps=2.0, seconds=10, people=3)
    floor = Floor()
    for i in range(len(scene)):
        floor.add(scene.truth(i))
    rotation, position = floor.pose()
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    soles = [(rotation @ person.joints[[10, 11]].T).T + position for i in range(20) for person in scene.truth(i)]
    heights = np.array([feet[:, 2].min() for feet in soles]) - 0.06
    assert np.abs(np.median(heights)) < 0.05 and np.percentile(np.abs(heights), 90) < 0.25


def test_before_anybody_was_seen_the_camera_is_level():
    rotation, position = Floor().pose()
    np.testing.assert_allclose(rotation @ (0, 0, 1), (1, 0, 0), atol=1e-12)  # ahead
    np.testing.assert_allclose(rotation @ (0, 1, 0), (0, 0, -1), atol=1e-12)  # down
    assert position[2] == 1.5


def test_who_lies_does_not_turn_the_room():
    joints = np.zeros((24, 3))
    joints[15], joints[[7, 8, 10, 11]] = (-0.7, 1, 4), (0.9, 1, 4)
    lying = Person(1, 1.0, np.array([0, 0, 1, 1.0]), np.zeros(10), np.tile(np.eye(3), (24, 1, 1)), np.zeros(3), joints,
                   np.zeros((24, 2)))  # fmt: skip
    floor = Floor()
    floor.add([lying] * 20)
    assert floor.up @ (0, -1, 0) > 0.99 and Rotation.from_matrix(floor.pose()[0]).magnitude() > 1
