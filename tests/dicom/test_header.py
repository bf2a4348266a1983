"""Headers: read like pydicom does, changed with honest UIDs, written in the right characters."""

from __future__ import annotations

import datetime
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

from seriesio.dicom.header import Header, Instance
from seriesio.dicom.part10 import parse_header
from seriesio.dicom.splice import splice
from seriesio.errors import DicomError, HeaderError

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
SYNTAXES = pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
PIXELS = b"\0" * 32


def make_dataset(number: int = 0) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    dataset.SOPInstanceUID = UID(f"1.2.3.4.{number}")
    dataset.AcquisitionTime = f"1200{number:02}.5"
    dataset.Modality = "MR"
    dataset.PatientName = "Müller^Jörg"
    dataset.PatientID = "4711-Geheim"
    dataset.EchoTime = "12.50"
    dataset.FlipAngle = None
    dataset.AcquisitionMatrix = [0, 64, 64, 0]
    dataset.SeriesInstanceUID = UID("1.2.3.4")
    dataset.SeriesNumber = 3
    dataset.ImagePositionPatient = [1.5, 2, -3 + number]
    dataset.PixelSpacing = ["0.50", "0.50"]
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = 4, 4
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 1
    dataset.add_new(0x00280106, "SS", -7)
    item = Dataset()
    item.ReferencedSOPInstanceUID = UID("1.2.9")
    dataset.ReferencedImageSequence = [item]
    dataset.add_new(0x7FE00010, "OW", PIXELS)
    return dataset


def make_file(dataset: Dataset, syntax: str = EXPLICIT) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def make_header(count: int = 3, syntax: str = EXPLICIT, **elements: Any) -> Header:
    files = []
    for number in range(count):
        dataset = make_dataset(number)
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        files.append(make_file(dataset, syntax))
    return Header([Instance(parse_header(file)) for file in files])


def written(header: Header, index: int = 0, *, keep_uid: bool = False) -> Dataset:
    """An instance as pydicom reads it once it is written."""
    pieces = splice(header.instances[index].raw, header.changes(index, keep_uid))
    return dcmread(BytesIO(b"".join(pieces) + PIXELS))


def uids(header: Header) -> tuple[str, list[str]]:
    return str(header.get("SeriesInstanceUID")), list(map(str, header.values("SOPInstanceUID")))


# --- reading ----------------------------------------------------------------------------------


@SYNTAXES
def test_values_are_those_of_pydicom(syntax: str) -> None:
    """Every top-level element, private ones too, has the value and type that pydicom gives."""
    data = make_file(make_dataset(), syntax)
    header = Header([Instance(parse_header(data))])
    for element in dcmread(BytesIO(data)):
        if element.tag != 0x7FE00010:
            found = header.get(int(element.tag))
            assert found == element.value, element.tag
            assert type(found) is type(element.value), element.tag


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore")  # pydicom's, about the files that break rules
def test_real_values_are_those_of_pydicom(corpus: Path) -> None:
    """So it is for a real file of each kind, UIDs that break the standard included."""
    files = {path.parent: path for path in sorted(corpus.rglob("*")) if _is_part10(path)}
    assert files
    for path in files.values():
        header = Header([Instance(parse_header(path.read_bytes()))])
        for element in dcmread(path, stop_before_pixels=True):
            if element.tag < 0x7FE00000:
                assert _plain(header.get(int(element.tag))) == _plain(element.value), element.tag


def _plain(value: Any) -> Any:
    return list(value) if hasattr(value, "append") else value


def _is_part10(path: Path) -> bool:
    return path.is_file() and path.read_bytes()[128:132] == b"DICM" and path.name != "DICOMDIR"


def test_names() -> None:
    """Keyword, camelCase, tag number and pair name the same attribute; others are errors."""
    header = make_header()
    for name in ("EchoTime", "echoTime", 0x00180081, (0x0018, 0x0081)):
        assert header.get(name) == 12.5
    assert header.values("acquisitionTime") == ["120000.5", "120001.5", "120002.5"]
    assert "EchoTime" in header
    assert "InversionTime" not in header
    assert header.get("InversionTime", 5) == 5
    assert header.get("FlipAngle", 5) is None
    assert header.get("PixelData") is None
    with pytest.raises(HeaderError, match="echoTimes"):
        header.get("echoTimes")
    with pytest.raises(HeaderError, match="tag"):
        header.get(-1)


