"""What somebody may have meant who misspelled an attribute's name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache, lru_cache

from .keywords import camel_case

__all__ = ["hint_for"]


@lru_cache(maxsize=256)
def hint_for(name: str) -> str:
    """A sentence with the nearest attribute name, to end a message with; "" where none is near.

    Names without a capital (``mean``, ``transpose``) are asked for by other libraries all the
    time: only other spellings of the same letters are looked for then.
    """
    known = _attributes()
    found = known.get(name.lower())
    if found is None and name != name.lower():
        near = get_close_matches(name.lower(), _alike(name.lower(), known), 1, 0.8)
        found = known[near[0]] if near else None
    return f"; did you mean {found!r}?" if found else ""


def _alike(name: str, known: Iterable[str]) -> list[str]:
    """The names worth comparing: of about that length, with the same beginning or end."""
    low, high = len(name) * 2 / 3, len(name) * 3 / 2  # beyond these no ratio reaches 0.8
    return [
        other
        for other in known
        if low <= len(other) <= high and (other[:2] == name[:2] or other[-3:] == name[-3:])
    ]


@cache
def _attributes() -> dict[str, str]:
    """Attribute names by their lower-case letters."""
    from pydicom.datadict import keyword_dict

    return {keyword.lower(): camel_case(keyword) for keyword in keyword_dict if keyword}
