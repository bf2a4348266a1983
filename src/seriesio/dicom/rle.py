"""RLE Lossless (PS3.5 annex G), in plain Python."""

from __future__ import annotations

import struct
import sys
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CodecError

__all__ = ["decode_rle", "packed_size", "rle_segments", "unpack_bits"]

_HEADER = struct.Struct("<16I")


def rle_segments(data: memoryview, count: int) -> list[memoryview]:
    """Cut a frame into its ``count`` segments.

    Raises:
        CodecError: the RLE header is cut short, or does not describe that many segments.
    """
    if data.nbytes < _HEADER.size:
        raise CodecError(f"the RLE header has {data.nbytes} bytes, not {_HEADER.size}")
    found, *offsets = _HEADER.unpack_from(data)
    if found != count or count > len(offsets):
        raise CodecError(f"the RLE header says {found} segments, the pixels need {count}")
    bounds = [*offsets[:count], data.nbytes]
    if bounds[0] < _HEADER.size or any(a >= b for a, b in pairwise(bounds)):
        raise CodecError("the RLE header has segment offsets that do not ascend within the frame")
    return [data[a:b] for a, b in pairwise(bounds)]


def unpack_bits(segment: memoryview, length: int) -> bytes:
    """Expand one segment to ``length`` bytes; padding behind them is ignored.

    Raises:
        CodecError: the segment yields fewer bytes.
    """
    source = bytes(segment)
    end = len(source)
    result = bytearray()
    position = 0
    while position < end and len(result) < length:
        code = source[position]
        if code < 128:
            stop = position + 2 + code
            result += source[position + 1 : stop]
            position = stop
        elif code > 128:
            result += source[position + 1 : position + 2] * (257 - code)
            position += 2
        else:  # no operation
            position += 1
    if len(result) < length:
        raise CodecError(f"an RLE segment yields {len(result)} of {length} bytes")
    return bytes(result[:length])


def packed_size(segment: memoryview, length: int) -> int:
    """How many bytes of a segment its first ``length`` bytes are made of; what follows is idle.

    Raises:
        CodecError: the segment yields fewer bytes.
    """
    source = bytes(segment)
    position = done = 0
    while done < length:
        if position >= len(source):
            raise CodecError(f"an RLE segment yields {done} of {length} bytes")
        code = source[position]
        if code < 128:
            used = min(code + 1, length - done)
            position, done = position + 1 + used, done + used
        elif code > 128:
            position, done = position + 2, done + 257 - code
        else:  # no operation
            position += 1
    return min(position, len(source))


def decode_rle(data: memoryview, cells: NDArray[Any], samples: int) -> None:
    """Decode one frame into ``cells``, a contiguous array of (rows, columns[, samples]).

    Segments are byte planes, the most significant byte of the first sample first.

    Raises:
        CodecError: a damaged header, or a segment that is cut short.
    """
    width = cells.dtype.itemsize
    pixels = cells.size // samples
    raw = cells.reshape(-1).view(np.uint8).reshape(pixels, samples, width)
    for index, segment in enumerate(rle_segments(data, samples * width)):
        sample, byte = divmod(index, width)
        place = width - 1 - byte if sys.byteorder == "little" else byte
        raw[:, sample, place] = np.frombuffer(unpack_bits(segment, pixels), np.uint8)
