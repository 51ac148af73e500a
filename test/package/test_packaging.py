"""What the two package descriptions (package.xml, pyproject.toml) and the sources say of each other."""

from __future__ import annotations

import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from places import ROOT

import cliff_ros

OPTIONAL = {'vision_msgs', 'hri_msgs'}  # used where they are installed


def test_versions_agree() -> None:
    assert ET.parse(ROOT / 'package.xml').findtext('version') == cliff_ros.__version__


def test_every_message_package_that_is_imported_is_declared() -> None:
    declared = {tag.text for tag in ET.parse(ROOT / 'package.xml').getroot() if tag.tag.endswith('depend')}
    sources = [path for folder in ('cliff_ros', 'launch') for path in (ROOT / folder).rglob('*.py')]
    imported = {
        name
        for path in sources
        for name in re.findall(r'^\s*(?:from|import) (\w+)\.(?:msg|srv)\b', path.read_text(), re.M)
    }
    # rclpy brings rcl_interfaces.
    assert imported - {'cliff_ros', 'rcl_interfaces'} - OPTIONAL <= declared


def test_our_tf2_msgs_is_wire_compatible_with_the_real_one() -> None:
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    paths = [Path(prefix, 'share/tf2_msgs/msg/TFMessage.json') for prefix in prefixes]
    found = [path for path in paths if path.exists()]
    if not found:
        pytest.skip('tf2_msgs is not installed here')
    hashes = {entry['type_name']: entry['hash_string'] for entry in json.loads(found[0].read_text())['type_hashes']}
    # Of ROS 2's own tf2_msgs (Iron and later have type hashes).
    assert hashes['tf2_msgs/msg/TFMessage'] == (
        'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'
    )
