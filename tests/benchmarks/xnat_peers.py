"""What others do with the same XNAT: curl and zlib, xnatpy and imagedata."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from .peers import Member, inflated, members
from .xnat_server import EXPERIMENT, PASSWORD, PROJECT, USER, Server

__all__ = ["Curl", "deflate", "unpack", "xnatpy", "xnatpy_download"]


class Curl:
    """The curl of the system.

    Raises:
        FileNotFoundError: there is none.
    """

    def __init__(self) -> None:
        found = shutil.which("curl")
        if found is None:
            raise FileNotFoundError("curl is not installed")
        self._curl = [found, "--silent", "--show-error", "--fail", "--user", f"{USER}:{PASSWORD}"]

    def download(self, url: str, target: Path) -> None:
        """The zip of a scan into a file."""
        self._run("--output", str(target), f"{url}/files?format=zip")

    def upload(self, archive: Path, url: str) -> None:
        """A zip into the resource DICOM of a scan, which the server unpacks."""
        query = "inbody=true&extract=true&format=DICOM&content=RAW"
        address = f"{url}/resources/DICOM/files/bench.zip?{query}"
        self._run("--header", "Expect:", "--upload-file", str(archive), address)

    def _run(self, *arguments: str) -> None:
        subprocess.run([*self._curl, *arguments], check=True, stdout=subprocess.DEVNULL)


def unpack(archive: Path, threads: int) -> dict[str, bytes]:
    """Every member into memory, side by side; no CRC."""
    found = members(archive)
    descriptor = os.open(archive, os.O_RDONLY)

    def some(part: Sequence[Member]) -> list[tuple[str, bytes]]:
        return [(member.name, _member(member, descriptor)) for member in part]

    try:
        with ThreadPoolExecutor(threads) as pool:
            jobs = [pool.submit(some, found[start::threads]) for start in range(threads)]
            return dict(pair for job in jobs for pair in job.result())
    finally:
        os.close(descriptor)


def _member(member: Member, descriptor: int) -> bytes:
    if member.packed == member.size:
        return os.pread(descriptor, member.size, member.offset)
    return inflated(member, descriptor)


def deflate(files: Sequence[Path], threads: int) -> Callable[[], int]:
    """zlib at its default level over all files, side by side; how many bytes came out."""

    def some(part: Sequence[Path]) -> int:
        return sum(len(_deflated(file.read_bytes())) for file in part)

    def run() -> int:
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(some, [files[start::threads] for start in range(threads)]))

    return run


def _deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@contextmanager
def xnatpy(server: Server) -> Iterator[Any]:
    """The session of images as xnatpy has it: logged in, its model built.

    Raises:
        ImportError: xnatpy is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own old habits
        xnat = import_module("xnat")  # it has no type hints

        how = {"user": USER, "password": PASSWORD, "loglevel": "ERROR"}
        with xnat.connect(server.url, **how) as connection:
            yield connection.projects[PROJECT].experiments[EXPERIMENT]


def xnatpy_download(experiment: Any, scan: str, target: Path) -> None:
    """One scan, unpacked into a directory."""
    experiment.scans[scan].download_dir(str(target), verbose=False)
