"""C-STORE into real archives: what they hold afterwards is what was sent."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pydicom
import pytest

from seriesio import Client
from seriesio.blob import Blob, MemoryBlob
from seriesio.errors import AssociationError, StoreError
from seriesio.formats._transcode import transcode
from seriesio.testing import phantom
from seriesio.transports._dicom_association import Peer
from seriesio.transports._dicom_inbound import Destination
from seriesio.transports._dicom_store import store

Server: TypeAlias = Any  # of conftest.py
Tool: TypeAlias = "Callable[[str], str]"

ROOT = "1.2.840.10008.1.2"
EXPLICIT = ROOT + ".1"
RLE = ROOT + ".5"


async def blobs_of(files: Mapping[str, bytes]) -> AsyncIterator[Blob]:
    for name, data in files.items():
        yield MemoryBlob(name, data)


def read(data: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(BytesIO(data))


def by_uid(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {str(read(data).SOPInstanceUID): data for data in files.values()}


def dataset_of(data: bytes) -> bytes:
    """What follows the file meta information, by its own group length."""
    return data[132 + 12 + read(data).file_meta.FileMetaInformationGroupLength :]


def same(one: bytes, other: bytes) -> None:
    """All elements have equal values, as pydicom reads them."""
    assert list(read(one)) == list(read(other))


def in_orthanc(server: Server, uid: str) -> bytes:
    """The file that Orthanc has of an instance, by its own web interface."""
    base = f"http://127.0.0.1:{server.web}"
    with urllib.request.urlopen(f"{base}/tools/lookup", uid.encode(), timeout=10) as answer:
        (found,) = json.load(answer)
    with urllib.request.urlopen(f"{base}/instances/{found['ID']}/file", timeout=10) as answer:
        return bytes(answer.read())


def in_folder(folder: Path) -> dict[str, bytes]:
    """SOP Instance UID → file, of all DICOM files of a folder."""
    found = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        if data[128:132] == b"DICM":
            found[str(read(data).SOPInstanceUID)] = data
    return found


# --- archives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ROOT, EXPLICIT, RLE, ROOT + ".4.70"])
async def test_orthanc(orthanc: Server, syntax: str) -> None:
    """Orthanc keeps every data set as it was; C-FIND knows them all."""
    files = phantom((30, 64, 64), transfer_syntax=syntax, seed=len(syntax)).files()
    peer = Peer(orthanc.host, orthanc.port, orthanc.ae_title)
    receipt = await store(blobs_of(files), peer, orthanc.url, verify=True)
    assert sorted(receipt.names) == sorted(by_uid(files))
    for uid, data in by_uid(files).items():
        same(in_orthanc(orthanc, uid), data)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # what others stored there before
async def test_dcmqrscp(dcmqrscp: Server) -> None:
    """dcmqrscp, which loses instances that come over two associations at a time, has them all."""
    files = phantom((120, 64, 64), seed=11).files()
    peer = Peer(dcmqrscp.host, dcmqrscp.port, dcmqrscp.ae_title)
    receipt = await store(blobs_of(files), peer, dcmqrscp.url, verify=True)
    kept, sent = in_folder(dcmqrscp.folder / "db"), by_uid(files)
    assert receipt.count == len(sent) == 120
    for uid, data in sent.items():
        same(kept[uid], data)


async def test_tls(storescp_tls: Server) -> None:
    """Over TLS with a client certificate, bit for bit."""
    files = phantom((5, 64, 64), seed=12).files()
    server = storescp_tls
    context = server.ssl_context()
    peer = Peer(server.host, server.port, server.ae_title, ssl_context=context)
    await store(blobs_of(files), peer, server.url)
    kept = in_folder(server.folder / "in")
    for uid, data in by_uid(files).items():
        assert dataset_of(kept[uid]) == dataset_of(data)


async def test_tls_without_client_certificate(storescp_tls: Server) -> None:
    """A peer that asks for a client certificate, and gets none: the error says so."""
    server = storescp_tls
    context = ssl.create_default_context(cafile=server.cafile)
    peer = Peer(server.host, server.port, server.ae_title, ssl_context=context)
    with pytest.raises(AssociationError, match="client certificate"):
        await store(blobs_of(phantom((1, 8, 8)).files()), peer, server.url)


async def test_orthanc_commits(orthanc: Server) -> None:
    """Orthanc reports on storage commitment by calling back, in the name that it knows."""
    known = Destination("MOVE4", orthanc.destinations["MOVE4"])
    peer = Peer(orthanc.host, orthanc.port, orthanc.ae_title)
    files = phantom((3, 8, 8), seed=77).files()
    receipt = await store(blobs_of(files), peer, orthanc.url, commit=True, destination=known)
    assert receipt.count == 3


async def test_real_series(corpus: Path, orthanc: Server) -> None:
    """A real study, copied by the client: Orthanc has all but the directories of media."""
    folder = corpus / "ct_study"
    async with Client() as client:
        receipt = await client.copy(folder, orthanc.url, verify=True)
    paths = [path for path in folder.rglob("*") if path.is_file() and "DIR" not in path.name]
    assert receipt.count == len(paths) > 100
    for path in paths[:: len(paths) // 10]:
        data = path.read_bytes()
        same(in_orthanc(orthanc, str(read(data).SOPInstanceUID)), data)


# --- transfer syntaxes that a peer does not take ----------------------------------------------


@contextmanager
def storescp(program: str, folder: Path, *options: str) -> Iterator[Peer]:
    """A storescp that takes these transfer syntaxes only, writing into a folder as it receives."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, *options, "+B", "-od", str(folder), str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            wait_for(port)
            yield Peer("127.0.0.1", port, "STORESCP")
        finally:
            process.terminate()


