"""Series to nibabel and back; the oracles are SimpleITK reading what nibabel saves, and arrays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from seriesio import Series
from seriesio.dicom.sorting import Axis
from seriesio.errors import EncodeError, InconsistentSeriesError, MissingDependencyError
from seriesio.testing import phantom

nibabel: Any = pytest.importorskip("nibabel")
sitk: Any = pytest.importorskip("SimpleITK")

SHAPE = (4, 6, 8)
OBLIQUE = (0.8, 0.6, 0, 0, 0, -1)


def opened(folder: Path, *args: Any, **options: Any) -> Series:
    return anyio.run(Series.open, phantom(*args, **options).save(folder))


@pytest.mark.parametrize("options", [{}, {"tilt": 12.0}, {"orientation": OBLIQUE}], ids=str)
def test_the_same_place(tmp_path: Path, options: dict[str, Any]) -> None:
    """Every voxel lies where the phantom has it, x and y turned round; nothing is copied."""
    made = phantom(SHAPE, spacing=(3, 2, 1.5), **options)
    series = anyio.run(Series.open, made.save(tmp_path))
    image = series.to_nibabel()
    assert np.shares_memory(np.asanyarray(image.dataobj), series.array)
    assert image.shape == SHAPE[::-1]
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), made.array.T)
    np.testing.assert_allclose(image.affine[:2], -made.affine[:2], atol=1e-6)
    np.testing.assert_allclose(image.affine[2:], made.affine[2:], atol=1e-6)
    assert image.header["sform_code"] == 1
    assert image.header["qform_code"] == (0 if "tilt" in options else 1)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_another_program_reads_it(tmp_path: Path) -> None:
    """What nibabel saves has for SimpleITK the voxels, spacing and place of the phantom."""
    made = phantom((3, *SHAPE), orientation=OBLIQUE)
    series = anyio.run(Series.open, made.save(tmp_path / "d"))
    nibabel.save(series.to_nibabel(), tmp_path / "x.nii")
    image = sitk.ReadImage(str(tmp_path / "x.nii"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), made.array)
    np.testing.assert_allclose(image.GetSpacing(), (2, 2, 3, 2.5), rtol=1e-5)
    corner = image.TransformIndexToPhysicalPoint((7, 5, 3, 0))[:3]
    np.testing.assert_allclose(corner, (made.affine @ [7, 5, 3, 1])[:3], atol=1e-4)


def test_there_and_back(tmp_path: Path) -> None:
    """The same voxels, without a copy, the same affine, times from zero."""
    series = opened(tmp_path, (3, *SHAPE), tilt=8.0)
    back = Series.from_nibabel(series.to_nibabel())
    assert np.shares_memory(back.array, series.array)
    np.testing.assert_array_equal(back.array, series.array)
    np.testing.assert_allclose(back.affine, series.affine, atol=1e-6)
    assert [axis.name for axis in back.axes] == ["time", "slice", "row", "column"]
    np.testing.assert_allclose(back.timeline, series.timeline, atol=1e-5)
    with_header = Series.from_nibabel(series.to_nibabel(), template=series)
    assert with_header.patientName == series.patientName


def test_units(tmp_path: Path) -> None:
    """Metres and milliseconds become mm and s; a file is read, scaled; flat images are slices."""
    data = np.arange(48, dtype=np.int16).reshape(2, 3, 4, 2)
    image = nibabel.Nifti1Image(data, np.diag([0.001, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter", "msec")
    image.header.set_zooms((0.001, 0.002, 0.003, 500))
    nibabel.save(image, tmp_path / "m.nii")
    series = Series.from_nibabel(nibabel.load(tmp_path / "m.nii"))
    np.testing.assert_allclose(series.spacing, (3, 2, 1), rtol=1e-6)
    np.testing.assert_allclose(np.diag(series.affine), (-1, -2, 3, 1), rtol=1e-6)
    np.testing.assert_allclose(series.timeline, [0, 0.5])
    np.testing.assert_array_equal(series.array, data.T)
    flat = Series.from_nibabel(nibabel.Nifti1Image(data[..., 0, 0], np.eye(4)))
    assert flat.shape == (1, 3, 2)


def test_no_place() -> None:
    """Without sform and qform there is a spacing, but no place; and none is made up on the way."""
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), None)
    image.header.set_zooms((1, 2, 3))
    series = Series.from_nibabel(image)
    assert series.spacing == (3, 2, 1)
    again = series.to_nibabel()
    assert again.header["sform_code"] == 0
    assert again.header.get_zooms() == (1, 2, 3)
    image.set_sform(np.diag([1.0, 1, 0, 1]), 1)
    with pytest.raises(InconsistentSeriesError, match="singular"):
        Series.from_nibabel(image)


def test_types(tmp_path: Path) -> None:
    """Truth values become bytes as a view, 64-bit integers stay, half floats widen; colours too."""
    truth = Series.from_array(np.ones(SHAPE, bool), affine=np.eye(4))
    image = truth.to_nibabel()
    assert image.get_data_dtype() == np.uint8
    assert np.shares_memory(np.asanyarray(image.dataobj), truth.array)
    for dtype, expected in ((np.int64, np.int64), (np.float16, np.float32), (np.uint32, np.uint32)):
        image = Series.from_array(np.ones(SHAPE, dtype), affine=np.eye(4)).to_nibabel()
        assert image.get_data_dtype() == expected
    color = opened(tmp_path, SHAPE, photometric="RGB")
    image = color.to_nibabel()
    data = np.asanyarray(image.dataobj)
    assert data.shape == SHAPE[::-1]
    np.testing.assert_array_equal(data["G"], color.array[..., 1].T)
    np.testing.assert_array_equal(Series.from_nibabel(image).array, color.array)


def test_axes_find_their_dimension() -> None:
    """Time is the fourth dimension wherever it stands; two others of gradients are one."""
    array = np.arange(2 * 3 * 24.0).reshape(3, 2, 2, 3, 4)
    axes = ["time", "te"]
    image = Series.from_array(array, axes=axes, affine=np.eye(4)).to_nibabel()
    assert image.shape == (4, 3, 2, 3, 2)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj)[..., 1, 0], array[1, 0].T)
    vectors = Axis("dti", "s/mm2", np.zeros((3, 4)))
    image = Series.from_array(array[:, 0], axes=[vectors], affine=np.eye(4)).to_nibabel()
    assert image.shape == (4, 3, 2, 3)


def test_uneven_slices(tmp_path: Path) -> None:
    """No affine says where uneven slices are: that is refused, unless it is asked for."""
    series = opened(tmp_path, (8, 6, 8))[[0, 1, 5]]
    with pytest.raises(EncodeError, match=r"uneven slices.*accept_uneven_slices"):
        series.to_nibabel()
    image = series.to_nibabel(accept_uneven_slices=True)
    np.testing.assert_allclose(image.header.get_zooms(), (2, 2, 7.5))
    assert series[:2].to_nibabel().shape == (8, 6, 2)


def test_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error says how to get it."""
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingDependencyError, match=r"seriesio\[nibabel\]"):
        Series.from_array(np.zeros(SHAPE)).to_nibabel()


def test_other_objects() -> None:
    """What is no image is told to be none."""
    with pytest.raises(TypeError, match="from_nibabel takes a nibabel SpatialImage, not ndarray"):
        Series.from_nibabel(np.zeros((3, 4, 5)))
