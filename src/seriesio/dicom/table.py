"""Headers of many instances as columns: one attribute of all of them at once.

Attributes come out of the raw bytes only when asked for, and a value that all instances share
is decoded once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from struct import calcsize, unpack_from
from typing import TYPE_CHECKING, Final

import numpy as np

from .part10 import PIXEL_TAGS, RawHeader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .part10 import Layout, Syntax

__all__ = [
    "TAGS",
    "Column",
    "HeaderGroup",
    "HeaderTable",
    "decode_numbers",
    "decode_text",
    "joined",
]

# The attributes that sorting, geometry and placing read: keyword → (tag, VR), PS3.6 chapter 6.
TAGS: Final[dict[str, tuple[int, str]]] = {
    "MediaStorageSOPClassUID": (0x00020002, "UI"),
    "SpecificCharacterSet": (0x00080005, "CS"),
    "ImageType": (0x00080008, "CS"),
    "SOPClassUID": (0x00080016, "UI"),
    "SOPInstanceUID": (0x00080018, "UI"),
    "AcquisitionDate": (0x00080022, "DA"),
    "ContentDate": (0x00080023, "DA"),
    "AcquisitionDateTime": (0x0008002A, "DT"),
    "AcquisitionTime": (0x00080032, "TM"),
    "ContentTime": (0x00080033, "TM"),
    "Modality": (0x00080060, "CS"),
    "Manufacturer": (0x00080070, "LO"),
    "SeriesDescription": (0x0008103E, "LO"),
    "ScanningSequence": (0x00180020, "CS"),
    "SliceThickness": (0x00180050, "DS"),
    "RepetitionTime": (0x00180080, "DS"),
    "EchoTime": (0x00180081, "DS"),
    "InversionTime": (0x00180082, "DS"),
    "EchoNumbers": (0x00180086, "IS"),
    "SpacingBetweenSlices": (0x00180088, "DS"),
    "TriggerTime": (0x00181060, "DS"),
    "FlipAngle": (0x00181314, "DS"),
    "DiffusionBValue": (0x00189087, "FD"),
    "DiffusionGradientOrientation": (0x00189089, "FD"),
    "FrameAcquisitionDateTime": (0x00189074, "DT"),
    "EffectiveEchoTime": (0x00189082, "FD"),
    "InversionTimes": (0x00189079, "FD"),
    "FrameReferenceDateTime": (0x00189151, "DT"),
    "NominalCardiacTriggerDelayTime": (0x00209153, "FD"),
    "StudyInstanceUID": (0x0020000D, "UI"),
    "SeriesInstanceUID": (0x0020000E, "UI"),
    "SeriesNumber": (0x00200011, "IS"),
    "AcquisitionNumber": (0x00200012, "IS"),
    "InstanceNumber": (0x00200013, "IS"),
    "ImagePositionPatient": (0x00200032, "DS"),
    "ImageOrientationPatient": (0x00200037, "DS"),
    "FrameOfReferenceUID": (0x00200052, "UI"),
    "TemporalPositionIdentifier": (0x00200100, "IS"),
    "SliceLocation": (0x00201041, "DS"),
    "StackID": (0x00209056, "SH"),
    "TemporalPositionIndex": (0x00209128, "UL"),
    "DimensionIndexValues": (0x00209157, "UL"),
    "SamplesPerPixel": (0x00280002, "US"),
    "PhotometricInterpretation": (0x00280004, "CS"),
    "PlanarConfiguration": (0x00280006, "US"),
    "NumberOfFrames": (0x00280008, "IS"),
    "Rows": (0x00280010, "US"),
    "Columns": (0x00280011, "US"),
    "PixelSpacing": (0x00280030, "DS"),
    "ImagerPixelSpacing": (0x00181164, "DS"),
    "BitsAllocated": (0x00280100, "US"),
    "BitsStored": (0x00280101, "US"),
    "HighBit": (0x00280102, "US"),
    "PixelRepresentation": (0x00280103, "US"),
    "RescaleIntercept": (0x00281052, "DS"),
    "RescaleSlope": (0x00281053, "DS"),
    "ModalityLUTSequence": (0x00283000, "SQ"),
    "RedPaletteColorLookupTableDescriptor": (0x00281101, "US"),
    "GreenPaletteColorLookupTableDescriptor": (0x00281102, "US"),
    "BluePaletteColorLookupTableDescriptor": (0x00281103, "US"),
    "RedPaletteColorLookupTableData": (0x00281201, "OW"),
    "GreenPaletteColorLookupTableData": (0x00281202, "OW"),
    "BluePaletteColorLookupTableData": (0x00281203, "OW"),
    "SegmentedRedPaletteColorLookupTableData": (0x00281221, "OW"),
    "SegmentedGreenPaletteColorLookupTableData": (0x00281222, "OW"),
    "SegmentedBluePaletteColorLookupTableData": (0x00281223, "OW"),
    "SharedFunctionalGroupsSequence": (0x52009229, "SQ"),
    "PerFrameFunctionalGroupsSequence": (0x52009230, "SQ"),
    "ExtendedOffsetTable": (0x7FE00001, "OV"),
    "ExtendedOffsetTableLengths": (0x7FE00002, "OV"),
}

_BINARY: Final = {
    "US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d",
}  # fmt: skip
_GATHER_LIMIT: Final = 1 << 8


def decode_text(value: bytes | memoryview | None) -> str:
    """An ASCII string without its padding; "" for a missing one."""
    return bytes(value or b"").rstrip(b"\0 ").lstrip(b" ").decode("latin-1")


def decode_numbers(value: bytes | memoryview | None, vr: str, little: bool) -> tuple[float, ...]:
    """The numbers of a value; () for an empty, missing or unreadable one."""
    if not value:
        return ()
    if code := _BINARY.get(vr):
        count = len(value) // calcsize(f"<{code}")
        found = unpack_from(f"{'<' if little else '>'}{count}{code}", value)
    else:
        try:
            found = tuple(float(part) for part in bytes(value).rstrip(b"\0 ").split(b"\\"))
        except ValueError:
            return ()
    return found if all(map(math.isfinite, found)) else ()


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One attribute of n instances or frames: its different values, and who has which."""

    values: list[bytes | None]
    codes: NDArray[np.intp]

    @property
    def constant(self) -> bool:
        return len(self.values) <= 1

    def take(self, indices: NDArray[np.intp]) -> Column:
        return Column(self.values, self.codes[indices])

    def expand(self) -> list[bytes | None]:
        return [self.values[code] for code in self.codes]


