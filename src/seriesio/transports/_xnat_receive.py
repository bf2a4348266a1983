"""Files that the catalogue of a scan lists, received and held against it. Blocking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..blob import ReceivedBlob
from ..errors import ArchiveError, TransportError
from ..native import md5

__all__ = ["Arrivals", "CatalogFile", "Receiving", "held_against"]

_CRUMB: Final = 1 << 12  # bytes; fewer are copied
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


class Receiving:
    """The bytes of one file, as they come; never more than the catalogue and ``most`` allow."""

    def __init__(self, file: CatalogFile, most: int, what: str) -> None:
        self.file = file
        self._what = what
        self._most = most if file.size is None else file.size
        self._pieces: list[memoryview] = []
        self._crumbs = bytearray()
        self.done = 0

    def write(self, data: memoryview) -> None:
        """The next bytes; they are kept, and must not change."""
        self.done += data.nbytes
        if self.done > self._most:
            told = "the catalogue says" if self.file.size is not None else "may be received"
            raise ArchiveError(f"{self._what}: {self.file.path}: more than the {self._most} {told}")
        if data.nbytes < _CRUMB:  # a view of each would be larger than they are
            self._crumbs += data
        else:
            self._gather()
            self._pieces.append(data)

    def _gather(self) -> None:
        if self._crumbs:
            self._pieces.append(memoryview(self._crumbs))
            self._crumbs = bytearray()

    def pieces(self) -> tuple[memoryview, ...]:
        """What has come so far."""
        self._gather()
        return tuple(self._pieces)

    def differs(self, digest: str) -> TransportError | None:
        """What is not as the catalogue says; ``digest``: of what has come, "" where it has none."""
        if self.file.size not in (None, self.done):
            return TransportError(
                f"{self._what}: {self.file.path}: {self.done} bytes came, "
                f"the catalogue says {self.file.size}"
            )
        if digest != self.file.digest.lower():
            return TransportError(
                f"{self._what}: {self.file.path}: what came does not have the MD5 digest "
                "that the catalogue gives"
            )
        return None


def held_against(group: Sequence[Receiving]) -> list[ReceivedBlob | TransportError]:
    """Files that have come whole, named by their paths; what is wrong with the others."""
    pieces = [receiving.pieces() for receiving in group]
    summed = [place for place, receiving in enumerate(group) if receiving.file.digest]
    digests = [""] * len(group)
    for place, digest in zip(summed, md5([pieces[place] for place in summed]), strict=True):
        digests[place] = digest.hex()
    return [
        receiving.differs(digest) or ReceivedBlob(receiving.file.path, own)
        for receiving, digest, own in zip(group, digests, pieces, strict=True)
    ]


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
        return _Arriving(self, Receiving(file, self.most, self.what))

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

    @property
    def held(self) -> int:
        """Bytes that have come whole and were not taken."""
        return sum(file.done for file in self.whole)

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
