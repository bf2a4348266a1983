"""Running contenders in turn, and the figures that one run gives."""

from __future__ import annotations

import asyncio
import gc
import shutil
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

__all__ = [
    "Contender",
    "Figures",
    "Outcome",
    "Samples",
    "Scratch",
    "constant",
    "interleave",
    "settle",
    "timed",
    "timed_await",
]

Figures = Mapping[str, float]  # figure name → value, in seconds or bytes


def _nothing() -> None:
    """For what needs no check."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those that do the same work. ``check`` raises when the work is done wrongly."""

    name: str
    run: Callable[[], Figures]
    check: Callable[[], None] = _nothing


class Samples:
    """What every run of one contender gave."""

    def __init__(self, runs: Sequence[Figures]) -> None:
        self.runs = tuple(runs)

    @cached_property
    def median(self) -> dict[str, float]:
        return self._each(statistics.median)

    @cached_property
    def worst(self) -> dict[str, float]:
        return self._each(max)

    def _each(self, summary: Callable[[list[float]], float]) -> dict[str, float]:
        return {name: summary([run[name] for run in self.runs]) for name in self.runs[0]}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row gave: the runs of those that did the work, why others did not."""

    samples: Mapping[str, Samples]
    failures: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        runs = {name: [dict(run) for run in one.runs] for name, one in self.samples.items()}
        return {"runs": runs, "failures": dict(self.failures)}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Outcome:
        """The inverse of :meth:`plain`."""
        samples = {name: Samples(runs) for name, runs in data["runs"].items()}
        return cls(samples, data["failures"])


def interleave(contenders: Sequence[Contender], repeat: int) -> Outcome:
    """A B C A B C …: a drift of the machine's speed meets all of them alike.

    Who cannot do the work, or does it wrongly, is left out, with the reason.
    """
    failures: dict[str, str] = {}
    runs: dict[str, list[Figures]] = {contender.name: [] for contender in contenders}
    for turn in range(repeat + 1):
        for contender in contenders:
            if contender.name not in failures:
                try:
                    _play(contender, turn, runs[contender.name])
                except Exception as error:  # whatever it is, it is told
                    failures[contender.name] = f"{type(error).__name__}: {error}"
    samples = {name: Samples(one) for name, one in runs.items() if name not in failures}
    return Outcome(samples, failures)


def _play(contender: Contender, turn: int, runs: list[Figures]) -> None:
    settle()
    if turn == 0:
        contender.check()
    else:
        runs.append(contender.run())


def settle(size: int = 1 << 30) -> None:
    """Leave neither garbage nor cold memory to the run that comes next.

    A virtual machine gives memory that lies idle for seconds back to its host, and whoever touches
    it next pays for it: up to ten times the time of reading the bytes into memory just freed.
    """
    gc.collect()
    np.empty(size, np.uint8).fill(0)


def timed(work: Callable[[], object]) -> Callable[[], Figures]:
    """Time ``work``; giving its result back to the system is not part of the time."""

    def run() -> Figures:
        start = perf_counter()
        result = work()
        elapsed = perf_counter() - start
        del result
        return {"time": elapsed}

    return run


def timed_await(work: Callable[[], Awaitable[object]]) -> Callable[[], Figures]:
    """Time the await alone, inside a loop that runs already."""

    async def measured() -> Figures:
        start = perf_counter()
        result = await work()
        elapsed = perf_counter() - start
        del result
        return {"time": elapsed}

    return lambda: asyncio.run(measured())


def constant(name: str, figures: Figures) -> Contender:
    """Not measured, but reckoned: something to hold the others against."""
    return Contender(name, lambda: figures)


class Scratch:
    """Fresh targets for writers, removed outside of the measured time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers = count()
        root.mkdir(parents=True, exist_ok=True)

    def timed(self, write: Callable[[Path], object], suffix: str = "") -> Callable[[], Figures]:
        """Time ``write(target)``; the figure ``size`` is what it left there, in bytes."""
        return self._with_target(suffix, lambda target: timed(lambda: write(target))())

    def timed_await(
        self, write: Callable[[Path], Awaitable[object]], suffix: str = ""
    ) -> Callable[[], Figures]:
        """As :meth:`timed`, for a coroutine."""
        return self._with_target(suffix, lambda target: timed_await(lambda: write(target))())

    def checked(
        self, write: Callable[[Path], object], check: Callable[[Path], None], suffix: str = ""
    ) -> Callable[[], None]:
        """Write once and look at what was written."""

        def run() -> None:
            target = self._fresh(suffix)
            try:
                write(target)
                check(target)
            finally:
                _remove(target)

        return run

    def checked_await(
        self,
        write: Callable[[Path], Awaitable[object]],
        check: Callable[[Path], None],
        suffix: str = "",
    ) -> Callable[[], None]:
        """As :meth:`checked`, for a coroutine."""
        return self.checked(lambda target: _awaited(write, target), check, suffix)

    def measured(self, work: Callable[[Path], Figures], suffix: str = "") -> Callable[[], Figures]:
        """What ``work(target)`` measures itself; ``size`` as of :meth:`timed`."""
        return self._with_target(suffix, work)

    def _with_target(
        self, suffix: str, measure: Callable[[Path], Figures]
    ) -> Callable[[], Figures]:
        def run() -> Figures:
            target = self._fresh(suffix)
            try:
                return {**measure(target), "size": _size(target)}
            finally:
                _remove(target)

        return run

    def _fresh(self, suffix: str) -> Path:
        return self.root / f"target{next(self._numbers)}{suffix}"


def _awaited(write: Callable[[Path], Awaitable[object]], target: Path) -> None:
    async def run() -> None:
        await write(target)

    asyncio.run(run())


def _size(path: Path) -> float:
    if path.is_file():
        return float(path.stat().st_size)
    return float(sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file()))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
