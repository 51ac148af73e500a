"""What goes out: all outputs of the node, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Iterator

from std_msgs.msg import Header

from cliff_ros.ros.outputs.body_message import BodyOutput
from cliff_ros.ros.outputs.markers import MeshOutput, SkeletonOutput
from cliff_ros.ros.outputs.output import Output, Processed, Setup
from cliff_ros.ros.outputs.overlay_image import OverlayOutput
from cliff_ros.ros.outputs.people_message import PeopleOutput
from cliff_ros.ros.outputs.timing_message import TimingOutput
from cliff_ros.ros.outputs.transforms import TransformsOutput
from cliff_ros.ros.runtime.settings import CliffSettings

# People first, for whoever is in a hurry; timing last, because it says what the others cost.
OUTPUTS: tuple[type[Output], ...] = (
    PeopleOutput,
    TransformsOutput,
    MeshOutput,
    SkeletonOutput,
    OverlayOutput,
    BodyOutput,
    TimingOutput,
)


class Outputs:
    """The outputs of the configured node. ``publish`` and ``needs_vertices`` are for the worker's thread."""

    def __init__(self, setup: Setup) -> None:
        self._clock = setup.node.get_clock()
        self._frame_id = ''
        self._outputs: list[Output] = []
        try:
            for kind in OUTPUTS:
                if kind.is_enabled(setup.settings):
                    self._outputs.append(kind(setup))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Output]:
        return iter(self._outputs)

    def use(self, settings: CliffSettings) -> None:
        """From now on, as the node's parameters say."""
        for output in self._outputs:
            output.settings = settings

    def start(self) -> None:
        """The node is active."""
        for output in self._outputs:
            output.start()

    @property
    def needs_vertices(self) -> bool:
        """Whether anybody listens to something that shows the mesh."""
        return any(output.needs_vertices and output.wanted() for output in self._outputs)

    def publish(self, processed: Processed) -> None:
        """Everything that follows from one image, to whoever listens."""
        self._frame_id = processed.batch.frame_id
        for output in self._outputs:
            # Who began to listen after the image was worked on gets the mesh of the next one.
            if output.wanted() and (not output.needs_vertices or processed.batch.has_vertices):
                output.publish(processed)

    def clear(self) -> None:
        """Nobody is there any more: empty people, and nothing left in RViz."""
        header = Header(stamp=self._clock.now().to_msg(), frame_id=self._frame_id)
        for output in self._outputs:
            output.clear(header)

    def close(self) -> None:
        """Take the topics away, when what was published last has arrived."""
        for output in self._outputs:
            output.close()
        self._outputs.clear()
