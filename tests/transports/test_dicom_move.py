"""C-MOVE to ourselves: where there is no C-GET, and a destination is configured."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import cache
from io import BytesIO
from typing import Any

import anyio
import pytest
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from seriesio.blob import read_all
from seriesio.errors import (
    AssociationError,
    IncompleteSeriesError,
    StatusError,
    TransportError,
    UnsupportedByPeerError,
)
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import DicomArchive, Faults, Phantom, phantom
from seriesio.transports._dicom_association import Association, Peer
from seriesio.transports._dicom_inbound import Destination, destination_of
from seriesio.transports.dicom import DicomTransport, Timeouts

from ..cancelling import WAYS, Within

EXPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
PATIENT = Timeouts(release=0.3)
QUICK = Timeouts(connect=2, association=1, answer=0.7, idle=0.7, release=0.3)
COUNT = 6


@cache
def made(syntax: str = EXPLICIT) -> Phantom:
    return phantom((COUNT, 24, 16), transfer_syntax=syntax)


@pytest.fixture
def port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        return int(one.getsockname()[1])


@pytest.fixture
def archive(port: int) -> Iterator[DicomArchive]:
    """An archive without C-GET that knows us as MOVE."""
    known = {"MOVE": ("127.0.0.1", port)}
    with DicomArchive(destinations=known, faults=Faults(refuse_get=True)) as running:
        running.add(made().files().values())
        yield running


def path(of: Phantom) -> str:
    first = of.datasets()[0]
    return f"/{first.PatientID}/{first.StudyInstanceUID}/{first.SeriesInstanceUID}"


def transport(archive: DicomArchive, move_to: Any, syntax: str = EXPLICIT) -> DicomTransport:
    location = parse_location(archive.url + path(made(syntax)))
    return DicomTransport(location, Workers(), timeouts=PATIENT, move_to=move_to)


async def read(source: DicomTransport) -> dict[str, bytes]:
    return {blob.name: bytes(read_all(blob)) async for blob in source.read()}


def body(file: bytes) -> bytes:
    return file[144 + int.from_bytes(file[140:144], "little") :]


@pytest.mark.parametrize("syntax", [EXPLICIT, RLE])
async def test_move(archive: DicomArchive, port: int, syntax: str) -> None:
    """Data sets arrive as they are, and the C-MOVE names us."""
    archive.add(made(syntax).files().values())
    found = await read(transport(archive, ("MOVE", port), syntax))
    kept = archive.datasets()
    assert {name: body(file) for name, file in found.items()} == {
        f"{one.SOPInstanceUID}.dcm": kept[one.SOPInstanceUID][1] for one in made(syntax).datasets()
    }
    (asked,) = [one for one in archive.requests if one.service == "C-MOVE"]
    assert (asked.level, asked.destination) == ("SERIES", "MOVE")


async def test_side_by_side(archive: DicomArchive, port: int) -> None:
    """Several retrievals take turns at the one port."""
    found: list[int] = []

    async def retrieve() -> None:
        found.append(len(await read(transport(archive, f"MOVE:{port}"))))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(retrieve)
    assert found == [COUNT] * 3


async def test_not_configured(archive: DicomArchive) -> None:
    """Without a destination the error says what to configure."""
    with pytest.raises(UnsupportedByPeerError, match=r'move_to=\("AET", port\)'):
        await read(transport(archive, None))


async def test_no_move(archive: DicomArchive, port: int) -> None:
    """An archive that has neither is not supported."""
    archive.faults = Faults(refuse_get=True, refuse_move=True)
    with pytest.raises(UnsupportedByPeerError):
        await read(transport(archive, ("MOVE", port)))


async def test_unknown_destination(archive: DicomArchive, port: int) -> None:
    """An archive that does not know our AE title says so."""
    with pytest.raises(StatusError, match=r"0xA801 \(refused: the move destination is unknown"):
        await read(transport(archive, ("OTHER", port)))


async def test_port_taken(archive: DicomArchive, port: int) -> None:
    """A port that somebody else listens at is an error that names it."""
    with socket.create_server(("", port)), pytest.raises(TransportError, match=f"port {port}"):
        await read(transport(archive, ("MOVE", port)))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Faults(refuse_get=True, fail_suboperation=2), IncompleteSeriesError),
        (Faults(refuse_get=True, wrong_uids=2), IncompleteSeriesError),
        (Faults(refuse_get=True, retrieve_status=0xA702), StatusError),
    ],
)
async def test_failures(
    archive: DicomArchive, port: int, fault: Faults, error: type[Exception]
) -> None:
    """What fails, or is not what was asked for, is missing, and named."""
    archive.faults = fault
    with pytest.raises(error):
        await read(transport(archive, ("MOVE", port)))


async def test_roles_refused(archive: DicomArchive, port: int) -> None:
    """An archive that has C-GET, but no role in which it could send, is asked by C-MOVE."""
    archive.faults = Faults(refuse_roles=True)
    assert len(await read(transport(archive, ("MOVE", port)))) == COUNT


async def test_duplicates_are_refused(archive: DicomArchive, port: int) -> None:
    """An instance that comes twice is refused the second time, and told."""
    archive.faults = Faults(refuse_get=True, duplicate_instance=2)
    source = transport(archive, ("MOVE", port))
    assert len(await read(source)) == COUNT
    assert "twice" in "".join(source.warnings)


async def test_nothing_is_sent(archive: DicomArchive, port: int) -> None:
    """An archive that accepts the C-MOVE, and then does nothing, is given up."""
    source = AfterQuery(archive, Faults(refuse_get=True, stall_after=2, stall=20), port, QUICK)
    with pytest.raises(AssociationError, match="did not come in time"):
        await read(source)


class AfterQuery(DicomTransport):
    """A fault begins when all queries are answered."""

    def __init__(
        self, archive: DicomArchive, fault: Faults, port: int, timeouts: Timeouts = PATIENT
    ) -> None:
        location = parse_location(archive.url + path(made()))
        super().__init__(location, Workers(), timeouts=timeouts, move_to=("MOVE", port))
        self._then = archive, fault

    def _find(self, association: Any) -> Any:
        found = super()._find(association)
        self._then[0].faults = self._then[1]
        return found


async def test_strangers(archive: DicomArchive, port: int) -> None:
    """Who calls another title is rejected; who stores what was not asked for is refused."""
    fault = Faults(refuse_get=True, stall_after=1, stall=0.5)
    source = AfterQuery(archive, fault, port)
    answers: list[Any] = []

    def call() -> None:
        entity = AE("STRANGER")
        entity.add_requested_context(Verification)
        entity.add_requested_context(CTImageStorage, EXPLICIT)
        with ExitStack() as stack:
            wrong = entity.associate("127.0.0.1", port, ae_title="WRONG")
            answers.append(wrong.is_rejected)
            right = entity.associate("127.0.0.1", port, ae_title="MOVE")
            stack.callback(right.release)
            answers.append(right.send_c_echo().Status)
            (file,) = phantom((1, 8, 8), seed=9).files().values()
            answers.append(right.send_c_store(dcmread(BytesIO(file))).Status)

    archive.faults = Faults(refuse_get=True)
    async with anyio.create_task_group() as group:
        found: list[str] = []
        begun = anyio.Event()

        async def retrieve() -> None:
            async for blob in source.read():
                found.append(blob.name)
                begun.set()

        group.start_soon(retrieve)
        await begun.wait()
        await anyio.to_thread.run_sync(call)
    assert answers == [True, 0x0000, 0x0124]
    assert len(found) == COUNT
    assert "not asked for" in "".join(source.warnings)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server and of a client that trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key)]
    command += ["-out", str(cert), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=cert)


async def test_tls(
    archive: DicomArchive, port: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Instances come over TLS where the destination has a context for it."""
    archive.add_destination("MOVE", "127.0.0.1", port, tls[1])
    assert len(await read(transport(archive, ("MOVE", port, tls[0])))) == COUNT


