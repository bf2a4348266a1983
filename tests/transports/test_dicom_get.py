"""C-GET: what arrives is what was announced, byte for byte, or an error says what is wrong."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from typing import Any

import anyio
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom import AllStoragePresentationContexts

from seriesio import Client
from seriesio.blob import read_all
from seriesio.errors import (
    AssociationError,
    DicomError,
    IncompleteSeriesError,
    SeriesIOError,
    StatusError,
    UnsupportedByPeerError,
)
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import DicomArchive, Faults, Phantom, phantom
from seriesio.transports.dicom import DicomTransport, Timeouts

from ..cancelling import WAYS, Within

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
PATIENT = Timeouts(release=0.3)
QUICK = Timeouts(connect=2, association=1, answer=1, idle=0.6, release=0.3)
COUNT = 10


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries is no pause that a test would have to wait for."""
    monkeypatch.setattr("seriesio.transports._dicom_session._PAUSE", 0.02)


@cache
def made(syntax: str = EXPLICIT, seed: int = 0) -> Phantom:
    return phantom((COUNT, 24, 16), transfer_syntax=syntax, seed=seed)


@pytest.fixture
def archive() -> Iterator[DicomArchive]:
    with DicomArchive(ae_title="HERE") as running:
        running.add(made().files().values())
        yield running


def uids(of: Phantom) -> list[str]:
    return [str(one.SOPInstanceUID) for one in of.datasets()]


def path(of: Phantom) -> str:
    first = of.datasets()[0]
    return f"/{first.PatientID}/{first.StudyInstanceUID}/{first.SeriesInstanceUID}"


def transport(archive: DicomArchive, of: Phantom | None = None, **options: Any) -> DicomTransport:
    location = parse_location(archive.url + path(of or made()))
    return DicomTransport(location, Workers(), **{"timeouts": PATIENT, **options})


async def read(source: DicomTransport) -> dict[str, bytes]:
    """Name → bytes of what arrives; each once."""
    found: dict[str, bytes] = {}
    async for blob in source.read():
        assert blob.name not in found
        found[blob.name] = bytes(read_all(blob))
    return found


def body(file: bytes) -> bytes:
    """The data set of a Part 10 file, from where its file meta information ends."""
    return file[144 + int.from_bytes(file[140:144], "little") :]


# --- what arrives -----------------------------------------------------------------------------


@pytest.mark.parametrize("associations", [1, 3])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED, RLE])
async def test_raw(archive: DicomArchive, syntax: str, associations: int) -> None:
    """Data sets arrive as the archive keeps them, over however many associations."""
    series = made(syntax, seed=3)
    archive.add(series.files().values())
    found = await read(transport(archive, series, associations=associations))
    kept = archive.datasets()
    assert {name.removesuffix(".dcm") for name in found} == set(uids(series))
    for name, file in found.items():
        uid = name.removesuffix(".dcm")
        meta = dcmread(BytesIO(file)).file_meta
        assert meta.TransferSyntaxUID == kept[uid][0] == syntax
        assert meta.MediaStorageSOPInstanceUID == uid
        assert body(file) == kept[uid][1]


async def test_shared_out(archive: DicomArchive) -> None:
    """Several associations share the instances out by UID, none is asked for twice."""
    await read(transport(archive, associations=2))
    asked = [one for one in archive.requests if one.service == "C-GET"]
    lists = [one.identifier["SOPInstanceUID"].split("\\") for one in asked]
    assert sorted(uid for part in lists for uid in part) == sorted(uids(made()))
    assert [one.level for one in asked] == ["IMAGE"] * len(asked)
    assert len({one.association for one in asked}) == 2


def of_many_classes(count: int) -> list[bytes]:
    """Instances of one series, each of another storage SOP class of the standard."""
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    files = []
    for dataset, uid in zip(phantom((count, 4, 4)).datasets(), classes, strict=False):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(uid)
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    return files


