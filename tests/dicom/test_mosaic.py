"""Siemens mosaics: the CSA header, hostile ones too, and the corner of the first tile."""

from __future__ import annotations

import gzip
import struct
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID

from seriesio import Series
from seriesio.dicom.mosaic import csa_values, is_mosaic
from seriesio.errors import DicomError, EncodeError, InconsistentSeriesError
from seriesio.testing import phantom

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import nibabel.nicom.csareader as csareader
    import nibabel.nicom.dicomwrappers as dicomwrappers

CSA: Any = csareader
NIBABEL: Any = dicomwrappers
NAMES = {"NumberOfImagesInMosaic", "SliceNormalVector"}
DATA = Path(csareader.__file__).parent / "tests" / "data"


def csa(tags: dict[str, list[str]], *, newer: bool = True) -> bytes:
    """A CSA header; the older form as SPM reads it, its first tag without items."""
    head = b"SV10\4\3\2\1" if newer else b""
    parts = [head + struct.pack("<2I", len(tags), 77)]
    for name, values in tags.items():
        vr = b"US" if name.startswith("Number") else b"FD"
        parts.append(struct.pack("<64si4s3i", name.encode(), len(values), vr, 4, len(values), 77))
        for value in values:
            data = value.encode() + b"\0"
            parts.append(struct.pack("<4i", len(data), len(data), 77, len(data)))
            parts.append(data + b"\0" * (-len(data) % 4))
    return b"".join(parts)


GOOD = {
    "EchoLinePosition": [],
    "NumberOfImagesInMosaic": ["5"],
    "SliceNormalVector": ["0.0", "0.6", "0.8"],
}


@pytest.mark.parametrize("newer", [True, False])
def test_csa_values(newer: bool) -> None:
    """Both forms of the header give the values of the tags asked for."""
    found = csa_values(csa(GOOD, newer=newer), NAMES)
    assert found == {
        "NumberOfImagesInMosaic": [b"5"],
        "SliceNormalVector": [b"0.0", b"0.6", b"0.8"],
    }


@pytest.mark.parametrize("name", ["csa2_b0.bin", "csa2_b1000.bin", "csa2_zero_len.bin.gz"])
def test_csa_values_are_nibabels(name: str) -> None:
    """Real headers: every text and number that nibabel finds."""
    raw = (DATA / name).read_bytes()
    raw = gzip.decompress(raw) if name.endswith(".gz") else raw
    wanted = CSA.read(raw)["tags"]
    found = csa_values(raw, set(wanted))
    for tag in wanted:
        numbers = [item for item in wanted[tag]["items"] if isinstance(item, int | float)]
        if numbers and len(numbers) == len(wanted[tag]["items"]):
            assert [float(value) for value in found[tag]] == numbers


@given(st.binary(max_size=400), st.booleans(), st.integers(0, 300), st.integers(0, 255))
def test_csa_values_of_anything(data: bytes, mutated: bool, place: int, byte: int) -> None:
    """Random or damaged bytes never raise."""
    if mutated:
        good = bytearray(csa(GOOD))
        good[place % len(good)] = byte
        data = bytes(good)
    assert csa_values(data, NAMES).keys() <= NAMES


def test_is_mosaic() -> None:
    """MOSAIC is a whole value, padded or not."""
    assert is_mosaic(b"ORIGINAL\\PRIMARY\\M\\MOSAIC ")
    assert not is_mosaic(b"ORIGINAL\\PRIMARY\\NOMOSAICS")
    assert not is_mosaic(None)


def made(
    count: int = 5,
    normal: tuple[str, ...] = ("0", "0", "1"),
    *,
    size: int = 48,
    header: bool = True,
) -> Dataset:
    """One mosaic, made of a phantom's slice."""
    (dataset,) = phantom((1, size, size), modality="MR", spacing=(4, 2, 2)).datasets()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
    dataset.ImagePositionPatient = [-100, -90, 5]
    dataset.SpacingBetweenSlices = "4.5"
    if header:
        dataset.add_new((0x0029, 0x0010), "LO", "SIEMENS CSA HEADER")
        tags = {"NumberOfImagesInMosaic": [str(count)], "SliceNormalVector": list(normal)}
        dataset.add_new((0x0029, 0x1010), "OB", csa(tags))
    return dataset


def saved(folder: Path, *datasets: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for number, dataset in enumerate(datasets):
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        (folder / f"{number}.dcm").write_bytes(buffer.getvalue())
    return folder


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("count", [4, 5, 9])
async def test_positions_are_nibabels(tmp_path: Path, sign: int, count: int) -> None:
    """Corner, direction and voxels as nibabel has them; a negative normal stacks downwards."""
    dataset = made(count, ("0", "0", str(sign)))
    series = await Series.open(saved(tmp_path / "in", dataset))
    oracle: Any = NIBABEL.MosaicWrapper(dataset)
    voxels = oracle.get_unscaled_data()  # (row, column, tile)
    place = oracle.image_position
    wanted = [place + np.array([0, 0, sign * 4.5 * k]) for k in range(count)][::sign]
    assert np.allclose(series.imagePositions, wanted)
    assert np.array_equal(series.array, np.moveaxis(voxels, -1, 0)[::sign])


async def test_public_count(tmp_path: Path) -> None:
    """Without a CSA header, (0019,xx0A) tells the count and the cosines the side."""
    dataset = made(header=False)
    dataset.add_new((0x0019, 0x0010), "LO", "SIEMENS MR HEADER")
    dataset.add_new((0x0019, 0x100A), "US", 5)
    series = await Series.open(saved(tmp_path / "in", dataset))
    assert series.shape == (5, 16, 16)


async def test_nothing_tells_the_count(tmp_path: Path) -> None:
    """An anonymised mosaic stays one image, and the report says so."""
    series = await Series.open(saved(tmp_path / "in", made(header=False)))
    assert series.shape == (1, 48, 48)
    assert any("MOSAIC" in note for note in series.report.notes)


@pytest.mark.parametrize("count", [50, 5000])
async def test_tiles_that_do_not_fit(tmp_path: Path, count: int) -> None:
    """48 pixels hold no 8 by 8 … tiles of a fraction."""
    dataset = made(count, size=50)
    with pytest.raises(DicomError, match="does not fit"):
        await Series.open(saved(tmp_path / "in", dataset))


async def test_mixed_with_images(tmp_path: Path) -> None:
    """A mosaic and a plain slice make no one volume."""
    plain = made(header=False)
    plain.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    plain.SOPInstanceUID = plain.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    with pytest.raises(InconsistentSeriesError, match="mosaics"):
        await Series.open(saved(tmp_path / "in", made(), plain))


async def test_cropped_or_partial_mosaics_are_refused(tmp_path: Path) -> None:
    """Tiles of another size, or some of them, cannot be written: clear errors."""
    series = await Series.open(saved(tmp_path / "in", made()))
    with pytest.raises(EncodeError):
        await series[:, 2:8].write(tmp_path / "cropped")
    with pytest.raises(EncodeError):
        await series[1:3].write(tmp_path / "partial")
    assert not (tmp_path / "cropped").exists()


async def test_computed_mosaic(tmp_path: Path) -> None:
    """Float results are written as a mosaic, too, to half a step."""
    series = await Series.open(saved(tmp_path / "in", made()))
    half = series / 2.5
    await half.write(tmp_path / "out")
    again = await Series.open(tmp_path / "out")
    assert again.shape == series.shape
    step = (half.array.max() - half.array.min()) / 60000
    assert np.abs(again.array - half.array).max() < step
