"""``~/people`` and ``~/body`` turned back into what they were made of, for whoever shows or stores people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from geometry_msgs.msg import Point, Vector3
from rclpy.serialization import deserialize_message
from scipy.spatial.transform import Rotation

from cliff_ros.body import NUM_JOINTS, BodyModel, load_body
from cliff_ros.errors import InputError, ModelError
from cliff_ros.msg import SmplArray, SmplInfo
from cliff_ros.people import People, TrackState
from cliff_ros.render.privacy import MODES, PEOPLE
from cliff_ros.ros.inputs.limits import check_bytes
from cliff_ros.ros.runtime.complaints import shortened

MOST_PEOPLE_BYTES = 1 << 20  # 128 people take 400 kB
MOST_BODY_BYTES = 1 << 26  # the embedded body has 1 MB
_MOST_BETAS = 400  # SMPL-X has as many


def read_people(raw: bytes) -> tuple[tuple[int, int], str, People]:
    """Stamp, frame id and people (without vertices) of a serialized SmplArray.

    Raises InputError for one that is damaged, or too large, or holds numbers that are none.
    """
    check_bytes(raw, 'a cliff_ros/SmplArray', MOST_PEOPLE_BYTES)
    try:
        message = deserialize_message(raw, SmplArray)
    except Exception as error:
        raise InputError(f'a cliff_ros/SmplArray cannot be read ({error}): use one version of cliff_ros.') from error
    stamp = message.header.stamp
    return (stamp.sec, stamp.nanosec), message.header.frame_id, people_of(message)


def people_of(message: SmplArray) -> People:
    """The people of a message, without vertices. Raises InputError for numbers that describe nobody."""
    everybody = message.people
    if not everybody:
        return People.empty()
    if len({len(smpl.betas) for smpl in everybody}) > 1 or len(everybody[0].betas) > _MOST_BETAS:
        raise _nobody()
    quaternions = np.array([[(q.x, q.y, q.z, q.w) for q in smpl.rotations] for smpl in everybody])
    joints = np.array([[_xyz(point) for point in smpl.joints] for smpl in everybody])
    translation = np.array([_xyz(smpl.translation) for smpl in everybody])
    betas = np.array([smpl.betas for smpl in everybody], np.float64)
    finite = all(np.isfinite(numbers).all() for numbers in (quaternions, joints, translation, betas))
    if not finite or (np.linalg.norm(quaternions, axis=-1) < 0.5).any():
        raise _nobody()
    return People(
        id=np.array([smpl.id for smpl in everybody]),
        score=np.array([smpl.score for smpl in everybody]),
        box=np.array([smpl.box for smpl in everybody]),
        betas=betas,
        rotations=Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix().reshape(-1, NUM_JOINTS, 3, 3),
        translation=translation,
        joints=joints,
        joints2d=np.array([smpl.joints2d for smpl in everybody]).reshape(-1, NUM_JOINTS, 2),
        track_state=np.array([min(smpl.track_state, TrackState.COASTING) for smpl in everybody], np.uint8),
        velocity=np.array([_xyz(smpl.velocity) for smpl in everybody]),
        age=np.array([smpl.age for smpl in everybody]),
    )


def _nobody() -> InputError:
    return InputError('a cliff_ros/Smpl holds numbers that describe nobody: correct its publisher.', 'smpl_numbers')


def read_body(raw: bytes, given: str | Path = 'embedded') -> tuple[BodyModel, str]:
    """The body that a serialized SmplInfo tells of, the one installed here or the file ``given``; and what is covered.

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
