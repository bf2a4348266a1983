"""What is missing is dropped or refused, never paired with what it does not belong to."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from seriesio import Series
from seriesio.errors import IncompleteSeriesError, IncompleteSeriesWarning
from seriesio.testing import Phantom, phantom

SOURCE = phantom((4, 3, 12, 16), modality="MR")


def bare(dataset: Dataset) -> None:
    """Nothing but the Instance Number tells volumes apart."""
    for keyword in ("TemporalPositionIdentifier", "AcquisitionNumber", "ContentTime"):
        delattr(dataset, keyword)
    dataset.AcquisitionTime = "120000"


def saved(folder: Path, source: Phantom, numbers: list[int] | None = None) -> Path:
    for place, dataset in enumerate(source.datasets()):
        bare(dataset)
        if numbers is not None:
            dataset.InstanceNumber = numbers[place]
        dataset.save_as(folder / f"{place}.dcm")
    return folder


@pytest.mark.parametrize("gone", [[0, 4, 8], [3], [1, 7], [11], [4, 9]])
async def test_numbers_alone_with_holes(tmp_path: Path, gone: list[int]) -> None:
    """Under "warn" those volumes are opened that have all of their slices, and no other frame."""
    folder = saved(tmp_path, SOURCE.without(gone))
    with pytest.raises(IncompleteSeriesError):
        await Series.open(folder)
    with pytest.warns(IncompleteSeriesWarning):
        series = await Series.open(folder, on_incomplete="warn")
    whole = [volume for volume in range(4) if not {place // 3 for place in gone} & {volume}]
    assert np.array_equal(series.array.reshape(-1, 3, 12, 16), SOURCE.array[whole])
    assert series.report.missing


async def test_numbered_slice_by_slice(tmp_path: Path) -> None:
    """The numbers run through the volumes of a slice, then of the next."""
    gone = [1, 8]
    numbers = [1 + place % 3 * 4 + place // 3 for place in range(12) if place not in gone]
    folder = saved(tmp_path, SOURCE.without(gone), numbers)
    with pytest.warns(IncompleteSeriesWarning):
        series = await Series.open(folder, on_incomplete="warn")
    assert np.array_equal(series.array, SOURCE.array[[1, 3]])


async def test_numbers_that_leave_a_doubt(tmp_path: Path) -> None:
    """Numbers that begin anywhere: which frames belong together nobody knows, so none are."""
    gone = [0, 4, 8]
    numbers = [700 + (place * 5) % 12 for place in range(12) if place not in gone]
    folder = saved(tmp_path, SOURCE.without(gone), numbers)
    with pytest.raises(IncompleteSeriesError, match=r"certain.*rank") as caught:
        await Series.open(folder, on_incomplete="warn")
    assert all(text.startswith("InstanceNumber 70") for text in caught.value.missing)
    series = await Series.open(folder, "rank")
    assert series.shape == (3, 3, 12, 16)


async def test_times_of_their_own_and_a_hole_everywhere(tmp_path: Path) -> None:
    """Each slice has its own moment, each position lacks another volume: the numbers show it."""
    source = SOURCE.without([0, 4, 8])
    for place, dataset in enumerate(source.datasets()):
        bare(dataset)
        dataset.AcquisitionTime = f"12{int(dataset.InstanceNumber):02d}00"
        dataset.save_as(tmp_path / f"{place}.dcm")
    with pytest.raises(IncompleteSeriesError) as caught:
        await Series.open(tmp_path)
    assert caught.value.missing == ("InstanceNumber 5", "InstanceNumber 9")
    with pytest.warns(IncompleteSeriesWarning):
        series = await Series.open(tmp_path, on_incomplete="warn")
    assert np.array_equal(series.array, SOURCE.array[3])


async def test_a_scan_that_was_broken_off(tmp_path: Path) -> None:
    """The last volume ends early: the others are whole."""
    folder = saved(tmp_path, SOURCE.without([10, 11]))
    with pytest.warns(IncompleteSeriesWarning):
        series = await Series.open(folder, on_incomplete="warn")
    assert np.array_equal(series.array, SOURCE.array[:3])


@pytest.mark.parametrize("keyword", ["EchoTime", "FlipAngle"])
async def test_one_volume_whose_slices_differ(tmp_path: Path, keyword: str) -> None:
    """Each slice has its own echo time or angle, and no number is missing: one volume."""
    source = phantom((5, 12, 16), modality="MR")
    for place, dataset in enumerate(source.datasets()):
        setattr(dataset, keyword, f"{10 + place % 2 * 7}")
        dataset.save_as(tmp_path / f"{place}.dcm")
    series = await Series.open(tmp_path)
    assert np.array_equal(series.array, source.array)


async def test_two_echoes_cut_in_halves(tmp_path: Path) -> None:
    """The same with numbers missing is half of two volumes."""
    source = phantom((2, 4, 12, 16), axes=("te", "slice", "row", "column"))
    folder = source.without([0, 2, 5, 7]).save(tmp_path)
    with pytest.raises(IncompleteSeriesError):
        await Series.open(folder)


async def test_clocks_of_whole_seconds(tmp_path: Path) -> None:
    """A slice of one volume and another of the next share a second: that is no mixture."""
    for place, dataset in enumerate(SOURCE.datasets()):
        bare(dataset)
        volume, slice_ = divmod(place, 3)
        seconds = (2 * volume + (0, 1, 2)[slice_]) if slice_ else 2 * volume
        dataset.AcquisitionTime = f"1200{seconds:02d}"
        dataset.save_as(tmp_path / f"{place}.dcm")
    series = await Series.open(tmp_path)
    assert np.array_equal(series.array, SOURCE.array)


async def test_uneven_positions_accepted(tmp_path: Path) -> None:
    """accept_uneven_slices=True: whole volumes, and what was left out is told."""
    folder = SOURCE.without([4]).save(tmp_path)
    with pytest.raises(IncompleteSeriesError):
        await Series.open(folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        series = await Series.open(folder, accept_uneven_slices=True)
    assert [str(warning.message)[:27] for warning in told] == ["the series is incomplete: p"]
    assert np.array_equal(series.array, SOURCE.array[[0, 2, 3]])
    assert any("instead of 4" in text for text in series.report.missing)


async def test_a_gap_among_uneven_ones(tmp_path: Path) -> None:
    """Gaps of 9 and 6 mm, with as many numbers missing: slices are missing."""
    folder = phantom((6, 12, 16)).without([1, 2, 4]).save(tmp_path)
    with pytest.raises(IncompleteSeriesError) as caught:
        await Series.open(folder)
    names = ["InstanceNumber 2", "InstanceNumber 3", "InstanceNumber 5"]
    assert list(caught.value.missing) == names
