"""Images of guest formats to volumes and back; oracles made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seriesio import Series
from seriesio.dicom.sorting import Axis
from seriesio.errors import DataError, EncodeError
from seriesio.formats._imaging import image_of, volume_of
from seriesio.formats.image import Image
from seriesio.report import Report
from seriesio.testing import phantom

VECTORS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0.6, 0.8]])


def test_there_and_back() -> None:
    """Array, axes, affine and attributes go through a volume as they are, uncopied."""
    affine = np.array([[0, -2.0, 0, 1], [1, 0, 0.1, 2], [0, 0, 3, 3], [0, 0, 0, 1]])
    array = np.zeros((2, 3, 4, 5), np.float32)
    axis = Axis("te", "ms", np.array([4.0, 8.0]))
    image = Image(array, (axis,), affine, attributes={"RepetitionTime": 2000.0, "X": 1})
    volume = volume_of(image, "a", Report())
    again = image_of(volume)
    assert np.shares_memory(again.array, array)
    assert again.axes == (axis,)
    assert again.affine is not None
    np.testing.assert_allclose(again.affine, affine, atol=1e-12)
    assert again.attributes == {"RepetitionTime": 2000.0}
    assert again.bvectors is None
    assert not again.color


def test_directions() -> None:
    """b values with directions are one axis, and are told apart again."""
    axis = Axis("b", "s/mm2", np.array([0.0, 800, 800]))
    image = Image(np.zeros((3, 2, 4, 5)), (axis,), np.eye(4), bvectors=VECTORS)
    volume = volume_of(image, "a", Report())
    assert volume.axes[0].name == "dti"
    np.testing.assert_array_equal(volume.axes[0].values[:, 0], axis.values)
    np.testing.assert_array_equal(image_of(volume).bvectors, VECTORS)
    wrong = Image(np.zeros((3, 2, 4, 5)), (axis,), np.eye(4), bvectors=VECTORS[:2])
    with pytest.raises(DataError, match="3 b values"):
        volume_of(wrong, "a", Report())


def test_directions_beside_another_axis() -> None:
    """Vectors stand for each volume, in C order of all further axes."""
    rows = np.column_stack([np.array([0.0, 800, 800]), VECTORS])
    axes = (Axis("te", "ms", np.array([1.0, 2.0])), Axis("dti", "s/mm2", rows))
    image = Image(np.zeros((2, 3, 2, 4, 5)), axes, np.eye(4))
    found = image_of(volume_of(image, "a", Report())).bvectors
    np.testing.assert_array_equal(found, np.concatenate([VECTORS, VECTORS]))


def test_unknown_place() -> None:
    """Spacing without a place is kept as such; nothing at all as nothing."""
    image = Image(np.zeros((2, 4, 5)), spacing=(3.0, 2.0, 1.0))
    volume = volume_of(image, "a", Report())
    assert volume.geometry.spacing == (3.0, 2.0, 1.0)
    assert not volume.geometry.known
    again = image_of(volume)
    assert again.affine is None
    assert again.spacing == (3.0, 2.0, 1.0)
    assert image_of(volume_of(Image(np.zeros((2, 4, 5))), "a", Report())).spacing is None


@pytest.mark.parametrize(
    "image",
    [
        Image(np.zeros((4, 5))),
        Image(np.zeros((2, 4, 5)), affine=np.zeros((4, 4))),
        Image(np.zeros((2, 2, 4, 5))),
        Image(np.zeros((2, 4, 5)), (Axis("te", "", np.zeros(2)),)),
        Image(np.zeros((2, 4, 5, 4)), color=True),
        Image(np.zeros((2, 0, 5))),
    ],
)
def test_what_does_not_fit(image: Image) -> None:
    """What a guest has read and makes no volume is an error that names the file."""
    with pytest.raises(DataError, match=r"^x\.toy: "):
        volume_of(image, "x.toy", Report())


async def test_parts_of_series(tmp_path: Path) -> None:
    """A single slice is a volume of one slice at its place; nothing of the patient is told."""
    made = phantom((2, 3, 8, 6), axes=("te", "slice", "row", "column"), spacing=(3, 2, 1))
    series = await Series.open(made.save(tmp_path))
    image = image_of(series[:, 1]._volume)
    assert image.array.shape == (2, 1, 8, 6)
    assert np.shares_memory(image.array, series.array)
    assert image.affine is not None
    np.testing.assert_allclose(image.affine, series[:, 1:2].affine)
    np.testing.assert_allclose(image_of(series[0, 1]._volume).array[0], made.array[0, 1])
    assert not any("Patient" in name for name in image.attributes)
    assert image.attributes["SeriesNumber"] == 1


async def test_uneven_slices(tmp_path: Path) -> None:
    """Slices that no affine can place are an error for formats that keep a place, only there."""
    made = phantom((4, 8, 6))
    datasets = made.datasets()
    datasets[3].ImagePositionPatient[2] += 1.0
    for number, dataset in enumerate(datasets):
        dataset.save_as(tmp_path / f"{number}.dcm")
    series = await Series.open(tmp_path)
    with pytest.raises(EncodeError, match="accept_uneven_slices=True"):
        image_of(series._volume)
    assert image_of(series._volume, placed=False).notes == ()
    assert image_of(series._volume, accept_uneven=True).notes
    for name in ("matlab", "png", "tiff"):
        await series.write(tmp_path / name, formats=[name])
    for name in ("nifti", "metaimage", "nrrd"):
        with pytest.raises(EncodeError, match="accept_uneven_slices=True"):
            await series.write(tmp_path / name, formats=[name])


async def test_directions_of_a_header(tmp_path: Path) -> None:
    """Directions that only headers tell are handed over, where b values are an axis."""
    made = phantom((3, 2, 8, 6), axes=("b", "slice", "row", "column"), modality="MR")
    for number, dataset in enumerate(made.datasets()):
        vector = VECTORS[number // 2]
        dataset.DiffusionDirectionality = "DIRECTIONAL" if vector.any() else "NONE"
        if vector.any():
            dataset.DiffusionGradientOrientation = vector.tolist()
        dataset.save_as(tmp_path / f"{number}.dcm")
    series = await Series.open(tmp_path, "b")
    assert series.axes[0].name == "b"
    found = image_of(series._volume).bvectors
    assert found is not None
    np.testing.assert_allclose(found, VECTORS, atol=1e-6)
    assert image_of(series[0]._volume).bvectors is None


async def test_window(tmp_path: Path) -> None:
    """The window of a header goes to formats that show pictures."""
    made = phantom((2, 8, 6))
    for number, dataset in enumerate(made.datasets()):
        dataset.WindowCenter, dataset.WindowWidth = 40, 400
        dataset.save_as(tmp_path / f"{number}.dcm")
    told = image_of((await Series.open(tmp_path))._volume).attributes
    assert (float(told["WindowCenter"]), float(told["WindowWidth"])) == (40, 400)
