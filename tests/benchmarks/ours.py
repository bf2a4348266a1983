"""The library under test, as its users call it. Imported late: some rows run without it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["open_now", "opener", "threads", "voxels", "write", "write_changed"]


def threads() -> int:
    """As many threads as there are processors: what the peers get."""
    try:
        return max(len(os.sched_getaffinity(0)), 2)
    except AttributeError:  # no affinity on this platform
        return os.cpu_count() or 2


def opener(path: Path) -> Callable[[], Coroutine[Any, Any, Any]]:
    """``Series.open(path)``, to be awaited in a running loop."""

    async def opened() -> Any:
        from seriesio import Series

        return await Series.open(path)

    return opened


def open_now(path: Path) -> Any:
    """A series, for the rows that measure something else than opening it."""
    return asyncio.run(opener(path)())


def voxels(series: Any) -> NDArray[Any]:
    """The ndarray that a series is."""
    return np.asarray(series.array)


async def write(series: Any, target: Path) -> None:
    """An unchanged series."""
    await series.write(target)


async def write_changed(series: Any, target: Path) -> None:
    """The change belongs to the work: new UIDs for every instance."""
    series.seriesNumber = int(series.seriesNumber) + 1
    await series.write(target)
