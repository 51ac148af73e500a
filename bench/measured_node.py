"""The node ``cliff`` with a stopwatch on its networks: what of a frame is theirs, and what is ours.

    python -m bench.measured_node LINES.jsonl [--memory] --ros-args ...

Runs the real node. For every image a line is appended: ``total`` [ms] from the image's arrival in the process
to the last output handed to the middleware; ``network``, the part of it within ONNX Runtime's ``run`` (network
and detector); ``mesh``, building and publishing the mesh markers; ``cpu``, of the worker's thread, without what
it spent in ``run``: what ``total - network`` would be on a machine with nothing else to do; ``people``, how many.
With ``--memory``, which makes everything slow, also ``peak_bytes``: the most that was allocated at a time.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from time import perf_counter, thread_time

import onnxruntime

from cliff_ros.ros import node
from cliff_ros.ros.active import Active
from cliff_ros.ros.inputs.subscriptions import Incoming
from cliff_ros.ros.outputs.markers import MeshOutput
from cliff_ros.ros.outputs.output import Processed
from cliff_ros.ros.outputs.publishers import Outputs


class Stopwatch:
    """Adds up the time [ms] and the thread's CPU time spent in the functions it was put on."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.ms = self.cpu_ms = 0.0

    def on(self, function: Callable) -> Callable:
        """The function, timed."""

        def timed(*args, **kwargs):
            start, cpu_start = perf_counter(), thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.ms += 1e3 * (perf_counter() - start)
                self.cpu_ms += 1e3 * (thread_time() - cpu_start)

        return timed


def measure(path: str, memory: bool = False) -> None:
    """Have every node that is active from now on write its lines to a file."""
    whole, network, mesh = Stopwatch(), Stopwatch(), Stopwatch()
    onnxruntime.InferenceSession.run = network.on(onnxruntime.InferenceSession.run)
    lines = open(path, 'w', buffering=1)  # for as long as the process lives
    if memory:
        tracemalloc.start(1)

    MeshOutput.publish = mesh.on(MeshOutput.publish)
    publish, process, stages = Outputs.publish, whole.on(Active.process), {}

    def publish_noting(self: Outputs, processed: Processed) -> None:
        stages.update(processed.batch.people.timings)
        publish(self, processed)

    def process_measured(self: Active, incoming: Incoming) -> None:
        for watch in (whole, network, mesh):
            watch.reset()
        stages.clear()
        if memory:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
        process(self, incoming)
        line = {
            'total': 1e3 * (perf_counter() - incoming.clock),
            'network': network.ms,
            'mesh': mesh.ms,
            'cpu': whole.cpu_ms - network.cpu_ms,
            'people': self.diagnostics.people,
        } | stages
        if memory:
            line['peak_bytes'] = tracemalloc.get_traced_memory()[1] - before
        lines.write(json.dumps(line) + '\n')

    Outputs.publish, Active.process = publish_noting, process_measured


if __name__ == '__main__':
    _, file, *options = sys.argv[: sys.argv.index('--ros-args')]
    measure(file, '--memory' in options)
    node.main()
