"""Bad input: every error is one of the library's, and says which file and what is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.uid import UID

from seriesio import Series, native
from seriesio.errors import (
    DataError,
    DicomError,
    FormatError,
    IncompleteSeriesError,
    IncompleteSeriesWarning,
    InconsistentSeriesError,
    NotFoundError,
    SeriesError,
    SeriesIOError,
    TooLargeError,
    TransportError,
    TruncatedError,
)
from seriesio.formats import _scanning, dicom
from seriesio.testing import Phantom, phantom

SMALL = (3, 12, 16)
# Implicit VR takes any bytes for a value: what pydicom would refuse as a number, too.
IMPLICIT = phantom(SMALL, modality="MR", transfer_syntax="1.2.840.10008.1.2")


def put(dataset: Dataset, keyword: str, value: str | list[str]) -> None:
    """Set an attribute to texts that need be no numbers."""
    dataset.add_new(keyword, "LO", value)


@pytest.fixture(autouse=True)
def lenient() -> Iterator[None]:
    """pydicom writes the nonsense that these tests ask for, without a warning."""
    with config.disable_value_validation():
        yield


def saved(
    folder: Path,
    change: Callable[[int, Dataset], object],
    source: Phantom | None = None,
) -> Path:
    """A phantom's files, each changed by a function of its place and its dataset."""
    folder.mkdir(exist_ok=True)
    for number, dataset in enumerate((source or phantom(SMALL, modality="MR")).datasets()):
        change(number, dataset)
        buffer = BytesIO()  # blockbuster makes many small writes to a file slow
        dataset.save_as(buffer)
        (folder / f"{number}.dcm").write_bytes(buffer.getvalue())
    return folder


async def test_nothing_there(tmp_path: Path) -> None:
    """No such path, an empty directory, nothing that is an image."""
    with pytest.raises(NotFoundError):
        await Series.open(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises((NotFoundError, FormatError)):
        await Series.open(tmp_path / "empty")
    (tmp_path / "empty" / "text.txt").write_text("no image")
    with pytest.raises(FormatError, match="1 not DICOM"):
        await Series.open(tmp_path / "empty")


@pytest.mark.parametrize("short", [1, 100, 384])
async def test_truncated_pixels(tmp_path: Path, short: int) -> None:
    """Which file, and how many bytes short; with "warn" the others are handed over."""
    source = phantom(SMALL, modality="MR")
    folder = source.save(tmp_path)
    name = source.names[2]
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-short])
    with pytest.raises(TruncatedError, match=rf"{name}.*{short} bytes short"):
        await Series.open(folder)
    with pytest.warns(IncompleteSeriesWarning, match="bytes short"):
        series = await Series.open(folder, on_incomplete="warn")
    assert np.array_equal(series.array, source.array[:2])
    assert len(series.report.missing) == 1
    assert name in series.report.missing[0]


async def test_all_truncated(tmp_path: Path) -> None:
    """Where no file is whole there is nothing to hand over."""
    folder = phantom(SMALL, modality="MR").save(tmp_path)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-2])
    modes: tuple[Literal["raise", "warn"], ...] = ("raise", "warn")
    for mode in modes:
        with pytest.raises(TruncatedError, match="2 more files are damaged"):
            await Series.open(folder, on_incomplete=mode)


@pytest.mark.parametrize(("change", "text"), [(-2, "2 bytes short"), (2, "2 bytes longer")])
async def test_pixel_length_against_the_header(tmp_path: Path, change: int, text: str) -> None:
    """The element is shorter or longer than Rows, Columns and bits make it."""

    def alter(number: int, dataset: Dataset) -> None:
        dataset.PixelData = (dataset.PixelData + b"\0\0")[: 384 + change]

    with pytest.raises(DicomError, match=text):
        await Series.open(saved(tmp_path, alter))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
