"""Geometry from made-up stacks: spacing, affine, tilt, gaps; all by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seriesio.dicom.gaps import missing_between, wide_gaps
from seriesio.dicom.geometry import Geometry, Stack

AXIAL = np.array([1.0, 0, 0, 0, 1, 0])


def stack(locations: list[float], thicknesses: float | list[float] = np.nan) -> Stack:
    """An axial stack at given heights."""
    positions = np.zeros((len(locations), 3))
    positions[:, 2] = locations
    geometry = Geometry(positions, AXIAL, (2.0, 1.0), 5.0)
    thick: NDArray[np.float64] = np.broadcast_to(np.asarray(thicknesses, float), len(locations))
    return Stack(np.arange(len(locations)), geometry, thick)


def test_affine_by_hand() -> None:
    """Columns: dx along the row, dy along the column, the step, the first position."""
    geometry = Geometry(np.array([[1.0, 2, 3], [1, 2, 7]]), AXIAL, (2.0, 0.5), 9.0)
    wanted: list[list[float]] = [[0.5, 0, 0, 1], [0, 2, 0, 2], [0, 0, 4, 3], [0, 0, 0, 1]]
    assert np.array_equal(geometry.affine, wanted)
    assert geometry.spacing == (4.0, 2.0, 0.5)
    assert geometry.tilt == 0


def test_single_slice_takes_its_thickness() -> None:
    """One position: the step is the thickness along the normal."""
    geometry = Geometry(np.zeros((1, 3)), AXIAL, (1.0, 1.0), 2.5)
    assert np.array_equal(geometry.step, [0, 0, 2.5])


def test_tilt() -> None:
    """A stack that moves as far sideways as up is tilted by 45 degrees."""
    geometry = Geometry(np.array([[0.0, 0, 0], [0, 3, 3]]), AXIAL, (1.0, 1.0), 1.0)
    assert geometry.tilt == pytest.approx(45)
    assert geometry.spacing[0] == pytest.approx(18**0.5)


def test_deviation() -> None:
    """The slice in the middle is 1 mm from where an even stack would have it."""
    assert stack([0, 4, 6]).geometry.deviation == pytest.approx(1)


@pytest.mark.parametrize(
    ("locations", "missing"),
    [
        ([0, 1, 2, 3], []),
        ([0, 1, 3, 4], [2]),
        ([0, 3, 4, 5, 9], [1, 2, 6, 7, 8]),
        ([0, 2, 4, 6, 10], [8]),
        ([0, 4, 8, 15, 22], []),  # 4 and 7 mm: uneven
        ([0, 2.04, 3.96, 6], []),  # within a twentieth
        ([0, 10], []),
        ([0, 1e-3, 1e6], []),  # no gap of a thousand million slices
    ],
)
def test_missing_between(locations: list[float], missing: list[float]) -> None:
    """Gaps that are whole multiples of the usual spacing."""
    assert missing_between(stack(locations)) == pytest.approx(missing)


def test_thicker_slices_fill_their_gaps() -> None:
    """5 mm below and 10 mm above, in slices as thick: a protocol, not a gap."""
    found = missing_between(stack([0, 5, 10, 20, 30], [5, 5, 10, 10, 10]))
    assert found == []
    assert missing_between(stack([0, 5, 10, 20, 30], 5)) == [15, 25]


def test_made_up_positions_have_no_gaps() -> None:
    """Where positions are not known nothing can be missing."""
    geometry = Geometry(np.zeros((4, 3)), AXIAL, (1.0, 1.0), 1.0, known=False)
    assert missing_between(Stack(np.arange(4), geometry, np.full(4, np.nan))) == []


@pytest.mark.parametrize(
    ("gaps", "missing"),
    [
        ([3, 3, 3.2, 2.8, 3, 6, 3], [18]),  # a slice off by 0.2 mm hides no gap
        ([3, 3, 3, 3.2, 5.8, 3], [15.1]),  # not even beside it
        ([4, 4, 4, 4, 7, 7, 7], []),  # two regular blocks
        ([3, 3, 0.02, 3, 3], []),  # two slices nearly at one place
    ],
)
def test_each_gap_is_judged_on_its_own(gaps: list[float], missing: list[float]) -> None:
    """One uneven gap neither hides another nor makes one up."""
    found = missing_between(stack([0.0, *np.cumsum(gaps).tolist()]))
    assert found == pytest.approx(missing)


def test_a_huge_gap_is_told_as_one() -> None:
    """198 mm between slices 1 mm apart: from where to where, not 197 slices."""
    assert wide_gaps(stack([0, 1, 2, 200])) == [(2, 200)]
    assert missing_between(stack([0, 1, 2, 200])) == []


def test_blocks_of_slices_as_thick_as_apart() -> None:
    """13 times 4 mm, 1.08 mm, 13 times 7 mm: whole; without one of the thicker ones, not."""
    locations = np.cumsum([0.0] + [4.0] * 13 + [1.08] + [7.0] * 13)
    thick = np.array([4.0] * 14 + [7.0] * 14)
    assert missing_between(stack(locations.tolist(), thick.tolist())) == []
    kept = np.arange(28) != 20
    found = missing_between(stack(locations[kept].tolist(), thick[kept].tolist()))
    assert found == pytest.approx([locations[20]])


def test_wander() -> None:
    """Beside the line counts; along it, or tilted, does not."""
    tilted = Geometry(np.array([[0.0, 0, 0], [0, 1, 1], [0, 5, 5]]), AXIAL, (1.0, 1.0), 1.0)
    beside = Geometry(np.array([[0.0, 0, 0], [30, 0, 1], [0, 0, 2]]), AXIAL, (1.0, 1.0), 1.0)
    assert tilted.wander == pytest.approx(0)
    assert beside.wander == pytest.approx(30)
