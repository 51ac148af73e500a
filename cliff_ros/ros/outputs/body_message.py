"""``~/body``: SmplInfo, latched, what a consumer needs to rebuild meshes."""

from __future__ import annotations

import hashlib
from array import array

import numpy as np
from std_msgs.msg import Header

from cliff_ros.body import EMBEDDED, BodyModel
from cliff_ros.msg import SmplInfo


def info_message(header: Header, body: BodyModel, metadata: dict, engine: str) -> SmplInfo:
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
