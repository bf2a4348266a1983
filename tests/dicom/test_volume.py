"""Volumes: slots, fingerprints and what subsets keep of the past; oracles made by hand."""

from __future__ import annotations

from pathlib import Path

import anyio
import numpy as np
import pytest

from seriesio import Series
from seriesio.dicom.volume import Volume
from seriesio.testing import phantom


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    made = phantom((2, 3, 4, 5)).save(tmp_path / "a")
    return anyio.run(Series.open, made)._volume


def test_slots(volume: Volume) -> None:
    """Slot k is the k-th frame in C order of the leading axes, a view even of a crop."""
    expected = volume.array.reshape(6, 4, 5)
    for place in range(6):
        np.testing.assert_array_equal(volume.slot(place), expected[place])
        assert np.shares_memory(volume.slot(place), volume.array)
    assert volume.rows_and_columns == (4, 5)
    assert volume.slots.shape == (6, 4, 5)


def test_slots_of_a_single_slice(tmp_path: Path) -> None:
    """A volume without leading axes is its own slot."""
    series = anyio.run(Series.open, phantom((2, 4, 5)).save(tmp_path / "b"))
    single = series[1]._volume
    assert single.leading == 0
    np.testing.assert_array_equal(single.slot(0), series.array[1])


def test_prints_tell_changes(volume: Volume) -> None:
    """Prints are those of reading until a slot changes, and then differ there only."""
    read = volume.stored.prints
    assert read is not None
    np.testing.assert_array_equal(volume.prints(), read)
    volume.array[1, 0, 2, 3] += 1
    assert np.flatnonzero(volume.prints() != read).tolist() == [3]


def test_subset(volume: Volume) -> None:
    """A subset counts its instances anew, in the order of its slots."""
    stored, instances = volume.stored.subset(np.array([4, 1]))
    assert instances == [4, 1]
    assert stored.instance.tolist() == [0, 1]
    assert stored.whole
    assert volume.stored.prints is not None
    assert stored.prints is not None
    assert stored.prints.tolist() == volume.stored.prints[[4, 1]].tolist()


def test_subset_of_frames(tmp_path: Path) -> None:
    """Some frames of a multi-frame instance: one instance, not whole any more."""
    made = phantom((4, 4, 5), enhanced=True).save(tmp_path / "e")
    stored = anyio.run(Series.open, made)._volume.stored
    assert stored.whole
    part, instances = stored.subset(np.array([2, 0]))
    assert instances == [0]
    assert not part.whole
    assert len(part.layouts) == 1


def test_with_array(volume: Volume) -> None:
    """Computed voxels: the same place, other UIDs, no fingerprints of files."""
    other = volume.with_array(volume.array * 2)
    assert other.geometry is volume.geometry
    assert other.stored.prints is None
    assert other.header.get("SeriesInstanceUID") != volume.header.get("SeriesInstanceUID")
