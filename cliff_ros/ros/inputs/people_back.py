"""``~/people`` and ``~/body`` turned back into what they were made of, for whoever shows or stores people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from geometry_msgs.msg import Point, Vector3
from rclpy.serialization import deserialize_message
from scipy.spatial.transform import Rotation

from cliff_ros.body import NUM_JOINTS, BodyModel, load_body
from cliff_ros.errors import InputError, ModelError
from cliff_ros.msg import Smpl, SmplArray, SmplInfo
from cliff_ros.people import Person, TrackState
from cliff_ros.render.privacy import MODES, PEOPLE
from cliff_ros.ros.inputs.limits import check_bytes
from cliff_ros.ros.runtime.complaints import shortened

MOST_PEOPLE_BYTES = 1 << 20  # 128 people take 400 kB
MOST_BODY_BYTES = 1 << 26  # the embedded body has 1 MB
_MOST_BETAS = 400  # SMPL-X has as many


def read_people(raw: bytes) -> tuple[tuple[int, int], str, list[Person]]:
    """Stamp, frame id and people (without vertices) of a serialised SmplArray.

    Raises InputError for one that is damaged, or too large, or holds numbers that are none.
    """
    check_bytes(raw, 'a cliff_ros/SmplArray', MOST_PEOPLE_BYTES)
    try:
        message = deserialize_message(raw, SmplArray)
    except Exception as error:
        raise InputError(f'a cliff_ros/SmplArray cannot be read ({error}): use one version of cliff_ros.') from error
    stamp = message.header.stamp
    return (stamp.sec, stamp.nanosec), message.header.frame_id, [person_of(smpl) for smpl in message.people]


def person_of(smpl: Smpl) -> Person:
    """The message as a Person, without vertices. Raises InputError for numbers that describe nobody."""
    quaternions = np.array([(q.x, q.y, q.z, q.w) for q in smpl.rotations])
    joints = np.array([_xyz(point) for point in smpl.joints])
    translation = np.array(_xyz(smpl.translation))
    betas = np.array(smpl.betas, np.float32)
    lengths = np.linalg.norm(quaternions, axis=1)
    numbers = (quaternions, joints, translation, betas)
    if not all(np.isfinite(one).all() for one in numbers) or (lengths < 0.5).any() or len(betas) > _MOST_BETAS:
        raise InputError('a cliff_ros/Smpl holds numbers that describe nobody: correct its publisher.', 'smpl_numbers')
    return Person(
        id=smpl.id,
        score=smpl.score,
        box=np.array(smpl.box),
        betas=betas,
        rotations=Rotation.from_quat(quaternions).as_matrix(),
        translation=translation,
        joints=joints,
        joints2d=np.reshape(smpl.joints2d, (NUM_JOINTS, 2)),
        track_state=TrackState(min(smpl.track_state, TrackState.COASTING)),
        velocity=np.array(_xyz(smpl.velocity)),
        age=smpl.age,
    )


def read_body(raw: bytes, given: str | Path = 'embedded') -> tuple[BodyModel, str]:
    """The body that a serialised SmplInfo tells of, the one installed here or the file ``given``; and what is covered.

    What a message carries is not taken for a body. Raises InputError where the body is another one.
    """
    check_bytes(raw, 'a cliff_ros/SmplInfo', MOST_BODY_BYTES)
    try:
        message = deserialize_message(raw, SmplInfo)
    except Exception as error:
        raise InputError(f'a cliff_ros/SmplInfo cannot be read ({error}): use one version of cliff_ros.') from error
    body = load_body(given)
    if body.sha256 != message.body_sha256:
        raise ModelError(
            f'the node uses the body {shortened(message.body)}, and here is {body.name!r}: give its file with --body.'
        )
    # A node that covers something this version does not know gets everything covered.
    return body, message.privacy if message.privacy in MODES else PEOPLE


def _xyz(vector: Point | Vector3) -> tuple[float, float, float]:
    return vector.x, vector.y, vector.z
