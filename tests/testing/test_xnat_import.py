"""The XNAT stand-in: the import service and the prearchive, fed with phantoms."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections.abc import Iterable
from functools import cache

import pytest

from seriesio.testing import Phantom, XnatServer, phantom

from .asking import asking

IMPORT = "/data/services/import"
DEST = {"dest": "/archive/projects/P/subjects/S/experiments/E"}
ZIP = {"Content-Type": "application/zip"}


@cache
def made(seed: int = 0) -> Phantom:
    return phantom((3, 8, 8), seed=seed)


@pytest.fixture
def server() -> XnatServer:
    """A project without subjects."""
    empty = XnatServer()
    empty.add_project("P")
    return empty


def zipped(files: Iterable[bytes], extra: str = "") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(files):
            archive.writestr(f"d/{number}.dcm", data)
        if extra:
            archive.writestr(extra, b"no DICOM")
    return stream.getvalue()


def series() -> bytes:
    return zipped(made().files().values())


async def test_a_destination_in_the_archive_archives(server: XnatServer) -> None:
    """The answer is the session's path and CRLF; scan and fields are what pydicom reads."""
    first = made().datasets()[0]
    async with asking(server) as client:
        answer = await client.post(IMPORT, params=DEST, content=series(), headers=ZIP)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/uri-list")
        assert answer.text == "/data/archive/projects/P/subjects/S/experiments/E\r\n"
        (item,) = (await client.get(f"{answer.text.strip()}?format=json")).json()["items"]
    number = str(first.SeriesNumber)
    assert server.scans("P", "E")[number]["UID"] == first.SeriesInstanceUID
    assert server.scans("P", "E")[number]["series_description"] == first.SeriesDescription
    assert item["data_fields"]["UID"] == first.StudyInstanceUID
    assert sorted(server.files("P", "E", number).values()) == sorted(made().files().values())
    assert server.prearchive == ()


@pytest.mark.parametrize(
    "query",
    [
        {"dest": "/prearchive/projects/P"},
        {"project": "P", "subject": "S", "session": "E"},
        {"dest": "/archive/projects/P", "subject": "S", "session": "E"},
    ],
)
async def test_without_a_whole_destination_it_waits(
    server: XnatServer, query: dict[str, str]
) -> None:
    """Anything less than project, subject and session in dest ends in the prearchive."""
    async with asking(server) as client:
        answer = await client.post(IMPORT, params=query, content=series(), headers=ZIP)
        path = answer.text.strip()
        assert re.fullmatch(r"/data/prearchive/projects/P/\d{8}_\d{9}/\w+", path)
        (row,) = (await client.get("/data/prearchive/projects?format=json")).json()["ResultSet"][
            "Result"
        ]
    assert server.prearchive == (path.removeprefix("/data"),) == (row["url"],)
    assert (row["status"], row["project"]) == ("READY", "P")
    assert server.scans("P", "E") == {}


async def test_the_prearchive_is_listed_read_and_archived(server: XnatServer) -> None:
    """Scans, resources, files, a zip; then action=commit moves it into the archive."""
    files = sorted(made().files().values())
    async with asking(server) as client:
        query = {"project": "P", "subject": "S", "session": "E"}
        path = (await client.post(IMPORT, params=query, content=series(), headers=ZIP)).text.strip()

        async def rows(below: str = "") -> list[dict[str, str]]:
            found = (await client.get(f"{path}{below}?format=json")).json()["ResultSet"]["Result"]
            return list(found)

        (session,) = await rows()
        (scan,) = await rows("/scans")
        (resource,) = await rows(f"/scans/{scan['ID']}/resources")
        listed = await rows(f"/scans/{scan['ID']}/resources/DICOM/files")
        got = [(await client.get(row["URI"])).content for row in listed]
        packed = (await client.get(f"{path}?format=zip")).content
        assert (await client.get(f"{path}/scans/99/resources")).status_code == 404
        assert (await client.post(f"{path}?action=nothing")).status_code == 400
        answer = await client.post(f"{path}?action=commit")
    assert (session["name"], session["subject"]) == ("E", "S")
    assert (resource["label"], resource["file_count"]) == ("DICOM", "3")
    assert sorted(got) == files
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert sorted(archive.read(one) for one in archive.infolist()) == files
    assert answer.text == "/data/archive/projects/P/subjects/S/experiments/E\r\n"
    assert sorted(server.files("P", "E", scan["ID"]).values()) == files
    assert server.prearchive == ()


@pytest.mark.parametrize("verb", ["archive", "prearchive/delete", "prearchive/move"])
async def test_services_act_on_a_session_of_the_prearchive(server: XnatServer, verb: str) -> None:
    """src= names it, with or without /data; a name that is not there is 404."""
    server.add_project("Q")
    async with asking(server) as client:
        query = {"project": "P", "session": "E"}
        path = (await client.post(IMPORT, params=query, content=series(), headers=ZIP)).text.strip()
        source = {"src": path, "newProject": "Q"}
        answer = await client.post(f"/data/services/{verb}", params=source)
        assert answer.status_code == 200
        assert (await client.post(f"/data/services/{verb}", params=source)).status_code == 404
    waiting = 1 if verb.endswith("move") else 0
    assert len(server.prearchive) == waiting
    assert bool(server.scans("P", "E")) == (verb == "archive")


