"""Bytes of a blob from front to back: as they are, or unpacked; and packed ones to be written.

Packings are gzip (RFC 1952), zlib (RFC 1950) and bzip2. All of it blocks, and ends soon after a
cancellation. Nothing is unpacked beyond what is asked for, so a bomb does not go off.
"""

from __future__ import annotations

import bz2
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from ...errors import DataError, TooLargeError
from ...inflate import compressobj, decompressobj, inflate_errors
from .cancel import canceller
from .plain import PlainStream

if TYPE_CHECKING:
    from ...blob import Blob
    from ...inflate import Decompressor
    from ...native import Bytes

__all__ = [
    "GZIP",
    "GZIP_RATIO",
    "ZLIB",
    "PackedStream",
    "Stream",
    "deflated",
    "inflated_head",
    "is_gzip",
    "open_stream",
]

GZIP_RATIO: Final = 1040
"""Deflate never unpacks one byte to more than so many."""

GZIP: Final = 31
"""zlib's way (wbits) to say: with a gzip header and its checksum."""

ZLIB: Final = 15
"""The same of a zlib header."""

_MAGIC: Final = b"\x1f\x8b"
_CHUNK: Final = 256 << 10  # packed bytes read at once
_STEP: Final = 4 << 10  # fed at first into a member: many small ones must not copy the rest
_PULL: Final = 1 << 20  # unpacked at once
_SURPLUS: Final = 1 << 20  # unpacked bytes behind those that were wanted
_EMPTY: Final = 1000  # members without content, one after the other


class Stream(Protocol):
    """Bytes from front to back."""

    def readinto(self, view: memoryview) -> int:
        """Fill ``view`` with the next bytes; fewer only at the end.

        Raises:
            DataError, TransportError: damaged or unreadable.
        """
        ...

    def finish(self) -> int:
        """Go to the end and verify what can be verified; how many bytes were left.

        Raises:
            DataError, TransportError: damaged or unreadable.
        """
        ...

    def close(self) -> None: ...


def is_gzip(head: bytes | bytearray) -> bool:
    """Do the bytes begin as a gzip member does?"""
    return head[:2] == _MAGIC


def inflated_head(head: bytes, limit: int) -> bytes:
    """The first bytes that a gzip file's first bytes unpack to; none if they are damaged."""
    try:
        return decompressobj(GZIP).decompress(head, limit)
    except inflate_errors():
        return b""


def open_stream(blob: Blob) -> Stream:
    """Open a blob to be read from front to back; gunzipped, if its first bytes say gzip.

    Raises:
        TransportError: it cannot be opened or read.
    """
    plain = PlainStream(blob)
    try:
        magic = bytearray(2)
        plain.readinto(memoryview(magic))
    except BaseException:
        plain.close()
        raise
    plain.rewind()
    return PackedStream(plain, "gzip") if is_gzip(magic) else plain


class _Bzip2:
    """A bzip2 decompressor that takes no more bytes than it needs, as zlib's does."""

    def __init__(self) -> None:
        self._stream = bz2.BZ2Decompressor()
        self.unconsumed_tail = b""

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data + self.unconsumed_tail

    def decompress(self, data: Bytes, max_length: int = 0, /) -> bytes:
        taken, left = (data, b"") if self._stream.needs_input else (b"", bytes(data))
        self.unconsumed_tail = left
        return self._stream.decompress(taken, max_length or -1)  # zlib's 0 is bzip2's -1: all


_OPENERS: Final[dict[str, Callable[[], Decompressor]]] = {
    "gzip": lambda: decompressobj(GZIP),
    "zlib": lambda: decompressobj(ZLIB),
    "bzip2": _Bzip2,
}
# How a further member begins; a zlib stream is the only one.
_MEMBERS: Final = {"gzip": _MAGIC, "zlib": None, "bzip2": b"BZh"}


