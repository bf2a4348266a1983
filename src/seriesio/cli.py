"""The command line: ``seriesio demo | info | show | copy``.

Exit codes: 0 done; 1 an error of the data, the disk or the network, told in one line on stderr;
2 a wrong command line or a missing extra; 130 interrupted. Nothing of the patient is printed.
"""

from __future__ import annotations

import argparse
import getpass
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np

from . import Client, Series
from .console import (
    Trip,
    complain,
    format_shape,
    format_spacing,
    make_console,
    printable,
    progress_bar,
    summary_table,
    trip_table,
)
from .errors import FormatError, MissingDependencyError, SeriesIOError, TargetExistsError
from .picture import montage

if TYPE_CHECKING:
    from rich.console import Console

    from .progress import Progress
    from .protocols import Receipt, SeriesSummary

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        code: int = args.command(args, make_console())
    except KeyboardInterrupt:
        return 130
    except (SeriesIOError, OSError) as error:
        complain(error)
        return 2 if isinstance(error, MissingDependencyError) else 1
    return code


# --- the commands ----------------------------------------------------------------------------


def _demo(args: argparse.Namespace, console: Console) -> int:
    """Make a phantom, send it each way and back, tell how fast, save a picture."""
    if args.output is None:
        with tempfile.TemporaryDirectory(prefix="seriesio-demo-") as scratch:
            return _demo_in(Path(scratch), Path("seriesio-demo.png"), args, console)
    folder = _new_folder(args.output)
    return _demo_in(folder, folder / "montage.png", args, console)


def _demo_in(folder: Path, picture: Path, args: argparse.Namespace, console: Console) -> int:
    from .testing.phantom import phantom

    source = folder / "phantom"
    made = phantom((args.slices, args.size, args.size))
    with console.status("making a phantom"):
        made.save(source)
    series, trips = anyio.run(_round_trips, source, made.array)
    console.print(trip_table(trips))
    _save(montage(series), picture)
    console.print(f"A montage of it: {picture.resolve()}", soft_wrap=True)
    return 0 if all(trip.equal for trip in trips) else 1


def _info(args: argparse.Namespace, console: Console) -> int:
    """List the series behind a URL."""
    found, skipped = anyio.run(_summaries, args.url, _options(args))
    if args.json:
        listed = {"series": [asdict(series) for series in found], "skipped": skipped}
        print(json.dumps(listed, indent=2))
        return 0
    console.print(summary_table(found))
    if skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
        console.print(printable(f"Skipped: {reasons}"), soft_wrap=True)
    return 0


def _show(args: argparse.Namespace, console: Console) -> int:
    """Save a montage of one series."""
    _check_picture_format(args.output)
    options = {"select": dict(args.select), "on_incomplete": args.on_incomplete, **_options(args)}
    with progress_bar("reading") as progress:
        series = anyio.run(partial(Series.open, args.url, progress=progress, **options))
    _save(montage(series, limits=args.window, columns=args.columns, width=args.width), args.output)
    size = f"{format_shape(series.shape)}, {format_spacing(series.spacing)} mm"
    console.print(f"{size}: {args.output}", soft_wrap=True)
    return 0


def _copy(args: argparse.Namespace, console: Console) -> int:
    """Copy byte for byte from one URL to another."""
    with progress_bar("copying") as progress:
        receipt = anyio.run(_copy_bytes, args.source, args.target, args.overwrite, progress)
    stored = f"{receipt.count} files, {receipt.size / 1e6:.1f} MB"
    if receipt.skipped:
        stored += f", {len(receipt.skipped)} skipped (no files of their own)"
    console.print(f"{stored}: {receipt.url}", soft_wrap=True)
    return 0


# --- what they ask of the library ------------------------------------------------------------


async def _round_trips(source: Path, expected: Any) -> tuple[Series, list[Trip]]:
    series = await Series.open(source)
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("directory", "copy", {}),
        ("deflated zip", "deflated.zip", {"compression": "deflated"}),
        ("stored zip", "stored.zip", {"compression": "stored"}),
    ]
    return series, [
        await _round_trip(series, expected, way, source.parent / name, options)
        for way, name, options in ways
    ]


async def _round_trip(
    series: Series, expected: Any, way: str, target: Path, options: dict[str, Any]
) -> Trip:
    begin = time.perf_counter()
    await series.write(target, **options)
    written = time.perf_counter()
    back = await Series.open(target)
    read = time.perf_counter()
    return Trip(
        way,
        back.shape,
        back.spacing,
        written - begin,
        read - written,
        back.array.nbytes,
        np.array_equal(back.array, expected),
    )


