"""What of the XNAT rows has a process of its own; prints one line of JSON."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Sequence
from typing import Any

from .child import ROOT, lateness, peak_bytes
from .measure import settle

__all__ = ["in_child"]


def in_child(task: str, urls: Sequence[str]) -> dict[str, float]:
    """Run one of this module's tasks in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, task, *urls],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _memory(urls: Sequence[str]) -> dict[str, float]:
    """Peak memory of opening a scan, above that of the import."""
    from seriesio import Series

    before = peak_bytes()
    series = asyncio.run(Series.open(urls[0]))
    peak = peak_bytes() - before
    del series
    return {"peak": float(peak)}


def _many(urls: Sequence[str]) -> dict[str, float]:
    """All scans at once by one client: how long that takes, and how late a task wakes up."""
    from seriesio import Series

    asyncio.run(Series.open(urls[0]))  # what is imported late is imported now
    settle()

    def jobs() -> list[Awaitable[Any]]:
        return [_opened(urls)]

    return asyncio.run(lateness(jobs))


async def _opened(urls: Sequence[str]) -> list[Any]:
    from seriesio import Client

    async with Client() as client:
        return await asyncio.gather(*(client.open(url) for url in urls))


TASKS = {"memory": _memory, "many": _many}

if __name__ == "__main__":
    _task, *_urls = sys.argv[1:]
    print(json.dumps(TASKS[_task](_urls)))
