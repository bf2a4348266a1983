"""The central directory of a zip file (PKWARE APPNOTE 4.3), read with suspicion.

Ranges come out of it checked: no two members overlap, none reaches into the directory, no size
is impossible. The local headers are checked when a member is opened.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from ..errors import ArchiveError, TooLargeError, TransportError
from ._zip_names import normalise

__all__ = [
    "BZIP2",
    "CIPHER_HEADER",
    "DEFLATED",
    "ENCRYPTED",
    "LZMA",
    "MAX_MEMBERS",
    "STORED",
    "STRONG",
    "UTF8",
    "Directory",
    "Member",
    "damaged",
    "pread_exactly",
    "read_directory",
]

STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14
ENCRYPTED, STRONG, UTF8 = 0x0001, 0x0040, 0x0800
CIPHER_HEADER = 12  # bytes before the data of a member with traditional encryption
MAX_MEMBERS = 1_000_000
MAX_DIRECTORY = 1 << 29  # bytes; room for a million members with long names
_MAX32, _MAX16 = 0xFFFFFFFF, 0xFFFF

# The most that one packed byte can become. Deflate: 258 bytes for 2 bits. Bzip2: a block of
# 900,000 bytes, run-length coded 255:5, in about 32 bytes. LZMA: 273 bytes for 0.26 bits.
_RATIOS = {STORED: 1, DEFLATED: 1032, BZIP2: 1_500_000, LZMA: 9_000}

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")


class Member(NamedTuple):
    """One entry: where it is, how big it says it is, which bytes of the directory are its own."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    time: int
    crc: int
    packed: int
    size: int
    offset: int
    entry: slice

    @property
    def is_directory(self) -> bool:
        return self.name.endswith("/")


@dataclass(frozen=True, slots=True)
class Directory:
    """All entries in the file's order; ``start`` is where the directory begins in the file.

    ``shift`` bytes stand before the zip proper; offsets inside the file do not count them,
    those in :class:`Member` do. ``raw`` are the directory's own bytes. ``limits`` says for each
    member's offset where its data have to end.
    """

    members: Sequence[Member]
    limits: Mapping[int, int]
    start: int
    shift: int
    raw: bytes
    comment: bytes


class _End(NamedTuple):
    position: int
    members: int
    size: int
    offset: int
    comment: bytes
    wide: bool


def damaged(path: str, why: str, name: str | None = None) -> ArchiveError:
    """An error that names archive and member; the name quoted, for it may hold anything."""
    return ArchiveError(f"{path}: {why}" if name is None else f"{path}: member {name!r}: {why}")


def pread_exactly(fd: int, count: int, offset: int, path: str) -> bytes:
    """``count`` bytes from ``offset`` on.

    Raises:
        ArchiveError: the file ends before.
        TransportError: it cannot be read.
    """
    try:
        data = os.pread(fd, count, offset)
        while len(data) < count:
            more = os.pread(fd, count - len(data), offset + len(data))
            if not more:
                raise damaged(path, f"ends {count - len(data)} bytes short")
            data += more
    except ArchiveError:
        raise
    except OSError as error:
        raise TransportError(error.errno, f"cannot read: {error.strerror}", path) from error
    return data


def read_directory(fd: int, length: int, path: str) -> Directory:
    """Read and check the central directory of an open zip file of ``length`` bytes; blocking.

    Raises:
        ArchiveError: it is no zip file, or a truncated, damaged or lying one.
        TooLargeError: more than :data:`MAX_MEMBERS` members.
    """
    end = _find_end(fd, length, path)
    if end.members > MAX_MEMBERS or end.size > MAX_DIRECTORY:
        raise TooLargeError(
            f"{path}: {end.members} members, a directory of {end.size} bytes; "
            f"at most {MAX_MEMBERS} members are read"
        )
    shift = end.position - end.size - end.offset
    if shift < 0:
        raise damaged(path, "its end record points past the end of the file")
    start = end.position - end.size
    raw = pread_exactly(fd, end.size, start, path)
    members = list(islice(_entries(raw, shift, path), MAX_MEMBERS + 1))
    if len(members) > MAX_MEMBERS:  # the count of an end record without zip64 wraps at 65536
        raise TooLargeError(f"{path}: more than {MAX_MEMBERS} members")
    announced = end.members if end.wide else end.members & _MAX16
    if announced != (len(members) if end.wide else len(members) & _MAX16):
        raise damaged(path, f"announces {end.members} members, lists {len(members)}")
    limits = _limits(members, start, path)
    return Directory(members, limits, start, shift, raw, end.comment)


def _find_end(fd: int, length: int, path: str) -> _End:
    tail_start = max(0, length - _END.size - _MAX16)
    tail = pread_exactly(fd, length - tail_start, tail_start, path)
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if len(tail) - at >= _END.size:
            _, disk, first, _, count, size, offset, comment = _END.unpack_from(tail, at)
            if at + _END.size + comment == len(tail):
                if (disk, first) not in ((0, 0), (_MAX16, _MAX16)):
                    raise damaged(path, "is one part of a zip split over several files")
                end = _End(tail_start + at, count, size, offset, tail[at + _END.size :], False)
                return _find_end64(fd, end, path)
        at = tail.rfind(b"PK\5\6", 0, at)
    raise damaged(path, "is not a zip file, or a truncated one (no end record)")


