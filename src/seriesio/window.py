"""The window of a series: which grey values are shown as darkest and as brightest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pictured", "first_number", "shown", "window"]

_SAMPLES = 1 << 20  # grey values looked at
_PLAUSIBLE = 0.001  # the share of grey values that a header's window has to show


class Pictured(Protocol):
    """What a picture needs of a series."""

    @property
    def array(self) -> NDArray[Any]:
        """(…, slice, row, column), with a trailing 3 for colour."""
        ...

    @property
    def spacing(self) -> Any:
        """(dz, dy, dx) in mm."""
        ...


def window(series: Pictured) -> tuple[float, float]:
    """The grey values shown as darkest and as brightest, in the array's units.

    From WindowCenter and WindowWidth (DICOM PS3.3 C.11.2.1.2) where the header has them and they
    show something of this array; else the 1st and the 99.5th percentile. MONOCHROME1 does not
    change the window: a montage shows its lowest values brightest.

    Returns:
        (low, high), low < high.
    """
    sample = _sample(series.array)
    announced = _header_window(series)
    if announced and np.mean((sample > announced[0]) & (sample < announced[1])) >= _PLAUSIBLE:
        return announced
    return _robust_window(sample)


def shown(array: NDArray[Any]) -> NDArray[Any]:
    """What a picture shows of values: of complex ones, how large they are."""
    return np.abs(array) if array.dtype.kind == "c" else array


def _sample(array: NDArray[Any]) -> NDArray[np.float64]:
    """At most some _SAMPLES finite values, spread over the array."""
    flat = array.reshape(-1) if array.flags.c_contiguous else array.ravel()
    # An odd stride does not fall into step with rows of an even length.
    stride = max(1, flat.size // _SAMPLES) | 1
    sample = shown(flat[::stride]).astype(np.float64)
    finite: NDArray[np.float64] = sample[np.isfinite(sample)]
    return finite if finite.size else np.zeros(1)


def _header_window(series: Pictured) -> tuple[float, float] | None:
    centre, width = (
        first_number(getattr(series, name, None)) for name in ("windowCenter", "windowWidth")
    )
    if centre is None or width is None:
        return None
    linear = getattr(series, "voiLUTFunction", None) in (None, "", "LINEAR")
    if width < 1 if linear else width <= 0:
        return None
    if linear:  # PS3.3 C.11.2.1.2.1: the formula counts pixels' steps, not a continuous range
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return centre - width / 2, centre + width / 2


def first_number(value: Any) -> float | None:
    """The first of one or several numbers; None where there is no finite number."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        value = next(iter(value), None)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _robust_window(sample: NDArray[np.float64]) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(sample, (1, 99.5)))
    if low == high:
        low, high = float(sample.min()), float(sample.max())
    return (low, high) if low < high else (low - 0.5, low + 0.5)
