"""Which parts keep their place in space; the oracle is numpy's own indexing."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seriesio import Series
from seriesio.dicom.indexing import collapse, same_place, take
from seriesio.dicom.pending import Part, Past, part_of
from seriesio.dicom.volume import Volume
from seriesio.testing import phantom

SHAPE = (2, 3, 6, 8)


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    made = phantom(SHAPE, tilt=10.0).save(tmp_path_factory.mktemp("phantom"))
    return anyio.run(Series.open, made)._volume


def parts(length: int) -> st.SearchStrategy[Any]:
    return st.one_of(st.slices(length), st.integers(-length, length - 1))


INDICES = st.tuples(*map(parts, SHAPE)).flatmap(
    lambda index: st.integers(0, len(SHAPE)).map(lambda count: index[:count])
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=INDICES)
def test_any_basic_index(volume: Volume, index: tuple[Any, ...]) -> None:
    """Voxels are numpy's; those of a Volume lie where the whole has them; header and axes fit."""
    expected = volume.array[index]
    found = take(volume, index)
    full = (*index, *[slice(None)] * (4 - len(index)))
    spatial = all(isinstance(part, slice) for part in full[2:]) and np.size(expected) > 0
    assert (found is not None) == spatial
    if found is None:
        return
    np.testing.assert_array_equal(found.array, expected)
    assert [len(axis) for axis in found.axes] == list(expected.shape)
    assert len(found.header) == len(found.stored.instance) == int(np.prod(expected.shape[:-2]))
    slices, rows, columns = (
        np.arange(n)[part] for n, part in zip(SHAPE[1:], full[1:], strict=True)
    )
    origin = volume.geometry.affine @ [columns[0], rows[0], 0, 1]
    offset = volume.geometry.positions[np.atleast_1d(slices)] - volume.geometry.positions[0]
    np.testing.assert_allclose(found.geometry.positions, origin[:3] + offset, atol=1e-9)
    for mm, places in zip(found.geometry.pixel_spacing, (rows, columns), strict=True):
        assert len(places) < 2 or mm == pytest.approx(2.0 * abs(places[1] - places[0]))


@pytest.mark.parametrize(
    "index",
    [
        [0, 0],
        (slice(None), [0, 2, 1]),
        (slice(None), [0, -3]),
        (slice(None), slice(None), None),
        (..., None),
        (..., [0, 1]),
        ([0, 1], [0, 1]),
        (0, slice(None), [0, 1]),
        np.array([[0, 1]]),
        np.array([0.0]),
        [True],
        True,
        (..., ...),
        np.ones(SHAPE, bool),
        (0, 0, 0),
        (slice(0, 0),),
    ],
    ids=str,
)
def test_other_indices(volume: Volume, index: Any) -> None:
    """Voxels twice, out of order, parts of rows, nothing at all: no place in space."""
    assert take(volume, index) is None
    assert not isinstance(_or_error(Series(volume), index), Series)


def _or_error(series: Series, index: Any) -> Any:
    try:
        return series[index]
    except IndexError as error:
        return error


LISTS: list[Any] = [
    [1, 0],
    np.array([1]),
    [False, True],
    np.array([True, True]),
    np.s_[:, [0, 2]],
    np.s_[:, [2, 1]],
    np.s_[:, [True, False, True]],
    np.s_[:, [-1], 1:, ::2],
    np.s_[0, [0, 1]],
    np.s_[[0], 2],
    np.s_[np.array([0], np.uint8), ..., 1:],
]


