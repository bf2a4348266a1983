"""Reductions of a series, over axes by number or by name: mean, sum, min, max …"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ._series_volume import SeriesVolume, plain, touch
from .dicom.indexing import collapse
from .dicom.unread import Unread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["AxisName", "SeriesReductions"]

AxisName: TypeAlias = "int | str"


class SeriesReductions(SeriesVolume):
    """What numpy's functions and methods of these names do, for a volume.

    ``axis`` is the number or the name of an axis (``"time"``), several of them in a tuple, or
    None for all. Over further axes, where all slices stay in place, the result is a series
    with the header of the first of each, under new UIDs; over slices, rows or columns, or with
    ``keepdims=True``, it is a plain array. What else numpy's function takes (``dtype``,
    ``out``, ``where`` …) goes by name; ``np.mean(series, axis="time")`` comes here, too.

    Raises:
        ValueError: no axis of that name (AxisError: of that number).
    """

    def mean(self, axis: AxisName | tuple[AxisName, ...] | None = None, **options: Any) -> Any:
        """The arithmetic mean."""
        return self._reduced(np.ndarray.mean, axis, options)

    def median(self, axis: AxisName | tuple[AxisName, ...] | None = None, **options: Any) -> Any:
        """The median. ``np.median`` itself knows numbers of axes only, and gives plain arrays."""
        return self._reduced(np.median, axis, options)

    def sum(self, axis: AxisName | tuple[AxisName, ...] | None = None, **options: Any) -> Any:
        """The sum."""
        return self._reduced(np.ndarray.sum, axis, options)

    def prod(self, axis: AxisName | tuple[AxisName, ...] | None = None, **options: Any) -> Any:
        """The product."""
        return self._reduced(np.ndarray.prod, axis, options)

    def min(self, axis: AxisName | tuple[AxisName, ...] | None = None, **options: Any) -> Any:
        """The smallest value: over slices, a minimum intensity projection."""
        return self._reduced(np.ndarray.min, axis, options)

    def max(self, axis: AxisName | tuple[AxisName, ...] | None = None, **options: Any) -> Any:
        """The largest value: over slices, a maximum intensity projection."""
        return self._reduced(np.ndarray.max, axis, options)

    def std(self, axis: AxisName | tuple[AxisName, ...] | None = None, **options: Any) -> Any:
        """The standard deviation; ``ddof=1`` for that of a sample."""
        return self._reduced(np.ndarray.std, axis, options)

    def var(self, axis: AxisName | tuple[AxisName, ...] | None = None, **options: Any) -> Any:
        """The variance; ``ddof=1`` for that of a sample."""
        return self._reduced(np.ndarray.var, axis, options)

    def any(self, axis: AxisName | tuple[AxisName, ...] | None = None, **options: Any) -> Any:
        """True where any value is not zero."""
        return self._reduced(np.ndarray.any, axis, options)

    def all(self, axis: AxisName | tuple[AxisName, ...] | None = None, **options: Any) -> Any:
        """True where all values are not zero."""
        return self._reduced(np.ndarray.all, axis, options)

    def _reduced(self, function: Callable[..., Any], axis: Any, options: Mapping[str, Any]) -> Any:
        places = self._numbers(axis)
        given = {name: plain(value) for name, value in options.items()}
        if isinstance(self._array, Unread):
            self._array.refuse()
        result = function(self._array, axis=places, **given)
        out = options.get("out")
        if out is not None:
            touch((out,))
            return out
        return result if given.get("keepdims") else self._collapsed(result, places)

    def _collapsed(self, result: Any, places: Any) -> Any:
        """A result over axes, where these leave it in place."""
        if places is None or result.dtype.kind not in "biuf":
            return result
        place = collapse(self._volume, places if isinstance(places, tuple) else (places,))
        return result if place is None else type(self)(place.with_array(result))

    def _numbers(self, axis: Any) -> Any:
        """Axes by their numbers."""
        if isinstance(axis, tuple):
            return tuple(map(self._numbers, axis))
        if not isinstance(axis, str):
            return axis
        names = [known.name for known in self._volume.axes]
        if axis not in names:
            raise ValueError(f"no axis {axis!r}: the axes are {', '.join(names)}")
        return names.index(axis)
