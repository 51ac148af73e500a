"""``/tf``: every person as a tree of frames.

``<prefix>smpl_<id>`` is the pelvis joint with SMPL's axes (x left, y up, z out of the chest), its parent the
image's frame; ``<prefix>smpl_<id>/<joint>`` hang below it along SMPL's tree. The names ``body_<id>`` and
``person_<id>`` belong to REP-155. Stamps are the image's.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from cliff_ros.body.names import JOINT_NAMES, NUM_JOINTS, PARENTS
from cliff_ros.ros.outputs.batch import Batch
from cliff_ros.ros.outputs.cdr import SENTINEL_DOUBLE, SENTINEL_STAMP, STAMP, Slot, Template, doubles, stamp_slot
from cliff_ros.ros.outputs.frame_names import FrameWatch, frame_prefix
from cliff_ros.ros.outputs.output import Output, Processed, Setup
from cliff_ros.ros.runtime.settings import CliffSettings

_TRANSFORM = np.dtype((np.float64, 7))  # translation x y z, rotation x y z w: as in geometry_msgs/Transform


class TransformMessage:
    """Serializes people as transforms; one template per set of ids and frame id."""

    def __init__(self, prefix: str = '', joints: bool = True) -> None:
        """joints: False leaves only the pelvis frames."""
        self._prefix = prefix
        self._frames = NUM_JOINTS if joints else 1
        self._template = lru_cache(maxsize=4)(self._make_template)

    def serialize(self, batch: Batch) -> bytes:
        """The bytes of a TFMessage with all frames of all people."""
        template = self._template(batch.frame_id, batch.ids)
        template.fill('stamp', np.full(len(batch) * self._frames, np.array(batch.stamp, STAMP)))
        template.fill(
            'transform',
            np.concatenate([batch.joint_offsets[:, : self._frames], batch.quaternions[:, : self._frames]], -1),
        )
        return template.tobytes()

    def frame(self, person_id: int, joint: int = 0) -> str:
        """The name of a joint's frame."""
        root = f'{self._prefix}smpl_{person_id}'
        return root if joint == 0 else f'{root}/{JOINT_NAMES[joint]}'

    def _make_template(self, frame_id: str, ids: tuple[int, ...]) -> Template:
        sentinel = Transform(
            translation=Vector3(x=SENTINEL_DOUBLE, y=-SENTINEL_DOUBLE, z=SENTINEL_DOUBLE),
            rotation=Quaternion(x=-SENTINEL_DOUBLE, y=SENTINEL_DOUBLE, z=-SENTINEL_DOUBLE, w=SENTINEL_DOUBLE),
        )
        transforms = [
            TransformStamped(
                header=Header(stamp=SENTINEL_STAMP, frame_id=self.frame(person, PARENTS[joint]) if joint else frame_id),
                child_frame_id=self.frame(person, joint),
                transform=sentinel,
            )
            for person in ids
            for joint in range(self._frames)
        ]
        bytes_of = doubles(*[SENTINEL_DOUBLE, -SENTINEL_DOUBLE] * 3, SENTINEL_DOUBLE)
        return Template(
            TFMessage(transforms=transforms),
            {'stamp': stamp_slot(len(transforms)), 'transform': Slot(_TRANSFORM, bytes_of, len(transforms))},
        )


class TransformsOutput(Output):
    """``/tf``, and a watch on others who publish frames of our names there."""

    topic, message, depth = '/tf', TFMessage, 100

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        prefix = frame_prefix(setup.settings.tf_prefix, setup.node.get_namespace())
        self._message = TransformMessage(prefix, setup.settings.publish_joint_tf)
        self.frames = FrameWatch(setup.node, prefix, setup.complain)

    @classmethod
    def is_enabled(cls, settings: CliffSettings) -> bool:
        """Whether the parameter ``publish_tf`` is set."""
        return settings.publish_tf

    def wanted(self) -> bool:
        """Whether others than ourselves listen."""
        return self.publisher.get_subscription_count() > self.frames.listeners

    def publish(self, processed: Processed) -> None:
        """Publish the frames of all people in one message; none without people, or where the image names no frame."""
        batch = processed.batch
        if len(batch) and batch.frame_id:
            message = self._message.serialize(batch)
            self.frames.note(map(self._message.frame, batch.ids), message)
            self.publisher.publish(message)

    def close(self) -> None:
        """Stop watching /tf, and take the topic away."""
        self.frames.close()
        super().close()
