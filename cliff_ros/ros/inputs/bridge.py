"""cv_bridge, for the image encodings that our own reader does not know.

It says how an encoding lies in memory and unpacks it; which of those are pictures, is said here. It is imported when
such an image comes, and trusted with nothing: its Python module does not load with a NumPy it was not built for
(vision_opencv#535), and believes an image's width, height and step.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np

from cliff_ros.errors import InputError
from cliff_ros.ros.runtime.complaints import shortened

DEPTH = '16UC1'  # REP-118: millimeters; a picture of such samples is called mono16


@cache
def _bridge() -> tuple[Any, str]:
    """A CvBridge, or None and what would bring one."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return None, 'or install the package cv_bridge (ros-$ROS_DISTRO-cv-bridge), which reads more'
    except Exception as error:  # noqa: BLE001  an extension that was built for something else fails in its own ways
        return None, _broken(error)
    try:
        bridge = CvBridge()
        bridge.encoding_to_dtype_with_channels('rgb8')  # loads its compiled half
    except Exception as error:  # noqa: BLE001
        return None, _broken(error)
    return bridge, 'cv_bridge does not know it either'


def _broken(error: Exception) -> str:
    return (
        f'or mend the package cv_bridge, which reads more but cannot be loaded ({type(error).__name__}): '
        'it must be built for this NumPy'
    )


def remedy() -> str:
    """What helps against an encoding that cannot be read, besides publishing another one; a part of a sentence."""
    return _bridge()[1]


def layout(encoding: str) -> tuple[np.dtype, int] | None:
    """Type and number of the samples of a pixel; None where cv_bridge is absent or does not know the encoding."""
    bridge, _ = _bridge()
    if bridge is None:
        return None
    try:
        kind, channels = bridge.encoding_to_dtype_with_channels(encoding)
        return np.dtype(kind), int(channels)
    except Exception:  # noqa: BLE001  CvBridgeError, or what its compiled half throws at a name from outside
        return None


def unpack(message: Any, known: tuple[np.dtype, int]) -> tuple[np.ndarray, str]:
    """A ``sensor_msgs/Image`` as (H, W, 3) uint8, and its order; known: what `layout` says of its encoding.

    One sample is a brightness, three are blue, green, red (OpenCV's order), a fourth is left out. Floating samples lie
    in 0..1, those of 16 bits are cut to their upper 8. Raises InputError for a damaged image, and for what is no
    picture: depth, labels, flow.
    """
    dtype, channels = known
    name, width, height, step = shortened(message.encoding), int(message.width), int(message.height), int(message.step)
    if message.encoding == DEPTH or channels not in (1, 3, 4) or dtype.kind not in 'uf':
        raise InputError(
            f'a {name} image is no picture (depth, labels or vectors): subscribe to the '
            'color image, or, if it is one of 16 bits, have its publisher call it mono16.',
            'image_depth',
        )
    pixel = dtype.itemsize * channels
    if step < width * pixel or step % pixel:
        raise InputError(
            f'the image has a step of {step} bytes, but {width} {name} pixels of {pixel} bytes make a '
            'row: correct the step in the camera driver.',
            'image_step',
        )
    if len(message.data) < step * height:
        raise InputError(
            f'the image is truncated, {width}x{height} {name} takes {step * height} bytes and '
            f'{len(message.data)} arrived: check the camera driver and the network.',
            'image_truncated',
        )
    try:
        samples = _bridge()[0].imgmsg_to_cv2(message, desired_encoding='passthrough')
    except Exception as error:  # noqa: BLE001  an image from outside ends nothing
        raise InputError(
            f'cv_bridge cannot read the {name} image ({type(error).__name__}): publish rgb8 or bgr8.', 'image_bridge'
        ) from error
    picture = _eight_bits(np.asarray(samples).reshape(height, width, channels), name)
    if channels == 1:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), 'rgb'
    return np.ascontiguousarray(picture[..., :3]), 'bgr'


def _eight_bits(samples: np.ndarray, name: str) -> np.ndarray:
    if samples.dtype.kind == 'u':
        return (samples >> 8 * (samples.dtype.itemsize - 1)).astype(np.uint8)
    low, high = samples.min(), samples.max()
    if not (low >= 0 and high <= 1):  # not a number, too
        raise InputError(
            f'the {name} image holds numbers from {low:.3g} to {high:.3g}, a picture holds 0 to 1: '
            'subscribe to the color image, if this is depth.',
            'image_depth',
        )
    return (samples * 255 + 0.5).astype(np.uint8)
