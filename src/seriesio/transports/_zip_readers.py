"""Members of a zip file as blobs; read in place if stored, unpacked forward if not."""

from __future__ import annotations

import bz2
import os
from dataclasses import dataclass, field

from .. import native
from ..blob import BlobReader
from ..blob_spans import SpanReader
from ..errors import ArchiveError, TransportError
from ..inflate import crc32
from ..native import Span
from ._zip_archive import Archive, data_start, refuse_unreadable
from ._zip_codecs import BlockCodec, Codec, DeflateCodec, StoredCodec, codec_errors, lzma_codec
from ._zip_crypto import Cipher
from ._zip_directory import (
    BZIP2,
    CIPHER_HEADER,
    DEFLATED,
    ENCRYPTED,
    STORED,
    Member,
    damaged,
    pread_exactly,
)

__all__ = ["LOOK_BACK", "PackedReader", "StoredReader", "ZipBlob", "open_member"]

LOOK_BACK = 20 << 10  # bytes given out last that a paused reader can give once more
_STEP = 1 << 20  # at most so many bytes are unpacked, read or summed in one go
_CIPHER_STEP = 16 << 10
_LEAST = 16 << 10


@dataclass(frozen=True, slots=True)
class ZipBlob:
    """A member of a zip file.

    ``sequential`` is True even for stored ones: a reader keeps the CRC (and the decoder) of what
    it has given out already.
    """

    name: str
    size: int
    archive: Archive
    member: Member = field(repr=False)
    sequential: bool = field(default=True, init=False)

    def open(self) -> BlobReader:
        """A reader, after the member's local header has been held against the directory.

        Raises:
            ArchiveError: they disagree, or the member is packed or locked in a way that cannot
                be read.
            TransportError: the file cannot be opened (any more).
        """
        return open_member(self.archive, self.member)


def open_member(archive: Archive, member: Member) -> BlobReader:
    """A reader of one member; blocking.

    Raises:
        ArchiveError: the member cannot be read, or its local header disagrees.
        TransportError: the archive cannot be opened.
    """
    refuse_unreadable(archive, member)
    fd = archive.acquire()
    try:
        start = data_start(fd, member, archive.limits[member.offset], archive.path)
        if member.method == STORED and not member.flags & ENCRYPTED:
            return StoredReader(archive, member, fd, start)
        return PackedReader(archive, member, fd, start)
    except BaseException:
        archive.release()
        raise


class _Reader:
    """What both have: the shared descriptor, given back once."""

    def __init__(self, archive: Archive, member: Member, fd: int, start: int) -> None:
        self._archive = archive
        self._member = member
        self._fd = fd
        self._start = start
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            self._archive.release()

    def _clipped(self, view: memoryview, offset: int) -> memoryview:
        if not self._open:
            raise TransportError(f"{self._member.name!r}: read after it was closed")
        return view[: max(0, self._member.size - offset)]

    def _damaged(self, why: str) -> ArchiveError:
        return damaged(self._archive.path, why, self._member.name)

    def _check_crc(self, crc: int) -> None:
        if crc != self._member.crc:
            raise self._damaged(f"wrong CRC ({crc:08x}, not {self._member.crc:08x})")


