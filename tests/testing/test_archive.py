"""The embedded archive, asked by pynetdicom: what it answers, and what goes wrong if told to."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom import AE, StoragePresentationContexts, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from seriesio.errors import DicomError, TooLargeError, TransportError
from seriesio.testing import DicomArchive, Faults, Identity, Phantom, phantom

VERIFICATION, COMMITMENT = "1.2.840.10008.1.1", "1.2.840.10008.1.20.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))
PATIENT_FIND, PATIENT_MOVE, PATIENT_GET = (f"1.2.840.10008.5.1.4.1.2.1.{n}" for n in (1, 2, 3))
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"


@cache
def made(transfer_syntax: str = EXPLICIT) -> Phantom:
    return phantom((4, 16, 12), transfer_syntax=transfer_syntax)


@pytest.fixture
def archive() -> Iterator[DicomArchive]:
    """An archive in memory that holds four instances."""
    with DicomArchive(ae_title="HERE") as running:
        running.add(made().files().values())
        yield running


def names(result: Phantom | None = None) -> Dataset:
    """One instance's dataset: the UIDs of the series."""
    return (result or made()).datasets()[0]


def keys(level: str, of: Phantom | None = None, **more: str) -> Dataset:
    """An identifier with the UIDs down to a level."""
    identifier, first = Dataset(), names(of)
    identifier.QueryRetrieveLevel = level
    identifier.StudyInstanceUID = first.StudyInstanceUID
    if level != "STUDY":
        identifier.SeriesInstanceUID = first.SeriesInstanceUID
    if level == "IMAGE":
        identifier.SOPInstanceUID = ""
    for keyword, value in more.items():
        setattr(identifier, keyword, value)
    return identifier


@contextmanager
def associated(archive: DicomArchive, *contexts: Any, **how: Any) -> Iterator[Association]:
    """An association of pynetdicom with the archive, released at the end."""
    entity = AE("THERE")
    entity.acse_timeout = entity.dimse_timeout = 5
    proposed = [build_context(one) if isinstance(one, str) else one for one in contexts]
    how = {"ae_title": archive.ae_title, **how}
    association = entity.associate(archive.host, archive.port, proposed, **how)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        for thread in (association, association.dul):
            if thread.ident is not None:
                thread.join(5)


class Taker:
    """The SCP side of a C-GET: what arrives, as it arrives."""

    def __init__(self, status: int = 0) -> None:
        self.datasets: list[tuple[str, bytes]] = []
        self.status = status

    def __call__(self, event: Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)  # type: ignore[union-attr]
        self.datasets.append((uid, event.encoded_dataset(include_meta=False)))
        return self.status

    @property
    def uids(self) -> list[str]:
        return [uid for uid, _ in self.datasets]


def get(
    archive: DicomArchive,
    identifier: Dataset | None = None,
    taker: Taker | None = None,
    *,
    model: str = STUDY_GET,
    syntaxes: tuple[str, ...] = (EXPLICIT,),
) -> tuple[Taker, list[tuple[Dataset, Dataset | None]]]:
    """C-GET of the series: what arrived, and the answers."""
    taker = taker or Taker()
    roles = [build_role(CT, scp_role=True)]
    contexts = [model, *(build_context(CT, syntax) for syntax in syntaxes)]
    handlers = [(evt.EVT_C_STORE, taker)]
    with associated(archive, *contexts, ext_neg=roles, evt_handlers=handlers) as association:
        answers = list(association.send_c_get(identifier or keys("SERIES"), model))
    return taker, answers


def find(archive: DicomArchive, identifier: Dataset, model: str = STUDY_FIND) -> list[Any]:
    with associated(archive, model) as association:
        return list(association.send_c_find(identifier, model))


def body(file: bytes) -> bytes:
    """The dataset of a Part 10 file, by the length that its meta information states."""
    return file[144 + struct.unpack_from("<I", file, 140)[0] :]


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.002)


# --- services ---------------------------------------------------------------------------------


async def test_echo() -> None:
    """C-ECHO at a free port of this machine, in an ``async with``; the records say who asked."""
    async with DicomArchive() as archive:
        assert archive.url == f"dicom://127.0.0.1:{archive.port}/SERIESIO"
        with associated(archive, VERIFICATION) as association:
            assert association.send_c_echo().Status == 0
            assert archive.open_associations == 1
        until(lambda: archive.open_associations == 0)
        (record,) = archive.associations
        assert (record.calling, record.called, record.end) == ("THERE", "SERIESIO", "released")
        assert record.proposed[0][0] == VERIFICATION
        assert record.accepted == ((VERIFICATION, EXPLICIT),)
        assert [request.service for request in archive.requests] == ["C-ECHO"]
        archive.forget()
        assert (archive.requests, archive.associations) == ((), ())
    with pytest.raises(RuntimeError, match="does not run"):
        _ = archive.port


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED, RLE])
def test_store_and_get(syntax: str) -> None:
    """Datasets come back byte for byte as they were sent, in any transfer syntax."""
    result = made(syntax)
    with DicomArchive() as archive:
        with associated(archive, build_context(CT, syntax)) as association:
            for dataset in result.datasets():
                assert association.send_c_store(dataset).Status == 0
        kept = archive.datasets()
        taker, answers = get(archive, keys("SERIES", result), syntaxes=(syntax,))
    assert taker.datasets == [(uid, data) for uid, (_, data) in kept.items()]
    assert answers[-1][0].Status == 0
    assert answers[-1][0].NumberOfCompletedSuboperations == 4
    if syntax != DEFLATED:  # pynetdicom has deflated it anew
        sent = {str(d.SOPInstanceUID): body(f) for d, f in datasets_and_files(result)}
        assert {uid: data for uid, (_, data) in kept.items()} == sent


