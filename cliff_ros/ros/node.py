"""The node ``cliff``: images of a calibrated camera in, people (SMPL) out.

    executor's thread                      worker's thread
    Inputs -> Incoming -> [mailbox] ->     Active.process: decode -> Pipeline -> Outputs

``configure`` loads and warms up (`Configured`), ``activate`` subscribes (`Active`), ``deactivate`` unsubscribes and
clears up, ``cleanup`` frees. Nothing that goes wrong with an image, a parameter or a file ends the node: it is said in
one sentence in the log and in the diagnostics.
"""

from __future__ import annotations

from cliff_ros import signals

if __name__ == '__main__':
    signals.end_at_once(0)  # before the imports that take long

import os
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

from cliff_ros.errors import CliffError, EngineError
from cliff_ros.ros.active import Active
from cliff_ros.ros.configured import Configured
from cliff_ros.ros.runtime.complaints import Complaints, harmless, sentence_of
from cliff_ros.ros.runtime.diagnostics import LOOK, Diagnostics
from cliff_ros.ros.runtime.guard import Guarded
from cliff_ros.ros.runtime.neighbors import Namesakes
from cliff_ros.ros.runtime.parameters import Parameters
from cliff_ros.ros.runtime.patience import Abandoned
from cliff_ros.ros.runtime.program import MiddlewareError, made, ros
from cliff_ros.ros.runtime.restarts import Restarts, note_start, recover
from cliff_ros.ros.runtime.settings import CliffSettings
from cliff_ros.ros.runtime.spinning import spin_once
from cliff_ros.ros.runtime.status import Status
from cliff_ros.ros.runtime.transitions import guard_lifecycle
from cliff_ros.ros.runtime.tuning import load_pipeline
from cliff_ros.signals import StopRequest

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class CliffNode(Guarded, LifecycleNode):
    """See the module; topics and parameters are described in README.md.

    configured, active: what there is in these states of the lifecycle, None in others.

    stop: what asks the process to end; loading is given up then. restarts: how often the launch file started it again.
    """

    def __init__(self, stop: StopRequest | None = None, restarts: Restarts | None = None, **kwargs: Any) -> None:
        # As LifecycleNode does, which cannot be told the group of its services: all else goes on while a transition
        # takes long, and asking for the state too.
        Node.__init__(self, 'cliff', **kwargs)
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self.stop_request = StopRequest() if stop is None else stop  # falsy until somebody asks
        self.restarts = restarts or Restarts()
        self.complain = Complaints(self.get_logger())
        guard_lifecycle(self)
        self.parameters = Parameters(self, CliffSettings, self._on_settings_changed)
        self.diagnostics = Diagnostics(self, self.complain)
        self.namesakes = Namesakes(self, self.complain)
        self.status = Status()
        self.configured: Configured | None = None
        self.active: Active | None = None
        self._lost = self.create_guard_condition(self._stand_down)
        settings = self.parameters.current()
        # On steady time: without /clock, simulated time stands still, and that is one of the things to be said.
        self._period = 1.0 / settings.diagnostics_rate
        look = min(self._period, LOOK)
        self.create_timer(look, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # ---- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load network, body and detector, and run them once."""
        return self._attempt('inactive', self._load, undo=self._release)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the publishers and subscribe; where that fails the node stays inactive and its publishers silent."""
        super().on_activate(state)  # enables the publishers
        result = self._attempt('active', self._start, undo=self._stop)
        if result is not SUCCESS:
            super().on_deactivate(state)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, finish the image at hand, let what is shown vanish, and silence the publishers."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free network, body and detector; parameters that were locked may be set again."""
        self._release()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from whatever state."""
        self._stop()
        self._release()
        self.status.lifecycle = 'finalized'
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, from where it can be configured again."""
        self._stop()
        self._release()
        return SUCCESS

    @property
    def lifecycle_state(self) -> tuple[int, str]:
        """Number and name of the state, also of one that is a transition."""
        return self._state_machine.current_state

    @property
    def lifecycle_transitions(self) -> list[tuple[Any, ...]]:
        """(number, name, ...) of what rclpy would begin now, the outcomes of a transition under way included."""
        return self._state_machine.available_transitions

    def bring_up(self) -> None:
        """Configure and activate; where that fails the node waits for whoever mends it."""
        if self.trigger_configure() is SUCCESS:
            self.trigger_activate()

    def destroy_node(self) -> None:
        """Stop and free everything, and take the lifecycle's services out of the graph."""
        self._stop()
        self._release()
        # rclpy leaves the lifecycle's services in the graph until Python collects the node: nobody would answer there.
        self._state_machine.destroy_when_not_in_use()
        super().destroy_node()

    def _load(self) -> None:
        settings = self.parameters.settings()
        self.parameters.locked = True
        self.status.lifecycle, self.status.failure = 'configuring', ''
        self.status.begin('loading')
        self.configured = Configured(
            self,
            settings,
            lambda: load_pipeline(settings, self.status.progress),
            self._refuse,
            self.complain,
            self.stop_request,
        )
        self.configured.use(self.parameters.current())  # what was changed while it loaded
        self.get_logger().info(f"Ready: {self.configured}, detector '{settings.detector}'.")

    def _start(self) -> None:
        assert self.configured is not None  # the lifecycle is activated only then
        self.active = Active(self, self.configured, self.parameters.current(), self.complain, self.diagnostics)

    def _stop(self) -> None:
        self.status.lifecycle = 'inactive'
        active, self.active = self.active, None
        if active is not None:
            active.close()

    def _release(self) -> None:
        self.status.lifecycle = 'unconfigured'
        self.parameters.locked = False
        configured, self.configured = self.configured, None
        if configured is not None:
            configured.close()

    def _attempt(self, goal: str, step: Callable[[], None], undo: Callable[[], None]) -> TransitionCallbackReturn:
        """Make a step of the lifecycle; where it fails say why, undo it, and fail the transition."""
        try:
            step()
        except Abandoned:
            self.status.end()
            undo()
            return FAILURE
        except Exception as error:  # rclpy would drop it without a word
            self.status.end()
            undo()
            known = isinstance(error, CliffError)
            self.status.failure = harmless(sentence_of(error) if known else f'{type(error).__name__}: {error}')
            self.get_logger().error(self.status.failure)
            self.get_logger().debug(traceback.format_exc())
            return FAILURE
        self.status.lifecycle, self.status.failure = goal, ''
        self.status.end()
        return SUCCESS

    def _stand_down(self) -> None:
        """The engine cannot run any more: back to unconfigured, and say why until somebody mends it."""
        if self.status.lifecycle != 'active':
            return
        reason = self.status.failure
        if self.trigger_deactivate() is SUCCESS:
            self.trigger_cleanup()
        self.status.failure = reason
        self.get_logger().error(f'{reason} The node is unconfigured now.')

    def _refuse(self, error: Exception) -> None:
        """An image that cannot be used, or a station that failed on it. In the worker's thread."""
        if isinstance(error, EngineError) and error.lost:
            self.status.failure = harmless(sentence_of(error))
            self._lost.trigger()  # lifecycle is the executor's thread's
        else:
            self.complain.failure('Image', error)

    # ---- now and then, in the executor's thread

    def _on_settings_changed(self, settings: CliffSettings) -> None:
        if self.configured:
            self.configured.use(settings)

    def _report(self) -> None:
        if self.active:
            self.active.watchdog.check(self.parameters.current())
        self.namesakes.check()
        facts = [('restarts', str(self.restarts.count)), ('privacy', self.parameters.current().privacy)]
        for part in (self.configured, self.active):
            facts += part.facts() if part else ()
        self.diagnostics.publish(self.status.state(facts), self._period)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is asked to stop; exit status 1 where the middleware cannot be used."""
    try:
        with ros(args) as stop:
            _run(made(lambda: CliffNode(stop, note_start(os.environ))), stop)
    except MiddlewareError as error:
        rclpy.logging.get_logger('cliff').fatal(str(error))
        return 1
    return 0


def _run(node: CliffNode, stop: StopRequest) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        spin_once(executor, node, node.complain, 0.2)  # signals are heard in between

    try:
        if node.restarts.count:
            recover(node, spin)
        elif not stop and node.parameters.current().autostart:
            node.bring_up()
        while not stop and rclpy.ok():
            spin()
    finally:
        node.destroy_node()


if __name__ == '__main__':
    signals.leave(main())