class StoredReader(_Reader, SpanReader):
    """Reads a stored member in place, and sums what it reads in order.

    Reading up to the end verifies the CRC: what was left out before is read for it then.
    """

    def __init__(self, archive: Archive, member: Member, fd: int, start: int) -> None:
        super().__init__(archive, member, fd, start)
        self._summed = 0
        self._crc = 0

    def span(self, view: memoryview, offset: int) -> Span | None:
        """As in :class:`~seriesio.blob_spans.SpanReader`, from where the CRC stands.

        What lies behind a gap it has to read itself, and so it does with pixels whose first bytes
        came with the header.
        """
        if not self._open or offset != self._summed or native.crc32 is None:
            return None
        return self._fd, self._start + offset, view, self._crc, native.UNSEEN

    def passed(self, end: int, crc: int) -> None:
        """As in :class:`~seriesio.blob_spans.SpanReader`."""
        self._summed, self._crc = end, crc
        if end == self._member.size:
            self._check_crc(crc)

    def readinto(self, view: memoryview, offset: int) -> int:
        view = self._clipped(view, offset)
        end = offset + view.nbytes
        if end == self._member.size and offset > self._summed:
            self._sum_gap(offset)
        for at in range(0, view.nbytes, _STEP):
            self._fill(view[at : at + _STEP], offset + at)
        if end >= self._member.size == self._summed:
            self._check_crc(self._crc)
        return view.nbytes

    def _fill(self, view: memoryview, offset: int) -> None:
        _pread_into(self._fd, view, self._start + offset, self._archive.path)
        fresh = self._summed - offset
        if 0 <= fresh < view.nbytes:  # summed while it is still in the processor's cache
            self._crc = crc32(view[fresh:], self._crc)
            self._summed = offset + view.nbytes

    def _sum_gap(self, offset: int) -> None:
        scratch = memoryview(bytearray(min(_STEP, offset - self._summed)))
        while self._summed < offset:
            self._fill(scratch[: offset - self._summed], self._summed)


class _Stream:
    """One pass through a packed member: where it stands in and out, and its decoder."""

    __slots__ = ("cipher", "codec", "crc", "given", "taken")

    def __init__(self, codec: Codec, cipher: Cipher | None, taken: int) -> None:
        self.codec = codec
        self.cipher = cipher
        self.taken = taken  # packed bytes
        self.given = 0  # unpacked bytes
        self.crc = 0


