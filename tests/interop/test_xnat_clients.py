"""The XNAT stand-in before real clients, xnatpy and pyxnat: they list, download and upload.

And ours beside them: what one of them writes, the others read, byte for byte.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seriesio import Client, Series
from seriesio.testing import Phantom, XnatServer, phantom

pytestmark = pytest.mark.interop

SESSION = ("P", "S", "E")


def package(name: str) -> Any:
    """A package; skips, or fails where all have to be there, if it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own old habits
            return import_module(name)
    except ImportError:
        if os.environ.get("SERIESIO_REQUIRE_SERVERS") == "1":
            pytest.fail(f"{name} is not installed (SERIESIO_REQUIRE_SERVERS=1 asks for it)")
        pytest.skip(f"{name} is not installed")


@cache
def made() -> Phantom:
    return phantom((4, 16, 12))


def contents() -> list[bytes]:
    return sorted(made().files().values())


@pytest.fixture
def server() -> XnatServer:
    """One session with one scan, a session-level resource, and a second project."""
    filled = XnatServer()
    filled.add_project("P", name="First")
    filled.add_project("Q", name="Second")
    filled.add_scan(*SESSION, "4", made().files().values(), type="T1 fast", quality="usable")
    return filled


@pytest.fixture
def url(server: XnatServer) -> Iterator[str]:
    """Where the stand-in listens."""
    package("uvicorn")
    with server.serve() as address:
        yield address


@contextmanager
def by_xnatpy(url: str, **how: Any) -> Iterator[Any]:
    """A connection of xnatpy, model and all."""
    xnat = package("xnat")
    how = {"user": "admin", "password": "admin", **how}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with xnat.connect(url, loglevel="ERROR", **how) as connection:
            yield connection


@contextmanager
def by_pyxnat(url: str) -> Iterator[Any]:
    """An interface of pyxnat; its files are left to the garbage collector."""
    pyxnat = package("pyxnat")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pyxnat.Interface(url, user="admin", password="admin") as interface:
            yield interface


def folder_of(path: Path) -> Path:
    """A folder with the phantom's files, and one below."""
    (path / "up/below").mkdir(parents=True)
    for number, data in enumerate(contents()):
        (path / "up" / f"{number}.dcm").write_bytes(data)
    (path / "up/below/note.txt").write_text("a note")
    return path / "up"


def files_below(path: Path) -> list[bytes]:
    return sorted(one.read_bytes() for one in path.rglob("*.dcm"))


