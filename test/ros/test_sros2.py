"""config/sros2/cliff.policy.xml allows what the node does and no more; under enforcement it works with just that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from places import ROOT

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

POLICY = ROOT / 'config' / 'sros2' / 'cliff.policy.xml'
NODE = '/cliff'
SECURITY = {'ROS_SECURITY_ENABLE': 'true', 'ROS_SECURITY_STRATEGY': 'Enforce'}
# What is there only where it is asked for: boxes from elsewhere, simulated time, compressed images.
ON_DEMAND = {'/detections', '/clock', '/image/compressed', '/tf'}


def allowed(kind: str, direction: str) -> set[str]:
    """Full names, in the namespace and with the name that the node has by default."""
    (profile,) = ET.parse(POLICY).iter('profile')
    assert (profile.get('ns'), profile.get('node')) == ('/', 'cliff')
    names = set()
    for group in profile.findall(f'{kind}s'):
        if group.get(direction) == 'ALLOW':
            names |= {element.text.strip() for element in group.findall(kind)}
        assert 'DENY' not in group.attrib.values()
    return {name.replace('~', NODE, 1) if name[0] == '~' else name if name[0] == '/' else f'/{name}' for name in names}


def test_the_policy_allows_what_the_node_does_and_no_more(cliff, peer):
    node = cliff()
    peer.bring_up()

    def found(method: str) -> set[str]:
        return {name for name, _ in getattr(node, method)('cliff', '/')}

    seen = {
        ('topic', 'publish'): 'get_publisher_names_and_types_by_node',
        ('topic', 'subscribe'): 'get_subscriber_names_and_types_by_node',
        ('service', 'reply'): 'get_service_names_and_types_by_node',
        ('service', 'request'): 'get_client_names_and_types_by_node',
    }
    for (kind, direction), method in seen.items():
        names = found(method)
        assert names or direction == 'request'
        assert names - allowed(kind, direction) == set(), (kind, direction)
        assert allowed(kind, direction) - names - ON_DEMAND == set(), (kind, direction)


PEER = """
import sys, numpy as np
sys.path[:0] = [{test!r}, {root!r}]
import rclpy
from conftest import Peer, cell_picture
from cliff_ros.msg import SmplArray
peer = Peer()
people = peer.listen(SmplArray, '/cliff/people')
peer.images
for attempt in range(200):
    peer.show(cell_picture((2, 2)), (10, attempt))
    if peer.until(lambda: people and people[-1].people, 0.3):
        print('people', len(people[-1].people))
        break
peer.close()
"""


def test_under_enforcement_the_node_has_what_it_needs(ros, tmp_path, tiny_files):
    (tmp_path / 'enclaves').mkdir()
    probe = subprocess.run(
        [sys.executable, '-c', 'import rclpy; rclpy.init(); rclpy.create_node("probe")'],
        env=os.environ | SECURITY | {'ROS_SECURITY_KEYSTORE': str(tmp_path)},
        capture_output=True,
        text=True,
    )
    if "doesn't have the security libraries" in probe.stderr:
        pytest.skip('this middleware was built without security (the wheels of ROS from PyPI are)')
    if not shutil.which('ros2') or subprocess.run(['ros2', 'security', '--help'], capture_output=True).returncode:
        pytest.skip('sros2 is not installed, which makes keys')
    keys = tmp_path / 'keys'
    for words in (
        ('create_keystore', str(keys)),
        ('create_enclave', str(keys), '/cliff'),
        ('create_enclave', str(keys), '/peer'),  # may do everything
        ('create_permission', str(keys), '/cliff', str(POLICY)),
    ):
        subprocess.run(['ros2', 'security', *words], check=True, capture_output=True)
    env = os.environ | SECURITY | {'ROS_SECURITY_KEYSTORE': str(keys)}
    words = [word for name, value in {**tiny_files, 'autostart': True, 'score_threshold': 0.6}.items()
             for word in ('-p', f'{name}:={str(value).lower() if isinstance(value, bool) else value}')]  # fmt: skip
    node = subprocess.Popen(
        [sys.executable, '-m', 'cliff_ros.ros.node', '--ros-args', '--enclave', '/cliff', *words], env=env
    )
    try:
        program = PEER.format(test=str(ROOT / 'test'), root=str(ROOT))
        told = subprocess.run(
            [sys.executable, '-c', program], capture_output=True, text=True, timeout=120,
            env=env | {'ROS_SECURITY_ENCLAVE_OVERRIDE': '/peer'},
        )  # fmt: skip
        assert 'people 1' in told.stdout, told.stderr
    finally:
        node.terminate()
        node.wait(20)


def test_without_security_in_the_middleware_the_node_says_so_and_ends(ros, start, tmp_path, monkeypatch):
    for name, value in (SECURITY | {'ROS_SECURITY_KEYSTORE': str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    node = start('cliff_ros.ros.node')
    log, _ = node.communicate(timeout=60)
    assert node.returncode == 1 and 'Traceback' not in log, log
    assert 'The middleware cannot make the node' in log and 'ROS_SECURITY' in log