def test_malformed_values_do_not_raise() -> None:
    """What breaks its VR in a file is given as text or bytes, without a warning."""
    data = make_file(make_dataset())
    data = data.replace(b"12.50 ", b"fast! ").replace(b"1.2.3.4\0", b"1.02..4\0")
    header = Header([Instance(parse_header(data))])
    assert header.get("EchoTime") == "fast!"
    assert header.get("SeriesInstanceUID") == "1.02..4"


def test_damaged_sequence() -> None:
    """A sequence of nonsense raises an error of ours."""
    data = make_file(make_dataset(), IMPLICIT)
    pieces = splice(parse_header(data), {0x00081140: ("OB", b"abcd")})  # implicit: no VR is said
    header = Header([Instance(parse_header(b"".join(pieces) + PIXELS))])
    with pytest.raises(DicomError, match="ReferencedImageSequence"):
        header.get("ReferencedImageSequence")


def test_character_sets() -> None:
    """Text is decoded in the instance's character set, with code extensions too."""
    header = make_header(1, SpecificCharacterSet="ISO_IR 192", PatientName="Ωmega^Ж")
    assert header.get("PatientName") == "Ωmega^Ж"
    japanese = "Yamada^Tarou=山田^太郎"
    header = make_header(1, SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=japanese)
    assert header.get("PatientName") == japanese
    assert header.get("PatientName").ideographic == "山田^太郎"


def enhanced() -> Header:
    timing, shared, frames = Dataset(), Dataset(), []
    timing.RepetitionTime = 500.0
    shared.MRTimingAndRelatedParametersSequence = [timing]
    for number in range(3):
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, number + 7]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    return make_header(
        1,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
        NumberOfFrames=3,
    )


def test_functional_groups() -> None:
    """What is not at the top level is found in the functional groups, shared before the first."""
    header = enhanced()
    assert header.get("repetitionTime") == 500
    with pytest.raises(HeaderError, match="SharedFunctionalGroupsSequence"):
        header.set("RepetitionTime", 600)
    groups = header.get("SharedFunctionalGroupsSequence")
    groups[0].MRTimingAndRelatedParametersSequence[0].RepetitionTime = 600.0
    assert header.get("repetitionTime") == 500
    header.set("SharedFunctionalGroupsSequence", groups)
    assert header.get("repetitionTime") == 600


@SYNTAXES
def test_dataset(syntax: str) -> None:
    """A dataset is pydicom's of the file, changes applied; it is the caller's own."""
    header = make_header(2, syntax)
    wanted = make_dataset(1)
    wanted.file_meta = FileMetaDataset()
    del wanted.PixelData
    dataset = header.dataset(1)
    assert {e.tag: e.value for e in dataset} == {e.tag: e.value for e in wanted}
    assert dataset.file_meta.TransferSyntaxUID == syntax
    dataset.SeriesNumber = 99
    assert header.get("SeriesNumber") == 3
    header.set("SeriesNumber", 5)
    assert header.dataset(1).SeriesNumber == 5
    meta = header.dataset(1).file_meta
    assert meta.MediaStorageSOPInstanceUID == header.values("SOPInstanceUID")[1]


def test_dataset_of_a_bare_one() -> None:
    """A dataset without file meta information is read as well."""
    data = make_file(make_dataset(), IMPLICIT)
    bare = data[parse_header(data).meta_end :]
    dataset = Header([Instance(parse_header(bare))]).dataset(0)
    assert dataset.SeriesNumber == 3
    assert dataset.file_meta.TransferSyntaxUID == IMPLICIT


# --- changing ---------------------------------------------------------------------------------


