"""The node ``cliff``: images of a calibrated camera in, people (SMPL) out.

    executor's thread                      worker's thread
    Inputs -> Incoming -> [mailbox] ->     _process: decode -> Pipeline -> Outputs

``configure`` loads and warms up, ``activate`` subscribes, ``deactivate`` unsubscribes and clears up,
``cleanup`` frees. Nothing that goes wrong with an image, a parameter or a file ends the node: it is said in
one sentence in the log and in the diagnostics.
"""

from __future__ import annotations

from cliff_ros import signals

if __name__ == '__main__':
    signals.end_at_once(0)  # before the imports that take long

import os
import time
import traceback
from collections.abc import Callable

import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header

from cliff_ros.errors import CliffError, EngineError
from cliff_ros.people import Frame
from cliff_ros.pipeline import Pipeline
from cliff_ros.ros.inputs.calibration import Calibration
from cliff_ros.ros.inputs.detections import Placement
from cliff_ros.ros.inputs.images import to_array
from cliff_ros.ros.inputs.subscriptions import Incoming, Inputs
from cliff_ros.ros.outputs.batch import Batch
from cliff_ros.ros.outputs.publishers import Outputs
from cliff_ros.ros.outputs.timing_message import timing_message
from cliff_ros.ros.runtime.complaints import Complaints, harmless, sentence_of
from cliff_ros.ros.runtime.core_log import CoreLog
from cliff_ros.ros.runtime.diagnostics import Diagnostics, State
from cliff_ros.ros.runtime.guard import Guarded
from cliff_ros.ros.runtime.neighbors import Namesakes
from cliff_ros.ros.runtime.parameters import Parameters
from cliff_ros.ros.runtime.patience import Abandoned, serve_until_done
from cliff_ros.ros.runtime.restarts import Restarts, note_start
from cliff_ros.ros.runtime.settings import CliffSettings
from cliff_ros.ros.runtime.spinning import spin_once
from cliff_ros.ros.runtime.transitions import guard_lifecycle
from cliff_ros.ros.runtime.tuning import load_pipeline
from cliff_ros.ros.runtime.watchdog import Watchdog
from cliff_ros.ros.runtime.worker import Worker
from cliff_ros.signals import StopRequest
from cliff_ros.stopwatch import Stopwatch

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class CliffNode(Guarded, LifecycleNode):
    """See the module; topics and parameters are described in README.md.

    stop: what asks the process to end; loading is given up then. restarts: how often the launch file started it again.
    """

    def __init__(self, stop: StopRequest | None = None, restarts: Restarts | None = None, **kwargs) -> None:
        # As LifecycleNode does, which cannot be told the group of its services: all else goes on while a transition
        # takes long, and asking for the state too.
        Node.__init__(self, 'cliff', **kwargs)
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._stop_request = StopRequest() if stop is None else stop  # falsy until somebody asks
        self.restarts = restarts or Restarts()
        self.complain = Complaints(self.get_logger())
        guard_lifecycle(self)
        self.parameters = Parameters(self, CliffSettings, self._on_settings_changed)
        self.diagnostics = Diagnostics(self, self.complain)
        self.namesakes = Namesakes(self, self.complain)
        self.worker: Worker[Incoming] | None = None
        self.pipeline: Pipeline | None = None
        self.inputs: Inputs | None = None
        self.outputs: Outputs | None = None
        self.watchdog: Watchdog | None = None
        self.calibration: Calibration | None = None
        self.placement: Placement | None = None
        self._core_log: CoreLog | None = None
        self._max_pixels = 0
        self._lifecycle = 'unconfigured'
        self._failure = ''
        self._doing: tuple[str, float] | None = None  # what takes long, and when it began
        self._lost = self.create_guard_condition(self._stand_down)
        self._processed = 0
        settings = self.parameters.current()
        # On steady time: without /clock, simulated time stands still, and that is one of the things to be said.
        self.create_timer(1.0 / settings.diagnostics_rate, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # ---- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load network, body and detector, and run them once."""
        return self._attempt('inactive', self._load, undo=self._release)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        super().on_activate(state)  # enables the publishers
        result = self._attempt('active', self._start, undo=self._stop)
        if result is not SUCCESS:
            super().on_deactivate(state)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self._release()
        self._lifecycle = 'finalized'
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
    def lifecycle_transitions(self) -> list[tuple]:
        """(number, name, ...) of what rclpy would begin now, the outcomes of a transition under way included."""
        return self._state_machine.available_transitions

    def bring_up(self) -> None:
        """Configure and activate; where that fails the node waits for whoever mends it."""
        if self.trigger_configure() is SUCCESS:
            self.trigger_activate()

    def recover(self, spin: Callable[[], None]) -> None:
        """Say that the process before this one died; bring up after a while, which is longer each time."""
        number, delay = self.restarts.count, self.restarts.delay
        self.complain(
            'restarted',
            (
                f'The process of this node ended and was started again, {number} times since the launch: look above '
                'for the cause.'
            ),
        )
        end = time.monotonic() + delay
        self._doing = f'waiting {delay:.0f} s after restart {number}', time.monotonic()
        while time.monotonic() < end and not self._stop_request and self.lifecycle_state[1] == 'unconfigured':
            spin()
        self._doing = None
        if self.restarts.bring_up and not self._stop_request and self.lifecycle_state[1] == 'unconfigured':
            self.bring_up()

    def destroy_node(self) -> None:
        self._stop()
        self._release()
        # rclpy leaves the lifecycle's services in the graph until Python collects the node: nobody would answer there.
        self._state_machine.destroy_when_not_in_use()
        super().destroy_node()

    def _load(self) -> None:
        settings = self.parameters.settings()
        self.parameters.locked = True
        self._lifecycle, self._failure = 'configuring', ''
        self._doing = 'loading', time.monotonic()
        self.worker = Worker(self._process, self._refuse)
        self._core_log = CoreLog(self.worker.ident, self.complain)
        self._core_log.open()
        loading = self.worker.submit(lambda: load_pipeline(settings, self._progress))
        self.pipeline = serve_until_done(self, loading, self._stop_request, self.complain)
        # What was changed while it loaded.
        self._use_options(self.parameters.current())
        self.outputs = Outputs(self, settings, self.pipeline, self.complain)
        self.calibration = Calibration(settings, self.complain)
        self.placement = Placement(settings, self.complain)
        self._max_pixels = settings.max_image_pixels
        engine = self.pipeline.engine
        self.get_logger().info(
            f"Ready: network '{engine.metadata['model']}' on {engine.name} ({engine.reason}), "
            f"body '{self.pipeline.body.name}', detector '{settings.detector}'."
        )

    def _start(self) -> None:
        self.worker.call(self.pipeline.reset)
        self.worker.mailbox.reset()
        self.diagnostics.reset()
        self._processed = 0
        self.outputs.publish_body()
        self.inputs = Inputs(self, self.parameters.current(), self.worker.mailbox.put, self.complain)
        self.inputs.open()
        self.watchdog = Watchdog(self, self.inputs, self.complain)

    def _stop(self) -> None:
        self._lifecycle = 'inactive'
        if self.inputs is not None:
            self.inputs.close()
            self.inputs = self.watchdog = None
            self.worker.drain()
            self.outputs.clear()

    def _release(self) -> None:
        self._lifecycle = 'unconfigured'
        self.parameters.locked = False
        if self.outputs is not None:
            self.outputs.close()
        if self.worker is not None:
            # A process that was told to end does not wait for a model to load.
            self.worker.stop(patience=0.5 if self._stop_request else None)
        if self._core_log is not None:
            self._core_log.close()
        self.outputs = self.worker = self.pipeline = self.calibration = self.placement = self._core_log = None

    def _attempt(self, goal: str, step: Callable[[], None], undo: Callable[[], None]) -> TransitionCallbackReturn:
        """Make a step of the lifecycle; where it fails say why, undo it, and fail the transition."""
        try:
            step()
        except Abandoned:
            self._doing = None
            undo()
            return FAILURE
        except Exception as error:  # rclpy would drop it without a word
            self._doing = None
            undo()
            known = isinstance(error, CliffError)
            self._failure = harmless(sentence_of(error) if known else f'{type(error).__name__}: {error}')
            self.get_logger().error(self._failure)
            self.get_logger().debug(traceback.format_exc())
            return FAILURE
        self._lifecycle, self._failure, self._doing = goal, '', None
        return SUCCESS

    def _progress(self, done: float, what: str) -> None:
        """What loading is busy with; in any thread."""
        since = self._doing[1] if self._doing else time.monotonic()
        self._doing = (f'{what}, {done:.0%}' if done else what), since

    def _stand_down(self) -> None:
        """The engine cannot run any more: back to unconfigured, and say why until somebody mends it."""
        if self._lifecycle != 'active':
            return
        reason = self._failure
        if self.trigger_deactivate() is SUCCESS:
            self.trigger_cleanup()
        self._failure = reason
        self.get_logger().error(f'{reason} The node is unconfigured now.')

    # ---- one image, in the worker's thread

    def _process(self, incoming: Incoming) -> None:
        started = self.get_clock().now().to_msg()
        watch = Stopwatch(incoming.clock)
        with watch.stage('decode'):
            image, order = to_array(incoming.image, self._max_pixels)
            height, width = image.shape[:2]
            camera = self.calibration.camera(incoming.info, incoming.image.frame_id, (width, height))
            frame = Frame(image, camera, incoming.image.seconds, incoming.image.frame_id, order)
            boxes = incoming.boxes and self.placement(incoming.boxes, (width, height))
        people = self.pipeline(frame, boxes, vertices=self.outputs.wants_vertices)
        batch = Batch(incoming.image.stamp, incoming.image.frame_id, people)
        with watch.stage('publish'):
            self.outputs.publish(batch, frame)
        self._processed += 1
        self.diagnostics.people = len(people)
        self.diagnostics.processed.add(watch.total)
        self._check_frame_id(incoming.image.frame_id)
        self.outputs.publish_timing(
            timing_message(
                batch.header,
                incoming.received,
                started,
                self.get_clock().now().to_msg(),
                people.timings | watch.stages,
                watch.total,
                len(people),
                self._counts(),
            )
        )

    def _check_frame_id(self, frame_id: str) -> None:
        if not frame_id:
            self.complain(
                'frame_id',
                (
                    "The image's header.frame_id is empty, so people cannot be placed on /tf: give the camera "
                    "driver the name of the camera's optical frame."
                ),
            )

    def _refuse(self, error: Exception) -> None:
        """An image that cannot be used, or a station that failed on it."""
        if isinstance(error, EngineError) and error.lost:
            self._failure = harmless(sentence_of(error))
            self._lost.trigger()  # lifecycle is the executor's thread's
        else:
            self.complain.failure('Image', error)

    # ---- now and then, in the executor's thread

    def _on_settings_changed(self, settings: CliffSettings) -> None:
        if self.pipeline is not None:
            self._use_options(settings)
            self.outputs.overlay_opacity = settings.overlay_opacity

    def _use_options(self, settings: CliffSettings) -> None:
        """From the next image on: the thread that runs the pipeline puts them there between two images."""

        def put() -> None:
            self.pipeline.options = settings.pipeline_options()

        self.worker.call(put)

    def _report(self) -> None:
        if self.watchdog:
            self.watchdog.check(self.parameters.current())
        self.namesakes.check()
        doing = self._doing
        seconds = f'{doing[0]} ({time.monotonic() - doing[1]:.0f} s)' if doing else ''
        self.diagnostics.publish(State(self._lifecycle, self._failure, seconds, self._facts()))

    def _facts(self) -> tuple[tuple[str, str], ...]:
        facts = [('restarts', str(self.restarts.count))]
        if self.pipeline:
            engine = self.pipeline.engine
            facts += [
                ('network', str(engine.metadata['model'])),
                ('engine', f'{engine.name} ({engine.reason})'),
                ('body', self.pipeline.body.name),
            ]
        if self.inputs:
            received, processed, dropped = self._counts()
            facts += [
                ('images received', str(received)),
                ('images processed', str(processed)),
                ('images dropped', str(dropped)),
                ('images without boxes', str(self.inputs.unmatched)),
            ]
        return tuple(facts)

    def _counts(self) -> tuple[int, int, int]:
        """Frames received, processed and dropped since activation."""
        inputs = self.inputs
        return inputs.received if inputs else 0, self._processed, self.worker.mailbox.dropped

    def now_header(self, frame_id: str = '') -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=frame_id)


def main(args: list[str] | None = None) -> int:
    stop = StopRequest().listen()
    # rclpy's own handlers would take the context away before the node could clear up.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = CliffNode(stop, note_start(os.environ))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:

        def spin() -> None:
            spin_once(executor, node, node.complain, 0.2)  # signals are heard in between

        if node.restarts.count:
            node.recover(spin)
        elif not stop and node.parameters.current().autostart:
            node.bring_up()
        while not stop and rclpy.ok():
            spin()
    except ExternalShutdownException:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    signals.leave(main())
