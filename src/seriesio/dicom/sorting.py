"""Which frame goes where: criteria fill a grid of (further axes …, slice).

Pure and independent of the order in which the frames come: every permutation of the input
gives the same grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import UnsortableSeriesError
from .criteria import CRITERIA, Criterion, Values, coded
from .dimensions import dimensions
from .grids import Axis, Grid, Sorter, by_arrival, exact, one_volume, ranked, repeated, sorters_of
from .own_criteria import names_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import FrameTable

__all__ = ["Axis", "Grid", "Order", "fill_grid", "make_order", "parse_order"]

# Further axes stand in this order; time is tried last.
_AXES: Final = ("time", "b", "te", "ti", "fa", "tr", "triggertime", "echo", "phase")
_SINGLE: Final = (*_AXES[1:], "dti")
_SET: Final = frozenset({"te", "ti", "fa", "tr"})  # by who plans a scan, not measured
_SAME: Final = 1e-2  # of the largest value: what differs by less was not set
_MOST_AXES: Final = 3  # that are looked for; any number can be named


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What the caller says of sorting.

    Attributes:
        names: the criteria to sort by; () to find them, ("none",) for the order of arrival.
        criteria: all that are known, by name.
        candidates: the criteria to look among, in their order; () for the usual ones.
        duplicates: several frames may have the same values.
    """

    names: tuple[str, ...] = ()
    criteria: Mapping[str, Criterion] = field(default_factory=lambda: CRITERIA)
    candidates: tuple[str, ...] = ()
    duplicates: bool = False

    @property
    def by_values(self) -> bool:
        """False if the caller asks for mere arrival or mere rank."""
        return self.names not in (("none",), ("rank",))


def parse_order(input_order: str, criteria: Mapping[str, Criterion] = CRITERIA) -> tuple[str, ...]:
    """The criteria that an ``input_order`` names; () for "auto".

    Raises:
        UnsortableSeriesError: a name is unknown, or twice there.
    """
    names = names_in(input_order)
    if names in ((), ("auto",)):
        return ()
    if names == ("none",):
        return ("none",)
    _check_names(names, criteria, f"input_order {input_order!r}")
    return names


def _check_names(names: Sequence[str], criteria: Mapping[str, Criterion], where: str) -> None:
    for name in names:
        if name not in criteria:
            known = ", ".join(sorted(criteria))
            raise UnsortableSeriesError(
                f"{where}: {name!r} is unknown; known are auto, none, {known}; others by "
                f'{name}="Keyword" or a function of a Dataset'
            )
    if len(set(names)) != len(names):
        raise UnsortableSeriesError(f"{where} names a criterion twice")


def make_order(
    input_order: str,
    criteria: Mapping[str, Criterion],
    auto_sort: Sequence[str] | None,
    duplicates: bool,
) -> Order:
    """What the options of ``open`` say of sorting.

    Raises:
        UnsortableSeriesError: a name is unknown, or twice there.
    """
    candidates = tuple(name.strip().lower() for name in auto_sort or ())
    _check_names(candidates, criteria, "auto_sort")
    return Order(parse_order(input_order, criteria), criteria, candidates, duplicates)


def fill_grid(frames: FrameTable, slices: NDArray[np.intp], order: Order) -> Grid:
    """Fill the grid of frames that belong to slices, each slice equally often.

    Raises:
        UnsortableSeriesError: the criteria do not fill the grid; says what varies.
    """
    count = int(slices.max()) + 1
    volumes = len(slices) // count
    if order.names == ("none",):
        return by_arrival(slices, count, volumes)
    if volumes == 1 and order.names in ((), ("rank",)):
        return Grid(one_volume(slices), (), "slice", "one frame at each position")
    search = _Search(frames, slices, order)
    found = next(search.named() if order.names else search.automatic(), None)
    if found is None:
        raise UnsortableSeriesError(search.failure())
    return found