def column_of(values: Sequence[bytes | None]) -> Column:
    """A column from one value each."""
    places: dict[bytes | None, int] = {}
    codes = [places.setdefault(value, len(places)) for value in values]
    return Column(list(places), np.array(codes, np.intp))


@dataclass(slots=True, eq=False)
class HeaderGroup:
    """Headers with one layout, side by side in one buffer (the arena)."""

    arena: NDArray[np.uint8] = field(repr=False)
    bases: NDArray[np.int64] = field(repr=False)
    layout: Layout = field(repr=False)
    starts: NDArray[np.int64] = field(repr=False)  # (N, E), relative to the bases
    offsets: NDArray[np.int64] = field(repr=False)
    lengths: NDArray[np.int64] = field(repr=False)
    syntax: Syntax
    meta_ends: NDArray[np.int64] = field(repr=False)  # relative to the bases

    @classmethod
    def single(cls, header: RawHeader) -> HeaderGroup:
        return cls(
            np.frombuffer(header.data, np.uint8),
            np.zeros(1, np.int64),
            header.layout,
            header.starts[None, :],
            header.offsets[None, :],
            header.lengths[None, :],
            header.syntax,
            np.array([header.meta_end]),
        )

    def __len__(self) -> int:
        return len(self.bases)

    def compact(self) -> HeaderGroup:
        """The same headers in a buffer of their own, up to their pixel values."""
        sizes = self.offsets[:, -1]
        bases = np.cumsum(sizes) - sizes
        arena = np.empty(int(sizes.sum()), np.uint8)
        for base, old, size in zip(
            bases.tolist(), self.bases.tolist(), sizes.tolist(), strict=True
        ):
            arena[base : base + size] = self.arena[old : old + size]
        return replace(self, arena=arena, bases=bases)

    def header(self, row: int) -> RawHeader:
        """One header, as views: no bytes are copied."""
        return self.headers([row])[0]

    def headers(self, rows: Sequence[int]) -> list[RawHeader]:
        """Some headers, as views: no bytes are copied."""
        data, layout, syntax = self.arena.data, self.layout, self.syntax
        starts, offsets, lengths = self.starts, self.offsets, self.lengths
        asked = np.asarray(rows, np.intp)
        bases = self.bases[asked]
        ends = bases + offsets[asked, -1]
        if layout.tags[-1] not in PIXEL_TAGS:
            ends += lengths[asked, -1]
        metas = self.meta_ends[asked].tolist()
        return [
            RawHeader(
                data[base:end], layout, starts[row], offsets[row], lengths[row], syntax, meta_end
            )
            for row, base, end, meta_end in zip(
                rows, bases.tolist(), ends.tolist(), metas, strict=True
            )
        ]

    def values(self, tag: int) -> list[bytes | None]:
        """One attribute of each header; a list of one where all have the same value.

        Pixels are no attribute: they are not in the buffer.
        """
        place = self.layout.lookup.get(tag)
        if place is None or tag in PIXEL_TAGS:
            return [None]
        offsets, lengths = self.offsets[:, place] + self.bases, self.lengths[:, place]
        length = int(lengths[0])
        if 0 <= length <= _GATHER_LIMIT and (lengths == length).all():
            block = self.arena[offsets[:, None] + np.arange(length)]
            if (block == block[0]).all():
                return [block[0].tobytes()]
            data = block.tobytes()
            return [data[k * length : (k + 1) * length] for k in range(len(self))]
        view = self.arena.data
        return [
            bytes(view[start : start + count])
            for start, count in zip(offsets.tolist(), lengths.tolist(), strict=True)
        ]


