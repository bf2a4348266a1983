"""Element values out of bytes, as pydicom gives them (PS3.5 section 6.2).

Reading never validates and never warns: what stands in a file is the file's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from struct import calcsize, unpack
from struct import error as struct_error
from typing import TYPE_CHECKING, Any, Final

from pydicom import config
from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_sequence_item
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import UID
from pydicom.valuerep import IS, DSfloat, PersonName
from pydicom.values import convert_value

from ..errors import DicomError
from . import charset
from .keywords import keyword_for
from .vr import NUMBERS, SINGLE, TEXT, vr_in

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .part10 import RawHeader
    from .splice import Change

__all__ = ["BROKEN", "changed_codecs", "codecs_of", "decode", "first_item", "person_name", "same"]

_CHARACTER_SET = 0x00080005
_LUT_DESCRIPTORS: Final = frozenset({0x00281101, 0x00281102, 0x00281103, 0x00283002})

# What pydicom lets through when bytes or values are not what they ought to be.
BROKEN: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    EOFError,
    BytesLengthException,
    struct_error,
)


def codecs_of(raw: RawHeader) -> tuple[str, ...]:
    """The codecs of an instance's text."""
    data = raw.raw(_CHARACTER_SET)
    return charset.codecs_in(b"" if data is None else bytes(data))


def changed_codecs(raw: RawHeader, change: Change) -> tuple[str, ...]:
    """The codecs of an instance's text; ``change`` is that of its character set, if any."""
    if change is None:
        return codecs_of(raw)
    terms = change[1]
    return charset.codecs_for((terms,) if isinstance(terms, str) else tuple(terms))


def decode(raw: RawHeader, tag: int, vr: str | None = None) -> Any:
    """The value of a top-level element that a header has, as pydicom gives it.

    Raises:
        DicomError: a sequence that cannot be taken apart.
    """
    data = raw.raw(tag)
    vr = vr_in(raw, tag) if vr is None else vr
    if data is None or not data.nbytes:
        return empty_value_for_VR(vr)
    decoder = _DECODERS.get(vr)
    if decoder is not None:
        return decoder(bytes(data))
    if vr in TEXT:
        return _text(bytes(data), vr, codecs_of(raw))
    if vr in NUMBERS and tag not in _LUT_DESCRIPTORS:
        return _numbers(bytes(data), vr, raw.syntax.little)
    return _converted(raw, tag, vr, bytes(data))


def _converted(raw: RawHeader, tag: int, vr: str, data: bytes) -> Any:
    # PS3.5 6.2.2: what is hidden in UN is implicit little endian.
    hidden = vr == "SQ" and raw.layout.vrs[raw.layout.lookup[tag]] == "UN"
    implicit, little = raw.syntax.implicit or hidden, raw.syntax.little or hidden
    element = RawDataElement(Tag(tag), vr, len(data), data, 0, implicit, little, True)
    try:
        value = convert_value(vr, element, list(codecs_of(raw)))
    except BROKEN:
        if vr == "SQ":  # without its cause: pydicom's messages quote values
            raise DicomError(f"{keyword_for(tag)}: a damaged sequence") from None
        return data
    if tag in _LUT_DESCRIPTORS and isinstance(value, list) and value[0] < 0:
        value[0] += 65536  # the number of entries is unsigned whatever the VR says
    return value


def _numbers(data: bytes, vr: str, little: bool) -> Any:
    """One number or a list; the bytes where they are no whole number of numbers."""
    count, rest = divmod(len(data), calcsize(f"={NUMBERS[vr]}"))
    if rest:
        return data
    found = unpack(f"{'<' if little else '>'}{count}{NUMBERS[vr]}", data)
    return found[0] if count == 1 else list(found)


def _uid(text: str) -> UID:
    return UID(text, config.IGNORE)


def _decimal(text: str) -> Any:
    return DSfloat(text, False, config.IGNORE)


def _integer(text: str) -> Any:
    return IS(text, config.IGNORE)


def _listed(make: Callable[[str], Any]) -> Callable[[bytes], Any]:
    """A decoder of backslash-separated strings; gives text where they are not what they ought."""

    def decoder(data: bytes) -> Any:
        text = data.decode("latin-1").strip(" \0")
        parts = text.split("\\")
        try:
            return make(text) if len(parts) == 1 else MultiValue(make, parts)
        except (ValueError, OverflowError):
            return text if len(parts) == 1 else MultiValue(str, parts)

    return decoder


_DECODERS: Final = {"UI": _listed(_uid), "DS": _listed(_decimal), "IS": _listed(_integer)}


def _text(data: bytes, vr: str, codecs: Sequence[str]) -> Any:
    text = charset.decode(data, codecs)
    if vr in SINGLE:
        return text.rstrip("\0 ")
    parts = [part.rstrip("\0 ") for part in text.split("\\")]
    made = [person_name(part) for part in parts] if vr == "PN" else parts
    return made[0] if len(made) == 1 else MultiValue(person_name if vr == "PN" else str, made)


def person_name(text: str | PersonName) -> PersonName:
    """A name that is not tied to the bytes it came from: it is encoded anew wherever it goes."""
    return PersonName(str(text), validation_mode=config.IGNORE)


def same(one: Any, other: Any) -> bool:
    """True if two values mean the same."""
    if _empty(one) or _empty(other):
        return _empty(one) and _empty(other)
    return bool(one == other)


def _empty(value: Any) -> bool:
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def first_item(raw: RawHeader, tag: int) -> Dataset | None:
    """The first item of a sequence that a header has; the others are not read.

    Raises:
        DicomError: it cannot be taken apart.
    """
    data = raw.raw(tag)
    hidden = raw.layout.vrs[raw.layout.lookup[tag]] == "UN"
    implicit, little = raw.syntax.implicit or hidden, raw.syntax.little or hidden
    if data is None or data.nbytes < 8:
        return None
    length = int.from_bytes(data[4:8], "little" if little else "big")
    if length < data.nbytes - 8:
        data = data[: 8 + length]
    try:
        return read_sequence_item(BytesIO(data), implicit, little, list(codecs_of(raw)))
    except BROKEN:
        raise DicomError(f"{keyword_for(tag)}: a damaged sequence") from None
