"""The voxels of a NIfTI file as an array: read, mapped, scaled."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from ...blob import FileBlob, RenamedBlob
from ...dicom.pixel_layout import LITTLE_HOST, PixelLayout
from ...dicom.rescale import ValuePlan, WiderNeeded, plan_values
from ...errors import DataError, DicomError, TooLargeError, TransportError
from ..guest.streams import GZIP_RATIO, PackedStream, Stream, open_stream
from .header import SCALARS

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from ...blob import Blob
    from .header import NiftiHeader

__all__ = ["Voxels", "read_voxels"]

_BLOCK: Final = 4 << 20  # bytes read, then computed on while they are in the cache
_SKIP: Final = 1 << 20
_NOT_MAPPED: Final = "mmap=True: the file's bytes are not the values; they were read"
_FURTHEST: Final = 64 << 20  # bytes that are unpacked only to be left out


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """What was read.

    Attributes:
        array: further axes with more than one index, slice, row, column (and rgb).
        color: the last axis is (red, green, blue).
        notes: what a careful reader should know.
    """

    array: NDArray[Any] = field(repr=False)
    color: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Where the scalars of a file are and what they become."""

    blob: Blob
    header: NiftiHeader
    count: int
    values: ValuePlan

    @property
    def nbytes(self) -> int:
        return self.count * self.values.stored.itemsize

    @property
    def swapped(self) -> bool:
        return self.header.little != LITTLE_HOST and self.values.stored.itemsize > 1


def read_voxels(
    blob: Blob,
    header: NiftiHeader,
    *,
    memory: int,
    mmap: bool = False,
    rescale: bool = True,
    dtype: DTypeLike | None = None,
) -> Voxels:
    """Read the voxels of a file (that of the header, or the other one of a pair).

    ``mmap``: map an uncompressed file copy-on-write instead of reading it, where its bytes are
    the values; a note says where they are not.

    Raises:
        DataError: fewer bytes than the header says, damaged, or values that no number holds.
        EncodeError: ``dtype`` does not hold the values.
        TooLargeError: more than ``memory``.
        TransportError: it cannot be read.
    """
    for wide in (False, True):
        cells = _cells(blob, header, rescale, wide, dtype)
        mapped = _mapped(cells) if mmap else None
        if mapped is not None:
            return _shaped(mapped, header, ())
        notes: tuple[str, ...] = (_NOT_MAPPED,) if mmap else ()
        try:
            flat, left = _read(cells, memory)
        except WiderNeeded:
            continue
        if left:
            notes += (f"{left} bytes behind the voxels were left out",)
        return _shaped(flat, header, notes)
    raise DataError(f"{blob.name}: scaled values are beyond the range of numbers")


def _cells(
    blob: Blob, header: NiftiHeader, rescale: bool, wide: bool, dtype: DTypeLike | None
) -> _Cells:
    scalar, per_voxel = SCALARS[header.datatype]
    scaled = rescale and header.scaled
    slope, inter = (header.slope, header.inter) if scaled else (1.0, 0.0)
    stored = np.dtype(scalar)
    if scaled and stored in (np.int64, np.uint64):
        wide = True  # what could overflow is not hoped for
    layouts = [_scalar_layout(stored)]
    try:
        asked = dtype if per_voxel == 1 else None
        values = plan_values(layouts, np.array([slope]), np.array([inter]), dtype=asked, wide=wide)
    except DicomError:
        raise DataError(f"{blob.name}: scl_slope or scl_inter is too large") from None
    return _Cells(blob, header, math.prod(header.dims) * per_voxel, values)


def _scalar_layout(stored: np.dtype[Any]) -> PixelLayout:
    """A single value, for the arithmetic that DICOM's values have too."""
    bits = 8 * stored.itemsize
    kind = "integer" if stored.kind in "iu" else {32: "float", 64: "double"}[bits]
    return PixelLayout(
        *(1, 1, 1, 1, False, bits, bits, bits - 1),
        signed=stored.kind == "i",
        photometric="MONOCHROME2",
        kind=kind,
        syntax_uid="1.2.840.10008.1.2.1",
    )


def _read(cells: _Cells, memory: int) -> tuple[NDArray[Any], int]:
    """(count,) the values, and how many bytes were behind them."""
    _check_memory(cells, memory)
    stream = open_stream(cells.blob)
    try:
        _check_size(cells, isinstance(stream, PackedStream))
        flat = _allocated(cells)
        _skip(stream, cells)
        _fill(flat, stream, cells)
        return flat, stream.finish()
    finally:
        stream.close()