class PackedReader(_Reader):
    """Unpacks a member forward, straight into what the caller hands over.

    Between two calls it holds the decoder (40 kB) and the last :data:`LOOK_BACK` bytes, no
    packed bytes. Reading further back starts anew.
    """

    def __init__(self, archive: Archive, member: Member, fd: int, start: int) -> None:
        super().__init__(archive, member, fd, start)
        self._stream: _Stream | None = None
        self._recent = b""

    def close(self) -> None:
        self._archive.unpark(id(self))
        self._stream, self._recent = None, b""
        super().close()

    def readinto(self, view: memoryview, offset: int) -> int:
        view = self._clipped(view, offset)
        try:
            self._read(view, offset)
        except codec_errors() as error:
            self._stream = None
            if isinstance(error, TransportError):
                raise
            raise self._damaged(f"damaged data{self._doubt()}: {error}") from error
        return view.nbytes

    def _read(self, view: memoryview, offset: int) -> None:
        stream = self._resume(offset)
        done = self._repeat(stream, view, offset)
        if view.nbytes > done:
            self._skip(stream, offset + done)
            self._produce(stream, view[done:])
        if stream.given == self._member.size:
            self._finish(stream)
        else:
            self._pause(stream, view[done:])

    def _resume(self, offset: int) -> _Stream:
        stream: _Stream | None = self._stream or self._archive.unpark(id(self))
        self._stream = None
        if stream is None or offset < stream.given - len(self._recent):
            stream = self._begin()
        return stream

    def _repeat(self, stream: _Stream, view: memoryview, offset: int) -> int:
        """Give out what was given before, as far as it reaches; how many bytes that were."""
        if offset >= stream.given:
            return 0
        part = self._recent[len(self._recent) - (stream.given - offset) :][: view.nbytes]
        view[: len(part)] = part
        return len(part)

    def _begin(self) -> _Stream:
        self._recent = b""
        member, taken, cipher = self._member, 0, None
        if member.flags & ENCRYPTED:
            cipher, taken = self._unlock(), CIPHER_HEADER
        if member.method == STORED:
            return _Stream(StoredCodec(), cipher, taken)
        if member.method == DEFLATED:
            return _Stream(DeflateCodec(), cipher, taken)
        if member.method == BZIP2:
            return _Stream(BlockCodec(bz2.BZ2Decompressor()), cipher, taken)
        return self._begin_lzma(cipher, taken)

    def _begin_lzma(self, cipher: Cipher | None, taken: int) -> _Stream:
        head = self._packed(taken, 9)
        head = cipher.decrypt(head) if cipher else head
        if len(head) < 9 or head[2:4] != b"\5\0":
            raise self._damaged(f"no LZMA header{self._doubt()}")
        codec = lzma_codec(head[4:], self._member.size, bool(self._member.flags & 2))
        return _Stream(codec, cipher, taken + 9)

    def _unlock(self) -> Cipher:
        cipher = Cipher(self._archive.password or b"")
        check = cipher.decrypt(self._packed(0, CIPHER_HEADER))[-1:]
        flags, time, crc = self._member.flags, self._member.time, self._member.crc
        if check != bytes([(time >> 8 if flags & 8 else crc >> 24) & 0xFF]):
            raise self._damaged("wrong password")
        return cipher

    def _doubt(self) -> str:
        # One wrong password in 256 passes the check byte.
        return " (or wrong password)" if self._member.flags & ENCRYPTED else ""

    def _packed(self, at: int, count: int) -> bytes:
        count = max(0, min(count, self._member.packed - at))
        return pread_exactly(self._fd, count, self._start + at, self._archive.path)

    def _fill(self, stream: _Stream, view: memoryview) -> int:
        member = self._member

        def fetch() -> bytes:
            if stream.cipher is not None:
                data = stream.cipher.decrypt(self._packed(stream.taken, _CIPHER_STEP))
            else:
                # About what is needed to fill it: what is not used is read again.
                left = max(1, member.size - stream.given)
                share = (member.packed - stream.taken) * min(view.nbytes, left) // left
                data = self._packed(stream.taken, min(share + share // 16 + _LEAST, _STEP))
            stream.taken += len(data)
            return data

        return stream.codec.fill(fetch, view)

    def _produce(self, stream: _Stream, view: memoryview) -> None:
        at, wanted = 0, view.nbytes
        while at < wanted:
            count = self._fill(stream, view[at : at + _STEP])
            if not count:
                short = self._member.size - stream.given
                raise self._damaged(f"ends {short} bytes before its announced size{self._doubt()}")
            stream.crc = crc32(view[at : at + count], stream.crc)
            at += count
            stream.given += count

    def _skip(self, stream: _Stream, offset: int) -> None:
        if offset > stream.given:
            self._recent = b""
            scratch = memoryview(bytearray(min(_STEP, offset - stream.given)))
            while stream.given < offset:
                self._produce(stream, scratch[: offset - stream.given])

    def _pause(self, stream: _Stream, fresh: memoryview) -> None:
        kept = self._recent if fresh.nbytes < LOOK_BACK else b""
        self._recent = (kept + bytes(fresh[-LOOK_BACK:]))[-LOOK_BACK:]
        if stream.cipher is None:
            stream.taken -= stream.codec.drop_tail()
        if stream.codec.heavy:
            self._archive.park(id(self), stream)
        else:
            self._stream = stream

    def _finish(self, stream: _Stream) -> None:
        """All is given out: the stream has to end here too, and the sum to be right."""
        self._recent = b""
        if self._member.method not in (STORED, BZIP2, DEFLATED) and not self._member.flags & 2:
            self._check_crc(stream.crc)  # LZMA without an end mark: the size is the end
            return
        if self._fill(stream, memoryview(bytearray(1))):
            raise self._damaged("is longer than its announced size")
        if stream.taken != self._member.packed or not stream.codec.ended():
            raise self._damaged(f"its packed data do not end where announced{self._doubt()}")
        self._check_crc(stream.crc)


def _pread_into(fd: int, view: memoryview, offset: int, path: str) -> None:
    done = 0
    try:
        while done < view.nbytes:
            count = os.preadv(fd, [view[done:]], offset + done)
            if count == 0:
                raise damaged(path, f"ends {view.nbytes - done} bytes short")
            done += count
    except ArchiveError:
        raise
    except OSError as error:
        raise TransportError(error.errno, f"cannot read: {error.strerror}", path) from error
