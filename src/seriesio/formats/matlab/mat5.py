"""MATLAB's MAT-file, level 5: what variables there are, and the bytes of one to be written.

Source: The MathWorks, "MAT-File Format" (R2024), chapter 1. Of the variables in a file only the
first few hundred bytes are looked at here; nothing in them is run or built.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ...blob import Blob, read_fully
from ...errors import DataError, EncodeError
from ...inflate import decompressobj, inflate_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HEADER", "Variable", "file_header", "matrix_head", "padding", "variables"]

HEADER: Final = 128  # bytes before the first variable
_MATRIX: Final = 14
_COMPRESSED: Final = 15
_UINT32: Final = 6
_INT32: Final = 5
_INT8: Final = 1
_LOOK: Final = 4096  # bytes of a variable that hold all but its values
_PACKED: Final = 65536  # compressed bytes that inflate to as many
_MOST: Final = 10_000  # variables of a file
_MOST_AXES: Final = 32
_CLASSES: Final = {
    **{1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse"},
    **{6: "double", 7: "single", 8: "int8", 9: "uint8", 10: "int16", 11: "uint16"},
    **{12: "int32", 13: "uint32", 14: "int64", 15: "uint64"},
    **{16: "function handle", 17: "opaque object"},
}
NUMERIC: Final = frozenset(_CLASSES[code] for code in range(6, 16))
# Bytes of one value, by the type in which it is stored.
_STORED: Final = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
# The class of a dtype, and the type in which its values are stored.
_WRITTEN: Final = {
    **{"i1": (8, 1), "u1": (9, 2), "i2": (10, 3), "u2": (11, 4), "i4": (12, 5)},
    **{"u4": (13, 6), "i8": (14, 12), "u8": (15, 13), "f4": (7, 7), "f8": (6, 9)},
}
_COMPLEX: Final = 0x0800
_LOGICAL: Final = 0x0200

Order = Literal["<", ">"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as its first bytes tell it.

    Attributes:
        name: as MATLAB has it.
        kind: its class: "int16", "struct", "opaque object" …
        shape: MATLAB's: rows, columns, …
        offset, size: its element in the file, with tag.
        stored: bytes of one value as it stands in the file.
        fault: why it cannot be read, if it cannot; else "".
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    offset: int
    size: int
    stored: int = 0
    fault: str = ""

    @property
    def image(self) -> bool:
        """True for what may be voxels: numbers in at least two rows and columns."""
        return not self.fault and len(self.shape) > 1 and min(self.shape[:2]) > 1


def variables(blob: Blob) -> list[Variable]:
    """All variables of a file.

    Raises:
        DataError: damaged, cut short, or more variables than anybody has.
        TransportError: it cannot be read.
    """
    reader = blob.open()
    try:
        head = bytearray(HEADER)
        if blob.size < HEADER:
            raise DataError(f"{blob.name}: {blob.size} bytes are no MAT-file")
        read_fully(reader, memoryview(head), 0, blob.name)
        order: Order = "<" if head[126:128] == b"IM" else ">"
        found: list[Variable] = []
        for kind, offset, size in _elements(reader, blob, order):
            wanted = bytearray(min(size, _PACKED if kind == _COMPRESSED else _LOOK))
            read_fully(reader, memoryview(wanted), offset, blob.name)
            plain = bytes(wanted) if kind == _MATRIX else _inflated(bytes(wanted[8:]), blob.name)
            found.append(_variable(plain, order, offset, size, kind == _MATRIX, blob.name))
        return found
    finally:
        reader.close()


def _elements(reader: Any, blob: Blob, order: Order) -> Iterator[tuple[int, int, int]]:
    """Type, offset and size (with tag) of the elements of a file."""
    tag = bytearray(8)
    offset = HEADER
    for _ in range(_MOST):
        if offset + 8 > blob.size:
            return
        read_fully(reader, memoryview(tag), offset, blob.name)
        kind, size = struct.unpack(f"{order}II", tag)
        if kind not in (_MATRIX, _COMPRESSED) or not size:
            raise DataError(f"{blob.name}: what stands at byte {offset} is no variable")
        if offset + 8 + size > blob.size:
            short = offset + 8 + size - blob.size
            raise DataError(f"{blob.name}: {short} bytes short of what its variables say")
        yield kind, offset, size + 8
        offset += size + 8
    raise DataError(f"{blob.name}: more than {_MOST} variables")


def _inflated(packed: bytes, name: str) -> bytes:
    try:
        return decompressobj().decompress(packed, _LOOK)
    except inflate_errors() as error:
        raise DataError(f"{name}: a compressed variable is damaged") from error


def _variable(
    data: bytes, order: Order, offset: int, size: int, plain: bool, name: str
) -> Variable:
    """A variable by its first bytes: tag, flags, dimensions, name, tag of the values.

    Raises:
        DataError: they are not those of a variable.
    """
    if len(data) < 24:
        raise DataError(f"{name}: the variable at byte {offset} is cut short")
    kind, total, flags_kind, flags_size, flags = struct.unpack_from(f"{order}5I", data)
    if (kind, flags_kind, flags_size) != (_MATRIX, _UINT32, 8):
        raise DataError(f"{name}: the variable at byte {offset} is damaged")
    told = _CLASSES.get(flags & 0xFF)
    if told is None:
        raise DataError(f"{name}: the variable at byte {offset} is of no known class")
    if told == "opaque object":  # it has no dimensions
        return Variable("", told, (), offset, size, fault=f"is an {told}")
    (shape, after) = _dimensions(data, order, offset, name)
    called, after = _called(data, after, order, offset, name)
    if told not in NUMERIC:
        article = "an" if told == "object" else "a"
        return Variable(called, told, shape, offset, size, fault=f"is {article} {told}")
    if flags & _COMPLEX:
        return Variable(called, told, shape, offset, size, fault="has complex values")
    stored, length = _stored(data, after, order, offset, name)
    whole = length == math.prod(shape) * stored
    room = after + 8 + length <= total + 8 or length <= 4
    if not whole or not room or (plain and total + 8 != size):
        raise DataError(f"{name}: the variable at byte {offset} is not as long as its dimensions")
    return Variable(called, told, shape, offset, size, stored)


def _dimensions(data: bytes, order: Order, offset: int, name: str) -> tuple[tuple[int, ...], int]:
    kind, size = _tag(data, 24, order, offset, name)
    count = size // 4
    if kind != _INT32 or size % 4 or not 2 <= count <= _MOST_AXES or 32 + size > len(data):
        raise DataError(f"{name}: the variable at byte {offset} has no dimensions")
    shape = struct.unpack_from(f"{order}{count}i", data, 32)
    if min(shape) < 0:
        raise DataError(f"{name}: the variable at byte {offset} has negative dimensions")
    return shape, 32 + size + padding(size)


def _called(data: bytes, place: int, order: Order, offset: int, name: str) -> tuple[str, int]:
    """The name of the variable, and what follows it; short ones stand in their own tag."""
    kind, size = _tag(data, place, order, offset, name)
    small = kind >> 16
    start, length = (place + 4, small) if small else (place + 8, size)
    end = place + 8 if small else start + length + padding(length)
    if (kind & 0xFFFF) != _INT8 or length > (4 if small else 64) or end > len(data):
        raise DataError(f"{name}: the variable at byte {offset} has no name")
    return data[start : start + length].decode("latin-1"), end


def _stored(data: bytes, place: int, order: Order, offset: int, name: str) -> tuple[int, int]:
    """Bytes of one value and of all, by the tag of the values."""
    kind, size = _tag(data, place, order, offset, name)
    small = kind >> 16
    stored = _STORED.get(kind & 0xFFFF)
    if stored is None or small > 4:
        raise DataError(f"{name}: the variable at byte {offset} has values of no known type")
    return stored, small or size


def _tag(data: bytes, place: int, order: Order, offset: int, name: str) -> tuple[int, int]:
    if place + 8 > len(data):
        raise DataError(f"{name}: the variable at byte {offset} is cut short")
    kind, size = struct.unpack_from(f"{order}II", data, place)
    return kind, size


def padding(size: int) -> int:
    """Bytes that fill an element up to a multiple of eight."""
    return -size % 8


# --- writing ---------------------------------------------------------------------------------


def file_header(version: str, extra: str = "") -> bytes:
    """The first 128 bytes of a file of version "5.0" or "7.3"."""
    text = f"MATLAB {version} MAT-file, written by seriesio{extra}".encode("ascii")
    number = 0x0100 if version == "5.0" else 0x0200
    return text.ljust(116) + bytes(8) + struct.pack("<H2s", number, b"IM")


def matrix_head(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], logical: bool = False
) -> bytes:
    """All of a variable that comes before its values; they follow in column-major order.

    Raises:
        EncodeError: more than the format can count.
    """
    kind, stored = _WRITTEN[dtype.str[1:]]
    size = math.prod(shape) * dtype.itemsize
    if len(shape) > _MOST_AXES or max(shape) >= 1 << 31:
        raise EncodeError(f"a MAT-file has {_MOST_AXES} dimensions below 2^31 at the most")
    flags = struct.pack("<4I", _UINT32, 8, kind | (_LOGICAL if logical else 0), 0)
    sides = struct.pack(f"<II{len(shape)}i", _INT32, 4 * len(shape), *shape)
    called = name.encode("ascii")
    label = struct.pack("<II", _INT8, len(called)) + called + bytes(padding(len(called)))
    body = flags + sides + bytes(padding(len(sides))) + label + struct.pack("<II", stored, size)
    return struct.pack("<II", _MATRIX, len(body) + size + padding(size)) + body


def turned(values: NDArray[Any]) -> NDArray[Any]:
    """Frames that stand column by column (…, columns, rows), put row by row in place.

    Returns:
        (…, rows, columns), over the same memory where ``values`` are contiguous and writeable.
    """
    if not (values.flags.c_contiguous and values.flags.writeable):
        return np.ascontiguousarray(values.swapaxes(-1, -2))
    columns, rows = values.shape[-2:]
    for frame in values.reshape(-1, columns, rows):
        frame.reshape(rows, columns)[...] = frame.T.copy()
    return values.reshape(*values.shape[:-2], rows, columns)
