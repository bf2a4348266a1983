"""The command line: ``seriesio demo | info | dump | show | copy | convert | ls | echo | serve``.

Exit codes: 0 done; 1 an error of the data, the disk or the network, told in one line on stderr;
2 a wrong command line or a missing extra; 130 interrupted; 141 nobody reads what is printed.
Nothing of the patient is printed, but by ``dump``, which is asked for a whole header.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import anyio

from . import Client, Series
from ._arguments import Command, add_command, has_options, reading_options
from ._explain import Explanation, explain
from .cli_demo import demo
from .cli_network import add_network_commands
from .console import (
    check_picture_name,
    complain,
    format_shape,
    format_spacing,
    make_console,
    printable,
    progress_bar,
    save_picture,
    sorting_table,
    summary_table,
)
from .errors import (
    DataError,
    HeaderError,
    IncompleteSeriesWarning,
    MissingDependencyError,
    SeriesError,
    SeriesIOError,
)
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
        sys.stdout.flush()  # or the interpreter would find out, on its way out
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _unread()
    except (SeriesIOError, OSError) as error:
        complain(error)
        return 2 if isinstance(error, MissingDependencyError) else 1
    except (TypeError, ValueError) as error:
        if not has_options(args):
            raise
        complain(error)  # the library's own words on an option that it does not take
        return 2
    return code


def _unread() -> int:
    """Nobody reads on (``| head``): what is still in the buffer goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return 141


# --- the commands ----------------------------------------------------------------------------


def _info(args: argparse.Namespace, console: Console) -> int:
    """List the series behind a URL; with --sort, how each is sorted, and why."""
    options = reading_options(args)
    password = {name: value for name, value in options.items() if name == "password"}
    found, skipped = anyio.run(_summaries, args.url, password)
    told = anyio.run(_explanations, args, found, options) if args.sort else []
    if args.json:
        listed = {"series": [asdict(series) for series in found], "skipped": skipped}
        print(json.dumps(listed | ({"sorting": list(map(asdict, told))} if told else {}), indent=2))
    else:
        _print_info(console, found, skipped, told)
    return 0 if all(explanation.sound for explanation in told) else 1


def _print_info(
    console: Console,
    found: Sequence[SeriesSummary],
    skipped: dict[str, int],
    told: Sequence[Explanation],
) -> None:
    console.print(summary_table(found))
    for explanation in told:
        console.print(f"\n{printable(explanation.title)}", soft_wrap=True)
        console.print(sorting_table(explanation))
    if skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
        console.print(printable(f"Skipped: {reasons}"), soft_wrap=True)


def _dump(args: argparse.Namespace, console: Console) -> int:
    """Print the header of one instance, the patient's attributes too."""
    with progress_bar("reading") as progress:
        series = anyio.run(_opened, args, progress, "warn", {"headers_only": True})
    if not len(series.header):
        raise HeaderError(f"{args.url}: is no DICOM: it has no header")
    dataset = series.header.dataset(args.instance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that break their VR are shown as they are
        lines = str(dataset).splitlines()
    for line in lines:
        print(printable(line))
    return 0


def _show(args: argparse.Namespace, console: Console) -> int:
    """Save a montage of one series."""
    check_picture_name(args.output)
    with progress_bar("reading") as progress:
        series = anyio.run(_opened, args, progress, args.on_incomplete, {})
    save_picture(
        montage(series, limits=args.window, columns=args.columns, width=args.width), args.output
    )
    console.print(f"{_size(series)}: {args.output}", soft_wrap=True)
    return 0


def _convert(args: argparse.Namespace, console: Console) -> int:
    """Open one series, sorted, and write it in another format."""
    with progress_bar("converting") as progress:
        series, receipt = anyio.run(_converted, args, progress)
    stored = f"{receipt.count} files, {receipt.size / 1e6:.1f} MB"
    console.print(f"{_size(series)}: {stored}: {receipt.url}", soft_wrap=True)
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


async def _summaries(
    url: str, options: dict[str, Any]
) -> tuple[list[SeriesSummary], dict[str, int]]:
    async with Client() as client:
        found, report = await client.summarize(url, **options)
    return found, dict(report.skipped)


async def _explanations(
    args: argparse.Namespace, found: Sequence[SeriesSummary], options: dict[str, Any]
) -> list[Explanation]:
    """How each series behind a URL is sorted, or why it cannot be."""
    async with Client() as client:
        return [await _explanation(client, args, summary, options) for summary in found]


async def _explanation(
    client: Client, args: argparse.Namespace, summary: SeriesSummary, options: dict[str, Any]
) -> Explanation:
    uid = summary.series_instance_uid
    select = {"SeriesInstanceUID": uid} if uid else {"name": summary.series_description}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteSeriesWarning)  # told among what is missing
        try:
            series = await client.open(
                args.url,
                args.input_order,
                select=select,
                on_incomplete="warn",
                **{"headers_only": True, **options},
            )
        except (SeriesError, DataError) as error:
            return Explanation(str(summary), error=str(error))
    return explain(str(summary), series)


async def _opened(
    args: argparse.Namespace,
    progress: Callable[[Progress], None] | None,
    on_incomplete: str,
    more: dict[str, Any],
) -> Series:
    async with Client(progress=progress) as client:
        return await _open(client, args, on_incomplete, more)


async def _open(
    client: Client, args: argparse.Namespace, on_incomplete: str, more: dict[str, Any]
) -> Series:
    options = {"on_incomplete": on_incomplete, **more, **reading_options(args)}
    return await client.open(args.url, args.input_order, select=dict(args.select), **options)


async def _converted(
    args: argparse.Namespace, progress: Callable[[Progress], None] | None
) -> tuple[Series, Receipt]:
    models = {"template": args.template, "geometry": args.geometry}
    given = {name: url for name, url in models.items() if url is not None}
    async with Client(progress=progress) as client:
        series = await _open(client, args, args.on_incomplete, given)
        for keyword, value in args.set:
            series.header.set(keyword, value)
        receipt = await client.write(
            series,
            args.target,
            formats=None if args.format is None else [args.format],
            keep_uid=args.keep_uid or None,
            overwrite=args.overwrite,
            **dict(args.write_option),
        )
    return series, receipt


async def _copy_bytes(
    source: str, target: str, overwrite: bool, progress: Callable[[Progress], None] | None
) -> Receipt:
    async with Client(progress=progress) as client:
        return await client.copy(source, target, overwrite=overwrite)


def _size(series: Series) -> str:
    return f"{format_shape(series.shape)}, {format_spacing(series.spacing)} mm"


# --- the command line ------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seriesio", description="Medical image series: look at them, copy them, convert them."
    )
    parser.add_argument("--version", action="version", version=f"seriesio {version('seriesio')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run in _COMMANDS.items():
        add_command(commands, name, run)
    add_network_commands(commands)
    return parser


_COMMANDS: Final[dict[str, Command]] = {
    "demo": demo,
    "info": _info,
    "dump": _dump,
    "show": _show,
    "copy": _copy,
    "convert": _convert,
}