async def test_terabytes(tmp_path: Path, syntax: str) -> None:
    """Rows × Columns × frames beyond all files is refused before memory is taken."""

    def alter(number: int, dataset: Dataset) -> None:
        dataset.Rows = dataset.Columns = 65535
        dataset.NumberOfFrames = 100000

    source = phantom((1, 12, 16), modality="MR", transfer_syntax=syntax)
    with pytest.raises((TruncatedError, TooLargeError)):
        await Series.open(saved(tmp_path, alter, source))


@pytest.mark.parametrize(
    ("keyword", "value", "text"),
    [
        ("Rows", 6, "Rows"),
        ("Columns", 8, "Columns"),
        ("PixelRepresentation", 1, "PixelRepresentation"),
        ("PhotometricInterpretation", "MONOCHROME1", "PhotometricInterpretation"),
    ],
)
async def test_inconsistent(tmp_path: Path, keyword: str, value: Any, text: str) -> None:
    """Instances that differ in what has to be equal."""

    def alter(number: int, dataset: Dataset) -> None:
        if number == 1:
            setattr(dataset, keyword, value)
            if keyword in ("Rows", "Columns"):
                dataset.PixelData = dataset.PixelData[:192]

    with pytest.raises(InconsistentSeriesError, match=f"differ in {text}"):
        await Series.open(saved(tmp_path, alter))


async def test_inconsistent_bits(tmp_path: Path) -> None:
    """8 and 16 bits make no one array."""

    def alter(number: int, dataset: Dataset) -> None:
        if number == 1:
            dataset.BitsAllocated = dataset.BitsStored = 8
            dataset.HighBit = 7
            dataset.PixelData = dataset.PixelData[:192]

    with pytest.raises(InconsistentSeriesError, match="differ in BitsAllocated: 16, 8"):
        await Series.open(saved(tmp_path, alter))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImagePositionPatient", ["nan", "0", "0"]),
        ("ImagePositionPatient", ["1", "2"]),
        ("ImagePositionPatient", ["1e300", "0", "0"]),
        ("ImagePositionPatient", ["a", "b", "c"]),
        ("ImageOrientationPatient", ["1", "0", "0", "0", "1"]),
        ("ImageOrientationPatient", ["inf", "0", "0", "0", "1", "0"]),
        ("PixelSpacing", ["x", "1"]),
        ("PixelSpacing", ["1"]),
        ("RescaleSlope", "0"),
        ("RescaleSlope", "nan"),
        ("RescaleSlope", "slope"),
        ("RescaleSlope", "1e308"),
        ("RescaleIntercept", "1e999"),
        ("NumberOfFrames", "two"),
        ("NumberOfFrames", "0"),
        ("NumberOfFrames", "-1"),
    ],
)
async def test_attributes_that_are_no_numbers(tmp_path: Path, keyword: str, value: Any) -> None:
    """What is there but unreadable is an error that names it; it never counts as missing."""

    def alter(number: int, dataset: Dataset) -> None:
        if number == 1:
            put(dataset, keyword, value)

    with pytest.raises(DicomError) as caught:
        await Series.open(saved(tmp_path, alter, IMPLICIT))
    assert keyword in str(caught.value).replace(" ", "").replace("ofF", "OfF")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PixelSpacing", ["0", "0"]),
        ("PixelSpacing", ["-1", "1"]),
        ("PixelSpacing", ["1e30", "1"]),
        ("ImageOrientationPatient", ["2", "0", "0", "0", "1", "0"]),
        ("ImageOrientationPatient", ["0"] * 6),
        ("ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"]),
        ("ImageOrientationPatient", ["1e200", "0", "0", "0", "1", "0"]),
    ],
)
async def test_geometry_that_cannot_be(tmp_path: Path, keyword: str, value: Any) -> None:
    """Numbers that are no spacing and no direction cosines."""
    folder = saved(tmp_path, lambda number, dataset: put(dataset, keyword, value), IMPLICIT)
    with pytest.raises(InconsistentSeriesError, match=keyword):
        await Series.open(folder)


