"""What goes out: one publisher per topic, and who is asked to fill it."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from cliff_ros.msg import SmplArray, SmplInfo, Timing
from cliff_ros.people import Frame
from cliff_ros.pipeline import Pipeline
from cliff_ros.ros.outputs.batch import Batch
from cliff_ros.ros.outputs.body_message import info_message
from cliff_ros.ros.outputs.frame_names import FrameWatch, frame_prefix
from cliff_ros.ros.outputs.markers import MeshMarkers, SkeletonMarkers
from cliff_ros.ros.outputs.overlay_image import overlay_message
from cliff_ros.ros.outputs.people_message import PeopleMessage
from cliff_ros.ros.outputs.transforms import TransformMessage
from cliff_ros.ros.runtime import qos
from cliff_ros.ros.runtime.settings import CliffSettings

FAREWELL = Duration(seconds=0.3)  # how long a subscriber may take to acknowledge the last message


class Outputs:
    """The publishers of the configured node. ``publish`` is for the worker's thread."""

    def __init__(
        self, node: LifecycleNode, settings: CliffSettings, pipeline: Pipeline, complain: Callable[[str, str], None]
    ) -> None:
        self._node = node
        self._publishers: list[LifecyclePublisher] = []
        self._faces = pipeline.body.faces
        self._frame_id = ''
        self.overlay_opacity = settings.overlay_opacity

        def publisher(kind: type, topic: str, profile) -> LifecyclePublisher:
            made = node.create_lifecycle_publisher(
                kind,
                topic,
                profile,
                qos_overriding_options=qos.overridable(),
                event_callbacks=qos.publisher_events(node.resolve_topic_name(topic), complain),
            )
            self._publishers.append(made)
            return made

        self._people = publisher(SmplArray, '~/people', qos.reliable(10))
        self._people_message = PeopleMessage()
        self._tf = publisher(TFMessage, '/tf', qos.reliable(100)) if settings.publish_tf else None
        prefix = frame_prefix(settings.tf_prefix, node.get_namespace())
        self._tf_message = TransformMessage(prefix, settings.publish_joint_tf)
        self._frames = FrameWatch(node, prefix, complain) if settings.publish_tf else None
        self._mesh = publisher(MarkerArray, '~/mesh', qos.reliable(2))
        self._mesh_markers = MeshMarkers(self._faces)
        self._skeleton = publisher(MarkerArray, '~/skeleton', qos.reliable(10))
        self._skeleton_markers = SkeletonMarkers()
        self._overlay = publisher(Image, '~/overlay', qos.reliable(1))
        self._timing = publisher(Timing, '~/timing', qos.reliable(10))
        self._body = publisher(SmplInfo, '~/body', qos.latched())
        engine = pipeline.engine
        self._info = info_message(node.now_header(), pipeline.body, engine.metadata, engine.name)

    @property
    def wants_vertices(self) -> bool:
        """Whether anybody listens to something that shows the mesh."""
        return _heard(self._mesh) or _heard(self._overlay)

    def publish_body(self) -> None:
        self._body.publish(self._info)

    def publish(self, batch: Batch, frame: Frame) -> None:
        """Everything that follows from one image, to whoever listens; ``~/people`` first and always."""
        self._frame_id = batch.frame_id
        self._people.publish(self._people_message.serialise(batch))
        if self._tf is not None and batch.people and batch.frame_id and self._tf_is_heard():
            message = self._tf_message.serialise(batch)
            self._frames.note(map(self._tf_message.frame, batch.ids), message)
            self._tf.publish(message)
        for publisher, markers, ready in (
            (self._mesh, self._mesh_markers, all(p.vertices is not None for p in batch.people)),
            (self._skeleton, self._skeleton_markers, True),
        ):
            if ready and _heard(publisher):
                gone = markers.farewell(batch)
                if gone:
                    publisher.publish(gone)
                publisher.publish(markers.serialise(batch))
        if _heard(self._overlay):
            self._overlay.publish(overlay_message(frame, batch, self._faces, self.overlay_opacity))

    def publish_timing(self, timing: Timing) -> None:
        if _heard(self._timing):
            self._timing.publish(timing)

    def clear(self) -> None:
        """Nobody is there any more: empty people, and nothing left in RViz."""
        header = self._node.now_header(self._frame_id)
        self._people.publish(SmplArray(header=header))
        for publisher, markers in ((self._mesh, self._mesh_markers), (self._skeleton, self._skeleton_markers)):
            gone = markers.farewell()
            if gone:
                publisher.publish(gone)

    def _tf_is_heard(self) -> bool:
        """By others than ourselves."""
        return self._tf.get_subscription_count() > self._frames.listeners

    def close(self) -> None:
        if self._frames is not None:
            self._frames.close()
        for publisher in (self._people, self._mesh, self._skeleton):
            if _heard(publisher):  # what was published last is that nobody is there: it must not get lost with us
                publisher.wait_for_all_acked(FAREWELL)
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()


def _heard(publisher: LifecyclePublisher) -> bool:
    return publisher.get_subscription_count() > 0
