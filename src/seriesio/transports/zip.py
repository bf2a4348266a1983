"""Zip files: read member by member without ever extracting one, written and appended to whole.

Stored members are read in place, packed ones (deflate, bzip2, LZMA; traditional encryption with a
password) are unpacked forward by the reader that asks. Appending never touches the old file: a new
one is made beside it and takes its name when it is complete.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from glob import escape
from typing import Literal

import anyio

from ..blob import Blob
from ..endings import to_the_end
from ..errors import NotFoundError
from ..offload import Workers
from ..protocols import Entry, Receipt
from ._zip_archive import open_archive
from ._zip_directory import DEFLATED, STORED, Member
from ._zip_names import below, children, select, selection_of
from ._zip_readers import ZipBlob
from ._zip_writer import LARGE, ZipWriter

__all__ = ["ZipBlob", "ZipSink", "ZipSource"]

_BATCH = 512 << 10  # bytes; small blobs share a thread hop up to here
_MOST = 256  # blobs in one hop
_METHODS = {"deflated": DEFLATED, "stored": STORED}


class ZipSource:
    """The members of a zip file, or those that selections mean.

    Args:
        path: the zip file.
        patterns: what to read: a directory (all below it), a member's exact name, or a pattern
            (``*``, ``?``, ``[...]`` inside a part, ``**`` across parts). None: everything.
        password: for members with traditional encryption; text is taken as UTF-8.
        workers: where the blocking work is done.
    """

    def __init__(
        self,
        path: str,
        patterns: Sequence[str] = (),
        *,
        password: str | bytes | None = None,
        workers: Workers,
    ) -> None:
        self._path = path
        self._patterns = tuple(patterns)
        self._password = password.encode() if isinstance(password, str) else password
        self._workers = workers

    def __repr__(self) -> str:
        return f"ZipSource({self._path!r}, {self._patterns!r})"

    async def read(self) -> AsyncIterator[Blob]:
        """Yield the selected members sorted by name, each once.

        A member's own header and data are looked at when its blob is opened and read.

        Raises:
            NotFoundError: no such file, or a selection that means no member.
            ArchiveError: it is no zip file, or its directory is damaged or lies.
            TransportError: it cannot be read.
        """
        for blob in await self._workers.run(self._selected):
            yield blob

    async def list(self) -> AsyncIterator[Entry]:
        """Yield what is directly below: members and directories of the zip, or of a selection.

        Raises:
            NotFoundError, ArchiveError, TransportError: as :meth:`read`.
        """
        for entry in await self._workers.run(self._listed):
            yield entry

    def _selected(self) -> Sequence[ZipBlob]:
        archive, directory = open_archive(self._path, self._password)
        members = {member.name: member for member in _files(directory.members)}
        names = sorted(members)
        wanted = names if not self._patterns else sorted(self._union(names))
        return [ZipBlob(name, members[name].size, archive, members[name]) for name in wanted]

    def _union(self, names: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for pattern in self._patterns:
            found.update(self._meant(names, pattern))
        return found

    def _meant(self, names: Sequence[str], pattern: str) -> Sequence[str]:
        found = select(names, pattern)
        if not found:
            raise NotFoundError(f"{self._path}: the selection {pattern!r} means no member")
        return found

    def _listed(self) -> Sequence[Entry]:
        _, directory = open_archive(self._path, self._password)
        sizes = {member.name: member.size for member in _files(directory.members)}
        names = sorted(sizes)
        found: dict[str, bool] = {}
        for pattern in self._patterns or ("",):
            found.update(self._below(names, pattern))
        return [self._entry(name, None if found[name] else sizes[name]) for name in sorted(found)]

    def _below(self, names: Sequence[str], pattern: str) -> dict[str, bool]:
        wanted = selection_of(pattern).rstrip("/")
        if wanted in ("", "."):
            return dict(children(names, ""))
        if inside := below(names, wanted):
            return dict(children(inside, wanted + "/"))
        return dict.fromkeys(self._meant(names, pattern), False)

    def _entry(self, name: str, size: int | None) -> Entry:
        kind = "directory" if size is None else "file"
        return Entry(f"{self._path}?{_selecting(name, kind)}", name, kind, size)


def _selecting(name: str, kind: str) -> str:
    """A selection that means this name; ``&``, which joins selections, becomes ``?``."""
    if "&" not in name:
        return name
    return escape(name).replace("&", "?") + ("/" if kind == "directory" else "")


def _files(members: Sequence[Member]) -> Sequence[Member]:
    return [member for member in members if not member.is_directory]


class ZipSink:
    """A zip file to write to: made where there is none, else appended to.

    Args:
        path: the zip file.
        compression: "deflated" or "stored".
        level: of deflate, 0 to 9; None: the one that serves image series best.
        workers: where the blocking work is done; members are packed side by side there.
    """

    def __init__(
        self,
        path: str,
        *,
        compression: Literal["deflated", "stored"] = "deflated",
        level: int | None = None,
        workers: Workers,
    ) -> None:
        if compression not in _METHODS:
            raise ValueError(f'compression has to be "deflated" or "stored", not {compression!r}')
        if level is not None and not 0 <= level <= 9:
            raise ValueError(f"level has to be 0 to 9, not {level!r}")
        self._path = path
        self._method = _METHODS[compression]
        self._level = level
        self._workers = workers

    async def write(self, blobs: AsyncIterable[Blob], *, overwrite: bool = False) -> Receipt:
        """Add every blob as a member, in order: all of them, or no change at all.

        The old file stays as it is until the new one is complete, then takes its place at once,
        with its mode; a failed or cancelled write leaves nothing behind. Old members are copied
        as they are; with ``overwrite`` a new member takes the place of the old one of its name.
        At most one member more than there are threads is in memory.

        Raises:
            TargetExistsError: a name is there already, or comes twice, and ``overwrite`` is
                false.
            ArchiveError: the file is there and is no whole zip file; a name no zip can hold.
            NotFoundError: the directory does not exist.
            TransportError: a blob cannot be read, the file cannot be written (a full disk …), or
                another changes the zip meanwhile.
        """
        writer = ZipWriter(self._path, self._method, self._level)
        try:
            await self._workers.run(writer.begin)
            while not await self._workers.run(writer.copy_old):
                pass
            packing = _Packing(writer, self._workers, overwrite)
            await packing.all(blobs)
            await self._workers.run(writer.commit)
        except GeneratorExit:  # closed from outside: no loop to wait in
            writer.discard()
            raise
        except BaseException:
            await to_the_end(self._workers.run(writer.discard))
            raise
        return Receipt(self._path, tuple(packing.names), len(packing.names), packing.size)


class _Packing:
    """Packs blobs side by side; keeps order, and a bound on what is under way."""

    def __init__(self, writer: ZipWriter, workers: Workers, overwrite: bool) -> None:
        self.names: list[str] = []
        self.size = 0
        self._writer = writer
        self._workers = workers
        self._overwrite = overwrite
        self._most = workers.threads + 1
        self._slots = anyio.Semaphore(self._most)
        self._batches = 0
        self._failures: list[Exception] = []

    async def all(self, blobs: AsyncIterable[Blob]) -> None:
        """Pack and write all; the first error is raised as it is, not in a group."""
        async with anyio.create_task_group() as self._group:
            try:
                await self._feed(blobs)
            except Exception as error:
                self._fail(error)
        if self._failures:
            raise self._failures[0]

    async def _feed(self, blobs: AsyncIterable[Blob]) -> None:
        batch: list[Blob] = []
        held = 0
        async for blob in blobs:
            self._writer.reserve(blob.name, overwrite=self._overwrite)
            self.names.append(blob.name)
            self.size += blob.size
            if blob.size > LARGE:
                await self._send(batch)
                await self._send_large(blob)
                batch, held = [], 0
                continue
            batch.append(blob)
            held += blob.size
            if held >= _BATCH or len(batch) >= _MOST:
                await self._send(batch)
                batch, held = [], 0
        await self._send(batch)

    async def _send(self, batch: Sequence[Blob]) -> None:
        if batch:
            await self._slots.acquire()
            self._group.start_soon(self._pack, self._batches, batch)
            self._batches += 1

    async def _pack(self, index: int, batch: Sequence[Blob]) -> None:
        try:
            written = await self._workers.run(self._writer.add, index, batch)
        except Exception as error:
            self._fail(error)
        else:
            for _ in range(written):
                self._slots.release()

    async def _send_large(self, blob: Blob) -> None:
        for _ in range(self._most):  # all before it are written
            await self._slots.acquire()
        while not await self._workers.run(self._writer.add_large, blob):
            pass
        for _ in range(self._most):
            self._slots.release()

    def _fail(self, error: Exception) -> None:
        self._failures.append(error)
        self._group.cancel_scope.cancel()
