"""Moments of DICOM times: midnight, offsets from UTC; expected values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seriesio.dicom.criteria import dated, moments, over_midnight

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("texts", "later"),
    [
        (["20200101235930", "20200102000030"], 60),
        (["20200101235930+0000", "20200102005930+0100"], 0),
        (["20200101235930-0530", "20200102053000+0000"], 30),
        (["20200101120000.25+0100", "20200101120000.75"], 0.5),
    ],
)
def test_offsets(texts: list[str], later: float) -> None:
    """Seconds from the first to the second; no offset is that of the others' smallest."""
    first, second = moments(texts).tolist()
    assert second - first == pytest.approx(later, abs=1e-4)


@pytest.mark.parametrize("text", ["", "2020", "20200101", "+0100", "x+9999", "²0200101120000"])
def test_no_moment(text: str) -> None:
    """What is no date time is no number."""
    assert np.isnan(moments([text])).all()


@given(
    start=st.floats(0, DAY - 1),
    steps=st.lists(st.floats(0.01, HOUR), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_a_scan_over_midnight(start: float, steps: list[float], seed: int) -> None:
    """Clock times of a scan of less than six hours: their order is the true one."""
    true = start + np.concatenate([[0.0], np.cumsum(steps)])
    order = np.random.default_rng(seed).permutation(len(true))
    found = over_midnight((true % DAY)[order])
    assert np.allclose(found - found.min(), true[order] - true[0], atol=1e-6)


def test_dates_in_some_files_only() -> None:
    """Without a date: on the only day that others have; on no day if they have several."""
    day = 737_000 * DAY
    assert dated(np.array([5.0, day + 3, 9.0])).tolist() == [day + 5, day + 3, day + 9]
    assert dated(np.array([5.0, 9.0])).tolist() == [5, 9]
    found = dated(np.array([5.0, day, day + DAY]))
    assert np.isnan(found).tolist() == [True, False, False]


def test_days_are_kept() -> None:
    """Where dates tell the days apart, nothing is moved; nor where nothing is known."""
    for seconds in ([10.0, DAY - 10, DAY + 10], [np.nan, np.nan], [5.0]):
        assert np.array_equal(over_midnight(np.array(seconds)), seconds, equal_nan=True)
