"""Reading images from the bytes of the wire (CDR), without copying or converting the pixels.

rclpy turns a serialised Image into Python objects in about 1 ms per megapixel, in the executor's thread and
holding the interpreter lock, also for frames that are dropped a moment later. A raw subscription
hands over the bytes; the few numbers in front of the pixels are read here in microseconds and the
pixels stay where they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

_CDR_LITTLE_ENDIAN = b'\x00\x01'
_ENCAPSULATION = 4


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


class _Reader:
    """Walks plain little-endian CDR, as every ROS 2 middleware writes these messages on x86 and ARM."""

    def __init__(self, raw: bytes) -> None:
        self._view = memoryview(raw)[_ENCAPSULATION:]
        self._at = 0

    def uint32(self) -> int:
        self._at += -self._at % 4
        (value,) = struct.unpack_from('<I', self._view, self._at)
        self._at += 4
        return value

    def uint8(self) -> int:
        self._at += 1
        return self._view[self._at - 1]

    def stamp(self) -> tuple[int, int]:
        (seconds,) = struct.unpack_from('<i', self._view, self._at)
        self._at += 4
        return seconds, self.uint32()

    def blob(self) -> memoryview:
        length = self.uint32()
        self._at += length
        return self._view[self._at - length:self._at]

    def string(self) -> str:
        return bytes(self.blob()[:-1]).decode('utf-8', 'replace')   # CDR strings end in a zero byte


def read_stamp(raw: bytes) -> tuple[int, int]:
    """The stamp of any serialised message that begins with a Header (here: CameraInfo)."""
    if raw[:2] == _CDR_LITTLE_ENDIAN:
        return _Reader(raw).stamp()
    return _stamp(deserialize_message(raw, CameraInfo))


def read_image(raw: bytes) -> RawImage:
    """A serialised sensor_msgs/Image; the pixels are a view into ``raw``."""
    if raw[:2] == _CDR_LITTLE_ENDIAN:
        reader = _Reader(raw)
        stamp, frame_id, height, width = reader.stamp(), reader.string(), reader.uint32(), reader.uint32()
        encoding, is_bigendian, step = reader.string(), reader.uint8(), reader.uint32()
        return RawImage(stamp, frame_id, reader.blob(), height, width, encoding, is_bigendian, step)
    message = deserialize_message(raw, Image)
    return RawImage(_stamp(message), message.header.frame_id, memoryview(message.data), message.height,
                    message.width, message.encoding, message.is_bigendian, message.step)


def read_compressed_image(raw: bytes) -> RawCompressedImage:
    """A serialised sensor_msgs/CompressedImage; the compressed bytes are a view into ``raw``."""
    if raw[:2] == _CDR_LITTLE_ENDIAN:
        reader = _Reader(raw)
        stamp, frame_id, form = reader.stamp(), reader.string(), reader.string()
        return RawCompressedImage(stamp, frame_id, reader.blob(), form)
    message = deserialize_message(raw, CompressedImage)
    return RawCompressedImage(
        _stamp(message), message.header.frame_id, memoryview(message.data), message.format)


def _stamp(message) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec
