"""From volumes to the bytes of instances: what is decided, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate_extended, generate_fragments

from seriesio import Series
from seriesio.dicom.instances import encode_instance, plan_write
from seriesio.dicom.volume import Volume
from seriesio.errors import EncodeError
from seriesio.testing import phantom


def opened(folder: Path, **options: Any) -> Volume:
    options.setdefault("shape", (3, 6, 8))
    shape = options.pop("shape")
    return anyio.run(Series.open, phantom(shape, **options).save(folder))._volume


def encoded(volume: Volume) -> list[Any]:
    plan = plan_write(volume, volume.prints(), False)
    files = [b"".join(encode_instance(plan, index)) for index in range(len(plan.slots))]
    return [pydicom.dcmread(BytesIO(data)) for data in files]


def test_no_copies_of_what_is_unchanged(tmp_path: Path) -> None:
    """Unchanged native pixels are handed over as views on the volume itself."""
    volume = opened(tmp_path)
    plan = plan_write(volume, volume.prints(), False)
    pieces = encode_instance(plan, 1)
    arrays = [np.frombuffer(piece, np.uint8) for piece in pieces]
    assert any(np.shares_memory(array, volume.array) for array in arrays)
    assert plan.encoding is None
    assert not plan.changed.any()


def test_smallest_and_largest(tmp_path: Path) -> None:
    """Computed pixels have the smallest and largest values of each instance."""
    volume = opened(tmp_path)
    array = np.arange(3 * 48, dtype=np.int16).reshape(3, 6, 8) - 20
    for number, dataset in enumerate(encoded(volume.with_array(array))):
        assert dataset.SmallestImagePixelValue == number * 48 - 20
        assert dataset.LargestImagePixelValue == number * 48 + 27
        assert dataset.ImageType[0] == "DERIVED"
        assert (dataset.PixelRepresentation, dataset.BitsAllocated) == (1, 16)
        np.testing.assert_array_equal(dataset.pixel_array, array[number])


def test_rescale_of_enhanced_objects(tmp_path: Path) -> None:
    """The rescale of computed frames stands in the shared functional groups, once."""
    volume = opened(tmp_path, enhanced=True, slope=[1, 2, 3], modality="MR")
    (dataset,) = encoded(volume.with_array(volume.array / 7.0))
    shared = dataset.SharedFunctionalGroupsSequence[0]
    assert len(shared.PixelValueTransformationSequence) == 1
    for item in dataset.PerFrameFunctionalGroupsSequence:
        assert "PixelValueTransformationSequence" not in item
    assert "RescaleSlope" not in dataset
    rescale = shared.PixelValueTransformationSequence[0]
    values = dataset.pixel_array * float(rescale.RescaleSlope) + float(rescale.RescaleIntercept)
    order = volume.stored.frame.argsort()
    expected = (volume.array / 7.0).reshape(3, 6, 8)[order]
    assert np.abs(values - expected).max() <= float(rescale.RescaleSlope) / 2 * 1.001


def test_offset_tables_go(tmp_path: Path) -> None:
    """An instance that is no longer compressed says so, without offsets of fragments."""
    phantom_files = phantom((3, 6, 8), transfer_syntax="1.2.840.10008.1.2.5").files()
    for name, data in phantom_files.items():
        dataset: Any = pydicom.dcmread(BytesIO(data))
        (frame,) = generate_fragments(dataset.PixelData[8 + dataset.PixelData[4] :])
        parts = encapsulate_extended([frame])
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = parts
        dataset.save_as(tmp_path / name)
    volume = anyio.run(Series.open, tmp_path)._volume
    volume.array[...] = volume.array[::-1].copy()
    syntaxes = [dataset.file_meta.TransferSyntaxUID for dataset in encoded(volume)]
    assert syntaxes == ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1"]
    for tag in (0x7FE00001, 0x7FE00002):
        assert [tag in dataset for dataset in encoded(volume)] == [False, True, False]


@pytest.mark.parametrize("dtype", [np.complex64, "M8[s]"])
def test_dtypes_that_are_no_pixels(tmp_path: Path, dtype: Any) -> None:
    """Complex numbers and dates are refused."""
    volume = opened(tmp_path)
    with pytest.raises(EncodeError, match="dtype"):
        encoded(replace(volume, array=volume.array.astype(dtype)))


def test_a_crop_without_positions(tmp_path: Path) -> None:
    """Where nothing is known of positions, none are made up in a crop."""
    folder = phantom((3, 6, 8)).save(tmp_path)
    for path in folder.iterdir():
        dataset: Any = pydicom.dcmread(path)
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing
        dataset.save_as(path)
    series = anyio.run(Series.open, folder)
    for dataset in encoded(series[:, 1:, ::2]._volume):
        assert "ImagePositionPatient" not in dataset
        assert "PixelSpacing" not in dataset
        assert (dataset.Rows, dataset.Columns) == (5, 4)
