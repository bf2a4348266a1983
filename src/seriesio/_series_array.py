"""The array side of a series: numpy's protocols, indexing, arithmetic, copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ._series_reductions import SeriesReductions
from ._series_volume import plain, touch
from .dicom.indexing import same_place
from .errors import InconsistentSeriesError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from .dicom.sorting import Axis

__all__ = ["SeriesArray"]


class SeriesArray(SeriesReductions, NDArrayOperatorsMixin):
    """A volume that numpy takes for an array; what keeps its place in space is one again."""

    @property
    def array(self) -> NDArray[Any]:
        """The voxels themselves, no copy: further axes, then slice, row, column (and rgb)."""
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def __bool__(self) -> bool:
        """As numpy has it: an array of several values is neither true nor false."""
        return bool(self.array)

    def __contains__(self, value: object) -> bool:
        return value in self.array

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype=dtype, copy=copy)

    def __getitem__(self, index: Any) -> Any:
        """What keeps its place in space is a Series, the rest a plain array; a view if it can.

        Integers, slices and ``...`` give views; so do new axes before the slices, which are
        called "new". A list, an array or a mask of indices gives a copy: in place along a
        further axis, and along the slices if these ascend or descend.
        """
        return self._part(_plain_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array[_plain_index(index)] = plain(value)
        self.header.renew_uids()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """A result that keeps the place of its operands is a Series, any other a plain array.

        ``ufunc.reduce`` keeps it over further axes, as :meth:`sum` and its like.

        Raises:
            InconsistentSeriesError: operands (or masks, as ``where=``) of different places.
        """
        if method == "__call__" and not kwargs:
            return _called(ufunc, inputs)
        if method == "reduce" and inputs[0] is self:
            return self._reduced(ufunc.reduce, kwargs.pop("axis", 0), kwargs)
        out: tuple[Any, ...] = kwargs.get("out", ())
        operands = (*inputs, *out, kwargs["where"]) if "where" in kwargs else (*inputs, *out)
        together = [value for value in operands if isinstance(value, SeriesArray)]
        if method == "__call__":
            _check_together(together)
        kwargs = {name: plain(value) for name, value in kwargs.items()}
        if out:
            kwargs["out"] = tuple(map(plain, out))
        result = getattr(ufunc, method)(*map(plain, inputs), **kwargs)
        if method == "at":
            touch(inputs[:1])
        if out:
            return _written_into(result, out)
        return _placed(ufunc, result, together) if method == "__call__" else result

    # --- copies -------------------------------------------------------------------------------

    def __copy__(self) -> Self:
        """Another series with a header of its own, over the same voxels."""
        return type(self)(replace(self._volume, header=self.header.copy()))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """An independent series with voxels of its own."""
        array = self.array.copy()
        return type(self)(replace(self._volume, array=array, header=self.header.copy()))


def _plain_index(index: Any) -> Any:
    """An index without series (masks) in it."""
    return tuple(map(plain, index)) if isinstance(index, tuple) else plain(index)


def _written_into(result: Any, out: tuple[Any, ...]) -> Any:
    """What ``out=`` returns: the very objects that were given."""
    touch(out)
    if not isinstance(result, tuple):
        return result if out[0] is None else out[0]
    return tuple(part if given is None else given for part, given in zip(result, out, strict=True))


def _called(ufunc: np.ufunc, inputs: tuple[Any, ...]) -> Any:
    """A function of operands, and of nothing else."""
    together = [value for value in inputs if isinstance(value, SeriesArray)]
    if len(together) > 1:
        _check_together(together)
    return _placed(ufunc, ufunc(*map(plain, inputs)), together)


def _placed(ufunc: np.ufunc, result: Any, operands: Sequence[SeriesArray]) -> Any:
    """A result, or each of several, where it has a place; matmul mixes rows and columns."""
    if ufunc.signature is not None:
        return result
    if isinstance(result, tuple):
        return tuple(_where(part, operands) for part in result)
    return _where(result, operands)


def _where(result: Any, operands: Sequence[SeriesArray]) -> Any:
    """A result of the shape of an operand lies where that does."""
    for series in operands:
        if result.shape == series.shape and result.dtype.kind in "biuf":
            return series._computed(result, [other for other in operands if other is not series])
    return result


def _check_together(operands: Sequence[SeriesArray]) -> None:
    """Voxels that are computed with each other must lie in the same place."""
    for other in operands[1:]:
        if other is not operands[0] and not _together(operands[0], other):
            raise InconsistentSeriesError(
                "the two series lie in different places; compute with their .array if that is meant"
            )


def _together(one: SeriesArray, other: SeriesArray) -> bool:
    first, second = one._place, other._place
    return _plane(first.axes) == _plane(second.axes) and same_place(first.geometry, second.geometry)


def _plane(axes: Sequence[Axis]) -> list[int]:
    """[rows, columns]"""
    return [len(axis) for axis in axes if axis.name in ("row", "column")]
