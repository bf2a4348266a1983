"""Associations: what is negotiated, and every way in which a peer can be a bad one."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from pynetdicom.pdu import A_ASSOCIATE_RQ

from seriesio.errors import AssociationError, SeriesIOError, TooLargeError, UnsupportedByPeerError
from seriesio.testing import DicomArchive, Faults, Identity
from seriesio.transports._dicom_association import (
    Association,
    Peer,
    Proposal,
    Timeouts,
)
from seriesio.transports._dicom_association import (
    Identity as OurIdentity,
)
from seriesio.transports._dicom_dimse import C_ECHO_RQ, RESPONSE, echo_request
from seriesio.transports._dicom_pynetdicom import (
    Context,
    decode_accept,
    decode_request,
    encode_accept,
    encode_request,
)
from seriesio.transports._dicom_session import use

VERIFICATION, CT = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ECHO = [Proposal(VERIFICATION, (IMPLICIT,))]
PATIENT = Timeouts(release=0.3)
QUICK = Timeouts(connect=2, association=0.6, answer=0.6, idle=0.6, release=0.3)


@pytest.fixture
def archive() -> Iterator[DicomArchive]:
    with DicomArchive(ae_title="HERE") as running:
        yield running


def peer_of(archive: DicomArchive, **more: object) -> Peer:
    return replace(Peer(archive.host, archive.port, "HERE", "US", timeouts=PATIENT), **more)  # type: ignore[arg-type]


@contextmanager
def opened(peer: Peer, proposals: list[Proposal] = ECHO) -> Iterator[Association]:
    association = Association(peer)
    try:
        association.open(proposals)
        yield association
        association.release()
    finally:
        association.close()


def echo(association: Association) -> None:
    context = association.context_for(VERIFICATION)
    assert context is not None
    association.send(context, echo_request(association.next_message()))
    assert association.receive(first=True).command.field == C_ECHO_RQ | RESPONSE


@contextmanager
def listening(
    answer: Callable[[socket.socket], None], timeouts: Timeouts = PATIENT
) -> Iterator[Peer]:
    """A peer that does what it is told with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Peer("127.0.0.1", listener.getsockname()[1], "THERE", "US", timeouts=timeouts)
    finally:
        thread.join()
        listener.close()


def accepting(connection: socket.socket) -> None:
    """Accept what is asked for."""
    head = connection.recv(6, socket.MSG_WAITALL)
    body = connection.recv(struct.unpack(">I", head[2:])[0], socket.MSG_WAITALL)
    request = decode_request(body)
    accepted = {n: Context(n, p.abstract, p.syntaxes[0]) for n, p in request.contexts}
    connection.sendall(encode_accept(request, accepted, max_pdu=1 << 14))


# --- negotiation ------------------------------------------------------------------------------


def test_echo(archive: DicomArchive) -> None:
    """An association with the archive is negotiated, used and released."""
    with opened(peer_of(archive)) as association:
        echo(association)
        echo(association)
    (record,) = archive.associations
    assert (record.calling, record.called, record.max_pdu) == ("US", "HERE", 1 << 20)


def test_request() -> None:
    """The request is what pynetdicom reads: contexts, roles, identity, operations."""
    proposals = [Proposal(CT, (EXPLICIT, IMPLICIT), scp=True), Proposal(VERIFICATION, (IMPLICIT,))]
    data = encode_request(
        "US", "HERE", proposals, max_pdu=77, identity=OurIdentity("me", "secret"), operations=4
    )
    pdu = A_ASSOCIATE_RQ()
    pdu.decode(data)
    assert [c.context_id for c in pdu.presentation_context] == [1, 3]
    assert pdu.presentation_context[0].transfer_syntax == [EXPLICIT, IMPLICIT]
    user = pdu.user_information
    assert user is not None
    assert (user.maximum_length, [*user.role_selection]) == (77, [CT])
    assert user.role_selection[CT].scp_role  # type: ignore[index]
    assert user.async_ops_window is not None
    assert user.async_ops_window.maximum_number_operations_invoked == 4
    assert user.user_identity is not None


