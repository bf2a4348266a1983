"""Files and directories.

A directory is listed and its files are written in worker threads, many with one hop; single
files are looked at and written through aiofiles.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Final

import aiofiles
import anyio

from ..blob import Blob, FileBlob
from ..blob_pieces import batches, pieces_of
from ..endings import to_the_end
from ..errors import LocationError, NotFoundError, TransportError
from ..native import modified_ns
from ..protocols import Entry, Receipt
from ._file_tree import entries, mapped, tree
from ._file_writing import CHUNK, Staging, mapped_writing

if TYPE_CHECKING:
    from ..location import Location
    from ..offload import Workers

__all__ = ["FileTransport"]

_BATCH_BYTES: Final = 8 << 20
_BATCH_BLOBS: Final = 256
_FILE_SUFFIX: Final = ".dcm"


class FileTransport:
    """A path: a file or a directory tree. A Source, a Sink and a Catalogue."""

    def __init__(self, location: Location, workers: Workers) -> None:
        self._path = location.path
        self._workers = workers
        self.skipped: list[tuple[str, str]] = []

    async def read(self) -> AsyncIterator[Blob]:
        """Yield the file, or every regular file of the tree, sorted by name, each file once.

        Links are followed, loops noticed. What is no regular file (a FIFO, a socket, a broken
        link) or may not be read is not opened; ``skipped`` names it and says why.

        Raises:
            NotFoundError: no such path, or a directory tree without any file.
            TransportError: the path cannot be read, or something below it is broken.
        """
        blobs, self.skipped = await self._workers.run(_found, self._path)
        if not blobs and not self.skipped:
            raise NotFoundError(errno.ENOENT, "an empty directory", self._path)
        for blob in blobs:
            yield blob

    async def list(self) -> AsyncIterator[Entry]:
        """Yield what is directly inside a directory, sorted by name; of a file, the file.

        Raises:
            NotFoundError: no such path.
            TransportError: the path cannot be read.
        """
        for entry in await self._workers.run(entries, self._path):
            yield entry

    async def taken(self) -> frozenset[str]:
        """The names that are there already; none where a single file is to be written."""
        return await self._workers.run(_names, self._path)

    async def write(self, blobs: AsyncIterable[Blob], *, overwrite: bool = False) -> Receipt:
        """Store every blob as a file below the directory, which is made if need be.

        A path that ends in ``.dcm`` and is no directory is a file: it takes one blob, whatever
        its name. All files get their names when all are complete; a failed or cancelled write
        leaves nothing behind, and what was there as it was, under ``overwrite`` too.

        Raises:
            TargetExistsError: a name is taken and ``overwrite`` is false.
            LocationError: several blobs for one file, or a name that leads elsewhere.
            TransportError: a file cannot be written (no permission, a full disk …).
        """
        single = await self._workers.run(_names_a_file, self._path)
        root = os.path.dirname(self._path) if single else self._path
        staging = Staging(root or os.curdir, overwrite)
        store = self._store_one if single else self._store_all
        try:
            await self._workers.run(staging.begin)
            await store(staging, blobs)
            await self._workers.run(staging.commit)
        except GeneratorExit:  # closed from outside: no loop to wait in
            staging.undo()
            raise
        except BaseException as error:
            for told in await to_the_end(self._workers.run(staging.undo)):
                error.add_note(told)
            raise
        return Receipt(self._path, tuple(staging.names), len(staging.names), staging.size)

    async def _store_all(self, staging: Staging, blobs: AsyncIterable[Blob]) -> None:
        """Hand batches of blobs to the workers, a few under way at a time."""
        failures: list[Exception] = []
        slots = anyio.Semaphore(self._workers.threads)

        async def store(batch: list[Blob]) -> None:
            try:
                await self._workers.run(staging.store, batch)
            except Exception as error:
                failures.append(error)
            finally:
                slots.release()

        async def feed() -> None:
            async for batch in batches(blobs, _BATCH_BYTES, _BATCH_BLOBS):
                staging.announce(batch)
                await slots.acquire()
                if failures:
                    return
                group.start_soon(store, batch)

        async with anyio.create_task_group() as group:
            try:
                await feed()
            except Exception as error:  # raised below: not in a group
                failures.append(error)
        if failures:
            raise failures[0]

    async def _store_one(self, staging: Staging, blobs: AsyncIterable[Blob]) -> None:
        target = self._path
        async for blob in blobs:
            if staging.names:
                raise LocationError(f"{target}: is one file, and there are several to be written")
            staging.names.append(os.path.basename(target))
            staging.size = blob.size
            with mapped_writing(target):
                await self._fill(staging, target, blob)

    async def _fill(self, staging: Staging, target: str, blob: Blob) -> None:
        """Write a single file through aiofiles."""
        given_up: list[bool] = []

        async def fill() -> None:
            fd = await self._workers.run(staging.open_part, target)
            async with aiofiles.open(fd, "wb") as file:
                pieces = pieces_of(blob, CHUNK)
                try:
                    while not given_up and (piece := await self._workers.run(next, pieces, None)):
                        await file.write(piece)
                finally:
                    await self._workers.run(pieces.close)

        await to_the_end(fill(), lambda _: given_up.append(True))  # it closes what it opens


def _found(path: str) -> tuple[list[FileBlob], list[tuple[str, str]]]:
    """The file, or those of the tree; blocking."""
    with mapped(path):
        status = os.stat(path)
    if stat.S_ISREG(status.st_mode):
        name, modified = os.path.basename(path), modified_ns(status)
        return [FileBlob(name, path, status.st_size, modified=modified)], []
    if not stat.S_ISDIR(status.st_mode):
        raise TransportError(errno.EINVAL, "neither a file nor a directory", path)
    return tree(path)


def _names_a_file(path: str) -> bool:
    return path.lower().endswith(_FILE_SUFFIX) and not os.path.isdir(path)


def _names(path: str) -> frozenset[str]:
    if not os.path.isdir(path):
        return frozenset()
    with mapped(path):
        return frozenset(os.listdir(path))