@pytest.mark.parametrize("index", LISTS, ids=str)
def test_lists_and_masks(volume: Volume, index: Any) -> None:
    """A list or mask along one further axis, or of slices in their order, keeps its place."""
    found = take(volume, index)
    assert found is not None
    np.testing.assert_array_equal(found.array, volume.array[index])
    assert not np.shares_memory(found.array, volume.array)
    assert [len(axis) for axis in found.axes] == list(found.array.shape)
    full = (*(index if isinstance(index, tuple) else (index,)), *[slice(None)] * 4)
    part = full[1] if full[1] is not Ellipsis else slice(None)
    locations = volume.geometry.slice_locations[part]
    np.testing.assert_allclose(found.geometry.slice_locations, np.atleast_1d(locations))
    numbers = np.arange(6).reshape(2, 3)[index if not isinstance(index, tuple) else index[:2]]
    uids = np.array(volume.header.values("SOPInstanceUID"))[numbers.reshape(-1)]
    if found.moved:  # cropped, too
        assert not set(found.header.values("SOPInstanceUID")) & set(uids)
    else:
        assert found.header.values("SOPInstanceUID") == uids.tolist()


def test_new_axes(volume: Volume) -> None:
    """A new axis before the slices has one step and a free name; no voxel is copied."""
    found = take(volume, np.s_[None, :, None])
    assert found is not None
    assert found.array.shape == (1, 2, 1, 3, 6, 8)
    assert np.shares_memory(found.array, volume.array)
    assert [axis.name for axis in found.axes[:4]] == ["new", "time", "new2", "slice"]
    assert found.axes[0].values.tolist() == [0]
    np.testing.assert_array_equal(found.geometry.affine, volume.geometry.affine)
    assert found.header.get("SeriesInstanceUID") == volume.header.get("SeriesInstanceUID")
    again = take(found, np.s_[0])
    assert again is not None
    assert [axis.name for axis in again.axes[:3]] == ["time", "new2", "slice"]


def test_collapse(volume: Volume) -> None:
    """Further axes can go, with the first of each header; slices, rows and columns cannot."""
    found = collapse(volume, (0,))
    assert found is not None
    assert found.axes[0].name == "slice"
    uids = volume.header.values("SOPInstanceUID")
    assert found.header.values("SOPInstanceUID") == uids[:3]
    assert collapse(volume, (-4,)) is not None
    for axes in ((1,), (0, 1), (2,), (-1,)):
        assert collapse(volume, axes) is None


@pytest.mark.parametrize(
    "index", [np.s_[1], np.s_[:, 1:], np.s_[..., ::-1], np.s_[0, 1], np.s_[None]], ids=str
)
def test_parts_later(volume: Volume, index: Any) -> None:
    """A part that is made later is what it would have been at once; a list gives a volume."""
    later, now = part_of(volume, index), take(volume, index)
    assert isinstance(later, Part)
    assert now is not None
    assert np.shares_memory(later.array, volume.array)
    made = later.volume()
    np.testing.assert_array_equal(made.array, now.array)
    np.testing.assert_array_equal(made.geometry.affine, now.geometry.affine)
    assert [axis.name for axis in made.axes] == [axis.name for axis in now.axes]
    assert made.header.values("InstanceNumber") == now.header.values("InstanceNumber")
    assert made.moved == now.moved
    assert isinstance(part_of(volume, [0]), Volume)


def test_a_past_is_all_but_the_voxels() -> None:
    """Past has each field of Volume but the first, in the same order."""
    assert ["array", *Past._fields] == [field.name for field in fields(Volume)]


@pytest.mark.parametrize("index", [5, (0, 9), (0, 0, 0, 0, 0), (slice("a", "b"),), "text"])
def test_errors_are_numpys(volume: Volume, index: Any) -> None:
    """What numpy refuses is refused with numpy's error."""
    with pytest.raises((IndexError, TypeError)):
        Series(volume)[index]


def test_same_place(volume: Volume) -> None:
    """A volume is where it is, and not where a part or a flipped one is."""
    assert same_place(volume.geometry, volume.geometry)
    for index in (np.s_[:, 1:], np.s_[..., ::2], np.s_[:, ::-1], np.s_[..., ::-1, :]):
        part = take(volume, index)
        assert part is not None
        assert not same_place(volume.geometry, part.geometry)
