"""Tables that stored values are looked up in: palettes, and the modality LUT.

Sources: PS3.3 sections C.7.6.3.1.5 and C.7.6.3.1.6 (palettes), C.11.1 (Modality LUT).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import DicomError, InconsistentSeriesError
from .color import palette_table
from .sequences import flat_items
from .table import TAGS, decode_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .layouts import Layouts
    from .table import HeaderTable

__all__ = ["Lookup", "lookup_table"]

_COLOURS: Final = ("Red", "Green", "Blue")
_DESCRIPTOR, _DATA = 0x00283002, 0x00283006


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """A table of (entries,) grey values or (entries, 3) colours.

    ``first`` is the stored value of its first entry; what lies beyond its ends gets those.
    """

    table: NDArray[Any]
    first: int


def lookup_table(table: HeaderTable, layouts: Layouts) -> Lookup | None:
    """The one table of a series; None where values are by slope and intercept.

    Raises:
        DicomError: a table that cannot be.
        InconsistentSeriesError: the instances have several.
    """
    signed = layouts.kinds[0].signed
    if layouts.kinds[0].photometric == "PALETTE COLOR":
        return _palette(table, signed)
    column = table.column("ModalityLUTSequence")
    if not any(column.values):
        return None
    if len(column.values) > 1:
        raise InconsistentSeriesError("instances of the series differ in ModalityLUTSequence")
    if layouts.kinds[0].kind != "integer" or layouts.kinds[0].samples > 1:
        raise DicomError("ModalityLUTSequence belongs to whole grey values")
    return _modality(table, bytes(column.values[0] or b""), signed)


def _modality(table: HeaderTable, value: bytes, signed: bool) -> Lookup | None:
    syntax = table.groups[int(table.where[0, 0])].syntax
    items = flat_items(memoryview(value), syntax)
    if not items:
        return None
    descriptor = _whole(items[0].get(_DESCRIPTOR), syntax.little)
    data = items[0].get(_DATA, b"")
    colours = palette_table([descriptor] * 3, [data] * 3, little=syntax.little)
    return Lookup(np.ascontiguousarray(colours[:, 0]), _first(descriptor, signed))


def _palette(table: HeaderTable, signed: bool) -> Lookup:
    raw = {keyword: _only(table, keyword) for keyword in TAGS if "PaletteColor" in keyword}
    segmented = raw["RedPaletteColorLookupTableData"] is None
    prefix = "Segmented" if segmented else ""
    descriptors = [_whole(raw[f"{c}PaletteColorLookupTableDescriptor"], True) for c in _COLOURS]
    data = [raw[f"{prefix}{c}PaletteColorLookupTableData"] or b"" for c in _COLOURS]
    colours = palette_table(descriptors, data, segmented=segmented)
    return Lookup(colours, _first(descriptors[0], signed))


def _only(table: HeaderTable, keyword: str) -> bytes | None:
    """An attribute that has to be the same in all instances."""
    column = table.column(keyword)
    if len(column.values) > 1:
        raise InconsistentSeriesError(f"instances of the series differ in {keyword}")
    return column.values[0]


def _whole(value: bytes | None, little: bool) -> list[int]:
    return [int(number) for number in decode_numbers(value, "US", little)]


def _first(descriptor: list[int], signed: bool) -> int:
    """The first stored value that is mapped: signed as the pixels are (US or SS)."""
    first = descriptor[1]
    return first - 0x10000 if signed and first > 0x7FFF else first
