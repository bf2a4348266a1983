"""Computed values to stored pixels: an honest new representation, and what the header says.

Stored values and values are tied by the rescale (PS3.3 section C.11.1): value = stored * slope
+ intercept. Slope and intercept are Decimal Strings of at most 16 characters (PS3.5 section
6.2): everything here computes with the numbers that those strings say, not with those that
were wished for.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ..errors import EncodeError
from .inverse import Array, as_bytes, integer_dtype, inverse, limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Encoding", "decimal_string", "extent", "fit", "inverse", "pixel_module", "quantise"]

Changes: TypeAlias = dict[int, tuple[str, Any] | None]

_NARROW: Final = 16  # bits
_FULL: Final = 65535  # stored values of floats run from 0 to here
_DS_LENGTH: Final = 16
_LEAST_SLOPE: Final = Fraction(1, 10**300)  # still a normal float64


@dataclass(frozen=True, slots=True)
class Encoding:
    """How computed values are stored: the Image Pixel and the rescale attributes to be.

    ``slope`` and ``intercept`` are Decimal Strings of at most 16 characters; ``dtype`` is that
    of the stored values in the machine's byte order.
    """

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    slope: str
    intercept: str
    dtype: np.dtype[Any]

    @property
    def rescaled(self) -> bool:
        """True if stored values are not the values themselves."""
        return float(self.slope) != 1 or float(self.intercept) != 0

    @property
    def half_step(self) -> float:
        """The largest error of values that were no whole steps: half a step."""
        return float(self.slope) / 2 if self.rescaled else 0.0


def extent(array: Array) -> tuple[float, float]:
    """The smallest and the largest value, as Python numbers; what :func:`fit` needs.

    Raises:
        EncodeError: values that no image can hold: complex, not finite, none at all.
    """
    if array.dtype.kind not in "biuf":
        raise EncodeError(f"pixels of dtype {array.dtype} cannot be stored, only real numbers")
    if array.size == 0:
        raise EncodeError("an array without values cannot be stored")
    least, most = array.min().item(), array.max().item()
    if not (math.isfinite(least) and math.isfinite(most)):
        raise _not_finite(array)
    return least, most


def _not_finite(array: Array) -> EncodeError:
    count = array.size - int(np.count_nonzero(np.isfinite(array)))
    return EncodeError(
        f"{count} of {array.size} values are not finite (NaN or infinity) and cannot be stored; "
        "numpy.nan_to_num replaces them"
    )


def fit(
    minimum: float,
    maximum: float,
    dtype: np.dtype[Any] | type[Any] | str,
    *,
    integral: bool,
    words: bool = False,
    proportional: bool = False,
    narrow: bool = False,
) -> Encoding:
    """The honest representation of values from ``minimum`` to ``maximum`` of a dtype.

    Whole numbers (``integral``) are stored as they are, in the fewest bits of 8 (never
    signed), 16 or 32. Everything else is quantised to 65,536 steps that cover the range, with
    an error of at most half a step. ``words`` asks for at least 16 bits, all of them used, as the
    IODs of scanners want or allow it (PS3.3 sections C.8.2.1.1, C.8.3.1.1, C.8.9.4);
    ``proportional`` for an intercept of 0, as that of PET wants (C.8.9.4); ``narrow`` for 16 bits
    at most: whole numbers that need more are stored exactly by an intercept, if they span no more
    than 65,535, else in whole steps, with an error of at most half a step.

    Raises:
        EncodeError: not real numbers, not finite, or whole numbers beyond 32 bits. The last
            are refused rather than quantised, since labels and counts would be falsified in
            silence: ``astype(float)`` says that this is wanted.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "biuf":
        raise EncodeError(f"pixels of dtype {dtype} cannot be stored, only real numbers")
    if not (math.isfinite(minimum) and math.isfinite(maximum)) or minimum > maximum:
        raise EncodeError("the range of the values is not finite; numpy.nan_to_num replaces NaN")
    if integral or dtype.kind in "biu":
        encoding = _fit_integers(int(minimum), int(maximum), words)
        if not narrow or encoding.bits_allocated <= _NARROW:
            return encoding
        if not proportional:
            return _fit_steps(int(minimum), int(maximum))
    if proportional:
        return _fit_proportion(Fraction(minimum), Fraction(maximum))
    return _fit_floats(Fraction(minimum), Fraction(maximum))