@pytest.mark.parametrize("roles", ["answered", "refused", "ignored"])
def test_roles(archive: DicomArchive, roles: str) -> None:
    """What the peer says of the SCP role is known, and that it says nothing."""
    archive.faults = Faults(refuse_roles=roles == "refused", ignore_roles=roles == "ignored")
    proposals = [Proposal(CT, (EXPLICIT,), scp=True), *ECHO]
    expected = {"answered": True, "refused": None, "ignored": None}[roles]
    with opened(peer_of(archive), proposals) as association:
        context = association.context_for(CT)
        assert context is None or context.scp is expected or roles == "refused"


def test_nothing_accepted(archive: DicomArchive) -> None:
    """A peer that accepts no context is one that does not support what we need."""
    with pytest.raises(UnsupportedByPeerError, match="abstract syntax not supported"):
        Association(peer_of(archive)).open([Proposal("1.2.3.4", (IMPLICIT,))])


@pytest.mark.parametrize(
    ("rejection", "words"),
    [
        ((1, 1, 1), "no reason given"),
        ((1, 1, 3), "our AE title is not recognized"),
        ((1, 1, 7), "its AE title is not the one that was called"),
        ((1, 2, 2), "protocol version not supported"),
        ((2, 3, 1), "temporary congestion .for now."),
        ((2, 3, 2), "local limit exceeded .for now."),
    ],
)
def test_rejections(archive: DicomArchive, rejection: tuple[int, int, int], words: str) -> None:
    """Each reason is told in words, with host and AE titles."""
    archive.faults = Faults(reject=rejection)
    with pytest.raises(AssociationError, match=words) as caught:
        Association(peer_of(archive)).open(ECHO)
    assert caught.value.rejection == rejection
    assert f"127.0.0.1:{archive.port} (HERE, called by US)" in str(caught.value)


def test_identity() -> None:
    """User and password are negotiated; whoever is not known is rejected, and nothing is told."""
    asked: list[Identity | None] = []

    def authenticate(identity: Identity | None) -> bool:
        asked.append(identity)
        return identity is not None and identity.secondary == b"right"

    with DicomArchive(ae_title="HERE", authenticate=authenticate) as archive:
        with opened(peer_of(archive, identity=OurIdentity("me", "right"))) as association:
            echo(association)
        peer = peer_of(archive, identity=OurIdentity("me", "wrong"))
        with pytest.raises(AssociationError, match="rejects") as caught:
            Association(peer).open(ECHO)
    assert "wrong" not in str(caught.value) + repr(peer)
    assert asked[0] is not None
    assert (asked[0].kind, asked[0].primary) == (2, b"me")


def test_malformed_answer() -> None:
    """An answer that cannot be decoded is an error."""

    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(struct.pack(">BxI", 2, 90) + b"\x50\0\xff\xff" * 22 + b"\0\0")

    with listening(answer) as peer, pytest.raises(AssociationError, match="malformed"):
        Association(peer).open(ECHO)


def test_contexts_that_were_not_proposed() -> None:
    """Contexts and transfer syntaxes that a peer makes up are not taken for accepted."""
    request = decode_request(encode_request("US", "HERE", ECHO, max_pdu=0)[6:])
    made_up = {1: Context(1, VERIFICATION, EXPLICIT)}
    answer = decode_accept(encode_accept(request, made_up, max_pdu=0)[6:], ECHO)
    assert not answer.contexts


# --- the connection ---------------------------------------------------------------------------


