"""Zips as XNAT streams them: written on the fly, with java.util.zip's headers (APPNOTE.TXT)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from ._xnat_model import StoredFile

__all__ = ["PIECE", "zip_pieces"]

PIECE: Final = 1 << 20  # bytes that are sent at a time
_STORED, _DEFLATED = 0, 8
_UTF8: Final = 0x0800
_DESCRIPTOR: Final = 0x0008


def zip_pieces(
    members: Iterable[tuple[str, StoredFile]], *, deflate: bool, bomb: int = 0
) -> Iterator[bytes]:
    """A zip, piece by piece.

    Members are stored with sizes and CRC in their local headers; or deflated, with data
    descriptors behind them. ``bomb`` zero bytes follow the data of each member.
    """
    directory, place = [], 0
    for name, file in members:
        data = file.data() + bytes(bomb)
        crc = StoredFile(name, b"").crc(data) if bomb else file.crc(data)
        packed = _pack(file, data, bool(bomb)) if deflate else data
        local, central = _headers(name, file.modified, crc, len(packed), len(data), deflate, place)
        directory.append(central)
        tail = struct.pack("<4sLLL", b"PK\x07\x08", crc, len(packed), len(data)) if deflate else b""
        yield local
        yield from _slices(packed)
        yield tail
        place += len(local) + len(packed) + len(tail)
    yield _end(directory, place)


def _pack(file: StoredFile, data: bytes, other: bool) -> bytes:
    return StoredFile("", b"").deflated(data) if other else file.deflated(data)


def _slices(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


def _headers(
    name: str, when: datetime, crc: int, packed: int, size: int, deflate: bool, place: int
) -> tuple[bytes, bytes]:
    """The local header and the one of the central directory."""
    encoded = name.encode()
    flags = _UTF8 | (_DESCRIPTOR if deflate else 0)
    head = struct.pack("<HHHHH", 20, flags, _DEFLATED if deflate else _STORED, *_dos_time(when))
    sizes = struct.pack("<LLL", crc, packed, size)
    lengths = struct.pack("<HH", len(encoded), 0)
    local = b"PK\x03\x04" + head + (bytes(12) if deflate else sizes) + lengths + encoded
    central = struct.pack("<4sH", b"PK\x01\x02", 20) + head + sizes + lengths
    return local, central + struct.pack("<HHHLL", 0, 0, 0, 0, place) + encoded


def _dos_time(when: datetime) -> tuple[int, int]:
    date = (when.year - 1980) << 9 | when.month << 5 | when.day
    return when.hour << 11 | when.minute << 5 | when.second // 2, date


def _end(directory: list[bytes], place: int) -> bytes:
    whole = b"".join(directory)
    count = len(directory)
    return whole + struct.pack(
        "<4sHHHHLLH", b"PK\x05\x06", 0, 0, count, count, len(whole), place, 0
    )
