"""RViz's configuration follows the node, its fixed frame the images. RViz is a script here that keeps what it gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import yaml
from places import ROOT

from cliff_ros.ros.rviz import configuration

TEMPLATE = ROOT / 'config' / 'cliff.rviz'
TOPICS = ['cliff/overlay', 'cliff/mesh', 'cliff/skeleton']


def topics(config: dict) -> list[str]:
    return [display['Topic']['Value'] for display in config['Visualization Manager']['Displays'] if 'Topic' in display]


def fixed_frame(config: dict) -> str:
    return config['Visualization Manager']['Global Options']['Fixed Frame']


def test_topics_and_frame_are_the_nodes_and_nothing_else_changes():
    shipped = yaml.safe_load(TEMPLATE.read_text())
    config = yaml.safe_load(configuration(TEMPLATE.read_text(), '/robot/cliff', 'robot/optical'))
    assert topics(config) == [f'/robot/{topic}' for topic in TOPICS] and fixed_frame(config) == 'robot/optical'
    assert topics(shipped) == [f'/{topic}' for topic in TOPICS]
    back = yaml.safe_load(
        configuration(configuration(TEMPLATE.read_text(), '/cliff', 'x'), '/cliff', fixed_frame(shipped))
    )
    assert back == shipped


@pytest.fixture
def rviz(tmp_path):
    """``rviz(*arguments)`` starts the program that becomes RViz; and what that was given."""
    kept, program = tmp_path / 'kept.json', tmp_path / 'rviz2'
    program.write_text(
        f'#!{sys.executable}\nimport json, sys\n'
        f'json.dump([sys.argv[1:], open(sys.argv[2]).read()], open({str(kept)!r}, "w"))\n'
    )
    program.chmod(0o755)
    children = []

    def run(*arguments: str) -> subprocess.Popen:
        children.append(
            subprocess.Popen(
                [
                    sys.executable,
                    '-m',
                    'cliff_ros.ros.rviz',
                    '--program',
                    str(program),
                    '--template',
                    str(TEMPLATE),
                    '--folder',
                    str(tmp_path),
                    *arguments,
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return children[-1]

    yield run, lambda: json.loads(kept.read_text())
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def test_a_frame_that_is_given_needs_no_image(rviz):
    run, given = rviz
    process = run('--node', '/robot/cliff', '--frame', 'map', '--ros-args', '-p', 'use_sim_time:=true')
    assert process.wait(60) == 0, process.stdout.read()
    arguments, text = given()
    assert arguments[0] == '-d' and arguments[2:] == ['--ros-args', '-p', 'use_sim_time:=true']
    assert fixed_frame(yaml.safe_load(text)) == 'map' and topics(yaml.safe_load(text))[0] == '/robot/cliff/overlay'


def test_the_frame_is_that_of_the_first_answer(rviz, ros, peer):
    messages = pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')
    from std_msgs.msg import Header

    run, given = rviz
    answers = peer.node.create_publisher(messages.SmplArray, '/robot/cliff/people', 10)
    process = run('--node', '/robot/cliff')
    assert peer.until(answers.get_subscription_count, 60.0)
    assert process.poll() is None

    def answered() -> bool:
        for frame in ('', 'eye_optical'):  # the node's farewell has none before the first image
            answers.publish(messages.SmplArray(header=Header(frame_id=frame)))
        peer.spin(0.1)
        return process.poll() is not None

    assert peer.until(answered, 60.0)
    assert process.returncode == 0, process.stdout.read()
    assert fixed_frame(yaml.safe_load(given()[1])) == 'eye_optical'


def test_rviz_hears_signals_that_were_held_back_from_us(tmp_path):
    """A start script may block them until Python listens; blocked signals stay so in whatever a process becomes."""
    program = tmp_path / 'rviz2'
    program.write_text(f'#!{sys.executable}\nimport signal\nprint(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n')
    program.chmod(0o755)
    said = subprocess.run(
        [
            sys.executable,
            '-m',
            'cliff_ros.ros.rviz',
            '--program',
            str(program),
            '--template',
            str(TEMPLATE),
            '--folder',
            str(tmp_path),
            '--frame',
            'map',
        ],
        text=True,
        capture_output=True,
        timeout=60,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM]),
    )
    assert said.stdout == 'set()\n', said


def test_told_to_end_while_it_waits_it_ends(rviz, ros, peer):
    messages = pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')
    run, _ = rviz
    answers = peer.node.create_publisher(messages.SmplArray, '/cliff/people', 10)
    process = run()
    assert peer.until(answers.get_subscription_count, 60.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0 and 'Traceback' not in process.stdout.read()


def test_without_rviz_it_says_so(rviz):
    run, _ = rviz
    process = run('--program', os.devnull)
    assert process.wait(60) == 1 and 'install the package rviz2' in process.stdout.read()
