"""An option of the pipeline is named once, and has one name, default and bound wherever it can be set."""

from __future__ import annotations

import argparse
from dataclasses import FrozenInstanceError, astuple, fields, replace

import numpy as np
import pytest

from cliff_ros import options
from cliff_ros.camera import Camera
from cliff_ros.errors import InputError
from cliff_ros.options import PipelineOptions
from cliff_ros.people import Frame
from cliff_ros.pipeline import Pipeline
from cliff_ros.track import SmootherOptions


@pytest.mark.parametrize(
    'name, value, words',
    [
        ('max_people', 0, 'max_people must lie in 1 .. 128, not 0'),
        ('max_people', 2.5, 'max_people must be a whole number'),
        ('max_people', True, 'max_people must be a whole number'),
        ('score_threshold', 'high', 'score_threshold must be a number'),
        ('coast', float('nan'), 'coast must lie in 0.0 .. 10.0, not nan'),
        ('upright', 45, 'upright must be one of 0, 90, 180, 270, not 45'),
        ('smoothing', 1, 'smoothing must be true or false'),
        ('refine_boxes', SmootherOptions(), 'refine_boxes must be true or false'),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(name, value, words):
    with pytest.raises(InputError, match=words):
        PipelineOptions(**{name: value})
    with pytest.raises(InputError, match=words):  # before anything is loaded
        Pipeline(model='/nowhere.onnx', **{name: value})
    with pytest.raises(InputError, match=words):
        replace(PipelineOptions(), **{name: value})


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(InputError, match='no option detection_threshold: there are .*score_threshold'):
        Pipeline(model='/nowhere.onnx', detection_threshold=0.5)


def test_numbers_of_numpy_and_whole_numbers_for_numbers_do():
    given = PipelineOptions(
        max_people=np.int64(3), coast=1, score_threshold=np.float32(0.5), smoothing=SmootherOptions()
    )
    assert (given.max_people, given.coast, given.score_threshold) == (3, 1, 0.5)


def test_options_are_replaced_whole_and_hold_from_the_next_image_on():
    pipeline = Pipeline(engine='onnx', threads=1, score_threshold=0.6, options=PipelineOptions(coast=1.0))
    assert pipeline.options == PipelineOptions(score_threshold=0.6, coast=1.0)
    assert pipeline.detector.threshold == 0.6
    with pytest.raises(FrozenInstanceError):
        pipeline.options.coast = 2.0
    before = pipeline.options
    with pytest.raises(InputError):
        pipeline.options = replace(before, score_threshold=0.5, coast=-1.0)
    assert pipeline.options is before and pipeline.detector.threshold == 0.6  # all or nothing
    frame = Frame(np.full((96, 128, 3), 127, np.uint8), Camera(128, 96, [[100, 0, 64], [0, 100, 48], [0, 0, 1]]))
    seen = []
    decoded = pipeline.detector

    class Watching:
        name, threshold = 'watching', None

        def __call__(self, image, order='rgb'):
            seen.append((self.threshold, image.shape))
            return decoded(image, order)

    pipeline.detector = Watching()
    pipeline.options = replace(before, score_threshold=0.9, upright=90)
    pipeline(frame)
    pipeline.options = replace(before, score_threshold=None)
    pipeline(frame)
    assert seen == [(0.9, (128, 96, 3)), (None, (96, 128, 3))]


def test_a_command_takes_every_option_by_its_name():
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    assert options.from_arguments(parser.parse_args([])) == PipelineOptions()
    words = '--max-people 3 --no-smoothing --score-threshold 0.5 --upright 90 --min-hits 2 --no-refine-boxes'
    assert options.from_arguments(parser.parse_args(words.split())) == PipelineOptions(
        max_people=3, smoothing=False, score_threshold=0.5, upright=90, min_hits=2, refine_boxes=False
    )
    text = ' '.join(parser.format_help().split())
    for one in fields(PipelineOptions):
        assert f'--{one.name.replace("_", "-")}' in text


def test_the_parameters_of_the_node_are_the_options_by_the_same_names():
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    from cliff_ros.ros.runtime.settings import OF_PIPELINE, CliffSettings

    assert set(options.NAMES) - set(OF_PIPELINE) == {'smooth_boxes'}
    assert CliffSettings().pipeline_options() == PipelineOptions(score_threshold=0.3)
    specs = {one.name: one.metadata['spec'] for one in fields(CliffSettings)}
    for name in OF_PIPELINE:
        spec = options.SPECS[name][1]
        assert (specs[name].description, specs[name].range, specs[name].choices) == astuple(spec)
    assert CliffSettings(max_people=5, upright=180).pipeline_options() == PipelineOptions(
        score_threshold=0.3, max_people=5, upright=180
    )
