"""Series of computed data: shapes, axes, places and their errors; oracles made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seriesio import Series
from seriesio.dicom.sorting import Axis
from seriesio.errors import InconsistentSeriesError
from seriesio.testing import phantom

AFFINE = np.array([[2.0, 0, 0, -10], [0, 0, 3, 20], [0, -1, 0, 30], [0, 0, 0, 1]])


def test_plain() -> None:
    """An array alone is a series of voxels of 1 mm, and not copied."""
    array = np.zeros((3, 4, 5), np.float32)
    series = Series.from_array(array)
    assert np.shares_memory(series.array, array)
    assert series.spacing == (1.0, 1.0, 1.0)
    np.testing.assert_array_equal(series.affine, np.eye(4))
    assert [axis.name for axis in series.axes] == ["slice", "row", "column"]
    assert len(series.header) == 0


def test_lists_and_images() -> None:
    """What numpy takes for an array is one; rows and columns alone are one slice."""
    assert Series.from_array([[1, 2], [3, 4]]).shape == (1, 2, 2)
    assert Series.from_array([[[1.5, 2]]]).shape == (1, 1, 2)


def test_affine() -> None:
    """An affine or geometry= is the place, spacing and orientation are its columns."""
    for named in ("affine", "geometry"):
        arguments: dict[str, Any] = {named: AFFINE}
        series = Series.from_array(np.zeros((3, 4, 5)), **arguments)
        np.testing.assert_allclose(series.affine, AFFINE, atol=1e-12)
        np.testing.assert_allclose(series.spacing, (3, 1, 2))
        np.testing.assert_allclose(series.orientation, [1, 0, 0, 0, 0, -1])
        np.testing.assert_allclose(series.imagePositions[2], [-10, 26, 30])


def test_sheared_and_mirrored_affines() -> None:
    """Affines are kept exactly, whatever their handedness and shear."""
    skewed = np.array([[-2.0, 0, 0.5, 1], [0.3, 1.5, 0, 2], [0, 0, -3, 3], [0, 0, 0, 1]])
    series = Series.from_array(np.zeros((2, 4, 5)), affine=skewed)
    np.testing.assert_allclose(series.affine, skewed, atol=1e-12)
    np.testing.assert_allclose(series.transformationMatrix[::-1, ::-1][1:, 1:], skewed[:3, :3])


def test_spacing() -> None:
    """Spacing alone makes an axial volume at the origin."""
    series = Series.from_array(np.zeros((3, 4, 5)), spacing=(3, 2, 1.5))
    assert series.spacing == (3.0, 2.0, 1.5)
    np.testing.assert_array_equal(series.affine, np.diag([1.5, 2, 3, 1]))


def test_axes() -> None:
    """Axes are told by name, whole, with the spatial ones behind, or taken for time."""
    array = np.zeros((2, 3, 4, 5))
    assert Series.from_array(array).axes[0].name == "time"
    named = Series.from_array(array, axes=["te", "slice", "row", "column"]).axes[0]
    assert (named.name, named.unit, named.values.tolist()) == ("te", "ms", [0.0, 1.0])
    whole = Axis("b", "s/mm2", np.array([0.0, 1000.0]))
    assert Series.from_array(array, axes=[whole]).axes[0].values.tolist() == [0.0, 1000.0]
    both = Series.from_array(np.zeros((2, 2, 3, 4, 5)), axes=["time", "te"])
    assert [axis.name for axis in both.axes] == ["time", "te", "slice", "row", "column"]


def test_color() -> None:
    """A last axis that is called rgb is colour."""
    series = Series.from_array(np.zeros((4, 5, 3), np.uint8), axes=["row", "column", "rgb"])
    assert series.shape == (1, 4, 5, 3)
    assert series.axes[-1].name == "rgb"
    assert series[:, :2].shape == (1, 2, 5, 3)


@pytest.mark.parametrize(
    ("shape", "arguments", "told"),
    [
        ((4,), {}, "no rows and columns"),
        ((2, 2, 3, 4, 5), {}, "names 0 axes"),
        ((2, 3, 4, 5), {"axes": ["time", "te"]}, "names 2 axes"),
        ((2, 3, 4, 5), {"axes": "time"}, r"a list of names, as \['time'\]"),
        ((2, 3, 4, 5), {"axes": [Axis("te", "ms", np.zeros(3))]}, "3 values for 2 steps"),
        ((3, 4, 5), {"spacing": (1, 2)}, "three positive numbers"),
        ((3, 4, 5), {"spacing": (1, 2, 0)}, "three positive numbers"),
        ((3, 4, 5), {"spacing": (1, 2, np.nan)}, "three positive numbers"),
        ((3, 4, 5), {"spacing": (1, 1, 1), "affine": np.eye(4)}, "give one of them"),
        ((3, 4, 5), {"geometry": np.eye(4), "affine": np.eye(4)}, "give one of them"),
    ],
)
def test_arguments(shape: tuple[int, ...], arguments: dict[str, Any], told: str) -> None:
    """Arguments that do not fit are told clearly."""
    with pytest.raises(ValueError, match=told):
        Series.from_array(np.zeros(shape), **arguments)


@pytest.mark.parametrize(
    ("affine", "told"),
    [
        (np.eye(3), "4x4"),
        (np.diag([1.0, 0, 1, 1]), "singular"),
        (np.full((4, 4), np.nan), "finite"),
        (np.ones((4, 4)), "ends with the row"),
        ("eye", "4x4 matrix of numbers"),
    ],
)
def test_affines(affine: Any, told: str) -> None:
    """What is no affine of a volume is told so."""
    with pytest.raises(InconsistentSeriesError, match=told):
        Series.from_array(np.zeros((3, 4, 5)), affine=affine)


def test_no_voxels() -> None:
    """Nothing, text and doubled axes make no volume."""
    with pytest.raises(InconsistentSeriesError, match="no voxels"):
        Series.from_array(np.zeros((0, 4, 5)))
    with pytest.raises(InconsistentSeriesError, match="holds no voxels"):
        Series.from_array(np.full((2, 2), "a"))
    with pytest.raises(InconsistentSeriesError, match="names of their own"):
        Series.from_array(np.zeros((2, 2, 3, 4, 5)), axes=["te", "te"])


def test_axes_of_another_kind() -> None:
    """What is neither a name nor an axis is told."""
    wrong: Any = [3]
    with pytest.raises(ValueError, match="axes= holds names or Axis objects, not int"):
        Series.from_array(np.zeros((2, 3, 4, 5)), axes=wrong)


def test_urls_are_refused() -> None:
    """from_array does not wait: a URL is answered with what to do."""
    arguments: dict[str, Any]
    for arguments in ({"template": "a"}, {"geometry": Path("b")}):
        with pytest.raises(TypeError, match=r"await Series\.open\(url\) first"):
            Series.from_array(np.zeros((3, 4, 5)), **arguments)
    with pytest.raises(TypeError, match="template= is a Series"):
        Series.from_array(np.zeros((3, 4, 5)), template=3)  # type: ignore[arg-type]


async def test_geometry_of_a_series(tmp_path: Path) -> None:
    """The place of another series is taken, if the size is the same."""
    made = phantom((3, 8, 6), spacing=(4, 2, 1), orientation=(0, 1, 0, 0, 0, -1))
    series = await Series.open(made.save(tmp_path / "a"))
    mask = Series.from_array(series.array > 100, geometry=series)
    np.testing.assert_allclose(mask.affine, made.affine, atol=1e-6)
    assert isinstance(series * mask, Series)
    with pytest.raises(InconsistentSeriesError, match=r"\(3, 8, 6\), the series \(2, 8, 6\)"):
        Series.from_array(series.array[1:], geometry=series)


async def test_template_gives_axes_and_place(tmp_path: Path) -> None:
    """A template of the same size gives axes and place, too, unless others are given."""
    made = phantom((2, 3, 8, 6), axes=("te", "slice", "row", "column"), spacing=(4, 2, 1))
    series = await Series.open(made.save(tmp_path / "a"))
    same = Series.from_array(series.array * 2.5, template=series)
    np.testing.assert_allclose(same.affine, made.affine, atol=1e-6)
    np.testing.assert_allclose(same.tags["te"], made.values["te"])
    mean = Series.from_array(series.array.mean(axis=0), template=series)
    assert mean.shape == (3, 8, 6)
    np.testing.assert_allclose(mean.affine, made.affine, atol=1e-6)
    other = Series.from_array(series.array, template=series, spacing=(1, 1, 2), axes=["ti"])
    assert other.spacing == (1.0, 1.0, 2.0)
    assert list(other.tags) == ["ti"]
