"""Stored values to values: the dtype, the arithmetic, and what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seriesio.dicom.pixels import PixelLayout, pixel_layout
from seriesio.dicom.rescale import WiderNeeded, plan_values
from seriesio.errors import DicomError, EncodeError


def layout(bits: int = 16, stored: int | None = None, signed: bool = False) -> PixelLayout:
    return pixel_layout(
        rows=2,
        columns=3,
        bits_allocated=bits,
        bits_stored=stored or bits,
        pixel_representation=int(signed),
        photometric="MONOCHROME2",
        syntax_uid="1.2.840.10008.1.2.1",
    )


def ones(value: float) -> Any:
    return np.array([value], np.float64)


@given(
    bits=st.sampled_from([8, 16, 32]),
    signed=st.booleans(),
    slope=st.integers(-9, 9).filter(bool),
    intercept=st.integers(-100_000, 100_000),
    seed=st.integers(0, 2**32),
    narrow=st.integers(1, 8),
)
def test_whole_slopes_are_exact(
    bits: int, signed: bool, slope: int, intercept: int, seed: int, narrow: int
) -> None:
    """The values of Python's own integers, in a type that is not narrower than the stored."""
    kind = layout(bits, signed=signed)
    limits = np.iinfo(kind.stored_dtype)
    cells = np.random.default_rng(seed).integers(
        limits.min // narrow, limits.max // narrow, (2, 3), kind.stored_dtype, endpoint=True
    )
    for wide in (False, True):
        plan = plan_values([kind], ones(slope), ones(intercept), wide=wide)
        slot = np.empty((2, 3), plan.dtype)
        try:
            plan.apply(cells, slot, 0)
        except WiderNeeded:
            assert not wide
            continue
        assert slot.tolist() == [[int(v) * slope + intercept for v in row] for row in cells]
        assert plan.dtype.itemsize >= cells.dtype.itemsize
        break


@pytest.mark.parametrize("signed", [False, True])
def test_in_place(signed: bool) -> None:
    """Stored values that lie in their slot become values there, without a copy."""
    plan = plan_values([layout(16, 12, signed)], ones(1), ones(-1024))
    assert plan.in_place
    slot = np.array([[0, 1, 2], [3, 4, 2047]], plan.dtype)
    plan.apply(slot.view(plan.stored), slot, 0)
    assert slot.tolist() == [[-1024, -1023, -1022], [-1021, -1020, 1023]]


def test_narrowest_that_is_hoped_for_and_wider() -> None:
    """16 bits less 1024: int16 at first, int32 when a value does not fit."""
    hoped = plan_values([layout()], ones(1), ones(-1024))
    wide = plan_values([layout()], ones(1), ones(-1024), wide=True)
    assert [str(hoped.dtype), str(wide.dtype)] == ["int16", "int32"]
    with pytest.raises(WiderNeeded):
        hoped.apply(np.array([[33792]], np.uint16), np.empty((1, 1), np.int16), 0)


def test_fractions_are_float32_rounded_once() -> None:
    """Computed in double precision."""
    plan = plan_values([layout()], ones(0.1), ones(0.3))
    cells = np.arange(6, dtype=np.uint16).reshape(2, 3)
    slot = np.empty((2, 3), plan.dtype)
    plan.apply(cells, slot, 0)
    assert plan.dtype == np.float32
    assert np.array_equal(slot, (cells * np.float64(0.1) + 0.3).astype(np.float32))


@pytest.mark.parametrize("slope", [1e36, 1e-44])
def test_slopes_beyond_float32(slope: float) -> None:
    """Values that float32 would lose are kept in float64."""
    plan = plan_values([layout()], ones(slope), ones(0.5))
    assert plan.dtype == np.float64


def test_slopes_beyond_everything() -> None:
    """No number holds the results."""
    with pytest.raises(DicomError):
        plan_values([layout()], ones(1e306), ones(0))


def test_dtype_that_was_asked_for() -> None:
    """A value that does not fit it, found late, is an error of the second plan."""
    plan = plan_values([layout()], ones(1), ones(0), dtype="uint8")
    with pytest.raises(WiderNeeded):
        plan.apply(np.array([[256]], np.uint16), np.empty((1, 1), np.uint8), 0)
    with pytest.raises(EncodeError, match="uint8"):
        plan_values([layout()], ones(1), ones(0), dtype="uint8", wide=True)
