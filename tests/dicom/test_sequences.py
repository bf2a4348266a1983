"""Functional groups out of raw bytes: judged by pydicom, and fed with what breaks readers."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from struct import calcsize, pack, unpack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import DataElement, Dataset, dcmread
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from seriesio.dicom.part10 import parse_header, syntax_for
from seriesio.dicom.sequences import flat_items
from seriesio.errors import DataError, DicomError, TooLargeError
from seriesio.testing import phantom

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
SHARED, PER_FRAME = 0x52009229, 0x52009230
UNDEFINED = 0xFFFFFFFF


def item(value: bytes, length: int | None = None) -> bytes:
    return pack("<HHL", 0xFFFE, 0xE000, len(value) if length is None else length) + value


def bare(tag: int, value: bytes, length: int | None = None) -> bytes:
    return pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    if vr in (b"SQ", b"UN", b"OB"):
        return pack("<HH2s2xL", tag >> 16, tag & 0xFFFF, vr, size) + value
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, size) + value


ITEM_END, SEQUENCE_END = bare(0xFFFEE00D, b""), bare(0xFFFEE0DD, b"")


def flat(value: bytes, syntax: str = EXPLICIT) -> list[dict[int, bytes]]:
    return flat_items(memoryview(value), syntax_for(syntax))


def pydicom_flat(dataset: Dataset) -> dict[int, DataElement]:
    """tag → element; the outermost wins, nested sequences give their first item."""
    found: dict[int, DataElement] = {}
    nested = []
    for each in dataset:
        if isinstance(each.value, Sequence):
            nested += [pydicom_flat(inner) for inner in each.value[:1]]
        else:
            found[int(each.tag)] = each
    for inner in nested:
        for tag, value in inner.items():
            found.setdefault(tag, value)
    return found


NUMBERS = {"US": "H", "UL": "L", "FD": "d", "FL": "f", "SS": "h", "SL": "l", "AT": "HH"}


def decoded(value: bytes, vr: str, order: str) -> str:
    """A value as text, by struct alone."""
    if vr not in NUMBERS:
        return value.rstrip(b"\0 ").decode("latin-1")
    size = calcsize("<" + NUMBERS[vr])
    parts = [unpack(order + NUMBERS[vr], value[k : k + size]) for k in range(0, len(value), size)]
    if vr == "AT":
        return "\\".join(str(group << 16 | number) for group, number in parts)
    return "\\".join(str(part[0]) for part in parts)


def as_text(element: DataElement) -> str:
    """A value of pydicom's as text; decimal strings as they stand in the file."""
    values = element.value if isinstance(element.value, (MultiValue, list)) else [element.value]
    shown = [getattr(value, "original_string", value) for value in values]
    numbers = [int(str(value)) if element.VR == "AT" else value for value in shown]
    return "" if shown == [None] else "\\".join(map(str, numbers))


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_functional_groups(syntax: str) -> None:
    """The same tags with the same values as pydicom has them."""
    made = phantom((3, 8, 8), enhanced=True, transfer_syntax=syntax)
    data = next(iter(made.files().values()))
    dataset, header = dcmread(BytesIO(data)), parse_header(data)
    for tag in (SHARED, PER_FRAME):
        value = header.raw(tag)
        assert value is not None
        items = flat_items(value, header.syntax)
        expected = [pydicom_flat(each) for each in dataset[tag].value]
        assert [set(each) for each in items] == [set(each) for each in expected]
        order = "<" if header.syntax.little else ">"
        for each, other in zip(items, expected, strict=True):
            assert {tag: decoded(each[tag], other[tag].VR, order) for tag in other} == {
                tag: as_text(element) for tag, element in other.items()
            }


def test_outermost_and_first_win() -> None:
    """An element of the item goes before nested ones, a first item before others."""
    inner = item(element(8, b"CS", b"in")) + item(element(9, b"CS", b"no"))
    value = item(element(0x10, b"SQ", inner) + element(8, b"CS", b"out "))
    assert flat(value) == [{8: b"out "}]
    value = item(element(0x10, b"SQ", inner))
    assert flat(value) == [{8: b"in"}]