def datasets_and_files(result: Phantom) -> list[tuple[Dataset, bytes]]:
    return [(dcmread(BytesIO(file)), file) for file in result.files().values()]


@pytest.mark.parametrize(
    ("model", "identifier", "count"),
    [
        (STUDY_GET, keys("STUDY"), 4),
        (STUDY_GET, keys("IMAGE", SOPInstanceUID=str(names().SOPInstanceUID)), 1),
        (PATIENT_GET, keys("SERIES", PatientID=str(names().PatientID)), 4),
        (STUDY_GET, keys("STUDY", StudyInstanceUID="1.2.3"), 0),
    ],
)
def test_get_by_level(archive: DicomArchive, model: str, identifier: Dataset, count: int) -> None:
    """Each level of both roots; what matches nothing is a success without sub-operations."""
    taker, answers = get(archive, identifier, model=model)
    assert len(set(taker.uids)) == count
    assert answers[-1][0].Status == 0
    assert answers[-1][0].NumberOfCompletedSuboperations == count


def test_get_converted(archive: DicomArchive) -> None:
    """Who takes only implicit VR gets the same elements, encoded so."""
    taker, _ = get(archive, syntaxes=(IMPLICIT,))
    for uid, data in taker.datasets:
        got = dcmread(BytesIO(data), force=True)
        assert got.is_implicit_VR
        assert got == dcmread(BytesIO(archive.files()[uid]))


def test_get_what_nobody_takes() -> None:
    """Compressed instances without a context for them fail, each named in the list."""
    with DicomArchive() as archive:
        archive.add(made(RLE).files().values())
        taker, answers = get(archive, keys("SERIES", made(RLE)))
        assert not taker.uids
        status, identifier = answers[-1]
        assert (status.Status, status.NumberOfFailedSuboperations) == (0xA702, 4)
        assert identifier is not None
        assert set(identifier.FailedSOPInstanceUIDList) == set(archive.files())


def test_get_refused_by_the_taker(archive: DicomArchive) -> None:
    """A failure that the requestor answers counts as one."""
    _, answers = get(archive, taker=Taker(0xA700))
    assert answers[-1][0].Status == 0xA702


def test_refused_identifiers(archive: DicomArchive) -> None:
    """Without the parents' UIDs every service answers 0xA900 and says what is missing."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    assert find(archive, identifier)[0][0].Status == 0xA900
    assert "StudyInstanceUID" in find(archive, identifier)[0][0].ErrorComment
    assert get(archive, identifier)[1][-1][0].Status == 0xA900


@pytest.mark.parametrize("model", [STUDY_FIND, PATIENT_FIND])
def test_find(archive: DicomArchive, model: str) -> None:
    """Pending answers with what was asked for, then success."""
    identifier = keys("IMAGE", PatientID=str(names().PatientID), InstanceNumber="")
    answers = find(archive, identifier, model)
    assert [status.Status for status, _ in answers] == [0xFF00] * 4 + [0]
    assert sorted(found.InstanceNumber for _, found in answers[:-1]) == [1, 2, 3, 4]
    (request,) = archive.requests
    assert (request.level, request.abstract_syntax) == ("IMAGE", model)
    assert request.identifier["SeriesInstanceUID"] == identifier.SeriesInstanceUID


def test_find_cancelled(archive: DicomArchive) -> None:
    """C-CANCEL ends the answers with 0xFE00."""
    archive.faults = Faults(stall_after=1, stall=0.2)
    with associated(archive, STUDY_FIND) as association:
        answers = association.send_c_find(keys("IMAGE"), STUDY_FIND, msg_id=7)
        assert next(answers)[0].Status == 0xFF00
        association.send_c_cancel(7, query_model=STUDY_FIND)
        assert [status.Status for status, _ in answers][-1] == 0xFE00


@contextmanager
def storage(taker: Taker) -> Iterator[int]:
    """A storage SCP of pynetdicom; its port."""
    entity = AE("TAKER")
    entity.supported_contexts = StoragePresentationContexts
    address = ("127.0.0.1", 0)
    handlers: list[Any] = [(evt.EVT_C_STORE, taker)]
    server = entity.start_server(address, block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        until(lambda: not server.active_associations)
        entity.shutdown()
        for thread in threading.enumerate():
            if thread.name.startswith("AcceptorServer"):
                thread.join(5)


@pytest.mark.parametrize("model", [STUDY_MOVE, PATIENT_MOVE])
def test_move(archive: DicomArchive, model: str) -> None:
    """C-MOVE sends the datasets as they are to a destination that the archive knows."""
    taker = Taker()
    with storage(taker) as port:
        archive.add_destination("TAKER", "127.0.0.1", port)
        with associated(archive, model) as association:
            identifier = keys("SERIES", PatientID=str(names().PatientID))
            answers = list(association.send_c_move(identifier, "TAKER", model))
    assert dict(taker.datasets) == {uid: data for uid, (_, data) in archive.datasets().items()}
    assert (answers[-1][0].Status, answers[-1][0].NumberOfCompletedSuboperations) == (0, 4)
    assert archive.requests[-1].destination == "TAKER"


def test_move_refused(archive: DicomArchive) -> None:
    """An unknown or unreachable destination is 0xA801."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        archive.add_destination("AWAY", "127.0.0.1", taken.getsockname()[1])
        for destination in ("NOBODY", "AWAY"):
            with associated(archive, STUDY_MOVE) as association:
                answers = list(association.send_c_move(keys("STUDY"), destination, STUDY_MOVE))
            assert answers[-1][0].Status == 0xA801


