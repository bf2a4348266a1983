"""Which frame goes where: criteria fill a grid of (further axes …, slice).

Pure and independent of the order in which the frames come: every permutation of the input
gives the same grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import UnsortableSeriesError
from .criteria import CRITERIA, MOMENTS, Criterion, Values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import Frames

__all__ = ["Axis", "Grid", "fill_grid", "parse_order"]

# Further axes stand in this order; one that varies by itself is tried from the second on.
_AXES: Final = ("time", "b", "te", "ti", "fa", "tr", "triggertime")


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One axis of a volume: its name, the unit of its values, and one value for each index."""

    name: str
    unit: str
    values: NDArray[np.float64] = field(repr=False)

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
class _Sorter:
    """A criterion by one of its readers, read."""

    criterion: Criterion
    keyword: str
    values: NDArray[np.float64]

    @property
    def timed(self) -> bool:
        """True if the values are moments, in seconds."""
        return self.keyword in MOMENTS


def parse_order(input_order: str) -> tuple[str, ...]:
    """The criteria that an ``input_order`` names; () for "auto".

    Raises:
        UnsortableSeriesError: a name is unknown.
    """
    names = tuple(part.strip().lower() for part in input_order.split(",") if part.strip())
    if names in ((), ("auto",)):
        return ()
    if names == ("none",):
        return ("none",)
    for name in names:
        if name not in CRITERIA:
            known = ", ".join(sorted(CRITERIA))
            raise UnsortableSeriesError(
                f"input_order {name!r} is unknown; known are auto, none, {known}"
            )
    if len(set(names)) != len(names):
        raise UnsortableSeriesError(f"input_order {input_order!r} names a criterion twice")
    return names


def fill_grid(frames: Frames, slices: NDArray[np.intp], order: tuple[str, ...]) -> Grid:
    """Fill the grid of frames that belong to slices, each slice equally often.

    Raises:
        UnsortableSeriesError: the criteria do not fill the grid; says what varies.
    """
    count = int(slices.max()) + 1
    volumes = len(slices) // count
    if order == ("none",):
        return _by_arrival(slices, count, volumes)
    if order:
        found = next(_named(frames, slices, order), None)
        names = ",".join(order)
    elif volumes == 1:
        return Grid(_one_volume(slices), (), "slice", "one frame at each position")
    else:
        found = next(_automatic(frames, slices), None)
        names = "nothing"
    if found is None:
        told = "does not tell" if order else "tells"
        raise UnsortableSeriesError(
            f"{names} {told} the {volumes} frames at each of {count} positions apart; "
            f"{_variation(frames)}"
        )
    return found


def _one_volume(slices: NDArray[np.intp]) -> NDArray[np.intp]:
    order = np.empty(len(slices), np.intp)
    order[slices] = np.arange(len(slices))
    return order


def _by_arrival(slices: NDArray[np.intp], count: int, volumes: int) -> Grid:
    grid = np.argsort(slices, kind="stable").reshape(count, volumes).T
    if volumes == 1:
        return Grid(grid[0], (), "none", "asked for")
    axis = Axis("none", "", np.arange(volumes, dtype=np.float64))
    return Grid(grid, (axis,), "none", "the order of arrival, as asked for")


def _named(frames: Frames, slices: NDArray[np.intp], order: tuple[str, ...]) -> Iterator[Grid]:
    """The grids that criteria fill which the caller has named."""
    yield from _filled(frames, slices, order)
    if order == ("time",):  # slices that each have their own time
        yield from _filled(frames, slices, ("rank",))


def _automatic(frames: Frames, slices: NDArray[np.intp]) -> Iterator[Grid]:
    """The grids that fit, the most telling first."""
    single = _AXES[1:]
    for name in single:
        yield from _filled(frames, slices, (name,))
    varying = [name for name in _AXES if _varies(frames, CRITERIA[name])]
    pairs = combinations(varying, 2)
    for pair in sorted(pairs, key=lambda names: "time" in names):
        yield from _filled(frames, slices, pair)
    yield from _filled(frames, slices, ("time",))
    yield from _filled(frames, slices, ("rank",))


def _filled(frames: Frames, slices: NDArray[np.intp], names: Sequence[str]) -> Iterator[Grid]:
    """The grids that criteria fill; each criterion alone tries all of its readers."""
    criteria = [CRITERIA[name] for name in names]
    for sorters in _sorters(frames, criteria):
        ranked = len(sorters) == 1 and sorters[0].criterion.ranked
        found = None if ranked else _exact(sorters, slices)
        places = [place for place, sorter in enumerate(sorters) if sorter.timed or ranked]
        if found is None and (ranked or len(sorters) > 1) and len(places) == 1:
            found = _ranked(sorters, places[0], slices)
        if found is not None:
            yield found


