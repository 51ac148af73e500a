"""Parameters and services in the hands of somebody hostile, or of two at once: states stay true, nobody is left out."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from conftest import cell_picture

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically

from cliff_ros.msg import SmplArray
from cliff_ros.ros import node as node_module
from cliff_ros.ros.runtime.neighbors import Namesakes

ONE = cell_picture((2, 2))
NAN, INFINITE = float('nan'), float('inf')
LONG = 'x' * 1_000_000

# (name, value): refused live, by a sentence; types of ROS 2: 1 bool, 2 int, 3 float, 4 string, 5 bytes, 6-9 arrays.
VALUES = [
    ('max_people', ParameterValue(type=2, integer_value=(1 << 63) - 1)),
    ('max_people', ParameterValue(type=2, integer_value=-(1 << 63))),
    ('max_people', ParameterValue(type=3, double_value=4.0)),
    ('max_people', ParameterValue(type=4, string_value=LONG)),
    ('max_people', ParameterValue(type=0)),
    ('max_people', ParameterValue(type=7, integer_array_value=[1] * 100_000)),
    ('max_people', ParameterValue(type=5, byte_array_value=[b'\1'] * 1000)),
    ('score_threshold', ParameterValue(type=3, double_value=NAN)),
    ('score_threshold', ParameterValue(type=3, double_value=INFINITE)),
    ('score_threshold', ParameterValue(type=3, double_value=-INFINITE)),
    ('coast', ParameterValue(type=3, double_value=NAN)),
    ('coast', ParameterValue(type=8, double_array_value=[NAN] * 1000)),
    ('overlay_opacity', ParameterValue(type=3, double_value=1e300)),
    ('smoothing', ParameterValue(type=9, string_array_value=['true'])),
    ('smoothing', ParameterValue(type=2, integer_value=1)),
    ('use_sim_time', ParameterValue(type=4, string_value='true')),
    ('use_sim_time', ParameterValue(type=0)),
    ('diagnostics_rate', ParameterValue(type=3, double_value=NAN)),
    ('engine', ParameterValue(type=4, string_value=LONG)),
    ('model', ParameterValue(type=4, string_value='other.onnx')),
    ('x' * 10_000, ParameterValue(type=2, integer_value=1)),
    ('', ParameterValue(type=2, integer_value=1)),
    ('max_people\n[ERROR] forged', ParameterValue(type=2, integer_value=1)),
    ('qos_overrides./image.subscription.depth', ParameterValue(type=2, integer_value=1)),
]


def answers(peer) -> list[SmplArray]:
    return peer.listen(SmplArray, '/cliff/people')


def kinds(node) -> set[str]:
    return {complaint.kind for complaint in node.complain.all()}


def is_answered(peer, people, second: int) -> bool:
    for attempt in range(40):
        peer.show(ONE, (second, attempt))
        if peer.until(lambda: people and people[-1].header.stamp.sec == second, 0.5):
            return len(people[-1].people) == 1
    return False


def test_hostile_values_of_parameters_change_nothing(cliff, peer):
    node, people = cliff(), answers(peer)
    peer.bring_up()
    before = {name: node.get_parameter(name).value for name in node.parameters._specs}
    for name, value in VALUES:
        parameter = Parameter(name=name, value=value)
        request = SetParameters.Request(parameters=[parameter])
        results = peer.call(SetParameters, '/cliff/set_parameters', request).results
        assert len(results) == 1 and not results[0].successful, name[:40]
        assert len(results[0].reason) < 1000 + len(name), (name[:40], results[0].reason[:2000])
        # Together with a good one: all or nothing.
        request = SetParametersAtomically.Request(
            parameters=[Parameter(name='max_people', value=ParameterValue(type=2, integer_value=7)), parameter]
        )
        assert not peer.call(SetParametersAtomically, '/cliff/set_parameters_atomically', request).result.successful
        assert node.pipeline.options.max_people == before['max_people']
    assert {name: node.get_parameter(name).value for name in node.parameters._specs} == before
    names = ['x' * 10_000, '', *before]
    assert peer.call(GetParameters, '/cliff/get_parameters', GetParameters.Request(names=names)) is not None
    many = [Parameter(name='max_people', value=ParameterValue(type=2, integer_value=i % 5 + 1)) for i in range(2000)]
    results = peer.call(SetParameters, '/cliff/set_parameters', SetParameters.Request(parameters=many)).results
    assert len(results) == 2000 and all(result.successful for result in results)
    assert node.pipeline.options.max_people == 5 and peer.state() == 'active'
    assert is_answered(peer, people, 5)


def test_texts_without_end_are_refused_before_they_are_anywhere(cliff, peer):
    node = cliff(diagnostics_rate=10.0)
    said = peer.listen(DiagnosticArray, '/diagnostics')
    for name in ('model', 'body', 'detector', 'detections_class', 'tf_prefix', 'engine'):
        assert name in peer.set(**{name: LONG}), name
    assert node.get_parameter('model').value != LONG
    assert peer.set(model='/nowhere/' + 'y' * 4000) == ''
    assert not peer.change('configure') and peer.state() == 'unconfigured'
    assert peer.until(lambda: said and said[-1].status[0].level == b'\2')
    assert len(said[-1].status[0].message) < 1100


@pytest.fixture
def slow_loading(monkeypatch):
    """``wait`` is set when loading may go on."""
    wait, load = threading.Event(), node_module.load_pipeline

    def slowly(*args):
        assert wait.wait(60)
        return load(*args)

    monkeypatch.setattr(node_module, 'load_pipeline', slowly)
    yield wait
    wait.set()


def asked(label: str = '', number: int = 0) -> ChangeState.Request:
    request = ChangeState.Request()
    request.transition.label, request.transition.id = label, number
    return request


def test_while_it_loads_nobody_changes_its_state_but_itself(cliff, peer, slow_loading):
    node, people = cliff(), answers(peer)
    client = peer.node.create_client(ChangeState, '/cliff/change_state')
    assert peer.until(client.service_is_ready)
    configuring = client.call_async(asked('configure'))
    assert peer.until(lambda: node.lifecycle_state[1] == 'configuring')
    for label in (
        'configure',
        'activate',
        'cleanup',
        'deactivate',
        'shutdown',
        'transition_success',
        'transition_failure',
        'transition_error',
        'destroy',
        LONG,
        '\n[ERROR] forged',
    ):
        assert not peer.call(ChangeState, '/cliff/change_state', asked(label)).success, label[:40]
    for number in (*range(0, 12), 20, 30, 60, 97, 255):
        assert not peer.call(ChangeState, '/cliff/change_state', asked(number=number)).success, number
    assert peer.state() == 'configuring'
    # Services and parameters meanwhile.
    assert peer.set(max_people=3, coast=0.5) == '' and 'cleanup' in peer.set(model='other.onnx')
    for name, value in VALUES[:12]:
        request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
        assert not peer.call(SetParameters, '/cliff/set_parameters', request).results[0].successful
    assert not configuring.done()
    slow_loading.set()
    assert peer.until(configuring.done, 60.0) and configuring.result().success
    assert peer.state() == 'inactive' and (node.pipeline.options.max_people, node.pipeline.options.coast) == (3, 0.5)
    assert peer.change('activate')
    assert peer.until(peer.images.get_subscription_count)
    assert is_answered(peer, people, 5)
    sentences = [c.sentence for c in node.complain.all()]
    assert any('while the node is configuring' in sentence for sentence in sentences)
    assert all(len(sentence) < 1010 and sentence.isprintable() for sentence in sentences)


def test_what_is_impossible_now_is_said_once_with_what_is_possible(cliff, peer, capfd):
    node = cliff()
    for _ in range(30):
        assert not peer.change('activate') and not peer.change('transition_success')
    (complaint,) = [c for c in node.complain.all() if c.kind == 'transition impossible']
    assert complaint.count == 60 and 'possible now are configure, shutdown' in complaint.sentence
    assert capfd.readouterr().err.count('transition') <= 2


def test_two_who_operate_it_at_once_leave_it_in_a_true_state(cliff, peer, tiny_files):
    node, people = cliff(), answers(peer)
    client = peer.node.create_client(ChangeState, '/cliff/change_state')
    states = peer.node.create_client(GetState, '/cliff/get_state')
    assert peer.until(client.service_is_ready) and peer.until(states.service_is_ready)
    for round_ in range(8):
        wanted = [
            client.call_async(asked(label))
            for label in (
                'configure',
                'configure',
                'activate',
                'cleanup',
                'activate',
                'deactivate',
                'cleanup',
                'configure',
            )[round_:]
        ]
        state = states.call_async(GetState.Request())
        assert peer.until(lambda state=state, wanted=wanted: state.done() and all(f.done() for f in wanted), 60.0)
    state = peer.state()
    assert state in ('unconfigured', 'inactive', 'active')
    assert (node.pipeline is not None) == (state != 'unconfigured') and (node.inputs is not None) == (state == 'active')
    if state == 'active':
        assert peer.change('deactivate')
    if state != 'unconfigured':
        assert peer.change('cleanup')
    peer.bring_up()
    assert is_answered(peer, people, 9)
    assert peer.change('shutdown') and peer.state() == 'finalized'
    assert not peer.change('configure') and not peer.change('shutdown') and peer.state() == 'finalized'


def test_what_rclpy_cannot_take_or_answer_is_said_and_waited_for_again(cliff, peer):
    node = cliff()
    assert peer.state() == 'unconfigured'
    service = node._service_get_state
    real, client = service.srv_type, peer.node.create_client(GetState, '/cliff/get_state')
    parameters = next(s for s in node.services if s.srv_name.endswith('get_parameters'))  # of the default group
    others = peer.node.create_client(GetParameters, '/cliff/get_parameters')
    assert peer.until(client.service_is_ready) and peer.until(others.service_is_ready)
    service.srv_type = SimpleNamespace(Request=int, Response=real.Response)  # rclpy's C code cannot fill that
    parameters.srv_type, kept = SimpleNamespace(Request=int, Response=None), parameters.srv_type
    client.call_async(GetState.Request())
    others.call_async(GetParameters.Request(names=['model']))
    try:
        assert peer.until(lambda: sum(c.count for c in node.complain.all() if c.kind.startswith('not taken')) >= 2)
    finally:
        service.srv_type, parameters.srv_type = real, kept
    assert peer.state() == 'unconfigured'
    assert peer.call(GetParameters, '/cliff/get_parameters', GetParameters.Request(names=['coast'])).values
    peer.bring_up()


def test_two_nodes_of_one_name_are_noticed(cliff, peer, monkeypatch):
    monkeypatch.setattr(Namesakes, 'STARTING', 1.5)
    monkeypatch.setattr(Namesakes, 'LEASE', 4.0)
    first = cliff(diagnostics_rate=10.0)
    said = peer.listen(DiagnosticArray, '/diagnostics')
    assert peer.until(lambda: time.monotonic() - first.namesakes._since > 1.5)
    cliff(namespace='/left')  # of the same base name
    peer.spin(0.5)
    assert not first.complain.all()
    second = cliff(diagnostics_rate=10.0)
    assert peer.until(lambda: 'same name' in kinds(first), 5.0)
    assert peer.until(
        lambda: any(
            "the name '/cliff'" in status.message
            and 'namespace:=' in status.message
            and status.level == DiagnosticStatus.WARN
            for m in said
            for status in m.status
        )
    )
    assert 'same name' not in kinds(second)  # who was there may be a ghost
    assert peer.until(lambda: 'same name' in kinds(second), 10.0)


def test_a_node_that_was_destroyed_leaves_no_service_behind(ros, peer):
    from cliff_ros.ros.node import CliffNode

    node = CliffNode()

    def services() -> list[str]:
        return [name for name, _ in peer.node.get_service_names_and_types() if name.startswith('/cliff/')]

    assert peer.until(lambda: '/cliff/change_state' in services())
    node.destroy_node()
    assert peer.until(lambda: not services(), 5.0), services()
    assert node is not None  # Python has not collected it
