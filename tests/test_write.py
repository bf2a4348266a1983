"""Writing series; the oracles are pydicom, dcmdump, SimpleITK and the bytes of the sources."""

from __future__ import annotations

import filecmp
import os
import subprocess
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from seriesio import Client, Progress, Series
from seriesio.errors import (
    EncodeError,
    FormatError,
    LocationError,
    TargetExistsError,
    TransportError,
)
from seriesio.testing import Phantom, phantom

SHAPE = (3, 10, 12)
UNCOMPRESSED = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big": "1.2.840.10008.1.2.2",
}
COMPRESSED = {
    "rle": "1.2.840.10008.1.2.5",
    "jpeg-lossless": "1.2.840.10008.1.2.4.70",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-2000": "1.2.840.10008.1.2.4.90",
    "htj2k": "1.2.840.10008.1.2.4.201",
}
KINDS: dict[str, dict[str, Any]] = {
    **{name: {"transfer_syntax": uid} for name, uid in (UNCOMPRESSED | COMPRESSED).items()},
    "jpeg": {
        "transfer_syntax": "1.2.840.10008.1.2.4.50",
        "bits_allocated": 8,
        "photometric": "YBR_FULL_422",
    },
    "jpeg-extended": {"transfer_syntax": "1.2.840.10008.1.2.4.51"},
    "bare": {"preamble": False, "transfer_syntax": UNCOMPRESSED["implicit"]},
    "bare-explicit": {"preamble": False},
    "bare-big": {"preamble": False, "transfer_syntax": UNCOMPRESSED["big"]},
    "bits-1": {"bits_allocated": 1, "shape": (3, 5, 7)},
    "bits-1-big": {"bits_allocated": 1, "transfer_syntax": UNCOMPRESSED["big"]},
    "bits-8": {"bits_allocated": 8, "shape": (3, 5, 7)},
    "bits-8-big": {"bits_allocated": 8, "transfer_syntax": UNCOMPRESSED["big"]},
    "bits-16-of-16": {"bits_stored": 16, "signed": True},
    "bits-32": {"bits_allocated": 32, "signed": True},
    "signed": {"signed": True, "bits_stored": 13},
    "rescaled": {"intercept": -1024, "slope": 2},
    "per-slice": {"slope": [0.5, 0.25, 1.75], "intercept": [0.1, 0.2, -3], "modality": "PT"},
    "float": {"kind": "float", "bits_allocated": 32},
    "double": {"kind": "double", "bits_allocated": 64},
    "monochrome-1": {"photometric": "MONOCHROME1"},
    "rgb": {"photometric": "RGB"},
    "rgb-planar": {"photometric": "RGB", "planar_configuration": 1},
    "rgb-odd": {"photometric": "RGB", "shape": (3, 5, 7), "transfer_syntax": "1.2.840.10008.1.2"},
    "ybr": {"photometric": "YBR_FULL"},
    "ybr-422": {"photometric": "YBR_FULL_422"},
    "ybr-rct": {"photometric": "YBR_RCT", "transfer_syntax": COMPRESSED["jpeg-2000"]},
    "palette": {"photometric": "PALETTE COLOR"},
    "multiframe": {"multiframe": True},
    "multiframe-bits-1": {"multiframe": True, "bits_allocated": 1, "shape": (3, 5, 7)},
    "enhanced": {"enhanced": True, "shuffle": 4},
    "enhanced-implicit": {"enhanced": True, "transfer_syntax": UNCOMPRESSED["implicit"]},
    "enhanced-rle": {"enhanced": True, "transfer_syntax": COMPRESSED["rle"]},
    "enhanced-slopes": {"enhanced": True, "slope": [1, 2, 3], "modality": "MR"},
    "enhanced-times": {"enhanced": "per-volume", "shape": (2, 3, 10, 12)},
    "time": {"shape": (2, 3, 10, 12), "shuffle": 3},
    "tilted": {"tilt": 15.0},
    "oblique": {"orientation": (0.8, 0.6, 0, 0, 0, -1)},
}


@cache
def made(kind: str) -> Phantom:
    options = dict(KINDS[kind])
    found = phantom(options.pop("shape", SHAPE), **options)
    found.files()  # encoded once, however many tests save it
    return found


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A phantom of each kind, saved as files."""
    return made(request.param).save(tmp_path / "source")


def contents(path: Path) -> list[bytes]:
    """The files of a directory or zip, as a sorted list: their names are the writer's affair."""
    if path.is_dir():
        return sorted(file.read_bytes() for file in path.rglob("*") if file.is_file())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return sorted(archive.read(name) for name in archive.namelist())


