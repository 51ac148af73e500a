"""People far off the axis: through which view they are seen, and that they stand where they stood."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliff_ros.camera import Camera
from cliff_ros.cliff.dialects import DIALECTS
from cliff_ros.crop.views import CropSpec, view_of
from cliff_ros.errors import InputError
from cliff_ros.people import Box, Frame
from cliff_ros.pipeline import Pipeline

WIDE = Camera(640, 480, np.array([[320.0, 0, 319.5], [0, 320, 239.5], [0, 0, 1]]))  # 90 degrees across


@settings(max_examples=40, deadline=None)
@given(x=st.floats(20, 560), y=st.floats(20, 300), beyond=st.sampled_from([0.0, 20.0, 30.0, 60.0]))
def test_a_view_is_turned_beyond_its_angle_and_not_before(x, y, beyond) -> None:
    box = Box(np.array([x, y, x + 60, y + 140]))
    view = view_of(box, WIDE, CropSpec(256, 192, turn_beyond=beyond))
    corners = np.abs([[x - 319.5, y - 239.5], [x + 60 - 319.5, y + 140 - 239.5]]).max(0)
    farthest = np.degrees(np.arctan(np.hypot(*corners) / 320))  # of the box's corners
    if farthest <= beyond:
        assert view.is_straight
    middle = (box.xyxy[:2] + box.xyxy[2:]) / 2
    if np.degrees(np.arctan(np.hypot(*(middle - [319.5, 239.5])) / 320)) > beyond:
        assert not view.is_straight and np.hypot(*view.location[:2]) < 0.12  # they stand on the axis
        ray = np.append(view.location[:2], 1) @ view.rotation  # and still where they were
        np.testing.assert_allclose(WIDE.project(ray), middle, atol=12)


def test_dialects_turn_where_their_training_ends() -> None:
    assert DIALECTS['official'].turn_beyond == 30 and DIALECTS['bedlam'].turn_beyond == 40


def test_the_pipeline_turns_when_told_to_and_says_what_it_cannot_know(caplog) -> None:
    image = np.full((480, 640, 3), 120, np.uint8)
    frame, box = Frame(image, WIDE), Box(np.array([520, 150, 600, 420]), id=1)
    pipeline = Pipeline(detector='none', smoothing=False, threads=1)
    (straight,) = pipeline(frame, [box])
    pipeline.options = replace(pipeline.options, turn_beyond=0.0)
    pipeline.reset()
    (turned,) = pipeline(frame, [box])
    # Another look at the same pixels: another guess, in the same direction.
    assert np.abs(straight.joints - turned.joints).max() > 1e-3
    bearings = [np.degrees(np.arctan2(*person.joints[0][[0, 2]])) for person in (straight, turned)]
    assert abs(bearings[0] - bearings[1]) < 5 and bearings[0] > 30
    assert not caplog.records
    engine = pipeline.engine
    engine.spec = replace(engine.spec, turn_beyond=10.0)  # as if it had been trained on nobody farther out
    pipeline.options = replace(pipeline.options, turn_beyond=60.0)
    pipeline.reset()
    with caplog.at_level(logging.WARNING):
        pipeline(frame, [box])
    assert 'more than 10 degrees off the axis' in caplog.text
    with pytest.raises(InputError, match='turn_beyond'):
        replace(pipeline.options, turn_beyond=75.0)
