"""The options of planning: taken, checked, and the caller's own criteria among them."""

from __future__ import annotations

from typing import Any

import pytest

from seriesio.dicom.options import take_options
from seriesio.errors import UnsortableSeriesError


def taken(order: str = "auto", **options: Any) -> Any:
    return take_options(order, True, None, "raise", options)


def test_own_are_taken() -> None:
    """The options of planning go to the plan, all others are left."""
    plan, rest = taken(slice_tolerance=0.5, split_acquisitions=True, password="secret")
    assert (plan.slice_tolerance, plan.split_acquisitions) == (0.5, True)
    assert rest == {"password": "secret"}


def test_criteria_by_name() -> None:
    """An option that input_order or auto_sort names is a criterion; others stay what they are."""
    plan, rest = taken("TR,te", tr="RepetitionTime", other=1)
    assert (dict(plan.criteria), rest) == ({"tr": "RepetitionTime"}, {"other": 1})
    plan, rest = taken(auto_sort=["time", "delay"], delay="TriggerTime")
    assert (dict(plan.criteria), rest) == ({"delay": "TriggerTime"}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("headers_only", "yes"),
        ("ignore_series_uid", None),
        ("slice_tolerance", -1),
        ("slice_tolerance", float("nan")),
        ("dir_cosine_tolerance", "0.1"),
    ],
)
def test_values_that_cannot_be(name: str, value: Any) -> None:
    """Words are no flags, tolerances are numbers."""
    with pytest.raises(ValueError, match=name):
        taken(**{name: value})


@pytest.mark.parametrize("value", ["no", None, 2])
def test_rescale_is_a_flag(value: Any) -> None:
    """A word would count as True."""
    with pytest.raises(ValueError, match="rescale is True or False"):
        take_options("auto", value, None, "raise", {})


@pytest.mark.parametrize("order", [None, 3, ["time", "te"]])
def test_input_order_is_a_text(order: Any) -> None:
    """A list or nothing at all is told to be no order."""
    with pytest.raises(UnsortableSeriesError, match="input_order"):
        taken(order)


@pytest.mark.parametrize("value", ["time", ["time", 3], 5, (name for name in ["time"])])
def test_auto_sort_is_a_list(value: Any) -> None:
    """A single word would be a list of letters."""
    with pytest.raises(UnsortableSeriesError, match="auto_sort"):
        taken(auto_sort=value)
