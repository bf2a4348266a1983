"""A zip file being made beside the one that it will replace. All of it blocks.

The order of calls: :meth:`ZipWriter.begin`, :meth:`~ZipWriter.copy_old` until it says that all is
copied, members, :meth:`~ZipWriter.commit`; after any failure :meth:`~ZipWriter.discard`.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from ..blob import Blob
from ..errors import NotFoundError, TargetExistsError, TransportError
from ._zip_archive import Identity, identity_of, open_descriptor
from ._zip_directory import Directory, read_directory
from ._zip_files import copy_range, lock_for_writing, mapped, publish, write_all
from ._zip_pack import GradualPacker, Packed, pack
from ._zip_records import (
    Written,
    central_entry,
    dos_time,
    encoded_name,
    end_records,
    local_header,
)

__all__ = ["LARGE", "ZipWriter"]

LARGE = 32 << 20  # bytes; a larger blob is packed alone, in steps, straight into the file
_WIDE_FROM = 0xFFFFFFFF - (16 << 20)  # deflate can make a member a little larger
_COPY_STEP = 64 << 20
_PACK_STEP = 8 << 20
_EMPTY = Directory((), {}, 0, 0, b"", b"")


class ZipWriter:
    """One write to one zip file."""

    def __init__(self, path: str, method: int, level: int | None) -> None:
        self._path = path
        self._method = method
        self._level = level
        self._time = dos_time(time.time())
        self._target = path
        self._part = ""
        self._fd = -1
        self._position = 0
        self._old = _EMPTY
        self._old_fd = -1
        self._old_identity: Identity | None = None
        self._old_entries: dict[str, bytes] = {}
        self._names: set[str] = set()
        self._written: dict[str, Written] = {}
        self._lock = threading.Lock()
        self._ready: dict[int, list[Packed]] = {}
        self._next = 0
        self._large: tuple[GradualPacker, Written] | None = None

    def begin(self) -> None:
        """Read what is there and open the file that will take its place.

        Raises:
            NotFoundError: the directory does not exist.
            ArchiveError: what is there is no whole zip file.
            TransportError: it cannot be read, somebody else is writing it, or no file can be
                made beside it.
        """
        with mapped(self._path):
            self._target = os.path.realpath(self._path)
            self._open_old()
            self._open_part()

    def _open_old(self) -> None:
        try:
            self._old_fd = open_descriptor(self._target, None)
        except NotFoundError:
            return
        lock_for_writing(self._old_fd, self._path)
        status = os.fstat(self._old_fd)
        self._old_identity = identity_of(status)
        if status.st_size:  # an empty file is an empty zip: nothing to lose
            self._old = read_directory(self._old_fd, status.st_size, self._path)
        raw = self._old.raw
        self._old_entries = {member.name: raw[member.entry] for member in self._old.members}

    def _open_part(self) -> None:
        folder, name = os.path.split(self._target)
        part = os.path.join(folder, f".{name[:200]}.{secrets.token_hex(6)}.part")
        self._fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._part = part
        if self._old_identity is not None:
            os.fchmod(self._fd, os.fstat(self._old_fd).st_mode & 0o7777)

    def copy_old(self) -> bool:
        """Copy some of the old members as they are; True when all are copied."""
        left = self._old.start - self._position
        if left <= 0:
            return True
        with mapped(self._path):
            count = copy_range(self._old_fd, self._fd, self._position, min(left, _COPY_STEP))
        if not count:
            raise TransportError(f"{self._path}: became shorter while it was copied")
        self._position += count
        return count == left

    def reserve(self, name: str, *, overwrite: bool) -> None:
        """Claim a name for a new member; does not block.

        Raises:
            TargetExistsError: it is taken, and ``overwrite`` is false.
            ArchiveError: no member can have this name.
        """
        encoded_name(name)
        if not overwrite and (name in self._names or name in self._old_entries):
            raise TargetExistsError(f"{self._path}: there is a member {name!r} already")
        self._names.add(name)

    def add(self, index: int, blobs: Sequence[Blob]) -> int:
        """Pack a batch of blobs, and write all batches whose turn has come by that.

        Called from several threads; batches are written in the order of their indices, each
        once. Returns how many were written.

        Raises:
            TransportError: a blob cannot be read, or the file cannot be written.
        """
        packed = [pack(blob, self._method, self._level) for blob in blobs]
        with self._lock:
            self._ready[index] = packed
            before = self._next
            while self._next in self._ready:
                for member in self._ready.pop(self._next):
                    self._write_member(member)
                self._next += 1
            return self._next - before

    def add_large(self, blob: Blob) -> bool:
        """Pack some of a large blob, straight into the file; True when all is written.

        Called again with the same blob until then, while no batch is under way.

        Raises:
            TransportError: as :meth:`add`.
        """
        if self._large is None:
            self._large = self._begin_large(blob)
        packer, header = self._large
        for data in packer.step(_PACK_STEP):
            self._append([data])
        if packer.done:
            self._end_large(packer, header)
        return packer.done

    def _begin_large(self, blob: Blob) -> tuple[GradualPacker, Written]:
        header = self._described(blob.name, 0, 0, blob.size)
        self._append([local_header(header)])
        return GradualPacker(blob, self._method, self._level), header

    def _end_large(self, packer: GradualPacker, header: Written) -> None:
        packer.close()
        self._large = None
        member = self._described(packer.blob.name, packer.crc, packer.packed, packer.blob.size)
        member = member.at(header.offset)
        with mapped(self._path):
            os.pwrite(self._fd, local_header(member), header.offset)
        self._note(packer.blob.name, member)

    def _write_member(self, packed: Packed) -> None:
        member = self._described(packed.name, packed.crc, packed.packed, packed.size)
        self._append([local_header(member), *packed.pieces])
        self._note(packed.name, member)

    def _described(self, name: str, crc: int, packed: int, size: int) -> Written:
        wide = size >= _WIDE_FROM
        raw = encoded_name(name)
        return Written(raw, self._method, self._time, crc, packed, size, self._position, wide)

    def _note(self, name: str, member: Written) -> None:
        self._written.pop(name, None)  # written again, it stands last
        self._written[name] = member

    def _append(self, pieces: list[bytes]) -> None:
        with mapped(self._path):
            self._position += write_all(self._fd, pieces)

    def commit(self) -> None:
        """Write the directory and put the file in the old one's place. No name: no change.

        Raises:
            TransportError: it cannot be written, or the old zip changed meanwhile.
        """
        if self._written:
            self._append_directory()
            with mapped(self._path):
                os.fsync(self._fd)
                self._close_part()
                self._check_old()
                publish(self._part, self._target, replace=self._old_identity is not None)
                self._part = ""
        self.discard()

    def _append_directory(self) -> None:
        shift, position = self._old.shift, self._position
        kept = [raw for name, raw in self._old_entries.items() if name not in self._written]
        new = [central_entry(member, shift) for member in self._written.values()]
        entries = kept + new
        self._append([*entries, end_records(entries, position, shift, self._old.comment)])

    def _check_old(self) -> None:
        if self._old_identity is None:
            return
        try:
            found = {identity_of(os.fstat(self._old_fd)), identity_of(os.stat(self._target))}
        except FileNotFoundError:
            found = set()
        if found != {self._old_identity}:
            raise TransportError(f"{self._path}: was changed by another while it was appended to")

    def _close_part(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def discard(self) -> None:
        """Let go of everything, and remove the unfinished file; more than once is harmless."""
        large, self._large = self._large, None
        if large is not None:
            large[0].close()
        part, self._part = self._part, ""
        if part:
            with suppress(OSError):  # an error is on its way already
                os.unlink(part)
        with suppress(OSError):
            self._close_part()
        fd, self._old_fd = self._old_fd, -1
        if fd >= 0:
            os.close(fd)
