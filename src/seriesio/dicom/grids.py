"""Grids of frames: which frame is at each place of (further axes …, slice), and why.

What fills them are the values of some criteria (:class:`Sorter`), and each frame's slice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .criteria import MOMENTS, Criterion, Values, coded, complete

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import Frames

__all__ = [
    "Axis",
    "Grid",
    "Sorter",
    "by_arrival",
    "exact",
    "one_volume",
    "ranked",
    "repeated",
    "sorters_of",
]


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One axis of a volume: its name, the unit of its values, and one value for each index.

    ``values`` are (n,) numbers; (n, 3) unit vectors x, y, z of "bvector" and (n, 4) of "dti": b
    and the vector, in patient coordinates (LPS); (n,) texts of what has no numbers ("phase").
    """

    name: str
    unit: str
    values: NDArray[Any] = field(repr=False)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The frame at each place: ``frames[i, …, slice]``; the axes before the slices; and why."""

    frames: NDArray[np.intp]
    axes: tuple[Axis, ...]
    criterion: str
    reason: str
    ranked: str = ""
    """The keyword whose rank at each position tells the volumes apart, if one does."""


@dataclass(frozen=True, slots=True, eq=False)
class Sorter:
    """A criterion by one of its readers, read: each frame's value, and which of the few."""

    criterion: Criterion
    keyword: str
    values: Values
    kinds: Values
    codes: NDArray[np.intp]

    @property
    def timed(self) -> bool:
        """True if the values are moments, in seconds."""
        return self.keyword in MOMENTS

    @property
    def told(self) -> str:
        return f"{self.keyword} ({len(self.kinds)} values)"


def sorters_of(frames: Frames, criterion: Criterion) -> Iterator[Sorter]:
    for keyword, reader in criterion.readers:
        values = reader(frames)
        if complete(values):
            yield Sorter(criterion, keyword, values, *coded(values))


def one_volume(slices: NDArray[np.intp]) -> NDArray[np.intp]:
    order = np.empty(len(slices), np.intp)
    order[slices] = np.arange(len(slices))
    return order


def by_arrival(slices: NDArray[np.intp], count: int, volumes: int) -> Grid:
    grid = np.argsort(slices, kind="stable").reshape(count, volumes).T
    if volumes == 1:
        return Grid(grid[0], (), "none", "asked for")
    axis = Axis("none", "", np.arange(volumes, dtype=np.float64))
    return Grid(grid, (axis,), "none", "the order of arrival, as asked for")


def _cells(
    sorters: Sequence[Sorter], slices: NDArray[np.intp]
) -> tuple[tuple[int, ...], NDArray[np.intp]] | None:
    """The shape of the grid of values and slices, and each frame's cell; None if it has gaps."""
    shape = (*(len(sorter.kinds) for sorter in sorters), int(slices.max()) + 1)
    if math.prod(shape) > len(slices):
        return None
    return shape, np.ravel_multi_index((*(sorter.codes for sorter in sorters), slices), shape)


def exact(sorters: Sequence[Sorter], slices: NDArray[np.intp]) -> Grid | None:
    """The grid where every combination of values occurs once at every position."""
    found = _cells(sorters, slices)
    if found is None or math.prod(found[0]) != len(slices):
        return None
    shape, cells = found
    if (np.bincount(cells, minlength=len(cells)) != 1).any():
        return None
    told = " and ".join(sorter.told for sorter in sorters)
    axes = tuple(_axis(sorter, sorter.kinds) for sorter in sorters)
    return Grid(one_volume(cells).reshape(shape), axes, _joined(axes), f"{told} fills the grid")


def _joined(axes: Sequence[Axis]) -> str:
    return ",".join(axis.name for axis in axes)


def ranked(
    sorters: Sequence[Sorter], place: int, slices: NDArray[np.intp], least: int = 2
) -> Grid | None:
    """The grid by the rank of one sorter's values, where the others and the slice are equal.

    A slice has its own moment in each volume: what counts is which came first there. There
    have to be ``least`` of them.
    """
    own = sorters[place]
    others = [sorter for sorter in sorters if sorter is not own]
    found = _cells(others, slices)
    if found is None:
        return None
    shape, cells = found
    groups = math.prod(shape)
    steps = len(slices) // groups
    if steps < least or (np.bincount(cells, minlength=groups) * groups != len(slices)).any():
        return None
    order = np.lexsort((own.values, cells)).reshape(*shape, steps)
    values = own.values[order]
    if (np.diff(values, axis=-1) <= 0).any():
        return None
    told = " and ".join(sorter.keyword for sorter in others)
    axes = [_axis(sorter, sorter.kinds) for sorter in others]
    axes.insert(place, _rank_axis(own, values.reshape(groups, steps)))
    return Grid(
        np.moveaxis(order, -1, place),
        tuple(axes),
        _joined(axes),
        f"the rank of {own.keyword} at each position{told and ' and ' + told} fills the grid",
        own.keyword if steps > 1 else "",
    )


def repeated(
    sorters: Sequence[Sorter], rank: Sorter, slices: NDArray[np.intp], uneven: bool
) -> Grid | None:
    """The grid where a value of the last sorter may occur several times, everywhere as often.

    Frames that share all values stand side by side, in the order of ``rank``. If ``uneven``, not
    all values may occur equally often: those may be a further axis.
    """
    *others, last = sorters
    found = _cells(others, slices)
    if found is None:
        return None
    shape, cells = found
    groups, kinds = math.prod(shape), len(last.kinds)
    if groups * kinds > len(slices):
        return None
    counts = np.bincount(cells * kinds + last.codes, minlength=groups * kinds)
    counts = counts.reshape(groups, kinds)
    if (counts != counts[0]).any() or (uneven and (counts[0] == counts[0, 0]).all()):
        return None
    order = np.lexsort((rank.values, last.codes, cells)).reshape(*shape, -1)
    ties = (np.diff(last.codes[order]) == 0) & (np.diff(rank.values[order]) <= 0)
    if ties.any():
        return None
    axes = [_axis(sorter, sorter.kinds) for sorter in others]
    axes.append(_axis(last, np.repeat(last.kinds, counts[0], axis=0)))
    most = int(counts[0].max())
    return Grid(
        np.moveaxis(order, -1, len(others)),
        tuple(axes),
        _joined(axes),
        f"{' and '.join(sorter.told for sorter in sorters)} fill the grid, up to {most} volumes "
        f"of one value, in the order of {rank.keyword}",
    )


def _rank_axis(sorter: Sorter, values: NDArray[np.float64]) -> Axis:
    """An axis of time: the mean moments, or mere numbers where there are none."""
    if not sorter.timed:
        return Axis("time", "", np.arange(values.shape[1], dtype=np.float64))
    start = values.min()
    mean = (values - start).mean(axis=0) + start
    return Axis("time", "s", _since_midnight(mean))


def _axis(sorter: Sorter, values: Values) -> Axis:
    if sorter.timed:
        return Axis(sorter.criterion.name, "s", _since_midnight(values))
    unit = "" if sorter.criterion.name == "time" else sorter.criterion.unit
    return Axis(sorter.criterion.name, unit, values)


def _since_midnight(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A clock shows the time since its (first) day began."""
    return np.asarray(values - np.floor(values[0] / 86400) * 86400)
