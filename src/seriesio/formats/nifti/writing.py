"""An array as the voxels of a NIfTI file: which type, and its bytes without a copy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...blob import PiecesBlob
from ...errors import EncodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...blob import Blob, BlobReader

__all__ = ["file_blob", "file_dtype", "file_pieces", "voxel_fields"]

_MOST_PIECES: Final = 4096
_CODES: Final = {
    "u1": 2,
    "i2": 4,
    "i4": 8,
    "f4": 16,
    "c8": 32,
    "f8": 64,
    "i1": 256,
    "u2": 512,
    "u4": 768,
    "i8": 1024,
    "u8": 1280,
    "c16": 1792,
}
_RGB: Final = 128
_INSTEAD: Final = {"b1": "u1", "f2": "f4"}  # what NIfTI has not, and what holds it exactly


def file_dtype(dtype: np.dtype[Any], color: bool) -> tuple[np.dtype[Any], int]:
    """The little endian dtype that an array has in a file, and its code.

    Raises:
        EncodeError: NIfTI has none that holds the values.
    """
    key = _INSTEAD.get(dtype.str[1:], dtype.str[1:])
    if key not in _CODES or (color and key != "u1"):
        what = "colours" if color else "voxels"
        raise EncodeError(f"NIfTI holds no {what} of type {dtype}")
    return np.dtype(f"<{key}"), _RGB if color else _CODES[key]


def file_blob(name: str, head: bytes, array: NDArray[Any], target: np.dtype[Any]) -> Blob:
    """A file of a header and the voxels, in C order of ``array``; they are not copied.

    Where they do not lie as the file has them, they are put in order a plane at a time, while
    the file is written.
    """
    pieces = _direct(array, target)
    if pieces is None:
        return _PlanesBlob(name, head, array, target)
    return PiecesBlob(name, (memoryview(head), *pieces))


def file_pieces(head: bytes, array: NDArray[Any], target: np.dtype[Any]) -> Iterator[memoryview]:
    """The bytes of such a file one after the other."""
    yield memoryview(head)
    yield from _direct(array, target) or _planes(array, target)


def _direct(array: NDArray[Any], target: np.dtype[Any]) -> list[memoryview] | None:
    """The bytes of an array where they are, whole or volume by volume; None if they are not."""
    if not _same_bytes(array.dtype, target):
        return None
    if array.flags.c_contiguous:
        return [_bytes_of(array)]
    leading = array.shape[: -_rank(array)]
    if math.prod(leading) > _MOST_PIECES:
        return None
    parts = [array[index] for index in product(*map(range, leading))]
    if not all(part.flags.c_contiguous for part in parts):
        return None
    return list(map(_bytes_of, parts))


def _rank(array: NDArray[Any]) -> int:
    """How many axes one piece has: slices, rows and columns, and perhaps colours."""
    return min(3, array.ndim - 1)


def _same_bytes(dtype: np.dtype[Any], target: np.dtype[Any]) -> bool:
    return dtype == target or (dtype == np.bool_ and target.itemsize == 1)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _planes(array: NDArray[Any], target: np.dtype[Any]) -> Iterator[memoryview]:
    return (_plane(array, target, index) for index in range(_plane_count(array)))


def _plane_count(array: NDArray[Any]) -> int:
    return math.prod(array.shape[:-2])


def _plane(array: NDArray[Any], target: np.dtype[Any], place: int) -> memoryview:
    index = np.unravel_index(place, array.shape[:-2])
    return _bytes_of(np.ascontiguousarray(array[index], target))


@dataclass(frozen=True, slots=True, eq=False)
class _PlanesBlob:
    """A header and an array whose bytes are put in order as they are read."""

    name: str
    head: bytes = field(repr=False)
    array: NDArray[Any] = field(repr=False)
    target: np.dtype[Any]
    sequential: bool = field(default=False, init=False)

    @property
    def size(self) -> int:
        return len(self.head) + self.array.size * self.target.itemsize

    def open(self) -> BlobReader:
        return _PlanesReader(self.head, self.array, self.target)


class _PlanesReader:
    def __init__(self, head: bytes, array: NDArray[Any], target: np.dtype[Any]) -> None:
        self._head = memoryview(head)
        self._array: NDArray[Any] | None = array
        self._target = target
        self._count = _plane_count(array)
        self._length = math.prod(array.shape[-2:]) * target.itemsize
        self._kept = (-1, memoryview(b""))

    def readinto(self, view: memoryview, offset: int) -> int:
        done = 0
        while done < view.nbytes and (part := self._from(offset + done)):
            part = part[: view.nbytes - done]
            view[done : done + part.nbytes] = part
            done += part.nbytes
        return done

    def _from(self, offset: int) -> memoryview:
        """The bytes from an offset to the end of the piece that it is in; none at the end."""
        if offset < len(self._head):
            return self._head[offset:]
        place, start = divmod(offset - len(self._head), self._length)
        if self._array is None or place >= self._count:
            return memoryview(b"")
        if self._kept[0] != place:
            self._kept = (place, _plane(self._array, self._target, place))
        return self._kept[1][start:]

    def close(self) -> None:
        self._array, self._kept = None, (-1, memoryview(b""))


def voxel_fields(code: int, target: np.dtype[Any], color: bool) -> Mapping[str, Any]:
    """The fields of a header that say what a voxel is."""
    bits = 8 * target.itemsize * (3 if color else 1)
    return {"datatype": code, "bitpix": bits, "scl_slope": 1.0, "scl_inter": 0.0}