async def test_position_in_some_files_only(tmp_path: Path) -> None:
    """Some frames with a position and others without make no stack."""

    def alter(number: int, dataset: Dataset) -> None:
        if number == 1:
            del dataset.ImagePositionPatient

    with pytest.raises(InconsistentSeriesError, match="1 of 3 frames have no position"):
        await Series.open(saved(tmp_path, alter))


async def test_zero_slope_as_stored(tmp_path: Path) -> None:
    """The way out that the error names is one."""
    folder = saved(tmp_path, lambda number, dataset: setattr(dataset, "RescaleSlope", "0"))
    series = await Series.open(folder, rescale=False)
    assert np.array_equal(series.array, phantom(SMALL, modality="MR").stored)


@pytest.mark.parametrize("claimed", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"])
async def test_wrong_transfer_syntax(tmp_path: Path, claimed: str) -> None:
    """Native pixels under the name of a compressed syntax."""
    source = phantom(SMALL, modality="MR")
    native = b"1.2.840.10008.1.2.1\0"
    tmp_path.joinpath("in").mkdir()
    for name, data in source.files().items():
        place = data.index(native)
        value = claimed.encode() + b"\0" * (len(claimed) % 2)
        meta = data[:place] + value + data[place + len(native) :]
        lengths = bytearray(meta)
        lengths[place - 2 : place] = len(value).to_bytes(2, "little")
        total = int.from_bytes(lengths[140:144], "little") + len(value) - len(native)
        lengths[140:144] = total.to_bytes(4, "little")
        (tmp_path / "in" / name).write_bytes(bytes(lengths))
    with pytest.raises(DataError):
        await Series.open(tmp_path / "in")


async def test_palette_of_several_kinds(tmp_path: Path) -> None:
    """One palette for a series: another one in one file is no silent matter."""

    def alter(number: int, dataset: Dataset) -> None:
        if number == 1:
            data = bytearray(dataset.RedPaletteColorLookupTableData)
            data[0] ^= 0xFF
            dataset.RedPaletteColorLookupTableData = bytes(data)

    source = phantom(SMALL, photometric="PALETTE COLOR")
    with pytest.raises(InconsistentSeriesError, match="RedPaletteColorLookupTableData"):
        await Series.open(saved(tmp_path, alter, source))


async def test_palette_without_descriptor(tmp_path: Path) -> None:
    """A palette that is not all there."""

    def alter(number: int, dataset: Dataset) -> None:
        del dataset.GreenPaletteColorLookupTableDescriptor

    with pytest.raises(DicomError, match="palette"):
        await Series.open(saved(tmp_path, alter, phantom(SMALL, photometric="PALETTE COLOR")))


async def test_modality_luts_that_differ(tmp_path: Path) -> None:
    """Tables that cannot be applied to all are refused; rescale=False opens."""

    def alter(number: int, dataset: Dataset) -> None:
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [2, 0, 16])
        item.add_new("LUTData", "OW", bytes([number, 0, 1, 0]))
        dataset.ModalityLUTSequence = [item]

    folder = saved(tmp_path, alter)
    with pytest.raises(InconsistentSeriesError, match="ModalityLUTSequence"):
        await Series.open(folder)
    series = await Series.open(folder, rescale=False)
    assert series.shape == SMALL


@pytest.mark.parametrize("descriptor", [[], [2, 0], [2, 0, 12], [100, 0, 16]])
async def test_modality_lut_that_cannot_be(tmp_path: Path, descriptor: list[int]) -> None:
    """Descriptors that are cut, of odd bits, or promise more than there is."""

    def alter(number: int, dataset: Dataset) -> None:
        item = Dataset()
        item.add_new("LUTDescriptor", "US", descriptor)
        item.add_new("LUTData", "OW", bytes(4))
        dataset.ModalityLUTSequence = [item]

    with pytest.raises(DicomError):
        await Series.open(saved(tmp_path, alter))


