"""The steps of opening: transports, scan, which series, load, and what is told on the way."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from posixpath import dirname, splitext
from typing import TYPE_CHECKING, Any

from .errors import (
    AmbiguousSeriesError,
    DataError,
    FormatError,
    IncompleteSeriesError,
    IncompleteSeriesWarning,
    NotFoundError,
)
from .registry import format_for, open_transport
from .report import Report
from .series import Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .blob import Blob
    from .dicom.options import PlanOptions
    from .dicom.volume import Volume
    from .errors import SeriesIOError
    from .location import URL
    from .offload import Workers
    from .progress import ProgressCallback
    from .protocols import Inventory, Transport

__all__ = ["Opening", "ambiguous", "closing", "plain_report"]


@dataclass(frozen=True, slots=True)
class Opening:
    """The steps of opening that one and all have in common."""

    workers: Workers
    memory: int
    progress: ProgressCallback | None

    async def scan(self, urls: Sequence[URL], options: Mapping[str, Any]) -> Inventory:
        transports = [await open_transport(url, self.workers, options) for url in urls]
        handler = await self.workers.run(format_for, "dicom")
        async with aclosing(_chain(transports)) as blobs:
            inventory = await handler.scan(blobs, self.workers, self.progress)
        for transport in transports:
            for name, reason in transport.skipped:
                inventory.skipped.setdefault(reason, []).append(name)
        return inventory

    def parts(
        self, inventory: Inventory, select: Mapping[str, Any] | None, on_incomplete: str
    ) -> Mapping[str, NDArray[np.intp]]:
        """The series to open; raises where there is none, or damaged files are not tolerated."""
        if inventory.failed and (on_incomplete == "raise" or not inventory.images):
            raise _damaged(inventory.failed)
        parts = inventory.select(select)
        if not parts and select:
            known = [inventory.summary(uid, rows) for uid, rows in inventory.select(None).items()]
            listed = "".join(f"\n  {summary}" for summary in known)
            raise NotFoundError(f"no series has what select= asks for; there are:{listed}")
        if not parts:
            raise FormatError(f"no readable image: {_told(inventory)}")
        return parts

    async def load(self, inventory: Inventory, rows: NDArray[np.intp], plan: PlanOptions) -> Series:
        handler = await self.workers.run(format_for, "dicom")
        volume: Volume = await handler.load(
            inventory, rows, plan, self.workers, memory=self.memory, progress=self.progress
        )
        for told in _worrying(volume.report):
            warnings.warn(told, IncompleteSeriesWarning, stacklevel=4)
        if "empty" in inventory.skipped:
            volume = await self.workers.run(_with_empty_noted, volume, inventory, rows)
        return Series(volume)


def _worrying(report: Report) -> Iterator[str]:
    if report.missing:
        yield f"the series is incomplete: {'; '.join(report.missing[:5])}"
    if unreadable := report.skipped.get("unreadable", 0):
        names = ", ".join(map(repr, report.skipped_names.get("unreadable", ())[:5]))
        yield (
            "the series may be incomplete: no permission to read "
            f"{unreadable} of the files and directories that were found: {names}"
        )


def _with_empty_noted(volume: Volume, inventory: Inventory, rows: NDArray[np.intp]) -> Volume:
    """Note empty files that could be lost instances: beside those of the series, named alike."""
    kinds = {_kind(inventory.blobs[row].name) for row in rows.tolist()}
    empty = [name for name in inventory.skipped["empty"] if _kind(name) in kinds]
    if not empty:
        return volume
    names = ", ".join(map(repr, empty[:5]))
    note = f"{len(empty)} empty file(s) beside those of the series: {names}"
    return replace(volume, report=replace(volume.report, notes=(*volume.report.notes, note)))


def _kind(name: str) -> tuple[str, str]:
    """The directory and the extension of a name."""
    return dirname(name), splitext(name)[1].lower()


async def _chain(transports: Iterable[Transport]) -> AsyncGenerator[Blob, None]:
    for transport in transports:
        async with closing(transport.read()) as blobs:
            async for blob in blobs:
                yield blob


@asynccontextmanager
async def closing(blobs: AsyncIterator[Blob]) -> AsyncIterator[AsyncIterator[Blob]]:
    """Close what yields blobs, where it can be closed, as soon as nobody asks any more."""
    try:
        yield blobs
    finally:
        close = getattr(blobs, "aclose", None)
        if close is not None:
            await close()


def _damaged(failed: Sequence[tuple[str, SeriesIOError]]) -> SeriesIOError:
    """The error for files that are DICOM but damaged: the first one's, and which others."""
    _, first = failed[0]
    if len(failed) == 1:
        return first
    others = f"{first} (and damaged too: {', '.join(name for name, _ in failed[1:11])})"
    if isinstance(first, DataError):
        return type(first)(others)
    return IncompleteSeriesError(
        f"{len(failed)} files cannot be read: {others}", [str(error) for _, error in failed]
    )


def ambiguous(inventory: Inventory, parts: Mapping[str, NDArray[np.intp]]) -> AmbiguousSeriesError:
    summaries = [inventory.summary(uid, rows) for uid, rows in parts.items()]
    listed = "".join(f"\n  {summary}" for summary in summaries)
    return AmbiguousSeriesError(
        f"{len(summaries)} series are there:{listed}\n"
        'select= picks one, as select={"SeriesNumber": 4} or '
        'select={"SeriesInstanceUID": "..."}; open_all opens them all',
        summaries,
    )


def _told(inventory: Inventory) -> str:
    if not inventory.skipped:
        return "nothing was found"
    counts = (f"{len(names)} {reason}" for reason, names in sorted(inventory.skipped.items()))
    return ", ".join(counts)


def plain_report(inventory: Inventory) -> Report:
    return Report(
        found=inventory.found,
        used=inventory.images,
        skipped={reason: len(names) for reason, names in inventory.skipped.items()},
        skipped_names={r: tuple(names[:100]) for r, names in inventory.skipped.items()},
        missing=tuple(str(error) for _, error in inventory.failed),
    )
