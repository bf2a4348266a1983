"""The XNAT stand-in: files out and in; zipfile and tarfile are the oracles."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from seriesio.testing import XnatFaults, XnatServer

from .asking import asking

SCANS = "/data/projects/P/subjects/S/experiments/E/scans"
RESOURCE = f"{SCANS}/4/resources/DICOM"
FILES = {"a.dcm": b"one" * 1000, "sub/b.dcm": bytes(5000), "ä.txt": b"", "4/x": b"x"}


@pytest.fixture
def server() -> XnatServer:
    made = XnatServer()
    made.add_scan("P", "S", "E", "4", FILES, type="T1 (fast)")
    return made


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


class Pipe(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += data
        return len(data)


# --- downloads ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "method"), [("", 0), ("&compression=8", 8)])
async def test_zips_hold_what_was_put_in(server: XnatServer, query: str, method: int) -> None:
    """Stored with sizes up front, or deflated with data descriptors; names with type and id."""
    async with asking(server) as client:
        answer = await client.get(f"{SCANS}/4/files?format=zip{query}")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        found = {one.filename: archive.read(one) for one in archive.infolist()}
        kinds = {(one.compress_type, one.flag_bits & 8) for one in archive.infolist()}
        for one in archive.infolist():
            local = struct.unpack_from("<LLL", answer.content, one.header_offset + 14)
            assert local == ((0, 0, 0) if method else (one.CRC, one.file_size, one.file_size))
    base = "E/scans/4-T1__fast_/resources/DICOM/files"
    names = {name: name.replace("4/", "4-T1__fast_/") for name in FILES}
    assert found == {f"{base}/{names[name]}": data for name, data in FILES.items()}
    assert kinds == {(method, method and 8)}
    assert answer.headers["content-disposition"] == 'attachment; filename="E.zip"'
    assert "content-length" not in answer.headers


async def test_a_site_can_deflate_by_default(server: XnatServer) -> None:
    """zipCompressionMethod 8 holds, unless compression=0 is asked for."""
    made = XnatServer(deflate=True)
    made.add_scan("P", "S", "E", "4", FILES)
    kinds = []
    async with asking(made) as client:
        for query in ("", "&compression=0"):
            answer = await client.get(f"{SCANS}/ALL/files?format=zip{query}")
            with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
                kinds.append({one.compress_type for one in archive.infolist()})
                assert archive.namelist()[0].startswith("E/scans/4/resources/DICOM/files/")
    assert kinds == [{8}, {0}]


async def test_nothing_to_pack_is_404(server: XnatServer) -> None:
    """Neither an empty zip, nor the subject's: a scan that is not there has no zip."""
    async with asking(server) as client:
        assert (await client.get(f"{SCANS}/99/files?format=zip")).status_code == 404
        (await client.put(f"{SCANS}/4/resources/NEW")).raise_for_status()
        answer = await client.get(f"{SCANS}/4/resources/NEW/files?format=zip")
    assert answer.status_code == 404


async def test_one_file_has_its_length_and_no_ranges(server: XnatServer) -> None:
    """Content-Length, Last-Modified; a Range is ignored; HEAD says the length too."""
    async with asking(server) as client:
        answer = await client.get(f"{RESOURCE}/files/a.dcm", headers={"Range": "bytes=5-9"})
        head = await client.head(f"{RESOURCE}/files/a.dcm")
    assert (answer.status_code, answer.content) == (200, FILES["a.dcm"])
    assert answer.headers["content-length"] == head.headers["content-length"] == "3000"
    assert answer.headers["content-type"].startswith("application/octet-stream")
    assert answer.headers["cache-control"] == "must-revalidate"
    assert head.content == b""


async def test_folders_need_a_slash(server: XnatServer) -> None:
    """files/sub/ lists what is in it; files/sub is 404; names are decoded."""
    async with asking(server) as client:
        listed = (await client.get(f"{RESOURCE}/files/sub/?format=json")).json()
        assert [row["Name"] for row in listed["ResultSet"]["Result"]] == ["b.dcm"]
        assert (await client.get(f"{RESOURCE}/files/sub")).status_code == 404
        assert (await client.get(f"{RESOURCE}/files/%C3%A4.txt")).status_code == 200


