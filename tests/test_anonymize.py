"""Anonymized series: nothing of what identified the patient is left, anywhere in the bytes."""

from __future__ import annotations

import pickle
import sys
import threading
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from seriesio import Series
from seriesio.dicom.deidentify import deidentified
from seriesio.errors import HeaderError, MissingDependencyError
from seriesio.testing import phantom

pytest.importorskip("dicomanonymizer")

SECRET = "Geheimrat"
SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big": "1.2.840.10008.1.2.2",
    "rle": "1.2.840.10008.1.2.5",
}
UIDS = ("1.2.826.77.1", "1.2.826.77.2", "1.2.826.77.3", "1.2.826.77.4", "1.2.826.77.5")


def plant(dataset: Any, number: int) -> None:
    """Put what identifies into every corner of a dataset."""
    dataset.PatientName = f"{SECRET}^Anna"
    dataset.PatientID = f"{SECRET}-4711"
    dataset.PatientBirthDate, dataset.StudyDate = "19410322", "20190817"
    dataset.OtherPatientNames = [f"{SECRET}^B", f"{SECRET}^C"]
    dataset.InstitutionName = dataset.StationName = SECRET
    dataset.StudyDescription = dataset.SeriesDescription = f"for {SECRET}"
    dataset.ImageComments = dataset.PatientComments = f"{SECRET} was here"
    dataset.ReferringPhysicianName = dataset.OperatorsName = f"{SECRET}^D"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UIDS[:2]
    dataset.FrameOfReferenceUID = UIDS[2]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{UIDS[3]}.{number}"
    dataset.file_meta.SourceApplicationEntityTitle = SECRET.upper()
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.826.77.9"
    dataset.file_meta.PrivateInformation = SECRET.encode() + b"!"
    dataset.ReferencedImageSequence = [item(UIDS[4])]
    code = item(None)
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "Head"
    code.PatientName = f"{SECRET}^E"
    deeper = item(UIDS[4])
    deeper.InstitutionName, deeper.OperatorsName = SECRET, f"{SECRET}^F"
    deeper.private_block(0x0031, SECRET, create=True).add_new(1, "LO", SECRET)
    code.ReferencedSeriesSequence = [deeper]
    dataset.AnatomicRegionSequence = [code]
    dataset.RequestAttributesSequence = [deeper]
    block = dataset.private_block(0x0029, f"{SECRET} CORP", create=True)
    block.add_new(0x10, "OB", SECRET.encode() + b"!")
    block.add_new(0x11, "SQ", [deeper])
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60000022, "LO", SECRET)
    dataset.add_new(0x60003000, "OW", SECRET.encode() + b"!")
    dataset.add_new(0x00091FFF, "UN", SECRET.encode() + b"!")  # private, without creator
    dataset.add_new(0x00081FFE, "LO", SECRET)  # nobody knows this one
    dataset.add_new(0xFFFCFFFC, "OB", SECRET.encode() + b"!")
    dataset.preamble = (SECRET * 20)[:128].encode()


def item(uid: str | None) -> Any:
    made: Any = Dataset()
    if uid is not None:
        made.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        made.ReferencedSOPInstanceUID = uid
    return made


def planted(folder: Path, **options: Any) -> Path:
    """A phantom series on disk with all of it."""
    folder.mkdir()
    shape = options.pop("shape", (3, 6, 8))
    for number, (name, data) in enumerate(phantom(shape, **options).files().items()):
        dataset: Any = pydicom.dcmread(BytesIO(data))
        plant(dataset, number)
        dataset.save_as(folder / name)
    return folder


def plain_bytes(path: Path) -> bytes:
    """A file's bytes, and those that are deflated in it."""
    data = path.read_bytes()
    dataset = pydicom.dcmread(BytesIO(data))
    dataset.file_meta.TransferSyntaxUID = (
        ExplicitVRLittleEndian
        if str(dataset.file_meta.TransferSyntaxUID).endswith(".99")
        else dataset.file_meta.TransferSyntaxUID
    )
    again = BytesIO()
    dataset.save_as(again)
    return data + again.getvalue()


def datasets(folder: Path) -> list[Any]:
    found = [pydicom.dcmread(path) for path in folder.iterdir()]
    return sorted(found, key=lambda d: d.get("InstanceNumber", 0))


async def cleaned(source: Path, target: Path, **options: Any) -> Series:
    series = await (await Series.open(source)).anonymize(**options)
    await series.write(target)
    return series


