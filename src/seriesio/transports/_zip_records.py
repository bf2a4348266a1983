"""The records of a zip file that is written (PKWARE APPNOTE 4.3), zip64 where needed."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import ArchiveError
from ._zip_directory import UTF8
from ._zip_names import normalise

__all__ = ["Written", "central_entry", "dos_time", "encoded_name", "end_records", "local_header"]

_MARK32, _MARK16 = 0xFFFFFFFF, 0xFFFF  # "stands in the zip64 record"
LIMIT32, LIMIT16 = _MARK32, _MARK16  # values from here on need zip64
_PLAIN, _WIDE = 20, 45  # version needed: 2.0, or 4.5 for zip64
_UNIX = 3 << 8
_FILE_0644 = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class Written:
    """A member as it stands in the file; ``wide``: its local header has a zip64 field."""

    name: bytes
    method: int
    time: tuple[int, int]
    crc: int
    packed: int
    size: int
    offset: int
    wide: bool = False

    def at(self, offset: int) -> Written:
        return replace(self, offset=offset)


def encoded_name(name: str) -> bytes:
    """A blob's name as bytes of a zip directory.

    Raises:
        ArchiveError: a name that a zip cannot hold, or that no one could read back safely.
    """
    try:
        safe = normalise(name) == name and not name.endswith("/")
        raw = name.encode("utf-8")
    except ValueError as error:
        raise ArchiveError(f"{name!r}: cannot be a member's name: {error}") from None
    if not safe or len(raw) > _MARK16:
        raise ArchiveError(f"{name!r}: cannot be a member's name")
    return raw


def dos_time(now: float) -> tuple[int, int]:
    """(date, time) in local time, as zip holds it: two-second steps from 1980 to 2107."""
    local = time.localtime(now)
    year = min(max(local.tm_year, 1980), 2107) - 1980
    date = year << 9 | local.tm_mon << 5 | local.tm_mday
    return date, local.tm_hour << 11 | local.tm_min << 5 | min(local.tm_sec, 59) // 2


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else UTF8


def local_header(member: Written) -> bytes:
    """What stands before a member's data."""
    sizes, extra = (member.packed, member.size), b""
    if member.wide:
        extra = struct.pack("<2H2Q", 1, 16, member.size, member.packed)
        sizes = (_MARK32, _MARK32)
    date, clock = member.time
    head = struct.pack(
        "<4s5H3L2H",
        *(b"PK\3\4", _WIDE if member.wide else _PLAIN, _flags(member.name), member.method),
        *(clock, date, member.crc, *sizes, len(member.name), len(extra)),
    )
    return head + member.name + extra


def central_entry(member: Written, shift: int) -> bytes:
    """A member's entry in the directory; offsets do not count the first ``shift`` bytes."""
    values = (member.size, member.packed, member.offset - shift)
    large = [value for value in values if value >= LIMIT32]
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    size, packed, offset = (_MARK32 if value >= LIMIT32 else value for value in values)
    needed = _WIDE if extra or member.wide else _PLAIN
    date, clock = member.time
    head = struct.pack(
        "<4s6H3L5H2L",
        *(b"PK\1\2", _UNIX | needed, needed, _flags(member.name), member.method, clock, date),
        *(member.crc, packed, size, len(member.name), len(extra), 0, 0, 0),
        *(_FILE_0644, offset),
    )
    return head + member.name + extra


def end_records(entries: Sequence[bytes], position: int, shift: int, comment: bytes) -> bytes:
    """What stands behind a directory that begins at ``position`` of the file."""
    count, size, offset = len(entries), sum(map(len, entries)), position - shift
    wide = b""
    if count >= LIMIT16 or size >= LIMIT32 or offset >= LIMIT32:
        wide = _end64(count, size, offset)
    count = _MARK16 if count >= LIMIT16 else count
    size, offset = (_MARK32 if value >= LIMIT32 else value for value in (size, offset))
    narrow = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, offset, len(comment))
    return wide + narrow + comment


def _end64(count: int, size: int, offset: int) -> bytes:
    version = _UNIX | _WIDE
    record = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, version, _WIDE, 0, 0, count, count, size, offset
    )
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1)
