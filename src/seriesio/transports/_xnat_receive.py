"""Files that the catalogue of a scan lists, received and held against it. Blocking."""

from __future__ import annotations

import hashlib
import mmap
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from ..blob import ReceivedBlob
from ..errors import ArchiveError, TooLargeError, TransportError

__all__ = ["Arrivals", "CatalogFile", "Receiving", "Rooms"]

_SLAB: Final = 1 << 22  # bytes of memory that is taken, and given back, together
_UNLISTED: Final = 1 << 28  # bytes of files that the catalogue does not list, and that are dropped


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """A file as the catalogue lists it.

    Attributes:
        path: in its resource, with ``/`` between parts; safe as a relative name.
        size: bytes; None: the catalogue does not say.
        digest: MD5 in hexadecimal digits; "" where the catalogue has none.
    """

    path: str
    size: int | None
    digest: str


class Rooms:
    """Memory for files, many in a slab, which is given back when the last of them is let go."""

    def __init__(self) -> None:
        self._slab = memoryview(b"")
        self._lock = threading.Lock()

    def take(self, size: int, name: str) -> memoryview:
        """Room for a file.

        Raises:
            TooLargeError: there is no memory for it.
        """
        try:
            if size > _SLAB // 2:
                return _mapped(size)
            with self._lock:
                if size > self._slab.nbytes:
                    self._slab = _mapped(_SLAB)
                room, self._slab = self._slab[:size], self._slab[size:]
                return room
        except (MemoryError, OverflowError, OSError, ValueError):
            raise TooLargeError(f"{name}: no memory for {size} bytes") from None


def _mapped(size: int) -> memoryview:
    """Pages of their own, large ones where the system has them: faults cost more than the copy."""
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if (advice := getattr(mmap, "MADV_HUGEPAGE", None)) is not None:
        with suppress(OSError):  # a system that has none
            memory.madvise(advice)
    return memoryview(memory)


class Receiving:
    """The bytes of one file, as they come; never more than the catalogue and ``most`` allow."""

    def __init__(self, file: CatalogFile, most: int, what: str, rooms: Rooms) -> None:
        self.file = file
        self._what = what
        self._most = most if file.size is None else file.size
        self._pieces: list[bytes] = []
        self._room = None if file.size is None else rooms.take(file.size, file.path)
        self.done = 0

    def write(self, data: memoryview) -> None:
        end = self.done + data.nbytes
        if end > self._most:
            told = "the catalogue says" if self.file.size is not None else "may be received"
            raise ArchiveError(f"{self._what}: {self.file.path}: more than the {self._most} {told}")
        if self._room is None:
            self._pieces.append(bytes(data))
        else:
            self._room[self.done : end] = data
        self.done = end

    def blob(self, name: str) -> ReceivedBlob:
        """The file, once it is whole and is what the catalogue says.

        Raises:
            TransportError: its size or its digest is another one.
        """
        if self.file.size not in (None, self.done):
            raise TransportError(
                f"{self._what}: {self.file.path}: {self.done} bytes came, "
                f"the catalogue says {self.file.size}"
            )
        pieces = [memoryview(piece) for piece in self._pieces]
        if self._room is not None and self.done:
            pieces = [self._room]
        if self.file.digest and _md5(pieces) != self.file.digest.lower():
            raise TransportError(
                f"{self._what}: {self.file.path}: what came does not have the MD5 digest "
                "that the catalogue gives"
            )
        return ReceivedBlob(name, tuple(pieces))


def _md5(pieces: Iterable[memoryview]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


@dataclass(eq=False)
class Arrivals:
    """Members of a zip file, held against the catalogue; the names of both are compared.

    Attributes:
        wanted: what has not come yet, by path; a file is gone from it when it has come whole.
        scan: the ID of the scan, which the server replaces in members' names.
        most: bytes of a file whose size nobody knows.
        whole: what has come since it was last taken.
        unlisted: members that the catalogue does not list; their bytes are dropped.
    """

    wanted: dict[str, CatalogFile]
    scan: str
    most: int
    what: str
    whole: list[Receiving] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    _dropped: int = 0
    _rooms: Rooms = field(default_factory=Rooms)
    _paths: Mapping[tuple[str, ...], str] = field(init=False)

    def __post_init__(self) -> None:
        self._paths = {tuple(path.split("/")): path for path in self.wanted}

    def store(self, name: str, size: int | None) -> _Arriving | _Dropped:
        """What takes the bytes of a member."""
        path = self._path(name)
        file = None if path is None else self.wanted.get(path)
        if file is None:
            if not name.endswith("/"):
                self.unlisted.append(name)
            return _Dropped(self)
        if None not in (size, file.size) and size != file.size:
            raise ArchiveError(
                f"{self.what}: {file.path}: {size} bytes in the zip, the catalogue says {file.size}"
            )
        return _Arriving(self, Receiving(file, self.most, self.what, self._rooms))

    def _path(self, name: str) -> str | None:
        """The listed path that a member is: what follows ``resources/LABEL/files/``, else its end.

        A part of a path that is the scan's ID comes as ``ID-type``: so those are the same.
        """
        parts = name.split("/")
        for start in [n + 1 for n, part in enumerate(parts) if part == "files"] + [
            *range(len(parts))
        ]:
            rest = tuple(parts[start:])
            if (found := self._paths.get(rest)) is not None:
                return found
            plain = tuple(self._plain(part) for part in rest)
            if plain != rest and (found := self._paths.get(plain)) is not None:
                return found
        return None

    def _plain(self, part: str) -> str:
        return self.scan if part.startswith(self.scan + "-") else part

    def drop(self, count: int) -> None:
        self._dropped += count
        if self._dropped > _UNLISTED:
            raise ArchiveError(f"{self.what}: too much that the catalogue does not list")

    def take(self) -> list[Receiving]:
        """What has come whole since the last time."""
        whole, self.whole = self.whole, []
        return whole


class _Arriving:
    """A listed member."""

    def __init__(self, arrivals: Arrivals, receiving: Receiving) -> None:
        self._arrivals = arrivals
        self._receiving = receiving
        self.write = receiving.write

    def finish(self) -> None:
        del self._arrivals.wanted[self._receiving.file.path]
        self._arrivals.whole.append(self._receiving)


class _Dropped:
    """A member that nobody asked for."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    def write(self, data: memoryview) -> None:
        self._arrivals.drop(data.nbytes)

    def finish(self) -> None: ...
