"""``seriesio demo``: a phantom series goes each way there and back, and a picture is made of it."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import numpy as np

from . import Series
from .console import Trip, save_picture, trip_table
from .errors import TargetExistsError
from .location import URL
from .picture import montage

if TYPE_CHECKING:
    from rich.console import Console

    from .testing.archive import DicomArchive
    from .testing.xnat import XnatServer

__all__ = ["demo"]

_USER: Final = ("demo", "demo")  # of the XNAT stand-in, which lives as long as the demo
_SESSION: Final = ("demo", "phantom", "session")


@dataclass(frozen=True, slots=True)
class Way:
    """Where a series is written to, and how; what to read it from, if the receipt does not say."""

    name: str
    target: URL
    source: URL | None = None
    writing: dict[str, Any] = field(default_factory=dict)
    both: dict[str, Any] = field(default_factory=dict)


def demo(args: argparse.Namespace, console: Console) -> int:
    """Make a phantom, send it each way and back, tell how fast, save a picture."""
    if args.output is None:
        with tempfile.TemporaryDirectory(prefix="seriesio-demo-") as scratch:
            return _demo_in(Path(scratch), Path("seriesio-demo.png"), args, console)
    folder = _new_folder(args.output)
    return _demo_in(folder, folder / "montage.png", args, console)


def _demo_in(folder: Path, picture: Path, args: argparse.Namespace, console: Console) -> int:
    from .testing.phantom import phantom

    made = phantom((args.slices, args.size, args.size))
    with console.status("making a phantom"):
        made.save(folder / "phantom")
    with console.status("sending it to and fro"):
        servers = _archive(folder / "archive"), _xnat(folder / "xnat")
        series, trips = anyio.run(_round_trips, folder, made.array, *servers)
    console.print(trip_table(trips))
    console.print("Archive and server run in this process too, and share its processor time.")
    save_picture(montage(series), picture)
    console.print(f"A montage of it: {picture.resolve()}", soft_wrap=True)
    return 0 if all(trip.equal for trip in trips) else 1


def _new_folder(path: Path) -> Path:
    """A new or an empty folder."""
    path.mkdir(parents=True, exist_ok=True)
    if next(path.iterdir(), None) is not None:
        raise TargetExistsError(f"{path}: is not empty")
    return path


# --- the ways --------------------------------------------------------------------------------


async def _round_trips(
    folder: Path, expected: Any, archive: DicomArchive, server: XnatServer
) -> tuple[Series, list[Trip]]:
    series = await Series.open(folder / "phantom")
    trips = [await _round_trip(series, expected, way) for way in _files(folder)]
    async with archive:
        trips.append(await _round_trip(series, expected, _to_archive(archive.url, series)))
    async with server.serve() as url:
        trips.append(await _round_trip(series, expected, _to_xnat(url)))
    return series, trips


async def _round_trip(series: Series, expected: Any, way: Way) -> Trip:
    begin = time.perf_counter()
    receipt = await series.write(way.target, **way.writing, **way.both)
    written = time.perf_counter()
    back = await Series.open(way.source or receipt.url, **way.both)
    read = time.perf_counter()
    return Trip(
        way.name,
        back.shape,
        back.spacing,
        written - begin,
        read - written,
        back.array.nbytes,
        np.array_equal(back.array, expected),
    )


def _files(folder: Path) -> list[Way]:
    archives = {kind: folder / f"{kind}.zip" for kind in ("deflated", "stored")}
    return [
        Way("directory", folder / "copy", folder / "copy"),
        *(Way(f"{kind} zip", path, path, {"compression": kind}) for kind, path in archives.items()),
    ]


def _to_archive(url: str, series: Series) -> Way:
    """C-STORE, then C-GET."""
    uids = f"{series.studyInstanceUID}/{series.seriesInstanceUID}"
    return Way("DICOM archive", url, f"{url}/{series.patientID}/{uids}")


def _to_xnat(url: str) -> Way:
    """A new scan of the session, whose URL the receipt tells."""
    session = "/".join((url.replace("http", "xnat+http", 1), *_SESSION))
    return Way("XNAT server", session, both={"auth": _USER})


# --- the servers, which are on free ports of this machine, and imported when they are needed ------


def _archive(folder: Path) -> DicomArchive:
    from .testing.archive import DicomArchive

    folder.mkdir()
    return DicomArchive(folder)


def _xnat(folder: Path) -> XnatServer:
    from .testing.xnat import XnatServer

    folder.mkdir()
    server = XnatServer(folder, users=dict([_USER]))
    server.add_experiment(*_SESSION, xsi_type="xnat:ctSessionData")
    return server
