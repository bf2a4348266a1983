"""Grids from columns of numbers, filled by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from seriesio.dicom.frames import FrameTable
from seriesio.dicom.sorting import Grid, Order, fill_grid, parse_order
from seriesio.dicom.table import Column, column_of, decode_text
from seriesio.errors import UnsortableSeriesError


class Table:
    """Frames whose attributes are given as texts."""

    def __init__(self, slices: list[int], columns: Mapping[str, list[str]]) -> None:
        self.slices: NDArray[np.intp] = np.array(slices, np.intp)
        self.columns = columns

    @property
    def instance(self) -> NDArray[np.intp]:
        return np.arange(len(self), dtype=np.intp)

    @property
    def number(self) -> NDArray[np.intp]:
        return np.zeros(len(self), np.intp)

    def __len__(self) -> int:
        return len(self.slices)

    def column(self, keyword: str) -> Column:
        values = self.columns.get(keyword)
        return column_of([v.encode() for v in values] if values else [None] * len(self))

    def numbers(self, keyword: str, count: int = 1) -> NDArray[np.float64]:
        values = self.columns.get(keyword, ["nan"] * len(self))
        return np.array([[float(value)] * count for value in values])

    def texts(self, keyword: str) -> tuple[list[str], NDArray[np.intp]]:
        column = self.column(keyword)
        return [decode_text(value) for value in column.values], column.codes

    grouped = False

    def private(self, *place: object) -> None:
        return None

    def grid(self, *order: str) -> Grid:
        return fill_grid(cast("FrameTable", self), self.slices, Order(order))


def test_one_frame_at_each_position() -> None:
    """The slices alone say where."""
    grid = Table([2, 0, 1], {}).grid()
    assert grid.frames.tolist() == [1, 2, 0]
    assert grid.axes == ()


def test_exact_grid() -> None:
    """Two echoes at two positions."""
    grid = Table([0, 1, 0, 1], {"EchoTime": ["20", "10", "10", "20"]}).grid()
    assert grid.frames.tolist() == [[2, 1], [0, 3]]
    assert grid.axes[0].values.tolist() == [10, 20]


def test_each_slice_has_its_own_time() -> None:
    """Interleaved: the rank at each position counts, and the axis shows the mean moments."""
    times = ["100000", "100002", "100004", "100006"]
    grid = Table([0, 1, 0, 1], {"AcquisitionTime": times}).grid()
    assert grid.frames.tolist() == [[0, 1], [2, 3]]
    assert grid.axes[0].values.tolist() == [36001, 36005]
    assert grid.axes[0].unit == "s"


def test_midnight() -> None:
    """With dates, a time after midnight is the later one."""
    clock = {
        "AcquisitionTime": ["000010", "235950"],
        "AcquisitionDate": ["20200102", "20200101"],
    }
    grid = Table([0, 0], clock).grid()
    assert grid.frames.tolist() == [[1], [0]]
    assert grid.axes[0].values.tolist() == [86390, 86410]


def test_echoes_that_each_have_their_own_time() -> None:
    """Six moments are two times of three echoes, not six times."""
    table = Table(
        [0] * 6,
        {
            "EchoTime": ["1", "2", "3", "1", "2", "3"],
            "AcquisitionTime": [f"10000{second}" for second in range(6)],
        },
    )
    for order in ((), ("time", "te")):
        grid = table.grid(*order)
        assert [axis.name for axis in grid.axes] == ["time", "te"]
        assert grid.frames.reshape(2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_last_resort() -> None:
    """Nothing but Instance Number: numbered times without a unit."""
    grid = Table([0, 1, 0, 1], {"InstanceNumber": ["3", "4", "1", "2"]}).grid()
    assert grid.frames.tolist() == [[2, 3], [0, 1]]
    assert (grid.axes[0].name, grid.axes[0].unit) == ("time", "")


def test_what_varies_is_told() -> None:
    """The error says which attributes differ, and in how many values."""
    table = Table([0, 0, 0], {"EchoTime": ["1", "1", "2"], "FlipAngle": ["5", "6", "6"]})
    with pytest.raises(UnsortableSeriesError, match=r"EchoTime \(2 values\), FlipAngle"):
        table.grid()


@pytest.mark.parametrize(
    ("text", "order"),
    [("auto", ()), ("", ()), (" Time , TE ", ("time", "te")), ("none", ("none",))],
)
def test_parse_order(text: str, order: tuple[str, ...]) -> None:
    """Names with commas, in any case."""
    assert parse_order(text) == order


def test_one_volume_by_rank() -> None:
    """There is nothing to rank, so nothing is refused."""
    grid = Table([1, 0], {"EchoTime": ["1", "2"]}).grid("rank")
    assert grid.frames.tolist() == [1, 0]
