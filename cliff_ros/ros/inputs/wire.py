"""Reading messages from the bytes of the wire (CDR): without trusting them, without copying the pixels.

rclpy turns a serialized Image into Python objects in about 1 ms per megapixel, in the executor's thread and
holding the interpreter lock, also for frames that are dropped a moment later. And it believes what it reads:
some lengths end the process inside C. A raw subscription hands over the bytes; every length is checked
here before anything is taken, in microseconds, and the pixels stay where they are.

All readers take plain CDR of either byte order, ignore what follows the last field, and raise InputError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cliff_ros.errors import InputError

# In bytes: no frame, encoding or lens model has a longer name.
LONGEST_NAME = 255
# Rational models with thin prisms and tilt have 14.
MOST_COEFFICIENTS = 64
MOST_DETECTIONS = 1000
MOST_HYPOTHESES = 10_000  # of all detections together: some detectors give one for each class
_ENCAPSULATION = 4
_LITTLE_ENDIAN, _BIG_ENDIAN = ((np.dtype(f'{order}f8'), struct.Struct(f'{order}I').unpack_from) for order in '<>')
_REMEDY = 'check its publisher, which may use another version of this message, and the network.'


@dataclass(frozen=True)
class RawPicture:
    """What both kinds of image have: the header, ``stamp`` as (seconds, nanoseconds), and the bytes."""

    stamp: tuple[int, int]
    frame_id: str
    data: memoryview

    @property
    def seconds(self) -> float:
        """The stamp as one number [s]."""
        return self.stamp[0] + self.stamp[1] * 1e-9


@dataclass(frozen=True)
class RawImage(RawPicture):
    """sensor_msgs/Image over the bytes it arrived in. Has the message's fields: what reads one reads both."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int


@dataclass(frozen=True)
class RawCompressedImage(RawPicture):
    """sensor_msgs/CompressedImage over the bytes it arrived in."""

    format: str


class Roi(NamedTuple):
    """sensor_msgs/RegionOfInterest, as far as it matters here."""

    x_offset: int
    y_offset: int
    height: int
    width: int


@dataclass(frozen=True)
class RawCameraInfo:
    """sensor_msgs/CameraInfo with the message's names; d, k, r, p: float64, flat."""

    stamp: tuple[int, int]
    frame_id: str
    height: int
    width: int
    distortion_model: str
    d: np.ndarray
    k: np.ndarray
    r: np.ndarray
    p: np.ndarray
    binning_x: int
    binning_y: int
    roi: Roi


class RawDetection(NamedTuple):
    """vision_msgs/Detection2D. box: center x, y, width, height; hypotheses: (class_id, score)."""

    box: tuple[float, float, float, float]
    hypotheses: list[tuple[str, float]]
    id: str


@dataclass(frozen=True)
class RawDetections:
    """vision_msgs/Detection2DArray."""

    stamp: tuple[int, int]
    frame_id: str
    detections: list[RawDetection]


