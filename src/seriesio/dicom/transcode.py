"""Another Specific Character Set for an instance, with all its text kept.

Text elements that are plain ASCII mean the same in every character set and stay byte for byte.
The others are decoded and become changes. What cannot be carried over is an error: text that
does not decode, text inside sequences (they are kept as they are), characters that the new set
does not have. Elements of unknown VR are opaque bytes and stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import HeaderError
from . import charset
from .assign import holds
from .keywords import keyword_for
from .values import BROKEN, codecs_of, decode
from .vr import TEXT, vr_in

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .part10 import RawHeader
    from .splice import Change

__all__ = ["transcode"]

_CHARACTER_SET = 0x00080005


def transcode(
    raw: RawHeader, pending: Mapping[int, Change], terms: Sequence[str]
) -> dict[int, Change]:
    """The changes that bring an instance into a character set; ``pending`` ones are kept.

    Raises:
        HeaderError: some text would be lost.
    """
    codecs = charset.codecs_for(tuple(terms))
    for tag, change in pending.items():
        if change is not None and not holds(*change, codecs):
            raise _lost(tag)
    changes: dict[int, Change] = {}
    for tag, vr in _foreign(raw):
        if tag in pending:
            continue
        if vr == "SQ":
            _check_items(raw, tag)
        else:
            changes[tag] = _carried(raw, tag, vr, codecs)
    changes[_CHARACTER_SET] = ("CS", terms[0] if len(terms) == 1 else list(terms))
    return changes


def _foreign(raw: RawHeader) -> Iterator[tuple[int, str]]:
    """Elements of the dataset that may hold text beyond ASCII."""
    for tag in raw.layout.lookup:
        data = raw.raw(tag)
        if tag >> 16 > 2 and data is not None and not charset.is_plain(bytes(data)):
            vr = vr_in(raw, tag)
            if vr == "SQ" or vr in TEXT:
                yield tag, vr


def _carried(raw: RawHeader, tag: int, vr: str, codecs: Sequence[str]) -> Change:
    data = bytes(raw.raw(tag) or b"")
    value = decode(raw, tag)
    if charset.decode_strictly(data, codecs_of(raw)) is None or not holds(vr, value, codecs):
        raise _lost(tag)
    return vr, value


def _check_items(raw: RawHeader, tag: int) -> None:
    if any(_speaks(item) for item in decode(raw, tag)):
        raise _lost(tag)


def _speaks(item: Dataset) -> bool:
    """True if an item has text beyond ASCII without a character set of its own."""
    if "SpecificCharacterSet" in item:
        return False
    try:
        return any(
            (element.VR == "SQ" and any(map(_speaks, element.value)))
            or (element.VR in TEXT and not charset.is_plain(str(element.value).encode()))
            for element in item
        )
    except BROKEN:
        return True


def _lost(tag: int) -> HeaderError:
    return HeaderError(
        f"{keyword_for(tag)}: its text cannot be carried over into another character set"
    )
