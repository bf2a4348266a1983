"""Value representations: what the dictionaries say where a file does not."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pydicom.datadict import dictionary_VM, dictionary_VR, private_dictionary_VR
from pydicom.valuerep import AMBIGUOUS_VR, CUSTOMIZABLE_CHARSET_VR, VR

if TYPE_CHECKING:
    from .part10 import RawHeader

__all__ = [
    "KNOWN",
    "NUMBERS",
    "SINGLE",
    "STRINGS",
    "TEXT",
    "creator_tag",
    "dictionary_vm",
    "dictionary_vr",
    "private_vr",
    "resolve",
    "vr_in",
]

KNOWN: Final = frozenset(vr.value for vr in VR) - {vr.value for vr in AMBIGUOUS_VR}
TEXT: Final = frozenset(vr.value for vr in CUSTOMIZABLE_CHARSET_VR)
SINGLE: Final = frozenset({"LT", "ST", "UT"})  # a backslash is a character like others there
NUMBERS: Final = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}
STRINGS: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
_PIXEL_REPRESENTATION = 0x00280103


@lru_cache(maxsize=4096)
def dictionary_vr(tag: int) -> str:
    """The VR that the standard gives an element, "US or SS" and the like included; or ""."""
    if not tag & 0xFFFF:
        return "UL"  # group length
    if tag >> 16 & 1:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else ""
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return ""


def private_vr(tag: int, creator: str) -> str:
    """The VR that pydicom's private dictionary gives an element of a creator, or ""."""
    try:
        return str(private_dictionary_VR(tag, creator))
    except KeyError:
        return ""


def vr_in(raw: RawHeader, tag: int) -> str:
    """The VR of an element that a header has; "UN" where nobody knows."""
    said = raw.layout.vrs[raw.layout.lookup[tag]]
    if said not in ("", "UN"):
        return said
    known = dictionary_vr(tag) or private_vr(tag, _creator(raw, tag))
    return resolve(known, raw) or "UN"


def creator_tag(tag: int) -> int:
    """Where the private creator of a private element stands (PS3.5 section 7.8.1)."""
    return tag & 0xFFFF0000 | (tag & 0xFF00) >> 8


def _creator(raw: RawHeader, tag: int) -> str:
    block = raw.raw(creator_tag(tag))
    return bytes(block or b"").decode("latin-1").strip(" \0")


def resolve(vr: str, raw: RawHeader) -> str:
    """One VR out of several that the dictionary allows (PS3.5 section 8, annex A)."""
    if " or " not in vr:
        return vr
    if vr != "US or SS":
        return "OW"
    signed = raw.raw(_PIXEL_REPRESENTATION)
    return "SS" if signed is not None and any(signed) else "US"


def dictionary_vm(tag: int) -> str:
    """How many values the standard gives an element ("1", "2-2n" …), or "" ."""
    try:
        return dictionary_VM(tag)
    except KeyError:
        return ""
