"""Which frames make a whole series, and what is missing or came twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import IncompleteSeriesError, InconsistentSeriesError
from .criteria import CRITERIA, MOMENTS
from .geometry import SHIFT_TOLERANCE, Stack, missing_between, wide_gaps
from .mixing import Mixture, find_mixture
from .table import decode_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .frames import FrameTable

__all__ = ["Selection", "whole_series"]

_TOLD: Final = 20  # so many are named in the text of an error; all of them in ``missing``

Selection = tuple["NDArray[np.intp]", Stack, tuple[str, ...]]


def whole_series(
    frames: FrameTable, stack: Stack, warn: bool, order: tuple[str, ...] = ()
) -> Selection:
    """The frames that fill every position equally often, their stack, and what is not there.

    Raises:
        IncompleteSeriesError: something is missing or doubled, and ``warn`` is false; or no
            volume at all is whole.
        InconsistentSeriesError: a slice lies beside the others, and ``warn`` is false.
    """
    missing = [*_doubled(frames), *_uneven(frames, stack), *_misnumbered(frames, stack)]
    _refuse(missing, warn)
    chosen = _whole_part(frames, stack) if missing else np.arange(len(frames))
    if order not in (("none",), ("rank",)):
        chosen, lacking = _unmixed(frames, stack, chosen, warn)
        missing += [entry for entry in lacking if entry not in missing]
    part = _part(stack, chosen)
    gaps = _gaps(part)
    if gaps and not warn:
        raise IncompleteSeriesError(
            f"{len(gaps)} slices are missing between those that are there: {_listed(gaps)} along "
            'the normal; on_incomplete="warn" opens what is there',
            gaps,
        )
    if part.geometry.wander > SHIFT_TOLERANCE and not warn:
        raise InconsistentSeriesError(
            f"slices lie up to {part.geometry.wander:.3g} mm beside the line from the first to "
            'the last; on_incomplete="warn" opens them as they are'
        )
    return chosen, part, (*missing, *gaps)


def _refuse(missing: list[str], warn: bool) -> None:
    if missing and not warn:
        raise IncompleteSeriesError(
            f"positions are missing or doubled: {_listed(missing)}; "
            'on_incomplete="warn" opens what is whole',
            missing,
        )


def _gaps(stack: Stack) -> list[str]:
    single = [f"slice at {place:.4g} mm" for place in missing_between(stack)]
    wide = wide_gaps(stack)
    return single + [f"gap of {b - a:.4g} mm from {a:.4g} to {b:.4g} mm" for a, b in wide]


def _unmixed(
    frames: FrameTable, stack: Stack, chosen: NDArray[np.intp], warn: bool
) -> tuple[NDArray[np.intp], list[str]]:
    """The frames without those of volumes that lack a slice, and what these lack."""
    mixture = find_mixture(frames.subset(chosen), _part(stack, chosen).slices)
    if mixture is None:
        return chosen, []
    missing = _lacking(mixture, _part(stack, chosen))
    kept = mixture.whole
    _refuse(missing, warn and len(kept) > 0)
    return chosen[kept], missing


def _lacking(mixture: Mixture, stack: Stack) -> list[str]:
    locations = stack.geometry.slice_locations
    return [
        " and ".join(f"{keyword} {_told(keyword, value)}" for keyword, value in values)
        + (f" at position {locations[place]:.4g} mm" if place >= 0 else "")
        for values, place in mixture.missing()
    ]


def _misnumbered(frames: FrameTable, stack: Stack) -> Iterator[str]:
    """Instance Numbers that came twice or not at all, where nothing else tells the slices."""
    numbers = frames.instances.numbers("InstanceNumber")[:, 0]
    if stack.geometry.known or len(numbers) < 2 or np.isnan(numbers).any():
        return
    unique, counts = np.unique(numbers, return_counts=True)
    for number, count in zip(unique.tolist(), counts.tolist(), strict=True):
        if count > 1:
            yield f"InstanceNumber {number:.0f} came {count} times"
    steps = np.diff(unique)
    for place in np.flatnonzero(steps > steps.min(initial=np.inf)).tolist():
        first, last = unique[place] + 1, unique[place + 1] - 1
        yield f"InstanceNumber {first:.0f}" + (f" to {last:.0f}" if last > first else "")


def _listed(missing: list[str]) -> str:
    more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
    return "; ".join(missing[:_TOLD]) + more


def _part(stack: Stack, chosen: NDArray[np.intp]) -> Stack:
    """The stack of some of its frames."""
    if len(chosen) == len(stack.slices):
        return stack
    kept, slices = np.unique(stack.slices[chosen], return_inverse=True)
    geometry = replace(stack.geometry, positions=stack.geometry.positions[kept])
    return Stack(slices.reshape(-1).astype(np.intp), geometry, stack.thicknesses[kept])


def _doubled(frames: FrameTable) -> list[str]:
    """Instances that came more than once, by their SOP Instance UIDs."""
    column = frames.instances.column("SOPInstanceUID")
    counts = np.bincount(column.codes, minlength=len(column.values))
    return sorted(
        f"instance {decode_text(column.values[code])} came {counts[code]} times"
        for code in np.flatnonzero(counts > 1).tolist()
        if column.values[code]
    )


def _uneven(frames: FrameTable, stack: Stack) -> Iterator[str]:
    """Positions that have more or fewer frames than most, and what they lack."""
    counts = np.bincount(stack.slices)
    if (counts == counts[0]).all():
        return
    kinds = np.bincount(counts)
    usual = len(kinds) - 1 - int(kinds[::-1].argmax())  # of two that are as frequent, the larger
    locations = stack.geometry.slice_locations
    for place in np.flatnonzero(counts != usual).tolist():
        yield f"position {locations[place]:.4g} mm: {counts[place]} instead of {usual}"
    yield from _absent(frames, stack, usual)


def _absent(frames: FrameTable, stack: Stack, usual: int) -> Iterator[str]:
    """Which time, b value … is missing at which position, where one attribute tells."""
    count = int(stack.slices.max()) + 1
    locations = stack.geometry.slice_locations
    for keyword, values in _readings(frames):
        unique, codes = np.unique(values, return_inverse=True)
        if len(unique) != usual or usual < 2:
            continue
        there = np.zeros((count, usual), bool)
        there[stack.slices, codes.reshape(-1)] = True
        for place, value in np.argwhere(~there).tolist():
            told = _told(keyword, float(unique[value]))
            yield f"{keyword} {told} at position {locations[place]:.4g} mm"
        return


def _readings(frames: FrameTable) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for criterion in CRITERIA.values():
        yield from criterion.read(frames)


def _told(keyword: str, value: float) -> str:
    """A value as DICOM writes it: a moment as hours, minutes and seconds."""
    if keyword not in MOMENTS:
        return f"{value:.10g}"
    seconds = round(value % 86400, 3)
    return f"{int(seconds // 3600):02d}{int(seconds // 60 % 60):02d}{seconds % 60:06.3f}"


def _whole_part(frames: FrameTable, stack: Stack) -> NDArray[np.intp]:
    """Frames that have every position equally often, instances counted once.

    Whole volumes, where they are at least half of all; else the most frames that can be had.
    """
    kept = np.flatnonzero(_once(frames))
    slices = stack.slices[kept]
    counts = np.bincount(slices, minlength=int(stack.slices.max()) + 1)
    best = max(range(1, int(counts.max()) + 1), key=lambda m: (m * int((counts >= m).sum()), m))
    for _, values in _readings(frames):
        part = _full_volumes(values[kept], slices, counts)
        if 2 * len(part) >= len(kept):
            return kept[part]
    order = np.lexsort((frames.numbers("InstanceNumber")[kept, 0], slices))
    ranks = np.empty(len(kept), np.intp)
    ranks[order] = np.arange(len(kept)) - (np.cumsum(counts) - counts)[slices[order]]
    return kept[(ranks < best) & (counts[slices] >= best)]


def _once(frames: FrameTable) -> NDArray[np.bool_]:
    """(n,) False for the frames of instances whose UID came before."""
    column = frames.instances.column("SOPInstanceUID")
    first = np.zeros(len(column.codes), bool)
    first[np.unique(column.codes, return_index=True)[1]] = True
    nameless = np.array([not value for value in column.values], bool)[column.codes]
    return np.asarray((first | nameless)[frames.instance])


def _full_volumes(
    values: NDArray[np.float64], slices: NDArray[np.intp], counts: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The frames whose value occurs exactly once at every position that is there."""
    unique, codes = np.unique(values, return_inverse=True)
    codes = codes.reshape(-1)
    if len(unique) * len(counts) > 64 * len(values) + 1024:
        return np.empty(0, np.intp)  # a value for each frame: no volumes to be found
    table = np.zeros((len(unique), len(counts)), np.intp)
    np.add.at(table, (codes, slices), 1)
    full = (table == (counts > 0)).all(axis=1)
    return np.flatnonzero(full[codes])
