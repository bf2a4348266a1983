"""Real archives on free ports in temporary folders, and a line that delays what goes to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .child import ROOT

__all__ = ["Archive", "NotInstalledError", "dcmqrscp", "delayed", "orthanc", "program"]

READY = 30.0  # seconds that a server may take to start
HOST = "127.0.0.1"


class NotInstalledError(Exception):
    """A program that a row needs is not there."""


class Running:
    """A process that listens at a port; it ends when nobody refers to it any more."""

    def __init__(self, command: Sequence[str], folder: Path, port: int) -> None:
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                start_new_session=True,
            )  # fmt: skip
        weakref.finalize(self, _end, self._process, folder)
        _wait_for(self._process, port, folder / "log")


@dataclass(frozen=True)
class Archive:
    """An archive that runs as long as it is referred to.

    Attributes:
        title: its AE title.
        port: where it is, on this machine.
        wipe: removes all that it holds.
    """

    title: str
    port: int
    wipe: Callable[[], None] = field(repr=False)
    runs: tuple[Running, ...] = field(repr=False)

    @property
    def url(self) -> str:
        """``dicom://host:port/AET``."""
        return f"dicom://{HOST}:{self.port}/{self.title}"


def program(name: str) -> str:
    """The path of an installed program; pynetdicom has some of the same names beside Python.

    Raises:
        NotInstalledError: it is not there.
    """
    own = os.path.dirname(sys.executable)
    places = [place for place in os.get_exec_path() if place != own]
    found = shutil.which(name, path=os.pathsep.join([*places, "/usr/sbin", "/usr/local/sbin"]))
    if found is None:
        raise NotInstalledError(f"{name} is not installed")
    return found


def orthanc(scratch: Path) -> Archive:
    """Orthanc with its own settings, but for what it lets others do."""
    command, folder, (port, web) = program("Orthanc"), _folder(scratch), _free_ports(2)
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [],
        "HttpPort": web,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "OverwriteInstances": True,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    running = Running([command, str(folder / "orthanc.json")], folder, port)
    return Archive("ORTHANC", port, lambda: _wipe_orthanc(web), (running,))


def _wipe_orthanc(web: int) -> None:
    base = f"http://{HOST}:{web}/patients"
    with urllib.request.urlopen(base, timeout=60) as answer:
        patients = json.load(answer)
    for patient in patients:
        request = urllib.request.Request(f"{base}/{patient}", method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()


def dcmqrscp(scratch: Path) -> Archive:
    """DCMTK's archive with one storage area, and the size of PDUs of its own example."""
    command, folder, (port,) = program("dcmqrscp"), _folder(scratch), _free_ports(1)
    area = folder / "db"
    area.mkdir()
    lines = [
        *(f"NetworkTCPPort = {port}", "MaxPDUSize = 16384", "MaxAssociations = 64"),
        *("HostTable BEGIN", "HostTable END", "VendorTable BEGIN", "VendorTable END"),
        *("AETable BEGIN", f"DCMQRSCP {area} RW (1000, 100gb) ANY", "AETable END"),
    ]
    (folder / "dcmqrscp.cfg").write_text("\n".join(lines) + "\n")
    running = Running([command, "-c", str(folder / "dcmqrscp.cfg")], folder, port)
    return Archive("DCMQRSCP", port, lambda: _wipe_folder(area), (running,))


def _wipe_folder(area: Path) -> None:
    # Each association has a process of its own, which opens the index when it begins.
    for file in area.iterdir():
        file.unlink()


def delayed(archive: Archive, scratch: Path, seconds: float) -> Archive:
    """The same archive behind a line on which every round trip takes so much longer."""
    folder, (port,) = _folder(scratch), _free_ports(1)
    module = f"{__package__}.archive_line"
    command = [sys.executable, "-m", module, str(port), str(archive.port), str(seconds)]
    running = Running(command, folder, port)
    return Archive(archive.title, port, archive.wipe, (*archive.runs, running))


def _folder(scratch: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=scratch))


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + READY
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"a server did not start: {log.read_text(errors='replace')[-500:]}")


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """End a process with all its children, gently first; remove what it has written."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # all of it has ended
            os.killpg(process.pid, word)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    shutil.rmtree(folder, ignore_errors=True)
