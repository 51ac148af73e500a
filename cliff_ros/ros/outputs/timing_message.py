"""``~/timing``: where the time of each image went."""

from __future__ import annotations

from time import perf_counter

from builtin_interfaces.msg import Time

from cliff_ros.msg import Timing
from cliff_ros.ros.outputs.output import Output, Processed, Setup


def timing_message(processed: Processed, published: Time) -> Timing:
    """What an image took until now. published: now, on the node's clock."""
    now = perf_counter()
    received, done, dropped = processed.counts
    stages = {**processed.stages, 'publish': 1e3 * (now - processed.done)}
    return Timing(
        header=processed.batch.header,
        received=processed.received,
        started=processed.started,
        published=published,
        total_ms=1e3 * (now - processed.arrived),
        people=len(processed.batch),
        frames_received=received,
        frames_processed=done,
        frames_dropped=dropped,
        **{f'{name}_ms': float(ms) for name, ms in stages.items()},
    )


class TimingOutput(Output):
    """``~/timing``."""

    topic, message = '~/timing', Timing

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._clock = setup.node.get_clock()

    def publish(self, processed: Processed) -> None:
        """Publish the image's times; those of the outputs before this one count as ``publish``."""
        self.publisher.publish(timing_message(processed, self._clock.now().to_msg()))