@SYNTAXES
@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("seriesNumber", 9999, 9999),
        ("seriesNumber", np.int64(7), 7),
        ("seriesNumber", "8", 8),
        ("seriesDescription", "New Series", "New Series"),
        ("PatientName", "Doe^Jane", "Doe^Jane"),
        ("echoTime", 0.1 + 0.2, 0.3),
        ("windowCenter", np.array([1.0, 2.25, -3]), [1, 2.25, -3]),
        ("windowCenter", (1, 2, 3), [1, 2, 3]),
        ("StudyDate", datetime.date(2024, 2, 29), "20240229"),
        ("StudyTime", datetime.time(7, 8, 9, 500), "070809.000500"),
        ("imageType", ["DERIVED", "SECONDARY"], ["DERIVED", "SECONDARY"]),
        ("acquisitionMatrix", [0, 32, 32, 0], [0, 32, 32, 0]),
        ("diffusionBValue", 1000, 1000),
        ("frameIncrementPointer", 0x00181063, 0x00181063),
        ("smallestImagePixelValue", -5, -5),
        ("echoTime", None, None),
        ((0x0019, 0x100C), 800, 800),
    ],
)
def test_set(syntax: str, name: Any, value: Any, wanted: Any) -> None:
    """A value that was set is got at once, and read by pydicom from what is written."""
    header = make_header(2, syntax)
    header.set(name, value)
    tag = name if isinstance(name, tuple) else name[0].upper() + name[1:]
    for found in (header.get(name), written(header, 1)[tag].value):
        if isinstance(wanted, float):
            assert found == pytest.approx(wanted, rel=1e-12)
        else:
            assert found == wanted
    assert header.changed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PatientAge", "Geheim"),
        ("PatientID", "Geheim" * 20),
        ("PatientID", "Ge\nheim"),
        ("PatientID", b"Geheim"),
        ("PatientName", "=".join(["Geheim"] * 4)),
        ("PatientName", "Geheim\0"),
        ("StudyDate", "Geheim"),
        ("Modality", "geheim"),
        ("SeriesInstanceUID", "1.02.Geheim"),
        ("SeriesNumber", "Geheim"),
        ("SeriesNumber", 3.5),
        ("SeriesNumber", 2**31),
        ("EchoTime", float("nan")),
        ("EchoTime", "Geheim"),
        ("NominalScannedPixelSpacing", [1.0, 2.0, 3.0]),
        ("DataCollectionCenterPatient", 1.0),
        ("AcquisitionMatrix", [1, 2, 3, 70000]),
        ("DiffusionBValue", "Geheim"),
        ("DiffusionBValue", object()),
        ("ReferencedImageSequence", "Geheim"),
        ("ReferencedImageSequence", [1]),
        ("VectorGridData", "Geheim"),
    ],
)
def test_set_what_it_cannot_hold(name: str, value: Any) -> None:
    """The error names the attribute, not the value, not in its causes either; nothing changes."""
    header = make_header()
    with pytest.raises(HeaderError, match=name) as caught:
        header.set(name, value)
    assert "eheim" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not header.changed


@pytest.mark.parametrize(
    "name",
    [
        "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
        "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
        "PixelData", "FloatPixelData", "TransferSyntaxUID", "MediaStorageSOPInstanceUID",
        "FileMetaInformationGroupLength", 0x00080000, 0xFFFCFFFC,
        "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "PixelSpacing",
        "RedPaletteColorLookupTableDescriptor", "SegmentedBluePaletteColorLookupTableData",
        "ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
        "SpacingBetweenSlices", "SliceThickness", "SliceLocationVector",
    ],
)  # fmt: skip
def test_what_cannot_be_set(name: Any) -> None:
    """What follows from the array or from the writing is refused, with the reason."""
    header = make_header()
    with pytest.raises(HeaderError, match="cannot be set: "):
        header.set(name, 1)
    with pytest.raises(HeaderError, match="cannot be set: "):
        header.delete(name)


@pytest.mark.parametrize("name", ["Shared", "PerFrame"])
def test_groups_that_would_move_frames(name: str) -> None:
    """Functional groups may change in all but their number, values and geometry."""
    keyword = f"{name}FunctionalGroupsSequence"
    header = enhanced()
    moved, mapped, fewer, harmless = (header.get(keyword) for _ in range(4))
    position, rescale = Dataset(), Dataset()
    position.ImagePositionPatient = [1, 2, 3]
    rescale.RescaleSlope = 2
    moved[0].PlanePositionSequence = [position]
    mapped[0].PixelValueTransformationSequence = [rescale]
    del fewer[0]
    refused: list[Any] = [moved, mapped, fewer, []]
    for groups in refused:
        with pytest.raises(HeaderError, match="cannot be set: "):
            header.set(keyword, groups)
    with pytest.raises(HeaderError, match="cannot be set: "):
        header.delete(keyword)
    with pytest.raises(HeaderError, match="cannot be set: "):
        make_header().set(keyword, harmless)
    assert not header.changed
    harmless[0].FrameType = ["DERIVED"]
    header.set(keyword, harmless)
    assert written(header, 0)[keyword].value[0].FrameType == "DERIVED"