async def test_zips_can_be_cut_short_or_blown_up(server: XnatServer) -> None:
    """A zip without its end, ended as if all were well; members longer than the catalogue says."""
    async with asking(server) as client:
        whole = (await client.get(f"{SCANS}/4/files?format=zip")).content
        server.faults = XnatFaults(truncate_zip=100)
        assert (await client.get(f"{SCANS}/4/files?format=zip")).content == whole[:-100]
        server.faults = XnatFaults(zip_bomb=1 << 20)
        blown = (await client.get(f"{SCANS}/4/files?format=zip&compression=8")).content
    with zipfile.ZipFile(io.BytesIO(blown)) as archive:
        assert archive.testzip() is None
        assert {one.file_size - (1 << 20) for one in archive.infolist()} == {3000, 5000, 0, 1}
    assert len(blown) < 1 << 14


# --- uploads --------------------------------------------------------------------------------------


async def test_a_file_in_the_body_is_stored_and_makes_the_resource(server: XnatServer) -> None:
    """inbody=true: 200, empty body; it is read back byte for byte, with format and content."""
    async with asking(server) as client:
        path = f"{SCANS}/4/resources/NEW/files/d/e.dcm"
        answer = await client.put(
            path, params={"inbody": "true", "format": "DICOM", "content": "RAW"}, content=b"new"
        )
        assert (answer.status_code, answer.content) == (200, b"")
        assert (await client.get(path)).content == b"new"
        (row,) = (await client.get(f"{SCANS}/4/resources/NEW/files?format=json")).json()[
            "ResultSet"
        ]["Result"]
    assert (row["file_format"], row["file_content"], row["Size"]) == ("DICOM", "RAW", "3")
    assert server.files("P", "E", "4", "NEW") == {"d/e.dcm": b"new"}


async def test_a_file_that_is_there_stays_unless_overwritten(server: XnatServer) -> None:
    """200 with its name under duplicates, and the old bytes; overwrite=true replaces it."""
    async with asking(server) as client:
        path = f"{RESOURCE}/files/a.dcm?inbody=true"
        answer = await client.put(path, content=b"new")
        assert (answer.status_code, answer.json()) == (200, {"duplicates": ["a.dcm"]})
        assert answer.headers["content-type"].startswith("text/html")
        assert server.files("P", "E", "4")["a.dcm"] == FILES["a.dcm"]
        assert (await client.put(f"{path}&overwrite=true", content=b"new")).content == b""
    assert server.files("P", "E", "4")["a.dcm"] == b"new"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/octet-stream", 200),
        ("application/dicom", 200),
        ("text/plain", 200),
        ("image/x-strange", 400),
        ("application/x-www-form-urlencoded", 400),
    ],
)
async def test_without_inbody_the_media_type_has_to_be_known(
    server: XnatServer, kind: str, status: int
) -> None:
    """A body of another type is no file: 400."""
    async with asking(server) as client:
        answer = await client.put(
            f"{RESOURCE}/files/n", content=b"new", headers={"Content-Type": kind}
        )
    assert answer.status_code == status
    assert ("n" in server.files("P", "E", "4")) == (status == 200)


async def test_a_form_brings_a_file_and_the_url_names_it(server: XnatServer) -> None:
    """multipart/form-data: httpx writes it; the URL's name wins over the form's."""
    form = {"file": ("own.dcm", b"a\r\n--b\r\n", "application/dicom")}
    async with asking(server) as client:
        await client.put(f"{RESOURCE}/files/named.dcm", files=form)
        await client.post(f"{RESOURCE}/files", files=form)
    held = server.files("P", "E", "4")
    assert held["named.dcm"] == held["own.dcm"] == b"a\r\n--b\r\n"


async def test_a_body_without_its_length_is_500(server: XnatServer) -> None:
    """In chunks or empty: refused, unless it is said to be a zip."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"new"

    async with asking(server) as client:
        path = f"{RESOURCE}/files/n?inbody=true"
        assert (await client.put(path, content=chunks())).status_code == 500
        assert (await client.put(path, content=b"")).status_code == 500
        kind = {"Content-Type": "application/zip"}
        assert (await client.put(path, content=chunks(), headers=kind)).status_code == 200


async def test_who_may_not_edit_is_told_200(server: XnatServer) -> None:
    """A collaborator's upload: 200, an empty body, and nothing stored."""
    server.add_user("ann", "ann", roles={"P": "collaborator"})
    async with asking(server, "ann") as client:
        answer = await client.put(f"{RESOURCE}/files/n?inbody=true", content=b"new")
        assert (answer.status_code, answer.content) == (200, b"")
        assert (await client.put(f"{SCANS}/5?xsiType=xnat:mrScanData")).status_code == 403
        assert (await client.put(f"{SCANS}/4/resources/NEW")).status_code == 403
        assert (await client.delete(f"{SCANS}/4")).status_code == 403
    assert server.files("P", "E", "4") == FILES