async def _summaries(
    url: str, options: dict[str, Any]
) -> tuple[list[SeriesSummary], dict[str, int]]:
    async with Client() as client:
        found, report = await client.summarize(url, **options)
    return found, dict(report.skipped)


async def _copy_bytes(
    source: str, target: str, overwrite: bool, progress: Callable[[Progress], None] | None
) -> Receipt:
    async with Client(progress=progress) as client:
        return await client.copy(source, target, overwrite=overwrite)


# --- files -----------------------------------------------------------------------------------


def _new_folder(path: Path) -> Path:
    """A new or an empty folder."""
    path.mkdir(parents=True, exist_ok=True)
    if next(path.iterdir(), None) is not None:
        raise TargetExistsError(f"{path}: is not empty")
    return path


def _save(picture: Any, path: Path) -> None:
    _check_picture_format(path)
    picture.save(path)


def _check_picture_format(path: Path) -> None:
    try:
        from PIL.Image import registered_extensions
    except ImportError as error:
        raise MissingDependencyError(
            'a picture needs Pillow: pip install "seriesio[cli]"'
        ) from error
    if path.suffix.lower() not in registered_extensions():
        raise FormatError(f"{path}: the name of a picture ends on .png or the like")


# --- the command line ------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seriesio", description="Medical image series: look at them, copy them."
    )
    parser.add_argument("--version", action="version", version=f"seriesio {version('seriesio')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_info(commands)
    _add_show(commands)
    _add_copy(commands)
    return parser


def _add_command(
    commands: Any, name: str, function: Callable[[argparse.Namespace, Console], int]
) -> argparse.ArgumentParser:
    text = function.__doc__
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(command=function)
    return command


def _add_demo(commands: Any) -> None:
    demo = _add_command(commands, "demo", _demo)
    demo.add_argument("--slices", type=_positive, default=120, metavar="N")
    demo.add_argument("--size", type=_positive, default=256, metavar="N", help="rows and columns")
    demo.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="DIR",
        help="a new or empty folder for all that is written; without it, only the picture is "
        "kept, as seriesio-demo.png",
    )


def _add_info(commands: Any) -> None:
    info = _add_command(commands, "info", _info)
    info.add_argument("url", metavar="URL")
    info.add_argument("--json", action="store_true", help="for programs")
    _add_password(info)


def _add_show(commands: Any) -> None:
    show = _add_command(commands, "show", _show)
    show.add_argument("url", metavar="URL")
    show.add_argument(
        *("-o", "--output"), type=Path, default=Path("montage.png"), metavar="PICTURE"
    )
    show.add_argument(
        "--select",
        type=_selection,
        action="append",
        default=[],
        metavar="KEYWORD=VALUE",
        help="one of several series, such as SeriesNumber=4; may be repeated",
    )
    show.add_argument(
        "--window", type=_window, metavar="CENTRE,WIDTH", help="instead of the header's"
    )
    show.add_argument("--columns", type=_positive, metavar="N", help="tiles in a row")
    show.add_argument("--width", type=_positive, default=1200, metavar="PIXELS")
    show.add_argument("--on-incomplete", choices=("raise", "warn"), default="raise")
    _add_password(show)


def _add_copy(commands: Any) -> None:
    copy = _add_command(commands, "copy", _copy)
    copy.add_argument("source", metavar="SRC")
    copy.add_argument("target", metavar="DST")
    copy.add_argument("--overwrite", action="store_true", help="replace files of the same name")


def _add_password(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--password", nargs="?", const="", help="of an encrypted zip file; asked for if not given"
    )


def _options(args: argparse.Namespace) -> dict[str, Any]:
    if args.password is None:
        return {}
    return {"password": args.password or getpass.getpass()}


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _selection(text: str) -> tuple[str, str | int | float]:
    """``SeriesNumber=4``, the value in the type that DICOM gives this attribute."""
    from pydicom.datadict import dictionary_VR

    keyword, equals, value = text.partition("=")
    try:
        kind = {"IS": int, "US": int, "SS": int, "DS": float}.get(dictionary_VR(keyword), str)
        selected: str | int | float = kind(value)
    except (KeyError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text} is no KEYWORD=VALUE of DICOM") from error
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} is no KEYWORD=VALUE of DICOM")
    return keyword, selected


def _window(text: str) -> tuple[float, float]:
    """``40,400`` as (lowest, highest) value shown."""
    try:
        centre, width = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no CENTRE,WIDTH") from error
    if not (math.isfinite(centre) and math.isfinite(width) and width > 0):
        raise argparse.ArgumentTypeError(f"{text} is no window")
    return centre - width / 2, centre + width / 2
