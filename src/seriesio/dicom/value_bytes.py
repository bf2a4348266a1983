"""The bytes of element values (PS3.5 sections 6 and 7), and what cannot become bytes.

Messages name the attribute and the rule, never the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from struct import pack
from typing import Any, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.multival import MultiValue

from ..errors import HeaderError
from . import charset
from .element_header import element_header
from .items import charset_of, raw_bytes
from .keywords import keyword_for
from .values import BROKEN
from .vr import NUMBERS, STRINGS, TEXT

__all__ = ["encode", "holds", "strings", "unfit"]

_LUT_DESCRIPTORS: Final = frozenset({0x00281101, 0x00281102, 0x00281103, 0x00283002})
_RULES: Final = {
    "AE": "at most 16 printable ASCII characters",
    "AS": "nnnD, nnnW, nnnM or nnnY",
    "AT": "a tag",
    "CS": "at most 16 of A-Z, 0-9, space and underscore",
    "DA": "a date, YYYYMMDD",
    "DS": "a finite decimal number of at most 16 characters",
    "DT": "a date and time, YYYYMMDDHHMMSS.FFFFFF&ZZXX",
    "FD": "a number",
    "FL": "a number within single precision",
    "IS": "a whole number from -2147483648 to 2147483647",
    "LO": "text of at most 64 characters without control characters",
    "LT": "text of at most 10240 characters",
    "PN": "up to three groups of at most 64 characters, divided by =",
    "SH": "text of at most 16 characters without control characters",
    "SL": "a whole number from -2147483648 to 2147483647",
    "SQ": "datasets",
    "SS": "a whole number from -32768 to 32767",
    "ST": "text of at most 1024 characters",
    "SV": "a whole number of 64 bits",
    "TM": "a time, HHMMSS.FFFFFF",
    "UC": "text without control characters",
    "UI": "numbers divided by dots, without leading zeros, at most 64 characters",
    "UL": "a whole number from 0 to 4294967295",
    "UR": "a URI",
    "US": "a whole number from 0 to 65535",
    "UT": "text",
    "UV": "a whole number of 64 bits, not negative",
}


def unfit(tag: int, vr: str) -> HeaderError:
    """The error that says what a VR holds; never the value."""
    rule = _RULES.get(vr, "bytes")
    return HeaderError(
        f"{keyword_for(tag)}: cannot hold the value: VR {vr} holds {rule} (PS3.5 section 6.2)"
    )


def strings(value: Any) -> Iterable[str]:
    """The parts of a value as text; numbers as they were written or formatted."""
    if isinstance(value, str):
        return (str(value),)
    if isinstance(value, list | tuple | MultiValue):
        return ["" if part is None else str(part) for part in value]
    return () if value is None else (str(value),)


def holds(vr: str, value: Any, codecs: Sequence[str]) -> bool:
    """True if all text in a value can be written in a character set."""
    if vr == "SQ":
        return all(_item_holds(item, codecs) for item in value or ())
    return vr not in TEXT or _coded(vr, value, codecs) is not None


def _item_holds(item: Dataset, codecs: Sequence[str]) -> bool:
    codecs = _own_codecs(item, codecs)
    if charset_of(item) == tuple(codecs):
        elements = [element for element in item.values() if isinstance(element, DataElement)]
    else:
        elements = list(item)
    return all(holds(str(element.VR), element.value, codecs) for element in elements)


def _own_codecs(item: Dataset, codecs: Sequence[str]) -> Sequence[str]:
    """Those of an item's character set, if it has one of its own."""
    own = item.get("SpecificCharacterSet")
    return charset.codecs_for((own,) if isinstance(own, str) else tuple(own)) if own else codecs


