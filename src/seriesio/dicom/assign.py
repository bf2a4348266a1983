"""Element values that are set: whether they may stand where they are put, and their bytes.

Setting validates strictly (PS3.5 section 6.2). Messages name the attribute and the rule, never
the value.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import pack
from typing import Any, Final

import numpy as np
from pydicom import config
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.valuerep import DSfloat

from ..errors import HeaderError
from . import charset
from .attributes import as_tag
from .copies import copied
from .element_header import element_header
from .items import charset_of, decoded, raw_bytes
from .keywords import keyword_for
from .values import BROKEN, person_name
from .vr import KNOWN, NUMBERS, SINGLE, STRINGS, TEXT, dictionary_vm, dictionary_vr

__all__ = ["encode", "holds", "normalise"]

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


def normalise(tag: int, vr: str, value: Any) -> Any:
    """The value as pydicom holds it, checked against its VR and multiplicity; independent.

    NumPy numbers and arrays, tuples, dates and times are welcome; floats are rounded to the 16
    characters of a decimal string; None is an empty value.

    Raises:
        HeaderError: the element cannot hold it.
    """
    try:
        plain = _items(tag, value) if vr == "SQ" else _plain(vr, value)
        element = DataElement(tag, vr, plain, validation_mode=config.RAISE)
        if not _clean(vr, element.value):
            raise ValueError
    except HeaderError:
        raise
    except BROKEN:
        raise _unfit(tag, vr) from None  # without its cause: pydicom's messages quote the value
    _check_multiplicity(tag, vr, element)
    return element.value if vr != "PN" else _names(element.value)


def _unfit(tag: int, vr: str) -> HeaderError:
    rule = _RULES.get(vr, "bytes")
    return HeaderError(
        f"{keyword_for(tag)}: cannot hold the value: VR {vr} holds {rule} (PS3.5 section 6.2)"
    )


def _names(value: Any) -> Any:
    """Person names that keep no encoded form of themselves."""
    made = [person_name(text) for text in _strings(value)]
    return made[0] if len(made) == 1 else MultiValue(person_name, made)


def _plain(vr: str, value: Any) -> Any:
    """A value in plain Python types, lists for several."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, tuple | MultiValue):
        value = list(value)
    if isinstance(value, list):
        return [_plain(vr, part) for part in value]
    if isinstance(value, datetime.date | datetime.time):
        return _moment(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, bytes) and not vr.startswith(("O", "UN")):
        raise TypeError(vr)
    if vr == "DS" and isinstance(value, float | int) and not isinstance(value, DSfloat):
        return DSfloat(value, True, config.RAISE)
    return value.rstrip(" ") if isinstance(value, str) else value


def _moment(value: datetime.date | datetime.time) -> str:
    """A date, time or both as DA, TM or DT say it."""
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y%m%d%H%M%S.%f%z")
    return value.strftime("%H%M%S.%f" if isinstance(value, datetime.time) else "%Y%m%d")


def _items(tag: int, value: Any) -> Items:
    """Datasets of our own; what nobody has decoded stays bytes."""
    listed = [value] if isinstance(value, Dataset | Mapping) else list(value or ())
    items = Items(_dataset(tag, item) if isinstance(item, Mapping) else item for item in listed)
    items = Items(copied("SQ", items))
    for item in items:
        for element in decoded(item):
            if not _clean(str(element.VR), element.value):
                raise ValueError
    return items


def _dataset(tag: int, item: Mapping[Any, Any]) -> Dataset:
    """An item out of a mapping from keywords or tags to values."""
    dataset = Dataset()
    for name, value in item.items():
        inner = as_tag(name)
        vr = dictionary_vr(inner).split(" or ")[0]
        if vr not in KNOWN:
            raise HeaderError(
                f"{keyword_for(tag)}: {keyword_for(inner)} in it has no known VR: give a Dataset"
            )
        try:
            dataset.add_new(inner, vr, normalise(inner, vr, value))
        except HeaderError as error:
            raise HeaderError(f"{keyword_for(tag)}: in an item: {error}") from None
    return dataset


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")


def _clean(vr: str, value: Any) -> bool:
    """False for text with control characters (PS3.5 section 6.1.3)."""
    if vr not in TEXT:
        return True
    pattern = _CONTROL_IN_LINES if vr in SINGLE else _CONTROL
    return not any(pattern.search(part) for part in _strings(value))


def _strings(value: Any) -> Iterable[str]:
    """The parts of a value as text; numbers as they were written or formatted."""
    if isinstance(value, str):
        return (str(value),)
    if isinstance(value, list | tuple | MultiValue):
        return ["" if part is None else str(part) for part in value]
    return () if value is None else (str(value),)


def _check_multiplicity(tag: int, vr: str, element: DataElement) -> None:
    """Raise unless an element has as many values as the dictionary allows (PS3.5 section 6.4)."""
    allowed = dictionary_vm(tag)
    if vr != "SQ" and allowed and element.VM and not _multiplicity(allowed, element.VM):
        raise HeaderError(f"{keyword_for(tag)}: holds {allowed} values, not {element.VM}")


def _multiplicity(allowed: str, count: int) -> bool:
    """``allowed`` is "3", "1-8", "1-n", "2-2n", or several of them with "or" between."""
    for choice in allowed.split(" or "):
        low, _, high = choice.partition("-")
        if not high and count == int(low):
            return True
        step = int(high[:-1] or 1) if high.endswith("n") else 0
        if step and count >= int(low) and count % step == 0:
            return True
        if high and not step and int(low) <= count <= int(high):
            return True
    return False


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
            return _even("\\".join(_strings(value)).encode("ascii"), vr)
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
        raise _unfit(tag, vr) from None


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
    for text in _strings(value):
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