def test_what_tells_of_tiles() -> None:
    """No image becomes a mosaic, and no mosaic another image."""
    plain = make_header(1, ImageType=["ORIGINAL", "PRIMARY"])
    plain.set("ImageType", ["DERIVED", "PRIMARY"])
    with pytest.raises(HeaderError, match="MOSAIC"):
        plain.set("ImageType", ["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    mosaic = make_header(1, ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"])
    with pytest.raises(HeaderError, match="MOSAIC"):
        mosaic.set("ImageType", ["ORIGINAL", "PRIMARY"])
    with pytest.raises(HeaderError, match="MOSAIC"):
        mosaic.delete("ImageType")
    with pytest.raises(HeaderError, match="mosaic"):
        mosaic.set((0x0029, 0x0010), "SIEMENS CSA HEADER")
    assert not mosaic.changed
    mosaic.set("ImageType", ["DERIVED", "PRIMARY", "MOSAIC"])
    assert list(written(mosaic, 0).ImageType) == ["DERIVED", "PRIMARY", "MOSAIC"]


def test_private_elements() -> None:
    """Private elements need their creator; their VR is pydicom's, or is given."""
    header = make_header(2)
    with pytest.raises(HeaderError, match=re.escape("(0029,0010)")):
        header.set((0x0029, 0x1001), "x", vr="LO")
    header.set((0x0029, 0x0010), "SERIESIO")
    with pytest.raises(HeaderError, match="vr="):
        header.set((0x0029, 0x1001), "x")
    header.set((0x0029, 0x1001), "text", vr="LO")
    header.set((0x0019, 0x100D), "DIFF")
    for index in range(2):
        dataset = written(header, index)
        assert dataset.private_block(0x0029, "SERIESIO")[0x01].value == "text"
        assert dataset[0x0019100D].VR == "CS"
    with pytest.raises(HeaderError, match="not FD"):
        header.set("PatientID", 1.0, vr="FD")


def test_delete() -> None:
    """A deleted element is gone everywhere; what every instance needs stays."""
    header = make_header()
    header.delete("EchoTime")
    assert "EchoTime" not in header
    assert "EchoTime" not in written(header, 2)
    header.delete("EchoTime")
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SpecificCharacterSet"):
        with pytest.raises(HeaderError, match="needs"):
            header.delete(name)
    untouched = make_header()
    untouched.delete("InversionTime")
    assert not untouched.changed


def test_set_some() -> None:
    """With ``where`` only those instances change; the UIDs change for the whole series."""
    header = make_header()
    header.set("AcquisitionTime", "080000", where=[2, -2])
    assert header.values("AcquisitionTime") == ["120000.5", "080000", "080000"]
    assert written(header, 0).AcquisitionTime == "120000.5"
    assert written(header, 2).AcquisitionTime == "080000"
    header.set("AcquisitionTime", "090000")
    assert header.values("AcquisitionTime") == ["090000"] * 3
    with pytest.raises(HeaderError, match="3 instances"):
        header.set("AcquisitionTime", "090000", where=[3])


def test_what_is_got_is_independent() -> None:
    """Changing a value that was got, or set, changes nothing in the header."""
    header = make_header()
    value = ["DERIVED", "PRIMARY"]
    header.set("ImageType", value)
    value.append("X")
    header.get("ImageType").append("Y")
    item = Dataset()
    item.CodeMeaning = "one"
    header.set("ProcedureCodeSequence", [item])
    item.CodeMeaning = "two"
    header.get("ProcedureCodeSequence")[0].CodeMeaning = "three"
    assert header.get("ImageType") == ["DERIVED", "PRIMARY"]
    assert header.get("ProcedureCodeSequence")[0].CodeMeaning == "one"


