"""Another Specific Character Set for an instance, with all its text kept.

Text elements that are plain ASCII mean the same in every character set and stay byte for byte.
The others are decoded and become changes. What cannot be carried over is an error: text that
does not decode, text inside sequences (they are kept as they are), characters that the new set
does not have. Elements of unknown VR are opaque bytes and stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import HeaderError
from . import charset
from .keywords import keyword_for
from .value_bytes import holds
from .values import BROKEN, codecs_of, decode
from .vr import TEXT, dictionary_vr, vr_in

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from .part10 import Layout, RawHeader
    from .splice import Change

__all__ = ["Transcoder"]

_CHARACTER_SET = 0x00080005


class Transcoder:
    """Brings instances into a character set; what many of them have is looked at once."""

    def __init__(self, terms: Sequence[str]) -> None:
        self._change: Change = "CS", terms[0] if len(terms) == 1 else list(terms)
        self._codecs = charset.codecs_for(tuple(terms))
        self._found: dict[tuple[tuple[int, ...], bytes, bytes], list[tuple[int, bytes]]] = {}
        self._carried: dict[tuple[Any, ...], Change] = {}
        self._held: dict[int, tuple[Any, bool]] = {}

    def changes(self, raw: RawHeader, pending: Mapping[int, Change]) -> dict[int, Change]:
        """The changes that bring an instance into the set; ``pending`` ones are kept.

        Raises:
            HeaderError: some text would be lost.
        """
        for tag, change in pending.items():
            if not self._holds(change):
                raise _lost(tag)
        found: dict[int, Change] = {}
        for tag, data in self._foreign(raw):
            if tag not in pending and (change := self._carry(raw, tag, data)) is not None:
                found[tag] = change
        found[_CHARACTER_SET] = self._change
        return found

    def _holds(self, change: Change) -> bool:
        """True if a change can be written in the set; the same one is asked for once."""
        if change is None:
            return True
        if id(change) not in self._held:  # kept with its verdict, so that its id stays its own
            self._held[id(change)] = change, holds(*change, self._codecs)
        return self._held[id(change)][1]

    def _foreign(self, raw: RawHeader) -> Sequence[tuple[int, bytes]]:
        """Elements of the dataset that may hold text beyond ASCII; equal ones are found once."""
        tags, places = _spoken(raw.layout)
        starts = raw.offsets[places]
        ends = (starts + raw.lengths[places]).tolist()
        header = raw.data
        parts = [header[start:end] for start, end in zip(starts.tolist(), ends, strict=True)]
        text = b"".join(parts)
        if charset.is_plain(text):
            return ()
        sizes = raw.lengths[places].tobytes()
        if (found := self._found.get((tags, sizes, text))) is None:
            pairs = zip(tags, map(bytes, parts), strict=True)
            found = [(tag, data) for tag, data in pairs if not charset.is_plain(data)]
            self._found[tags, sizes, text] = found
        return found

    def _carry(self, raw: RawHeader, tag: int, data: bytes) -> Change:
        """An element in the new set; None where it may stay as it is."""
        vr, codecs = vr_in(raw, tag), codecs_of(raw)
        key = tag, vr, codecs, raw.syntax, data
        if key not in self._carried:
            self._carried[key] = _carried(raw, tag, vr, self._codecs)
        return self._carried[key]


@lru_cache(maxsize=256)
def _spoken(layout: Layout) -> tuple[tuple[int, ...], NDArray[np.intp]]:
    """Elements of a dataset whose VR may be one of text, or a sequence of such: tags, places."""
    pairs = zip(layout.tags, layout.vrs, strict=True)
    tags = dict.fromkeys(tag for tag, vr in pairs if tag >> 16 > 2 and _may_speak(tag, vr))
    return tuple(tags), np.array([layout.lookup[tag] for tag in tags], np.intp)


def _may_speak(tag: int, vr: str) -> bool:
    known = dictionary_vr(tag) if vr in ("", "UN") else vr
    return known in TEXT or known in ("SQ", "")


def _carried(raw: RawHeader, tag: int, vr: str, codecs: Sequence[str]) -> Change:
    if vr == "SQ":
        _check_items(raw, tag)
        return None
    if vr not in TEXT:
        return None
    value = decode(raw, tag)
    data = bytes(raw.raw(tag) or b"")
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
