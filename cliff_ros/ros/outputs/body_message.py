"""``~/body``: SmplInfo, latched, what a consumer needs to rebuild meshes."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from std_msgs.msg import Header

from cliff_ros.body import EMBEDDED, BodyModel
from cliff_ros.msg import SmplInfo
from cliff_ros.ros.outputs.output import Output, Processed, Setup


def info_message(header: Header, body: BodyModel, metadata: Mapping[str, Any], engine: str) -> SmplInfo:
    """Describe the body, the network (``metadata`` of its graph) and what runs it."""
    return SmplInfo(
        header=header,
        model=str(metadata.get('model', '')),
        model_sha256=str(metadata.get('sha256', '')),
        engine=engine,
        body=body.name,
        body_sha256=body.sha256,
        body_licence=body.licence,
        num_vertices=len(body.v_template),
        num_betas=body.shapedirs.shape[2],
        joint_names=list(body.joint_names),
        parents=array('h', np.asarray(body.parents, np.int16).tobytes()),
        faces=array('I', np.asarray(body.faces, np.uint32).tobytes()),
        body_npz=array('B', _shareable_file(body)),
    )


def _shareable_file(body: BodyModel) -> bytes:
    """The file of the embedded body, which is CC0; nothing of any other."""
    file = EMBEDDED.read_bytes()
    return file if hashlib.sha256(file).hexdigest() == body.sha256 else b''


class BodyOutput(Output):
    """``~/body``: once, for those who come later too."""

    topic, message, latched = '~/body', SmplInfo, True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        header, engine = Header(stamp=setup.node.get_clock().now().to_msg()), setup.pipeline.engine
        self._info = info_message(header, setup.pipeline.body, engine.metadata, engine.name)

    def start(self) -> None:
        self.publisher.publish(self._info)

    def wanted(self) -> bool:
        """Never by an image: it is the same for all."""
        return False

    def publish(self, processed: Processed) -> None:
        """Nothing."""