@pytest.mark.parametrize("syntax", SYNTAXES)
async def test_nothing_is_left(syntax: str, tmp_path: Path) -> None:
    """No planted name, ID, date or UID is in any byte that is written, and the pixels are."""
    source = planted(tmp_path / "source", transfer_syntax=SYNTAXES[syntax])
    before = await Series.open(source)
    series = await cleaned(source, tmp_path / "new")
    for path in (tmp_path / "new").iterdir():
        data = plain_bytes(path).lower()
        for secret in (SECRET, "19410322", "20190817", *UIDS):
            assert secret.lower().encode() not in data, secret
    back = await Series.open(tmp_path / "new")
    np.testing.assert_array_equal(back.array, before.array)
    np.testing.assert_array_equal(back.affine, before.affine)
    assert back.seriesInstanceUID == series.seriesInstanceUID


async def test_what_is_written(tmp_path: Path) -> None:
    """The header says that and how it was done; UIDs belong together as before."""
    await cleaned(planted(tmp_path / "source"), tmp_path / "new")
    found = datasets(tmp_path / "new")
    for dataset in found:
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert dataset.LongitudinalTemporalInformationModified == "REMOVED"
        assert dataset.PatientName == ""
        assert dataset.PatientID.startswith("ANON-")
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert dataset.preamble == bytes(128)
        assert not [e for e in dataset.iterall() if e.tag.is_private]
        assert not dataset.group_dataset(0x6000)
        code = dataset.AnatomicRegionSequence[0]
        assert (code.CodeValue, code.CodeMeaning) == ("1", "Head")
        (inner,) = code.ReferencedSeriesSequence
        (reference,) = dataset.ReferencedImageSequence
        assert inner.ReferencedSOPInstanceUID == reference.ReferencedSOPInstanceUID
        assert reference.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    for keyword, count in (("SOPInstanceUID", 3), ("SeriesInstanceUID", 1), ("PatientID", 1)):
        assert len({dataset[keyword].value for dataset in found}) == count


async def test_the_original_is_untouched(tmp_path: Path) -> None:
    """The series it was made of stays what it was; what was made holds nothing of its header."""
    series = await Series.open(planted(tmp_path / "source"))
    series.imageComments = f"{SECRET} again"
    anonymous = await series.anonymize()
    assert series.patientID == f"{SECRET}-4711"
    assert "imageComments" not in dir(anonymous)
    assert SECRET.encode() not in pickle.dumps(anonymous)
    assert SECRET not in repr(anonymous.report)
    assert np.shares_memory(anonymous.array, series.array)


async def test_arguments(tmp_path: Path) -> None:
    """An empty secret, a map to what is no UID are refused; a single attribute to keep is taken."""
    series = await Series.open(phantom((2, 6, 8)).save(tmp_path))
    wrong: Any
    for wrong in ("", b""):
        with pytest.raises(ValueError, match="seed="):
            await series.anonymize(seed=wrong)
    for wrong in ("1.2.x", "", 5):
        with pytest.raises(HeaderError, match="uid_map"):
            await series.anonymize(uid_map={series.seriesInstanceUID: wrong})
    assert (await series.anonymize(keep="PatientName")).patientName == series.patientName


async def test_idle_bytes_of_rle(tmp_path: Path) -> None:
    """What is written behind the segments of an RLE frame does not come through."""
    source = phantom((2, 6, 8), transfer_syntax=SYNTAXES["rle"]).save(tmp_path / "source")
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        dataset.PixelData = encapsulate([frame + SECRET.encode() + b"!"])
        dataset.save_as(path)
    new = await cleaned(source, tmp_path / "new")
    assert np.array_equal(new.array, (await Series.open(source)).array)
    assert all(SECRET.encode() not in path.read_bytes() for path in (tmp_path / "new").iterdir())


async def test_several_series(tmp_path: Path) -> None:
    """With one seed, or one map, what was the same in two series is so afterwards."""
    one, other = (planted(tmp_path / name) for name in ("one", "other"))
    known: dict[str, str] = {}
    made = [
        await cleaned(one, tmp_path / "a", seed="s3cret"),
        await cleaned(other, tmp_path / "b", seed="s3cret"),
        await cleaned(one, tmp_path / "c", seed="other"),
        await cleaned(one, tmp_path / "d", uid_map=known),
        await cleaned(other, tmp_path / "e", uid_map=known),
        await cleaned(one, tmp_path / "f"),
    ]
    uids = [series.studyInstanceUID for series in made]
    assert uids[0] == uids[1]
    assert uids[3] == uids[4] == known[UIDS[0]]
    assert len(set(uids)) == 4
    assert made[0].patientID == made[1].patientID != made[2].patientID
    assert all(pydicom.uid.UID(uid).is_valid for uid in known.values())
    assert "1.2.840.10008.5.1.4.1.1.2" not in known


