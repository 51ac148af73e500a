"""``~/body``: SmplInfo, latched, what a consumer needs to rebuild meshes."""

from __future__ import annotations

from array import array

import numpy as np
from std_msgs.msg import Header

from cliff_ros.body import BodyModel, shareable_file
from cliff_ros.msg import SmplInfo


def info_message(header: Header, body: BodyModel, metadata: dict, engine: str, privacy: str = 'off') -> SmplInfo:
    """Describe the body, the network (``metadata`` of its graph), what runs it, and what is covered in images."""
    return SmplInfo(
        header=header,
        model=str(metadata.get('model', '')),
        model_sha256=str(metadata.get('sha256', '')),
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
