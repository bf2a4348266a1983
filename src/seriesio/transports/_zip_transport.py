"""A zip file as a whole: what its source and its sink do, behind one location."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ..blob import Blob, RenamedBlob
from ..errors import LocationError
from .zip import ZipSink, ZipSource

if TYPE_CHECKING:
    from ..location import Location
    from ..offload import Workers
    from ..protocols import Entry, Receipt

__all__ = ["ZipTransport"]


class ZipTransport:
    """``file.zip``, ``file.zip?directory``, ``file.zip?pattern&…``: Source, Sink, Catalogue."""

    def __init__(
        self,
        location: Location,
        workers: Workers,
        *,
        password: str | bytes | None = None,
        compression: Literal["deflated", "stored"] = "deflated",
        level: int | None = None,
    ) -> None:
        self._location = location
        self._workers = workers
        self._locked = password is not None
        self._source = ZipSource(
            location.path, location.selections, password=password, workers=workers
        )
        self._sink = ZipSink(location.path, compression=compression, level=level, workers=workers)
        self.skipped: Sequence[tuple[str, str]] = ()

    def read(self) -> AsyncIterator[Blob]:
        return self._source.read()

    def list(self) -> AsyncIterator[Entry]:
        return self._source.list()

    async def taken(self) -> frozenset[str]:
        """The members that are there already, below the directory that the location names."""
        prefix = self._prefix()
        if _names_a_file(prefix):
            return frozenset()
        if not await self._workers.run(_has_content, self._location.path):
            return frozenset()
        whole = ZipSource(self._location.path, workers=self._workers)
        names = [blob.name async for blob in whole.read()]
        return frozenset(name[len(prefix) :] for name in names if name.startswith(prefix))

    async def write(self, blobs: AsyncIterable[Blob], *, overwrite: bool = False) -> Receipt:
        """Add every blob, below the directory that the location names.

        A selection that ends in ``.dcm`` is a member: it takes one blob, whatever its name.

        Raises:
            LocationError: a pattern, or several blobs for one member.
            TypeError: a password: members are not encrypted.
        """
        if self._locked:
            raise TypeError("password= is for reading: zip files are not written encrypted")
        receipt = await self._sink.write(self._placed(blobs), overwrite=overwrite)
        prefix = self._prefix()
        start = prefix.rstrip("/").rfind("/") + 1 if _names_a_file(prefix) else len(prefix)
        names = tuple(name[start:] for name in receipt.names)
        return replace(receipt, url=str(self._location), names=names)

    async def _placed(self, blobs: AsyncIterable[Blob]) -> AsyncIterator[Blob]:
        prefix = self._prefix()
        single = _names_a_file(prefix)
        count = 0
        async for blob in blobs:
            count += 1
            if single and count > 1:
                raise LocationError(
                    f"{self._location}: is one member, and there are several files to be written"
                )
            name = prefix.rstrip("/") if single else prefix + blob.name
            yield RenamedBlob(name, blob) if prefix else blob

    def _prefix(self) -> str:
        selections = self._location.selections
        if len(selections) > 1 or any(char in "*?[" for part in selections for char in part):
            raise LocationError(f"{self._location}: one directory is written to, not a pattern")
        folder = selections[0].strip("/") if selections else ""
        return folder + "/" if folder else ""


def _has_content(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:  # nothing there, or writing will say what is wrong
        return False


def _names_a_file(prefix: str) -> bool:
    return prefix.lower().endswith(".dcm/")
