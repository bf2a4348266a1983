"""Many opens, cancelled at random and met with random faults: nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable
from functools import cache
from pathlib import Path
from typing import Final

from anyio.lowlevel import checkpoint

from seriesio import Client
from seriesio.errors import SeriesIOError
from seriesio.testing import DicomArchive, Faults, Phantom, phantom

OPENS: Final = 200
AT_ONCE: Final = 5
LATEST: Final = (0.02, 0.05, 0.2)  # seconds; an open without faults takes some 20 ms
FAULTS: Final = (
    *(Faults(), Faults(), Faults()),
    *(Faults(abort_after=0), Faults(abort_after=3), Faults(fail_suboperation=2)),
    *(Faults(max_pdu=99), Faults(wrong_uids=3), Faults(corrupt_dataset=2)),
    *(Faults(refuse_roles=True), Faults(ignore_roles=True), Faults(refuse_get=True)),
    *(
        Faults(reject=(1, 1, 1)),
        Faults(close_after=2),
        Faults(duplicate_instance=2),
        Faults(stall_after=3),
    ),
)


@cache
def made() -> Phantom:
    return phantom((8, 12, 10), seed=9)


def url(archive: DicomArchive) -> str:
    first = made().datasets()[0]
    path = f"/{first.PatientID}/{first.StudyInstanceUID}/{first.SeriesInstanceUID}"
    return archive.url + path


def held() -> tuple[Counter[str], int]:
    """Open files and sockets of this process by kind, and its threads."""
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
    kinds = Counter(os.readlink(link).partition(":")[0] for link in links if link.is_symlink())
    return kinds, threading.active_count()


async def stopped(work: Awaitable[object], dice: random.Random) -> str:
    """Cancel at a random time, or after a random number of turns of the event loop."""
    task = asyncio.ensure_future(work)
    if dice.random() < 0.7:
        await asyncio.wait([task], timeout=dice.random() * dice.choice(LATEST))
    else:
        for _ in range(dice.randrange(60)):
            await checkpoint()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"
    except SeriesIOError:
        return "failed"
    return "done"


async def opens(archive: DicomArchive, count: int) -> Counter[str]:
    """How they ended; no task is left, and the archive serves whoever comes next."""
    dice, ends, tasks = random.Random(2), Counter[str](), len(asyncio.all_tasks())
    async with Client() as client:
        for _ in range(count // AT_ONCE):
            archive.faults = dice.choice(FAULTS)
            some = [stopped(client.open(url(archive)), dice) for _ in range(AT_ONCE)]
            ends.update(await asyncio.gather(*some))
        archive.faults = Faults()
        await client.open(url(archive))
    assert len(asyncio.all_tasks()) == tasks
    return ends


def run(count: int) -> Counter[str]:
    """So many opens of the series of an archive, which ends before this returns."""
    with DicomArchive(ae_title="STRESS", max_associations=64) as archive:
        archive.add(made().files().values())
        return asyncio.run(opens(archive, count))


def test_opens() -> None:
    """200 opens: threads, tasks, sockets and files are those of before, in number and kind."""
    run(0)  # what is loaded and opened once is there from now on
    before = held()
    ends = run(OPENS)
    assert ends.total() == OPENS
    assert min(ends[how] for how in ("cancelled", "failed", "done")) > 0, ends
    end = time.monotonic() + 5  # threads of the event loop's pool end soon after it
    while held() != before and time.monotonic() < end:
        time.sleep(0.01)
    assert held() == before
