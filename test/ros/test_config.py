"""config/ says what the node and RViz understand."""

from __future__ import annotations

from dataclasses import fields

import pytest
import yaml
from places import ROOT

CONFIG = ROOT / 'config'


@pytest.fixture
def settings():
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    from cliff_ros.ros.runtime import settings

    return settings


def test_parameter_file_lists_every_parameter_with_its_default(settings) -> None:
    listed = yaml.safe_load((CONFIG / 'cliff.yaml').read_text())['/**/cliff']['ros__parameters']
    declared = {field.name: field.default for field in fields(settings.CliffSettings)}
    assert listed == declared
    assert {name: type(value) for name, value in listed.items()} == {n: type(v) for n, v in declared.items()}


def test_parameter_file_marks_what_may_change_live(settings) -> None:
    lines = (CONFIG / 'cliff.yaml').read_text().splitlines()
    for field in fields(settings.CliffSettings):
        line = next(line for line in lines if line.strip().startswith(f'{field.name}:'))
        assert ('(live)' in line) == (field.metadata['spec'].when.name == 'LIVE'), line


def test_rviz_shows_our_topics_in_the_optical_frame() -> None:
    manager = yaml.safe_load((CONFIG / 'cliff.rviz').read_text())['Visualization Manager']
    assert manager['Global Options']['Fixed Frame'] == 'camera_optical_frame'
    topics = {
        display['Class'].split('/')[1]: display.get('Topic', {}).get('Value')
        for display in manager['Displays']
        if display['Enabled']
    }
    assert topics['Image'] == '/cliff/overlay'
    assert topics['MarkerArray'] == '/cliff/mesh'
    assert 'TF' in topics
