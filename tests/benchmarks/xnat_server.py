"""An XNAT stand-in in a process of its own, filled with the benchmark's series."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.request
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .child import ROOT

__all__ = ["EXPERIMENT", "PASSWORD", "USER", "Server"]

PROJECT, SUBJECT, EXPERIMENT = "BENCH", "S1", "E1"
USER, PASSWORD = "admin", "admin"
_PATH: Final = f"/data/projects/{PROJECT}/subjects/{SUBJECT}/experiments/{EXPERIMENT}"


class Server:
    """The stand-in, until nobody knows it any more.

    Args:
        scans: files by the scan's ID; they are all held in memory.
        deflate: zips are deflated; each member only once, not for each download.
        delay: seconds before each answer.
    """

    def __init__(
        self, scans: Mapping[str, Sequence[Path]], *, deflate: bool = False, delay: float = 0.0
    ) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stop = weakref.finalize(self, _stop, process)
        assert process.stdin is not None
        assert process.stdout is not None
        held = {name: [str(file.resolve()) for file in files] for name, files in scans.items()}
        plan = {"scans": held, "deflate": deflate, "delay": delay}
        process.stdin.write(json.dumps(plan) + "\n")
        process.stdin.flush()
        self.url = process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the XNAT stand-in does not start (is uvicorn installed?)")

    @property
    def experiment(self) -> str:
        """What ``Series.open`` and ``write`` are given, without the scan."""
        address = self.url.removeprefix("http://")
        return f"xnat+http://{USER}:{PASSWORD}@{address}/{PROJECT}/{SUBJECT}/{EXPERIMENT}"

    def scan(self, name: str) -> str:
        """The URL of a scan, for ``Series.open``."""
        return f"{self.experiment}/{name}"

    def path(self, name: str) -> str:
        """The URL of a scan in the server's own interface."""
        return f"{self.url}{_PATH}/scans/{name}"

    def begin(self, name: str) -> None:
        """Make an empty scan of CT."""
        self._request("PUT", f"{self.path(name)}?xsiType=xnat:ctScanData")

    def drop(self, name: str) -> None:
        """Delete a scan."""
        self._request("DELETE", f"{self.path(name)}?removeFiles=true")

    def download(self, name: str, target: Path) -> None:
        """The files of a scan as a zip."""
        target.write_bytes(self._request("GET", f"{self.path(name)}/files?format=zip"))

    def _request(self, method: str, url: str) -> bytes:
        key = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            url, method=method, headers={"Authorization": f"Basic {key}"}
        )
        with urllib.request.urlopen(request) as answer:
            body: bytes = answer.read()
            return body


def _stop(process: subprocess.Popen[str]) -> None:
    """The server ends when nobody can write to it any more."""
    process.communicate()


def _serve() -> None:
    """Fill a server with what the first line of the standard input says, until that ends."""
    from seriesio.testing import XnatFaults, XnatServer

    plan = json.loads(sys.stdin.readline())
    faults = XnatFaults(delay=plan["delay"])
    server = XnatServer(deflate=plan["deflate"], faults=faults)
    for name, files in plan["scans"].items():
        data = {Path(file).name: Path(file).read_bytes() for file in files}
        server.add_scan(PROJECT, SUBJECT, EXPERIMENT, name, data)
    with server.serve() as url:
        _warm(url, plan["scans"])
        print(url, flush=True)
        sys.stdin.read()


def _warm(url: str, scans: Mapping[str, Sequence[str]]) -> None:
    """Have every sum and every deflated member made once: XNAT keeps its sums, too."""
    key = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for name in scans:
        for query in ("json", "zip"):
            address = f"{url}{_PATH}/scans/{name}/files?format={query}"
            request = urllib.request.Request(address, headers={"Authorization": f"Basic {key}"})
            with urllib.request.urlopen(request) as answer:
                while answer.read(1 << 20):
                    pass


if __name__ == "__main__":
    _serve()