def joined(
    found: Sequence[tuple[HeaderGroup, Sequence[int]]],
) -> tuple[list[HeaderGroup], list[list[int]]]:
    """Groups with those made one that have a layout and a buffer in common; whose rows they are."""
    kinds: dict[tuple[int, int, Syntax], list[tuple[HeaderGroup, Sequence[int]]]] = {}
    for group, rows in found:
        key = id(group.arena), id(group.layout), group.syntax
        kinds.setdefault(key, []).append((group, rows))
    groups = [_one([group for group, _ in alike]) for alike in kinds.values()]
    return groups, [[row for _, rows in alike for row in rows] for alike in kinds.values()]


def _one(groups: Sequence[HeaderGroup]) -> HeaderGroup:
    first = groups[0]
    if len(groups) == 1:
        return first
    return HeaderGroup(
        first.arena,
        np.concatenate([group.bases for group in groups]),
        first.layout,
        np.concatenate([group.starts for group in groups]),
        np.concatenate([group.offsets for group in groups]),
        np.concatenate([group.lengths for group in groups]),
        first.syntax,
        np.concatenate([group.meta_ends for group in groups]),
    )


class HeaderTable:
    """The headers of n instances, in the order of arrival.

    Attributes:
        groups: where the headers are; ``used``: which of them.
        where: (n, 2), the group and the row of each instance.
    """

    def __init__(
        self, groups: Sequence[HeaderGroup], where: NDArray[np.intp] | None = None
    ) -> None:
        """``where``: (n, 2), the group and the row of each instance; default: one by one."""
        self.groups = groups
        if where is None:
            pairs = [(g, row) for g, group in enumerate(groups) for row in range(len(group))]
            where = np.array(pairs, np.intp).reshape(-1, 2)
        self.where = where
        self.used: list[int] = np.unique(where[:, 0]).tolist()
        self._pairs: list[list[int]] | None = None
        self._columns: dict[int, Column] = {}

    def __len__(self) -> int:
        return len(self.where)

    def header(self, index: int) -> RawHeader:
        return self.groups[self.where.item(index, 0)].header(self.where.item(index, 1))

    def headers(self, indices: NDArray[np.intp]) -> list[RawHeader]:
        where = self.where[indices]
        if len(self.used) == 1:
            return self.groups[self.used[0]].headers(where[:, 1].tolist())
        return [self.groups[group].header(row) for group, row in where.tolist()]

    def subset(self, indices: NDArray[np.intp]) -> HeaderTable:
        return HeaderTable(self.groups, self.where[indices])

    def little(self, index: int = 0) -> bool:
        return self.groups[int(self.where[index, 0])].syntax.little

    def column(self, keyword: str) -> Column:
        """One attribute of all instances."""
        return self.column_at(*TAGS[keyword])

    def column_at(self, tag: int, vr: str) -> Column:
        """One top-level element of all instances."""
        found = self._columns.get(tag)
        if found is None:
            found = self._columns[tag] = self._column(tag, vr)
        return found

    def _column(self, tag: int, vr: str) -> Column:
        parts = {group: self._group_values(group, tag, vr) for group in self.used}
        if all(len(part) == 1 for part in parts.values()):
            firsts = {part[0] for part in parts.values()}
            if len(firsts) == 1:
                return Column([*firsts], np.zeros(len(self), np.intp))
        if self._pairs is None:
            self._pairs = self.where.tolist()
        return column_of(
            [parts[g][0] if len(parts[g]) == 1 else parts[g][row] for g, row in self._pairs]
        )

    def _group_values(self, index: int, tag: int, vr: str) -> list[bytes | None]:
        group = self.groups[index]
        values = group.values(tag)
        if group.syntax.little or tag >> 16 == 2:
            return values
        # Columns are little endian throughout, whatever the file was.
        width = {"OW": 2, "OV": 8}.get(vr) or calcsize("<" + _BINARY.get(vr, "B"))
        return [None if value is None else _swapped(value, width) for value in values]

    def texts(self, keyword: str) -> tuple[list[str], NDArray[np.intp]]:
        """The different texts of an attribute, and which each instance has."""
        column = self.column(keyword)
        return [decode_text(value) for value in column.values], column.codes

    def text(self, keyword: str, index: int = 0) -> str:
        column = self.column(keyword)
        return decode_text(column.values[column.codes[index]])

    def numbers(self, keyword: str, count: int = 1) -> NDArray[np.float64]:
        """(n, count) numbers, NaN where an instance has fewer or none."""
        return numbers_of(self.column(keyword), TAGS[keyword][1], count)


def numbers_of(column: Column, vr: str, count: int) -> NDArray[np.float64]:
    """(n, count) numbers of a column, NaN where a value holds fewer."""
    table = None if vr in _BINARY else _plain_numbers(column.values, count)
    if table is None:
        table = np.full((len(column.values), count), np.nan)
        for row, value in enumerate(column.values):
            found = decode_numbers(value, vr, True)[:count]
            if len(found) == count:
                table[row] = found
    return table[column.codes]


def _plain_numbers(values: Sequence[bytes | None], count: int) -> NDArray[np.float64] | None:
    """(n, count) numbers of texts that hold as many each, with few calls; None if some do not."""
    if not all(value and value.count(b"\\") == count - 1 for value in values):
        return None
    parts = b"\\".join(value for value in values if value).split(b"\\")
    try:
        table = np.fromiter(map(float, parts), np.float64, len(parts))
    except ValueError:
        return None
    return table.reshape(-1, count) if np.isfinite(table).all() else None


def _swapped(value: bytes, width: int) -> bytes:
    if width == 1 or len(value) % width:
        return value
    return np.frombuffer(value, f"<u{width}").byteswap().tobytes()