async def test_plain_where_tls_is_due(
    archive: DicomArchive, port: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """An archive that sends without the TLS that is due is refused, and the error says so."""
    with pytest.raises(StatusError, match="calls us without the TLS that is due"):
        await read(transport(archive, ("MOVE", port, tls[0])))


def test_tls_where_none_is_due() -> None:
    """An archive that calls us over TLS, unexpected, is told apart from one that sends nonsense."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address) as far, listener.accept()[0] as near:
            far.sendall(b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03\x00")  # a ClientHello
            association = Association(Peer("127.0.0.1", address[1], "HERE"))
            with closing(association), pytest.raises(AssociationError, match="calls us in TLS"):
                association.accept(near, lambda _: {})


@pytest.mark.parametrize("within", WAYS)
async def test_cancelled(archive: DicomArchive, port: int, within: Within) -> None:
    """Cancelled at whatever time: the port is free again, no association is left."""
    for wait in range(0, 60, 3):
        async with within(wait / 1000):
            await read(transport(archive, ("MOVE", port)))
    socket.create_server(("127.0.0.1", port)).close()


def test_destinations() -> None:
    """A destination is text or a pair."""
    assert destination_of(None) is None
    assert destination_of("AET:104") == destination_of(("AET", 104)) == Destination("AET", 104)


@pytest.mark.parametrize(
    "wrong",
    ["AET", "AET:0", "AET:x", ":104", ("A" * 17, 104), ("A\\B", 104), ("A\n", 104), ("A", 1 << 16)],
)
def test_no_destinations(wrong: Any) -> None:
    """What is no AE title or no port is refused."""
    with pytest.raises(ValueError, match=r"move_to|AE title"):
        destination_of(wrong)


def test_destination_of_a_client(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """A context that cannot be a server's is refused when it is given."""
    with pytest.raises(ValueError, match="for servers"):
        destination_of(("AET", 104, tls[1]))