async def test_changed_afterwards(tmp_path: Path) -> None:
    """It is a series like any other: changes give it new UIDs, honest as ever."""
    anonymous = await (await Series.open(planted(tmp_path / "source"))).anonymize()
    before = anonymous.header.values("SOPInstanceUID")
    anonymous.patientID = "Study-7"
    assert not set(before) & set(anonymous.header.values("SOPInstanceUID"))
    await (anonymous * 2).write(tmp_path / "new")
    for dataset in datasets(tmp_path / "new"):
        assert dataset.PatientID == "Study-7"
        assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID in before


async def test_keep(tmp_path: Path) -> None:
    """What the caller wants to keep stays, and the header says so."""
    keep = ["patientSex", "StudyDate", 0x00101010]
    source = planted(tmp_path / "source")
    for path in source.iterdir():
        dataset: Any = pydicom.dcmread(path)
        dataset.PatientSex, dataset.PatientAge = "F", "078Y"
        dataset.save_as(path)
    await cleaned(source, tmp_path / "new", keep=keep)
    for dataset in datasets(tmp_path / "new"):
        assert (dataset.PatientSex, dataset.PatientAge) == ("F", "078Y")
        assert dataset.StudyDate == "20190817"
        assert dataset.LongitudinalTemporalInformationModified == "UNMODIFIED"
        assert "kept: PatientSex" in dataset.DeidentificationMethod
    with pytest.raises(HeaderError, match="nonsense"):
        await cleaned(source, tmp_path / "other", keep=["nonsense"])


async def test_times(tmp_path: Path) -> None:
    """A series in time stays one: seconds from the first, and in order when read back."""
    source = phantom((4, 3, 6, 8)).save(tmp_path / "source")
    series = await Series.open(source)
    anonymous = await cleaned(source, tmp_path / "new")
    assert anonymous.timeline.tolist() == series.timeline.tolist()
    assert anonymous.tags["time"][0] == 0
    back = await Series.open(tmp_path / "new")
    np.testing.assert_array_equal(back.array, series.array)


@pytest.mark.parametrize("enhanced", [True, "per-volume"])
async def test_enhanced(enhanced: Any, tmp_path: Path) -> None:
    """Multi-frame objects keep their functional groups; dimension UIDs still belong together."""
    source = planted(tmp_path / "source", enhanced=enhanced, shape=(2, 3, 6, 8))
    before = await Series.open(source)
    await cleaned(source, tmp_path / "new")
    back = await Series.open(tmp_path / "new")
    np.testing.assert_array_equal(back.array, before.array)
    for dataset in datasets(tmp_path / "new"):
        (organization,) = dataset.DimensionOrganizationSequence
        indices = {d.DimensionOrganizationUID for d in dataset.DimensionIndexSequence}
        assert indices == {organization.DimensionOrganizationUID}
        assert SECRET not in str(dataset)


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore")  # pydicom's, about UIDs that break the standard
async def test_mosaic(corpus: Path, tmp_path: Path) -> None:
    """Of a Siemens mosaic all private elements go; it is still read as the same slices."""
    series = await Series.open(corpus / "mr_mosaic")
    await cleaned(corpus / "mr_mosaic", tmp_path / "new")
    back = await Series.open(tmp_path / "new")
    np.testing.assert_array_equal(back.array, series.array)
    np.testing.assert_allclose(back.affine, series.affine)
    for dataset in datasets(tmp_path / "new"):
        assert [e.tag for e in dataset.iterall() if e.tag.is_private] == [0x00290010, 0x00291010]
        assert len(dataset[0x0029, 0x1010].value) < 400


@pytest.mark.parametrize("signed", [False, True])
async def test_unused_bits(signed: bool, tmp_path: Path) -> None:
    """Overlays once stood in the bits of pixels that are not used; signs are still repeated."""
    source = phantom((2, 8, 64), bits_stored=12, modality="MR").save(tmp_path / "source")
    for path in source.iterdir():
        dataset: Any = pydicom.dcmread(path)
        dataset.PixelRepresentation = int(signed)
        values = dataset.pixel_array.astype(np.int16) - (100 if signed else 0)
        planted = values.astype(np.uint16) ^ np.uint16(0x8000)
        dataset.PixelData = planted.tobytes()
        for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue"):
            dataset.pop(keyword, None)
        dataset.save_as(path)
    before = await Series.open(source)
    await cleaned(source, tmp_path / "new")
    back = await Series.open(tmp_path / "new")
    np.testing.assert_array_equal(back.array, before.array)
    for dataset in datasets(tmp_path / "new"):
        stored = dataset.pixel_array.astype(np.int32)
        assert np.abs(stored).max() < 2048 + 2048 * (not signed)
        assert (stored < 0).any() == signed


