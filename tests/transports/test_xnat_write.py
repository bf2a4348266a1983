"""Scans written to the stand-in: whole, or nothing is left of them; what it holds is the oracle."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from seriesio import Client
from seriesio.blob import Blob, FileBlob, MemoryBlob
from seriesio.errors import (
    LocationError,
    NotFoundError,
    SeriesIOError,
    TargetExistsError,
    TransportError,
)
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import XnatFaults, XnatServer, phantom
from seriesio.transports.xnat import XnatTransport

from ..cancelling import WAYS, Within

AUTH = ("user", "pass word")
E = "/P/S 1/E"
Opener = Callable[..., XnatTransport]


def instance(number: int, series: int = 7, **values: Any) -> bytes:
    made = Dataset()
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    made.SOPInstanceUID = f"1.2.{series}.{number}"
    made.StudyInstanceUID = "1.3"
    made.Modality = "MR"
    made.SeriesDescription = "T1 & mprage"
    made.SeriesInstanceUID = f"1.2.{series}"
    made.SeriesNumber = series
    made.PatientID = "subject"
    for name, value in values.items():
        setattr(made, name, value)
    made.add_new((0x0009, 0x0010), "LO", "US")
    made.add_new((0x0009, 0x1001), "OB", os.urandom(1000 + 2 * number))
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = io.BytesIO()
    dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


FILES = {f"IM{n:05}.dcm": instance(n) for n in range(1, 9)}


@pytest.fixture
def server() -> XnatServer:
    made = XnatServer(users=dict([AUTH]))
    made.add_experiment("P", "S 1", "E")
    return made


@pytest.fixture
def opened(server: XnatServer) -> Iterator[Opener]:
    """``opened(path, **options)`` is a transport to the stand-in on a port."""
    with server.serve() as url:
        yield lambda path, **options: XnatTransport(
            parse_location(url.replace("http", "xnat+http", 1) + path),
            Workers(),
            **{"auth": AUTH, **options},
        )


def in_process(server: XnatServer, path: str = E, **options: Any) -> XnatTransport:
    return XnatTransport(
        parse_location("xnat://xnat.test" + path),
        Workers(),
        **{"auth": AUTH, "http": httpx.ASGITransport(server), **options},
    )


async def given(files: Mapping[str, bytes]) -> AsyncIterator[Blob]:
    for name, data in files.items():
        yield MemoryBlob(name, data)


async def raised(transport: XnatTransport, files: AsyncIterator[Blob], **more: Any) -> Exception:
    """The error that a write ends with."""
    with pytest.raises(SeriesIOError) as caught:
        await transport.write(files, **more)
    return caught.value


def traces(server: XnatServer) -> object:
    """All scans, and what is in them."""
    scans = server.scans("P", "E")
    return {name: server.files("P", "E", name) for name in scans}, server.open_sessions


# --- what is written --------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"via": "files"}, {"compression": "deflated"}])
async def test_write(server: XnatServer, opened: Opener, options: dict[str, Any]) -> None:
    """A new scan, named by the series' number, all files byte for byte; the receipt says so."""
    receipt = await opened(E, **options).write(given(FILES))
    assert server.files("P", "E", "7") == FILES
    assert receipt.url.endswith("/P/S%201/E/7")
    size = sum(map(len, FILES.values()))
    assert (receipt.names, receipt.count, receipt.size) == (tuple(FILES), 8, size)
    assert server.open_sessions == 0


async def test_what_the_catalogue_says(server: XnatServer) -> None:
    """Kind by modality; type, description, quality, frames and UID from the headers."""
    await in_process(server, note="a note").write(given(FILES))
    fields = server.scans("P", "E")["7"]
    expected = {
        "xsiType": "xnat:mrScanData",
        "type": "T1 & mprage",
        "series_description": "T1 & mprage",
        "quality": "usable",
        "frames": "8",
        "note": "a note",
        "UID": "1.2.7",
    }
    assert fields.items() >= expected.items()


