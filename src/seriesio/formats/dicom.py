"""DICOM, the home format: blobs to series, by scan, plan and place."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ..blob import PiecesBlob
from ..dicom.header import Header, Instance
from ..dicom.instances import WritePlan, encode_instance, plan_write
from ..dicom.plan import Plan, plan_series, volume_bytes
from ..dicom.rescale import WiderNeeded
from ..dicom.table import HeaderGroup, HeaderTable
from ..dicom.volume import Stored, Volume
from ..errors import DicomError, TooLargeError
from ..progress import Progress
from ..report import Report
from ._inventory import Inventory
from ._place import Job, Placer, jobs_for
from ._scan import Batch, Scanned, begin, finish
from ._sizes import Part, readable_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..blob import Blob, BlobReader
    from ..dicom.options import PlanOptions
    from ..dicom.pixels import PixelLayout
    from ..errors import SeriesIOError
    from ..offload import Workers
    from ..progress import ProgressCallback

__all__ = ["DicomFormat", "Inventory", "encode", "load", "scan"]

_PART: Final = 16  # heads that a thread takes at a time
_NAMES: Final = 100
_ENCODED: Final = 8 << 20


async def scan(
    blobs: AsyncIterable[Blob], workers: Workers, progress: ProgressCallback | None = None
) -> Inventory:
    """Scan every blob's header; whatever is no DICOM image is counted, not lost."""
    listed = [blob async for blob in blobs]
    pending: Batch = list(enumerate(listed))
    found = Scanned()

    def tell(left: int) -> None:
        if progress is not None:
            progress(Progress(len(listed) - left, len(listed), "headers"))

    try:
        while pending:
            reading = await workers.run(begin, pending, found)
            parts = [
                range(start, min(start + _PART, len(reading)))
                for start in range(0, len(reading), _PART)
            ]
            await workers.map(reading.fill, parts)
            pending = await workers.run(finish, reading)
            tell(len(pending))
        return await workers.run_alone(_merge, listed, [found])
    except BaseException:
        found.close()
        raise


def _merge(listed: list[Blob], scanned: list[Scanned]) -> Inventory:
    groups: list[HeaderGroup] = []
    where: list[tuple[int, int, int]] = []
    skipped: dict[str, list[str]] = {}
    failed: list[tuple[int, SeriesIOError]] = []
    for part in scanned:
        for group, indices in part.groups:
            where += [(index, len(groups), row) for row, index in enumerate(indices)]
            groups.append(group)
        for index, reason in part.skipped:
            skipped.setdefault(reason, []).append(listed[index].name)
        failed += part.failed
    where.sort()
    indices = [index for index, _, _ in where]
    place = {index: row for row, index in enumerate(indices)}
    pairs = np.array([(group, row) for _, group, row in where], np.intp).reshape(-1, 2)
    return Inventory(
        HeaderTable(groups, pairs),
        [listed[index] for index in indices],
        {place[i]: r for part in scanned for i, r in part.readers.items() if i in place},
        {place[i]: data for part in scanned for i, data in part.plain.items()},
        len(listed),
        skipped,
        [(listed[index].name, error) for index, error in sorted(failed, key=lambda f: f[0])],
    )


async def load(
    inventory: Inventory,
    rows: NDArray[np.intp],
    options: PlanOptions,
    workers: Workers,
    *,
    memory: int,
    progress: ProgressCallback | None = None,
) -> Volume:
    """Plan the instances of one series and fill its volume.

    Raises:
        SeriesError, DataError, TransportError: the series is not whole, or not readable.
    """
    part, damaged = await workers.run_alone(readable_part, inventory, rows, options.warn)
    counter = _Counter(progress, len(part.rows))
    for wide in (False, True):
        plan = await workers.run_alone(_plan, part, options, wide, memory)
        try:
            placer = await _fill(inventory, part, plan, workers, counter)
        except WiderNeeded:
            continue
        return await workers.run_alone(_volume, inventory, placer, damaged)
    raise DicomError("the values are beyond the range of 64-bit floating point numbers")


