"""The bytes before an element's value (PS3.5 section 7.1)."""

from __future__ import annotations

from struct import pack
from typing import Final

from ..errors import HeaderError
from .keywords import keyword_for

__all__ = ["element_header"]

_LONG: Final = frozenset(
    ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
)


def element_header(tag: int, vr: str, length: int, implicit: bool, little: bool) -> bytes:
    """Tag, VR and length.

    Raises:
        HeaderError: more bytes than an explicit VR with a short length can say.
    """
    order = "<" if little else ">"
    if implicit:
        return pack(f"{order}HHL", tag >> 16, tag & 0xFFFF, length)
    if vr in _LONG:
        return pack(f"{order}HH2s2xL", tag >> 16, tag & 0xFFFF, vr.encode(), length)
    if length > 0xFFFF:
        raise HeaderError(
            f"{keyword_for(tag)}: {length} bytes, more than VR {vr} can hold in explicit VR"
        )
    return pack(f"{order}HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), length)