class Sleeper(Taker):
    """Answers the first instance only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.going = threading.Event(), threading.Event()

    def __call__(self, event: Event) -> int:
        self.asked.set()
        self.going.wait(30)
        return super().__call__(event)


def test_stopped_while_a_destination_is_silent(archive: DicomArchive) -> None:
    """Stopping waits for no destination: each association is told before one is waited for."""
    sleeper = Sleeper()
    with storage(sleeper) as port:
        archive.add_destination("TAKER", "127.0.0.1", port)
        with associated(archive, STUDY_MOVE) as association:
            answers = association.send_c_move(keys("SERIES"), "TAKER", STUDY_MOVE)
            assert sleeper.asked.wait(5)
            start = time.monotonic()
            archive.stop()
            assert time.monotonic() - start < 3
            assert [len(status) for status, _ in answers] == [0]
        sleeper.going.set()


class Leaver(Taker):
    """Takes one instance, and aborts the association soon after."""

    def __call__(self, event: Event) -> int:
        self.going = threading.Timer(0.05, event.assoc.abort)
        self.going.start()
        return super().__call__(event)


def test_move_to_whom_has_gone(archive: DicomArchive) -> None:
    """A destination that goes between two instances is a failure of those behind, at once."""
    leaver = Leaver()
    archive.faults = Faults(stall_after=1, stall=0.2)
    with storage(leaver) as port:
        archive.add_destination("TAKER", "127.0.0.1", port)
        with associated(archive, STUDY_MOVE) as association:
            start = time.monotonic()
            answers = list(association.send_c_move(keys("SERIES"), "TAKER", STUDY_MOVE))
            assert time.monotonic() - start < 5
        leaver.going.join()
    assert len(leaver.datasets) == 1
    last = answers[-1][0]
    assert (last.NumberOfCompletedSuboperations, last.NumberOfFailedSuboperations) == (1, 3)
    start = time.monotonic()
    archive.stop()
    assert time.monotonic() - start < 2


def test_store_refused(archive: DicomArchive) -> None:
    """No DICOM, other UIDs than announced, too large: each its own status, nothing is kept."""
    before = archive.datasets()
    dataset = names(phantom((1, 8, 8), seed=5))
    with associated(archive, CT) as association:
        liar = dcmread(BytesIO(next(iter(phantom((1, 8, 8), seed=6).files().values()))))
        del liar.StudyInstanceUID
        assert association.send_c_store(liar).Status == 0xC000
    with DicomArchive(instance_limit=100) as small, associated(small, CT) as association:
        assert association.send_c_store(dataset).Status == 0xA700
    with DicomArchive(capacity=100) as small, associated(small, CT) as association:
        assert association.send_c_store(dataset).Status == 0xA700
    assert archive.datasets() == before


def test_commitment(archive: DicomArchive) -> None:
    """The archive vouches for what it holds, and names what it does not; PS3.4 annex J."""
    reports: list[tuple[int, Dataset]] = []

    def on_report(event: Event) -> tuple[int, None]:
        reports.append((event.event_type or 0, event.event_information))
        return 0, None

    request = Dataset()
    request.TransactionUID = "1.2.3.4"
    request.ReferencedSOPSequence = [reference(uid) for uid in archive.files()]
    missing = Dataset()
    missing.TransactionUID = "1.2.3.5"
    missing.ReferencedSOPSequence = [reference("1.2.3.9"), reference(next(iter(archive.files())))]
    answered: list[str] = []
    handlers = [
        (evt.EVT_N_EVENT_REPORT, on_report),
        (evt.EVT_DIMSE_SENT, lambda event: answered.append(type(event.message).__name__)),
    ]
    with associated(archive, COMMITMENT, evt_handlers=handlers) as association:
        for number, asked in enumerate((request, missing)):
            status, _ = association.send_n_action(asked, 1, COMMITMENT, "1.2.840.10008.1.20.1.1")
            assert status.Status == 0
            wanted = number + 1
            until(lambda: answered.count("N_EVENT_REPORT_RSP") == wanted)  # noqa: B023
    (first, kept), (second, lost) = reports
    assert (first, len(kept.ReferencedSOPSequence), kept.TransactionUID) == (1, 4, "1.2.3.4")
    assert (second, len(lost.ReferencedSOPSequence)) == (2, 1)
    assert lost.FailedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.9"
    assert lost.FailedSOPSequence[0].FailureReason == 0x0112


def reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
    return item


# --- over a directory -------------------------------------------------------------------------


def test_directory(tmp_path: Path) -> None:
    """Files of the tree are served; what is stored becomes a file, whole, in its place."""
    made().save(tmp_path / "some" / "where")
    (tmp_path / "notes.txt").write_text("no image")
    new = phantom((2, 8, 8), seed=9)
    with DicomArchive(tmp_path) as archive:
        assert len(archive) == 4
        assert [name for name, _ in archive.skipped] == ["notes.txt"]
        with associated(archive, CT) as association:
            for dataset in new.datasets():
                assert association.send_c_store(dataset).Status == 0
        assert len(archive) == 6
        taker, _ = get(archive)
        assert len(taker.uids) == 4
    for dataset, file in datasets_and_files(new):
        place = f"{dataset.StudyInstanceUID}/{dataset.SeriesInstanceUID}"
        stored = (tmp_path / place / f"{dataset.SOPInstanceUID}.dcm").read_bytes()
        assert body(stored) == body(file)
    with DicomArchive(tmp_path) as again:
        assert len(again) == 6


def test_uids_are_no_paths(tmp_path: Path) -> None:
    """A UID that is none does not become a file."""
    file = next(iter(made().files().values()))
    uid = str(names().SeriesInstanceUID).encode()
    hostile = file.replace(uid, b"../../../etc".ljust(len(uid), b"/"))
    with DicomArchive(tmp_path) as archive, pytest.raises(DicomError, match="UID"):
        archive.add(hostile)
    assert os.listdir(tmp_path) == []


def test_add(tmp_path: Path) -> None:
    """Paths, bytes and many bytes are taken; what is no instance is refused by name."""
    folder = made().save(tmp_path)
    archive = DicomArchive(instance_limit=1 << 16)
    first, *rest = made().files()
    archive.add(folder / first, *(made().files()[name] for name in rest), b"" * 0 or [])
    assert len(archive) == 4
    for damaged in (b"", b"no", made().files()[first][:140], bytes(128) + b"DICM\2\0" + bytes(99)):
        with pytest.raises(DicomError):
            archive.add(damaged)
    with pytest.raises(TooLargeError):
        archive.add(bytes(1 << 17))
    assert "4 instances" in repr(archive)


# --- who may ----------------------------------------------------------------------------------


def certificate(openssl: str, folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for this machine, signed by itself."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return key, cert


def test_tls(tool: Callable[[str], str], tmp_path: Path) -> None:
    """TLS by an SSLContext; a peer without it gets nowhere, and holds nobody up."""
    key, cert = certificate(tool("openssl"), tmp_path)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(cert, key)
    theirs = ssl.create_default_context(cafile=str(cert))
    with DicomArchive(ssl_context=ours) as archive:
        assert archive.url.startswith("dicoms://")
        archive.add(made().files().values())
        with socket.create_connection(("127.0.0.1", archive.port)) as silent:
            tls = {"tls_args": (theirs, "127.0.0.1")}
            with associated(archive, STUDY_FIND, **tls) as association:
                answers = list(association.send_c_find(keys("IMAGE"), STUDY_FIND))
                assert len(answers) == 5
            silent.close()
        with socket.create_connection(("127.0.0.1", archive.port), timeout=5) as plain:
            plain.sendall(request_bytes("SERIESIO", VERIFICATION))
            with suppress(ConnectionResetError):
                assert plain.recv(1) != b"\x02"


@pytest.mark.parametrize(("passcode", "welcome"), [(b"right", True), (b"wrong", False)])
def test_identity(passcode: bytes, welcome: bool) -> None:
    """A callable decides about user identities; it is shown them, records and reprs are not."""
    seen: list[Identity | None] = []

    def check(identity: Identity | None) -> bool:
        seen.append(identity)
        return identity is not None and identity.secondary == b"right"

    item = UserIdentityNegotiation()
    item.user_identity_type, item.primary_field, item.secondary_field = 2, b"user", passcode
    with DicomArchive(authenticate=check) as archive:
        with associated(archive, VERIFICATION, ext_neg=[item]) as association:
            assert association.is_established is welcome
        with associated(archive, VERIFICATION) as association:
            assert not association.is_established
        assert [record.identified for record in archive.associations] == [True, False]
        assert "user" not in repr(seen) + repr(archive.associations)
    assert seen[1] is None


def test_called_title(archive: DicomArchive) -> None:
    """Associations for another AE title are rejected."""
    with associated(archive, VERIFICATION, ae_title="ELSEWHERE") as association:
        assert not association.is_established


def test_only_this_machine() -> None:
    """It listens at the loopback address unless told otherwise; a taken port is our error."""
    with DicomArchive() as archive:
        with (
            pytest.raises(TransportError, match=f"port {archive.port}"),
            DicomArchive(port=archive.port),
        ):
            pass
        with pytest.raises(RuntimeError, match="runs already"):
            archive.start()
        with socket.socket() as other:
            assert other.connect_ex(("127.0.0.2", archive.port)) != 0


@pytest.mark.usefixtures("ipv6")
def test_ipv6() -> None:
    """An IPv6 address works, and is in brackets in the URL."""
    with DicomArchive(host="::1") as archive:
        assert archive.url == f"dicom://[::1]:{archive.port}/SERIESIO"
        with associated(archive, VERIFICATION, bind_address=("::1", 0)) as association:
            assert association.send_c_echo().Status == 0


def test_stopped_in_the_middle(archive: DicomArchive) -> None:
    """Stopping aborts associations that go on, within a second; the peer hears of it."""
    archive.faults = Faults(stall_after=0)
    with associated(archive, VERIFICATION, STUDY_FIND) as association:
        answers = association.send_c_find(keys("IMAGE"), STUDY_FIND)
        until(lambda: bool(archive.requests))
        start = time.monotonic()
        archive.stop()
        assert time.monotonic() - start < 1
        assert [len(status) for status, _ in answers] == [0]
        until(lambda: association.is_aborted)
    assert archive.associations[0].end == "aborted"


# --- faults -----------------------------------------------------------------------------------


def broken(archive: DicomArchive, **faults: Any) -> tuple[Taker, Dataset, list[str]]:
    """C-GET with faults: what arrived, the last status, and the failed UIDs."""
    archive.faults = Faults(**faults)
    taker, answers = get(archive)
    status, identifier = answers[-1] if answers else (Dataset(), None)
    failed = identifier.get("FailedSOPInstanceUIDList") if identifier else None
    return taker, status, [failed] if isinstance(failed, str) and failed else list(failed or [])


def test_failing_suboperation(archive: DicomArchive) -> None:
    """One instance fails: a warning at the end, its UID in the list."""
    taker, status, failed = broken(archive, fail_suboperation=2)
    assert (status.Status, status.NumberOfFailedSuboperations) == (0xB000, 1)
    assert failed == [list(archive.files())[1]]
    assert len(taker.uids) == 3


def test_warning_suboperation(archive: DicomArchive) -> None:
    """One instance comes with a warning; all have come."""
    taker, status, failed = broken(archive, warn_suboperation=3)
    assert (status.Status, status.NumberOfWarningSuboperations, failed) == (0xB000, 1, [])
    assert len(taker.uids) == 4


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xFE00])
def test_statuses(archive: DicomArchive, status: int) -> None:
    """Any status for a query, a retrieval, and the n-th store."""
    archive.faults = Faults(find_status=status, retrieve_status=status)
    assert find(archive, keys("SERIES"))[-1][0].Status == status
    assert get(archive)[1][-1][0].Status == status
    archive.faults = Faults(store_statuses={2: status, 3: 0xB000})
    with DicomArchive(faults=archive.faults) as empty, associated(empty, CT) as association:
        answers = [association.send_c_store(d).Status for d in made().datasets()]
        assert answers == [0, status, 0xB000, 0]
        assert len(empty) == 3


def test_omitted_instance(archive: DicomArchive) -> None:
    """The archive says that all went well, and one is missing."""
    taker, status, _ = broken(archive, omit_instance=2)
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 4)
    assert taker.uids == [uid for n, uid in enumerate(archive.files()) if n != 1]


def test_duplicate_and_extra_instances(archive: DicomArchive) -> None:
    """One comes twice; and more come than were announced, of the same series."""
    taker, status, _ = broken(archive, duplicate_instance=1, extra_instances=2)
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 4)
    assert len(taker.uids) == 7
    assert taker.uids[0] == taker.uids[1]
    new = [dcmread(BytesIO(d), force=True) for u, d in taker.datasets if u not in archive.files()]
    assert len({dataset.SOPInstanceUID for dataset in new}) == 2
    assert {dataset.SeriesInstanceUID for dataset in new} == {names().SeriesInstanceUID}


def test_wrong_uids(archive: DicomArchive) -> None:
    """An instance of another series comes in place of one that was asked for."""
    taker, _, _ = broken(archive, wrong_uids=2)
    uid, data = taker.datasets[1]
    wrong = dcmread(BytesIO(data), force=True)
    assert wrong.SOPInstanceUID == uid
    assert uid not in archive.files()
    assert wrong.SeriesInstanceUID != names().SeriesInstanceUID
    assert wrong.StudyInstanceUID != names().StudyInstanceUID


@pytest.mark.parametrize("how", ["cut", "length"])
def test_corrupt_dataset(archive: DicomArchive, how: str) -> None:
    """A dataset ends too early, or its pixel data announce more than there is."""
    taker, _, _ = broken(archive, corrupt_dataset=1, corruption=how)
    sent, kept = taker.datasets[0][1], archive.datasets()[taker.uids[0]][1]
    if how == "cut":
        assert kept.startswith(sent)
        assert len(sent) < len(kept)
    else:
        place = kept.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
        assert len(sent) == len(kept)
        assert struct.unpack_from("<I", sent, place)[0] > len(kept)


@pytest.mark.parametrize("fault", ["abort_after", "close_after"])
@pytest.mark.parametrize("after", [0, 2])
def test_sudden_ends(archive: DicomArchive, fault: str, after: int) -> None:
    """Aborted, or closed without a word, after so many instances."""
    taker, status, _ = broken(archive, **{fault: after})
    assert "Status" not in status
    assert len(taker.uids) == after
    until(lambda: archive.open_associations == 0)


@pytest.mark.parametrize(("kind", "expected"), [("type", b"\x99"), ("length", b"\x04\0\xff\xff")])
def test_bad_pdus(archive: DicomArchive, kind: Any, expected: bytes) -> None:
    """In the middle of it all comes what is no PDU, or one that announces 4 GB."""
    archive.faults = Faults(bad_pdu_after=0, bad_pdu=kind)
    with raw_association(archive, CT) as peer:
        peer.sendall(c_store() + p_data(1, 2, b"none"))
        assert peer.recv(len(expected), socket.MSG_WAITALL) == expected


def test_stall(archive: DicomArchive) -> None:
    """Silence in the middle; it ends when the peer goes away."""
    archive.faults = Faults(stall_after=1)
    taker = Taker()
    roles, handlers = [build_role(CT, scp_role=True)], [(evt.EVT_C_STORE, taker)]
    contexts = [STUDY_GET, CT]
    with associated(archive, *contexts, ext_neg=roles, evt_handlers=handlers) as association:
        association.dimse_timeout = 0.2
        answers = list(association.send_c_get(keys("SERIES"), STUDY_GET))
        assert "Status" not in answers[-1][0]
    assert len(taker.uids) == 1
    until(lambda: archive.open_associations == 0)


def test_drip(archive: DicomArchive) -> None:
    """Everything comes a byte at a time."""
    archive.faults = Faults(drip=0.001)
    start = time.monotonic()
    with associated(archive, VERIFICATION) as association:
        assert association.send_c_echo().Status == 0
    assert time.monotonic() - start > 0.05


def test_roles(archive: DicomArchive) -> None:
    """Roles refused: no instance can be sent. Roles not answered: they are sent all the same."""
    archive.faults = Faults(refuse_roles=True)
    taker, answers = get(archive)
    assert (answers[-1][0].Status, taker.uids) == (0xA702, [])
    archive.faults = Faults(ignore_roles=True)
    came: list[str] = []
    handlers = [(evt.EVT_DIMSE_RECV, lambda event: came.append(type(event.message).__name__))]
    roles = [build_role(CT, scp_role=True)]
    with associated(archive, STUDY_GET, CT, ext_neg=roles, evt_handlers=handlers) as association:
        assert not association.acceptor.role_selection
        list(association.send_c_get(keys("SERIES"), STUDY_GET))
    assert came.count("C_STORE_RQ") == 4


@pytest.mark.parametrize(
    ("fault", "refused", "left"),
    [
        ("refuse_get", {STUDY_GET, PATIENT_GET}, {STUDY_FIND, STUDY_MOVE, CT}),
        ("refuse_move", {STUDY_MOVE}, {STUDY_GET, STUDY_FIND, CT}),
        ("no_study_root", {STUDY_FIND, STUDY_GET}, {PATIENT_FIND, PATIENT_GET, CT}),
        ("no_patient_root", {PATIENT_FIND, PATIENT_MOVE}, {STUDY_FIND, CT}),
        ("refuse_store", {CT}, {STUDY_FIND}),
    ],
)
def test_refused_contexts(
    archive: DicomArchive, fault: str, refused: set[str], left: set[str]
) -> None:
    """What an archive does not offer is a refused presentation context."""
    archive.faults = Faults(**{fault: True})  # type: ignore[arg-type]
    with associated(archive, *refused, *left) as association:
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
    assert accepted == left


def test_refused_syntaxes(archive: DicomArchive) -> None:
    """A transfer syntax that the archive does not take."""
    archive.faults = Faults(refused_syntaxes=frozenset({RLE}))
    proposed = [build_context(CT, RLE), build_context(CT, EXPLICIT)]
    with associated(archive, *proposed) as association:
        assert [cx.transfer_syntax[0] for cx in association.accepted_contexts] == [EXPLICIT]


@pytest.mark.parametrize("reason", [(1, 1, 3), (1, 1, 7), (2, 3, 1), (1, 2, 2)])
def test_rejections(archive: DicomArchive, reason: tuple[int, int, int]) -> None:
    """Each way to reject an association (PS3.8 table 9-21)."""
    archive.faults = Faults(reject=reason)
    with socket.create_connection(("127.0.0.1", archive.port), timeout=5) as peer:
        peer.sendall(request_bytes("HERE", VERIFICATION))
        assert peer.recv(10, socket.MSG_WAITALL) == b"\3\0\0\0\0\4\0" + bytes(reason)
    until(lambda: archive.associations[0].end == "rejected")


def test_too_many_associations(archive: DicomArchive) -> None:
    """More than the limit are rejected for now; when one ends, another may come."""
    archive.faults = Faults(max_associations=1)
    with associated(archive, VERIFICATION) as first:
        assert first.is_established
        with associated(archive, VERIFICATION) as second:
            assert not second.is_established
    until(lambda: archive.open_associations == 0)
    with associated(archive, VERIFICATION) as third:
        assert third.is_established


def test_identity_refused(archive: DicomArchive) -> None:
    """Whoever shows an identity is rejected."""
    archive.faults = Faults(refuse_identity=True)
    item = UserIdentityNegotiation()
    item.user_identity_type, item.primary_field = 1, b"user"
    with associated(archive, VERIFICATION, ext_neg=[item]) as association:
        assert not association.is_established


def test_no_answer_to_a_request(archive: DicomArchive) -> None:
    """An association is asked for, and nothing comes."""
    archive.faults = Faults(stall_accept=True)
    entity = AE("THERE")
    entity.acse_timeout = 0.2
    association = entity.associate("127.0.0.1", archive.port, [build_context(VERIFICATION)], "HERE")
    assert not association.is_established
    association.dul.join(5)


def test_no_release(archive: DicomArchive) -> None:
    """A release is never answered; the peer has to give up, and the archive survives that."""
    archive.faults = Faults(no_release=True)
    with associated(archive, VERIFICATION) as association:
        association.acse_timeout = 0.1
        association.release()
        assert not association.is_released
    archive.faults = Faults()
    with associated(archive, VERIFICATION) as association:
        assert association.send_c_echo().Status == 0


def test_tiny_pdus(archive: DicomArchive) -> None:
    """Instances come in PDUs of 64 bytes, and the peer may send no larger ones."""
    archive.faults = Faults(max_pdu=64)
    sizes: list[int] = []
    taker = Taker()
    handlers = [
        (evt.EVT_C_STORE, taker),
        (evt.EVT_DATA_RECV, lambda event: sizes.append(len(event.data))),
    ]
    roles = [build_role(CT, scp_role=True)]
    one = keys("IMAGE", SOPInstanceUID=str(names().SOPInstanceUID))
    with associated(archive, STUDY_GET, CT, ext_neg=roles, evt_handlers=handlers) as association:
        assert association.acceptor.maximum_length == 64
        list(association.send_c_get(one, STUDY_GET))
    ((uid, data),) = taker.datasets
    assert data == archive.datasets()[uid][1]
    assert max(sizes[1:-1]) <= 64 + 134  # a response is one PDU; datasets are not


def test_changing_faults(archive: DicomArchive) -> None:
    """Faults are values: replaced while the archive runs, from one request to the next."""
    with associated(archive, STUDY_FIND) as association:
        assert len(list(association.send_c_find(keys("IMAGE"), STUDY_FIND))) == 5
        archive.faults = replace(archive.faults, find_status=0xA700)
        assert len(list(association.send_c_find(keys("IMAGE"), STUDY_FIND))) == 1


# --- hostile peers ----------------------------------------------------------------------------


def request_bytes(title: str, *syntaxes: str) -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 section 9.3.2), by hand."""
    items = item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, syntax in enumerate(syntaxes):
        inner = item(0x30, syntax.encode()) + item(0x40, IMPLICIT.encode())
        items += item(0x20, bytes([2 * number + 1, 0, 0, 0]) + inner)
    items += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3"))
    head = struct.pack(">HH16s16s32s", 1, 0, title.encode().ljust(16), b"THERE".ljust(16), b"")
    return struct.pack(">BBI", 1, 0, len(head + items)) + head + items


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def c_echo() -> bytes:
    """A C-ECHO-RQ as one P-DATA-TF (PS3.7 section 9.3.5)."""
    elements = [(0x0002, VERIFICATION.encode() + b"\0"), (0x0100, b"\x30\0"), (0x0110, b"\1\0")]
    elements += [(0x0800, b"\x01\x01")]
    command = b"".join(struct.pack("<HHI", 0, tag, len(v)) + v for tag, v in elements)
    command = struct.pack("<HHII", 0, 0, 4, len(command)) + command
    return p_data(1, 3, command)


