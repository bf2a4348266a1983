"""The Series as an array and as a header; the oracle is numpy on the plain array."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pydicom
import pytest
from pydicom.datadict import keyword_dict

from seriesio import Series
from seriesio.dicom.keywords import camel_case
from seriesio.dicom.sorting import Axis
from seriesio.errors import DicomError, HeaderError, InconsistentSeriesError
from seriesio.testing import phantom

SHAPE = (4, 6, 8)


@pytest.fixture
def series(tmp_path: Path) -> Series:
    return asyncio.run(Series.open(phantom(SHAPE).save(tmp_path / "a")))  # also for async tests


@pytest.fixture
def elsewhere(tmp_path: Path) -> Series:
    return anyio.run(Series.open, phantom(SHAPE, position=(1, 2, 30)).save(tmp_path / "b"))


@pytest.fixture
def times(tmp_path: Path) -> Series:
    return anyio.run(Series.open, phantom((3, *SHAPE)).save(tmp_path / "t"))


# --- as an array ------------------------------------------------------------------------------


def test_no_copies(series: Series) -> None:
    """array, asarray and slices are views on the same voxels."""
    assert series.array is series.array
    assert np.asarray(series) is series.array
    assert np.shares_memory(np.asarray(series, series.dtype), series.array)
    for part in (series[2], series[1:3], series[:, 2:4, ::2], series[::-1]):
        assert isinstance(part, Series)
        assert np.shares_memory(part.array, series.array)
    assert not np.shares_memory(np.array(series), series.array)
    assert not np.shares_memory(series.__array__(copy=True), series.array)


def test_copy_false_means_it(series: Series) -> None:
    """np.asarray(copy=False) raises where another dtype needs a copy, as for arrays."""
    assert np.array(series, copy=False) is series.array
    with pytest.raises(ValueError, match="copy"):
        np.array(series, np.float64, copy=False)


OPERATIONS: list[Callable[[Any, Any], Any]] = [
    lambda a, b: (a + b) / 2,
    lambda a, b: 2 * a - b + 1,
    lambda a, b: a > b,
    lambda a, b: (a == b) | ~(a < 3),
    lambda a, b: np.sqrt(a) * np.maximum(a, b),
    lambda a, b: a**2 // 3 % 7,
    lambda a, b: -a.astype(int) if isinstance(a, np.ndarray) else -np.multiply(a, 1, dtype=int),
    lambda a, b: np.add(a, b, where=np.asarray(a) > 5, out=np.zeros(SHAPE, a.dtype)),
    lambda a, b: np.where(a > 5, a, b),
    lambda a, b: np.clip(a, 3, 9),
    lambda a, b: np.stack([a, b]),
    lambda a, b: np.isnan(a / 1.0),
    lambda a, b: a + np.arange(8),
]


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
def test_arithmetic_is_numpys(series: Series, number: int) -> None:
    """Values and dtypes are those of the same expression with arrays."""
    operation = OPERATIONS[number]
    result = operation(series, series[::1])
    expected = operation(series.array, series.array)
    np.testing.assert_array_equal(np.asarray(result), expected)
    assert np.asarray(result).dtype == expected.dtype


def test_what_keeps_its_place_is_a_series(series: Series) -> None:
    """Results of the same shape have geometry; all else is a plain array."""
    for result in ((series + 1) / 2, series > 3, np.sqrt(series), *np.divmod(series, 3)):
        assert isinstance(result, Series)
        np.testing.assert_array_equal(result.affine, series.affine)
    plain = [
        np.mean(series),
        np.mean(series, axis=0),
        np.sum(series, axis=(1, 2)),
        np.transpose(series),
        np.add.reduce(series),
        np.add.accumulate(series),
        np.add.reduceat(series, [0, 2]),
        np.multiply.outer(series, [1, 2]),
        np.roll(series, 1),
        np.maximum(series, np.zeros((2, *SHAPE))),
        series[[0, 2, 1]],
        series[[0, 0]],
        series[series > 5],
        series[..., None],
        series[:, 2],
        series[..., 3],
        series[1, 2, 3],
        series[:0],
        series[:, [0, 1]],
        series[[0, 1], [0, 1]],
        series[True],
    ]
    assert not [number for number, value in enumerate(plain) if isinstance(value, Series)]


def test_mean_of_a_series(series: Series) -> None:
    """Reductions give numpy's numbers."""
    assert np.mean(series) == series.array.mean()
    assert np.max(series) == series.array.max()
    np.testing.assert_array_equal(np.median(series, axis=0), np.median(series.array, axis=0))


