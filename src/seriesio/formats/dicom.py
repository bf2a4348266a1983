"""DICOM, the home format: blobs to series, by scan, plan and place."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..blob import PiecesBlob
from ..dicom.header import Header, Instance
from ..dicom.instances import WritePlan, encode_instance, plan_write
from ..dicom.plan import Plan, plan_series, volume_bytes
from ..dicom.rescale import WiderNeeded
from ..dicom.unread import Unread, unread
from ..dicom.volume import Stored, Volume
from ..errors import DicomError, EncodeError, TooLargeError
from ..memory import fresh
from ..progress import Progress
from ..report import Report
from ._arrivals import Arrived, arrived
from ._inventory import Inventory
from ._jobs import Job, jobs_for
from ._place import Kept, Placer, as_they_lie
from ._scanning import scan
from ._sizes import readable_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..blob import Blob
    from ..dicom.options import PlanOptions
    from ..dicom.pixels import PixelLayout
    from ..offload import Workers
    from ..progress import ProgressCallback

__all__ = ["DicomFormat", "Inventory", "encode", "load", "scan"]

_NAMES: Final = 100
_ENCODED: Final = 8 << 20


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
    options = replace(options, stack=inventory.stack_of(rows) or options.stack)
    counter = _Counter(progress, len(rows))
    for wide in (False, True):
        ready = await workers.run_alone(_prepare, inventory, rows, options, wide, memory)
        if isinstance(ready, Volume):
            return ready
        try:
            for row in rows.tolist():
                inventory.readers.pop(row, None)  # from here on they are the placer's
            if ready.arrived is not None:
                await workers.map(ready.arrived.permute, ready.arrived.parts())
            await workers.map(ready.placer.run, ready.batches, counter.count)
        except WiderNeeded:
            continue
        finally:
            ready.close()
        return await workers.run_alone(_placed, inventory, ready.placer, ready.damaged)
    raise DicomError("the values are beyond the range of 64-bit floating point numbers")


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A volume that is to be filled: all that is between the headers and the first pixel."""

    placer: Placer
    batches: list[list[Job]]
    damaged: tuple[str, ...]
    arrived: Arrived | None = None

    def close(self) -> None:
        for reader in self.placer.readers.values():
            reader.close()


def _prepare(
    inventory: Inventory,
    rows: NDArray[np.intp],
    options: PlanOptions,
    wide: bool,
    memory: int,
) -> _Ready | Volume:
    """Plan, take memory, share out the work; without pixels, this is the volume already."""
    part, damaged = readable_part(inventory, rows, options.warn)
    plan = plan_series(part.table, options, wide=wide, layouts=part.layouts)
    if options.headers_only:
        return _headers(inventory, plan, damaged)
    volume_bytes(plan, memory)
    used = part.rows.tolist()
    blobs = [inventory.blobs[row] for row in used]
    if as_they_lie(plan) and (found := arrived(plan, blobs)) is not None:
        volume, kept = found.volume(plan.shape, plan.values.dtype), Kept(tails=found.tails)
        placer = Placer(plan, volume, blobs, {}, {}, kept, arrived=True)
        return _Ready(placer, jobs_for(plan, [False] * len(blobs)), damaged, found)
    volume = _room(plan)
    readers = {i: inventory.readers[r] for i, r in enumerate(used) if r in inventory.readers}
    plain = {i: inventory.plain[row] for i, row in enumerate(used) if row in inventory.plain}
    placer = Placer(plan, volume, blobs, readers, plain)
    return _Ready(placer, jobs_for(plan, [blob.sequential for blob in blobs]), damaged)


def _room(plan: Plan) -> NDArray[Any]:
    dtype = plan.values.dtype
    try:
        return fresh(math.prod(plan.shape) * dtype.itemsize).view(dtype).reshape(plan.shape)
    except (MemoryError, ValueError) as error:  # ValueError: more than any array can have
        raise TooLargeError(f"no memory for a volume of shape {plan.shape}") from error


def _headers(inventory: Inventory, plan: Plan, damaged: tuple[str, ...]) -> Volume:
    """A volume whose voxels stay where they are."""
    array, prints = unread(plan.shape, plan.values.dtype), np.zeros(len(plan.slots), np.uint64)
    return _volume(inventory, plan, array, prints, Kept(), damaged)


def _placed(inventory: Inventory, placer: Placer, damaged: tuple[str, ...]) -> Volume:
    """The filled volume."""
    array, prints = placer.volume, placer.prints
    return _volume(inventory, placer.plan, array, prints, placer.kept, damaged)


def _volume(
    inventory: Inventory,
    plan: Plan,
    array: NDArray[Any],
    prints: NDArray[np.uint64],
    kept: Kept,
    damaged: tuple[str, ...],
) -> Volume:
    """An array with its header: instances in the order of their slots."""
    owners = plan.slots[:, 0]
    _, first = np.unique(owners, return_index=True)
    order = owners[np.sort(first)]
    place = np.empty(len(plan.table), np.intp)
    place[order] = np.arange(len(order))
    frames = plan.frames.first[owners] + plan.slots[:, 1]
    layouts = tuple(_layouts(plan, order))
    stored = Stored(
        place[owners],
        plan.slots[:, 1],
        layouts,
        plan.values.slope[frames],
        plan.values.intercept[frames],
        prints,
        sum(layout.frames for layout in layouts) == len(plan.slots),
        converted=plan.color,
    )
    header = Header(
        [
            Instance(
                raw,
                kept.tails.get(index, b""),
                kept.encoded.get(index),
                kept.wholes.get(index),
            )
            for raw, index in zip(plan.table.headers(order), order.tolist(), strict=True)
        ]
    )
    return Volume(
        array,
        header,
        plan.geometry,
        plan.axes,
        stored,
        _report(inventory, plan, len(order), damaged),
    )


def _layouts(plan: Plan, order: NDArray[np.intp]) -> Iterator[PixelLayout]:
    """The layouts of instances; of a mosaic, that of its tiles as frames."""
    kinds, mosaics = plan.layouts.kinds, plan.frames.mosaics
    for index, code in zip(order.tolist(), plan.layouts.codes[order].tolist(), strict=True):
        tiles = mosaics.get(index)
        yield (
            kinds[code]
            if tiles is None
            else replace(kinds[code], frames=tiles.count, rows=tiles.rows, columns=tiles.columns)
        )


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
    if isinstance(volume.array, Unread):
        raise EncodeError("no pixels were read (headers_only=True): there are none to write")
    plan = await workers.run(plan_write, volume, prints, keep_uid)
    per_batch = max(1, _ENCODED // max(volume.array.nbytes // max(len(names), 1), 1))
    for start in range(0, len(names), per_batch):
        indices = range(start, min(start + per_batch, len(names)))
        for blob in await workers.run(_encoded, plan, indices, names):
            yield blob


def _encoded(plan: WritePlan, indices: range, names: Sequence[str]) -> list[Blob]:
    return [PiecesBlob(names[i], tuple(encode_instance(plan, i))) for i in indices]


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
