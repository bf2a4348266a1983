"""Stored values to values in one compiled pass, for the cells that most series are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..native import compiled, finish, read_cells
from .pixel_layout import LITTLE_HOST
from .rescale import WiderNeeded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..native import Span
    from .pixels import PixelLayout
    from .plan import Plan
    from .rescale import ValuePlan

__all__ = ["Frame", "fits_one_pass", "one_pass", "read_one_pass"]


def fits_one_pass(plan: Plan) -> bool:
    """True if it may do for a series: cells of 16 bits, nothing but whole numbers added."""
    values = plan.values
    return (
        "passes" in compiled
        and values.in_place
        and values.stored.kind in "iu"
        and values.stored.itemsize == values.dtype.itemsize == 2
        and bool((values.slope == 1).all())
        and all(kind.high_bit == kind.bits_stored - 1 for kind in plan.layouts.kinds)
        and all(group.syntax.little == LITTLE_HOST for group in plan.table.groups)
    )


def one_pass(
    cells: NDArray[Any],
    layout: PixelLayout,
    values: ValuePlan,
    frame: int,
    sums: NDArray[np.uint64],
) -> bool:
    """Check, rescale and sum the contiguous cells of some slots where they lie.

    ``sums`` gets what :func:`~seriesio.dicom.fingerprint.column_sums` gives.

    Returns:
        False, with the cells as they were, if there are bits that have to be set right first.

    Raises:
        WiderNeeded: a value does not fit the dtype.
    """
    add = _added(values, frame)
    data, slots, columns = cells.reshape(-1).view("u1").data, len(cells), sums.shape[1]
    found = finish(data, slots, layout.signed, add, columns, sums.data)
    if found is None:
        return False
    if not _within(layout, *found):
        finish(data, slots, layout.signed, -add, columns, sums.data)
        return False
    _check_fits(values, frame, *found)
    return True


class Frame(NamedTuple):
    """A frame that a file has alone: where, which one of the plan's, and where its sums go."""

    span: Span
    number: int
    sums: memoryview


def read_one_pass(
    layout: PixelLayout, values: ValuePlan, frames: Sequence[Frame]
) -> list[int] | None:
    """As :func:`one_pass`, for frames that are still to be read.

    Returns:
        The CRC-32 of each span as it stands now; None, and what was to be filled holds anything,
        if a file has to be looked at alone.

    Raises:
        WiderNeeded: a value does not fit the dtype.
    """
    cells = [(frame.span, _added(values, frame.number), frame.sums) for frame in frames]
    found = read_cells(cells, layout.signed)
    if found is None:
        return None
    for frame, (count, _, low, high) in zip(frames, found, strict=True):
        if count != frame.span[2].nbytes or not _within(layout, low, high):
            return None
        _check_fits(values, frame.number, low, high)
    return [crc for _, crc, _, _ in found]


def _added(values: ValuePlan, frame: int) -> int:
    return 0 if values.identity else int(values.intercept[frame])


def _within(layout: PixelLayout, low: int, high: int) -> bool:
    """True if no bit outside of Bits Stored is used (PS3.5 section 8.1.1)."""
    if not layout.signed:
        return high < 1 << layout.bits_stored
    half = 1 << (layout.bits_stored - 1)
    return -half <= low and high < half


def _check_fits(values: ValuePlan, frame: int, low: int, high: int) -> None:
    if values.low is None or values.high is None:
        return
    if low < values.low[frame] or high > values.high[frame]:
        raise WiderNeeded
