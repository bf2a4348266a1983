"""The command line around archives: ``seriesio echo | ls | serve``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from . import Client
from ._arguments import Command, _add_options, _add_password, reading_options
from .console import printable
from .errors import LocationError, NotFoundError
from .offload import Workers
from .registry import open_transport

if TYPE_CHECKING:
    from rich.console import Console

    from .protocols import Entry

__all__ = ["add_network_commands"]

_PORT: Final = 11112  # registered for DICOM, and open to everybody (PS3.8 section 9.1.1)


def add_network_commands(commands: Any) -> None:
    """Add them to a command line; what each does is told by the docstring of its function."""
    for name, (run, add_arguments) in _COMMANDS.items():
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(command=run)
        add_arguments(command)


# --- echo -------------------------------------------------------------------------------------


def _echo(args: argparse.Namespace, console: Console) -> int:
    """Ask a DICOM archive whether it is there (C-ECHO)."""
    seconds = anyio.run(_answered, args.url, reading_options(args))
    console.print(f"answers after {seconds * 1e3:.1f} ms", soft_wrap=True)
    return 0


async def _answered(url: str, options: dict[str, Any]) -> float:
    transport = await open_transport(url, Workers(), options)
    echo = getattr(transport, "echo", None)
    if echo is None:
        raise LocationError("only what is behind a dicom:// or dicoms:// URL can be asked that")
    return float(await echo())


def _echo_arguments(echo: argparse.ArgumentParser) -> None:
    echo.add_argument("url", metavar="URL", help="dicom://host:port/AET")
    _add_options(echo)
    _add_password(echo)


# --- ls ---------------------------------------------------------------------------------------


def _ls(args: argparse.Namespace, console: Console) -> int:
    """List what is directly behind a URL: files; patients, studies, series of an archive."""
    entries = anyio.run(_listed, args.url, reading_options(args))
    if args.json:
        print(json.dumps([asdict(entry) for entry in entries], indent=2))
    elif args.urls:
        for entry in entries:
            print(printable(entry.url))
    else:
        console.print(_table(entries))
    return 0


async def _listed(url: str, options: dict[str, Any]) -> list[Entry]:
    async with Client() as client:
        return [entry async for entry in client.list(url, **options)]


def _table(entries: Sequence[Entry]) -> Any:
    """A row per entry: what it is, its name, its size, and what the catalogue says of it."""
    from rich.table import Table

    told = dict.fromkeys(key for entry in entries for key in entry.attributes)
    table = Table(header_style="bold")
    for heading in ("kind", "name", *told):
        table.add_column(heading, overflow="fold")
    table.add_column("bytes", justify="right")
    for entry in entries:
        attributes = (entry.attributes.get(key, "") for key in told)
        size = "" if entry.size is None else str(entry.size)
        table.add_row(*map(printable, (entry.kind, entry.name, *attributes, size)))
    return table


def _ls_arguments(ls: argparse.ArgumentParser) -> None:
    ls.add_argument("url", metavar="URL")
    how = ls.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="for programs")
    how.add_argument("--urls", action="store_true", help="nothing but a URL a line")
    _add_options(ls)
    _add_password(ls)


# --- serve ------------------------------------------------------------------------------------


def _serve(args: argparse.Namespace, console: Console) -> int:
    """Serve the DICOM files of a folder as an archive, for local work; Ctrl-C ends it."""
    from .testing.archive import DicomArchive

    if not args.folder.is_dir():
        raise NotFoundError(f"{args.folder}: no such folder")
    archive = DicomArchive(
        args.folder,
        ae_title=args.aet,
        host=args.host,
        port=args.port,
        destinations={title: (host, port) for title, host, port in args.move},
    )
    with _until_interrupted() as ended, archive:
        skipped = f", {len(archive.skipped)} files skipped" if archive.skipped else ""
        told = (
            f"{archive.url} serves {len(archive)} instances of {args.folder}{skipped}; Ctrl-C ends"
        )
        console.print(printable(told), soft_wrap=True)
        if args.host not in _LOCAL:
            print("seriesio: whoever reaches this machine may read and store", file=sys.stderr)
        sys.stdout.flush()
        ended.wait()
    return 0


_LOCAL: Final = ("127.0.0.1", "::1", "localhost")


@contextmanager
def _until_interrupted() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, instead of ending the process."""
    event = threading.Event()
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, lambda *_: event.set()) for number in numbers]
    try:
        yield event
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _serve_arguments(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("folder", type=Path, metavar="DIR", help="what is stored goes there too")
    serve.add_argument(
        "--port", type=_port, default=_PORT, metavar="N", help=f"{_PORT}; 0 takes a free one"
    )
    serve.add_argument("--aet", type=_title, default="SERIESIO", metavar="TITLE", help="AE title")
    serve.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="where others may reach it, too"
    )
    serve.add_argument(
        "--move",
        type=_destination,
        action="append",
        default=[],
        metavar="TITLE=HOST:PORT",
        help="where C-MOVE may send to; may be repeated",
    )


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return number


def _title(text: str) -> str:
    if not 0 < len(text.strip()) <= 16 or not text.isascii() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text} is no AE title: 1 to 16 characters of ASCII")
    return text.strip()


def _destination(text: str) -> tuple[str, str, int]:
    title, equals, where = text.partition("=")
    host, colon, port = where.rpartition(":")
    if not (equals and colon and host and port.isdigit()):
        raise argparse.ArgumentTypeError(f"{text} is no TITLE=HOST:PORT")
    return _title(title), host.strip("[]"), _port(port)


_COMMANDS: Final[dict[str, tuple[Command, Callable[[argparse.ArgumentParser], None]]]] = {
    "echo": (_echo, _echo_arguments),
    "ls": (_ls, _ls_arguments),
    "serve": (_serve, _serve_arguments),
}