def p_data(context: int, flags: int, data: bytes) -> bytes:
    value = struct.pack(">IBB", len(data) + 2, context, flags) + data
    return struct.pack(">BBI", 4, 0, len(value)) + value


@contextmanager
def raw_association(archive: DicomArchive, *syntaxes: str) -> Iterator[socket.socket]:
    """A socket behind an accepted association."""
    with socket.create_connection(("127.0.0.1", archive.port), timeout=5) as peer:
        peer.sendall(request_bytes(archive.ae_title, *syntaxes))
        kind, _, length = struct.unpack(">BBI", peer.recv(6, socket.MSG_WAITALL))
        assert kind == 2
        peer.recv(length, socket.MSG_WAITALL)
        yield peer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\x00\x04\0\0\0\0",
        request_bytes("SERIESIO", VERIFICATION)[:-30],
        request_bytes("SERIESIO", VERIFICATION)[:80] + b"\xff" * 60,
    ],
)
def test_nonsense(data: bytes) -> None:
    """What is no request for an association ends the connection; the next peer is served."""
    with DicomArchive() as archive:
        with socket.create_connection(("127.0.0.1", archive.port), timeout=5) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(4096):
                pass
        with associated(archive, VERIFICATION) as association:
            assert association.send_c_echo().Status == 0


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">BBI", 4, 0, 0xFFFFFFFF),
        p_data(1, 3, bytes(10)),
        p_data(1, 3, b"\xff" * 40),
        p_data(99, 3, c_echo()[12:]),
        struct.pack(">BBIIBB", 4, 0, 6, 1 << 30, 1, 3),
        b"\x08\0\0\0\0\0",
    ],
)
def test_nonsense_in_an_association(archive: DicomArchive, data: bytes) -> None:
    """Damaged PDUs end the association, whatever they claim."""
    with raw_association(archive, VERIFICATION) as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(4096):
            pass
    until(lambda: archive.open_associations == 0)


