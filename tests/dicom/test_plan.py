"""The plan is pure: the same for every permutation, and it refuses what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seriesio.dicom.options import PlanOptions
from seriesio.dicom.part10 import parse
from seriesio.dicom.plan import plan_series, volume_bytes
from seriesio.dicom.table import HeaderGroup, HeaderTable
from seriesio.errors import TooLargeError
from seriesio.testing import phantom

SOURCE = phantom((2, 5, 8, 6), axes=("te", "slice", "row", "column"), spacing=(4, 2, 1.5))
GROUPS = [
    HeaderGroup.single(parse(memoryview(data), len(data), name).header)
    for name, data in sorted(SOURCE.files().items(), key=lambda item: SOURCE.names.index(item[0]))
]


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(10)))
def test_every_permutation_gives_the_same_plan(order: list[int]) -> None:
    """Slots name the same instances in the same places."""
    plan = plan_series(HeaderTable([GROUPS[index] for index in order]), PlanOptions())
    assert plan.shape == (2, 5, 8, 6)
    assert [order[instance] for instance in plan.slots[:, 0].tolist()] == list(range(10))
    assert np.allclose(plan.geometry.affine, SOURCE.affine, atol=1e-6)
    assert [axis.name for axis in plan.axes] == ["te", "slice", "row", "column"]
    assert [len(axis) for axis in plan.axes] == [2, 5, 8, 6]


def test_volume_bytes() -> None:
    """2 bytes for each voxel; more than the limit is refused with the shape."""
    plan = plan_series(HeaderTable(GROUPS), PlanOptions())
    assert volume_bytes(plan, 960) == 960
    with pytest.raises(TooLargeError, match=r"\(2, 5, 8, 6\) needs 960 bytes"):
        volume_bytes(plan, 959)
