"""Stored values to the values that they mean: which dtype, and the arithmetic in place.

Values are stored values times RescaleSlope plus RescaleIntercept (PS3.3 section C.11.1), kept
in the smallest integer type (not narrower than the stored one) that holds them exactly when
slope and intercept are whole, else in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import DicomError, EncodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from .layouts import Layouts
    from .pixels import PixelLayout

__all__ = ["ValuePlan", "WiderNeeded", "looked_up", "plan_values"]

_BLOCK: Final = 1 << 15


class WiderNeeded(Exception):
    """A value does not fit the dtype that was hoped for."""


@dataclass(frozen=True, slots=True, eq=False)
class ValuePlan:
    """How the stored values of each frame become values.

    Attributes:
        stored: dtype of stored values, in this machine's byte order.
        dtype: dtype of the volume.
        slope, intercept: (frames,) float64.
        low, high: (frames,) the stored values whose results fit ``dtype``, None where all do.
        identity: values are the stored values.
        integral: slope and intercept are whole, and so is ``dtype``.
        exact: stored values can be had back from the values.
    """

    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    identity: bool
    integral: bool
    exact: bool

    @property
    def in_place(self) -> bool:
        """True if stored values can be read into the slot and changed there."""
        same = self.stored.itemsize == self.dtype.itemsize
        return self.identity or (self.integral and same)

    def apply(self, cells: NDArray[Any], slot: NDArray[Any], frame: int) -> None:
        """Write the values of ``cells`` (stored values) into ``slot``; both may be one memory.

        Raises:
            WiderNeeded: a value does not fit the dtype.
        """
        if self.low is not None and self.high is not None:
            _check(cells, self.low[frame], self.high[frame])
        if self.identity:
            if cells is not slot:
                np.copyto(slot, cells, casting="unsafe")
        elif self.integral:
            _integers(cells, slot, int(self.slope[frame]), int(self.intercept[frame]))
        else:
            _floats(cells, slot, float(self.slope[frame]), float(self.intercept[frame]))


def _check(cells: NDArray[Any], low: float, high: float) -> None:
    limits = _limits(cells.dtype)
    if (low > limits.min and cells.min() < low) or (high < limits.max and cells.max() > high):
        raise WiderNeeded


def _integers(cells: NDArray[Any], slot: NDArray[Any], slope: int, intercept: int) -> None:
    # Arithmetic modulo 2^n: the result is right because it is known to fit.
    bits = 8 * slot.dtype.itemsize
    word = np.dtype(f"u{slot.dtype.itemsize}").type
    _copy(cells, slot)
    words = slot.view(word)
    if slope != 1:
        np.multiply(words, word(slope % (1 << bits)), out=words)
    if intercept:
        np.add(words, word(intercept % (1 << bits)), out=words)


def _copy(cells: NDArray[Any], slot: NDArray[Any]) -> None:
    if cells.dtype.itemsize == slot.dtype.itemsize:
        # The same bits under another sign; over one memory this costs nothing worth saving.
        cells = cells.view(slot.dtype)
    if not np.may_share_memory(cells, slot):
        np.copyto(slot, cells, casting="unsafe")


def _floats(cells: NDArray[Any], slot: NDArray[Any], slope: float, intercept: float) -> None:
    # In double precision, a block at a time within the cache, and rounded once.
    source, target = cells.reshape(-1), slot.reshape(-1)
    try:
        with np.errstate(over="raise"):
            for start in range(0, source.size, _BLOCK):
                part = slice(start, start + _BLOCK)
                values = source[part] * np.float64(slope)
                values += intercept
                if target.dtype.kind in "iu":
                    np.rint(values, out=values)
                np.copyto(target[part], values, casting="unsafe")
    except FloatingPointError as error:
        raise WiderNeeded from error


def plan_values(
    layouts: Sequence[PixelLayout],
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    *,
    dtype: DTypeLike | None = None,
    wide: bool = False,
) -> ValuePlan:
    """Choose the dtype of the volume; ``wide`` after a :class:`WiderNeeded`.

    Raises:
        DicomError: slopes and intercepts that no number can hold the results of.
        EncodeError: with ``wide``, when values do not fit the ``dtype`` that was asked for; a
            ``dtype`` that is no number, or whole for float pixel data.
    """
    layout = layouts[0]
    stored = layout.stored_dtype
    whole = bool((slope == np.rint(slope)).all() and (intercept == np.rint(intercept)).all())
    plain = bool((slope == 1).all() and (intercept == 0).all())
    _check_finite(layouts, slope, intercept)
    if dtype is not None:
        target = _asked_for(dtype, layout.kind, wide)
    elif plain or layout.kind != "integer":
        target = np.dtype(np.float64) if wide else stored
    elif whole:
        target = _integer_dtype(layouts, slope, intercept, wide)
    else:
        target = _float_dtype(layouts, slope, intercept)
    integral = whole and layout.kind == "integer" and target.kind in "iu"
    low, high = (None, None)
    if layout.kind == "integer":
        low, high = _fitting(layouts, slope, intercept, target)
    exact = _exact(layouts, slope, intercept, target, integral)
    identity = plain and target == stored
    return ValuePlan(stored, target, slope, intercept, low, high, identity, integral, exact)


def looked_up(
    layouts: Layouts,
    table: np.dtype[Any],
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    dtype: DTypeLike | None,
) -> ValuePlan:
    """Values that come out of a table of some dtype; ``slope`` and ``intercept`` have no say.

    Raises:
        EncodeError: a ``dtype`` that cannot hold what is in the table.
    """
    target = table if dtype is None else _asked_for(dtype, "integer", wide=False)
    if not np.can_cast(table, target, "safe"):
        raise EncodeError(f"dtype={target} does not hold the {table} values of the lookup table")
    stored = layouts.kinds[0].stored_dtype
    return ValuePlan(stored, target, slope, intercept, None, None, False, False, False)


def _asked_for(dtype: DTypeLike, kind: str, wide: bool) -> np.dtype[Any]:
    try:
        target = np.dtype(dtype).newbyteorder("=")
    except TypeError as error:
        raise EncodeError(f"dtype={dtype!r} is no type of numbers") from error
    if wide:
        raise EncodeError(f"dtype={target} does not hold all values of the series")
    if target.kind not in "iuf" or target.itemsize > 8:
        raise EncodeError(f"dtype={target} is no integer or float type of up to 64 bits")
    if kind != "integer" and target.kind != "f":
        raise EncodeError(f"dtype={target} does not hold the fractions of {kind} pixel data")
    return target


def _limits(dtype: np.dtype[Any]) -> Any:
    """The smallest and the largest number of a type, as ``min`` and ``max``."""
    return np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)


def _check_finite(
    layouts: Sequence[PixelLayout], slope: NDArray[np.float64], intercept: NDArray[np.float64]
) -> None:
    if layouts[0].kind != "integer":
        largest = float(np.finfo(layouts[0].stored_dtype).max) ** 0.5
    else:
        largest = max(abs(end) for end in _stored_range(layouts))
    top = float(np.finfo(np.float64).max) / 4
    if (np.abs(intercept) > top).any() or (np.abs(slope) > top / largest).any():
        raise DicomError("RescaleSlope or RescaleIntercept is too large for any number to hold")


def _float_dtype(
    layouts: Sequence[PixelLayout], slope: NDArray[np.float64], intercept: NDArray[np.float64]
) -> np.dtype[Any]:
    """float32, unless its range is too small for the slopes."""
    low, high = _value_range(layouts, slope, intercept)
    limits = np.finfo(np.float32)
    fits = max(-low, high) < float(limits.max) and np.abs(slope).min() > float(limits.tiny)
    return np.dtype(np.float32 if fits else np.float64)


def _stored_range(layouts: Sequence[PixelLayout]) -> tuple[float, float]:
    bits = max(layout.bits_stored for layout in layouts)
    if layouts[0].signed:
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1


def _value_range(
    layouts: Sequence[PixelLayout], slope: NDArray[np.float64], intercept: NDArray[np.float64]
) -> tuple[float, float]:
    ends = [slope * end + intercept for end in _stored_range(layouts)]
    return float(np.minimum(*ends).min()), float(np.maximum(*ends).max())


def _integer_dtype(
    layouts: Sequence[PixelLayout],
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    wide: bool,
) -> np.dtype[Any]:
    """The narrowest type from the stored width up; hoped for, unless ``wide``, at that width."""
    low, high = _value_range(layouts, slope, intercept)
    kind = "i" if low < 0 else "u"
    for width in (1, 2, 4, 8):
        if width < layouts[0].stored_dtype.itemsize:
            continue
        limits = np.iinfo(f"{kind}{width}")
        if not wide or (limits.min <= low and high <= limits.max):
            return np.dtype(f"{kind}{width}")
    return np.dtype(np.float64)


def _fitting(
    layouts: Sequence[PixelLayout],
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    target: np.dtype[Any],
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """The stored values of each frame whose results fit ``target``; None if all do."""
    least, most = float(_limits(target).min), float(_limits(target).max)
    low, high = _value_range(layouts, slope, intercept)
    if least <= low and high <= most:
        return None, None
    with np.errstate(over="ignore"):
        ends = [(bound - intercept) / slope for bound in (least, most)]
    return np.ceil(np.minimum(*ends)), np.floor(np.maximum(*ends))


def _exact(
    layouts: Sequence[PixelLayout],
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    target: np.dtype[Any],
    integral: bool,
) -> bool:
    if (slope == 0).any():
        return False
    if layouts[0].kind != "integer":
        plain = bool((slope == 1).all() and (intercept == 0).all())
        return plain and target.kind == "f" and target.itemsize >= layouts[0].bits_allocated // 8
    if target.kind in "iu":
        return integral
    # Rounding to the float type must stay well below half a step of the stored values.
    largest = np.maximum(*(np.abs(slope * end) for end in _stored_range(layouts)))
    error = (largest + np.abs(intercept)) * float(np.finfo(target).eps)
    return bool((error < 0.25 * np.abs(slope)).all())