def datasets(path: Path) -> list[Dataset]:
    """What pydicom reads, by position and number; a warning of pydicom is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [pydicom.dcmread(BytesIO(data), force=True) for data in contents(path)]
    return sorted(found, key=lambda d: (d.get("AcquisitionTime", ""), place_of(d)))


def place_of(dataset: Dataset) -> tuple[float, int]:
    """Distance along the normal, by hand; the number where there is no position."""
    if "ImagePositionPatient" not in dataset:
        return 0.0, int(dataset.InstanceNumber)
    row, column = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
    position = np.array(dataset.ImagePositionPatient, float)
    return round(float(position @ np.cross(row, column)), 3), int(dataset.InstanceNumber)


def values_of(dataset: Dataset) -> NDArray[Any]:
    """Rescaled values by pydicom's pixels and the header's own numbers."""
    slope, intercept = dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
    return np.asarray(dataset.pixel_array * float(slope) + float(intercept))


def dumped(tool: Callable[[str], str], folder: Path) -> list[str]:
    """The warnings and errors of dcmdump, of all files of a folder."""
    return told_by(tool("dcmdump"), *contents(folder))


@cache
def told_by(dcmdump: str, *files: bytes) -> list[str]:
    """One run for all files: its dictionary takes it longer to load than they do."""
    bare = [] if files[0][128:132] == b"DICM" else ["-f"]
    with TemporaryDirectory() as folder:
        paths = [Path(folder, str(number)) for number in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(data)
        result = subprocess.run([dcmdump, "-q", *bare, *paths], capture_output=True, check=False)
    told = [line[:40] for line in result.stderr.decode("latin-1").splitlines()]
    return [*told, f"exit {result.returncode}"] if result.returncode else told


# --- nothing changed --------------------------------------------------------------------------


async def test_unchanged_is_byte_for_byte(source: Path, tmp_path: Path) -> None:
    """Every kind: the same bytes in a directory, a zip, a second time, and in a sub-directory."""
    series = await Series.open(source)
    before = contents(source)
    receipt = await series.write(tmp_path / "dir")
    assert contents(tmp_path / "dir") == before
    assert (receipt.count, receipt.size) == (len(before), sum(map(len, before)))
    assert sorted(receipt.names) == sorted(os.listdir(tmp_path / "dir"))
    await series.write(tmp_path / "a.zip")
    assert contents(tmp_path / "a.zip") == before
    await series.write(f"{tmp_path / 'a.zip'}?again/there", compression="stored")
    assert contents(tmp_path / "a.zip") == sorted(before * 2)
    back = await Series.open(f"{tmp_path / 'a.zip'}?again")
    np.testing.assert_array_equal(back.array, series.array)
    np.testing.assert_array_equal(back.affine, series.affine)
    assert back.dtype == series.dtype


@pytest.mark.parametrize("options", [{"rescale": False}, {"dtype": np.float32}])
async def test_unchanged_however_it_was_read(
    source: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Stored values or another dtype: the files are still the same."""
    series = await Series.open(source, **options)
    await series.write(tmp_path / "dir")
    assert contents(tmp_path / "dir") == contents(source)


async def test_zip_to_directory(tmp_path: Path) -> None:
    """A series out of a zip, with elements behind the pixels, keeps every byte of them."""
    files = made("bits-8").files()
    tail = bytes.fromhex("fcfffcff 4f42 0000 04000000 00000000")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data + tail)
    series = await Series.open(tmp_path / "a.zip")
    await series.write(tmp_path / "dir")
    assert contents(tmp_path / "dir") == sorted(data + tail for data in files.values())


async def test_a_part_of_a_series(tmp_path: Path) -> None:
    """Slices taken out are written as the files that they were, with their own UIDs."""
    series = await Series.open(made("explicit").save(tmp_path / "source"))
    files = {dataset.SOPInstanceUID: None for dataset in datasets(tmp_path / "source")}
    for number, part in enumerate((series[1:3], series[::2], series[::-1], series[1])):
        await part.write(tmp_path / str(number))
        assert set(contents(tmp_path / str(number))) <= set(contents(tmp_path / "source"))
        uids = [dataset.SOPInstanceUID for dataset in datasets(tmp_path / str(number))]
        assert set(uids) <= set(files)
        assert len(uids) == [2, 2, 3, 1][number]


