"""Columns of headers: each value is what pydicom reads from its own file."""

from __future__ import annotations

from io import BytesIO
from struct import pack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword

from seriesio.blob import MemoryBlob
from seriesio.dicom.part10 import parse_header
from seriesio.dicom.table import (
    TAGS,
    Column,
    HeaderGroup,
    HeaderTable,
    column_of,
    decode_numbers,
    decode_text,
)
from seriesio.formats._scan import scan_batch
from seriesio.testing import phantom

SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"]


def make_table(files: list[bytes]) -> HeaderTable:
    """Headers in the order of the files, however the scan has grouped them."""
    found = scan_batch([(k, MemoryBlob(str(k), data)) for k, data in enumerate(files)])
    places = {
        index: (group, row)
        for group, (_, indices) in enumerate(found.groups)
        for row, index in enumerate(indices)
    }
    where = np.array([places[index] for index in range(len(files))], np.intp)
    return HeaderTable([group for group, _ in found.groups], where)


def test_tags_are_the_standards() -> None:
    """Tags and VRs are those of pydicom's dictionary."""
    for keyword, (tag, vr) in TAGS.items():
        assert tag_for_keyword(keyword) == tag
        assert vr in dictionary_VR(tag).split(" or ")


def mixed_files() -> list[bytes]:
    """Three syntaxes, and in each three slices, one of them of odd position."""
    return [
        data
        for syntax in SYNTAXES
        for data in phantom((3, 8, 8), transfer_syntax=syntax, header_elements=9).files().values()
    ]


def test_columns() -> None:
    """Texts and numbers of every instance, of groups and singles and both byte orders."""
    files = mixed_files()
    table = make_table(files)
    datasets = [dcmread(BytesIO(data)) for data in files]
    assert len(table) == len(files)
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "Modality", "PatientName"):
        if keyword in TAGS:
            texts, codes = table.texts(keyword)
            assert [texts[code] for code in codes] == [
                str(each[keyword].value) for each in datasets
            ]
    for keyword, count in (("Rows", 1), ("ImagePositionPatient", 3), ("InstanceNumber", 1)):
        expected = [np.atleast_1d(np.array(each[keyword].value, float)) for each in datasets]
        assert table.numbers(keyword, count).tolist() == np.stack(expected).tolist()
    assert table.column("Modality").constant
    assert not table.column("SOPInstanceUID").constant
    assert np.isnan(table.numbers("EchoTime")).all() == ("EchoTime" not in datasets[0])
    assert np.isnan(table.numbers("ImagePositionPatient", 4)).all()


def test_subset() -> None:
    """A subset has its own instances' values, in the order asked for."""
    table = make_table(mixed_files())
    chosen = np.array([7, 0, 4], np.intp)
    part = table.subset(chosen)
    assert len(part) == 3
    uids = table.column("SOPInstanceUID").take(chosen).expand()
    assert part.column("SOPInstanceUID").expand() == uids
    assert bytes(part.header(0).data) == bytes(table.header(7).data)
    assert [part.little(k) for k in range(3)] == [False, True, True]


def test_values_of_other_lengths() -> None:
    """Values of different or great lengths, missing ones, and pixels, which are no attribute."""
    files = list(phantom((3, 8, 8), header_elements=9, header_bytes=9000).files().values())
    table = make_table(files)
    headers = [parse_header(data) for data in files]
    for tag in headers[0].layout.tags[:-1]:
        expected = [bytes(header.raw(tag) or b"") for header in headers]
        assert table.column_at(tag, "OB").expand() == expected
    assert table.column_at(0x7FE00010, "OW").expand() == [None] * 3
    assert table.column_at(0x00091234, "LO").expand() == [None] * 3


def test_compact() -> None:
    """A group in a buffer of its own has the same headers."""
    files = list(phantom((4, 8, 8)).files().values())
    found = scan_batch([(k, MemoryBlob(str(k), data)) for k, data in enumerate(files)])
    group = found.groups[0][0]
    small = group.compact()
    assert small.arena.nbytes < group.arena.nbytes
    for row in range(len(group)):
        one, other = group.header(row), small.header(row)
        assert bytes(one.data) == bytes(other.data)
        assert one.starts.tolist() == other.starts.tolist()
        assert one.offsets.tolist() == other.offsets.tolist()


def test_headers_are_views() -> None:
    """A header of a group shares its bytes."""
    data = next(iter(phantom((1, 8, 8)).files().values()))
    group = HeaderGroup.single(parse_header(data))
    assert np.shares_memory(np.frombuffer(group.header(0).data, np.uint8), group.arena)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=2)), max_size=20))
def test_column_of(values: list[bytes | None]) -> None:
    """A column gives back what it was made of, each different value once."""
    column = column_of(values)
    assert column.expand() == values
    assert len(set(column.values)) == len(column.values)


def test_empty_column() -> None:
    """No instances, a constant."""
    assert Column([], np.zeros(0, np.intp)).constant


@pytest.mark.parametrize(
    ("value", "vr", "expected"),
    [
        (b"1.5\\-2e3 ", "DS", (1.5, -2000.0)),
        (b" 7 \0", "IS", (7.0,)),
        (pack("<3H", 1, 2, 65535), "US", (1, 2, 65535)),
        (pack("<3H", 1, 2, 3) + b"x", "US", (1, 2, 3)),
        (pack("<d", 2.5), "FD", (2.5,)),
        (pack("<2d", 2.5, float("inf")), "FD", ()),
        (pack("<d", float("nan")), "FD", ()),
        (b"x", "US", ()),
        (b"", "DS", ()),
        (None, "DS", ()),
        (b"abc", "DS", ()),
        (b"1\\\\2", "DS", ()),
        (b"nan", "DS", ()),
        (b"1e999", "DS", ()),
        (b"\xd9\xa1", "IS", ()),
    ],
)
def test_decode_numbers(value: bytes | None, vr: str, expected: tuple[float, ...]) -> None:
    """Numbers as the standard writes them; nothing for what is none, or not finite."""
    assert decode_numbers(value, vr, True) == expected


@given(st.binary(max_size=40), st.sampled_from(("DS", "IS", "US", "UL", "FD", "FL", "SV")))
def test_decode_anything(value: bytes, vr: str) -> None:
    """Any bytes decode to finite numbers, or to none."""
    assert all(np.isfinite(decode_numbers(value, vr, True)))
    assert all(np.isfinite(decode_numbers(memoryview(value), vr, False)))
    assert isinstance(decode_text(value), str)


def test_big_endian_numbers() -> None:
    """Big endian values, by struct."""
    assert decode_numbers(pack(">2L", 1, 70000), "UL", False) == (1, 70000)
