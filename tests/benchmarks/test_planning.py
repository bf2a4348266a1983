"""What the benchmarks measure is what they say."""

from __future__ import annotations

from seriesio.dicom.options import PlanOptions
from seriesio.dicom.plan import plan_series

from .planning import headers


def test_the_planned_table() -> None:
    """Headers made for the planning rows are instances in a random order, each with its place."""
    table = headers(3, 5, seed=1)
    texts, codes = table.texts("SOPInstanceUID")
    places = [int(texts[code].rsplit(".", 1)[1]) - 10**9 for code in codes]
    assert sorted(places) == list(range(15)) != places
    plan = plan_series(table, PlanOptions())
    assert plan.shape[:2] == (3, 5)
