"""Series to xarray and dask and back, and to whoever takes a buffer; the oracle is numpy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from seriesio import Series
from seriesio.dicom.sorting import Axis
from seriesio.errors import DataError, InconsistentSeriesError, MissingDependencyError
from seriesio.testing import phantom

xarray: Any = pytest.importorskip("xarray")
pytest.importorskip("dask")

SHAPE = (4, 6, 8)


@pytest.fixture
def series(tmp_path: Path) -> Series:
    made = phantom((3, *SHAPE), tilt=10.0, orientation=(0.8, 0.6, 0, 0, 0, -1))
    return anyio.run(Series.open, made.save(tmp_path / "a"))


# --- xarray -----------------------------------------------------------------------------------


def test_to_xarray(series: Series) -> None:
    """Dimensions, coordinates and attributes are the axes and the geometry; nothing is copied."""
    data = series.to_xarray()
    assert data.dims == ("time", "slice", "row", "column")
    assert np.shares_memory(data.values, series.array)
    np.testing.assert_array_equal(data.time, series.tags["time"])
    np.testing.assert_allclose(data.row, np.arange(6) * 2.0)
    np.testing.assert_allclose(np.stack([data.x, data.y, data.z], 1), series.imagePositions)
    np.testing.assert_array_equal(data.attrs["affine"], series.affine)
    assert data.attrs["spacing"] == series.spacing
    assert data.column.attrs["units"] == "mm"


INDICES: list[Any] = [
    np.s_[:],
    np.s_[1],
    np.s_[:, 2],
    np.s_[0, 1:3, ::2, 3:],
    np.s_[..., ::-1],
    np.s_[:, ::-1, ::-2, 1:],
    np.s_[1:, 3, 2:4],
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_parts_that_xarray_cuts_out(series: Series, index: Any) -> None:
    """A part cut by xarray lies, back again, where the same part of the series does."""
    expected = series[index]
    back = Series.from_xarray(series.to_xarray()[index])
    np.testing.assert_array_equal(back.array.reshape(expected.shape), expected.array)
    assert np.shares_memory(back.array, series.array)
    np.testing.assert_allclose(back.affine, expected.affine, atol=1e-9)
    np.testing.assert_allclose(back.imagePositions, expected.imagePositions, atol=1e-9)
    for name, values in expected.tags.items():
        np.testing.assert_array_equal(back.tags[name], values)


def test_transposed(series: Series) -> None:
    """Dimensions in another order come back in ours, as a view."""
    data = series.to_xarray().transpose("row", "time", "column", "slice")
    back = Series.from_xarray(data)
    np.testing.assert_array_equal(back.array, series.array)
    assert np.shares_memory(back.array, series.array)
    np.testing.assert_allclose(back.affine, series.affine)


def test_uneven_slices(series: Series) -> None:
    """Each slice keeps its own position there and back."""
    uneven = series[:, [0, 1, 3]]
    back = Series.from_xarray(uneven.to_xarray())
    np.testing.assert_allclose(back.imagePositions, uneven.imagePositions)


def test_reductions_of_xarray(series: Series) -> None:
    """What xarray computes over time keeps its coordinates, and so its place, with keep_attrs."""
    mean = series.to_xarray().mean("time", keep_attrs=True)
    back = Series.from_xarray(mean)
    np.testing.assert_allclose(back.array, series.array.mean(axis=0))
    np.testing.assert_allclose(back.affine, series.affine)
    assert Series.from_xarray(mean, template=series).patientName == series.patientName


def test_gradients() -> None:
    """b values and directions go there and back."""
    table = np.array([[0, 0, 0, 0], [700, 1, 0, 0], [700, 0, 0.6, 0.8]])
    axes = [Axis("dti", "s/mm2", table)]
    series = Series.from_array(np.zeros((3, *SHAPE)), axes=axes, affine=np.eye(4))
    data = series.to_xarray()
    np.testing.assert_array_equal(data.dti, table[:, 0])
    np.testing.assert_array_equal(data.direction_z, table[:, 3])
    np.testing.assert_array_equal(Series.from_xarray(data).tags["dti"], table)
    vectors = [Axis("bvector", "", table[:, 1:])]
    data = Series.from_array(np.zeros((3, *SHAPE)), axes=vectors).to_xarray()
    np.testing.assert_array_equal(Series.from_xarray(data).bvectors, table[:, 1:])


def test_foreign_arrays() -> None:
    """Other names: the last three are the volume; coordinates' steps, or an affine, its size."""
    coordinates = {"z": [0.0, 4.0], "y": [0.0, 0.5, 1.0], "t": [0.0, 2.0]}
    data = xarray.DataArray(np.zeros((2, 2, 3, 4)), coordinates, dims=["t", "z", "y", "x"])
    series = Series.from_xarray(data)
    assert series.spacing == (4, 0.5, 1)
    assert [axis.name for axis in series.axes] == ["t", "slice", "row", "column"]
    affine = np.diag([2.0, 3, 4, 1])
    placed = Series.from_xarray(data.assign_attrs(affine=affine))
    np.testing.assert_array_equal(placed.affine, affine)
    flat = xarray.DataArray(np.zeros((3, 4)))
    assert Series.from_xarray(flat).shape == (1, 3, 4)
    color = xarray.DataArray(np.zeros((2, 3, 4, 3), np.uint8), dims=["z", "y", "x", "rgb"])
    assert Series.from_xarray(color).axes[-1].name == "rgb"