def _find_end64(fd: int, end: _End, path: str) -> _End:
    at = end.position - _LOCATOR.size
    if at < 0:
        return end
    signature, _, offset, _ = _LOCATOR.unpack(pread_exactly(fd, _LOCATOR.size, at, path))
    if signature != b"PK\6\7":
        return end
    # Right before its locator, or (with an extensible data sector) where the locator says.
    for position in (at - _END64.size, offset):
        if 0 <= position <= at - _END64.size:
            record = _END64.unpack(pread_exactly(fd, _END64.size, position, path))
            if record[0] == b"PK\6\6":
                return _End(position, record[7], record[8], record[9], end.comment, True)
    raise damaged(path, "its zip64 end record is not where its locator points")


def _entries(raw: bytes, shift: int, path: str) -> Iterator[Member]:
    at, total = 0, len(raw)
    while at < total:
        if total - at < _ENTRY.size or raw[at : at + 4] != b"PK\1\2":
            raise damaged(path, f"its directory is damaged at byte {at}")
        fields = _ENTRY.unpack_from(raw, at)
        stop = at + _ENTRY.size + fields[10] + fields[11] + fields[12]
        if stop > total:
            raise damaged(path, f"its directory is damaged at byte {at}")
        yield _member(raw, slice(at, stop), fields, shift, path)
        at = stop


def _member(raw: bytes, entry: slice, fields: tuple[int, ...], shift: int, path: str) -> Member:
    flags, method, time, crc, packed, size = (*fields[3:6], *fields[7:10])
    name_start = entry.start + _ENTRY.size
    name_end = name_start + fields[10]
    raw_name, offset = raw[name_start:name_end], fields[16]
    name = _decoded(raw_name, flags)
    if fields[11]:
        extra = raw[name_end : name_end + fields[11]]
        name = _unicode_path(extra, raw_name) or name
        if _MAX32 in (size, packed, offset):
            size, packed, offset = _widened(extra, size, packed, offset, path)
    safe = _safe(name, path)
    start = offset + shift
    return Member(safe, raw_name, flags, method, time, crc, packed, size, start, entry)


def _safe(name: str, path: str) -> str:
    try:
        return normalise(name)
    except ValueError as error:
        raise damaged(path, str(error), name) from None


def _decoded(raw_name: bytes, flags: int) -> str:
    if flags & UTF8 or raw_name.isascii():
        return raw_name.decode("utf-8", "surrogateescape")
    return raw_name.decode("cp437")


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def _unicode_path(extra: bytes, raw_name: bytes) -> str | None:
    """The name in the Info-ZIP Unicode Path field (APPNOTE 4.6.9), if it belongs to this name."""
    for kind, data in _extra_fields(extra):
        belongs = data[1:5] == zlib.crc32(raw_name).to_bytes(4, "little")
        if kind == 0x7075 and data[:1] == b"\1" and belongs:
            return data[5:].decode("utf-8", "surrogateescape")
    return None


def _widened(extra: bytes, size: int, packed: int, offset: int, path: str) -> tuple[int, int, int]:
    """The values that stand in the zip64 field (APPNOTE 4.5.3) in place of 0xFFFFFFFF."""
    fields = next((data for kind, data in _extra_fields(extra) if kind == 1), b"")
    values = []
    for value in (size, packed, offset):
        if value == _MAX32:
            if len(fields) < 8:
                raise damaged(path, "its directory has a zip64 field that is too short")
            value, fields = int.from_bytes(fields[:8], "little"), fields[8:]
        values.append(value)
    return values[0], values[1], values[2]


def _limits(members: Sequence[Member], start: int, path: str) -> dict[int, int]:
    """Where each member has to end; every impossible name, size or range is an error."""
    seen: set[str] = set()
    for member in members:
        if member.name in seen:
            raise damaged(path, "there are two members of this name", member.name)
        seen.add(member.name)
        _check_size(member, path)
    limits: dict[int, int] = {}
    following = start
    for member in sorted(members, key=attrgetter("offset"), reverse=True):
        limits[member.offset] = following
        if member.offset + 30 + len(member.raw_name) + member.packed > following:
            raise damaged(path, "overlaps another member or the directory", member.name)
        following = member.offset
    return limits


def _check_size(member: Member, path: str) -> None:
    if member.is_directory and member.size:
        raise damaged(path, "a directory that holds data", member.name)
    if not _possible(member) and not member.is_directory:
        raise damaged(path, f"{member.packed} packed bytes cannot make {member.size}", member.name)


def _possible(member: Member) -> bool:
    ratio = _RATIOS.get(member.method)
    if ratio is None or member.flags & STRONG:  # refused with its reason when it is opened
        return True
    packed = member.packed - (CIPHER_HEADER if member.flags & ENCRYPTED else 0)
    return member.size == packed if ratio == 1 else member.size <= packed * ratio
