"""Does a stored value match a key of a query? PS3.4 section C.2.2.2; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["QueryError", "glob", "has_wildcard", "matches"]

# PS3.4 section C.2.2.2.4: the VRs in which * and ? are wildcards.
_WILD: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_TEXTS: Final = frozenset({"LT", "ST", "UT", "UR"})  # a backslash is a character
_NUMBERS: Final = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
# Digits of a date, a time, and both; with what may stand between them.
_DIGITS: Final = {"DA": 8, "TM": 12, "DT": 20}
_MOMENT: Final = {
    "DA": re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})"),
    "TM": re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?\.?(\d{0,6})"),
    "DT": re.compile(r"(\d{4,14})\.?(\d{0,6})(?:[+-]\d{4})?"),
}


class QueryError(ValueError):
    """An identifier that breaks the rules; the text names keywords, never values."""


def matches(vr: str, key: str, values: Sequence[str]) -> bool:
    """True if any of the stored values matches; an empty key matches all.

    Raises:
        QueryError: a date or time, or a range of them, that is none.
    """
    if not key or (vr in _WILD and not key.strip("*")):
        return True
    keys = [key] if vr in _TEXTS else key.split("\\")
    return any(_one(vr, part.strip(), value) for part in keys for value in values)


def _one(vr: str, key: str, value: str) -> bool:
    if vr in _DIGITS:
        return _in_range(vr, key, value)
    if vr == "PN":
        return _name(key, value)
    if vr in _NUMBERS:
        return _number(key) == _number(value)
    return glob(key, value) if vr in _WILD else key == value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _name(key: str, value: str) -> bool:
    """Names match without regard to case, as a whole or by one of their component groups."""
    key, value = key.casefold().rstrip("^= "), value.casefold().rstrip("^= ")
    groups = [value, *(group.rstrip("^ ") for group in value.split("="))]
    return any(glob(key, group) for group in groups)


def has_wildcard(key: str) -> bool:
    """True if ``*`` or ``?`` are in it."""
    return "*" in key or "?" in key


def glob(pattern: str, text: str) -> bool:
    """``*`` stands for any characters, ``?`` for one; takes at most both lengths' product."""
    place = start = mark = 0
    star = -1
    while place < len(text):
        if pattern[start : start + 1] == "*":
            star, mark, start = start, place, start + 1
        elif pattern[start : start + 1] in ("?", text[place]):
            place, start = place + 1, start + 1
        elif star >= 0:  # one character more for the last star
            mark += 1
            place, start = mark, star + 1
        else:
            return False
    return not pattern[start:].strip("*")


def _in_range(vr: str, key: str, value: str) -> bool:
    """PS3.4 section C.2.2.2.5: ``a``, ``a-b``, ``a-``, ``-b``; less precise means longer."""
    low, high = _range(vr, key)
    try:
        moment = _span(vr, value)[0]
    except QueryError:  # what is stored is no date: no date matches it
        return False
    return low <= moment <= high


def _range(vr: str, key: str) -> tuple[str, str]:
    if _MOMENT[vr].fullmatch(key):
        return _span(vr, key)
    cuts = [at for at, letter in enumerate(key) if letter == "-"]
    for cut in cuts:
        first, last = key[:cut].strip(), key[cut + 1 :].strip()
        if (first or last) and all(_MOMENT[vr].fullmatch(end) for end in (first, last) if end):
            low = _span(vr, first)[0] if first else ""
            return low, _span(vr, last)[1] if last else "~"
    raise QueryError(f"neither a value of {vr} nor a range of them")


def _span(vr: str, text: str) -> tuple[str, str]:
    """The first and the last moment that a value stands for, as digits."""
    found = _MOMENT[vr].fullmatch(text.strip())
    if found is None:
        raise QueryError(f"not a value of {vr}")
    digits = "".join(part for part in found.groups() if part)
    return digits.ljust(_DIGITS[vr], "0"), digits.ljust(_DIGITS[vr], "9")
