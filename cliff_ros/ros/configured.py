"""What the node has while it is configured: network, body and detector, the thread that runs them, and the topics."""

from __future__ import annotations

import gc
from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode

from cliff_ros.pipeline import Pipeline
from cliff_ros.ros.outputs.output import Setup
from cliff_ros.ros.outputs.publishers import Outputs
from cliff_ros.ros.runtime.complaints import Complaints
from cliff_ros.ros.runtime.core_log import CoreLog
from cliff_ros.ros.runtime.patience import serve_until_done
from cliff_ros.ros.runtime.settings import CliffSettings
from cliff_ros.ros.runtime.worker import Worker
from cliff_ros.signals import StopRequest

Job = Callable[[], None]


def _run(job: Job) -> None:
    job()


class Configured:
    """Everything loaded, and run once. Made and closed in the executor's thread.

    worker: the thread that alone touches pipeline and outputs; its mailbox holds what to do with the newest image.

    load: makes the pipeline, in the worker's thread; the node's other callbacks are served meanwhile. refuse: gets what
    an image ended in. stop: what asks the process to end; loading is given up then (Abandoned). Raises what ``load``
    does; nothing is left behind.
    """

    def __init__(
        self,
        node: LifecycleNode,
        settings: CliffSettings,
        load: Callable[[], Pipeline],
        refuse: Callable[[Exception], None],
        complain: Complaints,
        stop: StopRequest,
    ) -> None:
        self._stop = stop
        self.worker: Worker[Job] = Worker(_run, refuse)
        self._core_log = CoreLog(self.worker.ident, complain)
        self._core_log.open()
        try:
            self.pipeline = serve_until_done(node, self.worker.submit(load), stop, complain)
            self.outputs = Outputs(Setup(node, settings, self.pipeline, complain))
        except BaseException:
            self._end()
            raise

    def __str__(self) -> str:
        engine = self.pipeline.engine
        return f"network '{engine.metadata.model}' on {engine.name} ({engine.reason}), body '{self.pipeline.body.name}'"

    def use(self, settings: CliffSettings) -> None:
        """From the next image on, as the parameters say: the worker puts them there between two images."""

        def put() -> None:
            self.pipeline.options = settings.pipeline_options()

        self.outputs.use(settings)
        self.worker.call(put)

    def facts(self) -> list[tuple[str, str]]:
        """For the diagnostics."""
        engine = self.pipeline.engine
        return [
            ('network', engine.metadata.model),
            ('engine', f'{engine.name} ({engine.reason})'),
            ('body', self.pipeline.body.name),
        ]

    def close(self) -> None:
        """Take the topics away and free everything."""
        self.outputs.close()
        self._end()

    def _end(self) -> None:
        # A process that was told to end does not wait for a model to load.
        self.worker.stop(patience=0.5 if self._stop else None)
        self._core_log.close()
        # Networks take much memory, and refer to each other: they go now, and not when Python comes to look for such.
        for name in ('pipeline', 'outputs'):
            vars(self).pop(name, None)
        if not self._stop:
            gc.collect()