@pytest.mark.parametrize("name", ["up.zip", "up.tar", "up.tar.gz", "up.tgz"])
async def test_archives_are_unpacked(server: XnatServer, name: str) -> None:
    """extract=true, by the ending of the name; what is there already is reported."""
    files = {"new/n.dcm": b"new", "a.dcm": b"other"}
    stream = io.BytesIO()
    if name.endswith(".zip"):
        stream.write(zipped(files))
    else:
        with tarfile.open(fileobj=stream, mode="w:" if name.endswith("tar") else "w:gz") as tar:
            for path, data in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    async with asking(server) as client:
        answer = await client.put(
            f"{RESOURCE}/files/{name}?inbody=true&extract=true", content=stream.getvalue()
        )
    assert answer.json() == {"duplicates": ["a.dcm"]}
    assert server.files("P", "E", "4") == {**FILES, "new/n.dcm": b"new"}


async def test_what_java_cannot_read_is_500(server: XnatServer) -> None:
    """Stored members with data descriptors: what zipfile writes where it cannot seek."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("n.dcm", b"new")
    async with asking(server) as client:
        path = f"{RESOURCE}/files/up.zip?inbody=true&extract=true"
        assert (await client.put(path, content=bytes(pipe.data))).status_code == 500
        for bad in (b"no zip", zipped({"n": b"x"})[:-30], zipped({"../n": b"x"})):
            assert (await client.put(path, content=bad)).status_code == 500
    assert server.files("P", "E", "4") == FILES


async def test_uploads_have_a_limit() -> None:
    """More than the limit is 413, in the body or unpacked from it."""
    server = XnatServer(upload_limit=1000)
    server.add_experiment("P", "S", "E")
    async with asking(server) as client:
        await client.put(f"{SCANS}/4?xsiType=xnat:mrScanData")
        path = f"{RESOURCE}/files/up.zip?inbody=true&extract=true"
        assert (await client.put(path, content=bytes(1001))).status_code == 413
        assert (await client.put(path, content=zipped({"n": bytes(1001)}))).status_code == 413
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w:gz") as archive:
            member = tarfile.TarInfo("n")
            member.size = 100_000
            archive.addfile(member, io.BytesIO(bytes(100_000)))
        tgz = path.replace(".zip", ".tgz")
        assert (await client.put(tgz, content=tar.getvalue())).status_code == 413


async def test_uploads_can_be_ignored(server: XnatServer) -> None:
    """The fault answers 200 and stores nothing, deletes nothing."""
    server.faults = XnatFaults(ignore_writes=True)
    async with asking(server) as client:
        answer = await client.put(f"{RESOURCE}/files/n?inbody=true", content=b"new")
        assert (answer.status_code, answer.content) == (200, b"")
        assert (await client.delete(f"{SCANS}/4")).status_code == 200
    assert server.files("P", "E", "4") == FILES


# --- a directory ----------------------------------------------------------------------------------


async def test_a_directory_is_served_and_written(tmp_path: Path) -> None:
    """Files below it are held; what is stored is written there; what is deleted is gone."""
    held = tmp_path / "P/S/E/4/DICOM/sub"
    held.mkdir(parents=True)
    (held / "a.dcm").write_bytes(b"one")
    (tmp_path / "P/stray").write_bytes(b"")
    server = XnatServer(tmp_path)
    assert server.files("P", "E", "4") == {"sub/a.dcm": b"one"}
    async with asking(server) as client:
        assert (await client.get(f"{RESOURCE}/files/sub/a.dcm")).content == b"one"
        await client.put(f"{RESOURCE}/files/n?inbody=true", content=b"new")
        assert (tmp_path / "P/S/E/4/DICOM/n").read_bytes() == b"new"
        assert (await client.put(f"{RESOURCE}/files/b%3Ad?inbody=true", content=b"x")).is_error
        await client.delete(f"{RESOURCE}/files/n")
        assert not (tmp_path / "P/S/E/4/DICOM/n").exists()
        await client.delete(f"{SCANS}/4?removeFiles=true")
    assert not (tmp_path / "P/S/E/4/DICOM").exists()
    with pytest.raises(ValueError, match="cannot be stored"):
        server.add_scan("P", "S", "E", "5", {"../../x": b""})
