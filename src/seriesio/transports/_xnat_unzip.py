"""A zip file unpacked while it arrives (PKWARE APPNOTE 4.3), front to back, nothing kept.

Nothing is known of the directory at the end: sizes and CRC stand before the data, or behind them
in a data descriptor. Every announced length is held against what there may be before it is used.
Blocking, without state outside the object: for worker threads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, Protocol

from ..errors import ArchiveError
from ..inflate import crc32, inflater

__all__ = ["Store", "Unzip"]

_LOCAL, _DESCRIPTOR = b"PK\3\4", b"PK\7\x08"
_BEHIND: Final = {b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\x08"}  # directory and end records
_HEADER: Final = struct.Struct("<5H3L2H")
_NARROW, _WIDE = struct.Struct("<3L"), struct.Struct("<L2Q")  # of data descriptors
_ENCRYPTED, _DESCRIBED, _UTF8 = 0x1, 0x8, 0x800
_MARK32: Final = 0xFFFFFFFF
_NAME: Final = 4096
_OUT: Final = 1 << 18  # bytes inflated at a time: they stay in the cache until they are stored
_TRAILER: Final = 1 << 28  # bytes of directory that are read and dropped

Parser = Generator[None, memoryview, None]


class Store(Protocol):
    """Takes the bytes of one member."""

    def write(self, data: memoryview) -> None:
        """The next bytes; they stay as they are as long as there is a view of them.

        Raises:
            ArchiveError: more than there may be.
        """
        ...

    def finish(self) -> None:
        """All bytes have come, and have the CRC that the zip file gives."""
        ...


class _Gathering:
    """Puts together what is inflated: in memory that is lent, no page of it fresh."""

    def __init__(self, buffers: Iterator[memoryview]) -> None:
        self._buffers = buffers
        self._free = self._held = memoryview(b"")

    def room(self, store: Store) -> memoryview:
        """Where the next bytes go: some of what is free, never nothing."""
        if not self._free:
            self.flush(store)
            self._free = self._held = next(self._buffers)
        return self._free[:_OUT]

    def take(self, count: int) -> memoryview:
        """So many bytes have come where there was room for them."""
        came, self._free = self._free[:count], self._free[count:]
        return came

    def flush(self, store: Store) -> None:
        """Hand on what is held."""
        count = self._held.nbytes - self._free.nbytes
        if count:
            store.write(self._held[:count])
        self._held = self._free


class Unzip:
    """Unpacks what it is fed.

    Args:
        store: called with a member's name and size (None: not known before its data) before its
            bytes come; returns what takes them.
        what: what errors name.
        buffers: memory for what is inflated, without end.
    """

    def __init__(
        self,
        store: Callable[[str, int | None], Store],
        what: str,
        buffers: Iterator[memoryview],
    ) -> None:
        self._store = store
        self._what = what
        self._inflating = _Gathering(buffers)
        self._view = memoryview(b"")
        self._at = 0
        self.ended = False
        self._parser = self._parse()
        next(self._parser)

    def feed(self, chunks: Iterable[bytes | memoryview]) -> None:
        """Go on with the next bytes.

        Raises:
            ArchiveError: damaged, lying, encrypted, or packed in a way that has no end of its own.
        """
        for chunk in chunks:
            self._parser.send(memoryview(chunk))

    def _damaged(self, why: str, name: str = "") -> ArchiveError:
        member = f"member {name!r}: " if name else ""
        return ArchiveError(f"{self._what}: {member}{why}")

    # --- bytes --------------------------------------------------------------------------------

    def _some(self, limit: int) -> Generator[None, memoryview, memoryview]:
        """1 to ``limit`` bytes, as many as are there."""
        while self._at >= self._view.nbytes:
            self._view, self._at = (yield), 0
        part = self._view[self._at : self._at + limit]
        self._at += part.nbytes
        return part

    def _exactly(self, count: int) -> Generator[None, memoryview, bytes]:
        """``count`` bytes; few."""
        held = bytearray()
        while len(held) < count:
            held += yield from self._some(count - len(held))
        return bytes(held)

    # --- records ------------------------------------------------------------------------------

    def _parse(self) -> Parser:
        self._view = yield
        while (signature := (yield from self._exactly(4))) == _LOCAL:
            yield from self._member()
        if signature not in _BEHIND:
            raise self._damaged("no member and no directory begins where one should")
        self.ended = True
        dropped = 0
        while dropped < _TRAILER:
            dropped += (yield from self._some(_TRAILER)).nbytes
        raise self._damaged("the directory has no end")

    def _member(self) -> Generator[None, memoryview, None]:
        fields = _HEADER.unpack((yield from self._exactly(_HEADER.size)))
        _, flags, method, _, _, crc, packed, size, name_length, extra_length = fields
        if name_length > _NAME:
            raise self._damaged(f"a name of {name_length} bytes")
        name = _text((yield from self._exactly(name_length)), flags)
        extra = yield from self._exactly(extra_length)
        wide = packed == _MARK32 or size == _MARK32
        if wide:
            size, packed = self._wide(extra, size, packed, name)
        if flags & _ENCRYPTED:
            raise self._damaged("is encrypted", name)
        described = bool(flags & _DESCRIBED)
        store = self._store(name, None if described and not size else size)
        if method == 0:
            if described and not name.endswith("/"):
                raise self._damaged("is stored, and its size stands behind it", name)
            if packed != size:
                raise self._damaged(f"{size} bytes are stored as {packed}", name)
            found = yield from self._stored(store, size)
        elif method == 8:
            found = yield from self._inflated(store, None if described else packed, name)
        else:
            raise self._damaged(f"is packed by method {method}", name)
        if not described:
            expected = (crc, packed, size)
        elif method == 8:
            expected = yield from self._described(found, wide, name)
        else:
            expected = found
        if found != expected:
            raise self._damaged("does not have the size or the CRC that the zip gives", name)
        store.finish()

    def _wide(self, extra: bytes, size: int, packed: int, name: str) -> tuple[int, int]:
        """Sizes that do not fit in 32 bits (APPNOTE 4.5.3)."""
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            if kind == 1 and length >= 16 and at + 20 <= len(extra):
                wide = struct.unpack_from("<2Q", extra, at + 4)
                return int(wide[0]), int(wide[1])
            at += 4 + length
        raise self._damaged("announces large sizes and does not give them", name)

    # --- data ---------------------------------------------------------------------------------

    def _stored(self, store: Store, size: int) -> Generator[None, memoryview, tuple[int, int, int]]:
        left, crc = size, 0
        while left:
            part = yield from self._some(left)
            crc = crc32(part, crc)
            store.write(part)
            left -= part.nbytes
        return crc, size, size

    def _inflated(
        self, store: Store, packed: int | None, name: str
    ) -> Generator[None, memoryview, tuple[int, int, int]]:
        """Inflate up to the end that the stream has of its own; (CRC, packed, size)."""
        stream = inflater()
        taken = size = crc = 0
        ended = False
        while not ended:
            limit = _OUT if packed is None else min(_OUT, packed - taken)
            if not limit:
                raise self._damaged("its data end early", name)
            part = yield from self._some(limit)
            taken += part.nbytes
            more = True
            while more:
                room = self._inflating.room(store)
                try:
                    used, count = stream.into(part, room)
                except ValueError as error:
                    raise self._damaged("does not inflate", name) from error
                crc, size = crc32(self._inflating.take(count), crc), size + count
                part, ended = part[used:], stream.eof
                more = not ended and (bool(part) or count == room.nbytes)
        self._inflating.flush(store)
        self._at -= part.nbytes
        return crc, taken - part.nbytes, size

    def _described(
        self, found: tuple[int, int, int], wide: bool, name: str
    ) -> Generator[None, memoryview, tuple[int, int, int]]:
        """The data descriptor (APPNOTE 4.3.9): with a signature or not, of 32 or of 64 bits.

        The one of an empty member reads the same in both: the header says which it is.
        """
        held = yield from self._exactly(12)
        skip = 4 if held.startswith(_DESCRIPTOR) else 0
        for form in (_WIDE,) if wide and not found[2] else (_NARROW, _WIDE):
            held += yield from self._exactly(skip + form.size - len(held))
            if form.unpack_from(held, skip) == found:
                return found
        raise self._damaged("does not have the size or the CRC that the zip gives", name)


def _text(name: bytes, flags: int) -> str:
    """UTF-8 where it is said or fits, else the old code page (APPNOTE appendix D)."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("utf-8", "backslashreplace") if flags & _UTF8 else name.decode("cp437")