def test_nobody_there() -> None:
    """A port without a listener, and a host without a name, are errors."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(AssociationError, match="Connection refused"):
        Association(Peer("127.0.0.1", port, "THERE")).open(ECHO)
    with pytest.raises(AssociationError, match="host is unknown"):
        Association(Peer("nobody.invalid", 104, "THERE")).open(ECHO)


@pytest.mark.parametrize("stalls", ["accept", "answer", "middle"])
def test_silence(archive: DicomArchive, stalls: str) -> None:
    """A peer that never answers is given up within the timeout."""
    begin = time.monotonic()

    def answer(connection: socket.socket) -> None:
        if stalls != "accept":
            accepting(connection)
        if stalls == "middle":
            connection.sendall(struct.pack(">BxIIBB", 4, 100, 96, 1, 3) + b"part")
        while connection.recv(100):  # until we hang up
            pass

    with (
        listening(answer, QUICK) as peer,
        pytest.raises(AssociationError, match="did not come in time"),
        opened(peer) as association,
    ):
        echo(association)
    assert time.monotonic() - begin < 10


def test_drip() -> None:
    """A peer that sends a byte now and then is given up, though it is never silent for long."""

    def answer(connection: socket.socket) -> None:
        accepting(connection)
        pdu = struct.pack(">BxIIBB", 4, 60_006, 60_002, 1, 1) + bytes(60_000)
        try:
            for byte in pdu:
                connection.send(bytes([byte]))
                time.sleep(0.02)
        except OSError:  # we have hung up
            return

    begin = time.monotonic()
    with (
        listening(answer, QUICK) as peer,
        pytest.raises(AssociationError, match="too slowly"),
        opened(peer) as association,
    ):
        echo(association)
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "closed the connection"),
        (b"\x07\0\0\0\0\4\0\0\2\2", "aborted the association .by its service provider: unexpected"),
        (b"\x07\0\0\0\0\4\0\0\0\0", "aborted the association .by its service user"),
        (b"\x05\0\0\0\0\4\0\0\0\0", "released the association before"),
        (b"\x99\0\0\0\0\4none", "unknown type 0x99"),
        (b"\x04\0\xff\xff\xff\xff\0\0\0\4\1\3", "4294967295 bytes"),
        (struct.pack(">BxIIBB", 4, 10, 6, 1, 3) + b"none", "in the middle of an element"),
        (struct.pack(">BxIIBB", 4, 10, 6, 1, 2) + b"none", "mixes up"),
        (struct.pack(">BxIIBB", 4, 6, 2, 9, 3), "no command field"),
        (b"\x06\0\0\0\0\4\0\0\0\0", "type 0x06 where none may come"),
    ],
)
def test_bad_answers(sent: bytes, words: str) -> None:
    """Whatever comes in place of an answer is an error that says what it was."""

    def answer(connection: socket.socket) -> None:
        accepting(connection)
        connection.recv(1 << 16)
        connection.sendall(sent)

    with (
        listening(answer) as peer,
        pytest.raises(AssociationError, match=words),
        opened(peer) as association,
    ):
        echo(association)


def test_too_large() -> None:
    """A data set above the limit is given up while it comes."""
    from seriesio.transports._dicom_dimse import store_request

    def answer(connection: socket.socket) -> None:
        accepting(connection)
        command = store_request(1, VERIFICATION, "1.2")
        data = struct.pack(">BxIIBB", 4, len(command) + 6, len(command) + 2, 1, 3) + command
        data += (struct.pack(">BxIIBB", 4, 1006, 1002, 1, 0) + bytes(1000)) * 20
        try:
            connection.sendall(data)
            while connection.recv(100):
                pass
        except OSError:
            return

    with listening(answer) as peer:
        association = Association(peer, instance_limit=10_000)
        association.open(ECHO)
        with pytest.raises(TooLargeError, match="more than 10000 bytes"):
            association.receive()
        association.close()


def test_tiny_fragments() -> None:
    """A data set in thousands of fragments comes whole."""
    from seriesio.transports._dicom_dimse import store_request

    body = bytes(range(256)) * 40

    def answer(connection: socket.socket) -> None:
        accepting(connection)
        command = store_request(1, VERIFICATION, "1.2")
        data = struct.pack(">BxIIBB", 4, len(command) + 6, len(command) + 2, 1, 3) + command
        for place in range(0, len(body), 2):
            last = 2 if place + 2 == len(body) else 0
            data += struct.pack(">BxIIBB", 4, 8, 4, 1, last) + body[place : place + 2]
        connection.sendall(data)
        connection.recv(100)

    with listening(answer) as peer, opened(peer) as association:
        message = association.receive()
        assert message.joined() == body
        assert len(message.data) < 3000


def test_release_without_an_answer(archive: DicomArchive) -> None:
    """A peer that never answers a release costs its timeout, and is no error."""
    archive.faults = Faults(no_release=True)
    begin = time.monotonic()
    with opened(peer_of(archive)) as association:
        echo(association)
    assert time.monotonic() - begin < 10


# --- TLS --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(
    tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]
) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[DicomArchive]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with DicomArchive(ae_title="HERE", ssl_context=context) as running:
        yield running


def test_tls(secure: DicomArchive, certificate: tuple[Path, Path]) -> None:
    """With the right certificate an association works over TLS."""
    context = ssl.create_default_context(cafile=certificate[0])
    with opened(peer_of(secure, ssl_context=context)) as association:
        echo(association)


def test_tls_not_trusted(secure: DicomArchive) -> None:
    """A certificate that nobody has signed is not trusted."""
    peer = peer_of(secure, ssl_context=ssl.create_default_context())
    with pytest.raises(AssociationError, match="certificate is not trusted"):
        Association(peer).open(ECHO)


def test_plain_to_tls(secure: DicomArchive) -> None:
    """A peer with TLS, called without it: the error says so."""
    with pytest.raises(AssociationError, match="dicoms://"):
        Association(peer_of(secure)).open(ECHO)


def test_tls_to_plain(archive: DicomArchive) -> None:
    """A peer without TLS, called with it: the error says so."""
    peer = peer_of(archive, ssl_context=ssl.create_default_context())
    with pytest.raises(AssociationError, match="dicom://"):
        Association(peer).open(ECHO)


# --- cancellation -----------------------------------------------------------------------------


@pytest.mark.parametrize("stalls", ["connect", "accept", "answer", "send"])
async def test_cancelled(stalls: str) -> None:
    """Wherever the thread waits, it ends at once when its task is cancelled."""
    reached = threading.Event()
    done = threading.Event()

    def answer(connection: socket.socket) -> None:
        if stalls != "accept":
            accepting(connection)
        reached.set()
        done.wait(10)

    def session(association: Association) -> None:
        association.open(ECHO)
        context = association.context_for(VERIFICATION)
        assert context is not None
        if stalls == "send":
            association.send(context, b"", [bytes(1 << 20)] * 64)
        association.receive(first=True)

    patient = Timeouts(60, 60, 60, 60, 60)
    if stalls == "connect":  # a listener whose queue is full takes no connection
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            address: tuple[str, int] = listener.getsockname()
            with socket.create_connection(address), socket.socket() as second:
                second.setblocking(False)
                second.connect_ex(address)
                await cancelled(Peer(address[0], address[1], "THERE", timeouts=patient), session)
        return
    with listening(answer) as peer:
        try:
            await cancelled(replace(peer, timeouts=patient), session, reached)
        finally:
            done.set()


async def cancelled(
    peer: Peer, session: Callable[[Association], None], reached: threading.Event | None = None
) -> None:
    """Cancel a session when its peer has come to the point."""
    async with anyio.create_task_group() as group:
        group.start_soon(use, Association(peer), session)
        if reached is not None:
            await anyio.to_thread.run_sync(reached.wait, 10)
        await anyio.sleep(0.1)
        group.cancel_scope.cancel()
        begin = time.monotonic()
    assert time.monotonic() - begin < 10


async def test_errors_come_out(archive: DicomArchive) -> None:
    """What goes wrong in the thread is raised in the task."""

    def session(association: Association) -> None:
        association.open([Proposal("1.2.3", (IMPLICIT,))])

    with pytest.raises(SeriesIOError, match="accepts none"):
        await use(Association(peer_of(archive)), session)


def test_pynetdicom_late() -> None:
    """Nothing of pynetdicom is imported before a dicom:// URL is used."""
    program = "import sys, seriesio, seriesio.client, seriesio.registry; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert not [name for name in done.stdout.split() if name.startswith("pynetdicom")]
