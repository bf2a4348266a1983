"""Series to SimpleITK and back; the oracle is SimpleITK reading the same DICOM files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from seriesio import Series
from seriesio.dicom.sorting import Axis
from seriesio.errors import DataError, EncodeError, MissingDependencyError
from seriesio.testing import phantom

sitk: Any = pytest.importorskip("SimpleITK")

SHAPE = (4, 6, 8)
OBLIQUE = (0.8, 0.6, 0, 0, 0, -1)


def opened(folder: Path, *args: Any, **options: Any) -> Series:
    return anyio.run(Series.open, phantom(*args, **options).save(folder))


def read(folder: Path) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE])
def test_as_simpleitk_reads_the_files(tmp_path: Path, orientation: Any) -> None:
    """Voxels, spacing, origin and direction are those that SimpleITK finds by itself."""
    image = opened(tmp_path, SHAPE, orientation=orientation, spacing=(3, 2, 1.5)).to_sitk()
    expected = read(tmp_path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(expected))
    np.testing.assert_allclose(image.GetSpacing(), expected.GetSpacing())
    np.testing.assert_allclose(image.GetOrigin(), expected.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(image.GetDirection(), expected.GetDirection(), atol=1e-6)


def test_tilted(tmp_path: Path) -> None:
    """Each voxel of a sheared stack lies where the phantom has it."""
    made = phantom(SHAPE, tilt=15.0)
    image = anyio.run(Series.open, made.save(tmp_path)).to_sitk()
    for index in ((0, 0, 0), (7, 0, 1), (3, 5, 3)):
        place = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(place, (made.affine @ [*index, 1])[:3], atol=1e-4)


def test_there_and_back(tmp_path: Path) -> None:
    """4D, tilted: the same voxels (a copy), axes and affine."""
    series = opened(tmp_path, (3, *SHAPE), tilt=8.0)
    image = series.to_sitk()
    assert image.GetSize() == (8, 6, 4, 3)
    back = Series.from_sitk(image)
    np.testing.assert_array_equal(back.array, series.array)
    np.testing.assert_allclose(back.affine, series.affine, atol=1e-6)
    np.testing.assert_allclose(back.tags["time"], series.tags["time"])
    assert back.axes[0].unit == "s"
    back[...] = 0
    assert sitk.GetArrayFromImage(image).any()
    assert Series.from_sitk(image, template=series).modality == series.modality


def test_kinds_of_images() -> None:
    """Flat images are one slice; three bytes are a colour, other vectors an axis."""
    flat = sitk.GetImageFromArray(np.arange(12.0).reshape(3, 4))
    flat.SetSpacing((0.5, 0.7))
    flat.SetOrigin((1, 2))
    series = Series.from_sitk(flat)
    assert series.shape == (1, 3, 4)
    assert series.spacing == (1, 0.7, 0.5)
    np.testing.assert_allclose(series.imagePositions, [[1, 2, 0]])
    colored = np.arange(72, dtype=np.uint8).reshape(2, 3, 4, 3)
    color = Series.from_sitk(sitk.GetImageFromArray(colored, isVector=True))
    assert color.axes[-1].name == "rgb"
    np.testing.assert_array_equal(color.array, colored)
    assert color.to_sitk().GetNumberOfComponentsPerPixel() == 3
    vectors = Series.from_sitk(sitk.GetImageFromArray(colored.astype(np.float32), isVector=True))
    assert vectors.axes[0].name == "component"
    np.testing.assert_array_equal(vectors.array, np.moveaxis(colored, -1, 0))


def test_types_and_axes() -> None:
    """Truth values become bytes; what ITK has no place for is refused."""
    truth = Series.from_array(np.ones(SHAPE, bool)).to_sitk()
    assert truth.GetPixelID() == sitk.sitkUInt8
    assert Series.from_array(np.ones(SHAPE, np.float16)).to_sitk().GetPixelID() == sitk.sitkFloat32
    many = Series.from_array(np.zeros((1, 1, 1, *SHAPE)), axes=["time", "te", "b"])
    with pytest.raises(EncodeError, match="five dimensions"):
        many.to_sitk()
    falling = Axis("time", "s", np.array([2.0, 1.0]))
    image = Series.from_array(np.zeros((2, *SHAPE)), axes=[falling]).to_sitk()
    assert image.GetSpacing()[3] == 1  # ITK takes no negative one
    assert image.GetOrigin()[3] == 2


def test_uneven_slices(tmp_path: Path) -> None:
    """No spacing says where uneven slices are: that is refused, unless it is asked for."""
    series = opened(tmp_path, (8, 6, 8))[[0, 1, 5]]
    with pytest.raises(EncodeError, match="uneven slices"):
        series.to_sitk()
    np.testing.assert_allclose(series.to_sitk(accept_uneven_slices=True).GetSpacing(), (2, 2, 7.5))


def test_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error says how to get it."""
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingDependencyError, match=r"seriesio\[sitk\]"):
        Series.from_array(np.zeros(SHAPE)).to_sitk()


def test_other_objects() -> None:
    """A label map, for which SimpleITK would end the process, and what is no image at all."""
    with pytest.raises(DataError, match="label map"):
        Series.from_sitk(sitk.Image([4, 5, 6], sitk.sitkLabelUInt8))
    with pytest.raises(TypeError, match="from_sitk takes a SimpleITK Image, not ndarray"):
        Series.from_sitk(np.zeros((3, 4, 5)))
