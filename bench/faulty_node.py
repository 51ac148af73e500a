"""The node ``cliff`` with an engine that fails when it is told to.

    python -m bench.faulty_node --ros-args ...

Runs the real node. What is said on ``~/fault`` (std_msgs/String) holds until the next word: ``none``; ``raise`` and
``memory``: ONNX Runtime raises what it raises then; ``lost``: as where a GPU is gone; ``slow SECONDS``: each image
takes so long more.
"""

from __future__ import annotations

import time

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states
from std_msgs.msg import String

from bench import vision
from cliff_ros import signals
from cliff_ros.errors import EngineError
from cliff_ros.ros import node
from cliff_ros.ros.active import Active
from cliff_ros.ros.inputs.subscriptions import Incoming

CLIFF = node.CliffNode
FAULTS = {
    'raise': lambda: states.Fail('[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Gemm'),
    'memory': lambda: states.RuntimeException(
        '[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bad allocation: Failed to allocate memory for requested buffer'
    ),
}


class FaultyNode(CLIFF):
    """See the module."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fault, self.delay = 'none', 0.0
        self.create_subscription(String, '~/fault', self._on_fault, 10)
        run = onnxruntime.InferenceSession.run

        def faulty(session, *arguments, **options):
            if self.fault in FAULTS:
                raise FAULTS[self.fault]()
            return run(session, *arguments, **options)

        onnxruntime.InferenceSession.run = faulty
        process = Active.process

        def process_faulty(active: Active, incoming: Incoming) -> None:
            if self.fault == 'lost':
                raise EngineError('the GPU is gone: look at its driver, then configure the node again', lost=True)
            time.sleep(self.delay)
            process(active, incoming)

        Active.process = process_faulty

    def _on_fault(self, message: String) -> None:
        self.fault, _, number = message.data.partition(' ')
        self.delay = float(number or 0.0)


if __name__ == '__main__':
    signals.end_at_once(0)
    try:
        vision.messages()
    except vision.NotBuilt:
        pass  # what needs it is left out
    node.CliffNode = FaultyNode
    signals.leave(node.main())