# --- a changed header -------------------------------------------------------------------------


async def test_a_changed_attribute_changes_nothing_else(
    source: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """Element by element: the new value and the new UIDs, all else as it was, pixels too."""
    series = await Series.open(source)
    series.seriesDescription = "Größe"  # beyond ASCII: the character set is Latin-1
    series.seriesNumber = 4711
    uid = series.seriesInstanceUID
    await series.write(tmp_path / "dir")
    pairs = list(zip(datasets(source), datasets(tmp_path / "dir"), strict=True))
    for old, new in pairs:
        assert (new.SeriesDescription, new.SeriesNumber) == ("Größe", 4711)
        assert new.SeriesInstanceUID == uid != old.SeriesInstanceUID
        assert new.SOPInstanceUID != old.SOPInstanceUID
        changed = {e.tag for e in new if e.tag not in old or old[e.tag] != e}
        assert changed == {0x0008103E, 0x00200011, 0x0020000E, 0x00080018}
        assert not [e for e in old if e.tag not in new]
        check_meta(old, new)
    assert len({new.SOPInstanceUID for _, new in pairs}) == len(pairs)
    assert dumped(tool, tmp_path / "dir") == dumped(tool, source)
    back = await Series.open(tmp_path / "dir")
    np.testing.assert_array_equal(back.array, series.array)


def check_meta(old: Dataset, new: Dataset) -> None:
    """File meta information follows the dataset; its group length is right."""
    if "FileMetaInformationGroupLength" not in old.file_meta:
        return
    assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
    for element in old.file_meta:
        if element.tag not in (0x00020000, 0x00020003):
            assert new.file_meta[element.tag] == element
    length = new.file_meta.FileMetaInformationGroupLength
    grown = len(new.SOPInstanceUID) // 2 * 2 + len(new.SOPInstanceUID) % 2 * 2
    had = len(old.SOPInstanceUID) // 2 * 2 + len(old.SOPInstanceUID) % 2 * 2
    assert length - old.file_meta.FileMetaInformationGroupLength == grown - had


async def test_keep_uid(tmp_path: Path) -> None:
    """keep_uid=True writes a changed header under the UIDs that were read."""
    series = await Series.open(made("explicit").save(tmp_path / "source"))
    series.seriesNumber = 99
    await series.write(tmp_path / "dir", keep_uid=True)
    old, new = datasets(tmp_path / "source"), datasets(tmp_path / "dir")
    for one, other in zip(old, new, strict=True):
        assert [e.tag for e in other if one.get(e.tag) != e] == [0x00200011]


# --- changed voxels ---------------------------------------------------------------------------

LOSSY = {"jpeg", "jpeg-extended"}
EXACT = [kind for kind in KINDS if kind not in LOSSY]


@pytest.mark.parametrize("kind", EXACT)
async def test_changed_voxels_in_their_own_representation(
    kind: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """Two rows of a slice copied to another: exact, whatever the pixels had been packed in."""
    phantom = made(kind)
    series = await Series.open(phantom.save(tmp_path / "source"))
    uid = series.seriesInstanceUID
    flat = series.array.reshape(-1, *phantom.array.shape[len(phantom.axes) - 2 :])
    flat[0, :2] = flat[0, 4:6]
    await series.write(tmp_path / "dir")
    assert series.seriesInstanceUID != uid
    back = await Series.open(tmp_path / "dir")
    np.testing.assert_array_equal(back.array, series.array)
    np.testing.assert_allclose(back.affine, series.affine, atol=1e-9)
    assert back.seriesInstanceUID == series.seriesInstanceUID
    assert set(dumped(tool, tmp_path / "dir")) <= set(dumped(tool, tmp_path / "source"))
    check_honest(datasets(tmp_path / "dir"))


def check_honest(found: list[Dataset]) -> None:
    """Bits, extremes and lengths tell the truth about the pixels, as pydicom sees them."""
    for dataset in found:
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        if "PixelData" not in dataset or syntax is None or syntax.is_encapsulated:
            continue
        pixels = dataset.pixel_array
        assert dataset.HighBit == dataset.BitsStored - 1 < dataset.BitsAllocated
        if dataset.BitsAllocated > 1:
            low = -(1 << (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
            high = (1 << (dataset.BitsStored - dataset.PixelRepresentation)) - 1
            assert low <= pixels.min() <= pixels.max() <= high
        if "SmallestImagePixelValue" in dataset and dataset.ImageType[0] == "DERIVED":
            assert dataset.SmallestImagePixelValue == pixels.min()
            assert dataset.LargestImagePixelValue == pixels.max()


async def test_only_changed_slices_are_encoded_anew(tmp_path: Path) -> None:
    """One slice of a compressed series changes: the others keep their compressed pixels."""
    series = await Series.open(made("jpeg-ls").save(tmp_path / "source"))
    series[1] = series.array[0]
    await series.write(tmp_path / "dir")
    old, new = datasets(tmp_path / "source"), datasets(tmp_path / "dir")
    same = [one.PixelData == other.PixelData for one, other in zip(old, new, strict=True)]
    assert same == [True, False, True]
    assert [str(d.file_meta.TransferSyntaxUID) for d in new].count("1.2.840.10008.1.2.1") == 1
    assert [d.ImageType[0] for d in new] == [old[0].ImageType[0], "DERIVED", old[2].ImageType[0]]
    np.testing.assert_array_equal((await Series.open(tmp_path / "dir")).array, series.array)


async def test_elements_behind_changed_pixels(tmp_path: Path) -> None:
    """What follows the pixel data stays, whether they were compressed, odd or plain."""
    tail = bytes.fromhex("fcfffcff 4f42 0000 04000000 01020304")
    for kind in ("bits-8", "explicit", "rle"):
        folder = tmp_path / kind
        for path in made(kind).save(folder).iterdir():
            path.write_bytes(path.read_bytes() + tail)
        series = await Series.open(folder)
        series[...] = series.array[::-1].copy()
        await series.write(tmp_path / f"{kind}-new")
        for dataset in datasets(tmp_path / f"{kind}-new"):
            assert dataset[0xFFFCFFFC].value == bytes.fromhex("01020304")


# --- computed data ----------------------------------------------------------------------------

GRAY = ["explicit", "implicit", "big", "deflated", "rle", "rescaled", "per-slice", "float"]


@pytest.mark.parametrize("kind", [*GRAY, "enhanced", "enhanced-rle", "enhanced-slopes", "time"])
async def test_computed_floats(kind: str, tmp_path: Path, tool: Callable[[str], str]) -> None:
    """Floats read back within half a quantisation step of what pydicom's numbers say."""
    series = await Series.open(made(kind).save(tmp_path / "source"))
    computed = np.sqrt(np.abs(series)) / 3 - 7.3
    assert isinstance(computed, Series)
    await computed.write(tmp_path / "dir")
    back = await Series.open(tmp_path / "dir")
    width = computed.array.max() - computed.array.min()
    if kind == "per-slice":  # PET, which has no intercept: steps to both sides of zero
        width = 2 * np.abs(computed.array).max()
    step = width / 65535
    assert np.abs(back.array - computed.array).max() <= step / 2 * 1.001 + 1e-6
    np.testing.assert_allclose(back.affine, series.affine, atol=1e-9)
    check_honest(datasets(tmp_path / "dir"))
    assert dumped(tool, tmp_path / "dir") == []


@pytest.mark.parametrize("kind", [*GRAY, "palette", "ybr", "jpeg", "rgb-planar", "time"])
@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.int8, np.bool_])
async def test_computed_integers(kind: str, dtype: Any, tmp_path: Path) -> None:
    """Integers and masks are stored as they are, in no more bits than they need."""
    series = await Series.open(made(kind).save(tmp_path / "source"))
    values = np.random.default_rng(3).integers(-90, 127, series.shape)
    if dtype in (np.bool_, np.uint16) or len(series.axes) > 3:
        values = np.abs(values)
    computed = values.astype(dtype)
    volume = series._volume.with_array(computed)
    colour = series.axes[-1].name == "rgb"
    if colour and computed.min() < 0:
        with pytest.raises(EncodeError, match="colour"):
            await Series(volume).write(tmp_path / "dir")
        return
    await Series(volume).write(tmp_path / "dir")
    back = await Series.open(tmp_path / "dir")
    np.testing.assert_array_equal(back.array, computed)
    check_honest(datasets(tmp_path / "dir"))
    if dtype is np.bool_:
        sources = {d.BitsAllocated for d in datasets(tmp_path / "source")}
        wanted = 8 if sources == {8} else 16  # a scanner's images are words, and so are masks
        assert {d.BitsAllocated for d in datasets(tmp_path / "dir")} == {wanted}


@pytest.mark.parametrize("kind", ["rgb", "ybr", "palette", "jpeg"])
async def test_computed_colours(kind: str, tmp_path: Path) -> None:
    """Colour has no rescale: means of two are rounded, within half a step of one."""
    series = await Series.open(made(kind).save(tmp_path / "source"))
    mean = (series + series[..., ::1] * 0.5) / 1.7
    await mean.write(tmp_path / "dir")
    back = await Series.open(tmp_path / "dir")
    assert np.abs(back.array - mean.array).max() <= 0.5
    for dataset in datasets(tmp_path / "dir"):
        assert dataset.PhotometricInterpretation == "RGB"
        assert "RescaleSlope" not in dataset
        assert "RedPaletteColorLookupTableData" not in dataset


async def test_what_cannot_be_stored(tmp_path: Path) -> None:
    """NaN, infinity, complex numbers and 64-bit counts are refused; nothing is left behind."""
    series = await Series.open(made("explicit").save(tmp_path / "source"))
    bad = [series / 1.0, series / 1.0, series * np.int64(1 << 40)]
    bad[0][0, 0, 0] = np.nan
    bad[1][0, 0, 0] = np.inf
    for computed in bad:
        with pytest.raises(EncodeError):
            await computed.write(tmp_path / "dir")
        with pytest.raises(EncodeError):
            await computed.write(tmp_path / "a.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


# --- crops ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["explicit", "per-slice", "rle", "tilted", "oblique", "time", "enhanced", "rgb", "big"]
)
async def test_crops(kind: str, tmp_path: Path) -> None:
    """A crop stands where it was: positions by hand, values exact, SimpleITK agrees."""
    series = await Series.open(made(kind).save(tmp_path / "source"))
    crop = series[..., 1:3, 2:9, 3::2, :] if kind == "rgb" else series[..., 1:3, 2:9, 3::2]
    await crop.write(tmp_path / "dir")
    back = await Series.open(tmp_path / "dir")
    np.testing.assert_array_equal(back.array, crop.array)
    # (column, row, slice) index of the first voxel that is left, through the old affine.
    origin = (series.affine @ [3, 2, 1, 1])[:3]
    np.testing.assert_allclose(back.imagePositions[0], origin, atol=1e-5)
    steps = series.affine[:3, :3] * [2, 1, 1]
    np.testing.assert_allclose(back.affine[:3, :3], steps, atol=1e-5)
    assert back.seriesInstanceUID != series.seriesInstanceUID
    if kind in ("explicit", "per-slice", "rle", "oblique", "big"):
        check_simpleitk(tmp_path / "dir", back)


def check_simpleitk(folder: Path, series: Series) -> None:
    """SimpleITK finds the same voxels in the same places."""
    reader: Any = sitk.ImageSeriesReader()  # type: ignore[no-untyped-call]
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    values = sitk.GetArrayFromImage(image)
    if not np.allclose(image.GetOrigin(), series.imagePositions[0], atol=1e-4):
        values = values[::-1]
    np.testing.assert_allclose(values, series.array, atol=1e-4)
    assert np.allclose(image.GetSpacing(), series.spacing[::-1], atol=1e-5)


async def test_flips(tmp_path: Path) -> None:
    """Rows from bottom to top: orientation and positions turn with them."""
    series = await Series.open(made("explicit").save(tmp_path / "source"))
    await series[:, ::-1].write(tmp_path / "dir")
    for old, new in zip(
        sorted(datasets(tmp_path / "source"), key=lambda d: d.ImagePositionPatient[2]),
        sorted(datasets(tmp_path / "dir"), key=lambda d: d.ImagePositionPatient[2]),
        strict=True,
    ):
        np.testing.assert_array_equal(new.pixel_array, old.pixel_array[::-1])
        assert new.ImageOrientationPatient == [1, 0, 0, 0, -1, 0]
        x, y, z = old.ImagePositionPatient
        np.testing.assert_allclose(new.ImagePositionPatient, [x, y + 9 * 2.0, z])


async def test_some_frames_of_an_enhanced_instance(tmp_path: Path) -> None:
    """Slices of a multi-frame object become one with fewer frames, its own UID, its own place."""
    series = await Series.open(made("enhanced").save(tmp_path / "source"))
    part = series[1:]
    assert part.sopInstanceUID != series.sopInstanceUID
    await part.write(tmp_path / "dir")
    (dataset,) = datasets(tmp_path / "dir")
    assert dataset.NumberOfFrames == 2 == len(dataset.PerFrameFunctionalGroupsSequence)
    back = await Series.open(tmp_path / "dir")
    np.testing.assert_array_equal(back.array, series.array[1:])
    np.testing.assert_allclose(back.imagePositions, series.imagePositions[1:])


async def test_some_frames_of_a_plain_multiframe_instance(tmp_path: Path) -> None:
    """Frames that nothing describes one by one cannot be taken out: a clear error."""
    series = await Series.open(made("multiframe").save(tmp_path / "source"))
    with pytest.raises(EncodeError, match="multi-frame"):
        await series[1:].write(tmp_path / "dir")
    assert not (tmp_path / "dir").exists()


# --- targets ----------------------------------------------------------------------------------


@pytest.fixture
async def series(tmp_path: Path) -> Series:
    return await Series.open(made("explicit").save(tmp_path / "source"))


async def test_files_are_added(series: Series, tmp_path: Path) -> None:
    """A second series goes into the same directory or zip under free names."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "IM00002.dcm").write_bytes(b"mine")
    for target in ("dir", "a.zip"):
        for _ in range(2):
            await series.write(tmp_path / target)
    assert contents(tmp_path / "dir") == sorted([b"mine", *contents(tmp_path / "source") * 2])
    assert contents(tmp_path / "a.zip") == sorted(contents(tmp_path / "source") * 2)


async def test_overwrite(series: Series, tmp_path: Path) -> None:
    """overwrite=True takes the usual names and replaces what has them, nothing else."""
    for target in ("dir", "a.zip"):
        await series.write(tmp_path / target)
        series.seriesNumber = int(series.seriesNumber) + 1
        receipt = await series.write(tmp_path / target, overwrite=True)
        assert receipt.names == tuple(f"IM{n:05d}.dcm" for n in range(1, 4))
        assert {d.SeriesNumber for d in datasets(tmp_path / target)} == {series.seriesNumber}


async def test_a_single_file(series: Series, tmp_path: Path) -> None:
    """One instance and a name that ends in .dcm: a file; several: a clear error."""
    await series[1].write(tmp_path / "one.dcm")
    assert (tmp_path / "one.dcm").read_bytes() in contents(tmp_path / "source")
    with pytest.raises(TargetExistsError):
        await series[1].write(tmp_path / "one.dcm")
    with pytest.raises(LocationError, match="one file"):
        await series.write(tmp_path / "three.dcm")
    await series[1].write(f"{tmp_path / 'a.zip'}?dir/one.dcm")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["dir/one.dcm"]
    with pytest.raises(LocationError, match="one member"):
        await series.write(f"{tmp_path / 'a.zip'}?three.dcm")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["dir/one.dcm"]


async def test_zip_targets_that_make_no_sense(series: Series, tmp_path: Path) -> None:
    """Patterns, several selections, a way out, and a password are refused; no zip is made."""
    for query in ("*.dcm", "a&b", "../up"):
        with pytest.raises((LocationError, TransportError)):
            await series.write(f"{tmp_path / 'a.zip'}?{query}")
    with pytest.raises(TypeError, match="password"):
        await series.write(tmp_path / "a.zip", password="secret")
    assert sorted(os.listdir(tmp_path)) == ["source"]


async def test_formats(series: Series, tmp_path: Path) -> None:
    """Formats are named in a list; one that is unknown, and more than one, are errors."""
    await series.write(tmp_path / "dir", formats=["dicom"])
    assert filecmp.cmpfiles(tmp_path / "dir", tmp_path / "source", [])[2] == []
    for formats in (["analyze"], [], ["dicom", "dicom"]):
        with pytest.raises(FormatError):
            await series.write(tmp_path / "other", formats=formats)
    assert not (tmp_path / "other").exists()


async def test_progress(series: Series, tmp_path: Path) -> None:
    """Progress is told in the loop, rises, and ends with all."""
    told: list[Progress] = []
    await series.write(tmp_path / "dir", progress=told.append)
    assert [progress.done for progress in told] == [1, 2, 3]
    assert {progress.total for progress in told} == {3}
    assert told[-1].bytes == sum(map(len, contents(tmp_path / "source")))


async def test_many_writes_at_once(series: Series, tmp_path: Path) -> None:
    """Many writes on one client, each to a place of its own."""
    import anyio

    async with Client() as client, anyio.create_task_group() as group:
        for number in range(16):
            group.start_soon(client.write, series, tmp_path / str(number))
    for number in range(16):
        assert contents(tmp_path / str(number)) == contents(tmp_path / "source")