def test_endless_instance() -> None:
    """A dataset beyond the limit is cut off while it comes, not collected."""
    with DicomArchive(instance_limit=1 << 16) as archive:
        endless = c_store() + p_data(1, 0, bytes(16000)) * 10_000
        with raw_association(archive, CT) as peer, pytest.raises(ConnectionError):
            peer.sendall(endless)
        until(lambda: archive.open_associations == 0)


def c_store() -> bytes:
    """The command of a C-STORE-RQ."""
    elements = [(0x0002, CT.encode() + b"\0"), (0x0100, b"\1\0"), (0x0110, b"\1\0")]
    elements += [(0x0700, b"\0\0"), (0x0800, b"\1\0"), (0x1000, b"1.2.3\0")]
    command = b"".join(struct.pack("<HHI", 0, tag, len(v)) + v for tag, v in elements)
    return p_data(1, 3, struct.pack("<HHII", 0, 0, 4, len(command)) + command)


def test_no_patients_in_logs(archive: DicomArchive, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the level, logs hold no attributes of patients."""
    caplog.set_level("DEBUG")
    name = str(names().PatientName)
    find(archive, keys("STUDY", PatientName=name))
    get(archive)
    bad = keys("STUDY", AccessionNumber="x")
    bad.add(DataElement("StudyDate", "DA", "99999999-not", validation_mode=IGNORE))
    assert find(archive, bad)[0][0].Status == 0xA900
    assert caplog.records
    assert name not in caplog.text
    assert "99999999" not in caplog.text
    assert name not in repr(archive) + repr(archive.requests) + repr(archive.associations)


def test_real_series(corpus: Path) -> None:
    """Whatever scanners wrote is read, found and sent as it is; what is no image is skipped."""
    with DicomArchive(corpus / "mr_oblique") as archive:
        assert len(archive) == 40
        first = dcmread(min((corpus / "mr_oblique").rglob("*.dcm")))
        identifier = keys("SERIES", StudyInstanceUID=str(first.StudyInstanceUID))
        identifier.SeriesInstanceUID, identifier.Modality = "", "MR"
        assert [f.Modality for _, f in find(archive, identifier)[:-1]] == ["MR"]
