"""The header of a MetaImage: lines of text to values.

Source: MetaIO's documentation and metaImage.cxx (Kitware), as ITK reads and writes them:
coordinates are ITK's, which are LPS, and a row of TransformMatrix is the direction of one axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...dicom.sorting import Axis
from ...errors import DataError
from ..guest.data import (
    axis_of,
    checked_affine,
    numbers_in,
    text_of,
    whole_in,
    with_normal,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["MODALITIES", "MOST_AXES", "TYPES", "MetaHeader", "header_of", "split_lines"]

TYPES: Final = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2"},
    **{"MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4"},
    **{"MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
MODALITIES: Final = {f"MET_MOD_{modality}": modality for modality in ("CT", "MR", "NM", "US")}
_MILLIMETRES: Final = {"um": 1e-3, "mm": 1.0, "cm": 10.0}
MOST_AXES: Final = 10
_MOST_CHANNELS: Final = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class MetaHeader:
    """What a header says.

    Attributes:
        sizes: of the axes, the fastest first.
        dtype: of the elements, in the file's byte order.
        channels: elements of a voxel; they stand together.
        spelt: the elements are text.
        packed: the elements are a zlib stream.
        data_file: ElementDataFile; "LOCAL" for this one.
        skipped: HeaderSize; -1: the elements are the last bytes of the data file.
        affine, spacing: as :class:`~seriesio.formats.image.Image` has them.
        axes: the further ones, in the array's order.
        attributes: DICOM keywords.
        notes: for the report.
    """

    sizes: tuple[int, ...]
    dtype: np.dtype[Any]
    channels: int
    spelt: bool
    packed: bool
    data_file: str
    skipped: int
    affine: NDArray[np.float64] | None
    spacing: tuple[float, float, float] | None
    axes: tuple[Axis, ...]
    attributes: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array as it stands in the file: one slice at least, channels last."""
        sizes = self.sizes if len(self.sizes) > 2 else (*self.sizes, 1)
        return (*reversed(sizes), *((self.channels,) if self.channels > 1 else ()))

    @property
    def colour(self) -> bool:
        """Three channels of unsigned bytes or words are red, green, blue."""
        return self.channels == 3 and self.dtype.kind == "u" and self.dtype.itemsize <= 2


def split_lines(data: bytes, name: str) -> tuple[dict[str, str], int]:
    """The fields of a header, and where it ends: behind the line of ElementDataFile.

    Raises:
        DataError: a line is no field, or there is no ElementDataFile.
    """
    fields: dict[str, str] = {}
    start = 0
    while (end := data.find(b"\n", start)) >= 0 or start < len(data):
        stop = end if end >= 0 else len(data)
        key, mark, value = text_of(data[start:stop]).partition("=")
        start = stop + 1
        if not mark and key.strip():
            raise DataError(f"{name}: line {len(fields) + 1} of the header is no field")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return fields, min(start, len(data))
    raise DataError(f"{name}: the header has no ElementDataFile within {len(data)} bytes")


def header_of(fields: Mapping[str, str], name: str) -> MetaHeader:
    """The meaning of the fields.

    Raises:
        DataError: fields that are missing, malformed or at odds.
    """
    count = whole_in(_first(fields, "NDims"), 1, "NDims", name)[0]
    if not 2 <= count <= MOST_AXES:
        raise DataError(f"{name}: NDims is {count}, not 2 to {MOST_AXES}")
    notes: list[str] = []
    affine, spacing = _place(fields, count, name, notes)
    sizes = tuple(whole_in(_first(fields, "DimSize"), count, "DimSize", name))
    modality = MODALITIES.get(_first(fields, "Modality"))
    return MetaHeader(
        sizes,
        _dtype(fields, name),
        _channels(fields, name),
        not _true(fields, "BinaryData", default=True),
        _true(fields, "CompressedData"),
        _first(fields, "ElementDataFile"),
        whole_in(_first(fields, "HeaderSize") or "0", 1, "HeaderSize", name)[0],
        affine,
        spacing,
        _axes(fields, sizes, name),
        {"Modality": modality} if modality else {},
        (*notes, *_unread(fields)),
    )


def _first(fields: Mapping[str, str], *names: str) -> str:
    """The value of the first of several names that is there; else an empty text."""
    return next((fields[name] for name in names if name in fields), "")


def _true(fields: Mapping[str, str], *names: str, default: bool = False) -> bool:
    value = _first(fields, *names)
    return value[:1] in ("T", "t", "1") if value else default


def _dtype(fields: Mapping[str, str], name: str) -> np.dtype[Any]:
    code = TYPES.get(_first(fields, "ElementType").removesuffix("_ARRAY"))
    if code is None:
        raise DataError(f"{name}: an ElementType that is none of {', '.join(TYPES)}")
    big = _true(fields, "ElementByteOrderMSB", "BinaryDataByteOrderMSB")
    return np.dtype(code).newbyteorder(">" if big else "<")


def _channels(fields: Mapping[str, str], name: str) -> int:
    text = _first(fields, "ElementNumberOfChannels") or "1"
    found = whole_in(text, 1, "ElementNumberOfChannels", name)[0]
    if not 1 <= found <= _MOST_CHANNELS:
        raise DataError(f"{name}: ElementNumberOfChannels is not 1 to {_MOST_CHANNELS}")
    return found


