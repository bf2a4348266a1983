"""XNAT on loopback, in another process: reading and writing scans against curl and xnatpy."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks, ours
from .measure import Contender, Figures, Scratch, constant, timed_await
from .peers import imagedata_open
from .row import OURS, Limit, Row
from .xnat_child import in_child
from .xnat_peers import Curl, deflate, unpack, xnatpy, xnatpy_download
from .xnat_server import Server

if TYPE_CHECKING:
    from .data import Case
    from .row import Stage

__all__ = ["ROWS"]

_SCAN = "1"
_MANY, _EACH = 32, 30  # scans, slices of each
_DELAY = 0.03  # seconds

# --- reading --------------------------------------------------------------------------------------


def _reading(deflated: bool, stage: Stage) -> list[Contender]:
    case = stage.corpus.ct()
    server = cache(partial(Server, {_SCAN: case.files()}, deflate=deflated))
    return [
        _our_opening(server, case),
        _curl_and_unpack(server, case, stage),
        _xnatpy_and_imagedata(server, case, stage),
    ]


def _our_opening(server: Callable[[], Server], case: Case) -> Contender:
    async def opened() -> Any:
        from seriesio import Series

        return await Series.open(server().scan(_SCAN))

    def check() -> None:
        checks.same_voxels(OURS, ours.voxels(asyncio.run(opened())), case.values)

    return Contender(OURS, timed_await(opened), check)


def _curl_and_unpack(server: Callable[[], Server], case: Case, stage: Stage) -> Contender:
    def work(target: Path) -> dict[str, bytes]:
        Curl().download(server().path(_SCAN), target)
        return unpack(target, stage.threads)

    def check(target: Path) -> None:
        checks.same_files(case.files(), target)

    return Contender(
        "curl, then unpacking",
        stage.scratch.timed(work, ".zip"),
        stage.scratch.checked(work, check, ".zip"),
    )


def _xnatpy_and_imagedata(server: Callable[[], Server], case: Case, stage: Stage) -> Contender:
    """Being connected is no part of the time."""

    def work(target: Path, check: bool = False) -> Figures:
        with xnatpy(server()) as experiment:
            start = perf_counter()
            xnatpy_download(experiment, _SCAN, target)
            series = imagedata_open(target)
            elapsed = perf_counter() - start
        if check:
            checks.same_voxels("imagedata", series, case.values)
        return {"time": elapsed}

    return Contender(
        "xnatpy, then imagedata",
        stage.scratch.measured(work),
        stage.scratch.checked(partial(work, check=True), lambda _: None),
    )


def _memory(stage: Stage) -> list[Contender]:
    case = stage.corpus.ct()
    server = cache(partial(Server, {_SCAN: case.files()}))
    needed = float(case.values.nbytes + case.header_bytes())
    return [
        Contender(OURS, lambda: in_child("memory", [server().scan(_SCAN)])),
        constant("volume + headers", {"peak": needed}),
    ]


# --- writing --------------------------------------------------------------------------------------


def _writing(deflated: bool, stage: Stage) -> list[Contender]:
    case = stage.corpus.ct()
    server = cache(partial(Server, {_SCAN: case.files()[:1]}))
    numbers = count(100)

    def on_server(
        write: Callable[[str], Figures], check: Callable[[Path], None] | None = None
    ) -> Callable[[], Figures]:
        """Write a new scan; look at what is there then; have it deleted."""

        def run() -> Figures:
            name = str(next(numbers))
            try:
                figures = write(name)
                if check is not None:
                    got = stage.scratch.root / f"{name}.zip"
                    server().download(name, got)
                    check(got)
                    got.unlink()
                return figures
            finally:
                server().drop(name)

        return run

    check = partial(checks.same_files, case.files())
    mine = _our_writing(server, case, deflated)
    theirs = _curl_writing(server, case, deflated, stage)
    return [
        Contender(OURS, on_server(mine), lambda: _ignored(on_server(mine, check))),
        Contender(
            "deflating, then curl" if deflated else "curl",
            on_server(theirs),
            lambda: _ignored(on_server(theirs, check)),
        ),
    ]


def _ignored(run: Callable[[], object]) -> None:
    run()


def _our_writing(
    server: Callable[[], Server], case: Case, deflated: bool
) -> Callable[[str], Figures]:
    series = cache(partial(ours.open_now, case.path))
    compression = "deflated" if deflated else "stored"

    def write(name: str) -> Figures:
        one, url = series(), server().experiment
        return timed_await(lambda: one.write(url, scan_id=name, compression=compression))()

    return write


def _curl_writing(
    server: Callable[[], Server], case: Case, deflated: bool, stage: Stage
) -> Callable[[str], Figures]:
    """The scan is made and the zip is ready before; its files are deflated within the time."""
    archive = stage.corpus.zipped(zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED).path
    packing = deflate(case.files(), stage.threads)

    def write(name: str) -> Figures:
        server().begin(name)
        start = perf_counter()
        if deflated:
            packing()
        Curl().upload(archive, server().path(name))
        return {"time": perf_counter() - start}

    return write


# --- many scans -----------------------------------------------------------------------------------


def _many(stage: Stage) -> list[Contender]:
    scans = _scans(stage.corpus.dynamic())
    server = cache(partial(Server, scans, delay=_DELAY))
    return [
        Contender(
            OURS,
            lambda: in_child("many", [server().scan(name) for name in scans]),
            lambda: _check_many(server(), stage.corpus.dynamic(), list(scans)),
        ),
        _xnatpy_one_by_one(server, scans, stage.scratch),
        constant("bound", {"p99": 0.010}),
    ]


def _scans(case: Case) -> dict[str, list[Path]]:
    """Scans of neighbouring slices, from one time step of the MR after the other."""
    import pydicom

    wanted = ["AcquisitionTime", "ImagePositionPatient"]
    placed = []
    for file in case.files():
        header = pydicom.dcmread(file, specific_tags=wanted)
        placed.append((float(header.AcquisitionTime), float(header.ImagePositionPatient[2]), file))
    steps: dict[float, list[Path]] = {}
    for time, _, file in sorted(placed):
        steps.setdefault(time, []).append(file)
    order = list(steps.values())
    return {str(1 + n): order[n % len(order)][:_EACH] for n in range(_MANY)}


def _check_many(server: Server, case: Case, names: Sequence[str]) -> None:
    """Each scan has the voxels of its time step."""
    from seriesio import Client

    async def opened() -> list[Any]:
        async with Client() as client:
            return await asyncio.gather(*(client.open(server.scan(name)) for name in names))

    for number, series in enumerate(asyncio.run(opened())):
        expected = case.values[number % len(case.values)][:_EACH]
        checks.same_voxels(OURS, np.asarray(series), expected)


def _xnatpy_one_by_one(
    server: Callable[[], Server], scans: Mapping[str, Sequence[Path]], scratch: Scratch
) -> Contender:
    """Downloaded and unpacked into directories, not opened; connecting is no part of the time."""

    def work(target: Path) -> Figures:
        target.mkdir()
        with xnatpy(server()) as experiment:
            start = perf_counter()
            for name in scans:
                xnatpy_download(experiment, name, target / name)
            return {"time": perf_counter() - start}

    def check(target: Path) -> None:
        for name, files in scans.items():
            checks.same_files(files, target / name)

    return Contender("xnatpy", scratch.measured(work), scratch.checked(work, check))


_BY_XNATPY = Limit("xnatpy, then imagedata", 1 / 3, "≤ 1/3")

ROWS: tuple[Row, ...] = (
    Row(
        "xnat-read",
        "open a scan from XNAT, stored zip",
        partial(_reading, False),
        (Limit("curl, then unpacking", 1.3, "≤ 1.3 ×"), _BY_XNATPY),
    ),
    Row(
        "xnat-read-deflated",
        "open a scan from XNAT, deflated zip",
        partial(_reading, True),
        (Limit("curl, then unpacking", 1.3, "≤ 1.3 ×"), _BY_XNATPY),
    ),
    Row(
        "xnat-memory",
        "peak memory of opening a scan from XNAT",
        _memory,
        (Limit("volume + headers", 1.3, "≤ 1.3 ×", "peak"),),
    ),
    Row(
        "xnat-write",
        "write a scan to XNAT",
        partial(_writing, False),
        (Limit("curl", 1.3, "≤ 1.3 ×"),),
    ),
    Row(
        "xnat-write-deflated",
        "write a scan to XNAT, deflated",
        partial(_writing, True),
        (Limit("deflating, then curl", 1.3, "≤ 1.3 ×"),),
    ),
    Row(
        "xnat-many",
        f"{_MANY} scans of {_EACH} slices from an XNAT that answers after 30 ms",
        _many,
        (
            Limit("xnatpy", 1 / 8, "≥ 8 × the throughput"),
            Limit("bound", 1.0, "stall p99 ≤ 10 ms", "p99"),
        ),
    ),
)
