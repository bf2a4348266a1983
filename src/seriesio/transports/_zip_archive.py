"""A zip file that many readers share, opened on demand, and what its local headers say."""

from __future__ import annotations

import os
import stat
import struct
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import ArchiveError, NotFoundError, TransportError
from ._zip_directory import (
    BZIP2,
    DEFLATED,
    ENCRYPTED,
    LZMA,
    STORED,
    STRONG,
    Directory,
    Member,
    damaged,
    pread_exactly,
    read_directory,
)

__all__ = [
    "Archive",
    "Identity",
    "data_start",
    "identity_of",
    "open_archive",
    "open_descriptor",
    "refuse_unreadable",
]

_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTOR, _MASKED = 0x0008, 0x2000  # sizes follow the data; local header values are hidden
_OTHER_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES"}
_MAX_PARKED = 8


class Identity(NamedTuple):
    """What tells that a file is still the same."""

    device: int
    inode: int
    size: int
    changed: int


def identity_of(status: os.stat_result) -> Identity:
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Archive:
    """One zip file. Its descriptor is open as long as at least one reader is, and shared.

    So 300 readers that wait between two passes cost one descriptor, and go on reading the same
    file even if another one takes its name meanwhile.
    """

    def __init__(
        self,
        path: str,
        identity: Identity,
        limits: Mapping[int, int],
        password: bytes | None = None,
    ) -> None:
        self.path = path
        self.limits = limits  # a member's offset: where its data have to end
        self.password = password
        self._identity = identity
        self._lock = threading.Lock()
        self._fd = -1
        self._readers = 0
        self._parked: OrderedDict[int, Any] = OrderedDict()

    def __repr__(self) -> str:
        return f"Archive({self.path!r})"

    def acquire(self) -> int:
        """The descriptor; to be given back with :meth:`release`.

        Raises:
            TransportError: it cannot be opened.
            ArchiveError: it is not the file whose directory was read.
        """
        with self._lock:
            if not self._readers:
                self._fd = open_descriptor(self.path, self._identity)
            self._readers += 1
            return self._fd

    def release(self) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                os.close(self._fd)
                self._fd = -1
                self._parked.clear()

    def park(self, key: int, stream: Any) -> None:
        """Keep a decoder that takes megabytes for its reader; only the last few are kept."""
        with self._lock:
            self._parked[key] = stream
            if len(self._parked) > _MAX_PARKED:
                self._parked.popitem(last=False)

    def unpark(self, key: int) -> Any:
        """The decoder that was parked, or None if it had to make place for others."""
        with self._lock:
            return self._parked.pop(key, None)


def open_archive(path: str, password: bytes | None = None) -> tuple[Archive, Directory]:
    """Read the directory of a zip file; nothing stays open. Blocking.

    Raises:
        NotFoundError: no such file.
        TransportError: it cannot be read.
        ArchiveError: it is no zip file, or a damaged one.
        TooLargeError: it has too many members.
    """
    fd = open_descriptor(path, None)
    try:
        status = os.fstat(fd)
        directory = read_directory(fd, status.st_size, path)
    finally:
        os.close(fd)
    return Archive(path, identity_of(status), directory.limits, password), directory


def open_descriptor(path: str, identity: Identity | None) -> int:
    """Open a regular file for reading; if ``identity`` is given, only that very file.

    Raises:
        NotFoundError: no such file.
        TransportError: it cannot be opened.
        ArchiveError: it is not a regular file, or another one than ``identity`` says.
    """
    try:
        # O_NONBLOCK: a FIFO must not hold the thread for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise NotFoundError(error.errno, "no such zip file", path) from error
    except (OSError, ValueError) as error:
        raise TransportError(f"{path!r}: cannot open: {error}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise ArchiveError(f"{path}: is not a regular file")
    if identity is not None and identity_of(status) != identity:
        os.close(fd)
        raise ArchiveError(f"{path}: changed since its directory was read")
    return fd


def data_start(fd: int, member: Member, limit: int, path: str) -> int:
    """Where a member's data begin, from its local header (APPNOTE 4.3.7).

    They have to end at ``limit``.

    Raises:
        ArchiveError: header and directory disagree, or the data do not fit before what follows.
    """
    head = pread_exactly(fd, _LOCAL.size + len(member.raw_name), member.offset, path)
    signature, _, flags, method, _, _, crc, packed, size, names, extras = _LOCAL.unpack_from(head)
    if signature != b"PK\3\4":
        raise damaged(path, "no local header where the directory says", member.name)
    if names != len(member.raw_name) or head[_LOCAL.size :] != member.raw_name:
        raise damaged(path, "has another name in its local header", member.name)
    if method != member.method or (flags ^ member.flags) & ENCRYPTED:
        raise damaged(path, "its local header disagrees about how it is packed", member.name)
    if not flags & (_DESCRIPTOR | _MASKED):
        _check_local(member, crc, packed, size, path)
    start = member.offset + len(head) + extras
    if start + member.packed > limit:
        raise damaged(path, "overlaps another member or the directory", member.name)
    return int(start)


def _check_local(member: Member, crc: int, packed: int, size: int, path: str) -> None:
    wide = 0xFFFFFFFF  # the value stands in the zip64 field; the directory's counts
    if crc != member.crc or packed not in (wide, member.packed) or size not in (wide, member.size):
        raise damaged(path, "its local header disagrees about size or CRC", member.name)


def refuse_unreadable(archive: Archive, member: Member) -> None:
    """Raise if a member is locked or packed in a way that cannot be read."""
    if member.method == 99 or member.flags & STRONG:
        raise damaged(
            archive.path,
            "AES or strong encryption is not supported (only traditional zip encryption)",
            member.name,
        )
    if member.method not in (STORED, DEFLATED, BZIP2, LZMA):
        label = _OTHER_METHODS.get(member.method, "unknown")
        raise damaged(
            archive.path, f"compression method {member.method} ({label}) not supported", member.name
        )
    if member.flags & ENCRYPTED and archive.password is None:
        raise damaged(archive.path, "is encrypted: password= is needed", member.name)