async def test_what_the_caller_says(server: XnatServer) -> None:
    """ID, kind, type, quality and resource can be given."""
    options: dict[str, Any] = {
        "scan_id": "5-MR1",
        "scan_type": "T1",
        "quality": "questionable",
        "xsi_type": "xnat:otherDicomScanData",
        "resource": "secondary",
    }
    await in_process(server, **options).write(given(FILES))
    fields = server.scans("P", "E")["5-MR1"]
    assert (fields["type"], fields["quality"]) == ("T1", "questionable")
    assert fields["xsiType"] == "xnat:otherDicomScanData"
    assert server.files("P", "E", "5-MR1", "secondary") == FILES


async def test_id_in_the_url(server: XnatServer) -> None:
    """The scan that the URL names."""
    receipt = await in_process(server, E + "/12").write(given(FILES))
    assert server.files("P", "E", "12") == FILES
    assert receipt.url == "xnat://xnat.test/P/S%201/E/12"


async def test_several_series(server: XnatServer) -> None:
    """Each series goes into a scan of its own."""
    other = {"b.dcm": instance(1, 8, Modality="CT")}
    await in_process(server).write(given(FILES | other))
    assert (server.files("P", "E", "7"), server.files("P", "E", "8")) == (FILES, other)
    assert server.scans("P", "E")["8"]["xsiType"] == "xnat:ctScanData"


async def test_files_on_disk(server: XnatServer, tmp_path: Path, opened: Opener) -> None:
    """Blobs that are files, larger than one read, are streamed."""
    data = instance(1) + bytes(3_000_000)
    (tmp_path / "x").write_bytes(data)

    async def blobs() -> AsyncIterator[Blob]:
        yield FileBlob("x", os.fspath(tmp_path / "x"), len(data))

    for via in ("zip", "files"):
        await opened(E, via=via, scan_id=via).write(blobs())
        assert server.files("P", "E", via) == {"x": data}


async def test_what_is_no_dicom(server: XnatServer) -> None:
    """Other files have no number: ID and resource have to be said."""
    files = {"a.nii": b"nifti", "sub/b ä.json": b"{}"}
    assert "scan_id=" in str(await raised(in_process(server), given(files)))
    assert "resource=" in str(await raised(in_process(server, E + "/1"), given(files)))
    transport = in_process(server, E + "/1", resource="NIFTI", xsi_type="xnat:mrScanData")
    await transport.write(given(files))
    assert server.files("P", "E", "1", "NIFTI") == files


async def test_nothing_to_write(server: XnatServer) -> None:
    """No files make no scan."""
    receipt = await in_process(server).write(given({}))
    assert (receipt.count, server.scans("P", "E")) == (0, {})


async def test_taken_ids(server: XnatServer) -> None:
    """A scan that is there is not touched."""
    server.add_scan("P", "S 1", "E", "7", {"old": b"old"})
    before = traces(server)
    error = await raised(in_process(server), given(FILES))
    assert isinstance(error, TargetExistsError)
    assert "scan 7" in str(error)
    assert traces(server) == before


async def test_overwrite(server: XnatServer) -> None:
    """The files of a scan are replaced when all new ones are there; other resources stay."""
    server.add_scan("P", "S 1", "E", "7", {"IM00001.dcm": b"old", "more": b"old"})
    server.add_scan("P", "S 1", "E", "7", {"s.gif": b"gif"}, resource="SNAPSHOTS")
    receipt = await in_process(server).write(given(FILES), overwrite=True)
    found = server.files("P", "E", "7")
    assert sorted(found.values()) == sorted(FILES.values())
    assert set(receipt.names) == set(found)
    assert server.files("P", "E", "7", "SNAPSHOTS") == {"s.gif": b"gif"}


@pytest.mark.parametrize(
    ("path", "named"),
    [("/NO/S/E", "project 'NO'"), ("/P/NO/E", "subject 'NO'"), ("/P/S 1/NO", "experiment 'NO'")],
)
async def test_missing_parents(server: XnatServer, path: str, named: str) -> None:
    """What is missing is named; nothing is made."""
    error = await raised(in_process(server, path), given(FILES))
    assert isinstance(error, NotFoundError)
    assert named in str(error)
    assert not any(r.method == "PUT" for r in server.requests)


