"""Scan blobs into an inventory, many side by side; received ones while the rest arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..blob import Announced, ReceivedBlob
from ..dicom.table import HeaderTable, joined
from ..offload import shares
from ..progress import Progress
from ._arrivals import Arrivals
from ._inventory import Inventory
from ._scan import Batch, Guide, Reading, Scanned, begin, finish, scan_batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from ..blob import Blob
    from ..errors import SeriesIOError
    from ..offload import Workers
    from ..progress import ProgressCallback

__all__ = ["scan"]

_PART: Final = 16  # heads that a thread takes at a time
_LAST: Final = 4  # the same, towards the end
_FEW: Final = 4  # blobs that are sooner scanned than handed to several threads
_ARRIVING: Final = 16 << 20  # bytes that are scanned, and settled, together


async def scan(
    blobs: AsyncIterable[Blob],
    workers: Workers,
    progress: ProgressCallback | None = None,
    *,
    memory: int = 0,
) -> Inventory:
    """Scan every blob's header; whatever is no DICOM image is counted, not lost.

    What is received is scanned while the rest arrives, and its pixels move to where the volume
    will be; ``memory``: bytes that those of one series may take.
    """
    scanned: list[Scanned] = []
    try:
        listed, left = await _listed(blobs, workers, Arrivals(memory), scanned)
        last = None
        if 0 < len(left) <= _FEW:
            scanned.append(await workers.run(scan_batch, left))  # it reads: no turn for that
        elif left:
            scanned.append(Scanned())
            last = await _fill(left, scanned[-1], workers, progress)
        inventory = await workers.run_alone(_merge, listed, scanned, last)
    except BaseException:
        for found in scanned:
            found.close()
        raise
    if listed:
        _tell(progress, 0, len(listed))
    return inventory


async def _listed(
    blobs: AsyncIterable[Blob], workers: Workers, arrivals: Arrivals, scanned: list[Scanned]
) -> tuple[list[Blob], Batch]:
    """All blobs, and those that are still to be scanned once all are there."""
    listed: list[Blob] = []
    left: Batch = []
    waiting: Batch = []
    guides: dict[str, Guide] = {}
    size = 0
    async for blob in blobs:
        received = isinstance(blob, ReceivedBlob) and blob.of is not None
        (waiting if received else left).append((len(listed), blob))
        listed.append(blob)
        size += blob.size if received else 0
        if size >= _ARRIVING:
            await _settle(waiting, arrivals, scanned, workers, guides)
            waiting, size = [], 0
    if waiting:
        await _settle(waiting, arrivals, scanned, workers, guides)
    return listed, left


async def _settle(
    batch: Batch,
    arrivals: Arrivals,
    scanned: list[Scanned],
    workers: Workers,
    guides: dict[str, Guide],
) -> None:
    """Scan what has arrived, and give its pixels their place."""
    for of, part in _announced(batch).items():
        guide = guides.setdefault(of.key, Guide(of.count))
        found = await workers.run_alone(scan_batch, part, guide)
        scanned.append(found)
        await workers.run(arrivals.settle, found.groups, dict(part))


def _announced(batch: Batch) -> dict[Announced, Batch]:
    """Blobs by what they were announced with."""
    parts: dict[Announced, Batch] = {}
    for index, blob in batch:
        if isinstance(blob, ReceivedBlob) and blob.of is not None:
            parts.setdefault(blob.of, []).append((index, blob))
    return parts


async def _fill(
    pending: Batch, found: Scanned, workers: Workers, progress: ProgressCallback | None
) -> Reading:
    """Scan what is there already: heads are read side by side. The last are yet to be finished."""
    total = len(pending)
    while True:
        reading = await workers.run(begin, pending, found)
        await workers.map(reading.fill, shares(len(reading), _PART, _LAST))
        if not reading.rest:
            return reading
        pending = await workers.run_alone(finish, reading)
        _tell(progress, len(pending), total)


def _tell(progress: ProgressCallback | None, left: int, total: int) -> None:
    if progress is not None:
        progress(Progress(total - left, total, "headers"))


def _merge(listed: list[Blob], scanned: list[Scanned], last: Reading | None) -> Inventory:
    """All that was scanned, once the ``last`` heads are finished."""
    if last is not None:
        finish(last)
    groups, pairs = joined([pair for part in scanned for pair in part.groups])
    where = [(i, number, row) for number, own in enumerate(pairs) for row, i in enumerate(own)]
    skipped: dict[str, list[str]] = {}
    failed: list[tuple[int, SeriesIOError]] = []
    for part in scanned:
        for index, reason in part.skipped:
            skipped.setdefault(reason, []).append(listed[index].name)
        failed += part.failed
    where.sort()
    indices = [index for index, _, _ in where]
    place = {index: row for row, index in enumerate(indices)}
    places = np.array([(group, row) for _, group, row in where], np.intp).reshape(-1, 2)
    readers = {i: reader for part in scanned for i, reader in part.readers.items()}
    for index in readers.keys() - place.keys():  # of what is no image
        readers.pop(index).close()
    return Inventory(
        HeaderTable(groups, places),
        [listed[index] for index in indices],
        {place[i]: reader for i, reader in readers.items()},
        {place[i]: data for part in scanned for i, data in part.plain.items()},
        len(listed),
        skipped,
        [(listed[index].name, error) for index, error in sorted(failed, key=lambda f: f[0])],
    )
