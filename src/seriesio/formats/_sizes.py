"""Are files as long as their headers say? Asked before any memory is taken for pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..dicom.layouts import Layouts, pixel_layouts
from ..dicom.table import HeaderTable
from ..errors import DataError, TooLargeError
from ._place import check_length, pixel_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..blob import Blob
    from ..dicom.pixels import PixelLayout
    from ._inventory import Inventory

__all__ = ["Part", "readable_part"]

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