def test_undefined_lengths() -> None:
    """Delimiters end what has no length."""
    inner = item(element(8, b"CS", b"in") + ITEM_END, UNDEFINED) + SEQUENCE_END
    value = item(element(0x10, b"SQ", inner, UNDEFINED) + ITEM_END, UNDEFINED) + SEQUENCE_END
    assert flat(value) == [{8: b"in"}]


def test_without_vr() -> None:
    """In implicit VR a sequence is known by its item; bytes that only begin so are bytes."""
    real, false = item(bare(8, b"in")), item(b"abc", 99)
    assert flat(item(bare(0x10, real)), IMPLICIT) == [{8: b"in"}]
    assert flat(item(bare(0x10, false)), IMPLICIT) == [{0x10: false}]


def test_unknown_holds_implicit() -> None:
    """UN of undefined length is read as implicit VR."""
    inner = item(bare(8, b"in") + ITEM_END, UNDEFINED) + SEQUENCE_END
    assert flat(item(element(0x00209111, b"UN", inner, UNDEFINED))) == [{8: b"in"}]
    assert flat(item(element(0x00091001, b"UN", inner, UNDEFINED))) == [{}]  # private


def test_implicit_among_explicit() -> None:
    """An element without VR among explicit ones is read, as in the walk."""
    assert flat(item(bare(0x00091001, b"ab") + element(8, b"CS", b"in"))) == [
        {0x00091001: b"ab", 8: b"in"}
    ]


def test_icon() -> None:
    """Compressed pixels in an item are stepped over."""
    fragments = item(b"") + item(b"\xff\xd8ab") + SEQUENCE_END
    value = item(element(0x7FE00010, b"OB", fragments, UNDEFINED) + element(8, b"CS", b"in"))
    assert flat(value) == [{8: b"in"}]


HOSTILE = {
    "no item": bare(8, b"MR"),
    "cut": item(b"")[:5],
    "item past the end": item(b"", 8),
    "element past its item": item(element(8, b"CS", b"", 9)) + bytes(20),
    "cut long header": item(element(8, b"OB", b"")[:9]),
    "sequence past its item": item(element(0x10, b"SQ", b"", 8)) + item(b""),
    "no item in a sequence": item(element(0x10, b"SQ", element(8, b"CS", b"MR"))),
    "no fragment": item(element(0x10, b"OB", element(8, b"CS", b"MR"), UNDEFINED)),
    "no end": item(element(0x10, b"SQ", b"", UNDEFINED), UNDEFINED) + bytes(3),
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile(value: bytes) -> None:
    """What does not hold together is an error of ours."""
    with pytest.raises(DicomError):
        flat(value)


@pytest.mark.parametrize("undefined", [True, False])
def test_deep(undefined: bool) -> None:
    """A hundred levels are read, a thousand are refused."""
    value = item(element(8, b"CS", b"in"))
    for depth in range(1, 1000):
        if undefined:
            value = item(element(0x10, b"SQ", value + SEQUENCE_END, UNDEFINED))
        else:
            value = item(element(0x10, b"SQ", value))
        if depth == 90:
            assert flat(value) == [{8: b"in"}]
    with pytest.raises(TooLargeError, match="nested"):
        flat(value)


def test_deep_without_vr() -> None:
    """Without VRs, what is too deep ends in a refusal or in bytes, in bounded time."""
    value = item(bare(8, b"in"))
    for _ in range(1000):
        value = item(bare(0x10, value))
    with pytest.raises(TooLargeError):
        flat(value, IMPLICIT)


BYTES = item(
    element(0x10, b"SQ", item(element(8, b"CS", b"in")), None)
    + element(0x11, b"SQ", item(bare(8, b"") + ITEM_END, UNDEFINED) + SEQUENCE_END, UNDEFINED)
)


@given(
    st.lists(st.tuples(st.integers(0, len(BYTES) - 1), st.integers(0, 255)), max_size=4),
    st.sampled_from((IMPLICIT, EXPLICIT, BIG)),
)
@settings(max_examples=300, deadline=None)
def test_fuzz(changes: list[tuple[int, int]], syntax: str) -> None:
    """Flipped bytes end in items or in an error of ours."""
    value = bytearray(BYTES)
    for place, byte in changes:
        value[place] = byte
    with suppress(DataError):
        flat(bytes(value), syntax)
