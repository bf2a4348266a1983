"""The pixel layouts of many instances: the few different ones, and which instance has which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import DicomError, InconsistentSeriesError
from .pixels import PixelLayout, pixel_layout
from .table import TAGS, decode_numbers, decode_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .table import HeaderTable

__all__ = ["Layouts", "pixel_layouts"]

_NUMBERS: Final = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
)
# What may not differ inside a series; the rest is each instance's own affair.
_SHARED: Final = ("rows", "columns", "samples", "bits_allocated", "signed", "kind")
_NAMES: Final = {
    "rows": "Rows",
    "columns": "Columns",
    "samples": "SamplesPerPixel",
    "bits_allocated": "BitsAllocated",
    "signed": "PixelRepresentation",
    "kind": "kinds of pixel data",
}
_KINDS: Final = {0x7FE00008: "float", 0x7FE00009: "double", 0x7FE00010: "integer"}


@dataclass(frozen=True, slots=True, eq=False)
class Layouts:
    """The different layouts, and for each instance which of them it has."""

    kinds: tuple[PixelLayout, ...]
    codes: NDArray[np.intp]

    def __getitem__(self, instance: int) -> PixelLayout:
        return self.kinds[int(self.codes[instance])]

    def check(self) -> None:
        """Raise InconsistentSeriesError unless all can lie in one array."""
        for name in _SHARED:
            values = sorted({str(getattr(layout, name)) for layout in self.kinds})
            if len(values) > 1:
                hint = f'; select={{"{_NAMES[name]}": {values[0]}}} picks some of them'
                raise InconsistentSeriesError(
                    f"instances of the series differ in {_NAMES[name]}: {', '.join(values)}"
                    f"{hint if values[0].isdecimal() else ''}"
                )
        colors = sorted({_meaning(layout.photometric) for layout in self.kinds})
        if len(colors) > 1:
            raise InconsistentSeriesError(
                f"instances of the series differ in PhotometricInterpretation: {', '.join(colors)}"
            )


def _meaning(photometric: str) -> str:
    return "colour" if photometric.startswith(("RGB", "YBR")) else photometric


def pixel_layouts(table: HeaderTable) -> Layouts:
    """The layouts of all instances of a table.

    Raises:
        DicomError: an instance's Image Pixel Module (PS3.3 section C.7.6.3) is nonsense.
    """
    numbers = np.stack([_numbers(table, keyword) for keyword in _NUMBERS], axis=1)
    photometric = table.column("PhotometricInterpretation")
    group = table.where[:, 0]
    codes = np.column_stack([np.nan_to_num(numbers, nan=-1), photometric.codes, group])
    first, inverse = _distinct(codes)
    kinds = []
    for index in first:
        values = [None if np.isnan(value) else int(value) for value in numbers[index]]
        kinds.append(_layout(table, index, dict(zip(_NUMBERS, values, strict=True))))
    places = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
    lookup = np.array([places[kind] for kind in kinds], np.intp)
    return Layouts(tuple(places), lookup[inverse])


def _distinct(codes: NDArray[np.float64]) -> tuple[list[int], NDArray[np.intp]]:
    """The first of each different row, and for every row which of them it equals."""
    if (codes == codes[:1]).all():
        return [0] if len(codes) else [], np.zeros(len(codes), np.intp)
    places: dict[tuple[float, ...], int] = {}
    firsts: list[int] = []
    inverse = np.empty(len(codes), np.intp)
    for row, values in enumerate(map(tuple, codes.tolist())):
        place = inverse[row] = places.setdefault(values, len(places))
        if place == len(firsts):
            firsts.append(row)
    return firsts, inverse


def _numbers(table: HeaderTable, keyword: str) -> NDArray[np.float64]:
    """(n,) whole numbers, NaN where there is none."""
    vr = TAGS[keyword][1]
    for value in table.column(keyword).values:
        if value is not None and decode_text(value):
            found = decode_numbers(value, vr, True)
            if not found or found[0] != int(found[0]):
                raise DicomError(f"{keyword} is no whole number")
    return table.numbers(keyword)[:, 0]


def _layout(table: HeaderTable, index: int, values: dict[str, int | None]) -> PixelLayout:
    group = table.groups[table.where[index, 0]]
    column = table.column("PhotometricInterpretation")
    photometric = column.values[column.codes[index]]
    kind = _KINDS.get(group.layout.tags[-1])
    if kind is None:
        raise DicomError("an instance has no pixel data")
    return pixel_layout(
        rows=values["Rows"],
        columns=values["Columns"],
        bits_allocated=values["BitsAllocated"],
        samples=values["SamplesPerPixel"],
        planar_configuration=values["PlanarConfiguration"],
        bits_stored=values["BitsStored"],
        high_bit=values["HighBit"],
        pixel_representation=values["PixelRepresentation"],
        frames=values["NumberOfFrames"],
        photometric=None if photometric is None else decode_text(photometric),
        syntax_uid=group.syntax.uid,
        kind=kind,
    )