def wait_for(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)


@pytest.mark.parametrize(("option", "target"), [("+xi", ROOT), ("+xe", EXPLICIT)])
@pytest.mark.parametrize("syntax", [RLE, EXPLICIT, ROOT + ".2", ROOT + ".1.99"])
async def test_transcoded(
    tool: Tool, tmp_path: Path, syntax: str, option: str, target: str
) -> None:
    """storescp with implicit, or with uncompressed, transfer syntaxes alone gets the same image."""
    made = phantom((3, 32, 32), transfer_syntax=syntax)
    with storescp(tool("storescp"), tmp_path, option) as peer:
        await store(blobs_of(made.files()), peer, "dicom://storescp", transcode=transcode)
    kept = [read(data) for data in in_folder(tmp_path).values()]
    kept.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    taken = {str(one.file_meta.TransferSyntaxUID) for one in kept}
    assert taken <= {target, syntax} if option == "+xe" else taken == {target}
    np.testing.assert_array_equal(np.stack([one.pixel_array for one in kept]), made.stored)


async def test_not_transcoded(tool: Tool, tmp_path: Path) -> None:
    """Without a way to transcode, what the peer does not take is told, and not sent."""
    files = phantom((3, 32, 32), transfer_syntax=RLE).files()
    with (
        storescp(tool("storescp"), tmp_path, "+xi") as peer,
        pytest.raises(StoreError, match="not in transfer syntax RLE Lossless") as caught,
    ):
        await store(blobs_of(files), peer, "dicom://storescp")
    assert len(caught.value.failed) == 3
    assert not in_folder(tmp_path)


# --- DCMTK's tools look at what was transcoded ------------------------------------------------


@pytest.mark.parametrize("syntax", [ROOT, EXPLICIT, ROOT + ".2", RLE, ROOT + ".4.90"])
def test_dcmdump_finds_nothing_wrong(tool: Tool, tmp_path: Path, syntax: str) -> None:
    """dcmdump reads what was transcoded, to its end, without a complaint."""
    made = phantom((1, 20, 24), transfer_syntax=syntax, enhanced=True, modality="MR")
    ((name, data),) = made.files().items()
    for target in (ROOT, EXPLICIT):
        blob = transcode(MemoryBlob(name, data), target)
        view = memoryview(bytearray(blob.size))
        assert blob.open().readinto(view, 0) == blob.size
        path = tmp_path / f"{target}.dcm"
        path.write_bytes(view)
        done = subprocess.run([tool("dcmdump"), str(path)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "(7fe0,0010)" in done.stdout
