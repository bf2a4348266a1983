"""Pixel values without what has been written beside the pixels: comments, overlays in spare bits.

Comments become zeros, and so do idle bytes of RLE frames; their number stays, and with it all
offsets. What decoders go by stays as well. Sources: PS3.5 annex G; ITU-T T.81 annex B (JPEG),
T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import CodecError
from .fragments import scan_items
from .inverse import as_bytes, integer_dtype
from .rle import packed_size, rle_segments

if TYPE_CHECKING:
    from .pixels import PixelLayout

__all__ = ["without_comments", "without_idle_bytes", "without_spare_bits"]

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
# What is kept of application segments, by how they begin.
_KNOWN: Final = {b"JFIF\0": 14, b"Adobe": 12, b"mrfx": 5, b"SPIFF\0": 30}
_MARKER: Final = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")  # no stuffing, no restart
_SOC, _SOT, _SOD, _COMMENT = b"\xff\x4f", 0x90, 0x93, 0x64
_HEADER: Final = 8  # tag and length of an item


def without_spare_bits(value: bytes | memoryview, layout: PixelLayout, little: bool) -> bytes:
    """A native pixel value whose unused bits hold nothing (once overlays; PS3.5 section 8.1.2).

    Those above the stored ones repeat the sign of signed values, as most readers expect.
    """
    spare = layout.bits_allocated - layout.bits_stored
    if layout.kind != "integer" or not spare or layout.bits_allocated not in (8, 16, 32):
        return bytes(value)
    dtype = integer_dtype(layout.bits_allocated, layout.signed)
    count = len(value) // dtype.itemsize
    words = np.frombuffer(value, dtype.newbyteorder("<" if little else ">"), count).astype(dtype)
    words <<= layout.bits_allocated - 1 - layout.high_bit
    words >>= spare
    words <<= layout.high_bit + 1 - layout.bits_stored
    return bytes(as_bytes(words, little))


class _Unknown(Exception):
    """Bytes that are no stream of the kind expected."""


def without_idle_bytes(value: bytes | memoryview, layout: PixelLayout) -> bytes | None:
    """An RLE value up to and with its delimiter; what is between and behind segments is zeros.

    None where the frames cannot be taken apart.

    Raises:
        DicomError: the items cannot be.
    """
    items = scan_items(value)
    found = bytearray(memoryview(value).cast("B")[: items.end])
    first = 2 * _HEADER + len(items.table)
    try:
        for part, place in zip(items.parts, items.starts, strict=False):
            start = first + place
            found[start : start + part.nbytes] = _blank_rle(part, layout)
    except CodecError:
        return None
    return bytes(found)


def _blank_rle(frame: memoryview, layout: PixelLayout) -> bytes:
    """An RLE frame with nothing but its header and what its segments need."""
    segments = rle_segments(frame, layout.samples * layout.bits_allocated // 8)
    clean = bytearray(frame.nbytes)
    header = 4 * (1 + len(segments))
    clean[:header] = frame[:header]
    start = frame.nbytes - sum(segment.nbytes for segment in segments)
    for segment in segments:
        used = packed_size(segment, layout.rows * layout.columns)
        clean[start : start + used] = segment[:used]
        start += segment.nbytes
    return bytes(clean)


def without_comments(value: bytes | memoryview) -> bytes | None:
    """An encapsulated value up to and with its delimiter, comments blanked.

    None where the streams in it cannot be taken apart.

    Raises:
        DicomError: the items cannot be.
    """
    items = scan_items(value)
    found = bytearray(memoryview(value).cast("B")[: items.end])
    joined = bytearray().join(items.parts)
    starts = [0, *accumulate(part.nbytes for part in items.parts)]
    try:
        _blank_streams(joined, starts)
    except (_Unknown, IndexError):
        return None
    first = _HEADER + len(items.table)
    for start, end, place in zip(starts, starts[1:], items.starts, strict=False):
        at = first + place + _HEADER
        found[at : at + end - start] = joined[start:end]
    return bytes(found)


def _blank_streams(data: bytearray, starts: Sequence[int]) -> None:
    """Blank one stream after the other; each begins with a fragment."""
    position = 0
    while position < len(data):
        if data[position : position + 2] == _SOC:
            end = _blank_jpeg_2000(data, position)
        else:
            end = _blank_jpeg(data, position)
        position = starts[bisect_left(starts, end)]
        data[end:position] = bytes(position - end)


def _blank_jpeg(data: bytearray, position: int) -> int:
    """Where a JPEG or JPEG-LS stream ends."""
    if data[position] != 0xFF or data[position + 1] != _SOI:
        raise _Unknown
    position += 2
    while True:
        marker, position = _next_marker(data, position)
        if marker == _EOI:
            return position
        end = _segment_end(data, position)
        if marker == _COM or marker & 0xF0 == 0xE0:
            kept = position + 2 + (0 if marker == _COM else _kept(data[position + 2 : end]))
            data[kept:end] = bytes(max(end - kept, 0))
        position = end
        if marker == _SOS:
            found = _MARKER.search(data, position)
            if found is None:
                raise _Unknown
            position = found.start()


def _kept(body: bytearray) -> int:
    return next((size for name, size in _KNOWN.items() if body.startswith(name)), 0)


def _next_marker(data: bytearray, position: int) -> tuple[int, int]:
    """A marker, fill bytes before it left out, and where it ends."""
    if data[position] != 0xFF:
        raise _Unknown
    while data[position] == 0xFF:
        position += 1
    return data[position], position + 1


def _segment_end(data: bytearray, position: int) -> int:
    length = int.from_bytes(data[position : position + 2], "big")
    if length < 2 or position + length > len(data):
        raise _Unknown
    return position + length


def _blank_jpeg_2000(data: bytearray, start: int) -> int:
    """Where a JPEG 2000 codestream ends."""
    position = start + 2
    while True:
        tile = position
        marker, position = _next_marker(data, position)
        if marker == _EOI:
            return position
        end = _segment_end(data, position)
        if marker == _COMMENT:
            data[position + 4 : end] = bytes(max(end - position - 4, 0))
        position = end
        if marker == _SOT:
            position = _blank_tile(data, tile, end)


def _blank_tile(data: bytearray, tile: int, position: int) -> int:
    """Where a tile-part ends, its header ends with SOD."""
    length = int.from_bytes(data[tile + 6 : tile + 10], "big")
    while True:
        marker, position = _next_marker(data, position)
        if marker == _SOD:
            break
        end = _segment_end(data, position)
        if marker == _COMMENT:
            data[position + 4 : end] = bytes(max(end - position - 4, 0))
        position = end
    if length == 0:  # the last one: up to the end of the codestream
        position = data.find(b"\xff\xd9", position)
        if position < 0:
            raise _Unknown
        return position
    if tile + length < position or tile + length >= len(data):
        raise _Unknown
    return tile + length
