"""What is refused before anything is made of it: too large, too old, of another camera."""

from __future__ import annotations

from collections.abc import Callable

from cliff_ros.errors import InputError
from cliff_ros.ros.inputs.wire import read_stamp
from cliff_ros.ros.runtime.complaints import shortened

MOST_INFO_BYTES = 1 << 16  # a CameraInfo has 400
MOST_DETECTIONS_BYTES = 1 << 24  # 10,000 hypotheses take 4 million
_BYTES_PER_PIXEL = 8  # rgba16

Complain = Callable[[str, str], None]


def most_image_bytes(pixels: int) -> int:
    """Bytes of the largest serialized image of so many pixels, with some padding."""
    return _BYTES_PER_PIXEL * pixels + (1 << 16)


def check_bytes(raw: bytes, what: str, most: int, remedy: str = 'correct its publisher') -> None:
    """Raises InputError for a serialized message that is larger than its contents can be.

    What is kept for a while would keep padding and remarks too.
    """
    if len(raw) > most:
        raise InputError(
            f'{what} of {len(raw)} bytes is larger than the {most} bytes that it can have: {remedy}.', 'message_large'
        )


def check_stamp(stamp: tuple[int, int]) -> None:
    """Raises InputError for a stamp that is no time: C++ nodes that look up our frames at it would throw."""
    if stamp[0] < 0 or stamp[1] >= 1_000_000_000:
        raise InputError(
            f'the stamp of an image, {stamp[0]} s and {stamp[1]} ns, is no time: correct the camera driver.',
            'image_stamp',
        )


def is_fresh(info: bytes | None, stamp: tuple[int, int], limit: float, complain: Complain) -> bool:
    """Whether a CameraInfo's stamp is within ``limit`` [s] of the image's; complains if not. 0: no limit."""
    if info is None or not limit:
        return True
    seconds, nanoseconds = read_stamp(info)
    age = stamp[0] - seconds + (stamp[1] - nanoseconds) * 1e-9
    if abs(age) <= limit:
        return True
    complain(
        'refused: info_age',
        (
            f'Image refused: the latest CameraInfo is {abs(age):.1f} s {"older" if age > 0 else "newer"} than the '
            'image; have the camera driver send it with each image, or raise camera_info_max_age.'
        ),
    )
    return False


def is_of_frame(frame_id: str, image_frame_id: str, wanted: str, complain: Complain) -> bool:
    """Whether boxes of ``frame_id`` belong to the image; complains if not.

    wanted: what detections_frame says. Boxes without a frame belong to every image.
    """
    wanted = wanted or image_frame_id
    if frame_id in ('', wanted):
        return True
    complain(
        'detections: frame',
        (
            f'Boxes are left out: they are in frame {shortened(frame_id)}, the image in {shortened(image_frame_id)}; '
            f'remap `detections` to the detector of this camera, or, if it is that one, set detections_frame to '
            f'{shortened(frame_id)}.'
        ),
    )
    return False