def encode(
    tag: int, vr: str, value: Any, implicit: bool, little: bool, codecs: Sequence[str]
) -> bytes:
    """The bytes of a value in a transfer syntax, of even length.

    Raises:
        HeaderError: the element, or the character set, cannot hold it.
    """
    try:
        if vr in STRINGS:
            return _even("\\".join(strings(value)).encode("ascii"), vr)
        if vr in NUMBERS and tag not in _LUT_DESCRIPTORS:
            return _packed(vr, value, little)
        if vr in TEXT:
            return _even(_text(tag, vr, value, codecs), vr)
        if vr == "SQ":
            return _sequence(value, implicit, little, codecs)
        return _written(tag, vr, value, implicit, little, codecs)
    except HeaderError:
        raise
    except BROKEN:
        raise unfit(tag, vr) from None


def _even(data: bytes, vr: str) -> bytes:
    if len(data) % 2 == 0:
        return data
    return data + (b"\0" if vr == "UI" else b" ")


def _packed(vr: str, value: Any, little: bool) -> bytes:
    numbers = (
        value if isinstance(value, list | MultiValue) else [] if value in (None, "") else [value]
    )
    return pack(f"{'<' if little else '>'}{len(numbers)}{NUMBERS[vr]}", *numbers)


def _coded(vr: str, value: Any, codecs: Sequence[str]) -> bytes | None:
    """Text in a character set, each part by itself (PS3.5 section 6.1.2.5.3), or None."""
    coded: list[bytes] = []
    for text in strings(value):
        # Splitting keeps the delimiters; they are the same bytes in every set.
        parts = re.split(r"([=^])", text) if vr == "PN" else [text]
        found = [charset.encode(part, codecs) for part in parts]
        if None in found:
            return None
        coded.append(b"".join(part for part in found if part is not None))
    return b"\\".join(coded)


def _text(tag: int, vr: str, value: Any, codecs: Sequence[str]) -> bytes:
    text = _coded(vr, value, codecs)
    if text is None:
        raise _speechless(tag)
    return text


def _speechless(tag: int) -> HeaderError:
    return HeaderError(f"{keyword_for(tag)}: has characters that its character set does not have")


def _sequence(items: Any, implicit: bool, little: bool, codecs: Sequence[str]) -> bytes:
    """Items of defined lengths, each of elements in ascending order (PS3.5 section 7.5)."""
    order = "<" if little else ">"
    parts: list[bytes] = []
    for item in items or ():
        data = b"".join(_elements(item, implicit, little, _own_codecs(item, codecs)))
        parts += (pack(f"{order}HHL", 0xFFFE, 0xE000, len(data)), data)
    return b"".join(parts)


def _elements(
    item: Dataset, implicit: bool, little: bool, codecs: Sequence[str]
) -> Iterator[bytes]:
    """The elements of an item; those that still are bytes of this syntax as they are."""
    own = charset_of(item)
    for tag, element in sorted(item.items()):
        if isinstance(element, RawDataElement):
            value = raw_bytes(element, own, implicit, little, codecs)
            if value is not None:
                yield element_header(int(tag), element.VR or "", len(value), implicit, little)
                yield value
                continue
        yield _nested(item[tag], implicit, little, codecs)


def _nested(element: DataElement, implicit: bool, little: bool, codecs: Sequence[str]) -> bytes:
    tag, vr, value = int(element.tag), str(element.VR), element.value
    if " or " in vr:  # PS3.5 section 8, annex A
        vr = "OW" if isinstance(value, bytes) else "SS" if _negative(value) else "US"
    data = encode(tag, vr, value, implicit, little, codecs)
    return element_header(tag, vr, len(data), implicit, little) + data


def _negative(value: Any) -> bool:
    parts = value if isinstance(value, list | MultiValue) else [value]
    return any(isinstance(part, int) and part < 0 for part in parts)


def _written(
    tag: int, vr: str, value: Any, implicit: bool, little: bool, codecs: Sequence[str]
) -> bytes:
    """pydicom's encoding of a value."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = little
    buffer.is_implicit_VR = True  # 4 bytes for the length hold any value
    element = DataElement(tag, vr, value, already_converted=True)
    write_data_element(buffer, element, list(codecs))
    return buffer.getvalue()[8:]