async def test_more_classes_than_an_association_takes() -> None:
    """Of 140 SOP classes, all arrive, though there are at most 128 contexts (PS3.8 9.3.2.2)."""
    files = of_many_classes(140)
    with DicomArchive(ae_title="HERE") as archive:
        archive.add(files)
        found = await read(transport(archive, phantom((140, 4, 4))))
        asked = [len(one.proposed) for one in archive.associations]
    assert len(found) == 140
    assert max(asked) <= 128


@pytest.mark.usefixtures("ipv6")
async def test_ipv6() -> None:
    """An address in brackets is one of IPv6."""
    with DicomArchive(host="::1") as archive:
        archive.add(made().files().values())
        assert len(await read(transport(archive))) == COUNT


async def test_contexts(archive: DicomArchive) -> None:
    """Only the SOP classes that are there are proposed, with the SCP role."""
    await read(transport(archive, associations=1))
    record = archive.associations[-1]
    storage = {uid for uid, _ in record.proposed if "1.1.481" in uid or ".5.1.4.1.1." in uid}
    assert storage == {"1.2.840.10008.5.1.4.1.1.2"}
    assert record.roles == {"1.2.840.10008.5.1.4.1.1.2": (False, True)}


async def test_preferred_syntaxes(archive: DicomArchive) -> None:
    """What is asked for is what comes: here the archive has to convert."""
    found = await read(transport(archive, transfer_syntaxes=[IMPLICIT]))
    syntaxes = {str(dcmread(BytesIO(one)).file_meta.TransferSyntaxUID) for one in found.values()}
    assert syntaxes == {IMPLICIT}


async def test_fewer_associations(archive: DicomArchive) -> None:
    """A peer that refuses more than one association gets one; nothing is missing."""
    archive.faults = Faults(max_associations=1)
    assert len(await read(transport(archive, associations=4))) == COUNT


async def test_ignored_roles(archive: DicomArchive) -> None:
    """A peer that does not answer role items, but sends, is taken."""
    archive.faults = Faults(ignore_roles=True)
    assert len(await read(transport(archive))) == COUNT


async def test_tiny_pdus(archive: DicomArchive) -> None:
    """A peer that sends a few bytes at a time is read all the same."""
    archive.faults = Faults(max_pdu=64)
    found = await read(transport(archive))
    assert {body(file) for file in found.values()} == {d for _, d in archive.datasets().values()}


async def test_open(archive: DicomArchive) -> None:
    """A URL opens as a series: the voxels are those of the phantom."""
    async with Client() as client:
        series = await client.open(archive.url + path(made()))
    np.testing.assert_array_equal(series.array, made().array)
    np.testing.assert_allclose(series.spacing, made().spacing)


async def test_copy(archive: DicomArchive, tmp_path: Any) -> None:
    """A copy to a directory holds every data set byte for byte."""
    async with Client() as client:
        receipt = await client.copy(archive.url + path(made()), tmp_path)
    assert receipt.count == COUNT
    kept = archive.datasets()
    for name in receipt.names:
        data = (tmp_path / name).read_bytes()
        assert body(data) == kept[name.removesuffix(".dcm")][1]


