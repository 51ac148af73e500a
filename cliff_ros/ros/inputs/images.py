"""sensor_msgs Image and CompressedImage to arrays, and back.

``rgb8`` and ``bgr8``, what cameras send, are views of the message's own memory: nothing is copied before the
crops are cut. Every other encoding that cameras send is one call of OpenCV; cv_bridge, which always copies, reads
the rest where it is installed (``cliff_ros.ros.inputs.bridge``).

16-bit samples are cut to their upper 8 bits: a view of every second byte.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

import cv2
import numpy as np

from cliff_ros.errors import InputError
from cliff_ros.ros.inputs import bridge
from cliff_ros.ros.inputs.codecs import picture_size
from cliff_ros.ros.runtime.complaints import shortened


class _Encoding(NamedTuple):
    channels: int
    sample_bytes: int = 1
    order: str = 'rgb'
    conversion: int | None = None  # of cv2.cvtColor; None where the samples are the image
    rows: tuple[int, int] = (1, 1)  # rows of samples per row of the image
    even: tuple[int, int] = (1, 1)  # width and height must be multiples of these


_ENCODINGS = {
    'rgb8': _Encoding(3),
    'bgr8': _Encoding(3, order='bgr'),
    '8UC3': _Encoding(3, order='bgr'),  # OpenCV's own order: how cv_bridge labels an image by default
    'rgba8': _Encoding(4, conversion=cv2.COLOR_RGBA2RGB),
    'bgra8': _Encoding(4, conversion=cv2.COLOR_BGRA2RGB),
    'rgb16': _Encoding(3, 2),
    'bgr16': _Encoding(3, 2, order='bgr'),
    'rgba16': _Encoding(4, 2, conversion=cv2.COLOR_RGBA2RGB),
    'bgra16': _Encoding(4, 2, conversion=cv2.COLOR_BGRA2RGB),
    'mono8': _Encoding(1, conversion=cv2.COLOR_GRAY2RGB),
    '8UC1': _Encoding(1, conversion=cv2.COLOR_GRAY2RGB),
    'mono16': _Encoding(1, 2, conversion=cv2.COLOR_GRAY2RGB),
    'nv12': _Encoding(1, conversion=cv2.COLOR_YUV2RGB_NV12, rows=(3, 2), even=(2, 2)),
    'nv21': _Encoding(1, conversion=cv2.COLOR_YUV2RGB_NV21, rows=(3, 2), even=(2, 2)),
}
for _name in ('uyvy', 'yuv422'):
    _ENCODINGS[_name] = _Encoding(2, conversion=cv2.COLOR_YUV2RGB_UYVY, even=(2, 1))
for _name in ('yuyv', 'yuv422_yuy2'):
    _ENCODINGS[_name] = _Encoding(2, conversion=cv2.COLOR_YUV2RGB_YUYV, even=(2, 1))
# ROS names the first two rows of the pattern, OpenCV the second and third pixel of the second row.
_BAYER: dict[str, int] = {}  # a compressed image may hold such samples, too
for _ros, _opencv in (('rggb', 'BG'), ('bggr', 'RG'), ('gbrg', 'GR'), ('grbg', 'GB')):
    _conversion = getattr(cv2, f'COLOR_Bayer{_opencv}2RGB')
    _BAYER[f'bayer_{_ros}8'] = _BAYER[f'bayer_{_ros}16'] = _conversion
    _ENCODINGS[f'bayer_{_ros}8'] = _Encoding(1, conversion=_conversion, even=(2, 2))
    _ENCODINGS[f'bayer_{_ros}16'] = _Encoding(1, 2, conversion=_conversion, even=(2, 2))

SUPPORTED = tuple(_ENCODINGS)
# OpenCV would write a line to the terminal for every damaged image; what is wrong is said here, once.
if hasattr(cv2.utils, 'logging'):  # since 4.6
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# 8K video has 33 million.
MAX_PIXELS = 40_000_000


def to_array(message: Any, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, str]:
    """A ``sensor_msgs/Image`` or ``CompressedImage`` as (H, W, 3) uint8, and its order (``rgb``, ``bgr``).

    max_pixels: of the largest image that is worked on; nothing is allocated for a larger one.

    The array of an ``rgb8`` or ``bgr8`` Image is a read-only view of the message, with its padding between
    rows: copy it before drawing on it. Raises InputError for a damaged image or an unknown encoding.
    """
    try:
        return (_decompress if hasattr(message, 'format') else _unpack)(message, max_pixels)
    except cv2.error as error:
        raise InputError(
            f'OpenCV cannot read the image ({error.err or error}): check the camera driver.', 'image_opencv'
        ) from error


def to_message_array(image: np.ndarray) -> array[int]:
    """An array's bytes as ``Image.data`` and ``CompressedImage.data`` take them without conversion."""
    data = array('B')
    data.frombytes(np.ascontiguousarray(image).data)
    return data


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if not width or not height:
        raise InputError(
            f'the image is {width}x{height} pixels, so it is empty: check the camera driver.', 'image_empty'
        )
    if width * height > max_pixels:
        raise InputError(
            f'the image is {width}x{height} pixels, more than the {max_pixels} of max_image_pixels: check'
            ' the camera driver, or raise that parameter.',
            'image_large',
        )


def _unpack(message: Any, max_pixels: int) -> tuple[np.ndarray, str]:
    encoding = _ENCODINGS.get(message.encoding)
    width, height, step = int(message.width), int(message.height), int(message.step)
    if encoding is None:
        known = bridge.layout(message.encoding)
        if known is None:
            raise _unsupported(message.encoding, f', {bridge.remedy()}')
        _check_size(width, height, max_pixels)
        return bridge.unpack(message, known)
    _check_size(width, height, max_pixels)
    if width % encoding.even[0] or height % encoding.even[1]:
        raise InputError(
            f'a {message.encoding} image cannot be {width}x{height} pixels, only multiples of'
            f' {encoding.even[0]} and {encoding.even[1]}: check the camera driver.',
            'image_odd',
        )
    row = width * encoding.channels * encoding.sample_bytes
    if step < row:
        raise InputError(
            f'the image has a step of {step} bytes, but a row of {width} {message.encoding}'
            f' pixels takes {row}: correct the step in the camera driver.',
            'image_step',
        )
    rows = height * encoding.rows[0] // encoding.rows[1]
    data = np.frombuffer(message.data, np.uint8)
    # The padding after the last row may be left out.
    if data.size < step * (rows - 1) + row:
        raise InputError(
            f'the image is truncated, {width}x{height} {message.encoding} takes {step * rows}'
            f' bytes and {data.size} arrived: check the camera driver and the network.',
            'image_truncated',
        )
    if rows == 1:
        step = row  # of one row it may be anything
    samples = np.lib.stride_tricks.as_strided(
        data,
        (rows, width, encoding.channels, encoding.sample_bytes),
        (step, encoding.channels * encoding.sample_bytes, encoding.sample_bytes, 1),
        writeable=False,
    )
    upper = 0 if message.is_bigendian else -1
    samples = samples[..., upper]
    if encoding.conversion is not None:
        return cv2.cvtColor(np.ascontiguousarray(samples), encoding.conversion), encoding.order
    return samples if encoding.sample_bytes == 1 else np.ascontiguousarray(samples), encoding.order


def _decompress(message: Any, max_pixels: int) -> tuple[np.ndarray, str]:
    """image_transport's ``format``: 'jpeg', 'png', or '<encoding>; <codec> compressed <as it was stored>'."""
    original, _, codec = message.format.partition(';')
    if 'compressedDepth' in codec:
        raise InputError('the compressed image holds depth, not colour: subscribe to the colour image.', 'image_depth')
    data = np.frombuffer(message.data, np.uint8)
    pattern = original.strip() if original.startswith('bayer_') and 'bgr' not in codec else None
    if pattern and pattern not in _BAYER:
        raise _unsupported(pattern)
    # A camera may write how it is held into the file. The pixels must stay where CameraInfo describes them.
    flags = cv2.IMREAD_GRAYSCALE if pattern else cv2.IMREAD_COLOR
    is_jpeg = data[:2].tobytes() == b'\xff\xd8'
    if data.size < 2 or (is_jpeg and data.tobytes().rfind(b'\xff\xd9') < 0):
        raise InputError(
            f'the compressed image is truncated ({data.size} bytes arrived): check the camera driver and the network.',
            'image_truncated',
        )
    # A few bytes can unpack into gigabytes: what the file says of its size comes first.
    size = picture_size(message.data)
    if size is not None:
        _check_size(*size, max_pixels)
    image = None if size is None else cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise InputError(
            f'the compressed image ({shortened(message.format)}, {data.size} bytes) cannot be decoded:'
            ' publish JPEG or PNG.',
            'image_undecodable',
        )
    if pattern:
        return cv2.cvtColor(image, _BAYER[pattern]), 'rgb'
    # OpenCV takes what it stores for BGR; a publisher that gave it RGB says so.
    return image, 'rgb' if 'compressed rgb' in codec else 'bgr'


def _unsupported(encoding: str, remedy: str = '') -> InputError:
    return InputError(
        f'the image encoding {shortened(encoding)} is not supported: publish one of {", ".join(SUPPORTED)}{remedy}.',
        'image_encoding',
    )