def _check_memory(cells: _Cells, memory: int) -> None:
    needed = max(cells.count * cells.values.dtype.itemsize, cells.nbytes)
    if needed > memory:
        raise TooLargeError(
            f"{cells.blob.name}: a volume of {needed} bytes is more than the limit of {memory}"
        )


def _check_size(cells: _Cells, packed: bool) -> None:
    """Hold what the header announces against the file, before memory is taken for it."""
    if packed and cells.header.offset > _FURTHEST:
        raise TooLargeError(f"{cells.blob.name}: {cells.header.offset} bytes before the voxels")
    end = cells.header.offset + cells.nbytes
    most = cells.blob.size * (GZIP_RATIO if packed else 1)
    if end > most:
        _short(cells, end - most, "at least " if packed else "")


def _short(cells: _Cells, missing: int, least: str = "") -> NoReturn:
    raise DataError(
        f"{cells.blob.name}: {least}{missing} bytes short: the header says {cells.nbytes} bytes of "
        f"voxels from byte {cells.header.offset} on"
    )


def _allocated(cells: _Cells) -> NDArray[Any]:
    try:
        return np.empty(cells.count, cells.values.dtype)
    except (MemoryError, ValueError) as error:  # ValueError: more than any array can have
        raise TooLargeError(f"{cells.blob.name}: no memory for {cells.count} values") from error


def _skip(stream: Stream, cells: _Cells) -> None:
    """Go to the first voxel."""
    scratch = memoryview(bytearray(min(cells.header.offset, _SKIP)))
    left = cells.header.offset
    while left:
        count = stream.readinto(scratch[:left])
        left -= count
        if not count:
            _short(cells, left + cells.nbytes)


def _fill(flat: NDArray[Any], stream: Stream, cells: _Cells) -> None:
    """Read the values, and swap and scale them where they are, some megabytes at a time."""
    values = cells.values
    as_stored = values.identity and not cells.swapped
    step = cells.count if as_stored else _BLOCK // values.stored.itemsize
    scratch = None if values.in_place else np.empty(min(step, cells.count), values.stored)
    for start in range(0, cells.count, step):
        slot = flat[start : start + step]
        part = slot if scratch is None else scratch[: slot.size]
        if part.dtype != values.stored:
            part = part.view(values.stored)
        count = stream.readinto(part.view(np.uint8).data)
        if count < part.nbytes:
            _short(cells, cells.nbytes - start * values.stored.itemsize - count)
        if cells.swapped:
            part.byteswap(inplace=True)
        if not values.identity:
            with np.errstate(invalid="ignore"):  # values that are no numbers stay so
                values.apply(part, slot, 0)


def _mapped(cells: _Cells) -> NDArray[Any] | None:
    """(count,) the values where they are in the file; None if they are not there as such."""
    blob = cells.blob
    while isinstance(blob, RenamedBlob):
        blob = blob.blob
    if not isinstance(blob, FileBlob) or cells.swapped or not cells.values.identity:
        return None
    stream = open_stream(blob)
    stream.close()
    if isinstance(stream, PackedStream):
        return None
    _check_size(cells, packed=False)
    try:
        return np.asarray(
            np.memmap(
                blob.path,
                cells.values.stored,
                mode="c",
                offset=blob.offset + cells.header.offset,
                shape=(cells.count,),
            )
        )
    except OSError as error:
        raise TransportError(error.errno, f"cannot map: {error.strerror}", blob.path) from error
    except (ValueError, OverflowError) as error:
        raise TransportError(f"{blob.name}: cannot be mapped: {error}") from error


def _shaped(flat: NDArray[Any], header: NiftiHeader, notes: tuple[str, ...]) -> Voxels:
    per_voxel = SCALARS[header.datatype][1]
    further = [size for size in header.further if size > 1]
    shape = (*reversed(further), *reversed(header.dims[:3]))
    if per_voxel == 1:
        return Voxels(flat.reshape(shape), False, notes)
    if per_voxel == 2:
        return Voxels(flat.view(f"c{2 * flat.itemsize}").reshape(shape), False, notes)
    array = flat.reshape(*shape, per_voxel)
    if per_voxel == 4:
        array = np.ascontiguousarray(array[..., :3])
        notes += ("the fourth channel (alpha) was left out",)
    return Voxels(array, True, notes)