def archive_of(path: Path) -> Path:
    with zipfile.ZipFile(path / "series.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(contents()):
            archive.writestr(f"{number}.dcm", data)
    return path / "series.zip"


# --- xnatpy ---------------------------------------------------------------------------------------


def test_xnatpy_logs_in_builds_its_model_and_leaves(server: XnatServer, url: str) -> None:
    """One session by the form, the version, the time-out; none is left when it has gone."""
    with by_xnatpy(url) as connection:
        assert connection.xnat_version == "1.8.10"
        assert connection.logged_in_user == "admin"
        assert connection.session_expiration_time[1] == 900
        assert server.open_sessions == 1
    assert server.open_sessions == 0


def test_xnatpy_is_refused_with_a_wrong_password(url: str) -> None:
    """A login that failed is an error of its own there."""
    xnat = package("xnat")
    with pytest.raises(xnat.exceptions.XNATLoginFailedError), by_xnatpy(url, password="no"):
        pass


def test_xnatpy_logs_in_with_an_alias_token(server: XnatServer, url: str) -> None:
    """An alias and its secret serve as user and password."""
    alias, secret = server.issue_token("admin")
    with by_xnatpy(url, user=alias, password=secret, no_parse_model=True) as connection:
        assert connection.logged_in_user == "admin"


def test_xnatpy_works_below_a_context_path() -> None:
    """Behind /xnat the same holds."""
    package("uvicorn")
    server = XnatServer(context="/xnat")
    server.add_project("P")
    with server.serve() as url, by_xnatpy(url) as connection:
        assert list(connection.projects.keys()) == ["P"]


def test_xnatpy_lists_what_there_is(server: XnatServer, url: str) -> None:
    """Projects, subjects, experiments, scans, resources and files, with their attributes."""
    first = made().datasets()[0]
    with by_xnatpy(url) as connection:
        assert sorted(connection.projects.keys()) == ["P", "Q"]
        project = connection.projects["First"]
        experiment = project.subjects["S"].experiments["E"]
        assert experiment.id == server.accession("P", "E")
        assert (experiment.label, experiment.project) == ("E", "P")
        scan = experiment.scans["4"]
        assert (scan.type, scan.quality, scan.frames) == ("T1 fast", "usable", 4)
        assert (scan.modality, scan.uid) == (first.Modality, first.SeriesInstanceUID)
        resource = scan.resources["DICOM"]
        assert (resource.file_count, resource.format) == (4, "DICOM")
        assert resource.file_size == sum(map(len, contents()))
        sizes = sorted(int(file.size) for file in resource.files.values())
        assert sizes == sorted(map(len, contents()))
        assert len(scan.files) == 4
        assert scan.read_dicom().SeriesInstanceUID == first.SeriesInstanceUID


def test_xnatpy_downloads_byte_for_byte(url: str, tmp_path: Path) -> None:
    """A scan and a session as zips that it unpacks; a file checked against its digest."""
    with by_xnatpy(url) as connection:
        experiment = connection.projects["P"].experiments["E"]
        (tmp_path / "scan").mkdir()
        experiment.scans["4"].download_dir(tmp_path / "scan", verbose=False)
        experiment.download_dir(tmp_path / "session", verbose=False)
        experiment.scans["4"].resources["DICOM"].download_dir(tmp_path / "resource", verbose=False)
        file = next(iter(experiment.scans["4"].resources["DICOM"].files.values()))
        assert file.verify_digest()
        file.download(str(tmp_path / "one"), verbose=False)
    for folder in ("scan", "session", "resource"):
        assert files_below(tmp_path / folder) == contents()
    assert (tmp_path / "scan/E/scans/4-T1_fast/resources/DICOM/files").is_dir()
    assert (tmp_path / "one").read_bytes() in contents()


@pytest.mark.parametrize("method", ["per_file", "tar_memory", "tgz_file"])
def test_xnatpy_makes_a_scan_and_uploads_it(
    server: XnatServer, url: str, tmp_path: Path, method: str
) -> None:
    """A subject, a session, a scan, a resource, and a folder in three ways: the bytes are there."""
    with by_xnatpy(url) as connection:
        project = connection.projects["P"]
        subject = connection.classes.SubjectData(parent=project, label="S2")
        session = connection.classes.MrSessionData(parent=subject, label="E2")
        about = {"type": "T2", "series_description": "a description"}
        scan = connection.classes.MrScanData(parent=session, id="7", **about)
        resource = scan.create_resource("DICOM", format="DICOM")
        resource.upload_dir(folder_of(tmp_path), method=method)
        assert resource.files["below/note.txt"].data["Size"] == "6"
        scan.quality = "questionable"
    held = server.files("P", "E2", "7")
    assert held.pop("below/note.txt") == b"a note"
    assert sorted(held.values()) == contents()
    fields = server.scans("P", "E2")["7"]
    assert (fields["type"], fields["quality"]) == ("T2", "questionable")
    assert (fields["series_description"], fields["xsiType"]) == (
        *("a description", "xnat:mrScanData"),
    )


def test_xnatpy_uploads_a_zip_that_is_extracted(
    server: XnatServer, url: str, tmp_path: Path
) -> None:
    """extract=True; a second time without overwrite changes nothing, and raises nothing."""
    with by_xnatpy(url) as connection:
        scan = connection.projects["P"].experiments["E"].scans["4"]
        resource = scan.create_resource("NEW")
        for _ in range(2):
            resource.upload(archive_of(tmp_path), extract=True)
        resource.upload_data(b"hello", "a/b.txt")
        resource.upload_data(b"other", "a/b.txt", overwrite=True)
        with resource.files["a/b.txt"].open() as stream:
            assert stream.read() == b"other"
    held = server.files("P", "E", "4", "NEW")
    assert held.pop("a/b.txt") == b"other"
    assert sorted(held.values()) == contents()


def test_xnatpy_imports_and_archives(server: XnatServer, url: str, tmp_path: Path) -> None:
    """Straight into the archive; and by way of the prearchive, which it lists and archives."""
    number = str(made().datasets()[0].SeriesNumber)
    with by_xnatpy(url) as connection:
        archive = archive_of(tmp_path)
        where = "/archive/projects/P/subjects/N/experiments/N1"
        assert connection.services.import_(archive, destination=where).label == "N1"
        waiting = connection.services.import_(archive, project="P", subject="N", experiment="N2")
        assert waiting.status == "READY"
        assert [one.label for one in connection.prearchive.sessions()] == ["N2"]
        assert sorted(file.size for file in waiting.scans[number].files.values()) == sorted(
            map(len, contents())
        )
        waiting.download(str(tmp_path / "waiting.zip"))
        assert waiting.archive().label == "N2"
        assert connection.prearchive.sessions() == []
        with pytest.raises(package("xnat").exceptions.XNATUploadError):
            connection.services.import_(archive, destination=where)
    for label in ("N1", "N2"):
        assert sorted(server.files("P", label, number).values()) == contents()
    with zipfile.ZipFile(io.BytesIO((tmp_path / "waiting.zip").read_bytes())) as packed:
        assert sorted(packed.read(one) for one in packed.infolist()) == contents()


def test_xnatpy_shares_and_deletes(server: XnatServer, url: str) -> None:
    """A session shared into another project; a file, a resource, a scan deleted."""
    with by_xnatpy(url) as connection:
        experiment = connection.projects["P"].experiments["E"]
        experiment.share("Q", label="E-in-Q")
        assert list(connection.projects["Q"].experiments.key_map) == ["E-in-Q"]
        resource = experiment.scans["4"].resources["DICOM"]
        next(iter(resource.files.values())).delete()
        assert len(server.files("P", "E", "4")) == 3
        resource.delete()
        assert server.files("P", "E", "4") == {}
        experiment.scans["4"].delete()
    assert server.scans("P", "E") == {}


# --- imagedata, on xnatpy -------------------------------------------------------------------------

BY_IMAGEDATA = """
import sys, warnings
warnings.simplefilter("ignore")
from imagedata import Series
series = Series(sys.argv[1])
print("read", series.shape, int(series.astype("int64").sum()))
series.seriesNumber = 99
series.write(sys.argv[2], formats=["dicom"])
"""


def test_imagedata_reads_and_its_writing_waits_in_the_prearchive(
    server: XnatServer, tool: Callable[[str], str], tmp_path: Path
) -> None:
    """It reads the volume by https; what it writes, by project=, subject=, session=, waits."""
    if find_spec("imagedata") is None:  # it brings a gigabyte along: the bench extra has it
        pytest.skip("imagedata is not installed")
    key, cert, netrc = (tmp_path / name for name in ("key.pem", "cert.pem", "netrc"))
    command = [tool("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", str(key), "-out", str(cert)]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    bundles = dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), str(cert))
    with server.serve(certificate=(cert, key)) as url:
        host = url.removeprefix("https://")
        netrc.write_text(f"machine {host} login admin password admin\n")
        netrc.chmod(0o600)
        above = f"xnat://{host}/P/S/E"
        script = [sys.executable, "-c", BY_IMAGEDATA, f"{above}/phantom", above]
        environment = {**os.environ, **bundles, "NETRC": str(netrc)}
        done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=100)
    total = sum(int(one.pixel_array.astype("int64").sum()) for one in made().datasets())
    assert f"read (4, 16, 12) {total}" in done.stdout, done.stdout + done.stderr
    (waiting,) = server.prearchive
    assert waiting.startswith("/prearchive/projects/P/")
    assert list(server.scans("P", "E")) == ["4"]