@pytest.mark.parametrize("path", ["/P/new subject/new", "/P/S 1/new"])
async def test_create_parents(server: XnatServer, path: str) -> None:
    """Subject and experiment are made, of a kind that fits, if one says so."""
    await in_process(server, path, create_parents=True).write(given(FILES))
    assert server.files("P", "new", "7") == FILES


async def test_created_parents_go_too(server: XnatServer) -> None:
    """A write that fails removes the parents that it has made."""
    transport = in_process(server, "/P/new/new", create_parents=True)

    async def broken() -> AsyncIterator[Blob]:
        async for blob in given(FILES):
            yield blob
        yield MemoryBlob("../outside", instance(9))

    await raised(transport, broken())
    with pytest.raises(KeyError):
        server.accession("P", "new")
    names = [e.name async for e in in_process(server, "/P").list()]
    assert names == ["S 1"]


async def test_a_short_url(server: XnatServer) -> None:
    """A scan belongs into an experiment."""
    assert isinstance(await raised(in_process(server, "/P/S 1"), given(FILES)), LocationError)


async def test_taken(server: XnatServer) -> None:
    """No name is taken in a scan that is still to be made."""
    assert await in_process(server).taken() == frozenset()


# --- what goes wrong --------------------------------------------------------------------------


async def broken_source() -> AsyncIterator[Blob]:
    async for blob in given(FILES):
        yield blob
    raise TransportError("the source has failed")


