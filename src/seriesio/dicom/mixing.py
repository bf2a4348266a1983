"""Volumes that each lack a slice somewhere, so that every position has as many frames.

Then counting shows nothing, and the rank at each position would pair frames of different
moments: what recurs from position to position has to recur at all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .criteria import CRITERIA, Values, coded
from .numbering import numbered_through, numbered_volumes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import FrameTable

__all__ = ["Mixture", "find_mixture"]

# What is the same for a whole volume; clocks and heart beats may be a slice's own.
_NAMING: Final = ("b", "bvector", "te", "fa", "echo", "phase")
_NAMING_TIME: Final = "TemporalPositionIdentifier"
_OWN: Final = ("ti", "tr", "triggertime")
_DIGITS: Final = 2  # of ms, degrees, s/mm2: what differs by less is noise
_TOLD: Final = 10_000

Reading = tuple[str, Values]


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Why volumes cannot be told apart: values that not every position has.

    Attributes:
        readings: the attributes that tell, with the value of each frame.
        codes: (n,) which combination of values each frame has.
        slices: (n,) the position of each frame.
        absent: values that no frame has at all, of one attribute alone.
        certain: False if nothing tells which volume a frame belongs to.
    """

    readings: Sequence[Reading]
    codes: NDArray[np.intp] = field(repr=False)
    slices: NDArray[np.intp] = field(repr=False)
    absent: tuple[float, ...] = ()
    certain: bool = True

    @property
    def whole(self) -> NDArray[np.intp]:
        """The frames of the combinations that every position has equally often."""
        if not self.certain:
            return np.empty(0, np.intp)
        cells, counts, _ = _cells(self.codes, self.slices)
        kinds = cells // (int(self.slices.max()) + 1)
        least = np.full(int(self.codes.max()) + 1, len(self.codes))
        most, there = np.zeros_like(least), np.bincount(kinds, minlength=len(least))
        np.minimum.at(least, kinds, counts)
        np.maximum.at(most, kinds, counts)
        full = (least == most) & (there == int(self.slices.max()) + 1)
        return np.flatnonzero(full[self.codes])

    def missing(self) -> Iterator[tuple[tuple[tuple[str, Any], ...], int]]:
        """The values that are missing, and the position where; -1 if they are nowhere."""
        if self.absent:
            yield from ((((self.readings[0][0], value),), -1) for value in self.absent)
            return
        count = int(self.slices.max()) + 1
        first = np.unique(self.codes, return_index=True)[1]
        spread = np.bincount(_cells(self.codes, self.slices)[0] // count)
        partial = np.setdiff1d(self.codes, self.codes[self.whole])
        recurring = partial[spread[partial] > 1]
        named = recurring if len(recurring) else partial
        for code in named[: _TOLD // count + 1].tolist():
            there = np.bincount(self.slices[self.codes == code], minlength=count)
            told = tuple((name, values[first[code]].tolist()) for name, values in self.readings)
            yield from ((told, int(place)) for place in np.flatnonzero(there < there.max()))


def find_mixture(frames: FrameTable, slices: NDArray[np.intp]) -> Mixture | None:
    """What shows that frames of different volumes would be mixed; None if nothing does.

    Args:
        frames: as many at each position.
        slices: (n,) the position of each.
    """
    if _nothing_lost(frames):
        return None
    naming = list(_naming(frames))
    codes = _joint(naming, len(slices))
    if not _even(codes, slices):
        return Mixture(naming, codes, slices)
    own = [found for name in _OWN for found in _varying(CRITERIA[name].read(frames))]
    if len(_cells(codes, slices)[0]) == len(slices):
        return _partial(own, codes, slices)  # each combination once at each position
    clocks = list(_varying(CRITERIA["rank"].read(frames)))
    keys = [_joint([*naming, reading], len(slices)) for reading in (*clocks, *own)]
    fitting = [len(_cells(key, slices)[0]) == len(slices) for key in keys]
    if any(fits and _even(key, slices) for key, fits in zip(keys, fitting, strict=True)):
        return None
    for reading, key, fits in zip((*clocks, *own), keys, fitting, strict=True):
        recurs = 2 * len(slices) > (int(key.max()) + 1) * (int(slices.max()) + 1)
        if fits and (recurs or reading in clocks) and _shifted(codes, slices, reading[1], key):
            return Mixture([*naming, reading], key, slices)
    ranking = next((found for found, fits in zip(clocks, fitting, strict=False) if fits), None)
    return None if ranking is None else _skipped(frames, ranking, codes, slices)


def _partial(
    own: Sequence[Reading], codes: NDArray[np.intp], slices: NDArray[np.intp]
) -> Mixture | None:
    """Inversion or repetition times that some slices share and others do not."""
    for keyword, values in own:
        key = _joint([(keyword, values)], len(slices))
        if keyword != "TriggerTime" and not codes.any() and 2 * (int(key.max()) + 1) <= len(key):
            return Mixture([(keyword, values)], key, slices)
    return None


def _nothing_lost(frames: FrameTable) -> bool:
    """True if Instance Numbers show that all instances are there, or there is but one.

    Then values that differ from slice to slice are the slices' own, whatever they are.
    """
    numbers = frames.numbers("InstanceNumber")[:, 0]
    if frames.multiframe:
        return bool((frames.instance == frames.instance[0]).all())
    return numbered_through(numbers) if np.isfinite(numbers).all() else False


def _skipped(
    frames: FrameTable, ranking: Reading, groups: NDArray[np.intp], slices: NDArray[np.intp]
) -> Mixture | None:
    """Instance Numbers that are not there, where ranks alone tell volumes apart.

    ``groups``: what else is the same for a whole volume. Where the numbers tell the volumes, those
    that are not whole are kept apart. Where nothing but numbers tells them, and these leave a
    doubt, no frame can be assigned.
    """
    numbers = frames.numbers("InstanceNumber")[:, 0]
    if not np.isfinite(numbers).all():
        return None
    absent = _absent(numbers)
    if absent is None:
        return None
    volumes = None if groups.any() else numbered_volumes(numbers, slices)
    alone, reading = ranking[0] == "InstanceNumber", ("InstanceNumber", numbers)
    if volumes is None:
        nothing = np.zeros(len(slices), np.intp)
        return Mixture([reading], nothing, slices, absent, certain=False) if alone else None
    codes = np.unique(volumes, return_inverse=True)[1].reshape(-1)
    return Mixture([reading], codes, slices, absent) if alone or not _even(codes, slices) else None


def _absent(numbers: NDArray[np.float64]) -> tuple[float, ...] | None:
    """The numbers that are not there; None if they were not given one after the other."""
    unique = np.unique(numbers)
    steps = np.diff(unique)
    if len(unique) < len(numbers) or not len(steps):
        return None
    if steps.min() == steps.max() and steps[0] > 1:
        return None  # every other one: a rule, not a hole
    span = float(unique[-1] - unique[0]) + 1
    if not len(unique) < span <= 2 * len(unique):
        return None
    return tuple(np.setdiff1d(np.arange(unique[0], unique[-1]), unique).tolist())


def _naming(frames: FrameTable) -> Iterator[Reading]:
    for name in _NAMING:
        for keyword, values in CRITERIA[name].read(frames):
            rounded = values if values.dtype.kind == "U" else np.round(values, _DIGITS) + 0.0
            yield from _varying([(keyword, rounded)])
    for keyword, values in CRITERIA["time"].read(frames):
        if keyword == _NAMING_TIME:
            yield from _varying([(keyword, values)])


def _varying(readings: Sequence[Reading] | Iterator[Reading]) -> Iterator[Reading]:
    return (found for found in readings if (found[1] != found[1][0]).any())


def _joint(readings: Sequence[Reading], count: int) -> NDArray[np.intp]:
    """(n,) a number for each combination of values."""
    codes = np.zeros(count, np.intp)
    for _, values in readings:
        own = coded(values)[1]
        merged = codes * (int(own.max()) + 1) + own
        codes = np.unique(merged, return_inverse=True)[1].reshape(-1).astype(np.intp)
    return codes


def _cells(
    codes: NDArray[np.intp], slices: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The cells (code, position) that are there, how many frames each has, each frame's one."""
    cells = codes * (int(slices.max()) + 1) + slices
    found, places, counts = np.unique(cells, return_inverse=True, return_counts=True)
    return found, counts, places.reshape(-1)


def _even(codes: NDArray[np.intp], slices: NDArray[np.intp]) -> bool:
    """True if each code is at every position, everywhere equally often."""
    cells, counts, _ = _cells(codes, slices)
    shape = (int(codes.max()) + 1, int(slices.max()) + 1)
    if len(cells) != shape[0] * shape[1]:
        return False
    table = counts.reshape(shape)
    return bool((table == table[:, :1]).all())


def _shifted(
    codes: NDArray[np.intp], slices: NDArray[np.intp], values: Values, key: NDArray[np.intp]
) -> bool:
    """True if one value comes in different places of the order at different positions."""
    _, counts, places = _cells(codes, slices)
    order = np.lexsort((values, places))
    ranks = np.empty(len(order), np.intp)
    ranks[order] = np.arange(len(order)) - (np.cumsum(counts) - counts)[places[order]]
    pairs = np.unique(key * (int(ranks.max()) + 1) + ranks)
    return len(pairs) > int(key.max()) + 1
