"""The embedded archive's conformance, by DCMTK's programs; and next to real archives.

The same programs ask Orthanc and dcmqrscp: where the standard decides, all say the same.
"""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from seriesio.testing import DicomArchive, Faults, Phantom, phantom

Tool: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.interop
RLE = "1.2.840.10008.1.2.5"


@pytest.fixture
def run(tool: Callable[[str], str]) -> Tool:
    """``run("echoscu", server, …)``: a program of DCMTK against an archive, its answer."""

    def call(
        name: str, at: Any, *options: str, files: tuple[str | Path, ...] = (), ok: bool = True
    ) -> subprocess.CompletedProcess[str]:
        command = [tool(name), "-v", "-aec", at.ae_title, *options, at.host, str(at.port)]
        command += map(str, files)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return done

    return call


@pytest.fixture
def archive() -> Iterator[DicomArchive]:
    """The embedded archive, empty."""
    with DicomArchive(ae_title="HERE") as running:
        yield running


@cache
def made(seed: int = 41, **how: Any) -> Phantom:
    return phantom((4, 16, 12), seed=seed, **how)


def key(keyword: str, value: str = "") -> list[str]:
    return ["-k", f"{keyword}={value}" if value else keyword]


def keys(level: str, of: Phantom, **more: str) -> list[str]:
    """An identifier's options: the UIDs down to the level, then what is given."""
    first = of.datasets()[0]
    uids = {"StudyInstanceUID": str(first.StudyInstanceUID)}
    if level != "STUDY":
        uids["SeriesInstanceUID"] = str(first.SeriesInstanceUID)
    wanted = {"QueryRetrieveLevel": level, **uids, **more}
    return [word for keyword, value in wanted.items() for word in key(keyword, value)]


def found(folder: Path) -> list[Dataset]:
    """The answers that findscu has written, as pydicom reads them."""
    return [dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


def bodies(folder: Path) -> dict[str, bytes]:
    """SOP Instance UID → the encoded dataset of each file in a folder."""
    return {str(dcmread(path).SOPInstanceUID): body(path.read_bytes()) for path in folder.iterdir()}


def elements(folder: Path) -> dict[str, dict[int, Any]]:
    """SOP Instance UID → tag → value; storescu gives sequences other lengths."""
    read = [dcmread(path) for path in sorted(folder.iterdir())]
    return {str(one.SOPInstanceUID): {int(e.tag): e.value for e in one} for one in read}


def body(file: bytes) -> bytes:
    return file[144 + int.from_bytes(file[140:144], "little") :]


# --- the embedded archive ---------------------------------------------------------------------


def test_echo(run: Tool, archive: DicomArchive) -> None:
    """echoscu is content; with another AE title it is rejected, and told why."""
    run("echoscu", archive)
    rejected = run("echoscu", archive, "-aec", "OTHER", ok=False)
    assert rejected.returncode != 0
    assert "Called AE Title Not Recognized" in rejected.stdout + rejected.stderr


@pytest.mark.parametrize(
    ("syntax", "sending", "taking"),
    [
        ("1.2.840.10008.1.2.1", "-x=", "+x="),
        ("1.2.840.10008.1.2", "-xi", "+x="),
        (RLE, "-xr", "+xr"),
    ],
)
@pytest.mark.parametrize("root", ["-S", "-P"])
def test_there_and_back(
    run: Tool,
    archive: DicomArchive,
    tmp_path: Path,
    syntax: str,
    sending: str,
    taking: str,
    root: str,
) -> None:
    """storescu stores, getscu gets: equal in each element; and from the archive byte for byte."""
    result = made(transfer_syntax=syntax)
    run("storescu", archive, sending, "+sd", files=(result.save(tmp_path / "out"),))
    got = tmp_path / "in"
    got.mkdir()
    wanted = keys("SERIES", result)
    if root == "-P":
        wanted += key("PatientID", str(result.datasets()[0].PatientID))
    run("getscu", archive, root, taking, "+B", "-od", str(got), *wanted)
    assert bodies(got) == {uid: data for uid, (_, data) in archive.datasets().items()}
    assert {kept for kept, _ in archive.datasets().values()} == {syntax}
    assert elements(got) == elements(tmp_path / "out")


def test_conversion(run: Tool, archive: DicomArchive, tmp_path: Path) -> None:
    """Where only implicit VR is agreed on, instances come converted, equal in each element."""
    archive.add(made().files().values())
    archive.faults = Faults(refused_syntaxes=frozenset({"1.2.840.10008.1.2.1"}))
    (tmp_path / "in").mkdir()
    folder = str(tmp_path / "in")
    run("getscu", archive, "-S", "+x=", "+B", "-od", folder, *keys("SERIES", made()))
    syntaxes = {dcmread(path).file_meta.TransferSyntaxUID for path in Path(folder).iterdir()}
    assert syntaxes == {"1.2.840.10008.1.2"}
    assert elements(Path(folder)) == elements(made().save(tmp_path / "kept"))


def test_what_cannot_be_sent(run: Tool, archive: DicomArchive, tmp_path: Path) -> None:
    """Compressed instances for one who takes none: getscu is told how many have failed."""
    archive.add(made(transfer_syntax=RLE).files().values())
    wanted = keys("SERIES", made(transfer_syntax=RLE))
    done = run("getscu", archive, "-S", "+x=", "-od", str(tmp_path), *wanted, ok=False)
    assert "Failed Suboperations    : 4" in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_cancelled(run: Tool, archive: DicomArchive, tmp_path: Path) -> None:
    """findscu cancels after the first answer, and gets no more than were on their way."""
    archive.add(made().files().values())
    archive.faults = Faults(stall_after=2, stall=0.3)
    wanted = [*keys("IMAGE", made()), *key("SOPInstanceUID")]
    run("findscu", archive, "-S", "-X", "-od", str(tmp_path), "--cancel", "1", *wanted)
    assert 1 <= len(found(tmp_path)) <= 2


def test_identifier_without_parents(run: Tool, archive: DicomArchive) -> None:
    """A query below the study without its UID is refused as PS3.4 section C.4.1 asks."""
    done = run("findscu", archive, "-S", *key("QueryRetrieveLevel", "SERIES"), ok=False)
    assert "DataSetDoesNotMatchSOPClass" in done.stdout + done.stderr


def test_tls(run: Tool, certificate: tuple[Path, Path]) -> None:
    """echoscu over TLS, with a client certificate that the archive asks for."""
    cert, secret = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert)
    context.load_cert_chain(cert, secret)
    context.verify_mode = ssl.CERT_REQUIRED
    with DicomArchive(ssl_context=context) as archive:
        run("echoscu", archive, "+tls", str(secret), str(cert), "+cf", str(cert))
        assert run("echoscu", archive, ok=False).returncode != 0
        assert [request.service for request in archive.requests] == ["C-ECHO"]


