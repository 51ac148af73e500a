"""The node ``cliff`` while its engine is built, and when its engine fails, over a real graph."""

from __future__ import annotations

import threading

import pytest
from conftest import cell_picture

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import MultiThreadedExecutor

from cliff_ros.errors import EngineError, ModelError
from cliff_ros.msg import SmplArray
from cliff_ros.ros import node as node_module
from cliff_ros.ros.runtime.tuning import load_pipeline

ONE = cell_picture((2, 2))


class Slow:
    """Loading as it is when an engine has to be built: it says how far it is and takes until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.go = error, threading.Event()

    def __call__(self, settings, progress):
        progress(0.4, 'building the TensorRT engine')
        assert self.go.wait(60)
        if self.error:
            raise self.error
        return load_pipeline(settings, progress)


def ask(peer, transition: str):
    """Ask for a transition without waiting for the answer."""
    client = peer.node.create_client(ChangeState, '/cliff/change_state')
    assert peer.until(client.service_is_ready)
    request = ChangeState.Request()
    request.transition.label = transition
    return client.call_async(request)


def test_the_node_answers_while_its_engine_is_built(cliff, peer, monkeypatch):
    loading = Slow()
    monkeypatch.setattr(node_module, 'load_pipeline', loading)
    node = cliff(diagnostics_rate=10.0)
    executor = node.executor
    said, people = peer.listen(DiagnosticArray, '/diagnostics'), peer.listen(SmplArray, '/cliff/people')
    configuring = ask(peer, 'configure')
    words = 'configuring: building the TensorRT engine, 40%'
    assert peer.until(lambda: said and said[-1].status[0].message.startswith(words)), said[-1].status[0].message
    heard = len(said)
    assert peer.until(lambda: len(said) >= heard + 5)
    assert said[-1].status[0].level == DiagnosticStatus.OK
    assert peer.state() == 'configuring'
    assert peer.set(max_people=5) == '' and 'cleanup' in peer.set(model='other.onnx')
    assert not peer.change('configure') and not peer.change('activate')  # one thing at a time
    assert not configuring.done()
    loading.go.set()
    assert peer.until(configuring.done, 60.0) and configuring.result().success
    assert node.executor is executor and peer.state() == 'inactive'
    assert node.pipeline.options.max_people == 5
    assert peer.until(lambda: said[-1].status[0].message == 'inactive')
    assert peer.change('activate')
    assert peer.until(lambda: peer.images.get_subscription_count() and peer.infos.get_subscription_count())
    for i in range(50):  # best effort: the first image may go before everybody knows everybody
        peer.show(ONE, (10, i))
        if peer.until(lambda: people, 0.5):
            break
    assert len(people[0].people) == 1


def test_a_build_that_fails_ends_unconfigured_with_the_reason(cliff, peer, monkeypatch):
    loading = Slow(ModelError('TensorRT 8.5.3 cannot build model.onnx: no tactics: choose the engine onnx'))
    monkeypatch.setattr(node_module, 'load_pipeline', loading)
    cliff(diagnostics_rate=10.0)
    said = peer.listen(DiagnosticArray, '/diagnostics')
    configuring = ask(peer, 'configure')
    assert peer.until(lambda: said and '40%' in said[-1].status[0].message)
    loading.go.set()
    assert peer.until(configuring.done, 60.0) and not configuring.result().success
    assert peer.until(lambda: 'no tactics' in said[-1].status[0].message)
    assert said[-1].status[0].level == DiagnosticStatus.ERROR and peer.state() == 'unconfigured'
    assert peer.set(model='other.onnx') == ''  # unlocked: it can be mended


def test_other_executors_keep_the_node_too(ros, tiny_files, peer, monkeypatch):
    """A node in somebody else's multi-threaded executor, configured by a call and not by the service."""
    from rclpy.parameter import Parameter

    loading = Slow()
    monkeypatch.setattr(node_module, 'load_pipeline', loading)
    values = {**tiny_files, 'engine': 'onnx', 'num_threads': 1, 'diagnostics_rate': 10.0}
    node = node_module.CliffNode(parameter_overrides=[Parameter(n, value=v) for n, v in values.items()])
    executor = MultiThreadedExecutor(2)
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    spinning.start()
    try:
        said = peer.listen(DiagnosticArray, '/diagnostics')
        configuring = ask(peer, 'configure')
        assert peer.until(lambda: said and '40%' in said[-1].status[0].message)
        heard = len(said)
        assert peer.until(lambda: len(said) >= heard + 3)
        loading.go.set()
        assert peer.until(configuring.done, 60.0) and configuring.result().success
        assert node.executor is executor
        assert peer.until(lambda: said[-1].status[0].message == 'inactive')
    finally:
        executor.shutdown()
        spinning.join(10)
        node.destroy_node()


class Failing:
    """An engine whose device fails when it is run."""

    def __init__(self, engine, error: EngineError) -> None:
        self._engine, self._error = engine, error

    def __getattr__(self, name: str):
        return getattr(self._engine, name)

    def __call__(self, *args, **kwargs):
        raise self._error


@pytest.fixture
def active(cliff, peer):
    node = cliff(diagnostics_rate=10.0)
    said, people = peer.listen(DiagnosticArray, '/diagnostics'), peer.listen(SmplArray, '/cliff/people')
    peer.bring_up()
    peer.spin(0.5)
    return node, said, people


def show_until(peer, condition, second: int) -> None:
    for i in range(50):
        peer.show(ONE, (second, i))
        if peer.until(condition, 0.5):
            return
    pytest.fail('that did not happen')


def test_an_image_too_many_for_the_gpu_is_refused_and_the_node_goes_on(active, peer):
    node, said, people = active
    engine = node.pipeline.engine
    node.pipeline.engine = Failing(engine, EngineError('the GPU has too little memory: lower max_people'))
    show_until(peer, lambda: 'lower max_people' in said[-1].status[0].message, 10)
    assert said[-1].status[0].level == DiagnosticStatus.WARN and peer.state() == 'active'
    node.pipeline.engine = engine
    show_until(peer, lambda: people, 20)


def test_a_lost_gpu_ends_unconfigured_with_the_reason_and_can_be_configured_again(active, peer):
    node, said, people = active
    node.pipeline.engine = Failing(node.pipeline.engine, EngineError('the GPU failed: start again', lost=True))
    show_until(peer, lambda: said[-1].status[0].level == DiagnosticStatus.ERROR, 10)
    assert peer.until(lambda: 'The GPU failed: start again.' in said[-1].status[0].message)
    assert peer.until(lambda: peer.state() == 'unconfigured')
    assert node.pipeline is None and node.worker is None
    peer.spin(0.5)
    assert 'start again' in said[-1].status[0].message  # still said
    assert peer.change('configure') and peer.change('activate')
    assert peer.until(lambda: peer.images.get_subscription_count() and peer.infos.get_subscription_count())
    show_until(peer, lambda: people, 20)
    assert peer.until(lambda: said[-1].status[0].level == DiagnosticStatus.OK)
