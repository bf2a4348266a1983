"""One rule from attribute names to DICOM tags, over the whole dictionary (PS3.6 chapter 6).

A name is DICOM's keyword (``PatientName``) or its camelCase: the leading word, acronym or not,
in lower case (``patientName``, ``sopInstanceUID``, ``ctdIvol``). So the keyword is found by
raising the first 1, 2, 3 … of the leading lower-case letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["camel_case", "keyword_for", "tag_for"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{1,99}")
_LOWER = re.compile(r"[a-z]*")
_UPPER = re.compile(r"[A-Z]*")


@lru_cache(maxsize=4096)
def tag_for(name: str) -> int | None:
    """The tag of an attribute's name as 0xGGGGEEEE; None where DICOM has no such attribute.

    Group lengths, private elements and repeating groups (50xx, 60xx) have no names.
    """
    if _NAME.fullmatch(name) is None:  # "__array__", "_repr_html_": asked for all the time
        return None
    from pydicom.datadict import tag_for_keyword

    tags = (tag_for_keyword(keyword) for keyword in _keywords(name))
    return next((int(tag) for tag in tags if tag is not None), None)


def _keywords(name: str) -> Iterator[str]:
    """The keywords that a name may stand for, likeliest first."""
    yield name
    leading = _LOWER.match(name)
    for count in range(1, 1 + (leading.end() if leading else 0)):
        yield name[:count].upper() + name[count:]


def camel_case(keyword: str) -> str:
    """The attribute name of a DICOM keyword: ``SOPInstanceUID`` → ``sopInstanceUID``."""
    leading = _UPPER.match(keyword)
    count = leading.end() if leading else 0
    if 1 < count < len(keyword) and keyword[count].islower():
        count -= 1  # the last capital begins the next word
    return keyword[:count].lower() + keyword[count:]


@lru_cache(maxsize=4096)
def keyword_for(tag: int) -> str:
    """The keyword of a tag, or ``(GGGG,EEEE)`` where it has none; for messages."""
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