# --- next to real archives --------------------------------------------------------------------


@pytest.fixture
def stored(run: Tool, server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each archive in turn, with two series of two modalities in it."""
    folder = tmp_path_factory.mktemp("stored")
    made().save(folder / "one")
    made(44, modality="MR", series_number=7, series_description="second").save(folder / "two")
    run("storescu", server, "+sd", "+r", files=(folder,))
    return server


def asked(run: Tool, server: Any, folder: Path, *options: str) -> set[tuple[tuple[str, str], ...]]:
    """The answers of findscu, each as keyword and value of what has a value and was asked for."""
    run("findscu", server, "-S", "-X", "-od", str(folder), *options)
    asked_for = {word.partition("=")[0] for word in options if not word.startswith("-")}
    return {
        tuple(
            (e.keyword, str(e.value))
            for e in answer
            if e.keyword in asked_for and e.value not in ("", None)
        )
        for answer in found(folder)
    }


def values(answers: set[tuple[tuple[str, str], ...]], keyword: str) -> list[str]:
    return sorted(dict(answer)[keyword] for answer in answers)


def uid(of: Phantom, keyword: str) -> str:
    return str(of.datasets()[0][keyword].value)


def test_studies(run: Tool, stored: Any, tmp_path: Path) -> None:
    """Studies by UID, by a list of UIDs, by a range of dates: the same from every archive."""
    one, two = made(), made(44, modality="MR", series_number=7, series_description="second")
    uids = sorted(uid(result, "StudyInstanceUID") for result in (one, two))
    date = uid(one, "StudyDate")
    for number, narrowed in enumerate(
        [
            key("StudyInstanceUID", "\\".join(uids)),
            [*key("StudyInstanceUID", "\\".join(uids)), *key("StudyDate", f"{date}-")],
            [*key("StudyInstanceUID", "\\".join(uids)), *key("StudyDate", f"{date}-{date}")],
            [*key("StudyInstanceUID", "\\".join(uids)), *key("PatientName", "Ph*t?m*")],
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        answers = asked(run, stored, folder, *key("QueryRetrieveLevel", "STUDY"), *narrowed)
        assert values(answers, "StudyInstanceUID") == uids, narrowed
    for number, narrowed in enumerate(
        [key("StudyDate", "-19000101"), key("PatientName", "Nob?dy*"), key("StudyTime", "-0000")]
    ):
        folder = tmp_path / f"none {number}"
        folder.mkdir()
        wanted = [*key("StudyInstanceUID", uids[0]), *narrowed]
        assert not asked(run, stored, folder, *key("QueryRetrieveLevel", "STUDY"), *wanted)


def test_series(run: Tool, stored: Any, tmp_path: Path) -> None:
    """The series of a study with what describes them, and by number and modality."""
    two = made(44, modality="MR", series_number=7, series_description="second")
    study = key("StudyInstanceUID", uid(two, "StudyInstanceUID"))
    level = key("QueryRetrieveLevel", "SERIES")
    wanted = [*key("SeriesNumber", "7"), *key("Modality"), *key("SeriesDescription")]
    answers = asked(run, stored, tmp_path, *level, *study, *key("SeriesInstanceUID"), *wanted)
    (answer,) = answers
    assert dict(answer)["SeriesInstanceUID"] == two.series_uid
    assert dict(answer)["Modality"] == "MR"
    if stored.ae_title != "DCMQRSCP":  # which does not have it
        assert dict(answer)["SeriesDescription"] == "second"
    for number, narrowed in enumerate([key("Modality", "CT"), key("SeriesNumber", "8")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert not asked(run, stored, folder, *level, *study, *narrowed)


def test_images(run: Tool, stored: Any, tmp_path: Path) -> None:
    """The instances of a series: exactly those that were stored."""
    one = made()
    wanted = [*keys("IMAGE", one), *key("SOPInstanceUID"), *key("InstanceNumber")]
    answers = asked(run, stored, tmp_path, *wanted)
    uids = sorted(str(dataset.SOPInstanceUID) for dataset in one.datasets())
    assert values(answers, "SOPInstanceUID") == uids
    assert values(answers, "InstanceNumber") == ["1", "2", "3", "4"]


@pytest.mark.parametrize("server", ["embedded", "orthanc"], indirect=True)
def test_counts(run: Tool, stored: Any, tmp_path: Path) -> None:
    """What is counted, by those who count: dcmqrscp does not."""
    counted = ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "ModalitiesInStudy")
    wanted = [word for keyword in counted for word in key(keyword)]
    ((*answer,),) = asked(run, stored, tmp_path, *keys("STUDY", made()), *wanted)
    assert [dict(answer)[keyword] for keyword in counted] == ["1", "4", "CT"]


def test_get(run: Tool, stored: Any, tmp_path: Path) -> None:
    """getscu gets all instances from each archive, equal in every element."""
    (tmp_path / "in").mkdir()
    run("getscu", stored, "-S", "-od", str(tmp_path / "in"), *keys("SERIES", made()))
    assert elements(tmp_path / "in") == elements(made().save(tmp_path / "sent"))


def test_move(run: Tool, stored: Any, tmp_path: Path) -> None:
    """movescu lets each archive send to itself."""
    title, port = next(iter(stored.destinations.items()))
    options = ["-S", "-aet", title, "-aem", title, "+P", str(port), "-od", str(tmp_path)]
    run("movescu", stored, *options, *keys("SERIES", made()))
    got = {str(dcmread(path).SOPInstanceUID) for path in tmp_path.iterdir()}
    assert got == {str(dataset.SOPInstanceUID) for dataset in made().datasets()}


def test_move_to_nobody(run: Tool, stored: Any) -> None:
    """A destination that is not known is refused by each."""
    done = run("movescu", stored, "-S", "-aem", "NOBODY", *keys("SERIES", made()), ok=False)
    assert "Failed: MoveDestinationUnknown" in done.stdout + done.stderr or done.returncode


def test_storescp_over_tls(
    run: Tool, storescp_tls: Any, tmp_path: Path, archive: DicomArchive
) -> None:
    """C-MOVE of the embedded archive to a real storescp behind TLS."""
    archive.add(made().files().values())
    context = storescp_tls.ssl_context()
    archive.add_destination("TLS", "127.0.0.1", storescp_tls.port, context)
    run("movescu", archive, "-S", "-aem", "TLS", *keys("SERIES", made()))
    got = bodies(storescp_tls.folder / "in")  # other tests have sent there too
    assert got.items() >= {uid: data for uid, (_, data) in archive.datasets().items()}.items()


def test_variants(run: Tool, dcmqrscp_without_get: Any, dcmqrscp_patient_root: Any) -> None:
    """The fixtures do what they say: no C-GET here, no study root there."""
    wanted = keys("SERIES", made())
    refused = run("getscu", dcmqrscp_without_get, "-S", *wanted, ok=False)
    assert "No adequate Presentation Contexts" in refused.stdout + refused.stderr
    refused = run("findscu", dcmqrscp_patient_root, "-S", *wanted, ok=False)
    assert refused.returncode != 0
