"""A blob is a named run of bytes that worker threads can read.

Bytes in memory or received over a network, a span of a local file, and (in the zip transport) a
packed member of an archive. All reading here blocks: it belongs into a worker thread.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

import numpy as np

from .errors import TooLargeError, TransportError
from .native import UNSEEN, modified_ns

__all__ = [
    "Announced",
    "Blob",
    "BlobReader",
    "FileBlob",
    "MemoryBlob",
    "PiecesBlob",
    "ReceivedBlob",
    "RenamedBlob",
    "copy",
    "read_all",
    "read_at",
    "read_fully",
    "touch",
]

_MANY: Final = 1 << 15  # bytes that are copied while other threads run
_TOUCHES: Final = 1 << 10  # enough for numpy to let other threads run
_PAGE: Final = 1 << 12  # bytes, at least


@runtime_checkable
class BlobReader(Protocol):
    """Reads one blob; blocking, used by one thread at a time, closed when done.

    A reader may be handed from one thread to the next between two calls. Reading forward is
    cheap for every kind; reading backward may cost a packed blob a fresh start.
    """

    def readinto(self, view: memoryview, offset: int) -> int:
        """Fill ``view`` from ``offset`` on; fewer bytes only at the end of the blob.

        Reading up to the end also verifies what can be verified (a zip member's CRC and size).

        Raises:
            TransportError: the bytes cannot be read, or are not those announced.
        """
        ...

    def close(self) -> None:
        """Let go of the file descriptor or decompressor; more than once is harmless."""
        ...


@runtime_checkable
class Blob(Protocol):
    """A named run of bytes. ``name`` is relative to the source, with ``/`` between parts."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int:
        """Bytes, as announced; what is read later is held against it."""
        ...

    @property
    def sequential(self) -> bool:
        """True if a reader should be kept between two passes instead of opened anew."""
        ...

    def open(self) -> BlobReader:
        """Open for reading; blocking.

        Raises:
            TransportError: it cannot be opened (any more).
        """
        ...


@dataclass(frozen=True, slots=True)
class MemoryBlob:
    """Bytes in memory."""

    name: str
    data: bytes | bytearray | memoryview = field(repr=False)
    sequential: bool = field(default=False, init=False)

    @property
    def size(self) -> int:
        return memoryview(self.data).nbytes

    def open(self) -> BlobReader:
        return _MemoryReader(memoryview(self.data).cast("B"))


class _MemoryReader:
    def __init__(self, data: memoryview) -> None:
        self._data = data

    def readinto(self, view: memoryview, offset: int) -> int:
        part = self._data[offset : offset + view.nbytes]
        copy(part, view[: part.nbytes])
        return part.nbytes

    def close(self) -> None:
        self._data = memoryview(b"")


def copy(source: memoryview, target: memoryview) -> None:
    """Copy bytes; many of them while other threads run, since their pages may have to be found."""
    if source.nbytes < _MANY:
        target[:] = source
    else:
        np.copyto(np.frombuffer(target, np.uint8), np.frombuffer(source, np.uint8))


def touch(memory: memoryview) -> None:
    """Have the system give fresh memory its pages while other threads run, not in a small copy.

    What the memory holds is lost: a page that is read before it is written is found twice.
    """
    if memory.nbytes >= _MANY:
        np.frombuffer(memory, np.uint8)[:: min(memory.nbytes // _TOUCHES, _PAGE)] = 0


@dataclass(frozen=True, slots=True)
class FileBlob:
    """A span of a local file: ``size`` bytes from ``offset`` on.

    ``modified``: its st_mtime_ns when it was listed. A file that has another when it is opened
    is another, and not read: header and voxels would be of two.
    """

    name: str
    path: str
    size: int
    offset: int = 0
    modified: int = UNSEEN
    sequential: bool = field(default=False, init=False)

    def open(self) -> BlobReader:
        return _FileReader(self)


# O_NONBLOCK: a FIFO put in the file's place must not hold the thread for ever.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def _opened(blob: FileBlob) -> int:
    """A descriptor of the file.

    Raises:
        TransportError: it cannot be opened, or is not the one that was listed.
    """
    descriptor = -1
    try:
        descriptor = os.open(blob.path, _FLAGS)
        if blob.modified in (UNSEEN, modified_ns(os.fstat(descriptor))):
            return descriptor
        failed = errno.ESTALE, "changed since it was listed"
    except OSError as error:
        failed = error.errno or errno.EIO, f"cannot open: {error.strerror}"
    if descriptor >= 0:
        os.close(descriptor)
    raise TransportError(*failed, blob.path)


class _FileReader:
    __slots__ = ("_blob", "_fd")

    def __init__(self, blob: FileBlob) -> None:
        self._blob = blob
        self._fd = _opened(blob)

    def readinto(self, view: memoryview, offset: int) -> int:
        wanted = min(view.nbytes, self._blob.size - offset)
        done = 0
        try:
            while done < wanted:
                count = os.preadv(self._fd, [view[done:wanted]], self._blob.offset + offset + done)
                if count == 0:
                    break
                done += count
        except OSError as error:
            raise TransportError(
                error.errno, f"cannot read: {error.strerror}", self._blob.path
            ) from error
        return max(done, 0)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def read_fully(reader: BlobReader, view: memoryview, offset: int, name: str) -> None:
    """Fill ``view`` or raise.

    Raises:
        TransportError: the blob ends before ``view`` is full.
    """
    count = reader.readinto(view, offset)
    if count != view.nbytes:
        raise TransportError(
            f"{name}: ends {view.nbytes - count} bytes short (it changed while it was read?)"
        )


def read_at(blob: Blob, view: memoryview, offset: int = 0) -> int:
    """Fill ``view`` with a blob's bytes from ``offset`` on; how many there were.

    Blocking, and keeps nothing open. Hundreds of files are read with it one after the other
    while other threads do the same: little is done between the calls that let the others run.

    Raises:
        TransportError: it cannot be opened or read.
    """
    if isinstance(blob, FileBlob) and offset + view.nbytes <= blob.size:
        descriptor = _opened(blob)
        try:
            count = os.preadv(descriptor, [view], blob.offset + offset)
        except OSError as error:
            raise TransportError(
                error.errno, f"cannot read: {error.strerror}", blob.path
            ) from error
        finally:
            os.close(descriptor)
        if count == view.nbytes:
            return count
    reader = blob.open()
    try:
        return reader.readinto(view, offset)
    finally:
        reader.close()


def read_all(blob: Blob) -> bytearray:
    """All bytes of a blob; blocking.

    Raises:
        TransportError: it cannot be read, or not all of it.
        TooLargeError: there is no memory for it.
    """
    try:
        data = bytearray(blob.size)
    except (MemoryError, OverflowError):
        raise TooLargeError(f"{blob.name}: no memory for {blob.size} bytes") from None
    reader = blob.open()
    try:
        read_fully(reader, memoryview(data), 0, blob.name)
    finally:
        reader.close()
    return data


@dataclass(frozen=True, slots=True)
class PiecesBlob:
    """Bytes in memory in several pieces, one after the other: nothing is joined to write them."""

    name: str
    pieces: tuple[memoryview, ...] = field(repr=False)
    sequential: bool = field(default=False, init=False)

    @property
    def size(self) -> int:
        return sum(piece.nbytes for piece in self.pieces)

    def open(self) -> BlobReader:
        return _PiecesReader(self.pieces)


class _PiecesReader:
    def __init__(self, pieces: tuple[memoryview, ...]) -> None:
        self._pieces = pieces

    def readinto(self, view: memoryview, offset: int) -> int:
        touch(view)
        done = 0
        for piece in self._pieces:
            if offset >= piece.nbytes:
                offset -= piece.nbytes
                continue
            part = piece[offset : offset + view.nbytes - done]
            copy(part, view[done : done + part.nbytes])
            done += part.nbytes
            offset = 0
            if done == view.nbytes:
                break
        return done

    def close(self) -> None:
        self._pieces = ()


@dataclass(frozen=True, slots=True)
class Announced:
    """A set of blobs that a source has announced: what sets it apart, and how many they are."""

    key: str
    count: int


@dataclass(slots=True, eq=False)
class ReceivedBlob:
    """Bytes that came over a network, in several pieces; whoever has used them may discard them.

    A volume and all the bytes that it was made of need not stand in memory side by side.

    Attributes:
        of: what it was announced with; None: nobody knows how much will come.
        place: where its last but one piece has been moved to, and as which number of it.
    """

    name: str
    pieces: tuple[memoryview, ...] = field(repr=False)
    of: Announced | None = None
    size: int = field(init=False)
    place: tuple[object, int] | None = field(default=None, init=False, repr=False)
    sequential: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.size = sum(piece.nbytes for piece in self.pieces)

    def open(self) -> BlobReader:
        return _PiecesReader(self.pieces)

    def settle(self, pieces: tuple[memoryview, ...], place: tuple[object, int]) -> None:
        """Let go of the bytes for the same ones elsewhere."""
        self.pieces, self.place = pieces, place

    def discard(self) -> None:
        """Let go of the bytes; what is read from now on is nothing."""
        self.pieces = ()


@dataclass(frozen=True, slots=True)
class RenamedBlob:
    """A blob under another name."""

    name: str
    blob: Blob = field(repr=False)

    @property
    def size(self) -> int:
        return self.blob.size

    @property
    def sequential(self) -> bool:
        return self.blob.sequential

    def open(self) -> BlobReader:
        return self.blob.open()
