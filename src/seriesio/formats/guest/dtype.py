"""The type that a caller asks for, where a format reads its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import EncodeError, TooLargeError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["converted"]

_BLOCK: Final = 1 << 20  # values


def converted(array: NDArray[Any], dtype: DTypeLike, name: str, memory: int) -> NDArray[Any]:
    """The array in another type: in its own memory where values are as wide, else a new one.

    Raises:
        EncodeError: the type does not hold the values, or is none of numbers.
        TooLargeError: both arrays together are more than ``memory`` bytes.
    """
    wanted = np.dtype(dtype)
    if wanted == array.dtype:
        return array
    if wanted.kind not in "iufc" or (array.dtype.kind == "c" and wanted.kind != "c"):
        raise EncodeError(f"{name}: dtype={wanted} does not hold values of type {array.dtype}")
    _check_range(array, wanted, name)
    flags = array.flags
    if wanted.itemsize == array.itemsize and flags.c_contiguous and flags.writeable:
        target = array.view(wanted)
    else:
        _check_room(array, wanted, name, memory)
        target = np.empty(array.shape, wanted)
    _copy(array, target, name)
    return target


def _check_range(array: NDArray[Any], wanted: np.dtype[Any], name: str) -> None:
    """Whole numbers never wrap around."""
    if wanted.kind not in "iu" or array.dtype.kind not in "iu":
        return
    if np.can_cast(array.dtype, wanted, "safe"):
        return
    limits = np.iinfo(wanted)
    low, high = int(array.min()), int(array.max())
    if low < limits.min or high > limits.max:
        raise EncodeError(f"{name}: dtype={wanted} does not hold values from {low} to {high}")


def _check_room(array: NDArray[Any], wanted: np.dtype[Any], name: str, memory: int) -> None:
    needed = array.nbytes + array.size * wanted.itemsize
    if needed > memory:
        raise TooLargeError(
            f"{name}: as {wanted} it takes {needed} bytes while it is converted, and {memory} are "
            "allowed"
        )


def _copy(array: NDArray[Any], target: NDArray[Any], name: str) -> None:
    """Piece by piece: where both are the same memory, just a piece is copied aside."""
    flat = array.flags.c_contiguous
    source, found = (array.reshape(-1), target.reshape(-1)) if flat else (array, target)
    step = _BLOCK if flat else 1
    try:
        with np.errstate(invalid="raise", over="raise"):
            for start in range(0, len(source), step):
                found[start : start + step] = source[start : start + step]
    except FloatingPointError:
        raise EncodeError(
            f"{name}: dtype={target.dtype} does not hold all values (NaN, infinity or too large)"
        ) from None