async def test_gap(tmp_path: Path) -> None:
    """Slices missing inside: named to the position; with "warn" the rest, with a report."""
    source = phantom((8, 12, 16), modality="MR", position=(0, 0, 0))
    folder = source.without([3, 5]).save(tmp_path)
    with pytest.raises(IncompleteSeriesError, match="2 slices are missing") as caught:
        await Series.open(folder)
    assert caught.value.missing == ("slice at 9 mm", "slice at 15 mm")
    with pytest.warns(IncompleteSeriesWarning):
        series = await Series.open(folder, on_incomplete="warn")
    assert series.report.missing == caught.value.missing
    assert np.array_equal(series.array, source.array[[0, 1, 2, 4, 6, 7]])


async def test_missing_in_4d(tmp_path: Path) -> None:
    """One frame of 12: which echo at which position; with "warn" the whole volumes."""
    source = phantom((3, 4, 12, 16), axes=("te", "slice", "row", "column"), position=(0, 0, 0))
    folder = source.without([5]).save(tmp_path)
    with pytest.raises(IncompleteSeriesError) as caught:
        await Series.open(folder)
    assert caught.value.missing == (
        "position 3 mm: 2 instead of 3",
        "EchoTime 9.2 at position 3 mm",
    )
    with pytest.warns(IncompleteSeriesWarning):
        series = await Series.open(folder, on_incomplete="warn")
    assert np.array_equal(series.array, source.array[[0, 2]])


async def test_missing_time(tmp_path: Path) -> None:
    """A moment is told as DICOM writes it, not in seconds since the year 1."""
    source = phantom((3, 4, 12, 16), position=(0, 0, 0), modality="MR")
    with pytest.raises(IncompleteSeriesError, match=r"Time 120002\.500 at position 3 mm"):
        await Series.open(source.without([5]).save(tmp_path))


async def test_doubled_instance(tmp_path: Path) -> None:
    """The same file twice: named by its UID; with "warn" it counts once."""
    source = phantom(SMALL, modality="MR")
    folder = source.save(tmp_path)
    (folder / "copy.dcm").write_bytes((folder / source.names[1]).read_bytes())
    uid = source.datasets()[1].SOPInstanceUID
    with pytest.raises(IncompleteSeriesError, match=f"instance {uid} came 2 times"):
        await Series.open(folder)
    with pytest.warns(IncompleteSeriesWarning):
        series = await Series.open(folder, on_incomplete="warn")
    assert np.array_equal(series.array, source.array)


async def test_doubled_position(tmp_path: Path) -> None:
    """Another instance where there is one already."""
    source = phantom(SMALL, modality="MR", position=(0, 0, 0))
    folder = source.save(tmp_path)
    other = source.datasets()[1]
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    other.save_as(folder / "other.dcm")
    with pytest.raises(IncompleteSeriesError) as caught:
        await Series.open(folder)
    assert caught.value.missing == ("position 3 mm: 2 instead of 1",)


SHARED_TIMES = phantom((4, 3, 12, 16), modality="MR", position=(0, 0, 0))


@pytest.mark.parametrize("identified", [True, False])
async def test_as_many_missing_everywhere(tmp_path: Path, identified: bool) -> None:
    """Time k is missing at slice k: the moments are never paired by their mere rank."""
    source = SHARED_TIMES.without([0, 4, 8])

    def alter(number: int, dataset: Dataset) -> None:
        if not identified:
            del dataset.TemporalPositionIdentifier
            del dataset.AcquisitionNumber

    saved(tmp_path, alter, source)
    with pytest.raises(IncompleteSeriesError) as caught:
        await Series.open(tmp_path)
    places = [text.rsplit(" at position ")[1] for text in caught.value.missing]
    assert places == ["0 mm", "3 mm", "6 mm"]
    with pytest.warns(IncompleteSeriesWarning):
        series = await Series.open(tmp_path, on_incomplete="warn")
    assert np.array_equal(series.array, SHARED_TIMES.array[3])


