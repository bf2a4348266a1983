"""The table: for the terminal, for JSON and for the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .data import Sizes
from .measure import Outcome, Samples
from .rows import OURS, Limit, Row

__all__ = ["Line", "lines", "machine", "markdown", "plain", "text"]

PACKAGES = (
    *("seriesio", "numpy", "pydicom", "anyio", "imagedata", "SimpleITK", "dicomsdl"),
    *("imagecodecs", "isal", "zlib-ng"),
)
HEADINGS = ("work", "seriesio", "peer", "its figure", "ratio", "must reach", "holds")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a row against one peer, in one figure."""

    row: str
    work: str
    figure: str
    ours: float | None
    peer: str
    theirs: float | None
    ratio: float | None
    must_reach: str
    holds: bool | None  # None: not measured, or nothing has to be reached
    aim: bool
    ours_worst: float | None
    remark: str

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of the headings."""
        return (
            self.work,
            _shown(self.ours, self.figure),
            self.peer,
            _shown(self.theirs, self.figure),
            "–" if self.ratio is None else f"{self.ratio:.3g}",
            self.must_reach or "–",
            self._verdict(),
        )

    def _verdict(self) -> str:
        if self.holds is None:
            return self.remark or "–"
        return "yes" if self.holds else ("not yet" if self.aim else "**no**")


def lines(row: Row, outcome: Outcome) -> list[Line]:
    """A line for each limit, then one for each figure of a peer that has none."""
    limited = {(limit.peer, limit.figure) for limit in row.limits}
    figures = dict.fromkeys(limit.figure for limit in row.limits)
    others = [
        Limit(name, float("inf"), "", figure)
        for name, samples in outcome.samples.items()
        for figure in figures
        if name != OURS and (name, figure) not in limited and figure in samples.median
    ]
    return [_line(row, limit, outcome) for limit in (*row.limits, *others)]


def _line(row: Row, limit: Limit, outcome: Outcome) -> Line:
    ours = _figure(outcome.samples, OURS, limit.figure)
    theirs = _figure(outcome.samples, limit.peer, limit.figure)
    worst = outcome.samples[OURS].worst[limit.figure] if ours is not None else None
    holds = None
    if limit.text and ours is not None and theirs is not None:
        holds = ours <= limit.factor * theirs
    return Line(
        row=row.name,
        work=row.title,
        figure=limit.figure,
        ours=ours,
        peer=limit.peer,
        theirs=theirs,
        ratio=ours / theirs if ours is not None and theirs else None,
        must_reach=limit.text,
        holds=holds,
        aim=limit.aim,
        ours_worst=worst,
        remark=outcome.failures.get(OURS) or outcome.failures.get(limit.peer) or "",
    )


def _figure(samples: Mapping[str, Samples], name: str, figure: str) -> float | None:
    return samples[name].median.get(figure) if name in samples else None


def _shown(value: float | None, figure: str) -> str:
    if value is None:
        return "–"
    if figure == "modules":
        return f"{value:.0f}"
    if figure in ("peak", "size"):
        return f"{value / 1e6:.1f} MB"
    if abs(value) < 1e-3:
        return f"{value * 1e6:.1f} µs"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms"


def machine() -> str:
    """Cores, Python and the versions of all libraries; nothing that names the computer."""
    cores = len(os.sched_getaffinity(0))
    found = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    system = f"{platform.system()} {platform.machine()}"
    return f"{cores} cores, {system}, {platform.python_implementation()} {_python()}; {found}"


def _python() -> str:
    return platform.python_version()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def text(table: Sequence[Line]) -> Iterator[str]:
    """Aligned columns."""
    rows = [HEADINGS, *(_unemphasized(line.cells()) for line in table)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _unemphasized(cells: Iterable[str]) -> tuple[str, ...]:
    return tuple(cell.replace("**", "") for cell in cells)


def plain(table: Sequence[Line]) -> dict[str, Any]:
    """Ready for JSON."""
    return {"machine": machine(), "lines": [asdict(line) for line in table]}


def markdown(table: Sequence[Line], sizes: Sizes, repeat: int) -> str:
    """The page of the documentation."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(line.cells() for line in table)]
    return PAGE.format(
        slices=sizes.slices,
        steps=sizes.steps,
        files=sizes.steps * sizes.step_slices,
        compressed=sizes.compressed,
        repeat=repeat,
        machine=machine(),
        table="\n".join("| " + " | ".join(_escaped(row)) + " |" for row in rows),
    )


def _escaped(cells: Iterable[str]) -> list[str]:
    return [cell.replace("|", "\\|").replace("\n", " ") for cell in cells]


PAGE = """# Benchmarks

Made by `nox -s bench -- --write-docs`. All contenders do the same work in turn (A B C A B C …),
after each has been checked once against the voxels that were written; figures are medians of
{repeat} runs or more with a warm page cache. A time is that of the call alone; giving its result
back is not part of it. Before each run a GiB of memory is touched and freed: in a virtual machine,
fresh pages can cost more than all the reading, and whoever came first would pay for them.

{machine}

![Times of all contenders](images/benchmarks.svg)

{table}

## What is measured
The CT has {slices} slices of 512×512, 12 of 16 bits, each with 140 elements and about 140 kB of
header, mostly private; names tell nothing of the order. The 4D MR has {files} files of 192×192 in
{steps} time steps, 94 elements and about 120 kB of header each. The compressed series are the
first {compressed} slices of the CT.

- *bare preadv*: all bytes of all files into one new array, as many threads as the library takes,
  already running, with all names and sizes known: open, read, close.
- *dicomsdl*: each file's stored values, without rescale, sorted by position, `np.stack`.
- *imagedata*: `imagedata.Series(path)`. It answers with floats when there is a rescale intercept.
- *SimpleITK*: `ImageSeriesReader` with the file names that it sorts itself; the image, not an
  array.
- *zlib*: the members' packed bytes through `zlib.decompress`, as many threads as the library
  takes; no CRC, no directory, every result dropped.
- *pydicom*: `dcmread`, the frames of `pydicom.encaps`, decoded one after the other by imagecodecs,
  which is what the extra `codecs` installs; stored values, `np.stack`.
- *copying*: `shutil.copyfile` of each file. *zipfile*: the standard library's default level.
- Peak memory is that of a fresh process, above what it held after the import. Import times are
  those of fresh interpreters, without the interpreter's own start.
- Stall of the event loop: how late a task wakes up from `asyncio.sleep(0.001)` while eight
  directories are opened at once, each time in a fresh process; the 99th percentile and the maximum
  of each run. imagedata runs in eight threads.
- Archives: Orthanc and dcmqrscp on the loopback, as they come. *getscu*, *storescu*: DCMTK's
  programs with `TCP_NODELAY=1`. *pynetdicom*: a C-GET loop that drops the data. *50 ms away*: a
  line in another process that delays each direction by 25 ms, and each connection by a round trip.
- *A process that has its memory*: the GNU C library is told to keep what is freed, so that nothing
  is taken from the system anew. In a virtual machine that gives free memory back to its host, one
  touch of a fresh page may stop a processor for 30 to 160 ms, whoever's turn it is.
- XNAT: the stand-in of `seriesio.testing` in another process, all sums made beforehand. *curl*:
  into a file, then members read or inflated; no CRC, no digests. *xnatpy*: connected before the
  time starts; it downloads into files, and opens nothing.
"""
