"""Axes that follow the header: what an attribute that is set does to the axis it defines.

An axis tells volumes apart by an attribute (EchoTime, AcquisitionTime …). Where all of its
values are set at once, ascending still, the axis gets them; what would leave volumes that
nothing tells apart, or in another order, is refused: read back, it would be another series.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ..errors import HeaderError
from .criteria import clock_seconds
from .keywords import keyword_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .places import Places
    from .sorting import Axis

__all__ = ["followed", "is_of_time", "without_moments"]

Reader: TypeAlias = Callable[[int], Sequence[Any]]

_DAY: Final = 86400.0
_IMAGE_TYPE: Final = 0x00080008
# Times, and the dates that they belong to (PS3.3 sections C.7.6.1 and C.7.6.2).
_CLOCKS: Final = {0x00080032: 0x00080022, 0x00080033: 0x00080023, 0x0008002A: 0}
_OF_TIME: Final = {*_CLOCKS, *_CLOCKS.values()} - {0}
_TOLERANCE: Final = 1e-6


def is_of_time(tag: int) -> bool:
    """True for the moments that an axis of time can be made of."""
    return tag in _OF_TIME


def followed(places: Places, tag: int, before: Reader, after: Reader) -> tuple[Axis, ...] | None:
    """The axes when an attribute is set; None if they stay as they are.

    ``before`` and ``after`` give the values of a tag for all instances.

    Raises:
        HeaderError: an axis would no longer tell its volumes apart, or not in their order.
    """
    axes, changed = list(places.axes), False
    for place, axis in enumerate(axes[: places.leading]):
        if axis.name == "slice" or len(axis) < 2:
            continue
        moved = _moved(places, place, tag, before, after)
        if moved is not None:
            axes[place], changed = replace(axis, values=moved), True
    return tuple(axes) if changed else None


def without_moments(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """The axes with moments counted from the first, once dates and times are gone."""
    return tuple(
        replace(axis, values=axis.values - axis.values[0])
        if axis.name in ("time", "rank") and axis.unit == "s" and len(axis)
        else axis
        for axis in axes
    )


def _moved(
    places: Places, place: int, tag: int, before: Reader, after: Reader
) -> NDArray[np.float64] | None:
    """The new values of an axis that an attribute defines; None if it does not."""
    axis = places.axes[place]
    if tag == _IMAGE_TYPE:
        _check_kinds(axis, before(tag), after(tag))
        return None
    clock = _clock_of(tag)
    if (clock is not None) != (axis.name in ("time", "rank") and axis.unit == "s"):
        return None
    old = _table(places, place, _numbers(clock or tag, before))
    if old is None or not _defines(axis, old, clock is not None):
        return None
    new = _table(places, place, _numbers(clock or tag, after))
    if new is None or not _tells_apart(old, new):
        raise HeaderError(
            f"{keyword_for(tag)}: cannot be set so: it gives the axis {axis.name!r} its "
            f"{len(axis)} values, which must ascend: set them all with each=[...], "
            f"along={axis.name!r}, or take one volume first, as in series[0]"
        )
    return _merged(axis, new, clock is not None)


def _check_kinds(axis: Axis, old: Sequence[Any], new: Sequence[Any]) -> None:
    """Image Type values 3 and 4 tell magnitude from phase (PS3.3 section C.8.3.1.1.1)."""
    kinds = [[list(value or ())[2:] for value in values] for values in (old, new)]
    if axis.name == "phase" and kinds[0] != kinds[1]:
        raise HeaderError(
            f"ImageType: cannot be set so: its values from the third on give the axis "
            f"{axis.name!r} its values: take one volume first, as in series[0]"
        )


def _clock_of(tag: int) -> int | None:
    """The time that a tag is, or whose date it is."""
    if tag in _CLOCKS:
        return tag
    return next((time for time, date in _CLOCKS.items() if date == tag and date), None)


def _numbers(tag: int, read: Reader) -> list[Any]:
    """One number, or row of numbers, for each instance; NaN where there is none."""
    if tag not in _CLOCKS:
        return [_number(value) for value in read(tag)]
    if not _CLOCKS[tag]:
        return [_moment(str(value or "")) for value in read(tag)]
    pairs = zip(read(_CLOCKS[tag]), read(tag), strict=True)
    return [clock_seconds(str(date or ""), str(time or "")) for date, time in pairs]


def _moment(text: str) -> float:
    digits = text.split("+")[0].split("-")[0]
    return clock_seconds(digits[:8], digits[8:]) if len(digits) > 8 else float("nan")


def _number(value: Any) -> Any:
    try:
        if isinstance(value, str | bytes) or value is None:
            return float("nan")
        return [float(part) for part in value] if hasattr(value, "__len__") else float(value)
    except (TypeError, ValueError):
        return float("nan")


def _table(places: Places, place: int, values: list[Any]) -> NDArray[np.float64] | None:
    """(indices, frames[, parts]) the values along an axis; None where some have none."""
    try:
        table = np.array(values, np.float64)
    except ValueError:  # rows of different lengths
        return None
    if not np.isfinite(table).all():
        return None
    lanes = np.moveaxis(places.instances, place, 0)
    return np.asarray(table[lanes.reshape(len(lanes), -1)])


def _defines(axis: Axis, table: NDArray[np.float64], timed: bool) -> bool:
    """True if these are what the axis shows."""
    if axis.values.dtype.kind not in "fiu":
        return False
    shown, means = axis.values, table.mean(axis=1)
    if shown.ndim == 2:
        shown = _part(shown, means.ndim)
    if timed:
        shown, means = shown - shown[0], means - means[0]
    tolerance = 1e-4 if timed else _TOLERANCE  # the means of large numbers of seconds
    return shown.shape == means.shape and np.allclose(shown, means, tolerance, tolerance)


def _part(values: NDArray[np.float64], ndim: int) -> NDArray[np.float64]:
    """Of (b, x, y, z), the b values or the vectors."""
    if values.shape[1] != 4:
        return values
    return values[:, 0] if ndim == 1 else values[:, 1:]


def _tells_apart(old: NDArray[np.float64], new: NDArray[np.float64]) -> bool:
    """True if volumes are as different, and in the same order, as before."""
    if old.shape != new.shape:
        return False
    same = (old == old[:, :1]).all()
    if same and not (new == new[:, :1]).all():
        return False
    if new.ndim > 2:
        return len(np.unique(new[:, 0], axis=0)) == len(np.unique(old[:, 0], axis=0))
    steps, were = np.diff(new, axis=0), np.diff(old, axis=0)
    return bool((np.sign(steps) == np.sign(were)).all())


def _merged(axis: Axis, new: NDArray[np.float64], timed: bool) -> NDArray[np.float64]:
    """The values that the axis has from now on."""
    start = new.min()
    means = (new - start).mean(axis=1) + start if new.ndim == 2 else new.mean(axis=1)
    if timed:
        return np.asarray(means - np.floor(means[0] / _DAY) * _DAY)
    if axis.values.ndim == 1 or axis.values.shape == means.shape:
        return np.asarray(means)
    columns: Any = 0 if means.ndim == 1 else slice(1, None)
    merged = axis.values.copy()
    merged[:, columns] = means
    return merged