async def test_slices_with_times_of_their_own(tmp_path: Path) -> None:
    """Moments that do not recur are ranked, and the report says so."""

    def alter(number: int, dataset: Dataset) -> None:
        del dataset.TemporalPositionIdentifier
        del dataset.AcquisitionNumber
        dataset.AcquisitionTime = dataset.ContentTime = f"12000{number // 3 * 2}.{number % 3}"

    series = await Series.open(saved(tmp_path, alter, SHARED_TIMES))
    assert np.array_equal(series.array, SHARED_TIMES.array)
    assert any("the rank of AcquisitionTime" in note for note in series.report.notes)


async def test_numbers_alone_show_holes(tmp_path: Path) -> None:
    """Nothing but Instance Number tells volumes apart, and some numbers are not there."""

    def alter(number: int, dataset: Dataset) -> None:
        for keyword in ("TemporalPositionIdentifier", "AcquisitionNumber", "ContentTime"):
            delattr(dataset, keyword)
        dataset.AcquisitionTime = "120000"

    source = phantom((4, 2, 12, 16), modality="MR").without([2, 5])
    with pytest.raises(IncompleteSeriesError) as caught:
        await Series.open(saved(tmp_path, alter, source))
    assert caught.value.missing == ("InstanceNumber 3", "InstanceNumber 6")


async def test_slice_beside_the_others(tmp_path: Path) -> None:
    """One of four slices is 30 mm to the side; with "warn" a note."""

    def alter(number: int, dataset: Dataset) -> None:
        if number == 1:
            dataset.ImagePositionPatient[0] += 30

    folder = saved(tmp_path, alter, phantom((4, 12, 16), modality="MR"))
    with pytest.raises(InconsistentSeriesError, match="30 mm beside the line"):
        await Series.open(folder)
    series = await Series.open(folder, on_incomplete="warn")
    assert any("30 mm beside" in note for note in series.report.notes)


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "FrameOfReferenceUID"])
async def test_one_uid_for_several(tmp_path: Path, keyword: str) -> None:
    """Two patients, studies or frames of reference: named by keyword, never by value."""

    def alter(number: int, dataset: Dataset) -> None:
        setattr(dataset, keyword, f"1.2.{77 + number // 2}")

    folder = saved(tmp_path, alter)
    with pytest.raises(InconsistentSeriesError, match=f"differ in {keyword}") as caught:
        await Series.open(folder)
    assert "1.2.7" not in str(caught.value)


@pytest.mark.parametrize("keyword", ["PatientID", "FrameOfReferenceUID"])
async def test_no_identity_at_all(tmp_path: Path, keyword: str) -> None:
    """Empty everywhere is one series."""
    folder = saved(tmp_path, lambda number, dataset: setattr(dataset, keyword, ""))
    assert (await Series.open(folder)).shape == SMALL


async def test_numbers_of_slices_without_positions(tmp_path: Path) -> None:
    """1, 2, 2, 9: a number came twice and six are missing; with "warn" all four open."""

    def alter(number: int, dataset: Dataset) -> None:
        del dataset.ImagePositionPatient
        dataset.InstanceNumber = (1, 2, 2, 9)[number]

    folder = saved(tmp_path, alter, phantom((4, 12, 16), modality="MR"))
    with pytest.raises(IncompleteSeriesError) as caught:
        await Series.open(folder)
    assert caught.value.missing == ("InstanceNumber 2 came 2 times", "InstanceNumber 3 to 8")
    with pytest.warns(IncompleteSeriesWarning):
        series = await Series.open(folder, on_incomplete="warn")
    assert series.shape == (4, 12, 16)


async def test_bits_stored_that_differ(tmp_path: Path) -> None:
    """Opens, with a note."""

    def alter(number: int, dataset: Dataset) -> None:
        if number == 1:
            dataset.BitsStored, dataset.HighBit = 16, 15

    series = await Series.open(saved(tmp_path, alter))
    assert "BitsStored differs between the instances: 12, 16" in series.report.notes


