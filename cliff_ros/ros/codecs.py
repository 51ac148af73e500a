"""What compressed pictures say of their size, read without decoding them."""

from __future__ import annotations

_PNG = b'\x89PNG\r\n\x1a\n'
# Markers that are not followed by a length: TEM, RST0 to RST7.
_ALONE = {0x01, *range(0xD0, 0xD8)}
# Start of frame: those of C0 to CF that are not tables (DHT, DAC) or reserved.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_EOI, _SOS = 0xD9, 0xDA
# The frame's header comes after colour profiles and remarks, of 64 kB each at most.
_MOST_SEGMENTS, _MOST_BYTES = 1000, 1 << 22


def picture_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """(width, height) of a JPEG or PNG, as its decoder will find them; None where it is neither."""
    head = bytes(memoryview(data).cast('B')[:_MOST_BYTES])
    if head.startswith(_PNG):
        return _png_size(head)
    return _jpeg_size(head) if head.startswith(b'\xff\xd8') else None


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 33 or data[8:16] != b'\0\0\0\x0dIHDR':
        return None
    return int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')


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
            return int.from_bytes(data[at + 5:at + 7], 'big'), int.from_bytes(data[at + 3:at + 5], 'big')
        at += max(2, int.from_bytes(data[at:at + 2], 'big'))
    return None
