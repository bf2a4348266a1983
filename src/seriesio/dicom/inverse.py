"""Values back to exactly the stored values that they were read from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .pixels import PixelLayout

__all__ = ["Array", "as_bytes", "integer_dtype", "inverse", "limits"]

Array: TypeAlias = "NDArray[Any]"

_PLAIN: Final = frozenset({"MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR"})


def inverse(
    slot: Array, layout: PixelLayout, slope: float, intercept: float, little: bool
) -> memoryview | None:
    """The stored values of an instance's slot in their original representation.

    ``slot`` holds the instance's values, of shape ([frames,] rows, columns[, samples]). Returns
    the bytes of the pixel value (to be padded to even length by the caller), or None where
    some value cannot be stored exactly: out of range, between two steps, or of a colour space
    that was converted. Without rescale and byte swap these are the slot's own bytes, uncopied.
    """
    if not (math.isfinite(slope) and math.isfinite(intercept) and _reproducible(slot, layout)):
        return None
    if layout.kind == "integer":
        stored = _stored_integers(slot, layout, slope, intercept)
    else:
        stored = _stored_floats(slot, layout, slope, intercept)
    return None if stored is None else _packed(stored, layout, little)


def _reproducible(slot: Array, layout: PixelLayout) -> bool:
    """True if the slot's shape and colour space are those that the layout describes."""
    frame = layout.shape
    if slot.dtype.kind not in "biuf" or not slot.dtype.isnative or layout.photometric not in _PLAIN:
        return False
    if slot.size == 0 or slot.shape[-len(frame) :] != frame:
        return False
    # Frames of single bits follow each other without padding (PS3.5 section 8.2).
    whole = layout.rows * layout.columns * layout.samples * layout.frames
    return layout.bits_allocated > 1 or slot.size % 8 == 0 or slot.size == whole


def _stored_integers(
    slot: Array, layout: PixelLayout, slope: float, intercept: float
) -> Array | None:
    low, high = limits(layout.bits_stored, layout.signed)
    dtype = integer_dtype(max(layout.bits_allocated, 8), layout.signed)
    if slot.dtype.kind == "b":
        slot = slot.view(np.uint8)
    if slot.dtype.kind in "iu" and slope == 1 and intercept == int(intercept):
        return _shifted(slot, int(intercept), low, high, dtype)
    stored = _steps(slot, slope, intercept)
    if stored is None or not low <= stored.min() <= stored.max() <= high:
        return None
    return stored.astype(dtype) if _rescales_to(slot, stored, slope, intercept) else None


def _shifted(
    slot: Array, intercept: int, low: int, high: int, dtype: np.dtype[Any]
) -> Array | None:
    """Integers minus a whole intercept, which must end between ``low`` and ``high``."""
    if not _within(slot, low + intercept, high + intercept):
        return None
    if intercept == 0 and slot.dtype == dtype:
        return slot
    # Modulo arithmetic in the wider of the two types: the result is known to be in range.
    width = max(slot.dtype.itemsize, dtype.itemsize)
    word = integer_dtype(8 * width, signed=False)
    words = slot.view(word) if slot.dtype.itemsize == width else slot.astype(word)
    stored: Array = words - word.type(intercept % (1 << 8 * width))
    return stored.view(dtype) if dtype.itemsize == width else stored.astype(dtype)


def _within(slot: Array, low: int, high: int) -> bool:
    least, most = limits(8 * slot.dtype.itemsize, slot.dtype.kind == "i")
    return (low <= least or int(slot.min()) >= low) and (high >= most or int(slot.max()) <= high)


def _steps(slot: Array, slope: float, intercept: float) -> NDArray[np.float64] | None:
    """(slot - intercept) / slope, to the nearest whole step; None where that is not finite."""
    if slope == 0:
        return None
    stored = slot.astype(np.float64)
    with np.errstate(all="ignore"):
        stored -= intercept
        stored /= slope
        np.rint(stored, out=stored)
        # The sum is finite only if all are; where it overflows, they are out of range anyway.
        return stored if math.isfinite(float(stored.sum())) else None


def _rescales_to(slot: Array, stored: Array, slope: float, intercept: float) -> bool:
    """True if rescaling gives exactly the slot, computed in double or in the slot's precision."""
    with np.errstate(all="ignore"):
        if np.array_equal((stored * slope + intercept).astype(slot.dtype), slot):
            return True
        if slot.dtype.kind != "f":
            return False
        narrow = stored.astype(slot.dtype)
        narrow *= slot.dtype.type(slope)
        narrow += slot.dtype.type(intercept)
        return np.array_equal(narrow, slot)


def _stored_floats(
    slot: Array, layout: PixelLayout, slope: float, intercept: float
) -> Array | None:
    """Float or Double Float Pixel Data (PS3.3 sections C.7.6.24 and C.7.6.25)."""
    dtype = np.dtype(np.float32 if layout.kind == "float" else np.float64)
    if slope == 0 or (slot.dtype == dtype and slope == 1 and intercept == 0):
        return slot if slope else None
    with np.errstate(all="ignore"):
        stored = ((slot.astype(np.float64) - intercept) / slope).astype(dtype)
    return stored if _rescales_to(slot, stored.astype(np.float64), slope, intercept) else None


def _packed(stored: Array, layout: PixelLayout, little: bool) -> memoryview:
    """Stored values as bytes: planes, unused low bits, byte order (PS3.5 chapter 8)."""
    if layout.bits_allocated == 1:
        return np.packbits(stored.reshape(-1), bitorder="little").data
    shift = layout.high_bit + 1 - layout.bits_stored
    if layout.kind == "integer" and shift > 0:
        stored = stored << stored.dtype.type(shift)
    if layout.samples > 1 and layout.planar:
        planes = stored.reshape(-1, layout.rows * layout.columns, layout.samples)
        stored = planes.transpose(0, 2, 1)
    return as_bytes(stored, little)


def as_bytes(stored: Array, little: bool) -> memoryview:
    """The bytes of an array in the given byte order; a copy only where it cannot be avoided."""
    ordered = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<" if little else ">"))
    return ordered.reshape(-1).view(np.uint8).data


def integer_dtype(bits: int, signed: bool) -> np.dtype[Any]:
    """The integer type of 8, 16, 32 or 64 bits."""
    return np.dtype(f"{'i' if signed else 'u'}{bits // 8}")


def limits(bits: int, signed: bool) -> tuple[int, int]:
    """The smallest and the largest integer of so many bits."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