class _Search:
    """The criteria of some frames, each read once, and the grids that they fill."""

    def __init__(self, frames: FrameTable, slices: NDArray[np.intp], order: Order) -> None:
        self.frames = frames
        self.slices = slices
        self.order = order
        self.count = int(slices.max()) + 1
        self._read: dict[str, list[Sorter]] = {}

    def sorters(self, name: str) -> list[Sorter]:
        """A criterion by each of its readers that finds a value for every frame."""
        found = self._read.get(name)
        if found is None:
            criterion = self.order.criteria[name]
            found = self._read[name] = list(sorters_of(self.frames, criterion))
        return found

    def varying(self, name: str) -> Sorter | None:
        """A criterion by the first of its readers that finds several values."""
        return next((sorter for sorter in self.sorters(name) if len(sorter.kinds) > 1), None)

    def named(self) -> Iterator[Grid]:
        """The grids that criteria fill which the caller has named."""
        names = self.order.names
        yield from self._filled(names)
        if self.order.duplicates or (len(names) == 1 and self._lists(names[0])):
            yield from self._listed(names)
        if names == ("time",):  # slices that each have their own time
            yield from self._filled(("rank",))

    def automatic(self) -> Iterator[Grid]:
        """The grids that fit, the most telling first."""
        single = self.order.candidates or _SINGLE
        meant = [name for name in single if not self._noise(name)]
        for name in meant:
            yield from self._filled((name,))
        lists = [name for name in single if self._lists(name) and self.varying(name) is not None]
        for names in self._combined(self.order.candidates or (*_AXES, "dti")):
            if "time" in names and not self.order.candidates:
                yield from self._uneven(lists)
                lists = []
            yield from self._filled(names)
        yield from self._uneven(lists)
        if self.order.duplicates:
            yield from (grid for name in single for grid in self._listed((name,)))
        if not self.order.candidates:
            yield from self._filled(("time",))
        yield from self._indexed()
        yield from self._filled(("rank",))
        for name in [name for name in single if name not in meant]:
            yield from self._filled((name,))

    def _indexed(self) -> Iterator[Grid]:
        """The grids of the objects' own dimensions: each alone, then all that vary together."""
        found = [next(sorters_of(self.frames, own), None) for own in dimensions(self.frames)]
        several = [sorter for sorter in found if sorter is not None and len(sorter.kinds) > 1]
        for sorter in several:
            yield from _some(exact([sorter], self.slices))
        if len(several) > 1:
            yield from _some(exact(several, self.slices))

    def _lists(self, name: str) -> bool:
        return self.order.criteria[name].listed

    def _noise(self, name: str) -> bool:
        """True if nobody has asked for a criterion whose values are all but the same.

        A repetition time that is measured sets no order of volumes; their times do.
        """
        if self.order.candidates or name not in _SET:
            return False
        sorter = self.varying(name)
        if sorter is None:
            return False
        return bool(np.ptp(sorter.kinds) < _SAME * np.abs(sorter.kinds).max())

    def _uneven(self, names: Sequence[str]) -> Iterator[Grid]:
        """The grids where some values (b = 0) stand for more volumes than others."""
        for name in names:
            yield from self._listed((name,), uneven=True)

    def _combined(self, candidates: Sequence[str]) -> list[tuple[str, ...]]:
        """Several criteria that vary; those with time last, unless they were asked for."""
        varying = [name for name in candidates if self.varying(name) and not self._noise(name)]
        groups = [
            names for size in range(2, _MOST_AXES + 1) for names in combinations(varying, size)
        ]
        return groups if self.order.candidates else sorted(groups, key=lambda n: "time" in n)

    def _filled(self, names: Sequence[str]) -> Iterator[Grid]:
        """The grids that criteria fill; each criterion alone tries all of its readers."""
        if len(names) > 1:
            several = self._together(names)
            if len(several) == len(names):
                yield from self._by_several(several)
        elif self.order.criteria[names[0]].ranked:
            for sorter in self.sorters(names[0]):
                yield from _some(ranked([sorter], 0, self.slices))
        else:
            yield from self._by_one_time(names[0])
            yield from self._by_exact(self.sorters(names[0]))

    def _together(self, names: Sequence[str]) -> list[Sorter]:
        """One reader of each criterion, of those that have one."""
        return [sorter for name in names if (sorter := self._reader(name)) is not None]

    def _reader(self, name: str) -> Sorter | None:
        """The first reader that finds several values; if the caller has named it, one is enough."""
        found = self.varying(name)
        if found is None and self.order.names:
            return next(iter(self.sorters(name)), None)
        return found

    def _by_exact(self, sorters: Sequence[Sorter]) -> Iterator[Grid]:
        for sorter in sorters:
            yield from _some(exact([sorter], self.slices))

    def _by_one_time(self, name: str) -> Iterator[Grid]:
        """One volume, asked for by time: its slices' moments make one mean moment."""
        if self.order.names == (name,) and self.count == len(self.slices):
            for sorter in self.sorters(name):
                if sorter.timed:
                    yield from _some(ranked([sorter], 0, self.slices, least=1))

    def _by_several(self, sorters: list[Sorter]) -> Iterator[Grid]:
        found = exact(sorters, self.slices)
        places = [place for place, sorter in enumerate(sorters) if sorter.timed]
        if found is None and len(places) == 1:
            least = 1 if self.order.names else 2
            found = ranked(sorters, places[0], self.slices, least)
        yield from _some(found)

    def _listed(self, names: Sequence[str], *, uneven: bool = False) -> Iterator[Grid]:
        """The grids where several frames share values; they stand side by side, by rank."""
        if len(names) == 1:
            groups = [[sorter] for sorter in self.sorters(names[0])]
        else:
            groups = [self._together(names)]
        for group in groups:
            if len(group) == len(names):
                for rank in self.sorters("rank"):
                    yield from _some(repeated(group, rank, self.slices, uneven))

    def failure(self) -> str:
        """What to say where nothing fills the grid."""
        names = ",".join(self.order.names)
        lacking = [name for name in self.order.names if not self.sorters(name)]
        if lacking:
            keywords = " or ".join(keyword for keyword, _ in self._criterion(lacking[0]).readers)
            return f"{lacking[0]}: not every frame has a value of {keywords}; {self._variation()}"
        told = f"{names} does not tell" if names else "nothing tells"
        volumes = len(self.slices) // self.count
        hint = ", accept_duplicate_tag=True lets frames have the same values" if names else ""
        return (
            f"{told} the {volumes} frames at each of {self.count} positions apart; "
            f"{self._variation()}{hint}"
        )

    def _criterion(self, name: str) -> Criterion:
        return self.order.criteria[name]

    def _variation(self) -> str:
        """Which attributes vary, and in how many values: what an error tells the user."""
        found: dict[str, int] = {}
        for criterion in self.order.criteria.values():
            for keyword, reader in criterion.readers:
                found.setdefault(keyword, _kinds(reader(self.frames)))
        told = [f"{keyword} ({kinds} values)" for keyword, kinds in found.items() if kinds > 1]
        return f"what varies: {', '.join(told) or 'nothing that sorting knows'}"


def _kinds(values: Values) -> int:
    """How many different values there are, of those that are."""
    if values.ndim > 1:
        values = values[np.isfinite(values).all(axis=1)]
    else:
        values = values[values != ""] if values.dtype.kind == "U" else values[np.isfinite(values)]
    return len(coded(values)[0])


def _some(grid: Grid | None) -> Iterator[Grid]:
    if grid is not None:
        yield grid
