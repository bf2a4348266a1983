"""Place: read or decode frames straight into their slots; blocking, for worker threads."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..blob import MemoryBlob, ReceivedBlob, read_all, read_at, read_fully
from ..blob_spans import Wanted
from ..dicom.codecs import decode, decoded_photometric
from ..dicom.color import apply_palette, to_rgb
from ..dicom.fingerprint import column_sums, columns, fingerprints, weigh
from ..dicom.fragments import fragments
from ..dicom.one_pass import Frame, fits_one_pass, one_pass, read_one_pass
from ..dicom.pixels import finish_in_place, native_frame, unused_bits_clear
from ..errors import DicomError, SeriesIOError, TooLargeError
from ._sizes import pixel_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ..blob import Blob, BlobReader
    from ..dicom.part10 import RawHeader
    from ..dicom.pixels import PixelLayout
    from ..dicom.plan import Plan
    from ._jobs import Job

__all__ = ["Kept", "Placer", "as_they_lie"]

_MAX_TAIL: Final = 64 << 20


@dataclass(slots=True, eq=False)
class Kept:
    """What of instances' files is kept beside header and voxels, by instance.

    Attributes:
        tails: what lies behind the pixels.
        encoded: the original pixel value, where it cannot be had back from the voxels.
        wholes: whole files, of deflated datasets.
    """

    tails: dict[int, bytes] = field(default_factory=dict)
    encoded: dict[int, bytes] = field(default_factory=dict)
    wholes: dict[int, bytes] = field(default_factory=dict)


@dataclass(eq=False)
class Placer:
    """One volume being filled. Jobs touch only their own slots, so they may run side by side."""

    plan: Plan
    volume: NDArray[Any]
    blobs: Sequence[Blob]
    readers: dict[int, BlobReader]
    plain: dict[int, memoryview]
    kept: Kept = field(default_factory=Kept)
    arrived: bool = False  # the volume holds the frames already, as they came
    _unplaced: dict[int, int] = field(default_factory=dict)  # frames of received blobs
    prints: NDArray[np.uint64] = field(init=False)  # (n,) the fingerprints of filled slots

    def __post_init__(self) -> None:
        shape = self.plan.frame_shape
        self.flat = self.volume.reshape(-1, *shape)
        self.prints = np.zeros(len(self.flat), np.uint64)
        self._locks = [threading.Lock() for _ in range(16)]
        offsets = pixel_values(self.plan.table)[1]
        lengths = np.array([kind.native_length for kind in self.plan.layouts.kinds])
        self._offsets = offsets.tolist()
        self._ends = (offsets + lengths[self.plan.layouts.codes]).tolist()
        self._bytes = self.flat.reshape(-1).view(np.uint8).data
        self._frame_bytes = len(self._bytes) // max(len(self.flat), 1)
        self._together = as_they_lie(self.plan) and not self.plain
        self._differs = _differing(self.plan) if self._together else []
        self._one_pass = self._together and fits_one_pass(self.plan)
        # How many sums a fingerprint is made of; 0: it is made in one go.
        self._columns = columns(self.flat) if self._together and self.volume.itemsize < 8 else 0

    def run(self, jobs: Sequence[Job]) -> None:
        """Fill the slots of some jobs.

        Raises:
            WiderNeeded: a value does not fit the volume's dtype.
            TruncatedError, DicomError, CodecError, TransportError.
        """
        slots = sorted(slot for job in jobs for slot in job.slots)
        sums = np.empty((len(slots) if self._together else 0, self._columns), np.uint64)
        finished = self._read_finished(jobs, dict(zip(slots, sums, strict=False)))
        for job in () if finished or self.arrived else jobs:
            with self._named(self.blobs[job.instance].name):
                if self._together:
                    self._read_frames(job)
                else:
                    self._instance(job)
        if not self._together:
            return
        for first, end in self._runs(slots):
            block, own = self.flat[first:end], sums[: end - first]
            sums = sums[end - first :]
            if not finished:
                self._finish(first, end, own)
            if self._columns:  # while they are in the cache
                self.prints[first:end] = weigh(own, block)
            else:
                self.prints[first:end] = fingerprints(block)
        for job in jobs:
            self._discard(job)

    def _discard(self, job: Job) -> None:
        """Let go of received bytes whose frames are all placed, once it is sure they are right."""
        blob = self.blobs[job.instance]
        if isinstance(blob, ReceivedBlob) and self.plan.values.low is None:
            with self._locks[job.instance % len(self._locks)]:
                left = self._unplaced.get(job.instance, self.plan.layouts[job.instance].frames)
                self._unplaced[job.instance] = left - len(job.frames)
                if left == len(job.frames):
                    blob.discard()

    def _read_finished(self, jobs: Sequence[Job], sums: Mapping[int, NDArray[np.uint64]]) -> bool:
        """Read whole files' frames and finish them with one call; False: it is still to be done.

        ``sums``: where those of each slot go.
        """
        if not self._one_pass or not self._columns or self.arrived:
            return False
        wanted = [self._wanted(job) for job in jobs]
        try:
            frames = self._frames(jobs, wanted, sums)
            layout, values = self.plan.layouts[jobs[0].instance], self.plan.values
            found = None if frames is None else read_one_pass(layout, values, frames)
            for one, crc in zip(wanted, found or [], strict=False):
                with self._named(one.blob.name):
                    one.passed(crc)
        finally:
            for job, one in zip(jobs, wanted, strict=True):
                if one.reader is not None:
                    self.readers[job.instance] = one.reader
        if found is None:
            return False
        for job in jobs:
            if (reader := self.readers.pop(job.instance, None)) is not None:
                reader.close()
        return True

    def _wanted(self, job: Job) -> Wanted:
        """The first frame of a job: its bytes in the file, and its slot."""
        instance, blob = job.instance, self.blobs[job.instance]
        reader = self.readers.pop(instance, None)
        return Wanted(blob, reader, self._cells(job.slots[0]), self._offsets[instance])

    def _frames(
        self,
        jobs: Sequence[Job],
        wanted: Sequence[Wanted],
        sums: Mapping[int, NDArray[np.uint64]],
    ) -> list[Frame] | None:
        """Frames that are the last, and the only, of their files, and alike; else None."""
        codes = self.plan.layouts.codes[[job.instance for job in jobs]]
        if (codes != codes[0]).any():  # one layout says what values all of them may have
            return None
        frames: list[Frame] = []
        for job, one in zip(jobs, wanted, strict=True):
            span = one.span()
            whole = self._ends[job.instance] == one.blob.size
            if span is None or not whole or job.frames != (0,):
                return None
            number = self._frame(job.instance, 0)
            frames.append(Frame(span, number, sums[job.slots[0]].data))
        return frames

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Have errors say which blob they are about."""
        try:
            yield
        except SeriesIOError as error:
            if name in str(error) or isinstance(error, OSError):
                raise
            raise type(error)(f"{name}: {error}") from error

    def _read_frames(self, job: Job) -> None:
        """Read stored values straight into their slots, to be finished with others."""
        instance = job.instance
        blob, start = self.blobs[instance], self._offsets[instance]
        whole = self._ends[instance] == blob.size  # nothing lies behind the pixels
        if whole and len(job.slots) == 1 and not blob.sequential and not job.frames[0]:
            view = self._cells(job.slots[0])
            if read_at(blob, view, start) == view.nbytes:
                return
        self._read_with(self._reader(instance), job, blob.name)

    def _cells(self, slot: int) -> memoryview:
        """The bytes of a slot."""
        return self._bytes[slot * self._frame_bytes : (slot + 1) * self._frame_bytes]

    def _read_with(self, reader: BlobReader, job: Job, name: str) -> None:
        instance = job.instance
        layout, offset = self.plan.layouts[instance], self._offsets[instance]
        try:
            for frame, slot in zip(job.frames, job.slots, strict=True):
                start = offset + frame * layout.frame_bytes
                read_fully(reader, self._cells(slot), start, name)
            if job.first:
                self._tail(instance, reader, self._ends[instance], self._size(instance))
        finally:
            reader.close()

    def _runs(self, slots: Sequence[int]) -> list[tuple[int, int]]:
        """Neighbouring slots whose stored values mean the same, as (first, end)."""
        starts = [
            place
            for place, slot in enumerate(slots)
            if place == 0 or slot != slots[place - 1] + 1 or self._differs[slot]
        ]
        ends = [*starts[1:], len(slots)]
        return [(slots[a], slots[b - 1] + 1) for a, b in zip(starts, ends, strict=True)]

    def _finish(self, first: int, end: int, sums: NDArray[np.uint64]) -> None:
        """Stored values to values, for many slots with single calls; and their sums."""
        plan = self.plan
        instance, number = plan.slots[first].tolist()
        block = self.flat[first:end]
        cells = block if block.dtype == plan.values.stored else block.view(plan.values.stored)
        layout, little = plan.layouts[instance], self._little(instance)
        frame = self._frame(instance, number)
        if self._one_pass and self._columns and one_pass(cells, layout, plan.values, frame, sums):
            return
        owners = plan.slots[first:end, 0].tolist()
        if self.arrived and not unused_bits_clear(cells, layout):
            for owner, cell in zip(owners, cells, strict=True):  # there will be no other source
                self.kept.encoded[owner] = cell.tobytes()
        if finish_in_place(cells, layout, little) and not self.arrived:
            for owner in set(owners):
                self._keep_original(owner)
        plan.values.apply(cells, block, frame)
        if self._columns:
            column_sums(block, sums)

    def _little(self, instance: int) -> bool:
        return self.plan.table.little(instance)

    def _keep_original(self, instance: int) -> None:
        length = self.plan.layouts[instance].native_length
        reader = self._reader(instance)
        try:
            self._value(instance, reader, self._offsets[instance], length)
        finally:
            reader.close()

    def _instance(self, job: Job) -> None:
        header = self.plan.table.header(job.instance)
        layout = self.plan.layouts[job.instance]
        reader = self._reader(job.instance)
        try:
            if header.syntax.encapsulated:
                self._encapsulated(job, header, layout, reader)
            else:
                self._native(job, header, layout, reader)
        finally:
            reader.close()
        for slot in job.slots:
            self.prints[slot] = fingerprints(self.flat[slot : slot + 1])[0]
        if job.first and job.instance in self.plain:
            self.kept.wholes[job.instance] = bytes(read_all(self.blobs[job.instance]))

    def _reader(self, instance: int) -> BlobReader:
        if instance in self.plain:
            return MemoryBlob(self.blobs[instance].name, self.plain[instance]).open()
        return self.readers.pop(instance, None) or self.blobs[instance].open()

    def _size(self, instance: int) -> int:
        plain = self.plain.get(instance)
        return self.blobs[instance].size if plain is None else plain.nbytes

    def _native(self, job: Job, header: RawHeader, layout: PixelLayout, reader: BlobReader) -> None:
        offset, size = header.pixel_offset, self._size(job.instance)
        values, name = self.plan.values, self.blobs[job.instance].name
        altered = False
        tiled = job.instance in self.plan.frames.mosaics
        if layout.direct and not tiled and not self.plan.converted(job.instance):
            for frame, slot in zip(job.frames, job.slots, strict=True):
                place = self.flat[slot]
                cells = place if values.in_place else np.empty(place.shape, values.stored)
                cells = cells.view(values.stored)
                start = offset + layout.frame_span(frame)[0]
                read_fully(reader, _bytes_of(cells), start, name)
                altered |= finish_in_place(cells, layout, header.syntax.little)
                values.apply(cells, place, self._frame(job.instance, frame))
        else:
            self._indirect(job, header, layout, reader)
        if altered or not values.exact:
            self._value(job.instance, reader, offset, layout.native_length)
        if job.first:
            self._tail(job.instance, reader, offset + layout.native_length, size)

    def _value(self, instance: int, reader: BlobReader, offset: int, length: int) -> bytes:
        """The original pixel value, read once for all jobs of an instance and kept."""
        with self._locks[instance % len(self._locks)]:
            value = self.kept.encoded.get(instance)
            if value is None:
                value = _read(reader, offset, length, self.blobs[instance].name)
                self.kept.encoded[instance] = value
        return value

    def _indirect(
        self, job: Job, header: RawHeader, layout: PixelLayout, reader: BlobReader
    ) -> None:
        """Frames whose bytes are not their array's: bits, planes, tiles, colours to convert."""
        value = self._value(job.instance, reader, header.pixel_offset, layout.native_length)
        little, words = header.syntax.little, header.layout.vrs[-1] == "OW"
        self._spread(job, lambda frame: native_frame(value, layout, frame, little, words=words))

    def _encapsulated(
        self, job: Job, header: RawHeader, layout: PixelLayout, reader: BlobReader
    ) -> None:
        name = self.blobs[job.instance].name
        if header.pixel_length >= 0:
            raise DicomError(
                f"{name}: wrong transfer syntax: {header.syntax.uid} is compressed, but the pixel "
                "data have a defined length"
            )
        offset, size = header.pixel_offset, self._size(job.instance)
        value = self._value(job.instance, reader, offset, size - offset)
        parts = fragments(value, layout, header.raw(0x7FE00001), header.raw(0x7FE00002))
        self._spread(job, lambda frame: decode(parts[frame], layout))

    def _spread(self, job: Job, decoded: Callable[[int], NDArray[Any]]) -> None:
        """Decoded frames, or the tiles of the one that there is, into their slots."""
        mosaic = self.plan.frames.mosaics.get(job.instance)
        if mosaic is not None:
            decoded = partial(mosaic.tile, decoded(0))
        for frame, slot in zip(job.frames, job.slots, strict=True):
            self._mean(decoded(frame), job.instance, frame, slot)

    def _mean(self, cells: NDArray[Any], instance: int, frame: int, slot: int) -> None:
        """From stored values to values, colours included, into a slot."""
        plan, place = self.plan, self.flat[slot]
        if plan.lookup is not None:
            place[...] = apply_palette(cells, plan.lookup.table, plan.lookup.first)
            return
        if plan.converted(instance):
            layout = plan.layouts[instance]
            cells = to_rgb(cells, decoded_photometric(layout), layout.bits_stored)
        plan.values.apply(np.ascontiguousarray(cells), place, self._frame(instance, frame))

    def _frame(self, instance: int, number: int) -> int:
        return int(self.plan.frames.first[instance]) + number

    def _tail(self, instance: int, reader: BlobReader, start: int, size: int) -> None:
        """Keep what lies behind the pixels: a padding byte, trailing elements."""
        if size == start:
            return
        name = self.blobs[instance].name
        if size - start > _MAX_TAIL:
            raise TooLargeError(f"{name}: {size - start} bytes behind the pixel data")
        # Reading to the very end also lets the reader verify checksums.
        self.kept.tails[instance] = _read(reader, start, size - start, name)


def as_they_lie(plan: Plan) -> bool:
    """True if every frame's bytes are its slot's, but for what is done to them in place."""
    return (
        plan.values.in_place
        and plan.values.exact
        and plan.lookup is None
        and not plan.frames.mosaics
        and all(kind.direct and not _recoloured(plan, kind) for kind in plan.layouts.kinds)
    )


def _recoloured(plan: Plan, layout: PixelLayout) -> bool:
    return plan.color and layout.photometric.startswith("YBR")


def _differing(plan: Plan) -> list[bool]:
    """For each slot: do its stored values mean something else than those of the one before?"""
    owners = plan.slots[:, 0]
    frames = plan.frames.first[owners] + plan.slots[:, 1]
    keys = np.stack(
        [
            plan.values.slope[frames],
            plan.values.intercept[frames],
            plan.layouts.codes[owners],
        ]
    )
    changes = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    return [True, *changes.tolist()]


def _bytes_of(cells: NDArray[Any]) -> memoryview:
    return cells.reshape(-1).view(np.uint8).data


def _read(reader: BlobReader, offset: int, length: int, name: str) -> bytes:
    data = bytearray(length)
    read_fully(reader, memoryview(data), offset, name)
    return bytes(data)
