"""Which parts keep their place in space; the oracle is numpy's own indexing."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seriesio import Series
from seriesio.dicom.indexing import same_place, take
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
        [0, 1],
        np.array([0]),
        None,
        (slice(None), None),
        True,
        (..., ...),
        np.ones(SHAPE, bool),
        (0, 0, 0),
        (slice(0, 0),),
    ],
    ids=str,
)
def test_other_indices(volume: Volume, index: Any) -> None:
    """Lists, masks, new axes and nothing at all have no place in space."""
    assert take(volume, index) is None


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
