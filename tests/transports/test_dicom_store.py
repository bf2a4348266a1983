"""C-STORE: what is said to be stored is there byte for byte, and what is not is told, each one."""

from __future__ import annotations

import socket
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pydicom
import pytest
from pydicom.uid import UID
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_primitives import A_ASSOCIATE, AsynchronousOperationsWindowNegotiation

from seriesio import Client, Series
from seriesio.blob import (
    Blob,
    BlobReader,
    FileBlob,
    MemoryBlob,
    PiecesBlob,
    ReceivedBlob,
    RenamedBlob,
)
from seriesio.errors import (
    AssociationError,
    HeaderError,
    StatusError,
    StoreError,
    TransportError,
)
from seriesio.formats._transcode import transcode
from seriesio.testing import DicomArchive, Faults, phantom
from seriesio.transports import _dicom_session, _dicom_store_check, _dicom_store_session
from seriesio.transports._dicom_association import Peer, Proposal, Timeouts
from seriesio.transports._dicom_dimse import Command, decode_command, store_response
from seriesio.transports._dicom_inbound import Destination
from seriesio.transports._dicom_meta import parse_meta
from seriesio.transports._dicom_pdu import Fragment, Pdu, PduReader, fragments
from seriesio.transports._dicom_pynetdicom import (
    MOST_CONTEXTS,
    Context,
    Request,
    decode_request,
    encode_accept,
)
from seriesio.transports._dicom_store import StoreReceipt, store
from seriesio.transports._dicom_store_instance import proposals_for

from ..cancelling import WAYS, Within

ROOT = "1.2.840.10008.1.2"
EXPLICIT = ROOT + ".1"
RLE = ROOT + ".5"
CT = "1.2.840.10008.5.1.4.1.1.2"
QUICK = Timeouts(connect=5, association=5, answer=5, idle=5, release=1)

Files = Mapping[str, bytes]


