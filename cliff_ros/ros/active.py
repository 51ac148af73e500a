"""What the node has while it is active: images come in, and each is worked on in the worker's thread."""

from __future__ import annotations

from functools import partial

from rclpy.node import Node

from cliff_ros.people import Box, Frame
from cliff_ros.ros.configured import Configured
from cliff_ros.ros.inputs.calibration import Calibration
from cliff_ros.ros.inputs.detections import Placement
from cliff_ros.ros.inputs.images import to_array
from cliff_ros.ros.inputs.subscriptions import Incoming, Inputs
from cliff_ros.ros.outputs.batch import Batch
from cliff_ros.ros.outputs.output import Processed
from cliff_ros.ros.runtime.complaints import Complaints
from cliff_ros.ros.runtime.diagnostics import Diagnostics
from cliff_ros.ros.runtime.settings import CliffSettings
from cliff_ros.ros.runtime.watchdog import Watchdog
from cliff_ros.stopwatch import Stopwatch


class Active:
    """From activation to deactivation. Made and closed in the executor's thread; ``process`` is for the worker's."""

    def __init__(
        self,
        node: Node,
        configured: Configured,
        settings: CliffSettings,
        complain: Complaints,
        diagnostics: Diagnostics,
    ) -> None:
        self.configured = configured
        self._clock = node.get_clock()
        self._max_pixels = settings.max_image_pixels
        self._complain = complain
        self.diagnostics = diagnostics
        self._calibration = Calibration(settings, complain)
        self._placement = Placement(settings, complain)
        self._processed = 0
        configured.worker.call(configured.pipeline.reset)
        configured.worker.mailbox.reset()
        diagnostics.reset()
        configured.outputs.start()
        self.inputs = Inputs(node, settings, self._deliver, complain)
        self.watchdog = Watchdog(node, self.inputs, configured.worker.mailbox, complain)
        try:
            self.inputs.open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Unsubscribe, finish what is being worked on, and say that nobody is there any more."""
        self.inputs.close()
        self.configured.worker.drain()
        self.configured.outputs.clear()

    def counts(self) -> tuple[int, int, int]:
        """Images received, processed and dropped since activation."""
        return self.inputs.received, self._processed, self.configured.worker.mailbox.dropped

    def facts(self) -> list[tuple[str, str]]:
        """For the diagnostics."""
        received, processed, dropped = self.counts()
        return [
            ('images received', str(received)),
            ('images processed', str(processed)),
            ('images dropped', str(dropped)),
            ('images without boxes', str(self.inputs.unmatched)),
        ]

    def _deliver(self, incoming: Incoming) -> None:
        self.configured.worker.mailbox.put(partial(self.process, incoming))

    def process(self, incoming: Incoming) -> None:
        """From the bytes of an image to what is published of it."""
        started = self._clock.now().to_msg()
        pipeline, outputs = self.configured.pipeline, self.configured.outputs
        watch = Stopwatch(incoming.clock)
        with watch.stage('decode'):
            frame, boxes = self._decode(incoming)
        people = pipeline(frame, boxes, vertices=outputs.needs_vertices)
        self._processed += 1
        batch = Batch(incoming.image.stamp, incoming.image.frame_id, people)
        stages = watch.stages | people.timings
        outputs.publish(Processed(batch, frame, incoming.received, started, incoming.clock, stages, self.counts()))
        self.diagnostics.people = len(people)
        self.diagnostics.processed.add(watch.total)
        if not frame.frame_id:
            self._complain(
                'frame_id',
                "The image's header.frame_id is empty, so people cannot be placed on /tf: give the camera driver the "
                "name of the camera's optical frame.",
            )

    def _decode(self, incoming: Incoming) -> tuple[Frame, list[Box] | None]:
        image, order = to_array(incoming.image, self._max_pixels)
        height, width = image.shape[:2]
        camera = self._calibration.camera(incoming.info, incoming.image.frame_id, (width, height))
        frame = Frame(image, camera, incoming.image.seconds, incoming.image.frame_id, order)
        return frame, incoming.boxes and self._placement(incoming.boxes, (width, height))
