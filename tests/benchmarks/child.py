"""What has to be measured in a process of its own; prints one line of JSON."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

from .measure import settle

__all__ = ["LAZY", "import_seconds", "in_child", "lateness", "loaded_early", "peak_bytes"]

ROOT = Path(__file__).resolve().parents[2]
# What `import seriesio` must not load.
LAZY = ("httpx", "imagecodecs", "pydicom.pixels.decoders", "pynetdicom")
TICK = 0.001  # seconds
IMPORTS = {
    "seriesio": "seriesio",
    "imagedata": "imagedata",
    "dicomsdl": "dicomsdl",
    "SimpleITK": "SimpleITK",
}


def in_child(task: str, contender: str, paths: Sequence[Path]) -> dict[str, float]:
    """Run one of this module's tasks in a fresh interpreter."""
    arguments = ["-m", __name__, task, contender, *map(str, paths)]
    figures: dict[str, float] = json.loads(_python(arguments))
    return figures


def import_seconds(module: str) -> dict[str, float]:
    """How long an import takes in a fresh interpreter, without the interpreter's own start."""
    code = (
        "from time import perf_counter as now; start = now(); "
        f"import {module}; elapsed = now() - start; print(elapsed)"
    )
    return {"time": float(_python(["-c", code]))}


def loaded_early() -> dict[str, float]:
    """How many of :data:`LAZY` are loaded by ``import seriesio``."""
    code = f"import sys, seriesio; print(sum(name in sys.modules for name in {LAZY!r}))"
    return {"modules": float(_python(["-c", code]))}


def _python(arguments: Sequence[str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.splitlines()[-1]


def _memory(contender: str, paths: Sequence[Path]) -> dict[str, float]:
    """Peak memory of opening, above that of the import."""
    __import__(IMPORTS[contender])
    work = _opener(contender, paths[0])
    before = peak_bytes()
    result = work()
    peak = peak_bytes() - before
    del result
    return {"peak": float(peak)}


def peak_bytes() -> int:
    """The most memory that this process has held at once.

    ``ru_maxrss`` would begin with what the parent held when it started this process.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell the peak memory of a process")


def _opener(contender: str, path: Path) -> Callable[[], object]:
    if contender == "seriesio":
        from . import ours

        return lambda: ours.open_now(path)
    from . import peers

    openers: dict[str, Callable[[Path], object]] = {
        "imagedata": peers.imagedata_open,
        "dicomsdl": peers.dicomsdl_stack,
        "SimpleITK": peers.simpleitk_open,
    }
    return lambda: openers[contender](path)


def _stall(contender: str, paths: Sequence[Path]) -> dict[str, float]:
    """How late a task wakes up while all ``paths`` are opened side by side."""
    _opener(contender, paths[0])()  # what is imported late is imported now
    settle(len(paths) << 28)
    return asyncio.run(lateness(_jobs(contender, paths)))


def _jobs(contender: str, paths: Sequence[Path]) -> Callable[[], list[Awaitable[Any]]]:
    if contender == "seriesio":
        from . import ours

        return lambda: [ours.opener(path)() for path in paths]
    from . import peers

    def drop(path: Path) -> None:  # eight of its series at once may not fit into memory
        peers.imagedata_open(path)

    pool = ThreadPoolExecutor(len(paths))

    def jobs() -> list[Awaitable[Any]]:
        loop = asyncio.get_running_loop()
        return [loop.run_in_executor(pool, drop, path) for path in paths]

    return jobs


async def lateness(jobs: Callable[[], list[Awaitable[Any]]]) -> dict[str, float]:
    """How late a task wakes up while these are awaited side by side, and how long that takes."""
    late: list[float] = []
    ticker = asyncio.create_task(_tick(late))
    await asyncio.sleep(10 * TICK)
    late.clear()
    start = perf_counter()
    results = await asyncio.gather(*jobs())
    await asyncio.sleep(2 * TICK)  # the wake-up that was due while the last one finished
    elapsed = perf_counter() - start
    ticker.cancel()
    late.sort()
    del results  # freeing the volumes is no work of the library: not before the ticking ends
    return {"p99": late[math.ceil(0.99 * len(late)) - 1], "max": late[-1], "time": elapsed}


async def _tick(late: list[float]) -> None:
    while True:
        start = perf_counter()
        await asyncio.sleep(TICK)
        late.append(perf_counter() - start - TICK)


TASKS = {"memory": _memory, "stall": _stall}

if __name__ == "__main__":
    _task, _contender, *_paths = sys.argv[1:]
    print(json.dumps(TASKS[_task](_contender, [Path(path) for path in _paths])))
