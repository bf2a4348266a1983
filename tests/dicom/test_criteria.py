"""Dates and times as numbers."""

from __future__ import annotations

import datetime
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seriesio.dicom.criteria import CRITERIA, clock_seconds


@given(st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1)))
def test_clock_is_datetimes(moment: datetime.datetime) -> None:
    """Differences of moments are Python's."""
    start = datetime.datetime(2000, 1, 1)
    found = clock_seconds(f"{moment:%Y%m%d}", f"{moment:%H%M%S.%f}")
    zero = clock_seconds("20000101", "000000")
    assert found - zero == pytest.approx((moment - start).total_seconds(), abs=1e-4)


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("10", 36000), ("1030", 37800), ("10:30:05", 37805), ("103005.5", 37805.5)],
)
def test_short_and_old_forms(time: str, seconds: float) -> None:
    """Hours alone, without seconds, with colons, with a fraction; a date may be missing."""
    assert clock_seconds("", time) == seconds


@pytest.mark.parametrize(
    "time", ["", "x", "1", "123", "-10", "1²", "10.x", "103005.²", "\u0661\u0660"]
)
def test_unreadable_times(time: str) -> None:
    """Never an exception."""
    assert math.isnan(clock_seconds("20200101", time))


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text(date: str, time: str) -> None:
    """A number or NaN, whatever stands there."""
    assert isinstance(clock_seconds(date, time), float)


def test_names() -> None:
    """Each criterion is known under its own name."""
    assert all(criterion.name == name for name, criterion in CRITERIA.items())