# --- pyxnat ---------------------------------------------------------------------------------------


def test_pyxnat_lists_what_there_is(server: XnatServer, url: str) -> None:
    """It reads CSV: ids, labels, types, counts, sizes, formats; with one session for all."""
    first = made().datasets()[0]
    with by_pyxnat(url) as interface:
        assert interface.version()["version"] == "1.8.10"
        assert sorted(interface.select.projects().get()) == ["P", "Q"]
        experiment = interface.select.project("P").subject("S").experiment("E")
        assert experiment.id() == server.accession("P", "E")
        assert experiment.datatype() == f"xnat:{first.Modality.lower()}SessionData"
        assert experiment.scans().get() == ["4"]
        assert experiment.scan("4").attrs.get("type") == "T1 fast"
        assert not experiment.scan("5").exists()
        resource = experiment.scan("4").resource("DICOM")
        assert resource.label() == "DICOM"
        names = resource.files().get()
        assert sorted(names) == sorted(server.files("P", "E", "4"))
        file = resource.file(names[0])
        assert int(file.size()) == len(server.files("P", "E", "4")[names[0]])
        assert file.format() == "DICOM"
    assert {one.session for one in server.requests} == {1}
    assert server.open_sessions == 0


def test_pyxnat_downloads_byte_for_byte(url: str, tmp_path: Path) -> None:
    """A resource, all scans as a zip, one file."""
    with by_pyxnat(url) as interface:
        experiment = interface.select.project("P").subject("S").experiment("E")
        resource = experiment.scan("4").resource("DICOM")
        resource.get(str(tmp_path), extract=True)
        packed = experiment.scans().download(str(tmp_path), type="ALL")
        one = resource.file(resource.files().get()[0]).get(str(tmp_path / "one"))
    assert files_below(tmp_path / "DICOM") == contents()
    with zipfile.ZipFile(packed) as archive:
        assert sorted(archive.read(name) for name in archive.namelist()) == contents()
    assert Path(one).read_bytes() in contents()