# --- UIDs -------------------------------------------------------------------------------------


def test_unchanged() -> None:
    """Setting what is there already is no change: same UIDs, no changes for the splicer."""
    header = make_header()
    before = uids(header)
    for name, value in (
        ("SeriesNumber", 3),
        ("EchoTime", 12.5),
        ("PatientName", "Müller^Jörg"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M"]),
        ("FlipAngle", None),
        ("ReferencedImageSequence", header.get("ReferencedImageSequence")),
        ("SeriesInstanceUID", header.get("SeriesInstanceUID")),
    ):
        header.set(name, value)
    assert not header.changed
    assert uids(header) == before
    assert header.changes(0) == {}


def test_first_change_brings_new_uids() -> None:
    """New UIDs, valid and all different, seen at once and written; later changes keep them."""
    header = make_header()
    before = uids(header)
    header.set("SeriesNumber", 4)
    series, instances = uids(header)
    assert series != before[0]
    assert len({series, *instances, *before[1]}) == 7
    assert all(UID(uid).is_valid and uid.startswith("2.25.") for uid in (series, *instances))
    header.set("SeriesDescription", "again")
    header.renew_uids()
    assert uids(header) == (series, instances)
    dataset = written(header, 1)
    assert dataset.SeriesInstanceUID == series
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID == instances[1]


def test_keep_uid() -> None:
    """The original UIDs can be kept when writing; explicit ones are honoured in any case."""
    header = make_header()
    before = uids(header)
    header.set("SeriesNumber", 4)
    kept = written(header, 1, keep_uid=True)
    assert (kept.SeriesInstanceUID, kept.SOPInstanceUID) == (before[0], before[1][1])
    assert kept.SeriesNumber == 4
    assert uids(header.original_uids()) == before
    header.set("SeriesInstanceUID", "1.9.9")
    header.set("SOPInstanceUID", "1.9.9.1", where=[1])
    for keep in (True, False):
        dataset = written(header, 1, keep_uid=keep)
        assert (dataset.SeriesInstanceUID, dataset.SOPInstanceUID) == ("1.9.9", "1.9.9.1")
    assert header.get("SeriesInstanceUID") == "1.9.9"
    with pytest.raises(HeaderError, match="where"):
        header.set("SOPInstanceUID", "1.9.9.2")


def test_pixels_changed() -> None:
    """A change of pixels alone brings new UIDs as well."""
    header = make_header()
    before = uids(header)
    header.renew_uids()
    assert header.changed
    assert not {before[0], *before[1]} & {uids(header)[0], *uids(header)[1]}


def test_copies_never_share() -> None:
    """Copies have their own changes, and never the same new UIDs for different contents."""
    header = make_header()
    header.set("SeriesNumber", 4)
    twin = header.copy()
    assert uids(twin) == uids(header)
    twin.set("SeriesNumber", 5)
    assert header.get("SeriesNumber") == 4
    assert uids(twin)[0] != uids(header)[0]
    before = uids(header)
    header.set("EchoTime", 1, where=[0])
    assert twin.get("EchoTime") == 12.5
    assert uids(header)[0] != before[0]
    header.settle()
    before = uids(header)
    header.set("EchoTime", 2)
    assert uids(header)[0] != before[0]


def test_subset() -> None:
    """A part of a series keeps each instance's attributes and UIDs; doubles get new ones."""
    header = make_header()
    header.set("EchoTime", 1, where=[2])
    series, instances = uids(header)
    part = header.subset([2, 0])
    assert part.values("AcquisitionTime") == ["120002.5", "120000.5"]
    assert part.values("EchoTime") == [1, 12.5]
    assert uids(part) == (series, [instances[2], instances[0]])
    doubled = header.subset([1, 1])
    assert uids(doubled)[0] != series
    assert len(set(uids(doubled)[1])) == 2
    with pytest.raises(HeaderError, match="3 instances"):
        header.subset([4])


# --- characters -------------------------------------------------------------------------------


@SYNTAXES
def test_text_in_the_instance_character_set(syntax: str) -> None:
    """Text that the character set holds is written in it; the set stays."""
    header = make_header(1, syntax)
    header.set("SeriesDescription", "Schädel")
    dataset = written(header)
    assert dataset.SpecificCharacterSet == "ISO_IR 100"
    assert dataset.SeriesDescription == "Schädel"
    raw = b"".join(splice(header.instances[0].raw, header.changes(0)))
    assert "Schädel".encode("latin-1") in raw


@SYNTAXES
def test_text_that_needs_utf8(syntax: str) -> None:
    """Else the instance goes over to UTF-8, with the text that it has."""
    header = make_header(2, syntax, StationName="Köln")
    header.set("SeriesDescription", "αβγ 山田")
    for index in range(2):
        dataset = written(header, index)
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert dataset.SeriesDescription == "αβγ 山田"
        assert dataset.PatientName == "Müller^Jörg"
        assert dataset.StationName == "Köln"
    assert header.get("PatientName") == "Müller^Jörg"
    assert header.get("SpecificCharacterSet") == "ISO_IR 192"


def test_default_repertoire() -> None:
    """Without a character set only ASCII may be written; the rest brings UTF-8."""
    plain = make_dataset()
    del plain.SpecificCharacterSet
    plain.PatientName = "Mueller^Joerg"
    header = Header([Instance(parse_header(make_file(plain)))])
    header.set("SeriesDescription", "ascii")
    assert "SpecificCharacterSet" not in written(header)
    header.set("SeriesDescription", "Schädel")
    assert written(header).SpecificCharacterSet == "ISO_IR 192"
    assert written(header).SeriesDescription == "Schädel"


def test_text_in_sequences_is_not_lost() -> None:
    """Where a sequence holds text of the old set, going over to another is refused."""
    item = Dataset()
    item.CodeMeaning = "Schädel"
    header = make_header(2, ProcedureCodeSequence=[item])
    with pytest.raises(HeaderError, match="ProcedureCodeSequence") as caught:
        header.set("SeriesDescription", "山田")
    assert "Sch" not in str(caught.value)
    assert not header.changed


def test_undecodable_text_is_not_lost() -> None:
    """Bytes that nobody can read are not rewritten: the change is refused."""
    plain = make_dataset()
    data = make_file(plain).replace(b"ISO_IR 100", b"ISO_IR 192")
    header = Header([Instance(parse_header(data))])
    header.set("SpecificCharacterSet", "ISO_IR 192")
    assert not header.changed
    with pytest.raises(HeaderError, match="PatientName"):
        header.set("SpecificCharacterSet", "ISO_IR 100")


def test_character_set_set() -> None:
    """Setting the character set rewrites the text; a set that cannot hold it is refused."""
    header = make_header(1)
    header.set("SpecificCharacterSet", "ISO_IR 192")
    assert written(header).PatientName == "Müller^Jörg"
    assert "Müller".encode() in b"".join(splice(header.instances[0].raw, header.changes(0)))
    header.set("SeriesDescription", "山田")
    with pytest.raises(HeaderError, match="SeriesDescription"):
        header.set("SpecificCharacterSet", "ISO_IR 100")
    with pytest.raises(HeaderError, match="defined term"):
        header.set("SpecificCharacterSet", "KLINGON")


def test_instances_of_several_character_sets() -> None:
    """One name set in a series of mixed character sets is right in each of them."""
    other = make_dataset(1)
    other.SpecificCharacterSet = "ISO_IR 192"
    files = make_file(make_dataset()), make_file(other)
    header = Header([Instance(parse_header(file)) for file in files])
    item = Dataset()
    item.PersonName = "Ärztin^Ü"
    header.set("PatientName", "Größe^É")
    header.set("PersonIdentificationCodeSequence", [item])
    for index, terms in enumerate(("ISO_IR 100", "ISO_IR 192")):
        dataset = written(header, index)
        assert dataset.SpecificCharacterSet == terms
        assert dataset.PatientName == "Größe^É"
        assert dataset.PersonIdentificationCodeSequence[0].PersonName == "Ärztin^Ü"


def test_repr_and_empty() -> None:
    """No patient in a repr; a header of no instances answers nothing."""
    assert repr(make_header()) == "<Header of 3 instances>"
    empty = Header([])
    assert empty.get("PatientName", 1) == 1
    assert empty.values("PatientName") == []
    assert len(empty) == 0
