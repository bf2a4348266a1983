"""What of archives has to be measured in a process of its own; prints one line of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .archive_data import Held
from .archive_peers import bare_get
from .archive_servers import HOST, Archive
from .child import ROOT, lateness, peak_bytes
from .measure import settle
from .row import OURS

__all__ = ["BARE", "opened_at_once"]

BARE = "pynetdicom"
# The GNU C library keeps all memory that is freed, and takes none beside it: what `settle` has
# touched is there for whoever comes next, whatever a virtual machine does with its free memory.
_KEPT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TOP_PAD_": str(1 << 28),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
}

Jobs = Callable[[], list[Awaitable[Any]]]


def opened_at_once(
    contender: str, archive: Archive, held: Sequence[Held], *, kept: bool = False
) -> dict[str, float]:
    """Get all series at once in a fresh interpreter.

    ``time``, ``p99`` and ``max`` of how late the event loop is, ``peak`` of the memory above that
    after the imports.

    Args:
        kept: the process has its memory beforehand; ``peak`` is nothing then.
    """
    where = json.dumps([archive.port, archive.title, [one.uids for one in held]])
    done = subprocess.run(
        [sys.executable, "-m", __name__, contender, where],
        cwd=ROOT, env={**os.environ, **(_KEPT if kept else {})},
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _measured(contender: str, port: int, title: str, uids: Sequence[Any]) -> dict[str, float]:
    jobs = _ours if contender == OURS else _bare
    settle(len(uids) << 28)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again at what is held now
    before = peak_bytes()
    figures = asyncio.run(lateness(jobs(port, title, uids)))
    return {**figures, "peak": float(peak_bytes() - before)}


def _ours(port: int, title: str, uids: Sequence[Any]) -> Jobs:
    from seriesio import Series, errors

    async def warm() -> None:  # what is imported late is imported now
        try:
            await Series.open(f"dicom://{HOST}:{port}/{title}/NOBODY/1.2.3/1.2.3.4")
        except errors.NotFoundError:
            return

    asyncio.run(warm())
    urls = [f"dicom://{HOST}:{port}/{title}/" + "/".join(one) for one in uids]
    return lambda: [Series.open(url) for url in urls]


def _bare(port: int, title: str, uids: Sequence[Any]) -> Jobs:
    import pynetdicom  # noqa: F401 - not part of the time

    pool = ThreadPoolExecutor(len(uids))

    def jobs() -> list[Awaitable[Any]]:
        loop = asyncio.get_running_loop()
        return [loop.run_in_executor(pool, bare_get, port, title, one) for one in uids]

    return jobs


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], *json.loads(sys.argv[2]))))