def test_pyxnat_makes_uploads_and_deletes(server: XnatServer, url: str, tmp_path: Path) -> None:
    """A scan with all above it, single files, a zip that is extracted; attributes; deleting."""
    folder = folder_of(tmp_path)
    with by_pyxnat(url) as interface:
        scan = interface.select.project("P").subject("S2").experiment("E2").scan("9")
        scan.create(experiments="xnat:ctSessionData", scans="xnat:ctScanData")
        scan.attrs.set("type", "T2")
        assert scan.attrs.get("type") == "T2"
        for path in sorted(folder.glob("*.dcm")):
            scan.resource("DICOM").file(path.name).put(str(path), format="DICOM", content="RAW")
        paths = [str(path) for path in folder.glob("*.dcm")]
        scan.resource("MANY").put(paths, extract=True)
        scan.resource("DICOM").file("0.dcm").delete()
        held = server.files("P", "E2", "9"), server.files("P", "E2", "9", "MANY")
        assert server.scans("P", "E2")["9"] == {"xsiType": "xnat:ctScanData", "type": "T2"}
        scan.delete()
    assert sorted(held[0]) == ["1.dcm", "2.dcm", "3.dcm"]
    assert sorted(held[1].values()) == contents()
    assert server.scans("P", "E2") == {}


# --- all of them ----------------------------------------------------------------------------------

OURS: dict[str, Any] = {"auth": ("admin", "admin")}


def ours(url: str, path: str) -> str:
    return url.replace("http", "xnat+http", 1) + path


def copied(source: str, target: str, **how: Any) -> None:
    """Ours copies, byte for byte."""

    async def run() -> None:
        async with Client() as client:
            if source.startswith("xnat"):
                await client.copy(source, target, source_options={**OURS, **how})
            else:
                await client.copy(source, target, **OURS, **how)

    asyncio.run(run())


def upload_by_xnatpy(url: str, folder: Path) -> None:
    with by_xnatpy(url) as connection:
        session = connection.projects["P"].subjects["S"].experiments["E"]
        scan = connection.classes.MrScanData(parent=session, id="5-MR1", type="T2 (fast)")
        scan.create_resource("DICOM", format="DICOM").upload_dir(folder, method="per_file")


def upload_by_pyxnat(url: str, folder: Path) -> None:
    with by_pyxnat(url) as interface:
        scan = interface.select.project("P").subject("S").experiment("E").scan("5-MR1")
        scan.create(scans="xnat:mrScanData")
        paths = [str(path) for path in sorted(folder.rglob("*.dcm"))]
        scan.resource("DICOM").put(paths, extract=True)


@pytest.mark.parametrize("upload", [upload_by_xnatpy, upload_by_pyxnat])
def test_what_others_upload_we_read(
    url: str, tmp_path: Path, upload: Callable[[str, Path], None]
) -> None:
    """By a zip and file by file the bytes are theirs; so is the volume."""
    upload(url, folder_of(tmp_path))
    for via in ("zip", "files"):
        target = tmp_path / via
        copied(ours(url, "/P/S/E/5-MR1"), target.as_uri(), via=via)
        assert files_below(target) == contents()
    where = ours(url, "/P/S/E/5-MR1")
    series = asyncio.run(Series.open(where, **OURS))
    np.testing.assert_array_equal(series.array, made().array)


@pytest.mark.parametrize("via", ["zip", "files", "import"])
def test_what_we_write_others_read(server: XnatServer, url: str, tmp_path: Path, via: str) -> None:
    """In each of our ways: both read the same bytes, and what we have said of the scan."""
    made().save(tmp_path / "made")
    project, name = "P", str(made().datasets()[0].SeriesNumber)
    copied((tmp_path / "made").as_uri(), ours(url, "/P/S/N"), via=via, create_parents=True)
    with by_xnatpy(url) as connection:
        scan = connection.projects[project].subjects["S"].experiments["N"].scans[name]
        (tmp_path / "xnatpy").mkdir()
        scan.download_dir(tmp_path / "xnatpy", verbose=False)
        assert (scan.quality, scan.frames, scan.series_description) == ("usable", 4, "phantom")
        assert scan.uid == made().series_uid
        assert all(file.verify_digest() for file in scan.resources["DICOM"].files.values())
    with by_pyxnat(url) as interface:
        scan = interface.select.project(project).subject("S").experiment("N").scan(name)
        scan.resource("DICOM").get(str(tmp_path), extract=True)
        assert scan.attrs.get("series_description") == "phantom"
        assert scan.resource("DICOM").attributes()["format"] == "DICOM"
    assert files_below(tmp_path / "xnatpy") == files_below(tmp_path / "DICOM") == contents()
