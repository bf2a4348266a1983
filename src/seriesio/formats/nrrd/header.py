"""The header of an NRRD file: lines of text to fields and values.

Source: Teem, "Definition of NRRD File Format" (NRRD0001 to NRRD0005).
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import DataError
from ..guest.data import MAX_HEADER, listed, number_of, numbers_in, text_of, whole_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["MILLIMETRES", "MOST_AXES", "NrrdHeader", "header_of", "is_nrrd", "split_lines"]

MOST_AXES: Final = 16  # as in Teem
_LIST: Final = "list"
_MAGIC: Final = re.compile(rb"NRRD000[1-5]\r?\n")
_TYPES: Final = {
    **dict.fromkeys(["signed char", "int8", "int8_t"], "i1"),
    **dict.fromkeys(["uchar", "unsigned char", "uint8", "uint8_t"], "u1"),
    **dict.fromkeys(
        ["short", "short int", "signed short", "signed short int", "int16", "int16_t"], "i2"
    ),
    **dict.fromkeys(["ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"], "u2"),
    **dict.fromkeys(["int", "signed int", "int32", "int32_t"], "i4"),
    **dict.fromkeys(["uint", "unsigned int", "uint32", "uint32_t"], "u4"),
    **dict.fromkeys(["longlong", "long long", "long long int", "signed long long"], "i8"),
    **dict.fromkeys(["signed long long int", "int64", "int64_t"], "i8"),
    **dict.fromkeys(["ulonglong", "unsigned long long", "unsigned long long int"], "u8"),
    **dict.fromkeys(["uint64", "uint64_t"], "u8"),
    **{"float": "f4", "double": "f8"},
}
_ENCODINGS: Final = {
    **{"raw": "raw", "hex": "hex", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"},
    **dict.fromkeys(["txt", "text", "ascii"], "text"),
}
# Patient spaces by their names: what turns them into LPS, and if time is their last axis.
_LEFT: Final = (1.0, 1.0, 1.0)
_SPACES: Final = {
    **dict.fromkeys(["right-anterior-superior", "ras"], (-1.0, -1.0, 1.0)),
    **dict.fromkeys(["left-anterior-superior", "las"], (1.0, -1.0, 1.0)),
    **dict.fromkeys(["left-posterior-superior", "lps"], _LEFT),
}
# Spaces that say nothing of the patient's left and right.
_UNPLACED: Final = ("scanner-xyz", "3d-right-handed", "3d-left-handed")
_TIMED: Final = {"rast": "ras", "last": "las", "lpst": "lps"}
MILLIMETRES: Final = {
    **{"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3, "\N{MICRO SIGN}m": 1e-3, "nm": 1e-6},
    **{"meter": 1e3, "centimeter": 10.0, "millimeter": 1.0, "micron": 1e-3, "micrometer": 1e-3},
}
"""Of a unit of length."""

_NONE: Final = re.compile(r"\(\s*nan\s*(,\s*nan\s*)*\)", re.IGNORECASE)
_VECTOR: Final = re.compile(r"none|\([^()]{1,400}\)")


@dataclass(frozen=True, slots=True, eq=False)
class NrrdHeader:
    """What a header says, as far as it can be told line by line.

    Attributes:
        sizes: of the axes, the fastest first.
        dtype: in the file's byte order.
        encoding: "raw", "hex", "text", "gzip" or "bzip2".
        data_file: the name of the data file; "" if the voxels are behind the header.
        line_skip, byte_skip: what comes before the voxels; a byte_skip of -1: they are the last.
        turn: (3,) factors that make LPS in mm of the space's coordinates; None: no space is told.
        directions: of each axis the step in space, (n,), or None; empty if none are told.
        origin: (n,) of the first voxel.
        frame: (n, n) measurement frame, its vectors as columns; None: none is told.
        spacings: of each axis; NaN where it is not told.
        mins: of each axis, where it begins; NaN where it is not told.
        kinds, labels, units: of each axis, "" where it is not told.
        pairs: the key/value pairs.
        notes: for the report.
    """

    sizes: tuple[int, ...]
    dtype: np.dtype[Any]
    encoding: str
    data_file: str
    line_skip: int
    byte_skip: int
    turn: tuple[float, float, float] | None
    directions: tuple[NDArray[np.float64] | None, ...]
    origin: NDArray[np.float64] | None
    frame: NDArray[np.float64] | None
    spacings: tuple[float, ...]
    mins: tuple[float, ...]
    kinds: tuple[str, ...]
    labels: tuple[str, ...]
    units: tuple[str, ...]
    pairs: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NrrdLines:
    """The lines of a header: fields by their names in small letters without blanks, and pairs."""

    fields: Mapping[str, str]
    pairs: Mapping[str, str]
    end: int


def is_nrrd(head: bytes) -> bool:
    """Does a file begin as one of NRRD0001 to NRRD0005 does?"""
    return _MAGIC.match(head) is not None


def split_lines(data: bytes, name: str) -> NrrdLines:
    """The lines up to the empty one, or to the end of a file that is only a header.

    Raises:
        DataError: no NRRD, a line that is no field, or a field given twice.
    """
    magic = _MAGIC.match(data)
    if magic is None:
        raise DataError(f"{name}: is no NRRD0001 to NRRD0005 file")
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    start = magic.end()
    while start < len(data):
        end = data.find(b"\n", start)
        line = text_of(data[start : end if end >= 0 else len(data)]).rstrip()
        start = end + 1 if end >= 0 else len(data)
        if not line:
            return NrrdLines(fields, pairs, start)
        if not line.startswith("#"):
            _take(line, fields, pairs, name)
        if _LIST in line.lower() and listed(fields.get("datafile", "")):
            return NrrdLines(fields, pairs, start)  # names of files follow
    if len(data) >= MAX_HEADER:
        raise DataError(f"{name}: the header does not end within {MAX_HEADER} bytes")
    return NrrdLines(fields, pairs, len(data))


def _take(line: str, fields: dict[str, str], pairs: dict[str, str], name: str) -> None:
    key, mark, value = line.partition(":")
    if not mark:
        raise DataError(f"{name}: line {len(fields) + len(pairs) + 2} of the header is no field")
    if value.startswith("="):
        pairs[key.strip()] = value[1:].strip()
        return
    key = key.lower().replace(" ", "")
    if key in fields:
        raise DataError(f"{name}: the header has the same field twice")
    fields[key] = value.strip()


def header_of(lines: NrrdLines, name: str) -> NrrdHeader:
    """The values of the fields.

    Raises:
        DataError: fields that are missing, malformed or at odds.
    """
    fields = lines.fields
    count = whole_in(fields.get("dimension", ""), 1, "dimension", name)[0]
    if not 1 <= count <= MOST_AXES:
        raise DataError(f"{name}: the dimension is not 1 to {MOST_AXES}")
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise DataError(f"{name}: the encoding is none of {', '.join(_ENCODINGS)}")
    notes: list[str] = []
    wide, turn = _space(fields, name, notes)
    scale = _scale(fields, wide, name, notes)
    return NrrdHeader(
        tuple(whole_in(fields.get("sizes", ""), count, "sizes", name)),
        _dtype(fields, encoding, name),
        encoding,
        fields.get("datafile", ""),
        whole_in(fields.get("lineskip", "0"), 1, "line skip", name)[0],
        whole_in(fields.get("byteskip", "0"), 1, "byte skip", name)[0],
        None if turn is None else (turn[0] * scale, turn[1] * scale, turn[2] * scale),
        _directions(fields, count, wide, name),
        _vector(fields["spaceorigin"], wide, name) if "spaceorigin" in fields else None,
        _frame(fields, wide, name),
        _per_axis(fields.get("spacings"), count, "spacings", name),
        _per_axis(fields.get("axismins"), count, "axis mins", name),
        _words(fields.get("kinds"), count, "kinds", name),
        _quoted(fields.get("labels"), count, "labels", name),
        _quoted(fields.get("units"), count, "units", name),
        lines.pairs,
        tuple(notes),
    )


def _dtype(fields: Mapping[str, str], encoding: str, name: str) -> np.dtype[Any]:
    code = _TYPES.get(" ".join(fields.get("type", "").lower().split()))
    if code is None:
        raise DataError(f"{name}: its type is none of the numeric ones of NRRD")
    dtype = np.dtype(code)
    if dtype.itemsize == 1 or encoding == "text":
        return dtype
    endian = fields.get("endian", "").lower()
    if endian not in ("little", "big"):
        raise DataError(f"{name}: endian says neither little nor big")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _space(
    fields: Mapping[str, str], name: str, notes: list[str]
) -> tuple[int, tuple[float, float, float] | None]:
    """How many numbers a vector in space has, and the signs that make LPS of it."""
    told = fields.get("space", "").lower()
    if not told:
        text = fields.get("spacedimension", "0")
        wide = whole_in(text, 1, "space dimension", name)[0]
        if not 0 <= wide <= MOST_AXES:
            raise DataError(f"{name}: the space dimension is not 0 to {MOST_AXES}")
        if wide:
            notes.append("the space has no name: its coordinates are taken as LPS")
        return wide, _LEFT if wide else None
    timed = told.endswith("-time") or told in _TIMED
    told = _TIMED.get(told, told.removesuffix("-time"))
    if told in _UNPLACED:
        notes.append(f"the space is {told}: its coordinates are taken as LPS")
    elif told not in _SPACES:
        raise DataError(f"{name}: the space is none that NRRD0005 names")
    return 3 + timed, _SPACES.get(told, _LEFT)


def _scale(fields: Mapping[str, str], wide: int, name: str, notes: list[str]) -> float:
    """The millimetres of the space's unit."""
    units = _quoted(fields.get("spaceunits"), wide, "space units", name)[:3]
    if len(set(units)) > 1:
        raise DataError(f"{name}: space units differ from axis to axis")
    unit = units[0] if units else ""
    if unit and unit not in MILLIMETRES:
        notes.append("the space units are unknown: millimetres are taken")
    return MILLIMETRES.get(unit, 1.0)


