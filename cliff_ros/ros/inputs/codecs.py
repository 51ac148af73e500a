"""What compressed pictures say of their size, read without decoding them."""

from __future__ import annotations

import zlib

_PNG = b'\x89PNG\r\n\x1a\n'
# Markers that are not followed by a length: TEM, RST0 to RST7.
_ALONE = {0x01, *range(0xD0, 0xD8)}
# Start of frame: those of C0 to CF that are not tables (DHT, DAC) or reserved.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_EOI, _SOS = 0xD9, 0xDA
# The frame's header comes after color profiles and remarks, of 64 kB each at most.
_MOST_SEGMENTS, _MOST_BYTES = 1000, 1 << 22


def picture_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """(width, height) of a JPEG or PNG, as its decoder will find them; None where it is neither, or damaged."""
    data = memoryview(data).cast('B')
    if bytes(data[:8]) == _PNG:
        return _png_size(data)
    return _jpeg_size(bytes(data[:_MOST_BYTES])) if bytes(data[:2]) == b'\xff\xd8' else None


def _png_size(data: memoryview) -> tuple[int, int] | None:
    """Walks all chunks, because OpenCV allocates what a chunk says of its length: 2 GB in a file of 9 kB took 15 s.

    A wrong checksum is found here too, before libpng writes a line to the terminal for it.
    """
    at, size = 8, None
    while at + 12 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], 'big'), bytes(data[at + 4 : at + 8])
        end = at + 12 + length
        if end > len(data) or zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], 'big'):
            return None
        if size is None:
            if name != b'IHDR' or length != 13:
                return None
            size = int.from_bytes(data[at + 8 : at + 12], 'big'), int.from_bytes(data[at + 12 : at + 16], 'big')
        elif name in (b'acTL', b'IHDR'):  # moving pictures: frames of their own sizes
            return None
        elif name == b'IEND':
            return size
        at = end
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Skips from marker to marker as libjpeg does, bytes that belong to none included."""
    at, end = 2, len(data)
    for _ in range(_MOST_SEGMENTS):
        at = data.find(b'\xff', at)
        if at < 0:
            return None
        while at < end and data[at] == 0xFF:
            at += 1
        if at >= end:
            return None
        marker, at = data[at], at + 1
        if marker == 0 or marker in _ALONE:
            continue
        if marker in (_EOI, _SOS) or at + 2 > end:
            return None
        if marker in _FRAMES:
            if at + 7 > end:
                return None
            return int.from_bytes(data[at + 5 : at + 7], 'big'), int.from_bytes(data[at + 3 : at + 5], 'big')
        at += max(2, int.from_bytes(data[at : at + 2], 'big'))
    return None
