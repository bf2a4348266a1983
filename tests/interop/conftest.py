"""Real archives, started once a session on free ports in temporary folders, ended with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from seriesio.testing import DicomArchive

READY = 30.0  # seconds that a server may take to start
MOVERS = tuple(f"MOVE{number}" for number in range(1, 5))


@dataclass(frozen=True, slots=True)
class Server:
    """A running archive.

    Attributes:
        host, port, ae_title: where it is.
        folder: its temporary folder; ``log`` in it is what it says.
        destinations: AE title → port of this machine to which it can C-MOVE (MOVE1, MOVE2 …);
            nobody listens there until a test does.
        cafile: the certificate to trust; None without TLS.
        client: certificate and key that it asks clients for; None if it does not.
        web: the port of Orthanc's web interface.
    """

    host: str
    port: int
    ae_title: str
    folder: Path = field(repr=False)
    destinations: Mapping[str, int] = field(default_factory=dict)
    cafile: Path | None = None
    client: tuple[Path, Path] | None = None
    web: int = 0

    @property
    def url(self) -> str:
        """``dicom://host:port/AET``, ``dicoms://…`` with TLS."""
        scheme = "dicom" if self.cafile is None else "dicoms"
        return f"{scheme}://{self.host}:{self.port}/{self.ae_title}"

    def ssl_context(self) -> ssl.SSLContext:
        """For clients: trusts the server, shows the client's certificate if it asks for one."""
        context = ssl.create_default_context(cafile=self.cafile)
        if self.client is not None:
            context.load_cert_chain(*self.client)
        return context


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def running(command: Sequence[str], folder: Path, port: int) -> Iterator[None]:
    """A server and all its children, from when its port answers until the end of the block."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        wait_for(process, port, folder / "log")
        yield
    finally:
        stop(process)


def wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + READY
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    pytest.fail(f"{process.args!r} did not start: {log.read_text(errors='replace')[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process group, gently first."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # all of it has ended
            os.killpg(process.pid, word)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)


@pytest.fixture(scope="session")
def certificate(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A certificate for this machine, and its key; for servers and clients alike."""
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


# --- Orthanc ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def orthanc(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A real Orthanc that allows everything, keeps what it gets, and overwrites."""
    program, folder = tool("Orthanc"), tmp_path_factory.mktemp("orthanc")
    port, web, *movers = free_ports(2 + len(MOVERS))
    destinations = dict(zip(MOVERS, movers, strict=True))
    settings = {
        "Name": "seriesio tests",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [],
        "HttpPort": web,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {t.lower(): [t, "127.0.0.1", at] for t, at in destinations.items()},
        "UnknownSopClassAccepted": True,
        "OverwriteInstances": True,
        "DefaultEncoding": "Utf8",
        "DicomThreadsCount": 8,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with running([program, str(folder / "orthanc.json")], folder, port):
        yield Server("127.0.0.1", port, "ORTHANC", folder, destinations, web=web)


# --- DCMTK ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def dcmqrscp(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A real dcmqrscp with one storage area."""
    with central_node(tool("dcmqrscp"), tmp_path_factory.mktemp("dcmqrscp")) as server:
        yield server


@pytest.fixture(scope="session")
def dcmqrscp_without_get(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One that has no C-GET: what it holds has to be moved."""
    folder = tmp_path_factory.mktemp("dcmqrscp_without_get")
    with central_node(tool("dcmqrscp"), folder, "--disable-get") as server:
        yield server


@pytest.fixture(scope="session")
def dcmqrscp_patient_root(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One that has only the patient root information model."""
    folder = tmp_path_factory.mktemp("dcmqrscp_patient_root")
    with central_node(tool("dcmqrscp"), folder, "--no-study-root") as server:
        yield server


@contextmanager
def central_node(program: str, folder: Path, *options: str) -> Iterator[Server]:
    """dcmqrscp with a configuration of its own."""
    port, *movers = free_ports(1 + len(MOVERS))
    destinations = dict(zip(MOVERS, movers, strict=True))
    (folder / "db").mkdir()
    hosts = [f"{t.lower()} = ({t}, localhost, {at})" for t, at in destinations.items()]
    lines = [
        f"NetworkTCPPort = {port}",
        "MaxPDUSize = 16384",
        "MaxAssociations = 64",
        *("HostTable BEGIN", *hosts, "HostTable END"),
        *("VendorTable BEGIN", "VendorTable END"),
        "AETable BEGIN",
        f"DCMQRSCP {folder / 'db'} RW (1000, 100gb) ANY",
        "AETable END",
    ]
    (folder / "dcmqrscp.cfg").write_text("\n".join(lines) + "\n")
    command = [program, "-c", str(folder / "dcmqrscp.cfg"), *options]
    with running(command, folder, port):
        yield Server("127.0.0.1", port, "DCMQRSCP", folder, destinations)


@pytest.fixture(scope="session")
def storescp_tls(
    tool: Callable[[str], str],
    certificate: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A real storescp behind TLS that asks for a client certificate; files go to its ``in``."""
    folder, (cert, key), (port,) = tmp_path_factory.mktemp("tls"), certificate, free_ports(1)
    (folder / "in").mkdir()
    command = [tool("storescp"), "+tls", str(key), str(cert), "+cf", str(cert), "-aet", "TLS"]
    # Bit preserving; whatever transfer syntax; each association in a process of its own.
    command += ["+B", "+xa", "--fork", "-od", str(folder / "in"), str(port)]
    with running(command, folder, port):
        yield Server("127.0.0.1", port, "TLS", folder, cafile=cert, client=(cert, key))


# --- all of them ------------------------------------------------------------------------------


@pytest.fixture(params=["embedded", "orthanc", "dcmqrscp"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Each archive that there is: the embedded one (new for each test), and the real ones."""
    if request.param != "embedded":
        yield request.getfixturevalue(request.param)
        return
    destinations = dict(zip(MOVERS, free_ports(len(MOVERS)), strict=True))
    known = {title: ("127.0.0.1", port) for title, port in destinations.items()}
    with DicomArchive(ae_title="EMBEDDED", destinations=known) as archive:
        yield Server("127.0.0.1", archive.port, "EMBEDDED", tmp_path, destinations)