@pytest.fixture
def archive() -> Iterator[DicomArchive]:
    with DicomArchive() as running:
        yield running


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tries, so that tests are quick."""
    monkeypatch.setattr(_dicom_session, "_PAUSE", 0.01)
    monkeypatch.setattr(_dicom_store_check, "_PAUSE", 0.01)


@pytest.fixture(scope="module")
def ten() -> Files:
    return phantom((10, 16, 16)).files()


def peer_of(archive: DicomArchive, **changes: Any) -> Peer:
    return Peer("127.0.0.1", archive.port, archive.ae_title, **{"timeouts": QUICK, **changes})


async def blobs_of(files: Files) -> AsyncIterator[Blob]:
    for name, data in files.items():
        yield MemoryBlob(name, data)


async def sent(files: Files, archive: DicomArchive, **options: Any) -> StoreReceipt:
    return await store(blobs_of(files), peer_of(archive), archive.url, **options)


def read(data: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(BytesIO(data))


def uids_of(files: Files) -> list[str]:
    return [str(pydicom.dcmread(BytesIO(data)).SOPInstanceUID) for data in files.values()]


def dataset_of(data: bytes) -> bytes:
    """What follows the file meta information, by its own group length."""
    meta = pydicom.dcmread(BytesIO(data)).file_meta
    return data[132 + 12 + meta.FileMetaInformationGroupLength :]


def instance(number: int, sop_class: str = CT, syntax: str = EXPLICIT) -> bytes:
    """A tiny object of a SOP class, made by pydicom."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, f"1.2.3.{number + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.5"
    dataset.PatientID = "X"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


# --- what arrives -----------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ROOT, EXPLICIT, ROOT + ".1.99", ROOT + ".2", RLE])
async def test_byte_for_byte(archive: DicomArchive, syntax: str) -> None:
    """Each transfer syntax that the peer takes goes as it is: the encoded data sets are equal."""
    files = phantom((5, 16, 16), transfer_syntax=syntax).files()
    receipt = await sent(files, archive)
    expected = dict(zip(uids_of(files), files.values(), strict=True))
    kept = archive.datasets()
    assert kept.keys() == expected.keys()
    for uid, data in expected.items():
        assert kept[uid] == (syntax, dataset_of(data))
    assert list(receipt.names) == uids_of(files)
    assert (receipt.count, receipt.size) == (5, sum(map(len, files.values())))
    assert (receipt.url, receipt.warnings) == (archive.url, ())


@pytest.mark.parametrize("max_pdu", [4096, 1 << 17])
async def test_every_kind_of_blob(archive: DicomArchive, tmp_path: Path, max_pdu: int) -> None:
    """From files, memory, and pieces cut anywhere; in PDUs as large as the peer takes."""
    archive.faults = Faults(max_pdu=max_pdu)
    files = phantom((4, 300, 300)).files()
    (one, first), (two, second), (three, third), (four, fourth) = files.items()
    (tmp_path / "one").write_bytes(first)
    cuts = [0, 100, 133, 150, 700, 70_001, len(second)]
    pieces = [memoryview(second)[a:b] for a, b in pairwise(cuts)]

    async def blobs() -> AsyncIterator[Blob]:
        yield FileBlob(one, str(tmp_path / "one"), len(first))
        yield PiecesBlob(two, tuple(pieces))
        yield RenamedBlob(three, MemoryBlob("other", third))
        yield RenamedBlob(four, PiecesBlob("other", (memoryview(fourth),)))

    await store(blobs(), peer_of(archive), archive.url)
    assert [data for _, data in archive.datasets().values()] == list(
        map(dataset_of, files.values())
    )


async def test_larger_than_a_chunk(archive: DicomArchive, tmp_path: Path) -> None:
    """A file of several megabytes is read piece by piece, and arrives whole."""
    (data,) = phantom((1, 1500, 1500)).files().values()
    (tmp_path / "large").write_bytes(data)

    async def blobs() -> AsyncIterator[Blob]:
        yield FileBlob("large", str(tmp_path / "large"), len(data))

    await store(blobs(), peer_of(archive), archive.url)
    assert [kept for _, kept in archive.datasets().values()] == [dataset_of(data)]


async def test_nothing_to_store(archive: DicomArchive) -> None:
    """Without instances no association is asked for."""
    assert (await sent({}, archive)).count == 0
    assert not archive.associations


async def test_titles_and_contexts(archive: DicomArchive, ten: Files) -> None:
    """AE titles as told; the SOP class with its own and both native transfer syntaxes."""
    await store(blobs_of(ten), peer_of(archive, calling="ME"), archive.url, associations=1)
    (association,) = archive.associations
    assert (association.calling, association.called) == ("ME", archive.ae_title)
    assert {p for p in association.proposed if p[0] == CT} == {(CT, (EXPLICIT,)), (CT, (ROOT,))}
    assert association.end == "released"


# --- contexts ---------------------------------------------------------------------------------


def test_proposals_stay_within_the_limit() -> None:
    """What is at hand comes first; no more than 128 with the one for storage commitment."""
    kinds = [(f"1.2.{number}", RLE) for number in range(100)]
    proposals, covered = proposals_for([kinds[99]], kinds)
    assert len(proposals) < MOST_CONTEXTS
    assert proposals[:3] == [Proposal("1.2.99", (one,)) for one in (RLE, EXPLICIT, ROOT)]
    assert covered == {kinds[99], *kinds[:41]}


async def test_more_kinds_than_contexts(archive: DicomArchive) -> None:
    """Sixty SOP classes need several associations one after the other, and all arrive."""
    classes = [str(cx.abstract_syntax) for cx in AllStoragePresentationContexts][:60]
    files = {str(n): instance(n, uid) for n, uid in enumerate(classes)}
    receipt = await sent(files, archive, associations=1)
    assert receipt.count == len(archive) == 60
    assert max(len(association.proposed) for association in archive.associations) <= 128


async def test_unknown_sop_class(archive: DicomArchive) -> None:
    """A SOP class that the peer does not take fails, by its UID; the others are stored."""
    files = {"a": instance(1), "b": instance(2, "1.2.3.4.5"), "c": instance(3)}
    with pytest.raises(StoreError, match=r"does not take 1\.2\.3\.4\.5") as caught:
        await sent(files, archive)
    assert [name for name, _ in caught.value.failed] == ["1.2.3.3"]
    assert list(archive.datasets()) == ["1.2.3.2", "1.2.3.4"]


async def test_nothing_is_accepted(archive: DicomArchive, ten: Files) -> None:
    """A peer that accepts no context at all: every instance fails, in a few associations."""
    archive.faults = Faults(refuse_store=True)
    with pytest.raises(StoreError, match="10 of 10 instances") as caught:
        await sent(ten, archive)
    assert sorted(name for name, _ in caught.value.failed) == sorted(uids_of(ten))
    assert len(archive.associations) < 5


async def test_compressed_is_refused(archive: DicomArchive) -> None:
    """Refused compression without a way to transcode: a failure that names the syntax."""
    archive.faults = Faults(refused_syntaxes=frozenset({RLE}))
    files = phantom((2, 16, 16), transfer_syntax=RLE).files()
    with pytest.raises(StoreError, match="not in transfer syntax RLE Lossless"):
        await sent(files, archive)
    assert len(archive) == 0


@pytest.mark.parametrize("refused", [{RLE}, {RLE, EXPLICIT}])
async def test_transcoded(archive: DicomArchive, refused: set[str]) -> None:
    """Refused compression: sent uncompressed, explicit if it may be, with the same pixels."""
    archive.faults = Faults(refused_syntaxes=frozenset(refused))
    made = phantom((3, 16, 16), transfer_syntax=RLE)
    await sent(made.files(), archive, transcode=transcode)
    kept = [pydicom.dcmread(BytesIO(data)) for data in archive.files().values()]
    target = ROOT if EXPLICIT in refused else EXPLICIT
    assert {str(one.file_meta.TransferSyntaxUID) for one in kept} == {target}
    kept.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    np.testing.assert_array_equal(np.stack([one.pixel_array for one in kept]), made.stored)


async def test_only_the_default_syntax(archive: DicomArchive, ten: Files) -> None:
    """A peer with Implicit VR Little Endian alone gets explicit instances converted."""
    archive.faults = Faults(refused_syntaxes=frozenset({EXPLICIT}))
    await sent(ten, archive, transcode=transcode)
    before = {uid: pydicom.dcmread(BytesIO(data)) for uid, data in
              zip(uids_of(ten), ten.values(), strict=True)}  # fmt: skip
    for uid, data in archive.files().items():
        after = pydicom.dcmread(BytesIO(data))
        assert after.file_meta.TransferSyntaxUID == ROOT
        assert [e.value for e in after] == [e.value for e in before[uid]]


# --- statuses ---------------------------------------------------------------------------------


async def test_failures_keep_nothing_back(archive: DicomArchive, ten: Files) -> None:
    """Failed ones are named with their status in words; all others are stored."""
    archive.faults = Faults(store_statuses={2: 0xA700, 5: 0xC123, 7: 0x0124})
    with pytest.raises(StoreError) as caught:
        await sent(ten, archive, associations=1)
    uids = uids_of(ten)
    failed = dict(caught.value.failed)
    assert failed.keys() == {uids[1], uids[4], uids[6]}
    assert "0xA700 (refused: out of resources)" in failed[uids[1]]
    assert "0xC123 (cannot understand" in failed[uids[4]]
    assert "not authorized" in failed[uids[6]]
    assert "3 of 10 instances" in str(caught.value)
    assert archive.datasets().keys() == set(uids) - failed.keys()


async def test_warnings_are_told(archive: DicomArchive, ten: Files) -> None:
    """Warnings count as stored, and the receipt tells of them."""
    archive.faults = Faults(store_statuses={1: 0xB000, 2: 0xB007, 3: 0xB006})
    receipt = await sent(ten, archive, associations=1)
    uids = uids_of(ten)
    assert receipt.count == 10
    assert [warning.split(":")[0] for warning in receipt.warnings] == uids[:3]
    assert "coerced" in receipt.warnings[0]
    assert "does not match the SOP class" in receipt.warnings[1]
    assert "discarded" in receipt.warnings[2]


async def test_no_dicom_among_them(archive: DicomArchive, ten: Files) -> None:
    """Files that are no DICOM fail by name; what comes after them is stored."""
    files = {**{f"{n}.txt": b"no image" * n for n in range(9)}, **ten}
    for options in ({}, {"transcode": transcode}):
        with pytest.raises(StoreError, match="9 of 19") as caught:
            await sent(files, archive, **options)
        assert dict(caught.value.failed)["5.txt"] == "5.txt: not a DICOM file"
        assert archive.datasets().keys() == set(uids_of(ten))


async def test_directory_of_media(archive: DicomArchive) -> None:
    """A DICOMDIR is no instance (PS3.10 section 8.6): not sent, and told so."""
    files = {"DICOMDIR": instance(1, "1.2.840.10008.1.3.10"), "b": instance(2)}
    receipt = await sent(files, archive, verify=True)
    assert (receipt.skipped, receipt.names) == (("DICOMDIR",), ("1.2.3.3",))


async def test_bare_dataset(archive: DicomArchive) -> None:
    """A data set without file meta information is stored all the same."""
    files = phantom((2, 8, 8), preamble=False, transfer_syntax=ROOT).files()
    assert (await sent(files, archive, transcode=transcode)).count == 2


# --- associations -----------------------------------------------------------------------------


async def test_several_associations(archive: DicomArchive) -> None:
    """Where instances wait, further associations take their part, up to the limit."""
    files = phantom((60, 64, 64)).files()
    await sent(files, archive, associations=3)
    used = {request.association for request in archive.requests}
    assert len(used) == len(archive.associations) == 3
    assert archive.datasets().keys() == set(uids_of(files))


async def test_one_association_where_nothing_waits(archive: DicomArchive, ten: Files) -> None:
    """A source that is slower than the peer needs no second one."""

    async def source() -> AsyncIterator[Blob]:
        for name, data in ten.items():
            await anyio.sleep(0.03)
            yield MemoryBlob(name, data)

    await store(source(), peer_of(archive), archive.url)
    assert len(archive.associations) == 1


async def test_fewer_where_refused(archive: DicomArchive) -> None:
    """A peer with room for one association gets all over that one."""
    archive.faults = Faults(max_associations=1)
    files = phantom((40, 32, 32)).files()
    assert (await sent(files, archive)).count == 40
    assert sum(a.end == "released" for a in archive.associations) == 1


async def test_one_without_storage_commitment(
    archive: DicomArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that offers no storage commitment is not sent to over several associations."""
    monkeypatch.setattr(_dicom_store_session, "_ARCHIVE", Proposal("1.2.3", (ROOT,)))
    monkeypatch.setattr(_dicom_store_session, "COMMITMENT", "1.2.3")
    files = phantom((40, 32, 32)).files()
    assert (await sent(files, archive)).count == 40
    assert len(archive.associations) == 1


async def test_calls_share_the_limit(archive: DicomArchive) -> None:
    """Two calls at once have one association each, and the further ones together."""
    first, second = (phantom((40, 32, 32), seed=seed).files() for seed in (1, 2))
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: sent(first, archive, associations=2))
        group.start_soon(lambda: sent(second, archive, associations=2))
    assert len(archive) == 80
    assert len(archive.associations) <= 4


# --- what breaks ------------------------------------------------------------------------------


async def test_association_breaks(archive: DicomArchive) -> None:
    """What was not answered goes over a new association: all are stored."""
    archive.faults = Faults(abort_after=7)
    files = phantom((12, 16, 16)).files()
    receipt = await sent(files, archive, associations=1)
    assert list(receipt.names) == uids_of(files)
    assert [a.end for a in archive.associations] == ["aborted", "released"]


@pytest.mark.parametrize(
    "faults", [Faults(abort_after=0), Faults(close_after=0), Faults(bad_pdu_after=0)]
)
async def test_association_breaks_each_time(archive: DicomArchive, faults: Faults) -> None:
    """A peer that takes nothing is left alone after a few tries; each instance is told of."""
    archive.faults = faults
    files = phantom((40, 16, 16)).files()
    with pytest.raises(StoreError, match="still to come was not sent") as caught:
        await sent(files, archive)
    told, taken = dict(caught.value.failed), len(caught.value.failed)
    uids = zip(uids_of(files), files, strict=True)
    assert [uid in told or name in told for uid, name in uids] == [n < taken for n in range(40)]
    assert f"{taken} of {taken} instances" in str(caught.value)
    assert len(archive.associations) <= 8


async def test_silent_peer(archive: DicomArchive, ten: Files) -> None:
    """A peer that never answers is given up within its timeouts."""
    archive.faults = Faults(stall_after=0)
    quick = Timeouts(answer=0.1, idle=0.1, release=0.1)
    begin = time.monotonic()
    with pytest.raises(StoreError, match="did not come in time"):
        await store(blobs_of(ten), peer_of(archive, timeouts=quick), archive.url)
    assert time.monotonic() - begin < 10


async def test_rejected(archive: DicomArchive, ten: Files) -> None:
    """A peer that rejects the association: its reason, and no more of the source is read."""
    archive.faults = Faults(reject=(1, 1, 3))
    with pytest.raises(AssociationError, match="our AE title is not recognized"):
        await sent(ten, archive)
    assert len(archive.associations) == 1


async def test_rejected_for_now(archive: DicomArchive, ten: Files) -> None:
    """A transient rejection is tried again a few times, with pauses."""
    archive.faults = Faults(reject=(2, 3, 1))
    with pytest.raises(AssociationError, match="temporary congestion"):
        await sent(ten, archive)
    assert len(archive.associations) == 4


async def test_nobody_there(ten: Files) -> None:
    """Nobody listens at the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        peer = Peer("127.0.0.1", taken.getsockname()[1], "NOBODY", timeouts=QUICK)
        with pytest.raises(AssociationError, match="Connection refused"):
            await store(blobs_of(ten), peer, "dicom://nobody")


async def test_source_fails(archive: DicomArchive, ten: Files) -> None:
    """An error of the source comes through as it is, and says how many were stored before."""

    async def source() -> AsyncIterator[Blob]:
        async for blob in blobs_of(ten):
            yield blob
            await anyio.sleep(0.02)
        raise TransportError("the source is gone")

    with pytest.raises(TransportError, match="the source is gone") as caught:
        await store(source(), peer_of(archive), archive.url)
    assert caught.value.__notes__ == ["10 instances were stored before that"]


@dataclass(frozen=True)
class Cut:
    """A blob that ends early, after so many bytes."""

    data: bytes
    end: int
    name: str = "cut.dcm"
    sequential: bool = False

    @property
    def size(self) -> int:
        return len(self.data)

    def open(self) -> BlobReader:
        return MemoryBlob(self.name, self.data[: self.end]).open()


@pytest.mark.parametrize("end", [600, 1 << 20, 3 << 20])
async def test_file_ends_early(archive: DicomArchive, end: int, ten: Files) -> None:
    """An instance that ends before it is whole is never stored, the others are."""
    (data,) = phantom((1, 1500, 1500)).files().values()

    async def source() -> AsyncIterator[Blob]:
        yield Cut(data, end)
        async for blob in blobs_of(ten):
            yield blob

    with pytest.raises(StoreError, match="bytes short") as caught:
        await store(source(), peer_of(archive), archive.url)
    assert len(caught.value.failed) == 1
    assert archive.datasets().keys() == set(uids_of(ten))


def wait_for_the_end(archive: DicomArchive) -> None:
    end = time.monotonic() + 5
    while archive.open_associations:
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("within", WAYS)
@pytest.mark.parametrize("after", [0.0, 0.02, 0.2])
async def test_cancelled(archive: DicomArchive, ten: Files, after: float, within: Within) -> None:
    """Cancelled at any time: associations end at once, and no thread is left."""
    archive.faults = Faults(stall_after=3)
    before = threading.active_count()
    begin = time.monotonic()
    done = False
    async with within(after):
        await sent(ten, archive)
        done = True
    assert not done
    assert time.monotonic() - begin < after + 1
    await anyio.to_thread.run_sync(wait_for_the_end, archive)
    assert threading.active_count() <= before + 8  # idle workers, and the archive's own


# --- verification and commitment --------------------------------------------------------------


@pytest.fixture
def forgetful(archive: DicomArchive, ten: Files, monkeypatch: pytest.MonkeyPatch) -> str:
    """The UID of an instance that the archive says it has stored, and has not."""
    lost, put = uids_of(ten)[3], archive._holdings.put

    def forget(instance: Any) -> None:
        if instance.sop_instance != lost:
            put(instance)

    monkeypatch.setattr(archive._holdings, "put", forget)
    return lost


async def test_verified(archive: DicomArchive, ten: Files) -> None:
    """All are asked for by series, once."""
    await sent(ten, archive, verify=True)
    (find,) = [request for request in archive.requests if request.service == "C-FIND"]
    assert find.level == "IMAGE"


async def test_not_found_afterwards(archive: DicomArchive, ten: Files, forgetful: str) -> None:
    """What C-FIND does not tell of is not called stored."""
    with pytest.raises(StoreError, match="C-FIND does not find it") as caught:
        await sent(ten, archive, verify=True)
    assert [name for name, _ in caught.value.failed] == [forgetful]


async def test_verification_fails(archive: DicomArchive, ten: Files) -> None:
    """A C-FIND that fails leaves nothing verified."""
    archive.faults = Faults(find_status=0xA700)
    with pytest.raises(StatusError, match="out of resources") as caught:
        await sent(ten, archive, verify=True)
    assert caught.value.__notes__ == ["10 of 10 instances were stored before that"]


async def test_committed(archive: DicomArchive, ten: Files) -> None:
    """Storage commitment is asked for, and granted on the same association."""
    await sent(ten, archive, commit=True)
    assert [request.service for request in archive.requests][-1] == "N-ACTION"


async def test_not_committed(archive: DicomArchive, ten: Files, forgetful: str) -> None:
    """What the archive does not commit itself to is not called stored."""
    with pytest.raises(StoreError, match="not committed to: 0x0112") as caught:
        await sent(ten, archive, commit=True)
    assert [name for name, _ in caught.value.failed] == [forgetful]


async def test_no_report(
    archive: DicomArchive, ten: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that does not come is waited for as long as for any answer, and no longer."""
    monkeypatch.setattr("seriesio.testing._archive_service.report", lambda *_: None)
    peer = peer_of(archive, timeouts=Timeouts(answer=0.5, idle=0.5))
    with pytest.raises(AssociationError, match="report on storage commitment"):
        await store(blobs_of(ten), peer, archive.url, commit=True)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


async def test_committed_elsewhere(archive: DicomArchive, ten: Files, port: int) -> None:
    """A report that comes over an association of its own is heard, in the destination's name."""
    archive.faults = Faults(report_elsewhere=True)
    archive.add_destination("HOME", "127.0.0.1", port)
    known = Destination("HOME", port)
    await store(blobs_of(ten), peer_of(archive), archive.url, commit=True, destination=known)
    assert [one.calling for one in archive.associations] == ["SERIESIO", "HOME"]
    await anyio.to_thread.run_sync(wait_for_the_end, archive)
    socket.create_server(("127.0.0.1", port)).close()


async def test_committed_here(archive: DicomArchive, ten: Files, port: int) -> None:
    """A destination keeps no report from coming on the association that has asked for it."""
    known = Destination("HOME", port)
    await store(blobs_of(ten), peer_of(archive), archive.url, commit=True, destination=known)


async def test_not_committed_elsewhere(
    archive: DicomArchive, ten: Files, forgetful: str, port: int
) -> None:
    """What such a report does not commit to is told as ever."""
    archive.faults = Faults(report_elsewhere=True)
    archive.add_destination("HOME", "127.0.0.1", port)
    known = Destination("HOME", port)
    with pytest.raises(StoreError, match="not committed to: 0x0112") as caught:
        await store(blobs_of(ten), peer_of(archive), archive.url, commit=True, destination=known)
    assert [name for name, _ in caught.value.failed] == [forgetful]


async def test_no_report_anywhere(archive: DicomArchive, ten: Files, port: int) -> None:
    """An archive that knows us not as the destination never reports: the wait has its end."""
    archive.faults = Faults(report_elsewhere=True)
    peer = peer_of(archive, timeouts=Timeouts(answer=0.6, idle=0.5))
    known = Destination("HOME", port)
    with pytest.raises(AssociationError, match="no report on storage commitment came: "):
        await store(blobs_of(ten), peer, archive.url, commit=True, destination=known)


async def test_unverifiable_is_not_sent(archive: DicomArchive, ten: Files) -> None:
    """An instance that does not say whose it is cannot be asked for: it is not sent."""
    dataset = read(instance(1))
    del dataset.StudyInstanceUID
    buffer = BytesIO()
    dataset.save_as(buffer)
    with pytest.raises(StoreError, match="header that cannot be read") as caught:
        await sent({"bad": buffer.getvalue(), **ten}, archive, verify=True)
    assert [name for name, _ in caught.value.failed] == ["1.2.3.2"]
    assert len(archive) == 10


# --- memory -----------------------------------------------------------------------------------


async def test_bytes_are_let_go(archive: DicomArchive) -> None:
    """What is stored is not held: a source that makes its bytes as it goes never has many."""
    alive: set[int] = set()
    most = 0

    async def source() -> AsyncIterator[Blob]:
        nonlocal most
        for number, data in enumerate(files.values()):
            array = np.frombuffer(data, np.uint8).copy()
            weakref.finalize(array, alive.discard, number)
            alive.add(number)
            most = max(most, len(alive))
            yield ReceivedBlob(str(number), (array.data,))
            del array

    files = phantom((100, 32, 32)).files()
    await store(source(), peer_of(archive), archive.url, verify=True, commit=True)
    assert most < 40


# --- peers made by hand -----------------------------------------------------------------------


@dataclass
class Conversation:
    """One association as its acceptor sees it, on a bare socket.

    Attributes:
        stored: SOP Instance UIDs in the order in which they came, with their data.
    """

    connection: socket.socket
    window: int = 1
    stored: list[tuple[str, bytes]] = field(default_factory=list)
    _reader: PduReader = field(default_factory=lambda: PduReader(1 << 20))
    _events: Iterator[Fragment | Pdu] = field(default_factory=lambda: iter(()))

    def event(self) -> Fragment | Pdu | None:
        while (found := next(self._events, None)) is None:
            count = self.connection.recv_into(self._reader.space())
            if not count:
                return None
            self._events = self._reader.received(count)
        return found

    def accept(self) -> None:
        """Accept everything that is proposed."""
        event = self.event()
        assert isinstance(event, Pdu)
        request = decode_request(event.body)
        accepted = {n: Context(n, p.abstract, p.syntaxes[0]) for n, p in request.contexts}
        self.connection.sendall(self._acceptance(request, accepted))

    def _acceptance(self, request: Request, accepted: Mapping[int, Context]) -> bytes:
        data = encode_accept(request, accepted, max_pdu=16384)
        if self.window == 1:
            return data
        pdu = A_ASSOCIATE_AC()
        pdu.decode(data)
        primitive = pdu.to_primitive()
        assert isinstance(primitive, A_ASSOCIATE)
        item = AsynchronousOperationsWindowNegotiation()
        item.maximum_number_operations_invoked = self.window
        item.maximum_number_operations_performed = 1
        primitive.user_information.append(item)
        return A_ASSOCIATE_AC(primitive).encode()

    def request(self) -> tuple[int, Command] | None:
        """A whole C-STORE request: presentation context and command; None at the end."""
        parts: dict[bool, bytes] = {True: b"", False: b""}
        while isinstance(event := self.event(), Fragment):
            parts[event.command] += bytes(event.data)
            if event.last and not event.command:
                command = decode_command(parts[True])
                self.stored.append((command.sop_instance, parts[False]))
                return event.context, command
        return None

    def answer(self, context: int, message: int, sop_instance: str, status: int = 0) -> None:
        response = store_response(message, CT, sop_instance, status)
        for head, views in fragments(context, [response], 16384, command=True):
            self.connection.sendall(head + b"".join(views))

    def end(self) -> None:
        """Answer the release."""
        if (event := self.event()) is not None and isinstance(event, Pdu) and event.kind == 5:
            self.connection.sendall(b"\6\0\0\0\0\4\0\0\0\0")


@contextmanager
def acceptor(talk: Any, window: int = 1) -> Iterator[tuple[Peer, Conversation]]:
    """A peer that accepts one connection and then does what ``talk`` says."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        conversation = Conversation(server, window)
        peer = Peer("127.0.0.1", server.getsockname()[1], "PEER", timeouts=QUICK)

        def serve() -> None:
            connection, _ = server.accept()
            server.close()  # whoever comes again is refused
            with connection:
                connection.settimeout(5)
                conversation.connection = connection
                conversation.accept()
                talk(conversation)

        thread = threading.Thread(target=serve)
        thread.start()
        yield peer, conversation
        thread.join()


async def test_window(ten: Files) -> None:
    """Where a peer allows five operations at a time, five are sent before an answer came."""

    def talk(conversation: Conversation) -> None:
        for _ in range(2):
            asked = [conversation.request() for _ in range(5)]
            for one in reversed(asked):  # answers may come in any order (PS3.7 section 7.5.2)
                assert one is not None
                context, command = one
                conversation.answer(context, command.message, command.sop_instance)
        conversation.end()

    with acceptor(talk, window=5) as (peer, conversation):
        receipt = await store(blobs_of(ten), peer, "dicom://peer", associations=1)
    assert receipt.count == 10
    assert [uid for uid, _ in conversation.stored] == uids_of(ten)
    assert [data for _, data in conversation.stored] == list(map(dataset_of, ten.values()))


async def test_answers_for_another(ten: Files) -> None:
    """An answer that names another instance does not count for the one that was sent."""

    def talk(conversation: Conversation) -> None:
        while (asked := conversation.request()) is not None:
            context, command = asked
            conversation.answer(context, command.message, "1.2.3.4")

    with (
        acceptor(talk) as (peer, _),
        pytest.raises(StoreError, match="answers for another instance") as caught,
    ):
        await store(blobs_of(ten), peer, "dicom://peer", associations=1)
    assert len(caught.value.failed) == 10


async def test_answers_what_was_not_asked(ten: Files) -> None:
    """An answer to an unknown message ends the association; nothing is called stored."""

    def talk(conversation: Conversation) -> None:
        asked = conversation.request()
        assert asked is not None
        conversation.answer(asked[0], 4711, asked[1].sop_instance)

    with acceptor(talk) as (peer, _), pytest.raises(StoreError) as caught:
        await store(blobs_of(ten), peer, "dicom://peer", associations=1)
    assert len(caught.value.failed) == int(str(caught.value).partition(" of ")[2].split()[0])


# --- a whole series ---------------------------------------------------------------------------


async def test_series_without_header() -> None:
    """A Series that has no DICOM header is refused before anybody is called: template= helps."""
    series = Series.from_array(np.zeros((3, 4, 5), np.int16))
    async with Client() as client:
        with pytest.raises(HeaderError, match="template="):
            await client.write(series, "dicom://127.0.0.1:1/NOBODY")


async def test_series_written(archive: DicomArchive, tmp_path: Path, ten: Files) -> None:
    """An opened Series goes to the archive with its own UIDs and bytes."""
    for name, data in ten.items():
        (tmp_path / name).write_bytes(data)
    series = await Series.open(tmp_path)
    receipt = await series.write(archive.url)
    assert sorted(receipt.names) == sorted(uids_of(ten))
    kept = archive.datasets()
    assert [kept[uid][1] for uid in uids_of(ten)] == list(map(dataset_of, ten.values()))


def test_meta_of_what_is_sent() -> None:
    """The tiny objects of these tests are what pydicom takes them for."""
    assert parse_meta(instance(4)).sop_instance == "1.2.3.5"