async def test_comments_of_codecs(tmp_path: Path) -> None:
    """Comments in compressed frames go; where they cannot be found, the report says so."""
    pytest.importorskip("imagecodecs")
    syntax = "1.2.840.10008.1.2.4.70"
    source = phantom((2, 8, 8), transfer_syntax=syntax).save(tmp_path / "source")
    for path in source.iterdir():
        dataset: Any = pydicom.dcmread(path)
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        comment = b"\xff\xfe" + (len(SECRET) + 2).to_bytes(2, "big") + SECRET.encode()
        dataset.PixelData = encapsulate([frame[:2] + comment + frame[2:]])
        dataset.save_as(path)
    series = await cleaned(source, tmp_path / "new")
    assert not any(SECRET.encode() in path.read_bytes() for path in (tmp_path / "new").iterdir())
    np.testing.assert_array_equal((await Series.open(tmp_path / "new")).array, series.array)
    assert not any("taken apart" in note for note in series.report.notes)
    volume = series._volume
    for instance in volume.header.instances:
        instance.encoded = bytes(instance.encoded or b"").replace(b"\xff\xd8", b"\xff\xd7")
    unknown = await series.anonymize()
    assert any("taken apart" in note for note in unknown.report.notes)


async def test_private_elements_that_are_kept(tmp_path: Path) -> None:
    """With a private element stays the name of its creator: without it nobody can read it."""
    source = phantom((2, 6, 8)).save(tmp_path / "source")
    for path in source.iterdir():
        dataset: Any = pydicom.dcmread(path)
        block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0C, "IS", "800")
        block.add_new(0x0E, "LO", SECRET)
        dataset.save_as(path)
    await cleaned(source, tmp_path / "new", keep=[(0x0019, 0x100C)])
    for dataset in datasets(tmp_path / "new"):
        block = dataset.private_block(0x0019, "SIEMENS MR HEADER")
        assert block[0x0C].value == 800
        assert 0x0E not in block
        assert "kept: (0019,100C)" in list(dataset.DeidentificationMethod)


@pytest.mark.parametrize(("said", "warned"), [("YES", True), ("NO", False), (None, False)])
async def test_burned_in(said: str | None, warned: bool, tmp_path: Path) -> None:
    """Text in the pixels is not found by us: what the header says of it is told."""
    series = await Series.open(phantom((3, 6, 8)).save(tmp_path / "source"))
    if said is None:
        if "BurnedInAnnotation" in series.header:
            series.header.delete("BurnedInAnnotation")
    else:
        series.burnedInAnnotation = said
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        anonymous = await series.anonymize()
    assert any("BurnedInAnnotation" in str(w.message) for w in caught) == warned
    told = any("BurnedInAnnotation" in note for note in anonymous.report.notes)
    assert told == (said != "NO")


async def test_behind_compressed_pixels(tmp_path: Path) -> None:
    """Elements behind compressed pixels are gone, the fragments are the same."""
    source = planted(tmp_path / "source", transfer_syntax=SYNTAXES["rle"])
    frames = [next(generate_frames(d.PixelData, number_of_frames=1)) for d in datasets(source)]
    await cleaned(source, tmp_path / "new")
    for dataset, frame in zip(datasets(tmp_path / "new"), frames, strict=True):
        assert encapsulate([next(generate_frames(dataset.PixelData, number_of_frames=1))]) == (
            encapsulate([frame])
        )
        assert 0xFFFCFFFC not in dataset


async def test_damaged_sequences_go(tmp_path: Path) -> None:
    """What cannot be read cannot be shown to be harmless: it is left out."""
    source = tmp_path / "source"
    phantom((3, 6, 8), transfer_syntax=SYNTAXES["implicit"]).save(source)
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.add_new(0x00082218, "OB", SECRET.encode() + b"!")  # implicit VR: read as SQ
        dataset.save_as(path)
    await cleaned(source, tmp_path / "new")
    for path in (tmp_path / "new").iterdir():
        assert SECRET.encode() not in path.read_bytes()


async def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    from seriesio.dicom import profile

    series = await Series.open(phantom((2, 6, 8)).save(tmp_path / "source"))
    profile._actions.cache_clear()
    for name in [name for name in sys.modules if name.startswith("dicomanonymizer")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dicomanonymizer", None)
    with pytest.raises(MissingDependencyError, match=r"seriesio\[anonymize\]"):
        await series.anonymize()


async def test_in_a_worker_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop is not held meanwhile: the work is done elsewhere."""
    threads = []

    def watched(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return deidentified(*arguments)

    monkeypatch.setattr("seriesio.anonymize.deidentified", watched)
    await (await Series.open(phantom((3, 4, 4)).save(tmp_path / "source"))).anonymize()
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
