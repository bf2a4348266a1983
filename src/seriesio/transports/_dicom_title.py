"""Titles of application entities; pure."""

from __future__ import annotations

from typing import Final

__all__ = ["checked_title"]

_LONGEST: Final = 16


def checked_title(aet: str) -> str:
    """An AE title (PS3.5 table 6.2-1).

    Raises:
        ValueError: it is empty, too long, or has characters that an AE title cannot have.
    """
    text = aet.strip(" ")
    if not 0 < len(text) <= _LONGEST or not text.isascii() or not text.isprintable():
        raise ValueError(f"an AE title has 1 to 16 characters of ASCII, not {aet!r}")
    if "\\" in text:
        raise ValueError("an AE title has no backslash")
    return text
