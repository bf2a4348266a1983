"""Real archives, and the embedded one: what was stored by DCMTK is found and comes back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from seriesio import Client
from seriesio.blob import read_all
from seriesio.errors import (
    AssociationError,
    NotFoundError,
    StatusError,
    UnsupportedByPeerError,
)
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import Phantom, phantom
from seriesio.transports.dicom import DicomTransport

pytestmark = pytest.mark.interop

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
RLE, LOSSLESS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70"
FLAGS = {EXPLICIT: "-xe", IMPLICIT: "-xi", RLE: "-xr", LOSSLESS: "-xs"}
COUNT = 12

# dcmqrscp takes nothing compressed.
KEPT = [(server, syntax) for server in ("embedded", "orthanc") for syntax in FLAGS]
KEPT += [("dcmqrscp", EXPLICIT), ("dcmqrscp", IMPLICIT)]


@cache
def made(syntax: str = EXPLICIT, **how: Any) -> Phantom:
    return phantom((COUNT, 24, 16), transfer_syntax=syntax, seed=77, **how)


def path(of: Phantom) -> str:
    """The URL's path of a series."""
    first = of.datasets()[0]
    return f"/{first.PatientID}/{first.StudyInstanceUID}/{first.SeriesInstanceUID}"


def store(tool: Callable[[str], str], server: Any, folder: Path, of: Phantom, flag: str) -> None:
    """Send a series with storescu, as it is."""
    of.save(folder)
    send(tool, server, folder, flag)