@pytest.mark.parametrize("via", ["zip", "files"])
async def test_a_source_that_fails(
    server: XnatServer, opened: Opener, via: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error comes out, and nothing is left; what was to be replaced is as it was."""
    monkeypatch.setattr("seriesio.transports._xnat_write._BATCH_FILES", 3)
    server.add_scan("P", "S 1", "E", "3", {"IM00001.dcm": b"old"})
    before = traces(server)
    for path, overwrite in ((E, False), (E + "/3", True)):
        error = await raised(opened(path, via=via), broken_source(), overwrite=overwrite)
        assert "the source has failed" in str(error)
        assert traces(server) == before
    assert any(request.method == "DELETE" for request in server.requests)


@pytest.mark.parametrize("name", ["../outside", "/outside", "", ".", "a//b", "nul\0", "a/../b"])
async def test_names_outside(server: XnatServer, name: str) -> None:
    """Names that lead elsewhere are refused, and nothing is left."""
    await raised(in_process(server), given({**FILES, name: instance(9)}))
    assert traces(server) == ({}, 0)


async def test_a_name_twice(server: XnatServer) -> None:
    """Neither of two files of one name replaces the other in silence."""

    async def twice() -> AsyncIterator[Blob]:
        yield MemoryBlob("same", instance(1))
        yield MemoryBlob("same", instance(2))

    assert isinstance(await raised(in_process(server), twice()), TargetExistsError)
    assert traces(server) == ({}, 0)


FAULTS = {
    "refused": XnatFaults(paths="PUT.*/files/", status=403),
    "broken": XnatFaults(paths="PUT.*/files/", status=500),
    "ignored": XnatFaults(paths="PUT.*/files/", ignore_writes=True),
    "no scan made": XnatFaults(paths="PUT.*/scans/7", ignore_writes=True),
    "other digests": XnatFaults(wrong_digests=True),
    "other sizes": XnatFaults(size_offset=1),
    "cut for ever": XnatFaults(paths="PUT.*/files/", cut_upload_after=1000),
    "other JSON": XnatFaults(paths="GET.*/files", other_json=True),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_failures(
    server: XnatServer, opened: Opener, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that is refused, ignored or stored wrongly: an error, and nothing is left."""
    monkeypatch.setattr("seriesio.transports._xnat_holdings._LOOKS", (0.0, 0.01))
    server.faults = FAULTS[fault]
    error = await raised(opened(E, retries=1), given(FILES))
    assert isinstance(error, TransportError)
    assert traces(server) == ({}, 0)


HARMLESS = {
    "answers lost": XnatFaults(paths="PUT", lose_answer=True, times=3),
    "uploads cut": XnatFaults(paths="PUT.*/files/", cut_upload_after=5000, times=2),
    "busy": XnatFaults(paths="PUT", status=503, retry_after="0", times=2),
    "sessions die": XnatFaults(expire_after=3),
    "late": XnatFaults(late_scans=2),
    "no digests": XnatFaults(no_digests=True),
}


@pytest.mark.parametrize("via", ["zip", "files"])
@pytest.mark.parametrize("fault", HARMLESS)
async def test_survived(server: XnatServer, opened: Opener, fault: str, via: str) -> None:
    """What a second attempt, or a moment of patience, gets over."""
    server.faults = HARMLESS[fault]
    await opened(E, via=via).write(given(FILES))
    server.faults = XnatFaults()
    assert traces(server) == ({"7": FILES}, 0)


async def test_what_could_not_be_removed(
    server: XnatServer, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that lets us write but not delete: the error says what is left."""
    monkeypatch.setattr("seriesio.transports._xnat_holdings._LOOKS", (0.0, 0.01))
    server.add_user("member", "m", roles={"P": "member"})
    server.faults = XnatFaults(wrong_digests=True)
    error = await raised(opened(E, auth=("member", "m"), retries=0), given(FILES))
    assert "could not be removed" in "".join(getattr(error, "__notes__", []))


@pytest.mark.parametrize("within", WAYS)
@pytest.mark.parametrize("via", ["zip", "files"])
async def test_cancelled_anywhere(
    server: XnatServer, opened: Opener, via: str, within: Within
) -> None:
    """Cancelled at whatever moment: the scan is whole, or it is not there."""
    for step in range(0, 150, 10):
        done = False
        async with within(step / 500):
            await opened(f"{E}/{step}", via=via).write(given(FILES))
            done = True
        assert server.open_sessions == 0
        left = server.files("P", "E", str(step))
        assert (str(step) in server.scans("P", "E")) == bool(left)
        assert left in ((FILES,) if done else (FILES, {}))
        if done:
            return


async def test_two_writers(server: XnatServer, opened: Opener) -> None:
    """Of two that begin the same scan at once, one writes it and the other is refused."""
    errors: list[Exception] = []

    async def write(number: int) -> None:
        try:
            await opened(E).write(given({"a.dcm": instance(number)}))
        except TargetExistsError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for number in range(2):
            group.start_soon(write, number)
    assert len(errors) == 1
    assert len(server.files("P", "E", "7")) == 1


# --- series -----------------------------------------------------------------------------------


async def test_series_there_and_back(server: XnatServer, tmp_path: Path) -> None:
    """A series is opened, changed, written as a new scan and opened again, voxel for voxel."""
    made = phantom((5, 32, 24), series_number=4)
    server.add_scan("P", "S 1", "E", "4", made.files())
    made.save(tmp_path)
    options: dict[str, Any] = {"auth": AUTH, "http": httpx.ASGITransport(server)}
    async with Client() as client:
        series = await client.open(f"xnat://xnat.test{E}/4", **options)
        np.testing.assert_array_equal(series.array, made.array)
        series.seriesNumber = 9999
        series.seriesDescription = "New Series"
        receipt = await client.write(series, f"xnat://xnat.test{E}", **options)
        again = await client.open(receipt.url, **options)
        copied = await client.copy(f"{tmp_path.as_uri()}", f"xnat://xnat.test{E}/1", **options)
    assert receipt.url == "xnat://xnat.test/P/S%201/E/9999"
    np.testing.assert_array_equal(again.array, made.array)
    assert (again.seriesNumber, again.seriesDescription) == (9999, "New Series")
    assert again.seriesInstanceUID == series.seriesInstanceUID != made.series_uid
    assert copied.count == len(made.names)
    assert server.files("P", "E", "1") == made.files()
    assert server.open_sessions == 0
