"""Real series: voxels as pydicom has them, geometry as SimpleITK and dcm2niix have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray

from seriesio import Series
from seriesio.errors import AmbiguousSeriesError, InconsistentSeriesError

PLAIN = ["mr_oblique", "ct_gantry_tilt", "ct_study:201", "ct_study:301"]


def datasets(folder: Path, number: int | None = None) -> list[tuple[Path, Any]]:
    """(path, dataset) of a folder's images, sorted by hand along the normal."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            dataset = pydicom.dcmread(path, force=False)
        except pydicom.errors.InvalidDicomError:
            continue
        if "PixelData" in dataset and number in (None, int(dataset.SeriesNumber)):
            found.append((path, dataset))
    return sorted(found, key=lambda entry: location(entry[1]))


def location(dataset: Any) -> float:
    cosines = np.array(dataset.ImageOrientationPatient, float)
    normal = np.cross(cosines[:3], cosines[3:])
    return float(normal @ np.array(dataset.ImagePositionPatient, float))


def values(dataset: Any) -> NDArray[np.float64]:
    stored: NDArray[Any] = dataset.pixel_array.astype(np.float64)
    slope, intercept = (
        float(dataset.get(keyword, default))
        for keyword, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    return stored * slope + intercept


async def opened(corpus: Path, name: str) -> tuple[Series, list[tuple[Path, Any]]]:
    folder, _, number = name.partition(":")
    select = {"SeriesNumber": int(number)} if number else None
    series = await Series.open(corpus / folder, select=select)
    return series, datasets(corpus / folder, int(number) if number else None)


def mapped(series: Series, index: tuple[int, int, int]) -> NDArray[np.float64]:
    """(x, y, z) of a voxel (slice, row, column) by the affine."""
    z, y, x = index
    return np.asarray((series.affine @ np.array([x, y, z, 1.0]))[:3])


@pytest.mark.parametrize("name", PLAIN)
async def test_plain_series(corpus: Path, name: str) -> None:
    """Voxels and positions are pydicom's, spacing and columns of the affine SimpleITK's."""
    series, files = await opened(corpus, name)
    assert np.array_equal(series.array, np.stack([values(dataset) for _, dataset in files]))
    positions = [np.array(dataset.ImagePositionPatient, float) for _, dataset in files]
    assert np.allclose(series.imagePositions, positions, rtol=0, atol=1e-9)
    image: Any = SimpleITK.ReadImage([str(path) for path, _ in files])
    assert series.spacing == pytest.approx(image.GetSpacing()[::-1], abs=1e-4)
    assert np.allclose(series.affine[:3, 3], image.GetOrigin(), atol=1e-4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    ours = series.affine[:3, :2] / np.linalg.norm(series.affine[:3, :2], axis=0)
    assert np.allclose(ours, direction[:, :2], atol=1e-6)


@pytest.mark.parametrize("name", ["ct_study:201", "ct_study:301", "mr_oblique"])
async def test_even_stacks_map_onto_their_positions(corpus: Path, name: str) -> None:
    """The affine, sheared under tilt, puts each slice where its file says."""
    series, files = await opened(corpus, name)
    for place, (_, dataset) in enumerate(files):
        wanted = np.array(dataset.ImagePositionPatient, float)
        assert np.abs(mapped(series, (place, 0, 0)) - wanted).max() < 1e-3


async def test_transformation_matrix_is_the_affine_reversed(corpus: Path) -> None:
    """(slice, row, column, 1) to (z, y, x, 1)."""
    series, _ = await opened(corpus, "mr_oblique")
    z, y, x = (series.transformationMatrix @ np.array([3.0, 5.0, 7.0, 1.0]))[:3]
    assert np.allclose([x, y, z], mapped(series, (3, 5, 7)))


async def test_gantry_tilt_with_uneven_spacing(corpus: Path) -> None:
    """4 and 7 mm in one stack: nothing is missing, and the report says what the affine is."""
    series, _ = await opened(corpus, "ct_gantry_tilt")
    assert series.spacing[0] == pytest.approx(5.6274, abs=1e-4)
    assert any("unevenly spaced" in note for note in series.report.notes)
    assert any("tilted by 18.5 degrees" in note for note in series.report.notes)


@pytest.mark.parametrize("part", [slice(None, 14), slice(14, None)], ids=["4 mm", "7 mm"])
async def test_gantry_tilt_is_a_sheared_affine(corpus: Path, part: slice) -> None:
    """Where the spacing is even, the affine takes every voxel to its DICOM position."""
    series, files = await opened(corpus, "ct_gantry_tilt")
    even = series[part]
    down, through = (even.affine[:3, n] / np.linalg.norm(even.affine[:3, n]) for n in (1, 2))
    assert abs(down @ through) == pytest.approx(np.sin(np.radians(18.5)), abs=1e-3)
    for place, (_, dataset) in enumerate(files[part]):
        origin = np.array(dataset.ImagePositionPatient, float)
        along, down = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        between_rows, between_columns = map(float, dataset.PixelSpacing)
        for row, column in ((0, 0), (511, 0), (0, 511), (511, 511), (200, 300)):
            wanted = origin + row * between_rows * down + column * between_columns * along
            assert np.abs(mapped(even, (place, row, column)) - wanted).max() < 1e-3


def reoriented(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """A NIfTI file as ([time,] slice, row, column) with rows from front to back, and its affine
    from (column, row, slice, 1) to LPS: dcm2niix flips the rows."""
    image: Any = nibabel.load(path)
    array = np.flip(np.asarray(image.dataobj), 1).T
    flip = np.eye(4)
    flip[1, 1], flip[1, 3] = -1, image.shape[1] - 1
    return array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine @ flip


async def test_fmri_is_dcm2niix_answer(corpus: Path) -> None:
    """10 volumes of 15 interleaved slices, told apart by nothing but their numbers."""
    series = await Series.open(corpus / "mr_fmri" / "mr_0004")
    (reference,) = (corpus / "mr_fmri").rglob("reference.nii")
    array, affine = reoriented(reference)
    assert series.shape == (10, 15, 64, 64)
    assert [axis.name for axis in series.axes] == ["time", "slice", "row", "column"]
    assert np.array_equal(series.array, array)
    assert np.allclose(series.affine, affine, atol=1e-4)


async def test_mosaic_is_dcm2niix_answer(corpus: Path) -> None:
    """Tiles become slices, and the position is that of the first tile's corner."""
    series = await Series.open(corpus / "mr_mosaic")
    array, affine = reoriented(corpus / "mr_mosaic_reference.nii")
    assert series.shape == (2, 5, 72, 72)
    assert np.array_equal(series.array, array)
    assert np.allclose(series.affine, affine, atol=1e-4)
    assert series.spacing == pytest.approx((12, 3, 3), abs=1e-4)


async def test_mosaic_is_written_byte_for_byte(corpus: Path, tmp_path: Path) -> None:
    """What was not changed keeps the bytes between the tiles, too."""
    series = await Series.open(corpus / "mr_mosaic")
    await series.write(tmp_path / "out")
    ours = {path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert ours == {path.read_bytes() for path in (corpus / "mr_mosaic").glob("*.dcm")}


async def test_changed_mosaic_is_put_together_again(corpus: Path, tmp_path: Path) -> None:
    """The tiles go back to where they were; pydicom finds the new value in the right one."""
    series = await Series.open(corpus / "mr_mosaic")
    series.array[1, 4, 10, 20] = 999
    await series.write(tmp_path / "out")
    written = sorted(
        (pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()),
        key=lambda dataset: str(dataset.AcquisitionTime),
    )
    assert [dataset.pixel_array.shape for dataset in written] == [(216, 216)] * 2
    assert written[1].pixel_array[72 + 10, 72 + 20] == 999  # tile 4 of 3 by 3: row 1, column 1
    again = await Series.open(tmp_path / "out")
    assert np.array_equal(again.array, series.array)
    assert np.allclose(again.affine, series.affine)


@pytest.mark.parametrize("name", ["mr_dynamic", "mr_dynamic.zip?time"])
async def test_dynamic(corpus: Path, name: str) -> None:
    """Three times by Acquisition Time, each slice pydicom's, from a directory or a zip."""
    series = await Series.open(f"{corpus}/{name}")
    assert series.shape == (3, 3, 192, 152)
    files = [dataset for _, dataset in datasets(corpus / "mr_dynamic")]
    files.sort(key=lambda dataset: (float(dataset.AcquisitionTime), location(dataset)))
    wanted = np.stack([values(dataset) for dataset in files]).reshape(series.shape)
    assert np.array_equal(series.array, wanted)
    assert series.timeline[0] == 0
    assert (np.diff(series.timeline) > 0).all()


async def test_enhanced(corpus: Path) -> None:
    """Positions out of the functional groups, one file for each time step."""
    series = await Series.open(corpus / "mr_enhanced")
    assert series.shape == (4, 25, 64, 64)
    files = sorted(
        (pydicom.dcmread(path) for path in (corpus / "mr_enhanced").iterdir()),
        key=lambda dataset: float(dataset.ContentTime),
    )
    for time, dataset in enumerate(files):
        groups = dataset.PerFrameFunctionalGroupsSequence
        shared = dataset.SharedFunctionalGroupsSequence[0]
        planes = shared if "PlaneOrientationSequence" in shared else groups[0]
        orientation = planes.PlaneOrientationSequence[0].ImageOrientationPatient
        cosines = np.array(orientation, float)
        normal = np.cross(cosines[:3], cosines[3:])
        found = np.array([g.PlanePositionSequence[0].ImagePositionPatient for g in groups], float)
        order = np.argsort(found @ normal)
        assert np.allclose(series.imagePositions, found[order], atol=1e-3)
        assert np.array_equal(series.array[time], dataset.pixel_array[order])


async def test_study_lists_its_series(corpus: Path) -> None:
    """Four series, by number, with what is needed to choose."""
    with pytest.raises(AmbiguousSeriesError) as caught:
        await Series.open(corpus / "ct_study")
    assert [series.series_number for series in caught.value.series] == [100, 201, 301, 401]
    assert [series.instances for series in caught.value.series] == [1, 54, 58, 5]
    assert "select=" in str(caught.value)


async def test_series_of_several_sizes(corpus: Path) -> None:
    """A report's pictures have all kinds of Rows."""
    with pytest.raises(InconsistentSeriesError, match="differ in Rows: 256, 512, 741"):
        await Series.open(corpus / "ct_study", select={"SeriesNumber": 401})