def _sorters(frames: Frames, criteria: Sequence[Criterion]) -> Iterator[list[_Sorter]]:
    if len(criteria) == 1:
        for keyword, values in criteria[0].read(frames):
            yield [_Sorter(criteria[0], keyword, values)]
        return
    chosen = [_first_varying(frames, criterion) for criterion in criteria]
    found = [sorter for sorter in chosen if sorter is not None]
    if len(found) == len(criteria):
        yield found


def _first_varying(frames: Frames, criterion: Criterion) -> _Sorter | None:
    for keyword, values in criterion.read(frames):
        if (values != values[0]).any():
            return _Sorter(criterion, keyword, values)
    return None


def _varies(frames: Frames, criterion: Criterion) -> bool:
    return _first_varying(frames, criterion) is not None


def _variation(frames: Frames) -> str:
    """Which attributes vary, and in how many values: what an error tells the user."""
    found: dict[str, int] = {}
    for criterion in CRITERIA.values():
        for keyword, reader in criterion.readers:
            values = reader(frames)
            found[keyword] = len(np.unique(values[np.isfinite(values)]))
    told = [f"{keyword} ({kinds} values)" for keyword, kinds in found.items() if kinds > 1]
    return f"what varies: {', '.join(told) or 'nothing that sorting knows'}"


def _coded(sorters: Sequence[_Sorter]) -> tuple[list[Values], list[NDArray[np.intp]]]:
    """The different values of each sorter, ascending, and which of them each frame has."""
    pairs = [np.unique(sorter.values, return_inverse=True) for sorter in sorters]
    return [unique for unique, _ in pairs], [codes.reshape(-1) for _, codes in pairs]


def _exact(sorters: Sequence[_Sorter], slices: NDArray[np.intp]) -> Grid | None:
    """The grid where every combination of values occurs once at every position."""
    count = int(slices.max()) + 1
    uniques, codes = _coded(sorters)
    shape = (*(len(unique) for unique in uniques), count)
    if math.prod(shape) != len(slices):
        return None
    cells = np.ravel_multi_index((*codes, slices), shape)
    if (np.bincount(cells, minlength=len(cells)) != 1).any():
        return None
    told = " and ".join(
        f"{sorter.keyword} ({len(unique)} values)"
        for sorter, unique in zip(sorters, uniques, strict=True)
    )
    axes = tuple(_axis(sorter, unique) for sorter, unique in zip(sorters, uniques, strict=True))
    names = ",".join(axis.name for axis in axes)
    return Grid(_one_volume(cells).reshape(shape), axes, names, f"{told} fills the grid")


def _ranked(sorters: Sequence[_Sorter], place: int, slices: NDArray[np.intp]) -> Grid | None:
    """The grid by the rank of one sorter's values, where the others and the slice are equal.

    A slice has its own moment in each volume: what counts is which came first there.
    """
    own = sorters[place]
    others = [sorter for sorter in sorters if sorter is not own]
    count = int(slices.max()) + 1
    uniques, codes = _coded(others)
    shape = (*(len(unique) for unique in uniques), count)
    groups = math.prod(shape)
    steps = len(slices) // groups
    if steps < 2 or steps * groups != len(slices):
        return None
    cells = np.ravel_multi_index((*codes, slices), shape)
    if (np.bincount(cells, minlength=groups) != steps).any():
        return None
    order = np.lexsort((own.values, cells)).reshape(*shape, steps)
    values = own.values[order]
    if (np.diff(values, axis=-1) <= 0).any():
        return None
    told = " and ".join(sorter.keyword for sorter in others)
    axes = [_axis(sorter, unique) for sorter, unique in zip(others, uniques, strict=True)]
    axes.insert(place, _rank_axis(own, values.reshape(groups, steps)))
    return Grid(
        np.moveaxis(order, -1, place),
        tuple(axes),
        ",".join(axis.name for axis in axes),
        f"the rank of {own.keyword} at each position{told and ' and ' + told} fills the grid",
        own.keyword,
    )


def _rank_axis(sorter: _Sorter, values: NDArray[np.float64]) -> Axis:
    """An axis of time: the mean moments, or mere numbers where there are none."""
    if not sorter.timed:
        return Axis("time", "", np.arange(values.shape[1], dtype=np.float64))
    start = values.min()
    mean = (values - start).mean(axis=0) + start
    return Axis("time", "s", _since_midnight(mean))


def _axis(sorter: _Sorter, values: NDArray[np.float64]) -> Axis:
    if sorter.timed:
        return Axis(sorter.criterion.name, "s", _since_midnight(values))
    unit = "" if sorter.criterion.name == "time" else sorter.criterion.unit
    return Axis(sorter.criterion.name, unit, values)


def _since_midnight(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A clock shows the time since its (first) day began."""
    return np.asarray(values - np.floor(values[0] / 86400) * 86400)
