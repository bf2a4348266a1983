"""Items of sequences as they stand: what nobody has looked at stays bytes.

pydicom decodes an element of an item when it is asked for, at some 50 µs; functional groups of
many frames have thousands. Copied, compared and written, most of them need not be decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from .part10 import UNDEFINED
from .vr import KNOWN, TEXT, dictionary_vr

__all__ = ["charset_of", "decoded", "differing", "raw_bytes", "same_items"]

_NO_TEXT: Final = KNOWN - TEXT - {"SQ", "UN"}


def charset_of(item: Dataset) -> tuple[str, ...]:
    """The codecs of text in an item that is still bytes; none if nobody has said so."""
    found = item.original_character_set
    return (found,) if isinstance(found, str) and found else tuple(found)


def decoded(item: Dataset) -> Iterator[DataElement]:
    """The elements of an item that are bytes no longer, and those of the items in them."""
    for element in list(item.values()):
        if isinstance(element, DataElement):
            yield element
            if element.VR == "SQ":
                for inner in element.value or ():
                    yield from decoded(inner)


def raw_bytes(
    element: RawDataElement, own: Sequence[str], implicit: bool, little: bool, codecs: Sequence[str]
) -> bytes | None:
    """The value of an element as it stands, if it means the same in another place.

    ``own`` are the codecs of its text, the others say what the place has. None where it must be
    decoded and encoded anew.
    """
    value = element.value
    if value is None or element.length == UNDEFINED or len(value) % 2:
        return None
    if element.is_implicit_VR is not implicit or element.is_little_endian is not little:
        return None
    vr = dictionary_vr(int(element.tag)) if implicit else element.VR
    if not implicit and vr not in KNOWN:
        return None
    return value if vr in _NO_TEXT or tuple(own) == tuple(codecs) else None


def same_items(one: Any, other: Any) -> bool:
    """True if two sequences have the same items."""
    one, other = one or (), other or ()
    return len(one) == len(other) and not any(map(differing, one, other))


def differing(one: Dataset, other: Dataset) -> list[int]:
    """The tags of the elements that differ in two items, ascending."""
    if one is other:
        return []
    mine, theirs = dict(one.items()), dict(other.items())
    alike = charset_of(one) == charset_of(other)
    return [
        int(tag)
        for tag in sorted(mine.keys() | theirs.keys())
        if not (alike and _as_bytes(mine.get(tag), theirs.get(tag)))
        and not (tag in mine and tag in theirs and _equal(one[tag], other[tag]))
    ]


def _as_bytes(one: Any, other: Any) -> bool:
    """True for the same bytes, in the same syntax."""
    if not (isinstance(one, RawDataElement) and isinstance(other, RawDataElement)):
        return False
    return one.value is not None and (
        (one.VR, one.value, one.is_implicit_VR, one.is_little_endian)
        == (other.VR, other.value, other.is_implicit_VR, other.is_little_endian)
    )


def _equal(one: DataElement, other: DataElement) -> bool:
    if one.VR != other.VR:
        return False
    return same_items(one.value, other.value) if one.VR == "SQ" else bool(one == other)
