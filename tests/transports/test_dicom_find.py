"""What a dicom:// URL means, and what an archive lists."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pytest
from pydicom.uid import UID

from seriesio.errors import (
    AmbiguousSeriesError,
    AssociationError,
    LocationError,
    NotFoundError,
    StatusError,
    UnsupportedByPeerError,
)
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.protocols import Entry
from seriesio.testing import DicomArchive, Faults, phantom
from seriesio.transports.dicom import DicomTransport, Timeouts

PATIENT = Timeouts(release=0.3)


def made(
    patient: str, study: str, accession: str, series: int, uid: str, count: int = 1
) -> list[bytes]:
    """Files of a series; patients, studies and series as told."""
    files = []
    for number, dataset in enumerate(phantom((count, 8, 8), seed=series).datasets()):
        dataset.PatientID, dataset.AccessionNumber, dataset.StudyID = patient, accession, "1"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, uid
        dataset.SeriesNumber, dataset.SeriesDescription = series, f"series {series}"
        dataset.SOPInstanceUID = f"{uid}.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"{uid}.{number}")
        if not patient.isascii():
            dataset.SpecificCharacterSet = "ISO_IR 100"
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    return files


@pytest.fixture(scope="module")
def held() -> DicomArchive:
    archive = DicomArchive(ae_title="HERE")
    archive.add(made("P1", "1.2.1", "A1", 1, "1.2.1.1", 3))
    archive.add(made("P1", "1.2.1", "A1", 2, "1.2.1.2", 2))
    archive.add(made("P1", "1.2.1", "A1", 2, "1.2.1.3"))
    archive.add(made("P1", "1.2.2", "A2", 1, "1.2.2.1"))
    archive.add(made("P2", "1.2.3", "A3", 1, "1.2.3.1"))
    archive.add(made("P2", "1.2.4", "A3", 7, "1.2.4.1"))
    archive.add(made("Q/ä ö", "1.2.5", "5.6", 1, "1.2.5.1"))
    return archive


@pytest.fixture
def archive(held: DicomArchive) -> Iterator[DicomArchive]:
    held.faults = Faults()
    with held:
        yield held
    held.forget()


def transport(archive: DicomArchive, path: str) -> DicomTransport:
    location = parse_location(archive.url + path)
    return DicomTransport(location, Workers(), timeouts=PATIENT)


async def read(archive: DicomArchive, path: str) -> set[str]:
    """The names of what a URL reads."""
    return {blob.name async for blob in transport(archive, path).read()}


async def listed(archive: DicomArchive, path: str) -> list[Entry]:
    return [entry async for entry in transport(archive, path).list()]


@pytest.mark.parametrize("roots", ["both", "study", "patient"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/P1/1.2.1/1.2.1.1", {"1.2.1.1.0", "1.2.1.1.1", "1.2.1.1.2"}),
        ("/P1/1.2.1/1", {"1.2.1.1.0", "1.2.1.1.1", "1.2.1.1.2"}),
        ("/P1/A1/1.2.1.3", {"1.2.1.3.0"}),
        ("/P1/1.2.1/1.2.1.1/1.2.1.1.1", {"1.2.1.1.1"}),
        ("/*/A2/1", {"1.2.2.1.0"}),
        ("/P?/1.2.2/*".replace("?", "%3F"), {"1.2.2.1.0"}),
        ("/P2/*/1", {"1.2.3.1.0"}),
        ("/P2/A3/7", {"1.2.4.1.0"}),
        ("/P2/1.2.*/1.2.%3F.1", {"1.2.3.1.0", "1.2.4.1.0"}),
        ("/P1/1.2.1/1.2.1.*", {f"1.2.1.{n}" for n in ("1.0", "1.1", "1.2", "2.0", "2.1", "3.0")}),
        ("/P2", {"1.2.3.1.0", "1.2.4.1.0"}),
        ("/P1/A2", {"1.2.2.1.0"}),
        ("/Q%2F%C3%A4%20%C3%B6/1.2.5", {"1.2.5.1.0"}),
        ("/*/5.6/1", {"1.2.5.1.0"}),
        ("/*/5.*/1", {"1.2.5.1.0"}),
        ("/P2/A3/007", {"1.2.4.1.0"}),
    ],
)
async def test_reads(archive: DicomArchive, path: str, expected: set[str], roots: str) -> None:
    """Each kind of URL reads the instances that it names, in either information model."""
    archive.faults = Faults(no_study_root=roots == "patient", no_patient_root=roots == "study")
    assert await read(archive, path) == {f"{uid}.dcm" for uid in expected}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/R*", {"1.2.6.1.0", "1.2.7.1.0", "1.2.8.1.0"}),
        ("/R%2A", {"1.2.7.1.0"}),
        ("/R%2A/A6/1", {"1.2.7.1.0"}),
        ("/R%5C*", {"1.2.7.1.0"}),
        ("/R%3F", {"1.2.6.1.0", "1.2.7.1.0", "1.2.8.1.0"}),
        ("/R%5C%3F", {"1.2.8.1.0"}),
        ("/r1", {"1.2.9.1.0"}),
        ("/%5B1", set()),
    ],
)
async def test_wildcards_as_such(path: str, expected: set[str]) -> None:
    """Wildcards that are quoted match themselves only; case counts; brackets mean nothing."""
    with DicomArchive() as archive:
        for number, patient in enumerate(("R1", "R*", "R?", "r1"), 6):
            archive.add(made(patient, f"1.2.{number}", "A6", 1, f"1.2.{number}.1"))
        if not expected:
            with pytest.raises(NotFoundError):
                await read(archive, path)
            return
        assert await read(archive, path) == {f"{uid}.dcm" for uid in expected}


async def test_listed_wildcards() -> None:
    """The URL of a patient whose ID has a wildcard leads to that patient only."""
    with DicomArchive() as archive:
        for number, patient in enumerate(("R1", "R*", "R?"), 6):
            archive.add(made(patient, f"1.2.{number}", "A6", 1, f"1.2.{number}.1"))
        for entry in await listed(archive, ""):
            (study,) = await listed(archive, entry.url.removeprefix(archive.url))
            assert study.name == {"R1": "1.2.6", "R*": "1.2.7", "R?": "1.2.8"}[entry.name]


async def test_single(archive: DicomArchive) -> None:
    """Where one series is wanted, several of images are told of before any is asked for."""
    location = parse_location(archive.url + "/P1/1.2.1")
    source = DicomTransport(location, Workers(), timeouts=PATIENT, single=True)
    with pytest.raises(AmbiguousSeriesError, match="3 series are there") as caught:
        _ = [blob async for blob in source.read()]
    assert len(caught.value.series) == 3
    assert {one.service for one in archive.requests} == {"C-FIND"}


async def test_one_study_of_two_patients() -> None:
    """A study that an archive tells of twice is read once."""
    with DicomArchive() as archive:
        archive.add(made("P1", "1.2.1", "A1", 1, "1.2.1.1", 2))
        archive.add(made("P2", "1.2.1", "A1", 1, "1.2.1.1", 3)[2:])
        found = [blob.name async for blob in transport(archive, "/*/1.2.1").read()]
    assert sorted(found) == [f"1.2.1.1.{number}.dcm" for number in range(3)]


async def test_parents(archive: DicomArchive) -> None:
    """Every query has the unique keys of all levels above it (PS3.4 section C.4.1.2.2.1)."""
    archive.faults = Faults(no_study_root=True)
    await read(archive, "/P1/1.2.1/1.2.1.1")
    asked = [one for one in archive.requests if one.service in ("C-FIND", "C-GET")]
    assert {one.level for one in asked} >= {"STUDY", "SERIES", "IMAGE"}
    for one in asked:
        assert one.identifier["PatientID"] == "P1"
        assert one.level == "STUDY" or one.identifier["StudyInstanceUID"] == "1.2.1"
        assert one.level != "IMAGE" or one.identifier["SeriesInstanceUID"] == "1.2.1.1"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nobody", "no patient at this URL .level PATIENT"),
        ("/P1/1.9.9", "no study 1.9.9 at this URL .level STUDY"),
        ("/P2/1.2.1/1", "no study 1.2.1"),
        ("/P1/NONE/1", "no study of that accession number"),
        ("/P1/1.2.1/9", "no series 9 at this URL .level SERIES"),
        ("/P1/1.2.1/1.2.1.9", "no series 1.2.1.9"),
        ("/P1/1.2.1/1.2.1.1/1.2.9", "no instance 1.2.9 .*level IMAGE"),
    ],
)
async def test_not_found(archive: DicomArchive, path: str, words: str) -> None:
    """What is not there is an error that names the level, and nothing of the patient."""
    with pytest.raises(NotFoundError, match=words) as caught:
        await read(archive, path)
    assert "P1" not in str(caught.value)
    assert "NONE" not in str(caught.value)


async def test_ambiguous_number(archive: DicomArchive) -> None:
    """A series number that two series of a study have: both are listed."""
    with pytest.raises(AmbiguousSeriesError, match="2 series have the number 2") as caught:
        await read(archive, "/P1/1.2.1/2")
    found = [(one.series_instance_uid, one.instances) for one in caught.value.series]
    assert found == [("1.2.1.2", 2), ("1.2.1.3", 1)]
    assert "series 2" in str(caught.value)


async def test_ambiguous_accession(archive: DicomArchive) -> None:
    """An accession number that two studies have: both are listed."""
    with pytest.raises(AmbiguousSeriesError, match="2 studies have that accession") as caught:
        await read(archive, "/P2/A3")
    assert "1.2.3" in str(caught.value)
    assert "1.2.4" in str(caught.value)
    assert "A3" not in str(caught.value)


async def test_list(archive: DicomArchive) -> None:
    """Patients, studies, series and instances are listed, each with a URL that leads on."""
    patients = await listed(archive, "")
    assert [one.name for one in patients] == ["P1", "P2", "Q/ä ö"]
    assert patients[0].attributes == {"studies": "2", "series": "4", "count": "7"}
    assert patients[2].url.endswith("/Q%2F%C3%A4%20%C3%B6")
    studies = await listed(archive, "/P1")
    assert [one.name for one in studies] == ["1.2.1", "1.2.2"]
    assert studies[0].attributes["count"] == "6"
    series = await listed(archive, "/P1/1.2.1")
    assert [one.name for one in series] == ["1.2.1.1", "1.2.1.2", "1.2.1.3"]
    assert series[0].kind == "series"
    assert series[0].attributes.items() >= {
        ("number", "1"),
        ("description", "series 1"),
        ("modality", "CT"),
        ("count", "3"),
    }
    assert series[1].url == archive.url + "/P1/1.2.1/1.2.1.2"
    instances = await listed(archive, "/P1/1.2.1/1.2.1.1")
    assert [one.name for one in instances] == ["1.2.1.1.0", "1.2.1.1.1", "1.2.1.1.2"]
    assert instances[0].attributes == {"sop_class": "1.2.840.10008.5.1.4.1.1.2"}
    one = await listed(archive, "/P1/1.2.1/1.2.1.1/1.2.1.1.2")
    assert [entry.name for entry in one] == ["1.2.1.1.2"]
    again = await listed(archive, patients[2].url.removeprefix(archive.url))
    assert [entry.name for entry in again] == ["1.2.5"]


async def test_list_without_patient_root(archive: DicomArchive) -> None:
    """An archive that has only the study root lists its patients all the same."""
    archive.faults = Faults(no_patient_root=True)
    assert {one.name for one in await listed(archive, "")} == {"P1", "P2", "Q/ä ö"}


@pytest.mark.parametrize("path", ["/nobody", "/P1/1.9", "/P1/1.2.1/9", "/P1/1.2.1/1/1.9"])
async def test_list_nothing(archive: DicomArchive, path: str) -> None:
    """To list what is not there is an error."""
    with pytest.raises(NotFoundError):
        await listed(archive, path)


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0xFE00, 0x0122])
async def test_status(archive: DicomArchive, status: int) -> None:
    """A query that fails is an error with the status in words."""
    archive.faults = Faults(find_status=status)
    with pytest.raises(StatusError, match=f"C-FIND at the STUDY level failed: 0x{status:04X} \\("):
        await read(archive, "/P1/1.2.1/1")


async def test_no_find(archive: DicomArchive) -> None:
    """An archive without any query model is not supported, and the error says so."""
    archive.faults = Faults(no_study_root=True, no_patient_root=True)
    with pytest.raises(UnsupportedByPeerError, match="accepts none of 2"):
        await read(archive, "/P1/1.2.1/1")


@pytest.mark.parametrize("fault", [Faults(abort_after=0), Faults(close_after=0)])
async def test_broken_off(archive: DicomArchive, fault: Faults) -> None:
    """An archive that breaks off in a query is an error."""
    archive.faults = fault
    with pytest.raises(AssociationError, match=r"aborted|closed"):
        await read(archive, "/P1/1.2.1/1")


async def test_total(archive: DicomArchive) -> None:
    """A whole call may have a deadline."""
    archive.faults = Faults(stall_after=0, stall=20)
    timeouts = Timeouts(total=0.3)
    source = DicomTransport(parse_location(archive.url + "/P1"), Workers(), timeouts=timeouts)
    with pytest.raises(AssociationError, match=r"not done within 0\.3 seconds"):
        _ = [blob async for blob in source.read()]


async def test_no_patient(archive: DicomArchive) -> None:
    """The whole archive is not read; the error says how a URL goes on."""
    with pytest.raises(LocationError, match="patientID/study/series"):
        await read(archive, "")


async def test_echo(archive: DicomArchive) -> None:
    """C-ECHO tells how long it took; one that fails is an error."""
    assert 0 < await transport(archive, "").echo() < 2
    assert [one.service for one in archive.requests] == ["C-ECHO"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"aet": ""}, "AE title"),
        ({"aet": "seventeen letters"}, "AE title"),
        ({"aet": "a\\b"}, "backslash"),
        ({"associations": 0}, "associations"),
        ({"move_to": "nonsense"}, "AET:port"),
        ({"move_to": ("AET", 0)}, "AET:port"),
    ],
)
def test_options(options: dict[str, object], words: str) -> None:
    """Options that cannot be are refused when the transport is made."""
    location = parse_location("dicom://host/AET/*")
    with pytest.raises(ValueError, match=words):
        DicomTransport(location, Workers(1), **options)  # type: ignore[arg-type]


def test_secrets() -> None:
    """Credentials of the URL do not show."""
    location = parse_location("dicom://me:secret@host/AET/P1")
    assert "secret" not in repr(DicomTransport(location, Workers(1)))
