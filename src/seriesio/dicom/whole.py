"""Which frames make a whole series, and what is missing or came twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import IncompleteSeriesError, InconsistentSeriesError
from .criteria import CRITERIA, MOMENTS, Values, coded
from .gaps import UNIFORM_TOLERANCE, missing_between, wide_gaps
from .geometry import SHIFT_TOLERANCE, Stack
from .mixing import Mixture, find_mixture
from .numbering import numbered_volumes
from .table import decode_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .frames import FrameTable

__all__ = ["Selection", "whole_series"]

_WIDE: Final = 100  # slices of a gap that are named
_TOLD: Final = 20  # so many are named in the text of an error; all of them in ``missing``

Selection = tuple["NDArray[np.intp]", Stack, tuple[str, ...]]


def whole_series(
    frames: FrameTable,
    stack: Stack,
    warn: bool,
    *,
    by_values: bool = True,
    uneven: bool = False,
) -> Selection:
    """The frames that fill every position equally often, their stack, and what is not there.

    Args:
        frames: all of a series, ``stack`` where they lie.
        warn: what is incomplete is told, not refused.
        by_values: False if frames are to be paired by mere order.
        uneven: True if positions may have more frames than others; these are left out, and told.

    Raises:
        IncompleteSeriesError: something is missing or doubled, and ``warn`` is false; or no
            volume at all is whole for certain.
        InconsistentSeriesError: a slice lies beside the others, and ``warn`` is false.
    """
    lacking = [*_doubled(frames), *_misnumbered(frames, stack)]
    counted = [*_uneven(frames, stack)]
    missing = [*lacking, *counted]
    _refuse(lacking if uneven else missing, warn)
    chosen = _whole_part(frames, stack) if missing else np.arange(len(frames))
    if by_values:
        chosen, lacking = _unmixed(frames, stack, chosen, warn)
        missing += [entry for entry in lacking if entry not in missing]
    part = _part(stack, chosen)
    gaps = _gaps(part) or _numbered_gaps(frames, chosen, part)
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


def _refuse_rest(missing: list[str]) -> None:
    """Nothing is left that is whole for certain."""
    raise IncompleteSeriesError(
        f"no volume is whole for certain, missing: {_listed(missing)}; "
        'input_order="rank" pairs the frames of each position by their order, at your own risk',
        missing,
    )


def _gaps(stack: Stack) -> list[str]:
    single = [f"slice at {_mm(place)} mm" for place in missing_between(stack)]
    wide = wide_gaps(stack)
    return single + [f"gap of {b - a:.4g} mm from {_mm(a)} to {_mm(b)} mm" for a, b in wide]


def _numbered_gaps(frames: FrameTable, chosen: NDArray[np.intp], stack: Stack) -> list[str]:
    """Slices whose numbers are missing, as wide as the gaps are between those that are there."""
    numbers = frames.numbers("InstanceNumber")[chosen, 0]
    if frames.multiframe or not stack.geometry.known or len(stack.geometry.positions) < 3:
        return []
    if len(numbers) > len(stack.geometry.positions) or np.isnan(numbers).any():
        return []
    order = np.argsort(stack.slices)
    steps, gaps = np.diff(numbers[order]), np.abs(np.diff(stack.geometry.slice_locations))
    if (np.sign(steps) != np.sign(steps[0])).any() or (steps == steps[0]).all():
        return []
    each = gaps / np.abs(steps)
    if np.ptp(each) > UNIFORM_TOLERANCE * each.max():
        return []  # uneven in any case
    lost = np.flatnonzero(np.abs(steps) > 1).tolist()
    low, way = numbers[order], np.sign(steps[0])
    return [
        f"InstanceNumber {low[place] + way * step:.0f}"
        for place in lost
        for step in range(1, int(min(abs(steps[place]), _WIDE)))
    ]


def _unmixed(
    frames: FrameTable, stack: Stack, chosen: NDArray[np.intp], warn: bool
) -> tuple[NDArray[np.intp], list[str]]:
    """The frames without those of volumes that lack a slice, and what these lack."""
    mixture = find_mixture(frames.subset(chosen), _part(stack, chosen).slices)
    if mixture is None:
        return chosen, []
    missing = _lacking(mixture, _part(stack, chosen))
    kept = mixture.whole
    _refuse(missing, warn)
    if not len(kept):
        _refuse_rest(missing)
    return chosen[kept], missing


def _lacking(mixture: Mixture, stack: Stack) -> list[str]:
    locations = stack.geometry.slice_locations
    return [
        " and ".join(f"{keyword} {_told(keyword, value)}" for keyword, value in values)
        + (f" at position {_mm(locations[place])} mm" if place >= 0 else "")
        for values, place in mixture.missing()
    ]


def _misnumbered(frames: FrameTable, stack: Stack) -> Iterator[str]:
    """Instance Numbers that came twice or not at all, where nothing else tells the slices."""
    if stack.geometry.known:
        return
    numbers = frames.instances.numbers("InstanceNumber")[:, 0]
    if len(numbers) < 2 or np.isnan(numbers).any():
        return
    unique, counts = np.unique(numbers, return_counts=True)
    for number, count in zip(unique.tolist(), counts.tolist(), strict=True):
        if count > 1:
            yield f"InstanceNumber {number:.0f} came {count} times"
    steps = np.diff(unique)
    for place in np.flatnonzero(steps > steps.min(initial=np.inf)).tolist():
        first, last = unique[place] + 1, unique[place + 1] - 1
        yield f"InstanceNumber {first:.0f}" + (f" to {last:.0f}" if last > first else "")


def _mm(place: float) -> str:
    """A distance from the origin; 0 where rounding errors are all that is left."""
    return f"{round(place, 6) + 0.0:.4g}"


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
        yield f"position {_mm(locations[place])} mm: {counts[place]} instead of {usual}"
    yield from _absent(frames, stack, usual)


def _absent(frames: FrameTable, stack: Stack, usual: int) -> Iterator[str]:
    """Which time, b value … is missing at which position, where one attribute tells."""
    count = int(stack.slices.max()) + 1
    locations = stack.geometry.slice_locations
    for keyword, values in _readings(frames):
        kinds, codes = coded(values)
        if len(kinds) != usual or usual < 2:
            continue
        there = np.zeros((count, usual), bool)
        there[stack.slices, codes] = True
        for place, kind in np.argwhere(~there).tolist():
            told = _told(keyword, kinds[kind].tolist())
            yield f"{keyword} {told} at position {_mm(locations[place])} mm"
        return


def _readings(frames: FrameTable) -> Iterator[tuple[str, Values]]:
    for criterion in CRITERIA.values():
        yield from criterion.read(frames)


def _told(keyword: str, value: Any) -> str:
    """A value as DICOM writes it: a moment as hours, minutes and seconds."""
    if isinstance(value, list):
        return "\\".join(f"{number:.4g}" for number in value)
    if isinstance(value, str):
        return value
    if keyword not in MOMENTS:
        return f"{value:.10g}"
    seconds = round(value % 86400, 3)
    return f"{int(seconds // 3600):02d}{int(seconds // 60 % 60):02d}{seconds % 60:06.3f}"


def _whole_part(frames: FrameTable, stack: Stack) -> NDArray[np.intp]:
    """Frames that have every position equally often, instances counted once.

    Whole volumes by a value or by their numbers, where they are at least half of all; else one
    frame for each position, where most have one; else the positions that have the most.
    """
    kept = np.flatnonzero(_once(frames))
    slices = stack.slices[kept]
    counts = np.bincount(slices, minlength=int(stack.slices.max()) + 1)
    for values in _volume_values(frames, kept, slices):
        part = _full_volumes(values, slices, counts)
        if 2 * len(part) >= len(kept):
            return kept[part]
    if np.bincount(counts).argmax() > 1:
        return np.asarray(kept[counts[slices] == counts.max()])  # those that lack one could be any
    order = np.lexsort((frames.numbers("InstanceNumber")[kept, 0], slices))
    first = np.unique(slices[order], return_index=True)[1]
    return np.sort(kept[order[first]])


def _volume_values(
    frames: FrameTable, kept: NDArray[np.intp], slices: NDArray[np.intp]
) -> Iterator[Values]:
    """Values that may be those of whole volumes."""
    yield from (values[kept] for _, values in _readings(frames))
    numbers = frames.numbers("InstanceNumber")[kept, 0]
    if np.isfinite(numbers).all() and not frames.multiframe:
        volumes = numbered_volumes(numbers, slices)
        if volumes is not None:
            yield volumes


def _once(frames: FrameTable) -> NDArray[np.bool_]:
    """(n,) False for the frames of instances whose UID came before."""
    column = frames.instances.column("SOPInstanceUID")
    first = np.zeros(len(column.codes), bool)
    first[np.unique(column.codes, return_index=True)[1]] = True
    nameless = np.array([not value for value in column.values], bool)[column.codes]
    return np.asarray((first | nameless)[frames.instance])


def _full_volumes(
    values: Values, slices: NDArray[np.intp], counts: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The frames whose value occurs exactly once at every position that is there."""
    kinds, codes = coded(values)
    if len(kinds) * len(counts) > 64 * len(values) + 1024:
        return np.empty(0, np.intp)  # a value for each frame: no volumes to be found
    table = np.zeros((len(kinds), len(counts)), np.intp)
    np.add.at(table, (codes, slices), 1)
    full = (table == (counts > 0)).all(axis=1)
    return np.flatnonzero(full[codes])