def test_different_places_are_not_added(series: Any, elsewhere: Any, times: Any) -> None:
    """Voxels of different places never meet in silence, whatever the shapes are."""
    for other in (elsewhere, elsewhere[:1], series[1], series[1:2], series[::-1], series[:, ::-1]):
        with pytest.raises(InconsistentSeriesError, match="different places"):
            series + other
        with pytest.raises(InconsistentSeriesError):
            np.add(other, 1, out=series) if other.shape == SHAPE else other - series
    with pytest.raises(InconsistentSeriesError):
        times - elsewhere
    assert isinstance(times - times[0], Series)
    assert (times - times[0]).shape == (3, *SHAPE)
    np.testing.assert_array_equal((series + elsewhere.array).affine, series.affine)


def test_in_place(series: Any) -> None:
    """+=, out= and ufunc.at change the very voxels, and give new UIDs at once."""
    before, array = series.array.copy(), series.array
    ways: list[Callable[[], object]] = [
        lambda: np.add(series, 1, out=series),
        lambda: np.add(np.asarray(series), 1, out=series),
        lambda: np.add.at(series, 0, 1),
        lambda: series.__iadd__(1),
        lambda: series.__setitem__(slice(None), series + 1),
        lambda: series.__setitem__(series > 1000, 7),
    ]
    for way in ways:
        uid = series.seriesInstanceUID
        series.header.settle()
        way()
        assert series.seriesInstanceUID != uid
        assert series.array is array
    expected = before + 4
    expected[0] += 1
    expected[expected > 1000] = 7
    np.testing.assert_array_equal(series.array, expected)
    assert np.add(series, 0, out=series) is series


def test_in_place_casting(series: Any) -> None:
    """A float result does not go into integers in silence: numpy's own error."""
    with pytest.raises(np._core._exceptions.UFuncTypeError):  # type: ignore[attr-defined]
        series /= 2
    with pytest.raises(TypeError):
        np.multiply(series, 0.5, out=series)