def _fit_integers(minimum: int, maximum: int, words: bool) -> Encoding:
    signed = minimum < 0
    needed = max(maximum.bit_length(), (~minimum).bit_length() if signed else 0, 1) + signed
    if needed > 32:
        raise EncodeError(
            f"whole numbers from {minimum} to {maximum} need {needed} bits, more than the 32 that "
            "pixels have; astype(float) lets them be quantised"
        )
    # Readers expect 8 bits in a byte; 16 in a word suit all IODs of scanners.
    allocated = 8 if needed <= 8 and not (signed or words) else 16 if needed <= 16 else 32
    stored = max(needed, {8: 8, 16: 16 if words else 12, 32: 17}[allocated])
    dtype = integer_dtype(allocated, signed)
    return Encoding(allocated, stored, stored - 1, signed, "1", "0", dtype)


def _fit_steps(minimum: int, maximum: int) -> Encoding:
    """Whole steps from the minimum on: values that are read back are whole as well."""
    step = max(-(-(maximum - minimum) // _FULL), 1)
    return Encoding(16, 16, 15, False, str(step), str(minimum), np.dtype(np.uint16))


def _fit_floats(minimum: Fraction, maximum: Fraction) -> Encoding:
    """Steps from just below the minimum to just above the maximum, in rounded decimals."""
    intercept = decimal_string(minimum, up=False)
    if not math.isfinite(float(intercept)):
        raise EncodeError("values next to the largest double do not fit a decimal string")
    # Rounding to binary is monotonic: what readers make of the string is not above the minimum.
    width = maximum - Fraction(float(intercept))
    slope = decimal_string(max(width / _FULL, _LEAST_SLOPE), up=True) if width else "1"
    return Encoding(16, 16, 15, False, slope, intercept, np.dtype(np.uint16))


def _fit_proportion(minimum: Fraction, maximum: Fraction) -> Encoding:
    """Steps from zero, to both sides where there are negative values."""
    signed = minimum < 0
    width = max(abs(minimum), abs(maximum))
    full = _FULL // 2 if signed else _FULL
    slope = decimal_string(max(width / full, _LEAST_SLOPE), up=True) if width else "1"
    return Encoding(16, 16, 15, signed, slope, "0", integer_dtype(16, signed))


def decimal_string(value: Fraction | float, *, up: bool) -> str:
    """The Decimal String of at most 16 characters next to a value, not below or not above it.

    Raises:
        EncodeError: the value is not finite.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise EncodeError("a decimal string cannot hold NaN or infinity")
    exact = Fraction(value)
    rounding = ROUND_CEILING if up else ROUND_FLOOR
    for digits in range(_DS_LENGTH, 0, -1):
        context = Context(prec=digits, rounding=rounding)
        number = context.divide(Decimal(exact.numerator), Decimal(exact.denominator))
        number = number.normalize(context)
        shortest = min(f"{number:f}", str(number), key=len)
        if len(shortest) <= _DS_LENGTH:
            return shortest
    raise EncodeError("a number does not fit a decimal string")


def quantise(slot: Array, encoding: Encoding, little: bool) -> tuple[memoryview, int, int]:
    """The bytes of the stored values, and the smallest and the largest of them.

    Raises:
        EncodeError: values that are not finite, or outside the range that was fitted.
    """
    stored = _quantised(slot, encoding) if encoding.rescaled else slot
    if stored.dtype.kind == "b":
        stored = stored.view(np.uint8)
    least, most = stored.min().item(), stored.max().item()
    low, high = limits(encoding.bits_stored, encoding.signed)
    if not low <= least <= most <= high:
        if not np.isfinite(slot).all():
            raise _not_finite(slot)
        raise EncodeError("values lie outside the range that the encoding was made for")
    return as_bytes(stored.astype(encoding.dtype, copy=False), little), int(least), int(most)


def _quantised(slot: Array, encoding: Encoding) -> NDArray[np.float64]:
    slope, intercept = float(encoding.slope), float(encoding.intercept)
    steps = slot.astype(np.float64)
    with np.errstate(all="ignore"):
        if slope * _FULL > sys.float_info.max / 4:  # the difference might overflow
            steps /= slope
            steps -= intercept / slope
        else:
            steps -= intercept
            steps /= slope
    # The last rounding of a float may leave the range by a hair of a step.
    return np.rint(steps, out=steps)


# What spoke of the stored values that are gone: elements of the Image Pixel, LUT, Palette and
# Real World Value modules (PS3.3 sections C.7.6.3, C.7.9, C.11.1, C.11.2, C.7.6.16.2.11) and of
# compression. Window Center and Width stay: they are in rescaled units.
_STALE: Final = (
    *(0x00280006, 0x00280104, 0x00280105, 0x00280108, 0x00280109, 0x00280110, 0x00280111),
    *(0x00280120, 0x00280121, 0x00280122, 0x00280123),  # padding
    *(0x00281101, 0x00281102, 0x00281103, 0x00281104, 0x00281111, 0x00281112, 0x00281113),
    *(0x00281199, 0x00281201, 0x00281202, 0x00281203, 0x00281204, 0x00281211, 0x00281212),
    *(0x00281213, 0x00281214, 0x00281221, 0x00281222, 0x00281223),  # palettes
    *(0x00283000, 0x00283010, 0x00409096),  # modality LUT, VOI LUT, real world values
    *(0x00287FE0, 0x7FE00001, 0x7FE00002, 0x7FE00003),  # where compressed or remote pixels are
)


def pixel_module(
    encoding: Encoding,
    smallest: int,
    largest: int,
    *,
    samples: int = 1,
    photometric: str = "MONOCHROME2",
) -> Changes:
    """What an instance's header must say of computed pixels, as changes for the splicer.

    ``smallest`` and ``largest`` are stored values; ``samples`` is 1, or 3 for RGB;
    ``photometric`` is the instance's own so far. None deletes an element.
    """
    changes: Changes = dict.fromkeys(_STALE)
    changes |= _representation(encoding, samples, photometric)
    changes |= _smallest_and_largest(encoding, smallest, largest)
    changes |= _rescale(encoding, samples)
    return changes


def _representation(encoding: Encoding, samples: int, photometric: str) -> Changes:
    """The Image Pixel module (PS3.3 section C.7.6.3); colour is interleaved RGB."""
    gray = photometric if photometric == "MONOCHROME1" else "MONOCHROME2"
    return {
        0x00280002: ("US", samples),
        0x00280004: ("CS", gray if samples == 1 else "RGB"),
        0x00280006: ("US", 0) if samples > 1 else None,
        0x00280100: ("US", encoding.bits_allocated),
        0x00280101: ("US", encoding.bits_stored),
        0x00280102: ("US", encoding.high_bit),
        0x00280103: ("US", int(encoding.signed)),
    }


def _smallest_and_largest(encoding: Encoding, smallest: int, largest: int) -> Changes:
    """Smallest and Largest Image Pixel Value: 16-bit elements that cannot tell of 32 bits."""
    if encoding.bits_allocated > 16:
        return {0x00280106: None, 0x00280107: None}
    vr = "SS" if encoding.signed else "US"
    return {0x00280106: (vr, smallest), 0x00280107: (vr, largest)}


def _rescale(encoding: Encoding, samples: int) -> Changes:
    """Rescale Intercept and Slope; Rescale Type stays, colour has none of them."""
    if samples > 1:
        return {0x00281052: None, 0x00281053: None, 0x00281054: None}
    return {0x00281052: ("DS", encoding.intercept), 0x00281053: ("DS", encoding.slope)}
