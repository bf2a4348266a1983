"""What words on the command line mean: the commands, their arguments and their values."""

from __future__ import annotations

import argparse
import ast
import getpass
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Command", "add_command", "has_options", "reading_options"]

Command: TypeAlias = "Callable[[argparse.Namespace, Console], int]"


def add_command(commands: Any, name: str, run: Command) -> None:
    """Add a command by its name; what it does is told by the docstring of ``run``."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=run.__doc__, description=run.__doc__
    )
    command.set_defaults(command=run)
    _ARGUMENTS[name](command)


def reading_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of reading; a password that was announced is asked for."""
    options = dict(getattr(args, "option", ()))
    if args.password is not None:
        options["password"] = args.password or getpass.getpass()
    return options


def has_options(args: argparse.Namespace) -> bool:
    """True if the caller has named options that only the library knows."""
    return bool(getattr(args, "option", ()) or getattr(args, "write_option", ()))


# --- arguments by command --------------------------------------------------------------------


def _demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--slices", type=_positive, default=120, metavar="N")
    demo.add_argument("--size", type=_positive, default=256, metavar="N", help="rows and columns")
    demo.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="DIR",
        help="a new or empty folder for all that is written; without it, only the picture is "
        "kept, as seriesio-demo.png",
    )


def _info(info: argparse.ArgumentParser) -> None:
    info.add_argument("url", metavar="URL")
    info.add_argument("--json", action="store_true", help="for programs")
    info.add_argument("--sort", action="store_true", help="how each series is sorted, and why")
    _add_order(info)
    _add_options(info)
    _add_password(info)


def _dump(dump: argparse.ArgumentParser) -> None:
    dump.add_argument("url", metavar="URL")
    dump.add_argument(
        "--instance", type=_place, default=0, metavar="N", help="as sorted, the first one is 0"
    )
    _add_choice(dump)
    _add_order(dump)
    _add_options(dump)
    _add_password(dump)


def _show(show: argparse.ArgumentParser) -> None:
    show.add_argument("url", metavar="URL")
    show.add_argument(
        *("-o", "--output"), type=Path, default=Path("montage.png"), metavar="PICTURE"
    )
    show.add_argument(
        "--window", type=_window, metavar="CENTRE,WIDTH", help="instead of the header's"
    )
    show.add_argument("--columns", type=_positive, metavar="N", help="tiles in a row")
    show.add_argument("--width", type=_positive, default=1200, metavar="PIXELS")
    _add_choice(show)
    _add_order(show)
    _add_options(show)
    _add_on_incomplete(show)
    _add_password(show)


def _copy(copy: argparse.ArgumentParser) -> None:
    copy.add_argument("source", metavar="SRC")
    copy.add_argument("target", metavar="DST")
    copy.add_argument("--overwrite", action="store_true", help="replace files of the same name")


def _convert(convert: argparse.ArgumentParser) -> None:
    convert.add_argument("url", metavar="SRC")
    convert.add_argument("target", metavar="DST")
    convert.add_argument(
        "--format", metavar="NAME", help="dicom, nifti, …; without it, what DST's name ends on"
    )
    convert.add_argument("--template", metavar="URL", help="whose DICOM header to take")
    convert.add_argument("--geometry", metavar="URL", help="whose place in space to take")
    convert.add_argument(
        "--set",
        type=_attribute,
        action="append",
        default=[],
        metavar="KEYWORD=VALUE",
        help="set an attribute, such as SeriesNumber=1004; may be repeated",
    )
    convert.add_argument(
        "--write-option",
        type=_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further option of writing, such as compression=stored; may be repeated",
    )
    convert.add_argument("--overwrite", action="store_true", help="replace files of the same name")
    convert.add_argument("--keep-uid", action="store_true", help="keep the UIDs of what is changed")
    _add_choice(convert)
    _add_order(convert)
    _add_options(convert)
    _add_on_incomplete(convert)
    _add_password(convert)


_ARGUMENTS: Final[dict[str, Callable[[argparse.ArgumentParser], None]]] = {
    "demo": _demo,
    "info": _info,
    "dump": _dump,
    "show": _show,
    "copy": _copy,
    "convert": _convert,
}


# --- arguments of several commands -----------------------------------------------------------


def _add_choice(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--select",
        type=_selection,
        action="append",
        default=[],
        metavar="KEYWORD=VALUE",
        help="one of several series, such as SeriesNumber=4; may be repeated",
    )


def _add_order(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--input-order",
        default="auto",
        metavar="ORDER",
        help='"auto", "none", or criteria with commas, such as time,te',
    )


def _add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--option",
        type=_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further option of reading, such as slice_tolerance=0.1; may be repeated",
    )


def _add_password(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--password", nargs="?", const="", help="of an encrypted zip file; asked for if not given"
    )


def _add_on_incomplete(command: argparse.ArgumentParser) -> None:
    command.add_argument("--on-incomplete", choices=("raise", "warn"), default="raise")


# --- values ----------------------------------------------------------------------------------


def _positive(text: str) -> int:
    return _at_least(text, 1)


def _place(text: str) -> int:
    """A place counted from 0."""
    return _at_least(text, 0)


def _at_least(text: str, least: int) -> int:
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"{text} is less than {least}")
    return number


def _selection(text: str) -> tuple[str, str | int | float]:
    """``SeriesNumber=4``, the value in the type that DICOM gives this attribute.

    ``name=scan.nii`` selects a file that is no DICOM.
    """
    return ("name", text[5:]) if text.startswith("name=") else _attribute(text)


def _attribute(text: str) -> tuple[str, str | int | float]:
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


def _option(text: str) -> tuple[str, Any]:
    """``resolution=300``, the value as Python would read it, or else as text."""
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"{text} is no NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return name, value


def _window(text: str) -> tuple[float, float]:
    """``40,400`` as (lowest, highest) value shown."""
    try:
        centre, width = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no CENTRE,WIDTH") from error
    if not (math.isfinite(centre) and math.isfinite(width) and width > 0):
        raise argparse.ArgumentTypeError(f"{text} is no window")
    return centre - width / 2, centre + width / 2
