"""Graphs of other people's making: one that never ends, eats the memory or is damaged never reaches this process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='the tiny graphs of these tests are built with onnx')

from graphs import INT64, runtime_graph, save, tensor
from onnx import TensorProto, helper

from cliff_ros import assets
from cliff_ros.body import load_body
from cliff_ros.detect import load_detector
from cliff_ros.engine import load_engine, trial
from cliff_ros.errors import ModelError
from cliff_ros.graph.metadata import read_metadata
from cliff_ros.graph.onnx_file import OnnxFile, _varint
from cliff_ros.sandbox import Limits

IMAGE, OUTPUT = [tensor('images', [1, 3, 64, 64])], [tensor('output', [1, 5, 84])]
n = helper.make_node


def endless(path, wrapped: bool = False):
    """A Loop that goes round as long as an int64 counts."""
    body = helper.make_graph(
        [n('Identity', ['go'], ['go_on']), n('Add', ['x', 'x'], ['y'])],
        'body',
        [tensor('i', [], INT64), tensor('go', [], TensorProto.BOOL), tensor('x', [1, 5, 84])],
        [tensor('go_on', [], TensorProto.BOOL), tensor('y', [1, 5, 84])],
    )
    loop = n('Loop', ['most', 'yes', 'rows'], ['output'], body=body)
    if wrapped:
        inner = helper.make_graph([loop], 'then', [], [tensor('output', [1, 5, 84])])
        other = helper.make_graph([n('Identity', ['rows'], ['else_out'])], 'else', [], [tensor('else_out', [1, 5, 84])])
        loop = n('If', ['yes'], ['output'], then_branch=inner, else_branch=other)
    return save(
        path,
        [loop],
        IMAGE,
        OUTPUT,
        {'most': np.int64((1 << 63) - 1), 'yes': np.array(True), 'rows': np.zeros((1, 5, 84), np.float32)},
    )


def slow(path, side: int = 16000):
    """Products of matrices that take minutes."""
    nodes = [n('ReduceMax', ['images'], ['one'], keepdims=0), n('Expand', ['one', 'shape'], ['m0'])]
    nodes += [n('MatMul', [f'm{i}', f'm{i}'], [f'm{i + 1}']) for i in range(8)]
    nodes += [n('ReduceMax', ['m8'], ['last'], keepdims=0), n('Expand', ['last', 'out'], ['output'])]
    return save(path, nodes, IMAGE, OUTPUT, {'shape': np.array([side, side]), 'out': np.array([1, 5, 84])})


def greedy(path):
    return save(
        path,
        [
            n('ReduceMax', ['images'], ['one'], keepdims=0),
            n('Expand', ['one', 'shape'], ['m']),
            n('ReduceMax', ['m'], ['most'], keepdims=0),
            n('Expand', ['most', 'out'], ['output']),
        ],
        IMAGE,
        OUTPUT,
        {'shape': np.array([1 << 34]), 'out': np.array([1, 5, 84])},
    )


@pytest.mark.parametrize('wrapped', [False, True])
def test_a_loop_is_refused_by_name(tmp_path, wrapped):
    with pytest.raises(ModelError, match=r'endless.onnx holds a Loop, which may never end'):
        load_detector(endless(tmp_path / 'endless.onnx', wrapped))


def test_what_takes_too_long_or_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, 'LIMITS', Limits(cpu=2, wall=60))
    with pytest.raises(ModelError, match='slow.onnx was not read within 2 s'):
        load_detector(slow(tmp_path / 'slow.onnx'))
    with pytest.raises(ModelError, match='greedy.onnx'):
        load_detector(greedy(tmp_path / 'greedy.onnx'))


def test_a_graph_that_never_ends_is_deaf_to_no_signal(tmp_path):
    """What is measured is that SIGTERM is answered while the child still tries."""
    path = slow(tmp_path / 'slow.onnx')
    program = subprocess.Popen(
        [sys.executable, '-m', 'cliff_ros.cli', 'video', 'synthetic:1', '--max-frames', '2', '--detector', str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    children = f'/proc/{program.pid}/task/{program.pid}/children'
    until = time.monotonic() + 100
    while not (found := open(children).read().split()):
        assert time.monotonic() < until and program.poll() is None, program.communicate()[0]
        time.sleep(0.05)
    time.sleep(1.0)
    program.send_signal(signal.SIGTERM)
    began = time.monotonic()
    program.communicate(timeout=60)
    assert program.returncode == 143 and time.monotonic() - began < 20
    assert not gone_later(found)


def test_a_node_is_told_why_and_ends_when_told_to(start, peer, tmp_path):
    """A Loop is named; a graph that takes minutes keeps nobody from ending the node, and goes with it."""
    pytest.importorskip('rclpy', reason='needs ROS 2')
    from diagnostic_msgs.msg import DiagnosticArray

    reports = peer.listen(DiagnosticArray, '/diagnostics')
    node = start('cliff_ros.ros.node', autostart='true', detector=endless(tmp_path / 'endless.onnx'))
    assert peer.until(lambda: any('holds a Loop' in status.message for r in reports for status in r.status), 60.0)
    assert node.poll() is None and peer.state() == 'unconfigured'
    node.send_signal(signal.SIGTERM)
    assert 'holds a Loop' in node.communicate(timeout=30)[0] and node.returncode == 0

    node = start('cliff_ros.ros.node', autostart='true', detector=slow(tmp_path / 'slow.onnx'))
    found: list[str] = []
    until = time.monotonic() + 60
    while not found:
        assert time.monotonic() < until and node.poll() is None
        found = [
            child for file in Path(f'/proc/{node.pid}/task').glob('*/children') for child in file.read_text().split()
        ]
        time.sleep(0.05)
    time.sleep(1.0)
    node.send_signal(signal.SIGTERM)
    log = node.communicate(timeout=30)[0]
    assert node.returncode == 0 and 'Traceback' not in log, log
    assert not gone_later(found)


def gone_later(children: list[str]) -> list[str]:
    """Those who still run after a while; a zombie whose parent is gone waits for the machine's init only."""

    def running(child: str) -> bool:
        try:
            return Path(f'/proc/{child}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
        except OSError:
            return False

    until = time.monotonic() + 20
    while any(map(running, children)) and time.monotonic() < until:
        time.sleep(0.05)
    return [child for child in children if running(child)]


def test_a_good_graph_is_tried_once(tmp_path, monkeypatch):
    path = runtime_graph(tmp_path / 'rest.onnx', load_body())
    tried = []
    real = trial.run_limited
    monkeypatch.setattr(trial, 'run_limited', lambda *args, **kw: tried.append(args) or real(*args, **kw))
    monkeypatch.setattr(trial, '_accepted', set())  # others of these tests have run the same graph
    for _ in range(2):
        load_engine(path, 'onnx')
    load_engine('embedded', 'onnx')
    copy = tmp_path / 'copy.onnx'
    copy.write_bytes(assets.NETWORK.read_bytes())
    load_engine(copy, 'onnx')
    assert len(tried) == 1


@pytest.mark.parametrize(
    'metadata',
    [
        {'crop': [1 << 40, 2]},
        {'crop': 3},
        {'crop': [10, '1']},
        {'margin': 'wide'},
        {'margin': 0},
        {'margin': float('nan')},
        {'num_vertices': -1},
        {'num_vertices': 1 << 40},
        {'model': [1]},
        {'body_sha256': None},
    ],
)
def test_metadata_of_no_exporter_is_refused(tmp_path, metadata):
    path = runtime_graph(tmp_path / 'rest.onnx', load_body())
    file = OnnxFile(path)
    file.metadata['cliff_ros'] = json.dumps(json.loads(file.metadata['cliff_ros']) | metadata)
    with pytest.raises(ModelError, match=f'metadata that no exporter writes .{next(iter(metadata))}'):
        read_metadata(file, path)
    for damaged in ('[', '7', '[' * 100000):
        file.metadata['cliff_ros'] = damaged
        with pytest.raises(ModelError, match='damaged metadata'):
            read_metadata(file, path)


def field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def test_numbers_and_depth_without_end_cost_nothing(tmp_path):
    path = tmp_path / 'bad.onnx'
    path.write_bytes(b'\x08' + b'\xff' * 4_000_000)
    began = time.process_time()
    with pytest.raises(ModelError, match='is not an ONNX file, or is damaged'):
        OnnxFile(path)
    graph = b''
    for _ in range(3000):
        graph = field(1, field(5, field(6, graph)))  # node, attribute, graph
    path.write_bytes(b'\x08\x08' + field(7, graph))
    with pytest.raises(ModelError, match='is not an ONNX file, or is damaged'):
        OnnxFile(path).nodes()
    assert time.process_time() - began < 5


def test_mutated_graphs_are_read_or_refused(tmp_path):
    rng = np.random.default_rng(3)
    whole = runtime_graph(tmp_path / 'rest.onnx', load_body()).read_bytes()
    # Names and structure stand at both ends of the file, weights between them.
    places = np.r_[0:3000, len(whole) - 6000 : len(whole)]
    path, refused = tmp_path / 'mutated.onnx', 0
    for _ in range(600):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.choice(places, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(data.tobytes())
        try:
            file = OnnxFile(path)
            read_metadata(file, path)
            file.nodes()
            file.without('vertices')
        except ModelError:
            refused += 1
    assert refused
