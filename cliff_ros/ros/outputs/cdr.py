"""Messages as bytes whose numbers are replaced in place.

Filling 41,328 ``geometry_msgs/Point`` objects for one SMPL mesh takes rclpy about 150 ms; copying the same
numbers into a message that is already serialized takes 0.3 ms. So a message's *layout* is made once, by
rclpy itself: it is built from Python objects with recognizable numbers (sentinels) in the places
that will change, serialized with the active middleware (encapsulation, strings and alignment are
thereby right), and the places are found by looking for the sentinels. From then on only those bytes
are written.

Padding bytes in a serialized message are undefined, so compare such messages deserialized.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message

# Everything in CDR is aligned relative to the end of the 4-byte encapsulation: starting the buffer at
# an address that is 4 modulo 8 makes every float64 in it an aligned numpy view.
_ENCAPSULATION = 4

STAMP = np.dtype([('sec', np.int32), ('nanosec', np.uint32)])
SENTINEL_STAMP = Time(sec=0x3EED5AFE, nanosec=0x2BADCAFE)
SENTINEL_DOUBLE = float(np.uint64(0x4235EED5AFE2B1C3).view(np.float64))
SENTINEL_POINT = (SENTINEL_DOUBLE, -SENTINEL_DOUBLE, 2.0 * SENTINEL_DOUBLE)


@dataclass(frozen=True)
class Slot:
    """Places in a message that hold the same kind of numbers.

    dtype: the numbers of one place (a record, if fields follow each other in the message).
    sentinel: the bytes at the beginning of each place in the template message.
    count: how many such places the message has.
    length: None, or the places are sequences that hold one sentinel element and are to be grown to
        this many elements of ``dtype``, whose size must be a multiple of 8: what follows stays aligned.
    """

    dtype: np.dtype
    sentinel: bytes
    count: int
    length: int | None = None


def stamp_slot(count: int) -> Slot:
    """The slot of ``count`` headers that were given ``SENTINEL_STAMP``."""
    sentinel = np.array((SENTINEL_STAMP.sec, SENTINEL_STAMP.nanosec), STAMP).tobytes()
    return Slot(STAMP, sentinel, count)


def doubles(*values: float) -> bytes:
    """The bytes of float64 numbers as they stand in a serialized message."""
    return np.array(values, np.float64).tobytes()


class Template:
    """A serialized message and views of the numbers in it.

    ``template.views[name]`` is a list with one writable numpy view per place of the slot;
    ``template.fill(name, values)`` writes all places at once; ``template.tobytes()`` is what to publish.
    """

    def __init__(self, message: Any, slots: dict[str, Slot]) -> None:
        data = serialize_message(message)
        for name, slot in slots.items():
            if slot.length is not None:
                data = _grow(data, name, slot, slot.length)
        aligned = np.empty(len(data) + 16, np.uint8)
        start = (_ENCAPSULATION - aligned.ctypes.data) % 8
        self._buffer = aligned[start : start + len(data)]
        self._buffer[:] = np.frombuffer(data, np.uint8)
        self.views: dict[str, list[np.ndarray]] = {}
        self._indices: dict[str, np.ndarray] = {}
        self._dtypes: dict[str, np.dtype] = {}
        for name, slot in slots.items():
            self._dtypes[name] = slot.dtype
            offsets = _find(data, name, slot)
            shape = () if slot.length is None else (slot.length,)
            self.views[name] = [np.ndarray(shape, slot.dtype, self._buffer.data, int(offset)) for offset in offsets]
            if slot.length is None:
                self._indices[name] = offsets[:, None] + np.arange(slot.dtype.itemsize)

    def fill(self, name: str, values: np.ndarray) -> None:
        """Write one record (for all places) or one record per place; not for grown sequences."""
        records = np.ascontiguousarray(values, self._dtypes[name].base)
        index = self._indices[name]
        self._buffer[index] = records.reshape(-1).view(np.uint8).reshape(-1, index.shape[1])

    def tobytes(self) -> bytes:
        """The message, ready for ``publisher.publish``."""
        return self._buffer.tobytes()


def _find(data: bytes, name: str, slot: Slot) -> np.ndarray:
    if slot.count == 0:
        return np.empty(0, np.int64)
    offsets, at = [], data.find(slot.sentinel)
    while at >= 0:
        offsets.append(at)
        at = data.find(slot.sentinel, at + len(slot.sentinel))
    if len(offsets) != slot.count:
        raise RuntimeError(f'the template has {len(offsets)} places for {name!r}, expected {slot.count}')
    return np.array(offsets, np.int64)


def _grow(data: bytes, name: str, slot: Slot, length: int) -> bytes:
    """Replace each one-element sequence of sentinels by one of ``length`` elements."""
    size = slot.dtype.itemsize
    one, many = np.uint32(1).tobytes(), np.uint32(length).tobytes()
    # The first element is kept as it is: it marks the place for `_find`.
    rest = bytes(size * (length - 1))
    parts, done = [], 0
    for at in _find(data, name, slot):
        count_at = next(p for p in (at - 4, at - 8) if data[p : p + 4] == one)  # 8: padded before float64
        parts += [data[done:count_at], many, data[count_at + 4 : at + size], rest]
        done = at + size
    return b''.join([*parts, data[done:]])