class _Reader:
    """Walks plain CDR (XCDR version 1), as every ROS 2 middleware writes these messages.

    what: the message's type, for sentences.
    """

    def __init__(self, raw: bytes, what: str) -> None:
        self._what = what
        self._view = memoryview(raw)[_ENCAPSULATION:]
        self._size = len(self._view)
        self._at = 0
        representation = raw[:_ENCAPSULATION]
        if len(representation) < _ENCAPSULATION:
            raise self._truncated()
        if representation[0] or representation[1] > 1:
            raise InputError(
                f'a {what} came in another form than plain CDR (0x{representation[:2].hex()}): have its publisher use '
                'the same middleware (RMW_IMPLEMENTATION) as this node.',
                'wire_representation',
            )
        self._doubles, self._uint32 = _LITTLE_ENDIAN if representation[1] else _BIG_ENDIAN

    def uint32(self) -> int:
        at = self._at + (-self._at & 3)
        self._at = at + 4
        if self._at > self._size:
            raise self._truncated()
        number: int = self._uint32(self._view, at)[0]
        return number

    def uint8(self) -> int:
        self._at += 1
        if self._at > self._size:
            raise self._truncated()
        return self._view[self._at - 1]

    def stamp(self) -> tuple[int, int]:
        seconds, nanoseconds = self.uint32(), self.uint32()
        return seconds - ((seconds & 0x8000_0000) << 1), nanoseconds

    def doubles(self, count: int) -> np.ndarray:
        """float64, of this machine's byte order, read-only."""
        at = self._at + (-self._at & 7)
        self._skip(at - self._at + 8 * count)
        numbers = np.frombuffer(self._view, self._doubles, count, at)
        return numbers if numbers.dtype.isnative else numbers.astype(np.float64)

    def skip_doubles(self, count: int) -> None:
        self._skip((-self._at & 7) + 8 * count)

    def blob(self) -> memoryview:
        length = self.uint32()
        at = self._at
        self._skip(length)
        return self._view[at : self._at]

    def string(self, longest: int | None = LONGEST_NAME) -> str:
        blob = self.blob()
        if longest is not None and len(blob) > longest + 1:
            raise InputError(
                f'a {self._what} holds a name of {len(blob)} bytes: no frame, encoding or lens model has '
                f'more than {longest}; correct its publisher.',
                'wire_name',
            )
        text = bytes(blob)
        # CDR strings end in a zero byte and hold no other; some writers leave it out of the empty one.
        if text and text.find(0) != len(text) - 1:
            raise InputError(f'a text in a {self._what} is not ended by its one zero byte: {_REMEDY}', 'wire_text')
        return text[:-1].decode('utf-8', 'replace')

    def count(self, most: int, what: str) -> int:
        """The length of a sequence."""
        length = self.uint32()
        if length > most:
            raise InputError(
                f'a {self._what} holds {length} {what}, more than the {most} that are read: {_REMEDY}', 'wire_count'
            )
        return length

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > self._size:
            raise self._truncated()

    def _truncated(self) -> InputError:
        return InputError(
            f'a {self._what} is cut off ({self._size + _ENCAPSULATION} bytes arrived): {_REMEDY}', 'wire_truncated'
        )


def read_stamp(raw: bytes) -> tuple[int, int]:
    """The stamp of any serialized message that begins with a Header or Time."""
    return _Reader(raw, 'header').stamp()


def read_image(raw: bytes) -> RawImage:
    """A serialized sensor_msgs/Image; the pixels are a view into ``raw``."""
    reader = _Reader(raw, 'sensor_msgs/Image')
    stamp, frame_id, height, width = reader.stamp(), reader.string(), reader.uint32(), reader.uint32()
    encoding, is_bigendian, step = reader.string(), reader.uint8(), reader.uint32()
    return RawImage(stamp, frame_id, reader.blob(), height, width, encoding, is_bigendian, step)


def read_compressed_image(raw: bytes) -> RawCompressedImage:
    """A serialized sensor_msgs/CompressedImage; the compressed bytes are a view into ``raw``."""
    reader = _Reader(raw, 'sensor_msgs/CompressedImage')
    stamp, frame_id, form = reader.stamp(), reader.string(), reader.string()
    return RawCompressedImage(stamp, frame_id, reader.blob(), form)


def read_camera_info(raw: bytes) -> RawCameraInfo:
    """A serialized sensor_msgs/CameraInfo."""
    reader = _Reader(raw, 'sensor_msgs/CameraInfo')
    stamp, frame_id, height, width = reader.stamp(), reader.string(), reader.uint32(), reader.uint32()
    model, d = reader.string(), reader.doubles(reader.count(MOST_COEFFICIENTS, 'distortion coefficients'))
    k, r, p = reader.doubles(9), reader.doubles(9), reader.doubles(12)
    binning_x, binning_y = reader.uint32(), reader.uint32()
    roi = Roi(reader.uint32(), reader.uint32(), reader.uint32(), reader.uint32())
    reader.uint8()  # roi.do_rectify
    return RawCameraInfo(stamp, frame_id, height, width, model, d, k, r, p, binning_x, binning_y, roi)


def read_detections(raw: bytes) -> RawDetections:
    """A serialized vision_msgs/Detection2DArray (version 4, as in Humble and later)."""
    reader = _Reader(raw, 'vision_msgs/Detection2DArray')
    stamp, frame_id = reader.stamp(), reader.string()
    detections, of_all = [], 0
    for _ in range(reader.count(MOST_DETECTIONS, 'detections')):
        reader.stamp()
        reader.string()
        hypotheses = []
        for _ in range(reader.count(MOST_HYPOTHESES - of_all, 'hypotheses')):
            hypotheses.append((reader.string(None), float(reader.doubles(1)[0])))
            reader.skip_doubles(3 + 4 + 36)  # position, orientation and covariance of the object
        of_all += len(hypotheses)
        x, y, _angle, width, height = reader.doubles(5).tolist()
        detections.append(RawDetection((x, y, width, height), hypotheses, reader.string(None)))
    return RawDetections(stamp, frame_id, detections)
