"""DICOM archives: reading by C-GET, writing by C-STORE, against DCMTK and bare pynetdicom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from time import process_time
from typing import Any

from . import archive_data, archive_peers, checks, ours
from .archive_child import BARE, opened_at_once
from .archive_data import Held
from .archive_servers import Archive, dcmqrscp, delayed, orthanc
from .measure import Contender, Figures, constant, timed, timed_await
from .row import OURS, Limit, Row, Stage

__all__ = ["ROWS"]

ROUND_TRIP = 0.05  # seconds that the slow line adds

Start = Callable[[Path], Archive]
Server = Callable[[], Archive]


def _server(
    stage: Stage, start: Start, held: Sequence[Held], *, delay: float = 0.0
) -> Callable[[], Archive]:
    """An archive that starts when it is first asked for, and holds these series then."""

    @cache
    def started() -> Archive:
        archive = start(stage.scratch.root)
        store = partial(archive_peers.storescu, archive)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(store, [one.case.path for one in held]))
        return delayed(archive, stage.scratch.root, delay) if delay else archive

    return started


# --- C-GET ------------------------------------------------------------------------------------


def _getting(start: Start, stage: Stage) -> list[Contender]:
    held = archive_data.series(stage.corpus)
    server = _server(stage, start, [held])
    return [_our_get(server, held), _getscu(stage, server, held), _bare_get(server, held)]


def _our_get(server: Server, held: Held) -> Contender:
    def open_now() -> Any:
        return asyncio.run(_opened(server, held))

    def check() -> None:
        checks.same_voxels(OURS, ours.voxels(open_now()), held.case.values)

    return Contender(OURS, _with_cpu(timed_await(partial(_opened, server, held))), check)


async def _opened(server: Server, held: Held) -> Any:
    from seriesio import Series

    return await Series.open(server().url + held.path)


def _getscu(stage: Stage, server: Server, held: Held) -> Contender:
    def get(target: Path) -> None:
        archive_peers.getscu(server(), held, target)

    def check(target: Path) -> None:
        checks.same_voxels("getscu", archive_peers.voxels(target), held.case.values)

    return Contender("getscu", stage.scratch.timed(get), stage.scratch.checked(get, check))


def _bare_get(server: Server, held: Held) -> Contender:
    def get() -> int:
        return archive_peers.bare_get(server().port, server().title, held.uids)

    def check() -> None:
        if get() != len(held.case.values):
            raise checks.WrongAnswerError("pynetdicom: another number of instances")

    return Contender(BARE, _with_cpu(timed(get)), check)


def _with_cpu(run: Callable[[], Figures]) -> Callable[[], Figures]:
    """The same, with the processor time of this process; peers that are programs have none."""

    def measured() -> Figures:
        start = process_time()
        figures = run()
        return {**figures, "cpu": process_time() - start}

    return measured


def _memory(stage: Stage) -> list[Contender]:
    return _at_once(stage, [archive_data.series(stage.corpus)], (OURS,))


def _eight(stage: Stage, *, kept: bool = False) -> list[Contender]:
    bound = constant("bound", {"p99": 0.010, "max": 0.050})
    held = archive_data.eight(stage.corpus)
    return [*_at_once(stage, held, (OURS, BARE), kept=kept), bound]


def _at_once(
    stage: Stage, held: Sequence[Held], names: Sequence[str], *, kept: bool = False
) -> list[Contender]:
    server = _server(stage, orthanc, held)
    needed = float(sum(one.needed for one in held))

    alone = {OURS: _our_get, BARE: _bare_get}

    def child(name: str) -> Contender:
        def check() -> None:
            for one in held:
                alone[name](server, one).check()

        return Contender(name, lambda: opened_at_once(name, server(), held, kept=kept), check)

    return [*map(child, names), constant("volumes + headers", {"peak": needed})]


# --- C-STORE ----------------------------------------------------------------------------------


def _storing(start: Start, stage: Stage) -> list[Contender]:
    return _storers(stage, archive_data.series(stage.corpus), _server(stage, start, []))


def _storers(stage: Stage, held: Held, server: Server) -> list[Contender]:
    def check(name: str, target: Path) -> None:
        archive_peers.getscu(server(), held, target)
        checks.same_voxels(name, archive_peers.voxels(target), held.case.values)

    def storer(name: str, work: Callable[[], None], run: Callable[[], Figures]) -> Contender:
        def wiped() -> Figures:
            server().wipe()
            return run()

        def once(target: Path) -> None:
            server().wipe()
            work()

        return Contender(name, wiped, stage.scratch.checked(once, partial(check, name)))

    def theirs() -> None:
        archive_peers.storescu(server(), held.case.path)

    async def mine() -> None:
        await _stored(server(), held)

    return [
        storer(OURS, lambda: asyncio.run(mine()), timed_await(mine)),
        storer("storescu", theirs, timed(theirs)),
    ]


async def _stored(archive: Archive, held: Held) -> None:
    from seriesio import Client

    async with Client() as client:
        await client.copy(held.case.path, archive.url)


# --- latency ----------------------------------------------------------------------------------


def _getting_far(stage: Stage) -> list[Contender]:
    held = archive_data.small(stage.corpus)
    server = _server(stage, orthanc, [held], delay=ROUND_TRIP)
    return [_our_get(server, held), _getscu(stage, server, held)]


def _storing_far(stage: Stage) -> list[Contender]:
    return _storers(
        stage,
        archive_data.small(stage.corpus),
        _server(stage, orthanc, [], delay=ROUND_TRIP),
    )


_GET = (
    Limit("getscu", 0.65, "≤ 0.65 ×"),
    Limit(BARE, 0.65, "≤ 0.65 ×"),
    Limit(BARE, 0.65, "CPU ≤ 0.65 ×", "cpu"),
)
_PEAK = Limit("volumes + headers", 1.3, "≤ 1.3 ×", "peak")

ROWS: tuple[Row, ...] = (
    Row("archive-get-orthanc", "C-GET from Orthanc", partial(_getting, orthanc), _GET),
    Row("archive-get-dcmqrscp", "C-GET from dcmqrscp", partial(_getting, dcmqrscp), _GET),
    Row("archive-get-memory", "peak memory of a C-GET", _memory, (_PEAK,)),
    Row(
        "archive-eight",
        "eight C-GETs at once from Orthanc",
        _eight,
        (
            Limit(BARE, 0.5, "≤ 1/2"),
            Limit("bound", 1.0, "loop: p99 ≤ 10 ms", "p99"),
            Limit("bound", 1.0, "loop: max ≤ 50 ms", "max"),
            _PEAK,
        ),
    ),
    Row(
        "archive-eight-kept",
        "the same in a process that has its memory",
        partial(_eight, kept=True),
        (
            Limit("bound", 1.0, "loop: p99 ≤ 10 ms", "p99"),
            Limit("bound", 1.0, "loop: max ≤ 50 ms", "max"),
        ),
    ),
    Row(
        "archive-store-orthanc",
        "C-STORE to Orthanc",
        partial(_storing, orthanc),
        (Limit("storescu", 0.5, "≤ 1/2"),),
    ),
    Row(
        "archive-store-dcmqrscp",
        "C-STORE to dcmqrscp",
        partial(_storing, dcmqrscp),
        (Limit("storescu", 1.0, "≤ 1.0 ×"),),
    ),
    Row(
        "archive-get-far",
        "C-GET of 100 small instances, 50 ms away",
        _getting_far,
        (Limit("getscu", 0.5, "≤ 1/2"),),
    ),
    Row(
        "archive-store-far",
        "C-STORE of 100 small instances, 50 ms away",
        _storing_far,
        (Limit("storescu", 0.5, "≤ 1/2"),),
    ),
)
