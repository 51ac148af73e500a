"""``~/overlay``: the people drawn over their image."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image

from cliff_ros.people import Frame
from cliff_ros.render.privacy import OFF, covered
from cliff_ros.ros.inputs.images import to_message_array
from cliff_ros.ros.outputs.batch import Batch
from cliff_ros.ros.outputs.output import Output, Processed, Setup


def overlay_message(
    frame: Frame, batch: Batch, faces: np.ndarray, opacity: float, joints: bool = False, privacy: str = OFF
) -> Image:
    """An rgb8 image with the header of the image it is drawn on. privacy: what is covered before anything is drawn."""
    from cliff_ros.render.overlay import draw_people  # brings the rasterizer's compiler along

    image = frame.image if frame.order == 'rgb' else frame.image[..., ::-1]
    image = covered(image, batch.people, frame.camera, privacy)
    drawn = draw_people(image, batch.people, frame.camera, faces, alpha=opacity, skeleton=joints)
    height, width = drawn.shape[:2]
    return Image(
        header=batch.header, height=height, width=width, encoding='rgb8', step=3 * width, data=to_message_array(drawn)
    )


class OverlayOutput(Output):
    """``~/overlay``."""

    topic, message, depth = '~/overlay', Image, 1
    needs_vertices = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._faces = setup.pipeline.body.faces

    def publish(self, processed: Processed) -> None:
        """Publish the image as rgb8, drawn as ``overlay_opacity``, ``overlay_joints`` and ``privacy`` say."""
        how = self.settings.overlay_opacity, self.settings.overlay_joints, self.settings.privacy
        self.publisher.publish(overlay_message(processed.frame, processed.batch, self._faces, *how))
