"""Patterns of URLs and queries: ``*`` and ``?`` are wildcards, not so behind a backslash. Pure.

No value that they are matched with can hold a backslash (PS3.5 section 6.2), so that it is free to
say which wildcards are none.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Final

__all__ = ["is_wild", "key_of", "literal", "loose_key_of", "matches"]

_TOKEN: Final = re.compile(r"\\?[*?]|\[")
_FOREIGN: Final = re.compile(r"[^\x00-\x7f]+")


def literal(value: str) -> str:
    """The pattern that nothing but a value matches."""
    return re.sub(r"([*?])", r"\\\1", value)


def is_wild(pattern: str) -> bool:
    """It has wildcards."""
    return any(token in ("*", "?") for token in _TOKEN.findall(pattern))


def matches(value: str, pattern: str | None) -> bool:
    """Whether a value is one that a pattern means; None and ``*`` mean all.

    Case counts: only names of persons are matched without (PS3.4 section C.2.2.2.1), and they
    are nobody's key here.
    """
    return not pattern or fnmatchcase(value, _TOKEN.sub(_shell, pattern))


def _shell(token: re.Match[str]) -> str:
    """The same in the language of :mod:`fnmatch`."""
    text = token[0]
    return text if text in ("*", "?") else f"[{text[-1]}]"


def key_of(pattern: str | None) -> str:
    """A key of a query: what matches everything is empty (PS3.4 section C.2.2.2.3).

    A query has no way to say that a wildcard is none: what it finds too much is for
    :func:`matches`.
    """
    return "" if pattern is None or pattern == "*" else re.sub(r"\\[*?]", "?", pattern)


def loose_key_of(pattern: str | None) -> str:
    """As :func:`key_of`, for peers that compare bytes, whatever character set they are in."""
    return _FOREIGN.sub("*", key_of(pattern))
