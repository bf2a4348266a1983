"""What a compressed frame says of itself, read before any codec sees it.

Sources: ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.800 annexes A and I (JPEG 2000).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import CodecError

__all__ = ["Codestream", "jpeg_2000_stream", "jpeg_ls_stream", "jpeg_stream"]

_SOI, _EOI, _SOS, _APP0, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC3})  # baseline, extended, lossless: all sequential
_JPEG_LS_FRAMES = frozenset({0xF7})
# Every start of frame, also those that no DICOM transfer syntax of ours may hold.
_FRAMES = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | _JPEG_LS_FRAMES
_END = b"\xff\xd9"
_SIZ = struct.Struct(">HH8IH")
_SOC_SIZ = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  "
_MAX_TILES = 65535


@dataclass(frozen=True, slots=True)
class Codestream:
    """The dimensions of one compressed frame, and its bytes (without a JP2 file around them).

    ``color`` is what a JPEG stream says of three components: "RGB", "YCBCR" or "" (nothing).
    """

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool
    data: memoryview
    color: str = ""


def jpeg_stream(data: memoryview) -> Codestream:
    """Read the header of a JPEG stream (baseline, extended or lossless process).

    A stream without end marker is refused: the codec would make up what is missing.

    Raises:
        CodecError: no such stream, or cut short.
    """
    return _jpeg(data, _JPEG_FRAMES, "JPEG")


def jpeg_ls_stream(data: memoryview) -> Codestream:
    """Read the header of a JPEG-LS stream, and look for its end marker.

    Raises:
        CodecError: no such stream, or cut short.
    """
    return _jpeg(data, _JPEG_LS_FRAMES, "JPEG-LS")


def _jpeg(data: memoryview, allowed: frozenset[int], name: str) -> Codestream:
    transform = ""
    for marker, body in _segments(data, name):
        if marker in _FRAMES:
            if marker not in allowed:
                raise CodecError(f"marker 0xFF{marker:02X} does not begin a {name} frame")
            _check_end(data, name)
            return _frame(body, data, transform, name)
        transform = _transform(marker, body) or transform
    raise CodecError(f"the {name} stream has no frame header")


def _check_end(data: memoryview, name: str) -> None:
    # Nearly always at the very end, which spares a copy.
    if _END not in bytes(data[-16:]) and _END not in bytes(data):
        raise CodecError(f"the {name} stream has no end marker: it is cut short")


def _segments(data: memoryview, name: str) -> Iterator[tuple[int, memoryview]]:
    """Marker segments up to the first scan; the bodies without marker and length."""
    if bytes(data[:2]) != bytes((0xFF, _SOI)):
        raise CodecError(f"the frame is no {name} stream")
    position = 2
    while True:
        while bytes(data[position : position + 2]) == b"\xff\xff":  # fill bytes
            position += 1
        head = bytes(data[position : position + 4])
        if len(head) < 4 or head[0] != 0xFF:
            raise CodecError(f"the {name} header is damaged at byte {position}")
        if head[1] in (_SOS, _EOI, _SOI):
            return
        length = int.from_bytes(head[2:], "big")
        body = data[position + 4 : position + 2 + length]
        if length < 2 or body.nbytes != length - 2:
            raise CodecError(f"the {name} header is cut short at byte {position}")
        yield head[1], body
        position += 2 + length


def _frame(body: memoryview, data: memoryview, transform: str, name: str) -> Codestream:
    if body.nbytes < 6 or body.nbytes != 6 + 3 * body[5]:
        raise CodecError(f"the {name} frame header is damaged")
    precision, rows, columns, samples = struct.unpack_from(">BHHB", body)
    identifiers = bytes(body[6::3])
    color = "RGB" if identifiers in (b"RGB", b"rgb") else transform
    return Codestream(rows, columns, samples, precision, False, data, color)


def _transform(marker: int, body: memoryview) -> str:
    if marker == _APP14 and bytes(body[:5]) == b"Adobe" and body.nbytes >= 12:
        return "YCBCR" if body[11] else "RGB"
    if marker == _APP0 and bytes(body[:4]) == b"JFIF":
        return "YCBCR"
    return ""


def jpeg_2000_stream(data: memoryview) -> Codestream:
    """Read the SIZ segment of a JPEG 2000 (or HTJ2K) codestream; a JP2 file is unwrapped.

    Raises:
        CodecError: no such stream, cut short, or with components that differ in size or depth.
    """
    stream = _unwrapped(data)
    if bytes(stream[:4]) != _SOC_SIZ or stream.nbytes < 4 + _SIZ.size:
        raise CodecError("the frame is no JPEG 2000 codestream")
    length, _, x, y, x0, y0, tx, ty, tx0, ty0, count = _SIZ.unpack_from(stream, 4)
    components = bytes(stream[4 + _SIZ.size : 4 + length])
    if length != _SIZ.size + 3 * count or len(components) != 3 * count or count == 0:
        raise CodecError("the JPEG 2000 size marker is damaged")
    if any(components[i : i + 3] != components[:3] for i in range(3, 3 * count, 3)):
        raise CodecError("the JPEG 2000 components differ in depth or subsampling")
    if components[1:3] != b"\x01\x01":
        raise CodecError("the JPEG 2000 components are subsampled")
    _check_tiles(x - tx0, y - ty0, tx, ty)
    depth = components[0]
    return Codestream(y - y0, x - x0, count, (depth & 0x7F) + 1, depth > 0x7F, stream)


def _check_tiles(width: int, height: int, tile_width: int, tile_height: int) -> None:
    if min(width, height, tile_width, tile_height) <= 0:
        raise CodecError("the JPEG 2000 tiles have no size")
    if -(-width // tile_width) * -(-height // tile_height) > _MAX_TILES:
        raise CodecError("the JPEG 2000 codestream has more tiles than the standard allows")


def _unwrapped(data: memoryview) -> memoryview:
    """The codestream in a JP2 file's contiguous codestream box (T.800 annex I)."""
    if bytes(data[: len(_JP2)]) != _JP2:
        return data
    position = 0
    while True:
        head = bytes(data[position : position + 16])
        length, start = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, start = int.from_bytes(head[8:16], "big"), 16
        stop = position + length if length else data.nbytes
        if len(head) < start or stop < position + start or stop > data.nbytes:
            raise CodecError("the JP2 file around the codestream is damaged")
        if head[4:8] == b"jp2c":
            return data[position + start : stop]
        position = stop
