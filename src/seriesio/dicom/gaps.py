"""Gaps in a stack: where slices are missing between those that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .geometry import Stack

__all__ = ["missing_between", "wide_gaps"]

UNIFORM_TOLERANCE: Final = 5e-2  # of the spacing
_GAP: Final = 1.5  # usual gaps: from here on a slice is missing
_GAP_LIMIT: Final = 100  # usual gaps: a wider one is told as one gap


def missing_between(stack: Stack) -> list[float]:
    """Distances along the normal (mm) where single slices are missing from a stack.

    Each gap is judged by the spacing that most gaps have, so one uneven gap hides no other. Two
    regular blocks of different spacing are uneven, not incomplete; nor is anything missing where
    slices are as much thicker as they are farther apart.
    """
    return [
        float(low + (high - low) * step / count)
        for low, high, count in _gaps(stack)
        if count <= _GAP_LIMIT
        for step in range(1, int(count))
    ]


def wide_gaps(stack: Stack) -> list[tuple[float, float]]:
    """(from, to) in mm along the normal of gaps too wide to name each slice that they lack."""
    return [(low, high) for low, high, count in _gaps(stack) if count > _GAP_LIMIT]


def _gaps(stack: Stack) -> list[tuple[float, float, float]]:
    """From, to (mm along the normal) and width, in usual gaps, of those with slices missing."""
    locations = stack.geometry.slice_locations
    if len(locations) < 3 or not stack.geometry.known:
        return []
    gaps = np.abs(np.diff(locations))  # by Slice Location they may go down
    counts = _widths(gaps, stack.thicknesses)
    counts[_filled(gaps, stack.thicknesses)] = 1
    wide = np.flatnonzero(counts > 1)
    return list(
        zip(
            locations[wide].tolist(),
            locations[wide + 1].tolist(),
            counts[wide].tolist(),
            strict=True,
        )
    )


def _widths(gaps: NDArray[np.float64], thicknesses: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many usual gaps each gap is wide."""
    usual = _usual(gaps, thicknesses)
    ratios = gaps / gaps.min()
    if _whole(ratios).all() and (ratios.max() <= _GAP_LIMIT or np.isnan(usual).all()):
        return np.asarray(np.rint(ratios))  # the smallest gap is the spacing
    ratios = np.nan_to_num(gaps / usual, nan=1.0)
    regular = ~_whole(ratios) & _in_block(gaps)
    return np.where((ratios >= _GAP) & ~regular, np.maximum(np.rint(ratios), 2), 1.0)


def _whole(ratios: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) True for those that are whole numbers, give or take the tolerance."""
    return np.asarray(np.abs(ratios - np.rint(ratios)) <= UNIFORM_TOLERANCE * ratios)


def _in_block(gaps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) True for gaps that have an equal one beside them."""
    same = np.abs(np.diff(gaps)) <= UNIFORM_TOLERANCE * gaps[1:]
    found = np.zeros(len(gaps), bool)
    found[1:] |= same
    found[:-1] |= same
    return found


def _usual(gaps: NDArray[np.float64], thicknesses: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) the usual gap: between slices as thick, or of all; NaN where they do not agree."""
    usual = np.full(len(gaps), _agreed(gaps))
    if np.isnan(thicknesses).any() or (thicknesses == thicknesses[0]).all():
        return usual
    widest = np.maximum(thicknesses[1:], thicknesses[:-1])
    kinds, counts = np.unique(widest, return_counts=True)
    for kind in kinds[counts > 2]:
        own = _agreed(gaps[widest == kind])
        if np.isfinite(own):
            usual[widest == kind] = own
    return usual


def _agreed(gaps: NDArray[np.float64]) -> float:
    """The median, where at least half of the gaps are as wide; else NaN."""
    median = float(np.median(gaps))
    near = np.abs(gaps - median) <= UNIFORM_TOLERANCE * median
    return median if 2 * int(near.sum()) >= len(gaps) else float("nan")


def _filled(gaps: NDArray[np.float64], thicknesses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(slices - 1,) True for the gaps that thicker slices fill, in a stack with several."""
    if np.isnan(thicknesses).any() or np.ptp(thicknesses) <= UNIFORM_TOLERANCE * thicknesses.max():
        return np.zeros(len(gaps), bool)
    widest = np.maximum(thicknesses[1:], thicknesses[:-1])
    return np.asarray(gaps <= (1 + UNIFORM_TOLERANCE) * widest)