def _place(
    fields: Mapping[str, str], count: int, name: str, notes: list[str]
) -> tuple[NDArray[np.float64] | None, tuple[float, float, float] | None]:
    """The affine, if directions or an origin are told; else the spacing, if that is."""
    sizes = _numbers(fields, count, [1.0] * count, name, "ElementSpacing", "ElementSize")
    sizes = sizes * _scale(fields, notes)
    matrix = _first(fields, "TransformMatrix", "Rotation", "Orientation")
    if matrix or _first(fields, "Offset", "Position", "Origin"):
        return _affine(fields, count, sizes, name, notes), None
    if not _first(fields, "ElementSpacing", "ElementSize"):
        return None, None
    affine = checked_affine(_columns(np.diag(sizes), count), np.zeros(3), name)
    dx, dy, dz = np.abs(np.diag(affine)[:3]).tolist()
    return None, (dz, dy, dx)


def _affine(
    fields: Mapping[str, str],
    count: int,
    sizes: NDArray[np.float64],
    name: str,
    notes: list[str],
) -> NDArray[np.float64]:
    square = np.eye(count).ravel().tolist()
    names = ("TransformMatrix", "Rotation", "Orientation")
    rows = _numbers(fields, count * count, square, name, *names).reshape(count, count)
    offset = np.zeros(3)
    zeros = [0.0] * count
    told = _numbers(fields, count, zeros, name, "Offset", "Position", "Origin")[:3]
    offset[: len(told)] = told * _scale(fields, [])
    if _numbers(fields, count, zeros, name, "CenterOfRotation").any():
        notes.append("CenterOfRotation is not applied to the Offset, as ITK does not")
    return checked_affine(_columns(rows * sizes[:, None], count), offset, name)


def _columns(steps: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(3, 3) the spatial steps as columns, of (n, n) steps as rows."""
    if count > 2:
        return np.asarray(steps[:3, :3].T)
    return with_normal(np.vstack([steps.T, np.zeros(2)]))


def _numbers(
    fields: Mapping[str, str], count: int, default: list[float], name: str, *names: str
) -> NDArray[np.float64]:
    text = _first(fields, *names)
    return np.array(numbers_in(text, count, names[0], name) if text else default)


def _scale(fields: Mapping[str, str], notes: list[str]) -> float:
    unit = _first(fields, "DistanceUnits")
    if unit in ("", "?", "mm"):
        return 1.0
    if unit not in _MILLIMETRES:
        notes.append("DistanceUnits is unknown: millimetres are taken")
    return _MILLIMETRES.get(unit, 1.0)


def _unread(fields: Mapping[str, str]) -> list[str]:
    slope = _first(fields, "ElementToIntensityFunctionSlope") or "1"
    intercept = _first(fields, "ElementToIntensityFunctionOffset") or "0"
    if slope in ("1", "1.0") and intercept in ("0", "0.0", "-0"):
        return []
    return ["ElementToIntensityFunctionSlope and Offset are not applied, as ITK does not"]


# --- further axes ----------------------------------------------------------------------------


def _axes(fields: Mapping[str, str], sizes: tuple[int, ...], name: str) -> tuple[Axis, ...]:
    """The axes beyond the third, in the array's order: the fourth is time unless it is named."""
    count = len(sizes)
    if any(size < 1 or size > 1 << 40 for size in sizes):
        return ()  # refused when the volume is made
    steps = _numbers(fields, count, [1.0] * count, name, "ElementSpacing", "ElementSize")
    starts = _numbers(fields, count, [0.0] * count, name, "Offset", "Position", "Origin")
    places = range(count - 1, 2, -1)
    return tuple(
        _axis(fields, place, sizes[place], float(starts[place]), float(steps[place]), name)
        for place in places
    )


def _axis(
    fields: Mapping[str, str], place: int, size: int, start: float, step: float, name: str
) -> Axis:
    named = _first(fields, f"Axis{place}Name") or ("time" if place == 3 else f"axis{place}")
    text = _continued(fields, f"Axis{place}Values")
    if not text:
        return axis_of(named[:64], _Steps(start, step, size).values(name))
    wide = 4 if named == "dti" else 3 if named == "bvector" else 1
    values = np.array(numbers_in(text, size * wide, f"Axis{place}Values", name))
    return axis_of(named[:64], values.reshape(size, wide) if wide > 1 else values)


def _continued(fields: Mapping[str, str], key: str) -> str:
    """A value that goes on in further fields: key, key2, key3 …"""
    parts, number = [_first(fields, key)], 2
    while (further := fields.get(f"{key}{number}")) is not None:
        parts.append(further)
        number += 1
    return " ".join(parts).strip()


@dataclass(frozen=True, slots=True)
class _Steps:
    start: float
    step: float
    size: int

    def values(self, name: str) -> NDArray[np.float64]:
        if self.size > 1 << 24:
            raise DataError(f"{name}: a further axis of {self.size} places")
        return np.asarray(self.start + self.step * np.arange(self.size), np.float64)