def _directions(
    fields: Mapping[str, str], count: int, wide: int, name: str
) -> tuple[NDArray[np.float64] | None, ...]:
    text = fields.get("spacedirections")
    if text is None:
        return ()
    words = _VECTOR.findall(text)
    if len(words) != count or not wide:
        raise DataError(f"{name}: space directions are not {count} vectors in a space")
    return tuple(
        None if word == "none" or _NONE.fullmatch(word) else _vector(word, wide, name)
        for word in words
    )


def _vector(text: str, wide: int, name: str) -> NDArray[np.float64]:
    inner = text.strip().removeprefix("(").removesuffix(")").replace(",", " ")
    return np.array(numbers_in(inner, wide, "a vector in space", name))


def _frame(fields: Mapping[str, str], wide: int, name: str) -> NDArray[np.float64] | None:
    if "measurementframe" not in fields:
        return None
    words = _VECTOR.findall(fields["measurementframe"])
    if len(words) != wide or "none" in words:
        raise DataError(f"{name}: the measurement frame is not {wide} vectors")
    return np.stack([_vector(word, wide, name) for word in words], axis=1)


def _per_axis(text: str | None, count: int, what: str, name: str) -> tuple[float, ...]:
    """One number for each axis; NaN where there is none."""
    if text is None:
        return (math.nan,) * count
    words = text.split(None, count)
    try:
        values = tuple(number_of(word) for word in words)
    except ValueError:
        raise DataError(f"{name}: {what} are not {count} numbers") from None
    if len(values) != count or any(map(math.isinf, values)):
        raise DataError(f"{name}: {what} are not {count} numbers")
    return values


def _words(text: str | None, count: int, what: str, name: str) -> tuple[str, ...]:
    words = [""] * count if text is None else text.split()
    if len(words) != count:
        raise DataError(f"{name}: {what} are not {count} words")
    return tuple("" if word in ("none", "???") else word.lower() for word in words)


def _quoted(text: str | None, count: int, what: str, name: str) -> tuple[str, ...]:
    try:
        words = [""] * count if text is None else shlex.split(text)
    except ValueError:
        raise DataError(f"{name}: {what} have a quote without its end") from None
    if len(words) != count:
        raise DataError(f"{name}: {what} are not {count} quoted words")
    return tuple(word[:64] for word in words)
