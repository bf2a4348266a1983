"""What makes a series: splitting, joining, stacks of several orientations, headers alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from seriesio import Series
from seriesio.errors import (
    AmbiguousSeriesError,
    EncodeError,
    HeaderError,
    InconsistentSeriesError,
    NotFoundError,
)
from seriesio.testing import Phantom, phantom

SMALL = (3, 12, 16)
PLANES = {
    "axial": phantom(SMALL),
    "sagittal": phantom((4, 12, 16), orientation=(0, 1, 0, 0, 0, -1)),
    "coronal": phantom((2, 12, 16), orientation=(1, 0, 0, 0, 0, -1)),
}


def localizer(folder: Path) -> Path:
    """One series of three orientations, numbered one after the other."""
    number = 0
    for name, source in PLANES.items():
        for dataset in source.datasets():
            number += 1
            dataset.InstanceNumber = number
            dataset.SeriesInstanceUID = "2.25.1"
            dataset.SOPInstanceUID = f"2.25.1.{number}"
            dataset.save_as(folder / f"{name}{number}.dcm")
    return folder


def saved(folder: Path, source: Phantom, change: Callable[[int, Dataset], None]) -> Path:
    for place, dataset in enumerate(source.datasets()):
        change(place, dataset)
        dataset.save_as(folder / f"{place:03}.dcm")
    return folder


async def test_stacks_are_listed(tmp_path: Path) -> None:
    """The error says of each stack its orientation, how many, where, and how to select it."""
    with pytest.raises(AmbiguousSeriesError) as caught:
        await Series.open(localizer(tmp_path))
    told = [summary.series_description for summary in caught.value.series]
    assert [summary.instances for summary in caught.value.series] == [3, 4, 2]
    assert "stack 2: orientation [0, 1, 0, 0, 0, -1], 4 frames at 4 positions" in told[1]
    assert 'select={"stack": 2}' in told[1]
    assert told[1] in str(caught.value)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_stack_by_number(tmp_path: Path, number: int) -> None:
    """Stacks count from 1, by the first Instance Number of each."""
    series = await Series.open(localizer(tmp_path), select={"stack": number})
    assert np.array_equal(series.array, list(PLANES.values())[number - 1].array)


async def test_stack_by_orientation(tmp_path: Path) -> None:
    """By direction cosines, within the tolerance."""
    wanted = [1.0004, 0, 0, 0, 0, -0.9996]
    series = await Series.open(localizer(tmp_path), select={"ImageOrientationPatient": wanted})
    assert np.array_equal(series.array, PLANES["coronal"].array)


async def test_stacks_one_by_one(tmp_path: Path) -> None:
    """open_all gives every stack."""
    folder = localizer(tmp_path)
    found = [series async for series in Series.open_all(folder)]
    assert [series.shape[0] for series in found] == [3, 4, 2]
    for series, source in zip(found, PLANES.values(), strict=True):
        assert np.array_equal(series.array, source.array)
        assert np.allclose(series.affine, source.affine, atol=1e-4)


async def test_stacks_of_one_object(tmp_path: Path) -> None:
    """An enhanced object mixes orientations: its frames are told apart all the same."""
    source = phantom((4, 12, 16), modality="MR", enhanced=True)
    (dataset,) = source.datasets()
    for place, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        plane = Dataset()
        plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0] if place < 2 else [0, 1, 0, 0, 0, -1]
        item.PlaneOrientationSequence = [plane]
        item.PlanePositionSequence[0].ImagePositionPatient = [3 * place, 0, 3 * place]
    shared = dataset.SharedFunctionalGroupsSequence[0]
    if "PlaneOrientationSequence" in shared:
        del shared["PlaneOrientationSequence"]
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(AmbiguousSeriesError, match="stack 2: orientation"):
        await Series.open(tmp_path)
    first, second = [series async for series in Series.open_all(tmp_path)]
    assert np.array_equal(first.array, source.array[:2])
    picked = await Series.open(tmp_path, select={"stack": 2})
    assert np.array_equal(picked.array, second.array)
    along = [tuple(position) for position in second.imagePositions]
    assert len(set(along)) == len(along)


@pytest.mark.parametrize(
    ("stack", "error"), [(9, NotFoundError), ("two", HeaderError), (True, HeaderError)]
)
async def test_no_such_stack(tmp_path: Path, stack: Any, error: type[Exception]) -> None:
    """A number that is not there, and what is no number."""
    with pytest.raises(error):
        await Series.open(localizer(tmp_path), select={"stack": stack})


async def test_tolerance_of_cosines(tmp_path: Path) -> None:
    """Frames a hundredth apart are two stacks, or one with dir_cosine_tolerance."""

    def tilt(place: int, dataset: Dataset) -> None:
        sine = 0.01 * (place % 2)
        dataset.ImageOrientationPatient = [
            f"{(1 - sine**2) ** 0.5:.6f}",
            f"{sine}",
            0,
            f"{-sine}",
            f"{(1 - sine**2) ** 0.5:.6f}",
            0,
        ]

    folder = saved(tmp_path, phantom((4, 12, 16)), tilt)
    with pytest.raises(AmbiguousSeriesError):
        await Series.open(folder)
    series = await Series.open(folder, dir_cosine_tolerance=0.02)
    assert series.shape == (4, 12, 16)


async def test_tolerance_of_slices(tmp_path: Path) -> None:
    """Two images 0.5 mm apart are two slices, or two times of one with slice_tolerance."""
    source = phantom((2, *SMALL), modality="MR", position=(0, 0, 0))

    def lift(place: int, dataset: Dataset) -> None:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, float(z) + 0.5 * (place // 3)]

    folder = saved(tmp_path, source, lift)
    assert (await Series.open(folder, "time", slice_tolerance=0.6)).shape == (2, *SMALL)


@pytest.mark.parametrize(
    ("option", "keyword"),
    [("split_acquisitions", "AcquisitionNumber"), ("split_echo_numbers", "EchoNumbers")],
)
async def test_splitting(tmp_path: Path, option: str, keyword: str) -> None:
    """A series for each number; the error lists them with the number, select= picks."""
    source = phantom((2, *SMALL), modality="MR")

    def number(place: int, dataset: Dataset) -> None:
        setattr(dataset, keyword, place // 3 + 5)

    folder = saved(tmp_path, source, number)
    split: dict[str, Any] = {option: True}
    assert (await Series.open(folder, "time")).shape == (2, *SMALL)
    with pytest.raises(AmbiguousSeriesError, match=f"{keyword} 6"):
        await Series.open(folder, **split)
    found = [series async for series in Series.open_all(folder, **split)]
    assert np.array_equal(np.stack([series.array for series in found]), source.array)
    picked = await Series.open(folder, select={keyword: 6}, **split)
    assert np.array_equal(picked.array, source.array[1])


async def test_ignoring_series(tmp_path: Path) -> None:
    """ignore_series_uid=True: two series of a study, one for each echo time, are one."""
    source = phantom((2, *SMALL), axes=("te", "slice", "row", "column"))

    def part(place: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = f"2.25.{place // 3 + 1}"

    folder = saved(tmp_path, source, part)
    with pytest.raises(AmbiguousSeriesError):
        await Series.open(folder)
    series = await Series.open(folder, ignore_series_uid=True)
    assert np.array_equal(series.array, source.array)


async def test_slice_location(tmp_path: Path) -> None:
    """sort_on_slice_location=True: the other way round, positions with their slices."""
    source = phantom((4, 12, 16))

    def turn(place: int, dataset: Dataset) -> None:
        dataset.SliceLocation = f"{100 - place}"

    folder = saved(tmp_path, source, turn)
    series = await Series.open(folder, sort_on_slice_location=True)
    assert np.array_equal(series.array, source.array[::-1])
    wanted = [dataset.ImagePositionPatient for dataset in reversed(source.datasets())]
    assert np.allclose(series.imagePositions, np.array(wanted, float))


@pytest.mark.parametrize("location", [None, "7"])
async def test_slice_location_that_tells_nothing(tmp_path: Path, location: str | None) -> None:
    """Missing ones, and one for all slices."""

    def same(place: int, dataset: Dataset) -> None:
        if location is None:
            del dataset.SliceLocation
        else:
            dataset.SliceLocation = location

    folder = saved(tmp_path, phantom(SMALL), same)
    with pytest.raises(InconsistentSeriesError, match="sort_on_slice_location is not possible"):
        await Series.open(folder, sort_on_slice_location=True)


async def test_headers_only(tmp_path: Path) -> None:
    """Shape, geometry and attributes; every use of values is refused, so is writing."""
    source = phantom((2, *SMALL), modality="MR")
    folder = source.save(tmp_path)
    series = await Series.open(folder, headers_only=True)
    whole = await Series.open(folder)
    assert (series.shape, series.dtype) == (whole.shape, whole.dtype)
    assert np.array_equal(series.affine, whole.affine)
    assert series.patientID == whole.patientID
    assert series[1].shape == SMALL
    assert series.array.strides == (0, 0, 0, 0)
    for use in (
        lambda: series.array + 1,
        lambda: np.mean(series.array),
        lambda: series.array.max(),
        lambda: series.array[0, 0, 0, 0],
        lambda: series.array.tobytes(),
        lambda: bool(series.array),
        lambda: np.asarray(series.array),
        lambda: np.array(series.array[1], np.float32),
        lambda: np.asarray(series),
        lambda: series.mean(),
        lambda: np.stack([series.array[0], series.array[1]]),
        lambda: np.copyto(np.empty(series.shape), series.array),
        lambda: np.empty(series.shape).__setitem__(..., series.array),
        lambda: np.asarray(pickle.loads(pickle.dumps(series.array))),
        lambda: series.array @ np.eye(16),
        lambda: list(series.array),
        lambda: series.array.copy(),
    ):
        with pytest.raises(HeaderError, match="headers_only"):
            use()
    with pytest.raises(EncodeError, match="headers_only"):
        await series.write(tmp_path / "out")
    assert "unread" in repr(series.array)
    with pytest.raises(TypeError):
        memoryview(series.array)  # type: ignore[arg-type]
    assert series.array.reshape(-1, 12, 16).swapaxes(1, 2).T.shape == (12, 16, 6)
