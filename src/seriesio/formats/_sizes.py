"""Are files as long as their headers say? Asked before any memory is taken for pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..dicom.layouts import Layouts, pixel_layouts
from ..dicom.table import HeaderTable
from ..errors import DataError, DicomError, TooLargeError, TruncatedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..blob import Blob
    from ..dicom.part10 import RawHeader
    from ..dicom.pixels import PixelLayout
    from ._inventory import Inventory

__all__ = ["Part", "check_length", "pixel_values", "readable_part"]

_RATIO: Final = 5000  # no codec of ours packs more to one than that


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The instances of one series whose files are as long as they should be."""

    rows: NDArray[np.intp]
    table: HeaderTable
    layouts: Layouts


def readable_part(
    inventory: Inventory, rows: NDArray[np.intp], warn: bool
) -> tuple[Part, tuple[str, ...]]:
    """The instances of a series, and what is wrong with those that had to be left out.

    Raises:
        TruncatedError, DicomError, TooLargeError: a file is not as long as its header says, and
            ``warn`` is false or none is left.
    """
    table = inventory.table
    if len(rows) != len(table):
        table = table.subset(rows)
    layouts = pixel_layouts(table)
    wrong = _wrong_sizes(inventory, rows, table, layouts)
    if wrong and (not warn or len(wrong) == len(rows)):
        raise _first_of(list(wrong.values()))
    if wrong:
        rows = np.delete(rows, list(wrong))
        table = inventory.table.subset(rows)
        layouts = pixel_layouts(table)
    return Part(rows, table, layouts), tuple(str(error) for error in wrong.values())


def _first_of(errors: list[DataError]) -> DataError:
    if len(errors) == 1:
        return errors[0]
    return type(errors[0])(f"{errors[0]} (and {len(errors) - 1} more files are damaged)")


def _wrong_sizes(
    inventory: Inventory, rows: NDArray[np.intp], table: HeaderTable, layouts: Layouts
) -> dict[int, DataError]:
    """The instances whose pixel data are not as long as they should be, before memory is taken.

    All of them are looked at side by side; the few suspects then tell what is wrong.
    """
    sizes = np.array([_size(inventory, row) for row in rows.tolist()], np.float64)
    said, offsets = pixel_values(table)
    needed = np.array([float(kind.native_length) for kind in layouts.kinds])[layouts.codes]
    native = np.array([kind.native for kind in layouts.kinds])[layouts.codes]
    fitting = (said >= needed) & (said <= needed + needed % 2) & (offsets + said <= sizes)
    good = np.where(native, fitting, needed <= sizes * _RATIO)
    wrong: dict[int, DataError] = {}
    for place in np.flatnonzero(~good).tolist():
        blob, layout = inventory.blobs[rows[place]], layouts[place]
        try:
            if layout.native:
                check_length(table.header(place), layout, int(sizes[place]), blob.name)
            else:
                _check_ratio(layout, blob)
        except DataError as error:
            wrong[place] = error
    return wrong


def _size(inventory: Inventory, row: int) -> int:
    plain = inventory.plain.get(row)
    return inventory.blobs[row].size if plain is None else plain.nbytes


def _check_ratio(layout: PixelLayout, blob: Blob) -> None:
    """Refuse headers that promise more pixels than their file could hold."""
    if layout.native_length > blob.size * _RATIO:
        raise TooLargeError(
            f"{blob.name}: the header announces {layout.native_length} bytes of pixels, "
            f"the file has {blob.size}"
        )


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


def pixel_values(table: HeaderTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) announced length of each instance's pixel value, and where it begins."""
    lengths, offsets = np.empty((2, len(table)), np.int64)
    for number in table.used:
        group, mine = table.groups[number], table.where[:, 0] == number
        members = table.where[mine, 1]
        lengths[mine] = group.lengths[members, -1]
        offsets[mine] = group.offsets[members, -1]
    return lengths, offsets