async def test_back_pressure(archive: DicomArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes nothing keeps the peer from sending on."""
    monkeypatch.setattr("seriesio.transports._dicom_retrieve._WAITING", 2000)
    taking = transport(archive, associations=1).read()
    first = await anext(taking)
    await anyio.sleep(0.3)
    sent = archive.open_associations
    rest = [blob async for blob in taking]
    assert sent == 1
    assert len({first.name, *(blob.name for blob in rest)}) == COUNT


# --- what is missing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Faults(fail_suboperation=1), "not sent .status 0xA702 .*1 failed"),
        (Faults(omit_instance=1), "not sent, though the peer reports success"),
    ],
)
async def test_missing(archive: DicomArchive, fault: Faults, words: str) -> None:
    """An instance that fails twice is named, with the reason; all others come."""
    archive.faults = fault
    with pytest.raises(IncompleteSeriesError, match=words) as caught:
        await read(transport(archive, associations=1))
    (told,) = caught.value.missing
    assert told.partition(":")[0] in uids(made())
    source = transport(archive, associations=1, on_incomplete="warn")
    found = await read(source)
    assert source.skipped == [(told.partition(":")[0], "missing")]
    assert {name.removesuffix(".dcm") for name in found} == {*uids(made())} - {source.skipped[0][0]}


async def test_asked_again(archive: DicomArchive) -> None:
    """What has failed the first time is asked for again, and comes."""
    archive.faults = Faults(fail_suboperation=COUNT)
    source = transport(archive, associations=1)
    assert len(await read(source)) == COUNT
    assert [one.level for one in archive.requests if one.service == "C-GET"] == ["SERIES", "IMAGE"]


async def test_warned(archive: DicomArchive) -> None:
    """A warning of the peer is told, and is no error."""
    archive.faults = Faults(warn_suboperation=2)
    source = transport(archive, associations=1)
    assert len(await read(source)) == COUNT
    assert "1 instances" in source.warnings[0]


# --- bad peers --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0xA700, 0xA702, 0xA900, 0xC000, 0xFE00])
async def test_status(archive: DicomArchive, status: int) -> None:
    """A retrieval that fails is an error with the status in words."""
    archive.faults = Faults(retrieve_status=status)
    with pytest.raises(StatusError, match=f"0x{status:04X} \\([a-z]") as caught:
        await read(transport(archive))
    assert caught.value.status == status


@pytest.mark.parametrize("fault", [Faults(refuse_get=True), Faults(refuse_roles=True)])
async def test_unsupported(archive: DicomArchive, fault: Faults) -> None:
    """Without C-GET, or a role in it, the error says what to configure."""
    archive.faults = fault
    with pytest.raises(UnsupportedByPeerError, match=r"C-GET.*move_to="):
        await read(transport(archive))


class AfterQuery(DicomTransport):
    """A fault begins when all queries are answered."""

    def __init__(
        self, archive: DicomArchive, fault: Faults, associations: int, **options: Any
    ) -> None:
        location = parse_location(archive.url + path(made()))
        options = {"timeouts": QUICK if fault.stall_after else PATIENT, **options}
        super().__init__(location, Workers(), associations=associations, **options)
        self._then = archive, fault

    def _find(self, association: Any) -> Any:
        found = super()._find(association)
        self._then[0].faults = self._then[1]
        return found


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Faults(wrong_uids=2), "another series"),
        (Faults(duplicate_instance=2), "twice"),
        (Faults(extra_instances=1), "more instances than it has announced"),
        (Faults(abort_after=0), "aborted"),
        (Faults(close_after=0), "closed"),
        (Faults(bad_pdu_after=3), "unknown type"),
        (Faults(bad_pdu_after=3, bad_pdu="length"), "4294967295 bytes"),
        (Faults(stall_after=3, stall=20), "did not come in time"),
    ],
)
@pytest.mark.parametrize("associations", [1, 2])
async def test_bad_peers(
    archive: DicomArchive, fault: Faults, words: str, associations: int
) -> None:
    """Each is a clear error with host and AE titles, and no association is left."""
    source = AfterQuery(archive, fault, associations)
    with pytest.raises(AssociationError, match=words) as caught:
        await read(source)
    assert f"127.0.0.1:{archive.port} (HERE, called by SERIESIO)" in str(caught.value)


@pytest.mark.parametrize("fault", [Faults(abort_after=3), Faults(close_after=3)])
@pytest.mark.parametrize("associations", [1, 2])
async def test_broken_in_the_middle(
    archive: DicomArchive, fault: Faults, associations: int
) -> None:
    """What has not come when an association breaks is asked for again, and nothing else is."""
    found = await read(AfterQuery(archive, fault, associations))
    assert {name.removesuffix(".dcm") for name in found} == {*uids(made())}
    again = [one for one in archive.requests if one.service == "C-GET"][associations:]
    assert again
    assert {one.level for one in again} == {"IMAGE"}


async def test_broken_each_time(archive: DicomArchive) -> None:
    """A peer that breaks off each time is asked four times; the error says how far it came."""
    with pytest.raises(AssociationError, match="aborted") as caught:
        await read(AfterQuery(archive, Faults(abort_after=1), 1))
    assert caught.value.__notes__ == ["4 instances had arrived; it was tried 4×"]


async def test_broken_each_time_and_tolerated(archive: DicomArchive) -> None:
    """Where that is asked for, what has come is handed over, and the rest named with the reason."""
    source = AfterQuery(archive, Faults(abort_after=1), 1, on_incomplete="warn")
    found = await read(source)
    assert len(found) == 4
    assert {uid for uid, _ in source.missing} == {*uids(made())} - {
        name.removesuffix(".dcm") for name in found
    }
    assert all("aborted" in reason for _, reason in source.missing)


async def test_the_deadline_is_of_the_whole_call(
    archive: DicomArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What queries have taken of it, the retrieval has no more: here they have taken all."""
    ticks = iter([0.0, 61.0])  # before the queries, and after them
    monkeypatch.setattr("seriesio.transports.dicom.monotonic", lambda: next(ticks))
    with pytest.raises(AssociationError, match="not done within 60 seconds"):
        await read(transport(archive, timeouts=Timeouts(total=60)))


async def test_rejected_for_now(archive: DicomArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is rejected for now comes again a little later."""
    archive.faults = Faults(reject=(2, 3, 2))

    def allow(_: int) -> float:
        archive.faults = Faults()
        return 0.0

    monkeypatch.setattr("seriesio.transports._dicom_session.pause", allow)
    assert len(await read(transport(archive))) == COUNT


@pytest.mark.parametrize("corruption", ["cut", "length"])
async def test_corrupt(archive: DicomArchive, corruption: Any) -> None:
    """A data set that is cut, or lies about a length, is an error of the series that names it."""
    archive.faults = Faults(corrupt_dataset=2, corruption=corruption)
    async with Client() as client:
        with pytest.raises((DicomError, IncompleteSeriesError)) as caught:
            await client.open(archive.url + path(made()))
    assert any(uid in str(caught.value) for uid in uids(made()))


# --- cancellation -----------------------------------------------------------------------------


async def test_left_early(archive: DicomArchive) -> None:
    """Who takes a few blobs and leaves ends the associations."""
    blobs = transport(archive).read()
    await anext(blobs)
    await blobs.aclose()  # type: ignore[attr-defined]
    await gone(archive)


@pytest.mark.parametrize("within", WAYS)
async def test_cancelled_anywhere(archive: DicomArchive, within: Within) -> None:
    """Cancelled at whatever time, with whatever fault: no association, no socket is left."""
    dice = random.Random(5)
    faults = [Faults(), Faults(abort_after=4), Faults(max_pdu=99), Faults(wrong_uids=3)]
    async with Client() as client:
        for _ in range(40):
            archive.faults = dice.choice(faults)
            async with within(dice.random() * 0.06):
                try:
                    await client.open(archive.url + path(made()))
                except SeriesIOError:
                    continue
    await gone(archive)


async def gone(archive: DicomArchive) -> None:
    """The archive notices that all associations have ended."""
    for _ in range(500):
        if not archive.open_associations:
            return
        await anyio.sleep(0.01)
    raise AssertionError("associations are left open")


async def test_nobody_listens() -> None:
    """An archive that is not there is an error of the call that wanted it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with Client() as client:
        with pytest.raises(AssociationError, match="Connection refused"):
            await client.open(f"dicom://127.0.0.1:{port}/HERE/P/1.2/1")
