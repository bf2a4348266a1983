"""Place: read or decode frames straight into their slots; blocking, for worker threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..blob import read_all, read_fully
from ..dicom.codecs import decode, decoded_photometric
from ..dicom.color import apply_palette, to_rgb
from ..dicom.fingerprint import fingerprint
from ..dicom.fragments import fragments
from ..dicom.pixels import finish_in_place, native_frame
from ..errors import DicomError, SeriesIOError, TooLargeError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ..blob import Blob, BlobReader
    from ..dicom.part10 import RawHeader
    from ..dicom.pixels import PixelLayout
    from ..dicom.plan import Plan

__all__ = ["Job", "Placer", "check_length", "jobs_for"]

_JOB_BYTES: Final = 8 << 20
_MAX_TAIL: Final = 64 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Frames of one instance and the slots they go to, in the order of the frames."""

    instance: int
    frames: tuple[int, ...]
    slots: tuple[int, ...]
    first: bool  # the instance's first job also takes what lies behind its pixels


@dataclass(eq=False)
class Placer:
    """One volume being filled. Jobs touch only their own slots, so they may run side by side."""

    plan: Plan
    volume: NDArray[Any]
    blobs: Sequence[Blob]
    readers: dict[int, BlobReader]
    plain: dict[int, memoryview]
    tails: dict[int, bytes] = field(default_factory=dict)
    encoded: dict[int, bytes] = field(default_factory=dict)
    wholes: dict[int, bytes] = field(default_factory=dict)
    prints: NDArray[np.uint64] = field(init=False)

    def __post_init__(self) -> None:
        shape = self.plan.frame_shape
        self.flat = self.volume.reshape(-1, *shape)
        self.prints = np.zeros(len(self.flat), np.uint64)
        self._locks = [threading.Lock() for _ in range(16)]

    def run(self, jobs: Sequence[Job]) -> None:
        """Fill the slots of some jobs.

        Raises:
            WiderNeeded: a value does not fit the volume's dtype.
            TruncatedError, DicomError, CodecError, TransportError.
        """
        for job in jobs:
            try:
                self._instance(job)
            except SeriesIOError as error:
                name = self.blobs[job.instance].name
                if name in str(error) or isinstance(error, OSError):
                    raise
                raise type(error)(f"{name}: {error}") from error

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
            self.prints[slot] = fingerprint(self.flat[slot])
        if job.first and job.instance in self.plain:
            self.wholes[job.instance] = bytes(read_all(self.blobs[job.instance]))

    def _reader(self, instance: int) -> BlobReader:
        if instance in self.plain:
            return _PlainReader(self.plain[instance])
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
            value = self.encoded.get(instance)
            if value is None:
                value = _read(reader, offset, length, self.blobs[instance].name)
                self.encoded[instance] = value
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
        name = self.blobs[instance].name
        if size - start > _MAX_TAIL:
            raise TooLargeError(f"{name}: {size - start} bytes behind the pixel data")
        # Reading to the very end also lets the reader verify checksums.
        tail = _read(reader, start, size - start, name)
        if tail:
            self.tails[instance] = tail


class _PlainReader:
    """Reads an inflated dataset that is in memory already."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def readinto(self, view: memoryview, offset: int) -> int:
        part = self._data[offset : offset + view.nbytes]
        view[: part.nbytes] = part
        return part.nbytes

    def close(self) -> None:
        self._data = memoryview(b"")


def _bytes_of(cells: NDArray[Any]) -> memoryview:
    return cells.reshape(-1).view(np.uint8).data


def _read(reader: BlobReader, offset: int, length: int, name: str) -> bytes:
    data = bytearray(length)
    read_fully(reader, memoryview(data), offset, name)
    return bytes(data)


def check_length(header: RawHeader, layout: PixelLayout, size: int, name: str) -> None:
    """Hold a native pixel value's length against header and file.

    Raises:
        TruncatedError, DicomError: it is shorter or longer than the header says.
    """
    said, needed = header.pixel_length, layout.native_length
    if said < 0:
        raise DicomError(f"{name}: uncompressed pixel data of undefined length")
    if said < needed:
        raise TruncatedError(
            f"{name}: pixel data are {needed - said} bytes short: the header says {needed} "
            f"bytes, the element has {said}"
        )
    if said > needed + (needed & 1):
        raise DicomError(
            f"{name}: pixel data are {said - needed} bytes longer than the {needed} the header says"
        )
    end = header.pixel_offset + said
    if end > size:
        raise TruncatedError(
            f"{name}: {end - size} bytes short: the file ends inside the pixel data"
        )


def jobs_for(plan: Plan, sequential: Sequence[bool]) -> list[list[Job]]:
    """All slots of a plan as jobs, in batches of some megabytes, in the order of the slots."""
    order = np.lexsort((plan.slots[:, 1], plan.slots[:, 0]))
    instances = plan.slots[order, 0]
    starts = np.flatnonzero(np.diff(instances, prepend=-1))
    ends = np.append(starts[1:], len(order))
    groups = sorted(
        (tuple(order[start:end].tolist()) for start, end in zip(starts, ends, strict=True)),
        key=min,
    )
    frame_bytes = max(int(np.prod(plan.frame_shape)) * plan.values.dtype.itemsize, 1)
    per_job = max(_JOB_BYTES // frame_bytes, 1)
    batches: list[list[Job]] = [[]]
    filled = 0
    for slots in groups:
        instance = int(plan.slots[slots[0], 0])
        step = len(slots) if sequential[instance] else per_job
        for start in range(0, len(slots), step):
            part = slots[start : start + step]
            frames = tuple(plan.slots[list(part), 1].tolist())
            if filled + len(part) > per_job and batches[-1]:
                batches.append([])
                filled = 0
            batches[-1].append(Job(instance, frames, part, start == 0))
            filled += len(part)
    return batches
