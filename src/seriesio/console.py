"""What the command line shows: tables, a progress bar, complaints, pictures.

Rich is imported when it is needed. Text out of files is hostile to a terminal: it goes through
:func:`printable`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import AmbiguousSeriesError, FormatError, MissingDependencyError

if TYPE_CHECKING:
    from rich.console import Console

    from ._explain import Explanation
    from .progress import Progress
    from .protocols import SeriesSummary

__all__ = [
    "Trip",
    "check_picture_name",
    "complain",
    "format_shape",
    "format_spacing",
    "make_console",
    "printable",
    "progress_bar",
    "save_picture",
    "sorting_table",
    "summary_table",
    "trip_table",
]

_PLAIN_WIDTH = 160  # columns of a table that goes into a file or a pipe
_TRIP_NUMBERS = ("shape", "spacing\nmm", "write\nms", "read\nms", "read\nMB/s")


@dataclass(frozen=True, slots=True)
class Trip:
    """One way to write a series and to read it back; seconds, bytes."""

    way: str
    shape: tuple[int, ...]
    spacing: Any
    written: float
    read: float
    volume: int
    equal: bool


def make_console() -> Console:
    """Rich's console, as wide as the terminal; without a terminal wide enough for every table.

    Raises:
        MissingDependencyError: rich is not installed.
    """
    try:
        from rich.console import Console
    except ImportError as error:
        raise MissingDependencyError(
            'the command line needs rich: pip install "seriesio[cli]"'
        ) from error

    class Ours(Console):
        def on_broken_pipe(self) -> None:
            raise  # what is being handled; rich would end the process

    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    console = Ours(**plain)
    return console if console.is_terminal else Ours(**plain, width=_PLAIN_WIDTH)


def printable(text: str) -> str:
    """Without what could move the cursor or change the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def trip_table(trips: Sequence[Trip]) -> Any:
    """A row per way: shape, spacing, times, throughput of reading, and whether voxels are equal."""
    table = _table("way", numbers=_TRIP_NUMBERS)
    table.add_column("voxels\nequal")
    for trip in trips:
        table.add_row(
            trip.way,
            format_shape(trip.shape),
            format_spacing(trip.spacing),
            f"{trip.written * 1e3:.0f}",
            f"{trip.read * 1e3:.0f}",
            f"{trip.volume / 1e6 / trip.read:.0f}",
            "yes" if trip.equal else "NO",
        )
    return table


def summary_table(found: Sequence[SeriesSummary]) -> Any:
    """A row per series; nothing of the patient."""
    table = _table(
        *("number", "description", "modality"), numbers=("instances", "frames", "rows×columns")
    )
    table.add_column("Series Instance UID", overflow="fold")
    for series in found:
        table.add_row(
            "-" if series.series_number is None else str(series.series_number),
            printable(series.series_description),
            printable(series.modality),
            str(series.instances),
            str(series.frames),
            format_shape((series.rows, series.columns)),
            printable(series.series_instance_uid),
        )
    return table


def sorting_table(explanation: Explanation) -> Any:
    """A row per thing that is told of how a series is sorted."""
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for heading, text in explanation.told():
        table.add_row(heading, printable(text))
    return table


def _table(*texts: str, numbers: Sequence[str]) -> Any:
    from rich.table import Table

    table = Table(header_style="bold")
    for text in texts:
        table.add_column(text, overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right", overflow="fold")
    return table


def progress_bar(what: str) -> AbstractContextManager[Callable[[Progress], None] | None]:
    """A progress bar on stderr where that is a terminal; the callback that moves it."""
    return _Bar(what) if sys.stderr.isatty() else nullcontext()


class _Bar(AbstractContextManager[Callable[["Progress"], None]]):
    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import Progress, TimeElapsedColumn

        console = Console(stderr=True)
        columns = (*Progress.get_default_columns()[:3], TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        self._what = what
        self._task = self._bar.add_task(what, total=None)

    def __enter__(self) -> Callable[[Progress], None]:
        self._bar.start()
        return self._move

    def __exit__(self, *exception: object) -> None:
        # Rich tells its thread to end, and does not wait for it.
        thread = getattr(self._bar.live, "_refresh_thread", None)
        self._bar.stop()
        if thread is not None:
            thread.join()

    def _move(self, progress: Progress) -> None:
        done = f"{self._what}: {progress.done} {progress.unit}, {progress.bytes / 1e6:.0f} MB"
        self._bar.update(
            self._task, completed=progress.done, total=progress.total, description=done
        )


def complain(error: Exception) -> None:
    """One line; for an ambiguous URL, one more per series."""
    lines = [" ".join(str(error).split())]
    if isinstance(error, AmbiguousSeriesError) and error.series:
        lines = [str(error).partition("\n")[0], *(f"  {series}" for series in error.series)]
    print("seriesio: " + "\n".join(printable(line) for line in lines), file=sys.stderr)


def format_shape(shape: Sequence[int]) -> str:
    """``24×128×128``"""
    return "×".join(str(length) for length in shape)


def format_spacing(spacing: Any) -> str:
    """``1.25, 0.5, 0.5``, in the unit of ``spacing``."""
    return ", ".join(f"{float(step):.4g}" for step in spacing)


def save_picture(picture: Any, path: Path) -> None:
    """Save one of Pillow's images.

    Raises:
        FormatError: the name is no picture's.
        MissingDependencyError: Pillow is not installed.
    """
    check_picture_name(path)
    picture.save(path)


def check_picture_name(path: Path) -> None:
    """Refuse, before any work is done, what :func:`save_picture` would refuse.

    Raises:
        FormatError: the name is no picture's.
        MissingDependencyError: Pillow is not installed.
    """
    try:
        from PIL.Image import registered_extensions
    except ImportError as error:
        raise MissingDependencyError(
            'a picture needs Pillow: pip install "seriesio[cli]"'
        ) from error
    if path.suffix.lower() not in registered_extensions():
        raise FormatError(f"{path}: the name of a picture ends on .png or the like")
