"""A moment made smaller shows everybody in the same place."""

from __future__ import annotations

import numpy as np
import pytest

from cliff_ros.body import load_body
from cliff_ros.synthetic import Sequence
from cliff_ros.view.moment import Moment


@pytest.fixture(scope='module')
def moment():
    scene = Sequence(seed=4, width=480, height=270, fps=1.0, seconds=1, people=2)
    people = [person.with_(vertices=None) for person in scene.truth(0)]
    return Moment(scene.camera, people, load_body(), scene.image(0))


def test_a_smaller_image_keeps_joints_boxes_and_camera_together(moment):
    small = moment.shrunk(160)
    assert small.image.shape == (90, 160, 3) and (small.camera.width, small.camera.height) == (160, 90)
    for before, after in zip(moment.people, small.people, strict=True):
        np.testing.assert_allclose(small.camera.project(after.joints), after.joints2d, atol=0.02)
        np.testing.assert_allclose((np.asarray(before.box) + 0.5) / 3, np.asarray(after.box) + 0.5)
    assert moment.shrunk(480) is moment and moment.shrunk(1000) is moment


def test_meshes_are_made_where_they_are_missing(moment):
    made = moment.with_vertices()
    for person in made.people:
        _, expected = moment.body(person.betas[None], person.rotations[None], person.translation[None])
        np.testing.assert_allclose(person.vertices, expected[0], atol=1e-5)
    assert made.with_vertices() is made
