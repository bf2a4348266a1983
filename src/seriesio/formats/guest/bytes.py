"""Voxels out of a guest format's file: raw, inflated or spelt out, straight into the array.

Nothing is inflated beyond the bytes that the header announces, and no file is held in memory.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...blob import Blob, read_fully
from ...errors import DataError, TooLargeError
from .cancel import canceller
from .data import check_volume, number_of
from .plain import BLOCK, PlainStream
from .streams import PackedStream

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "bytes_of",
    "hex_into",
    "inflate_into",
    "native",
    "new_volume",
    "numbers_into",
    "raw_into",
    "rest_into",
    "skip_lines",
]

_PIECE: Final = 1 << 18
_LONGEST: Final = 64  # bytes of a number


def new_volume(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], memory: int
) -> NDArray[Any]:
    """An array to be filled.

    Raises:
        DataError, TooLargeError: no such size, or more than ``memory``.
    """
    size = check_volume(name, shape, dtype, memory)
    try:
        return np.empty(shape, dtype)
    except MemoryError:
        raise TooLargeError(f"{name}: no memory for {size} bytes") from None


def bytes_of(array: NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data


def native(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the machine's byte order, swapped in place."""
    if array.dtype.isnative:
        return array
    return array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))


def raw_into(target: memoryview, blob: Blob, offset: int) -> None:
    """Fill ``target`` with the bytes from ``offset`` on.

    Raises:
        DataError: the file is shorter.
    """
    short = offset + target.nbytes - blob.size
    if short > 0:
        raise _short(blob.name, short)
    check_cancelled = canceller()
    reader = blob.open()
    try:
        for start in range(0, target.nbytes, BLOCK):
            check_cancelled()
            read_fully(reader, target[start : start + BLOCK], offset + start, blob.name)
    finally:
        reader.close()


def rest_into(array: NDArray[Any], blob: Blob, offset: int) -> tuple[str, ...]:
    """Fill a contiguous array with the bytes from ``offset`` on; a note on what is behind them.

    Raises:
        DataError: the file is shorter.
    """
    raw_into(bytes_of(array), blob, offset)
    left = blob.size - offset - array.nbytes
    return (f"{left} bytes behind the voxels are not used",) if left else ()


def inflate_into(target: memoryview, blob: Blob, offset: int, packing: str, skip: int = 0) -> None:
    """Fill ``target`` with what is packed from ``offset`` on, but for ``skip`` unpacked bytes.

    ``packing`` is "zlib", "gzip" (one member or several) or "bzip2".

    Raises:
        DataError: damaged, or other bytes than as many as are announced.
    """
    plain = PlainStream(blob, offset)
    with closing(PackedStream(plain, packing)) as stream:
        if skip:
            _skip(stream, skip, blob.name)
        count = stream.readinto(target)
        if count < target.nbytes:
            raise _short(blob.name, target.nbytes - count)
        if stream.finish():
            raise DataError(f"{blob.name}: more voxels than the header says")


def _skip(stream: PackedStream, count: int, name: str) -> None:
    scratch = memoryview(bytearray(min(count, _PIECE)))
    while count:
        done = stream.readinto(scratch[:count])
        if not done:
            raise _short(name, count)
        count -= done


def _short(name: str, count: int) -> DataError:
    return DataError(f"{name}: {count} bytes short of what its header says")


def hex_into(target: memoryview, blob: Blob, offset: int) -> None:
    """Fill ``target`` with bytes that are spelt as pairs of hexadecimal digits.

    Raises:
        DataError: something else, or another number of them.
    """
    with closing(_pieces(blob, offset)) as pieces, closing(_from_hex(pieces, blob.name)) as parts:
        _copy(target, parts, blob.name)


def numbers_into(array: NDArray[Any], blob: Blob, offset: int) -> None:
    """Fill ``array`` with numbers that stand in the file as text.

    Raises:
        DataError: something else, or another number of them.
    """
    flat, done = array.reshape(-1), 0
    with closing(_pieces(blob, offset)) as pieces, closing(_tokens(pieces)) as groups:
        for tokens in groups:
            values = _numbers(tokens, array.dtype, blob.name)
            if done + len(values) > flat.size:
                raise DataError(f"{blob.name}: more numbers than the {flat.size} announced")
            flat[done : done + len(values)] = values
            done += len(values)
    if done < flat.size:
        raise DataError(f"{blob.name}: {done} numbers instead of {flat.size}")


def skip_lines(blob: Blob, offset: int, lines: int) -> int:
    """The offset after so many lines.

    Raises:
        DataError: there are fewer in reach.
    """
    if not lines:
        return offset
    left = lines
    with closing(_pieces(blob, offset)) as pieces:
        for piece in pieces:
            found = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n"))
            if len(found) >= left:
                return offset + int(found[left - 1]) + 1
            left -= len(found)
            offset += piece.nbytes
    raise DataError(f"{blob.name}: its header skips more lines than there are")


def _pieces(blob: Blob, offset: int) -> Generator[memoryview, None, None]:
    """The rest of a file; each piece is good until the next one is asked for."""
    check_cancelled = canceller()
    buffer = memoryview(bytearray(min(_PIECE, max(blob.size - offset, 0))))
    reader = blob.open()
    try:
        while offset < blob.size:
            check_cancelled()
            piece = buffer[: blob.size - offset]
            read_fully(reader, piece, offset, blob.name)
            yield piece
            offset += piece.nbytes
    finally:
        reader.close()


def _copy(target: memoryview, parts: Iterable[bytes], name: str) -> None:
    """Fill ``target`` with all of the parts."""
    done = 0
    for part in parts:
        if done + len(part) > target.nbytes:
            raise DataError(f"{name}: more voxels than the header says")
        target[done : done + len(part)] = part
        done += len(part)
    if done < target.nbytes:
        raise _short(name, target.nbytes - done)


def _from_hex(pieces: Iterable[memoryview], name: str) -> Generator[bytes, None, None]:
    half = b""
    for piece in pieces:
        digits = half + b"".join(bytes(piece).split())
        whole = len(digits) & ~1
        half = digits[whole:]
        try:
            yield bytes.fromhex(digits[:whole].decode("ascii"))
        except ValueError:
            raise DataError(f"{name}: the voxels are not hexadecimal digits") from None
    if half:
        raise DataError(f"{name}: an odd number of hexadecimal digits")


def _tokens(pieces: Iterable[memoryview]) -> Generator[list[bytes], None, None]:
    """Words of a text; one that a piece cuts in two is put together again."""
    cut = b""
    for piece in pieces:
        text = cut + bytes(piece)
        words = text.split()
        cut = words.pop() if words and not text[-1:].isspace() else b""
        if len(cut) > _LONGEST:  # it is no number: let it be found out now
            words.append(cut[:_LONGEST] + b"?")
        yield words
    if cut:
        yield [cut]


def _numbers(tokens: list[bytes], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """The values of words.

    Raises:
        DataError: a word is no number of the dtype.
    """
    if any(len(token) > _LONGEST for token in tokens):
        raise DataError(f"{name}: the voxels are not numbers")
    try:
        if dtype.kind == "f":
            return np.array([number_of(token) for token in tokens], np.float64).astype(dtype)
        if any(b"_" in token for token in tokens):
            raise ValueError("no number")
        return np.array([int(token) for token in tokens], dtype.newbyteorder("="))
    except (ValueError, OverflowError):
        raise DataError(f"{name}: the voxels are not numbers of type {dtype.name}") from None