def test_out_of_several(series: Any) -> None:
    """out= with two results returns the objects that were given."""
    other = series * 0
    divmod_into: Any = np.divmod  # its type hints know arrays only
    quotient, rest = divmod_into(series, 3, out=(other, None))
    assert quotient is other
    np.testing.assert_array_equal(other.array, series.array // 3)
    np.testing.assert_array_equal(np.asarray(rest), series.array % 3)


def test_truth_and_membership(series: Series) -> None:
    """As arrays have them: no truth of several values, membership by value."""
    with pytest.raises(ValueError, match="ambiguous"):
        bool(series == series)
    assert series.array.max() in series
    assert 65_000 not in series
    assert len(series) == 4
    assert [part.shape for part in series] == [(6, 8)] * 4


# --- reductions -------------------------------------------------------------------------------

REDUCTIONS = ("mean", "sum", "prod", "min", "max", "std", "var", "any", "all")


@pytest.mark.parametrize("name", [*REDUCTIONS, "median"])
def test_reductions_over_a_further_axis(times: Series, name: str) -> None:
    """By name or number: numpy's values, where the slices are, under new UIDs."""
    expected = getattr(np, name)(times.array, axis=0)
    for axis in ("time", 0, -4, ("time",)):
        result = getattr(times, name)(axis=axis)
        assert isinstance(result, Series)
        np.testing.assert_array_equal(result.array, expected)
        assert result.dtype == expected.dtype
        assert [one.name for one in result.axes] == ["slice", "row", "column"]
        np.testing.assert_array_equal(result.affine, times.affine)
        assert len(result.header) == SHAPE[0]
        assert result.patientName == times.patientName
        assert result.seriesInstanceUID != times.seriesInstanceUID


def test_reductions_by_numpy(times: Series) -> None:
    """np.mean and ufunc.reduce give the same series; axes may have their names there, too."""
    of_time: Any = "time"  # numpy's type hints know numbers only
    for name in REDUCTIONS:
        for axis in (0, of_time):
            result = getattr(np, name)(times, axis=axis)
            assert isinstance(result, Series)
            np.testing.assert_array_equal(result.array, getattr(np, name)(times.array, axis=0))
    assert isinstance(np.add.reduce(times), Series)
    assert isinstance(np.maximum.reduce(times, axis=of_time), Series)
    np.testing.assert_array_equal(np.add.reduce(times).array, times.array.sum(axis=0))
    np.testing.assert_array_equal(times.std(axis="time", ddof=1), times.array.std(0, ddof=1))
    np.testing.assert_allclose((times - times.mean("time")).array.mean(0), 0, atol=1e-9)


def test_reductions_that_leave_no_place(times: Series) -> None:
    """Over slices, rows, columns or everything numpy's plain result is given."""
    for axis in ("slice", "row", "column", ("time", "slice"), 1, -1, None, ()):
        result = times.max(axis=axis)
        assert not isinstance(result, Series) or axis == ()
        numbers: Any = {"slice": 1, "row": 2, "column": 3, ("time", "slice"): (0, 1)}
        np.testing.assert_array_equal(result, times.array.max(axis=numbers.get(axis, axis)))
    assert isinstance(times.mean("time", keepdims=True), np.ndarray)
    assert times.mean("time", keepdims=True).shape == (1, *SHAPE)
    with pytest.raises(ValueError, match="the axes are time, slice, row, column"):
        times.mean(axis="te")
    with pytest.raises(np.exceptions.AxisError):
        times.mean(axis=4)


def test_reductions_into_out(times: Any) -> None:
    """out= is filled and returned; a series among them gets new UIDs. where= is a mask."""
    plain = np.zeros(SHAPE)
    assert times.mean("time", out=plain) is plain
    np.testing.assert_array_equal(plain, times.array.mean(axis=0))
    target = times[0] * 1.0
    target.header.settle()
    uid = target.seriesInstanceUID
    assert np.mean(times, axis=0, out=target) is target
    assert target.seriesInstanceUID != uid
    masked = times.sum("time", where=times > 100)
    np.testing.assert_array_equal(masked, np.where(times.array > 100, times.array, 0).sum(axis=0))


def test_masks_of_other_places(series: Series, elsewhere: Series) -> None:
    """A mask given as where= must lie where the operands do."""
    masked: Any = np.add  # its type hints know masks that are arrays only
    with pytest.raises(InconsistentSeriesError):
        masked(series, 1, where=elsewhere > 3)
    out = np.zeros(SHAPE, series.dtype)
    masked(series, 1, where=series > 100, out=out)
    np.testing.assert_array_equal(out, np.where(series.array > 100, series.array + 1, 0))


# --- made when asked for -----------------------------------------------------------------------


def test_parts_keep_what_they_were_taken_from(series: Series) -> None:
    """What is set on the whole later is not seen by parts and results, asked for or not."""
    name = series.patientName
    part, result = series[1:3], series + 1
    series.patientName = "Other^One"
    assert part.patientName == result.patientName == name
    assert series[0].patientName == "Other^One"
    assert part.seriesInstanceUID != series.seriesInstanceUID


def test_one_look_is_as_good_as_two(series: Series) -> None:
    """UIDs of a part or a result are the same however often they are asked for."""
    for made in (series[1:3], series[:, 1:], series * 2, (series * 2)[1], (series + 1) / 2):
        assert made.seriesInstanceUID == made.seriesInstanceUID
        assert made._volume is made._volume
    result = series * 2
    assert result[1].seriesInstanceUID == result.seriesInstanceUID
    assert (result + 1).seriesInstanceUID != result.seriesInstanceUID


def test_results_hold_no_operands(series: Series) -> None:
    """The voxels that a result was computed of are given back, looked at or not."""
    copied = copy.deepcopy(series)
    watched = weakref.ref(copied.array)
    result, picked = (copied + 1) * 2, copied[[0, 2]]
    del copied
    gc.collect()
    assert watched() is None
    assert result.shape == SHAPE
    assert picked.shape == (2, *SHAPE[1:])


# --- geometry of parts ------------------------------------------------------------------------


def test_geometry_of_parts(series: Series) -> None:
    """Every voxel of a part is where it was, by the affine of the whole."""
    for index in (
        np.s_[1:3, 2:5, 3:],
        np.s_[::2, ::3, ::2],
        np.s_[::-1],
        np.s_[:, ::-1, ::-2],
        np.s_[2],
        np.s_[-1, 1:, 1:],
        np.s_[..., 2:4],
    ):
        part = series[index]
        places = np.indices(SHAPE)
        kept = places[(slice(None), *(index if isinstance(index, tuple) else (index,)))]
        first = kept.reshape(3, -1)[::-1]
        expected = series.affine[:3, :3] @ first + series.affine[:3, 3:]
        own = np.indices(part.shape[-3:] if part.ndim == 3 else (1, *part.shape)).reshape(3, -1)
        found = part.affine[:3, :3] @ own[::-1] + part.affine[:3, 3:]
        np.testing.assert_allclose(found, expected, atol=1e-9)
        assert part.transformationMatrix[0, 3] == part.affine[2, 3]
        assert [len(axis) for axis in part.axes] == list(part.shape)


def test_axes_of_parts(times: Series) -> None:
    """Axes follow: values of the times that are left, mm from the first row that is left."""
    part = times[1:, 1, 2:, ::2]
    assert [axis.name for axis in part.axes] == ["time", "row", "column"]
    np.testing.assert_array_equal(part.tags["time"], times.tags["time"][1:])
    np.testing.assert_allclose(part.axes[1].values, np.arange(4) * 2.0)
    np.testing.assert_allclose(part.axes[2].values, np.arange(4) * 4.0)
    assert part.timeline[0] == 0
    assert times.timeline.shape == (3,)
    assert times[0].bvalues.size == 0
    assert times[0].tags == {}
    np.testing.assert_allclose(times[0].timeline, [0])


def test_values_of_axes(tmp_path: Path) -> None:
    """tags, timeline, bvalues and bvectors are (n, …) along their axes, empty without one."""
    values = {"b": [0.0, 500.0, 1000.0]}
    made = phantom((3, *SHAPE), axes=("b", "slice", "row", "column"), values=values)
    weighted = anyio.run(Series.open, made.save(tmp_path / "b"))
    assert weighted.bvalues.tolist() == [0, 500, 1000]
    assert weighted[::-1].bvalues.tolist() == [1000, 500, 0]
    assert weighted[[0, 2]].bvalues.tolist() == [0, 1000]
    assert weighted.bvectors.shape == (3, 3)  # in the header, along no axis
    assert weighted[0].bvalues.tolist() == [0]
    assert weighted.timeline.tolist() == [0]
    table = np.array([[0, 0, 0, 0], [700, 1, 0, 0], [700, 0, 0.6, 0.8]])
    axes = [Axis("dti", "s/mm2", table)]
    directed = Series.from_array(np.zeros((3, *SHAPE)), axes=axes)
    np.testing.assert_array_equal(directed.bvalues, table[:, 0])
    np.testing.assert_array_equal(directed.bvectors, table[:, 1:])
    np.testing.assert_array_equal(directed[1:].bvectors, table[1:, 1:])
    times = Series.from_array(
        np.zeros((2, *SHAPE)), axes=[Axis("triggertime", "ms", np.array([100.0, 350.0]))]
    )
    assert times.timeline.tolist() == [0, 0.25]
    assert times.bvalues.shape == (0,)
    assert times.bvectors.shape == (0, 3)


def test_uids_of_parts(series: Series) -> None:
    """Whole slices keep their UIDs; cropped ones have new ones; the whole extent is no crop."""
    assert (
        series[1:3].header.values("SOPInstanceUID") == series.header.values("SOPInstanceUID")[1:3]
    )
    assert series[:, 0:6, :8].seriesInstanceUID == series.seriesInstanceUID
    crop = series[:, 1:]
    assert crop.seriesInstanceUID != series.seriesInstanceUID
    assert not set(crop.header.values("SOPInstanceUID")) & set(
        series.header.values("SOPInstanceUID")
    )


# --- as a header ------------------------------------------------------------------------------


def test_attributes(series: Series, tmp_path: Path) -> None:
    """Both spellings read what pydicom reads."""
    dataset = pydicom.dcmread(next((tmp_path / "a").iterdir()), stop_before_pixels=True)
    for keyword in ("PatientName", "Modality", "SeriesNumber", "SeriesInstanceUID", "PixelSpacing"):
        assert getattr(series, keyword) == dataset[keyword].value
        assert getattr(series, camel_case(keyword)) == dataset[keyword].value
    assert len(series.header.values("sopInstanceUID")) == 4


def test_set_and_delete(series: Series) -> None:
    """Set in one spelling, read in the other; deleted it is gone; deleting it twice is an error."""
    series.PatientID = "x"
    assert series.patientID == "x"
    del series.patientID
    assert not hasattr(series, "patientID")
    with pytest.raises(AttributeError, match="patientID"):
        del series.patientID
    with pytest.raises(AttributeError):
        del series.seriesInstanceUID


def test_unknown_attributes(series: Series) -> None:
    """A misspelled name is an AttributeError that says what may have been meant."""
    for name, hint in {
        "patientname": "patientName",
        "patientNmae": "patientName",
        "SeriesDescripton": "seriesDescription",
    }.items():
        with pytest.raises(AttributeError, match=f"did you mean '{hint}'"):
            getattr(series, name)
        with pytest.raises(AttributeError, match=f"did you mean '{hint}'"):
            setattr(series, name, 1)
        with pytest.raises(AttributeError, match=f"did you mean '{hint}'"):
            delattr(series, name)
    for name in ("argmax", "T", "_private", "__deepcopy", "xyzzyPlugh"):
        with pytest.raises(AttributeError):
            getattr(series, name)
    with pytest.raises(AttributeError, match="has no attribute 'echoTime'"):
        _ = series.echoTime


def test_what_cannot_be_set(series: Series) -> None:
    """Geometry and array are not set; attributes that follow from the pixels are not either."""
    for name in ("array", "shape", "spacing", "affine", "header", "write"):
        with pytest.raises(AttributeError, match="cannot be set"):
            setattr(series, name, 1)
    with pytest.raises(HeaderError):
        series.rows = 5
    before = series.seriesInstanceUID
    for name, value in (
        ("rescaleSlope", 2),
        ("rescaleIntercept", 0),
        ("pixelSpacing", [9, 9]),
        ("ImagePositionPatient", [0, 0, 0]),
        ("imageOrientationPatient", [0, 1, 0, 1, 0, 0]),
    ):
        with pytest.raises(HeaderError, match="series instead"):
            setattr(series, name, value)
    with pytest.raises(AttributeError, match="series instead"):
        del series.pixelSpacing
    assert series.seriesInstanceUID == before


def test_no_keyword_is_hidden() -> None:
    """No DICOM attribute has the name of one of ours."""
    names = {name for keyword in keyword_dict for name in (keyword, camel_case(keyword))}
    assert not names & set(object.__dir__(Series))


def test_dir(series: Series) -> None:
    """dir() lists the attributes that are there, beside our own."""
    names = dir(series)
    assert {"patientName", "seriesInstanceUID", "array", "write"} <= set(names)
    assert "echoTime" not in names
    assert all(hasattr(series, name) for name in names if not name.startswith("_"))


def test_repr(series: Series) -> None:
    """The repr tells shape, type, axes and spacing; nothing of the patient."""
    assert repr(series) == "<Series (4, 6, 8) uint16 (slice, row, column), spacing (3, 2, 2) mm>"


# --- copies -----------------------------------------------------------------------------------


def test_copy(series: Series) -> None:
    """copy: the same voxels, a header of its own."""
    other = copy.copy(series)
    assert other.array is series.array
    other.seriesNumber = 77
    assert series.seriesNumber == 1
    assert other.seriesInstanceUID != series.seriesInstanceUID


def test_deepcopy(series: Series) -> None:
    """deepcopy: nothing is shared."""
    other = copy.deepcopy(series)
    other[...] = 0
    assert series.array.any()
    assert other.seriesInstanceUID != series.seriesInstanceUID
    np.testing.assert_array_equal(other.affine, series.affine)


@pytest.mark.parametrize("changed", [False, True])
def test_pickle(series: Series, changed: bool) -> None:
    """A pickle brings back voxels, geometry, every header element and every change."""
    if changed:
        series.patientName = "Doe^John"
        series.header.set("InstanceNumber", 99, where=[2])
    other = pickle.loads(pickle.dumps(series))
    np.testing.assert_array_equal(other.array, series.array)
    np.testing.assert_array_equal(other.affine, series.affine)
    for index in range(4):
        assert other.header.dataset(index) == series.header.dataset(index)
    assert repr(other) == repr(series)
    assert other.report == series.report
    other.seriesNumber = 5
    assert series.seriesNumber == 1


async def test_pickle_writes_the_same_files(series: Series, tmp_path: Path) -> None:
    """Out of a pickle, an unchanged series is still byte for byte what was read."""
    await pickle.loads(pickle.dumps(series)).write(tmp_path / "c")
    for name in ("a", "c"):
        assert len(list((tmp_path / name).iterdir())) == 4
    found = [sorted(p.read_bytes() for p in (tmp_path / name).iterdir()) for name in ("a", "c")]
    assert found[0] == found[1]


def test_a_damaged_value_is_our_error(series: Series) -> None:
    """What cannot be decoded raises an error of ours, not pydicom's."""
    assert issubclass(DicomError, ValueError)
    with pytest.raises(HeaderError):
        series.header.get("NoSuchAttribute")


def test_products_of_matrices(tmp_path: Path) -> None:
    """What mixes rows and columns has no place, though its shape is the same."""
    series = anyio.run(Series.open, phantom((3, 6, 6)).save(tmp_path / "a"))
    turned = np.eye(6)[::-1]
    for found in (series @ turned, np.matmul(series, turned), turned @ series):
        assert type(found) is np.ndarray
    np.testing.assert_array_equal(series @ turned, series.array[:, :, ::-1])
