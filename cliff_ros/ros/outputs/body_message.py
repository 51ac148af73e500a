"""``~/body``: SmplInfo, latched, what a consumer needs to rebuild meshes."""

from __future__ import annotations

from array import array

import numpy as np
from std_msgs.msg import Header

from cliff_ros.body import BodyModel, shareable_file
from cliff_ros.graph.metadata import GraphMetadata
from cliff_ros.msg import SmplInfo
from cliff_ros.ros.outputs.output import Output, Processed, Setup


def info_message(header: Header, body: BodyModel, metadata: GraphMetadata, engine: str, privacy: str) -> SmplInfo:
    """Describe the body, the network (``metadata`` of its graph), what runs it, and what is covered in images."""
    return SmplInfo(
        header=header,
        model=metadata.model,
        model_sha256=metadata.sha256,
        engine=engine,
        body=body.name,
        body_sha256=body.sha256,
        body_licence=body.licence,
        privacy=privacy,
        num_vertices=len(body.v_template),
        num_betas=body.shapedirs.shape[2],
        joint_names=list(body.joint_names),
        parents=array('h', np.asarray(body.parents, np.int16).tobytes()),
        faces=array('I', np.asarray(body.faces, np.uint32).tobytes()),
        body_npz=array('B', shareable_file(body)),
    )


class BodyOutput(Output):
    """``~/body``: once, for those who come later too."""

    topic, message, latched = '~/body', SmplInfo, True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        header, engine = Header(stamp=setup.node.get_clock().now().to_msg()), setup.pipeline.engine
        self._info = info_message(header, setup.pipeline.body, engine.metadata, engine.name, setup.settings.privacy)

    def start(self) -> None:
        """Publish the SmplInfo; its stamp is the time of configuration."""
        self.publisher.publish(self._info)

    def wanted(self) -> bool:
        """Never by an image: it is the same for all."""
        return False

    def publish(self, processed: Processed) -> None:
        """Nothing."""