def send(tool: Callable[[str], str], server: Any, folder: Path, flag: str) -> None:
    """Send the files of a folder with storescu, as they are."""
    command = [tool("storescu"), "-R", flag, "-aec", server.ae_title, "+sd", "+r"]
    command += [server.host, str(server.port), str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def transport(server: Any, of: Phantom, **options: Any) -> DicomTransport:
    return DicomTransport(parse_location(server.url + path(of)), Workers(), **options)


async def read(source: DicomTransport) -> dict[str, bytes]:
    return {blob.name: bytes(read_all(blob)) async for blob in source.read()}


@pytest.mark.parametrize(("server", "syntax"), KEPT, indirect=["server"])
async def test_there_and_back(
    tool: Callable[[str], str], server: Any, tmp_path: Path, syntax: str
) -> None:
    """A series comes as it was stored: every element of every header, and the voxels."""
    series = made(syntax)
    store(tool, server, tmp_path / "sent", series, FLAGS[syntax])
    sent = {str(one.SOPInstanceUID): one for one in series.datasets()}
    found = {
        name.removesuffix(".dcm"): dcmread(BytesIO(file))
        for name, file in (await read(transport(server, series))).items()
    }
    assert set(found) == set(sent)
    for uid, dataset in found.items():
        if server.ae_title != "DCMQRSCP":  # which keeps whatever it was sent first
            assert dataset.file_meta.TransferSyntaxUID == syntax
        assert dataset == sent[uid]
    async with Client() as client:
        opened = await client.open(server.url + path(series))
    np.testing.assert_array_equal(opened.array, series.array)


@pytest.mark.parametrize("associations", [1, 3])
async def test_by_numbers(
    tool: Callable[[str], str], server: Any, tmp_path: Path, associations: int
) -> None:
    """By accession number and series number, over one association or several: all, unchanged."""
    series = phantom((COUNT, 24, 16), modality="MR", series_number=7, seed=770)
    sent = series.datasets()
    (tmp_path / "sent").mkdir()
    for one in sent:
        one.AccessionNumber = "BYNUMBERS"  # real archives keep what other tests have stored
        one.save_as(tmp_path / "sent" / f"{one.SOPInstanceUID}.dcm")
    send(tool, server, tmp_path / "sent", "-xe")
    url = f"{server.url}/{sent[0].PatientID}/BYNUMBERS/7"
    source = DicomTransport(parse_location(url), Workers(), associations=associations)
    found = {name: dcmread(BytesIO(file)) for name, file in (await read(source)).items()}
    assert found == {f"{one.SOPInstanceUID}.dcm": one for one in sent}
    async with Client() as client:
        opened = await client.open(url)
    np.testing.assert_array_equal(opened.array, series.array)


async def test_enhanced(tool: Callable[[str], str], server: Any, tmp_path: Path) -> None:
    """An enhanced multi-frame object."""
    series = made(enhanced=True, modality="MR")
    store(tool, server, tmp_path / "sent", series, "-xe")
    async with Client() as client:
        opened = await client.open(server.url + path(series))
    np.testing.assert_array_equal(opened.array, series.array)


async def test_list(tool: Callable[[str], str], server: Any, tmp_path: Path) -> None:
    """Patients, studies and series are listed."""
    series = made()
    store(tool, server, tmp_path / "sent", series, "-xe")
    first = series.datasets()[0]
    names: dict[str, dict[str, Any]] = {}
    for part in ("", f"/{first.PatientID}", f"/{first.PatientID}/{first.StudyInstanceUID}"):
        source = DicomTransport(parse_location(server.url + part), Workers())
        names[(part.count("/") and part) or ""] = {e.name: e async for e in source.list()}
    patients, studies, listed = names.values()
    assert first.PatientID in patients
    assert first.StudyInstanceUID in studies
    assert listed[first.SeriesInstanceUID].attributes["modality"] == "CT"
    assert listed[first.SeriesInstanceUID].attributes["number"] == "1"


async def test_not_found(server: Any) -> None:
    """What is not there is not found, at each level."""
    series = made()
    for part in ("/NOBODY", f"/{series.datasets()[0].PatientID}/1.2.3.4/1.2"):
        with pytest.raises(NotFoundError):
            await read(DicomTransport(parse_location(server.url + part), Workers()))


async def test_echo(server: Any) -> None:
    """Each archive is there."""
    assert await DicomTransport(parse_location(server.url), Workers()).echo() < 5


async def test_wrong_title(server: Any) -> None:
    """An archive that is called by another title says so, if it looks at titles."""
    location = parse_location(server.url.rpartition("/")[0] + "/NOT_IT/P/1.2/1")
    with pytest.raises((AssociationError, NotFoundError)):
        await read(DicomTransport(location, Workers()))


# --- C-MOVE -----------------------------------------------------------------------------------


async def test_move(tool: Callable[[str], str], dcmqrscp_without_get: Any, tmp_path: Path) -> None:
    """An archive without C-GET sends to us, if it knows us and we say where."""
    server, series = dcmqrscp_without_get, made()
    store(tool, server, tmp_path / "sent", series, "-xe")
    title, port = next(iter(server.destinations.items()))
    with pytest.raises(UnsupportedByPeerError, match="move_to"):
        await read(transport(server, series, aet=title))
    found = await read(transport(server, series, aet=title, move_to=(title, port)))
    assert len(found) == COUNT
    with pytest.raises((StatusError, AssociationError)):
        await read(transport(server, series, aet=title, move_to=("NOBODY", port)))


async def test_patient_root(
    tool: Callable[[str], str], dcmqrscp_patient_root: Any, tmp_path: Path
) -> None:
    """An archive that has only the patient root is asked by that."""
    store(tool, dcmqrscp_patient_root, tmp_path / "sent", made(), "-xe")
    assert len(await read(transport(dcmqrscp_patient_root, made()))) == COUNT


# --- TLS --------------------------------------------------------------------------------------


async def test_tls(storescp_tls: Any) -> None:
    """A real server behind TLS that asks for a client certificate."""
    context = storescp_tls.ssl_context()
    location = parse_location(storescp_tls.url)
    assert await DicomTransport(location, Workers(), ssl_context=context).echo() < 5
    with pytest.raises(AssociationError, match="not trusted"):
        await DicomTransport(location, Workers()).echo()
    plain = parse_location(storescp_tls.url.replace("dicoms:", "dicom:"))
    with pytest.raises(AssociationError, match="dicoms://"):
        await DicomTransport(plain, Workers()).echo()