def test_bad_arrays() -> None:
    """What cannot be a series is an error of ours."""
    with pytest.raises(DataError, match="no rows"):
        Series.from_xarray(xarray.DataArray(np.zeros(3)))
    texts = xarray.DataArray(np.zeros((1, 2, 2)), {"y": ["a", "b"]}, dims=["z", "y", "x"])
    with pytest.raises(DataError, match="not of numbers"):
        Series.from_xarray(texts)
    bad = xarray.DataArray(np.zeros((1, 2, 2)), attrs={"affine": np.zeros((4, 4))})
    with pytest.raises(InconsistentSeriesError):
        Series.from_xarray(bad)
    part = Series.from_array(np.zeros(SHAPE), affine=np.eye(4)).to_xarray()
    with pytest.raises(DataError, match="orientation"):
        Series.from_xarray(part.assign_attrs(orientation=[1, 0]))


# --- dask -------------------------------------------------------------------------------------


def test_to_dask(series: Series) -> None:
    """One chunk for each volume, or as told; chunks are views, results are numpy's."""
    lazy = series.to_dask()
    assert lazy.chunks == ((1, 1, 1), (4,), (6,), (8,))
    seen = []

    def look(block: Any) -> Any:
        seen.append(np.shares_memory(block, series.array))
        return block

    again = lazy.map_blocks(look, dtype=lazy.dtype, meta=lazy._meta).compute(scheduler="sync")
    np.testing.assert_array_equal(again, series.array)
    assert seen == [True] * 3
    total = lazy.mean(axis=0).compute(scheduler="sync")
    np.testing.assert_allclose(total, series.array.mean(axis=0))
    assert series.to_dask(chunks=(3, 2, 6, 8)).numblocks == (1, 2, 1, 1)


# --- whoever takes a buffer -----------------------------------------------------------------------


def test_buffers(series: Series) -> None:
    """torch.from_numpy and its like take series.array: by DLPack or buffer, the same memory."""
    buffer: Any = series.array  # Buffer is a type from Python 3.12 on
    for taken in (np.from_dlpack(series.array), np.asarray(memoryview(buffer))):
        assert np.shares_memory(taken, series.array)
        assert taken.shape == series.shape
    assert series.array.flags.writeable


@pytest.mark.parametrize("name", ["xarray", "dask"])
def test_missing(series: Series, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Without the package the error says how to get it."""
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "dask.array.core", None)
    with pytest.raises(MissingDependencyError, match=rf"seriesio\[{name}\]"):
        getattr(series, f"to_{name}")()


def test_no_data_array() -> None:
    """A dataset holds several arrays: which one is meant is the caller's to say."""
    with pytest.raises(TypeError, match="from_xarray takes a xarray DataArray, not Dataset"):
        Series.from_xarray(xarray.Dataset())