@pytest.mark.parametrize("handler", ["SI", "DICOM-zip"])
@pytest.mark.parametrize(
    ("more", "fine"),
    [
        ({}, False),
        ({"overwrite": "none"}, False),
        ({"overwrite": "append"}, False),
        ({"overwrite": "append", "overwrite_files": "true"}, True),
        ({"overwrite": "delete"}, True),
    ],
)
async def test_an_existing_session_is_a_conflict_unless_overwritten(
    server: XnatServer, handler: str, more: dict[str, str], fine: bool
) -> None:
    """SI says 409, the importer of DICOM zips 400 for all, and leaves it in the prearchive."""
    query = {**DEST, "import-handler": handler, **more}
    async with asking(server) as client:
        await client.post(IMPORT, params=DEST, content=series(), headers=ZIP)
        answer = await client.post(IMPORT, params=query, content=series(), headers=ZIP)
    refused = (409, 1) if handler == "SI" else (400, 1)
    assert (answer.status_code, len(server.prearchive)) == ((200, 0) if fine else refused)
    if not fine and handler == "SI":
        assert "Session already exists" in answer.text
    if not fine and handler == "DICOM-zip":
        assert "unable to archive for the Prearchive session" in answer.text


async def test_append_adds_and_a_taken_number_gets_another_id(server: XnatServer) -> None:
    """Another series of the same number: NUMBER-MODALITY1 beside the first."""
    first, other = made().datasets()[0], made(1).datasets()[0]
    assert first.SeriesNumber == other.SeriesNumber
    assert first.SeriesInstanceUID != other.SeriesInstanceUID
    async with asking(server) as client:
        await client.post(IMPORT, params=DEST, content=series(), headers=ZIP)
        query = {**DEST, "overwrite": "append"}
        data = zipped(made(1).files().values())
        answer = await client.post(IMPORT, params=query, content=data, headers=ZIP)
    assert answer.status_code == 200
    number, modality = first.SeriesNumber, first.Modality
    scans = {name: fields["UID"] for name, fields in server.scans("P", "E").items()}
    assert scans == {
        str(number): first.SeriesInstanceUID,
        f"{number}-{modality}1": other.SeriesInstanceUID,
    }


async def test_what_is_no_dicom_is_400_and_what_came_before_stays(server: XnatServer) -> None:
    """A text file in the zip refuses it, unless Ignore-Unparsable=true."""
    data = zipped(made().files().values(), extra="readme.txt")
    async with asking(server) as client:
        answer = await client.post(IMPORT, params=DEST, content=data, headers=ZIP)
        assert (answer.status_code, len(server.prearchive)) == (400, 1)
        assert server.scans("P", "E") == {}
        query = {**DEST, "Ignore-Unparsable": "true"}
        assert (
            await client.post(IMPORT, params=query, content=data, headers=ZIP)
        ).status_code == 200
        empty = await client.post(IMPORT, params=DEST, content=zipped([]), headers=ZIP)
    assert empty.status_code == 400
    assert len(server.scans("P", "E")) == 1


async def test_the_archives_kind_comes_from_its_type_or_its_name(server: XnatServer) -> None:
    """tar by its media type, zip by the name in a form; octet-stream is 400."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in made().files().items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    async with asking(server) as client:
        plain = {"Content-Type": "application/octet-stream"}
        refused = await client.post(IMPORT, params=DEST, content=series(), headers=plain)
        assert (refused.status_code, "Unsupported format" in refused.text) == (400, True)
        kind = {"Content-Type": "application/x-tar"}
        tarred = await client.post(IMPORT, params=DEST, content=stream.getvalue(), headers=kind)
        form = {"image_archive": ("up.zip", series(), "application/octet-stream")}
        formed = await client.post(IMPORT, params={**DEST, "overwrite": "delete"}, files=form)
    assert (tarred.status_code, formed.status_code) == (200, 200)


async def test_who_may_not_edit_may_not_import(server: XnatServer) -> None:
    """403 for a collaborator, 404 for a project that is not there; others do not see the rest."""
    server.add_user("ann", "ann", roles={"P": "collaborator"})
    async with asking(server, "ann") as client, asking(server) as admin:
        answer = await client.post(IMPORT, params=DEST, content=series(), headers=ZIP)
        missing = await client.post(IMPORT, params={"project": "Q"}, content=series(), headers=ZIP)
        query = {"project": "P", "session": "E"}
        path = (await admin.post(IMPORT, params=query, content=series(), headers=ZIP)).text.strip()
        hidden = await client.get(path)
        gone = await admin.delete(path)
    assert [one.status_code for one in (answer, missing, hidden, gone)] == [403, 404, 404, 200]
    assert server.prearchive == ()