class PackedStream:
    """What the rest of a file unpacks to: one member or, but for zlib, several; all are verified.

    Zeros behind the last member are padding; anything else there is counted as left over.
    """

    def __init__(self, packed: PlainStream, packing: str) -> None:
        self._packed = packed
        self._packing = packing
        self._chunk = memoryview(b"")
        self._inflate = _OPENERS[packing]()
        self._step = _STEP
        self._gave = False
        self._empty = 0
        self._left = 0

    def readinto(self, view: memoryview) -> int:
        done = 0
        while done < view.nbytes:
            piece = self._pull(min(view.nbytes - done, _PULL))
            if not piece:
                break
            view[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def finish(self) -> int:
        surplus = 0
        while piece := self._pull(_PULL):
            surplus += len(piece)
            if surplus > _SURPLUS:
                raise TooLargeError(f"{self._packed.name}: unpacks to more than its header says")
        return surplus + self._left

    def close(self) -> None:
        self._packed.close()

    def _pull(self, limit: int) -> bytes:
        """Up to ``limit`` bytes (at least 1); none at the end of the last member."""
        self._packed.check_cancelled()
        while not self._inflate.eof or self._next_member():
            if not self._chunk:
                self._fill()
            data = self._chunk[: self._step]
            with self._damage_told():
                out = self._inflate.decompress(data, limit)
            self._use(data)
            if out:
                self._gave = True
                return out
            if not data and not self._inflate.eof:
                raise DataError(
                    f"{self._packed.name}: cut short: its {self._packing} data have no end"
                )
        return b""

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except _damages() as error:
            raise DataError(f"{self._packed.name}: damaged {self._packing} data") from error

    def _use(self, data: memoryview) -> None:
        """Go past what was used of ``data``."""
        stream = self._inflate
        rest = stream.unused_data if stream.eof else stream.unconsumed_tail
        if len(rest) > len(data):  # bzip2 gives back what it was given before, too
            self._chunk = memoryview(rest + self._chunk[len(data) :])
        else:
            self._chunk = self._chunk[len(data) - len(rest) :]
        self._step = min(2 * self._step, _CHUNK)

    def _fill(self) -> None:
        """Have some packed bytes more, unless there are none."""
        buffer = bytearray(_CHUNK)
        buffer[: len(self._chunk)] = self._chunk
        count = self._packed.readinto(memoryview(buffer)[len(self._chunk) :])
        self._chunk = memoryview(buffer)[: len(self._chunk) + count]

    def _next_member(self) -> bool:
        """Begin the next member, if there is one."""
        magic = _MEMBERS[self._packing]
        if magic is None or not self._begins(magic):
            self._left += self._padding()
            return False
        self._empty = 0 if self._gave else self._empty + 1
        if self._empty > _EMPTY:
            raise DataError(
                f"{self._packed.name}: more than {_EMPTY} empty {self._packing} members"
            )
        self._inflate, self._step, self._gave = _OPENERS[self._packing](), _STEP, False
        return True

    def _begins(self, magic: bytes) -> bool:
        if len(self._chunk) < len(magic):
            self._fill()
        return self._chunk[: len(magic)] == magic

    def _padding(self) -> int:
        """How many bytes are behind the last member, zeros not counted if there are only those."""
        count, zeros = 0, True
        while self._chunk:
            count += len(self._chunk)
            zeros = zeros and not any(self._chunk)
            self._chunk = memoryview(b"")
            self._fill()
        return 0 if zeros else count


def _damages() -> tuple[type[Exception], ...]:
    """What the decompressors raise over damaged data; the last ones are bzip2's."""
    return (*inflate_errors(), OSError, ValueError)


def deflated(
    pieces: Iterable[memoryview], wbits: int, level: int | None = None
) -> Iterator[memoryview]:
    """Pack bytes as one zlib stream, or one gzip member without a name and a time.

    Equal bytes make equal files. ``wbits``: :data:`GZIP` or :data:`ZLIB`; ``level``: as
    :func:`~seriesio.inflate.compressobj` has it.
    """
    stream, check_cancelled = compressobj(level, wbits), canceller()
    for piece in pieces:
        for start in range(0, piece.nbytes, _PULL):
            check_cancelled()
            if packed := stream.compress(piece[start : start + _PULL]):
                yield memoryview(packed)
    yield memoryview(stream.flush())