ODD = st.one_of(
    st.text(st.characters(codec="latin-1", exclude_characters="\\"), max_size=12),
    st.floats().map(repr),
    st.floats(-1e3, 1e3).map(lambda number: f"{number:.6g}"),
    st.sampled_from(["", "0", "1", "-0", "1e400", "nan", "-inf", "1_0", "0x1", "1e-320", "²"]),
)
ATTRIBUTES = {
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
    "PixelSpacing": 2,
    "SliceThickness": 1,
    "SpacingBetweenSlices": 1,
    "RescaleSlope": 1,
    "RescaleIntercept": 1,
    "NumberOfFrames": 1,
    "InstanceNumber": 1,
    "AcquisitionTime": 1,
    "AcquisitionDate": 1,
    "EchoTime": 1,
    "ImageType": 3,
}


@st.composite
def nonsense(draw: st.DrawFn) -> list[dict[str, list[str]]]:
    """For each of three files, texts for a few attributes."""
    keywords = draw(st.lists(st.sampled_from(sorted(ATTRIBUTES)), min_size=1, max_size=3))
    return [
        {key: draw(st.lists(ODD, min_size=0, max_size=ATTRIBUTES[key] + 1)) for key in keywords}
        for _ in range(3)
    ]


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(nonsense(), st.sampled_from(["raise", "warn"]))
@pytest.mark.filterwarnings("ignore::seriesio.errors.IncompleteSeriesWarning")
async def test_any_nonsense_is_our_error(files: list[dict[str, list[str]]], mode: Any) -> None:
    """Random strings in what geometry and sorting read: a volume, or an error of ours."""

    def alter(number: int, dataset: Dataset) -> None:
        for keyword, texts in files[number].items():
            put(dataset, keyword, texts)

    with tempfile.TemporaryDirectory() as folder:
        saved(Path(folder), alter, IMPLICIT)
        try:
            series = await Series.open(folder, on_incomplete=mode)
        except SeriesIOError:
            return
    assert np.isfinite(series.affine).all()
    assert np.isfinite(series.imagePositions).all()


async def test_errors_tell_nothing_of_the_patient(tmp_path: Path) -> None:
    """Names and numbers of patients stay out of the texts."""

    def alter(number: int, dataset: Dataset) -> None:
        dataset.PatientName, dataset.PatientID = "Secret^Person", "ID-4711"
        if number == 1:
            put(dataset, "PixelSpacing", ["bad", "worse"])

    with pytest.raises(SeriesIOError) as caught:
        await Series.open(saved(tmp_path, alter, IMPLICIT))
    assert not isinstance(caught.value, SeriesError)
    assert not any(word in str(caught.value) for word in ("Secret", "4711", "worse"))


# --- files that change meanwhile --------------------------------------------------------------


@pytest.mark.parametrize("way", ["compiled", "Python"])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
@pytest.mark.parametrize(
    ("module", "step"), [(_scanning, "begin"), (dicom, "_prepare")], ids=["heads", "pixels"]
)
async def test_a_file_that_is_replaced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    step: str,
    syntax: str,
    way: str,
) -> None:
    """Another slice in a file's place, as long as it, is no slice of the series: an error."""
    if way == "Python":
        monkeypatch.setattr(native, "_native", None)
    elif "passes" not in native.compiled:
        pytest.skip("compiled code was not built")
    source = phantom((9, 12, 16), modality="MR", transfer_syntax=syntax)
    folder = source.save(tmp_path / "series")
    first, second, *_ = sorted(folder.iterdir())
    assert np.array_equal((await Series.open(folder)).array, source.array)
    before = getattr(module, step)

    def replaced(*args: Any) -> Any:
        found = before(*args) if step == "_prepare" else None
        (tmp_path / "new").write_bytes(second.read_bytes())
        (tmp_path / "new").replace(first)
        return found or before(*args)

    monkeypatch.setattr(module, step, replaced)
    with pytest.raises(TransportError, match="changed since it was listed") as caught:
        await Series.open(folder)
    assert first.name in str(caught.value)