def _volume(inventory: Inventory, placer: Placer, damaged: tuple[str, ...]) -> Volume:
    """The filled volume with its header: instances in the order of their slots."""
    plan = placer.plan
    owners = plan.slots[:, 0]
    _, first = np.unique(owners, return_index=True)
    order = owners[np.sort(first)]
    place = np.empty(len(plan.table), np.intp)
    place[order] = np.arange(len(order))
    frames = plan.frames.first[owners] + plan.slots[:, 1]
    layouts = tuple(_tiled(plan, index) for index in order.tolist())
    stored = Stored(
        place[owners],
        plan.slots[:, 1],
        layouts,
        plan.values.slope[frames],
        plan.values.intercept[frames],
        placer.prints,
        sum(layout.frames for layout in layouts) == len(plan.slots),
        converted=plan.color,
    )
    header = Header(
        [
            Instance(
                plan.table.header(index),
                placer.tails.get(index, b""),
                placer.encoded.get(index),
                placer.wholes.get(index),
            )
            for index in order.tolist()
        ]
    )
    return Volume(
        placer.volume,
        header,
        plan.geometry,
        plan.axes,
        stored,
        _report(inventory, plan, len(order), damaged),
    )


def _tiled(plan: Plan, index: int) -> PixelLayout:
    """An instance's layout; of a mosaic, that of its tiles as frames."""
    layout = plan.layouts[index]
    mosaic = plan.frames.mosaics.get(index)
    if mosaic is None:
        return layout
    return replace(layout, frames=mosaic.count, rows=mosaic.rows, columns=mosaic.columns)


def _report(inventory: Inventory, plan: Plan, used: int, damaged: tuple[str, ...]) -> Report:
    unread = tuple(str(error) for _, error in inventory.failed)
    return Report(
        found=inventory.found,
        used=used,
        skipped={reason: len(names) for reason, names in inventory.skipped.items()},
        skipped_names={
            reason: tuple(names[:_NAMES]) for reason, names in inventory.skipped.items()
        },
        missing=unread + damaged + plan.missing,
        criterion=plan.criterion,
        reason=plan.reason,
        notes=plan.notes,
    )


async def encode(
    volume: Volume,
    prints: NDArray[np.uint64],
    names: Sequence[str],
    keep_uid: bool,
    workers: Workers,
) -> AsyncIterator[Blob]:
    """Yield the instances of a volume as blobs; encoded in batches, as the sink takes them.

    Raises:
        EncodeError, HeaderError: it cannot be written.
    """
    plan = await workers.run(plan_write, volume, prints, keep_uid)
    per_batch = max(1, _ENCODED // max(volume.array.nbytes // max(len(names), 1), 1))
    for start in range(0, len(names), per_batch):
        indices = range(start, min(start + per_batch, len(names)))
        for blob in await workers.run(_encoded, plan, indices, names):
            yield blob


def _encoded(plan: WritePlan, indices: range, names: Sequence[str]) -> list[Blob]:
    return [PiecesBlob(names[i], tuple(encode_instance(plan, i))) for i in indices]


def _plan(part: Part, options: PlanOptions, wide: bool, memory: int) -> Plan:
    plan = plan_series(part.table, options, wide=wide, layouts=part.layouts)
    volume_bytes(plan, memory)
    return plan


async def _fill(
    inventory: Inventory, part: Part, plan: Plan, workers: Workers, counter: _Counter
) -> Placer:
    rows = part.rows.tolist()
    local = {row: position for position, row in enumerate(rows)}
    readers = {
        local[row]: inventory.readers.pop(row) for row in list(inventory.readers) if row in local
    }
    plain = {local[row]: data for row, data in inventory.plain.items() if row in local}
    blobs = [inventory.blobs[row] for row in rows]
    try:
        placer, batches = await workers.run_alone(_prepare, plan, blobs, readers, plain)
        await workers.map(placer.run, batches, counter.count)
    finally:
        for reader in readers.values():
            reader.close()
    return placer


def _prepare(
    plan: Plan,
    blobs: Sequence[Blob],
    readers: dict[int, BlobReader],
    plain: dict[int, memoryview],
) -> tuple[Placer, list[list[Job]]]:
    try:
        volume = np.empty(plan.shape, plan.values.dtype)
    except (MemoryError, ValueError) as error:  # ValueError: more than any array can have
        raise TooLargeError(f"no memory for a volume of shape {plan.shape}") from error
    placer = Placer(plan, volume, blobs, readers, plain)
    return placer, jobs_for(plan, [blob.sequential for blob in blobs])


class _Counter:
    """Tells the progress of placing; never less than before, even where it begins anew."""

    def __init__(self, progress: ProgressCallback | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._seen: set[int] = set()

    def count(self, jobs: Sequence[Job]) -> None:
        before = len(self._seen)
        self._seen.update(job.instance for job in jobs)
        if self._progress is not None and len(self._seen) > before:
            self._progress(Progress(len(self._seen), self._total))


class DicomFormat:
    """DICOM as a :class:`~seriesio.protocols.Format`."""

    scan = staticmethod(scan)
    load = staticmethod(load)
    encode = staticmethod(encode)
