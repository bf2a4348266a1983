"""Names of zip members: made safe, and selected by directory, name or pattern."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import cache

__all__ = ["below", "children", "normalise", "select", "selection_of"]

_DRIVE = re.compile(r"[A-Za-z]:")
_PLAIN = re.compile(r"(?:[^/\\\0:.][^/\\\0:]*(?:/|\Z))+")  # needs nothing done to it
_MAGIC = re.compile(r"[*?\[]")


def normalise(name: str) -> str:
    """A member's name as a relative path with ``/`` between its parts.

    Backslashes (old Windows writers) become ``/``; empty and ``.`` parts vanish; a directory
    keeps its last ``/``.

    Raises:
        ValueError: the name is empty, absolute, has a drive letter, ``..`` or a NUL.
    """
    if _PLAIN.fullmatch(name):
        return name
    path = name.replace("\\", "/")
    if "\0" in path or path.startswith("/") or _DRIVE.match(path):
        raise ValueError("unsafe name (absolute, with a drive letter, or with a NUL)")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError("unsafe name (climbs out of its directory)")
    if not parts:
        raise ValueError("empty name")
    return "/".join(parts) + ("/" if path.endswith(("/", "/.")) else "")


def selection_of(pattern: str) -> str:
    """A selection as the user wrote it, without leading ``/`` or ``./``."""
    return re.sub(r"^(?:\.?/)+", "", pattern)


def select(names: Sequence[str], pattern: str) -> list[str]:
    """Those of the sorted ``names`` that a selection means.

    An exact name means that member, a directory all below it, anything else is a pattern:
    ``*``, ``?`` and ``[...]`` match inside one part, ``**`` any number of parts. A pattern that
    ends in ``/`` means all below the directories that it matches.
    """
    wanted = selection_of(pattern)
    if wanted in ("", "."):
        return list(names)
    literal = _exact(names, wanted) or below(names, wanted)
    if literal or not _MAGIC.search(wanted):
        return literal
    glob = tuple((wanted + "**" if wanted.endswith("/") else wanted).split("/"))
    return [name for name in names if _matches(tuple(name.split("/")), glob)]


def below(names: Sequence[str], directory: str) -> list[str]:
    """Those of the sorted ``names`` below a directory."""
    prefix = directory.rstrip("/") + "/"
    first = bisect_left(names, prefix)
    return list(names[first : bisect_left(names, prefix[:-1] + "0", first)])  # "0" follows "/"


def children(names: Iterable[str], directory: str) -> list[tuple[str, bool]]:
    """What is directly below a directory ("" or ending in ``/``): names, and if directories."""
    found: dict[str, bool] = {}
    for name in names:
        head, slash, _ = name[len(directory) :].partition("/")
        found[directory + head] = found.get(directory + head, False) or bool(slash)
    return sorted(found.items())


def _exact(names: Sequence[str], wanted: str) -> list[str]:
    index = bisect_left(names, wanted)
    return [wanted] if index < len(names) and names[index] == wanted else []


@cache
def _part(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))


def _matches(parts: tuple[str, ...], glob: tuple[str, ...]) -> bool:
    # Column by column, as in an edit distance: no pattern makes it slow, as backtracking would.
    reached = {0}
    for index, piece in enumerate(glob, 1):
        if not reached:
            return False
        if piece == "**":  # any number of parts; at the end at least one
            reached = set(range(min(reached) + (index == len(glob)), len(parts) + 1))
        else:
            match = _part(piece).match
            reached = {at + 1 for at in reached if at < len(parts) and match(parts[at])}
    return len(parts) in reached
