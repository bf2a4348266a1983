"""File meta information: told as pydicom tells it; damaged ones are refused, never overread."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seriesio.blob import FileBlob, MemoryBlob
from seriesio.errors import DicomError, SeriesIOError, TooLargeError, TruncatedError
from seriesio.testing import phantom
from seriesio.transports._dicom_meta import Meta, parse_meta, read_meta

SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"]


def made(syntax: str = "1.2.840.10008.1.2.1") -> bytes:
    """The bytes of one instance."""
    (data,) = phantom((1, 8, 8), transfer_syntax=syntax).files().values()
    return data


def element(number: int, vr: bytes, value: bytes) -> bytes:
    """An element of group 2 as PS3.5 section 7.1.2 writes it."""
    head = b"\2\0" + number.to_bytes(2, "little") + vr
    if vr in (b"OB", b"UN"):
        return head + b"\0\0" + len(value).to_bytes(4, "little") + value
    return head + len(value).to_bytes(2, "little") + value


def file(*elements: bytes, body: bytes = b"\x08\0\5\0CS\0\0") -> bytes:
    """A Part 10 file of these elements."""
    return bytes(128) + b"DICM" + b"".join(elements) + body


UIDS = [element(0x02, b"UI", b"1.2\0"), element(0x03, b"UI", b"1.3\0")]
SYNTAX = element(0x10, b"UI", b"1.4\0")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_as_pydicom_reads_it(syntax: str) -> None:
    """UIDs are those that pydicom finds, and the dataset begins behind the group's length."""
    data = made(syntax)
    meta = pydicom.dcmread(BytesIO(data)).file_meta
    found = parse_meta(data)
    assert found.sop_class == meta.MediaStorageSOPClassUID
    assert found.sop_instance == meta.MediaStorageSOPInstanceUID
    assert found.transfer_syntax == syntax
    assert found.start == 132 + 12 + meta.FileMetaInformationGroupLength


def test_read_from_a_file(tmp_path: Path) -> None:
    """A blob on disk is read no further than it takes."""
    path = tmp_path / "one.dcm"
    path.write_bytes(made())
    blob = FileBlob("one.dcm", str(path), path.stat().st_size)
    assert read_meta(blob) == parse_meta(path.read_bytes())


def test_longer_than_the_first_read() -> None:
    """Private information of 100 kB in the file meta information is stepped over."""
    data = file(*UIDS, element(0x102, b"OB", bytes(100_000)), SYNTAX)
    meta = read_meta(MemoryBlob("long", data))
    assert meta == Meta("1.2", "1.3", "1.4", len(data) - 8)


def test_without_dataset() -> None:
    """Nothing behind the file meta information: the dataset begins at the end."""
    data = file(*UIDS, SYNTAX, body=b"")
    assert read_meta(MemoryBlob("empty", data)).start == len(data)


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"", DicomError, "not a DICOM file"),
        (b"%PDF-1.7" + bytes(300), DicomError, "not a DICOM file"),
        (file(SYNTAX), DicomError, "no Media Storage SOP Class UID"),
        (file(*UIDS), DicomError, "no Transfer Syntax UID"),
        (file(*UIDS, element(0x10, b"UI", b"1.x\xff")), DicomError, "no UID"),
        (file(*UIDS, element(0x10, b"UI", b"")), DicomError, "no UID"),
        (file(*UIDS, b"\2\0\x10\0UI\xf0\xff1.2"), TruncatedError, "ends within"),
        (file(*UIDS, b"\2\0\x10\0UI", body=b""), TruncatedError, "ends within"),
        (file(b"\2\0\1\0OB\0\0\xff\xff\xff\xff"), DicomError, "undefined length"),
        (file(b"\2\0\1\0OB\0\0\0\0\0\x7f"), TooLargeError, "longer than"),
        (file(b"\2\0\x10\0\4\0\0\0" + b"1.2\0"), DicomError, "without VR"),
    ],
)
def test_damaged(data: bytes, error: type[Exception], says: str) -> None:
    """Each kind of damage has its error, which names the file."""
    with pytest.raises(error, match=says) as caught:
        read_meta(MemoryBlob("bad.dcm", data))
    assert "bad.dcm" in str(caught.value)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_hostile_bytes(noise: bytes, cut: int) -> None:
    """Whatever follows the prefix: a Meta within the file, or an error of ours."""
    data = (file(*UIDS, SYNTAX, body=b"")[: 132 + cut]) + noise
    try:
        meta = read_meta(MemoryBlob("noise", data))
    except SeriesIOError:
        return
    assert 132 < meta.start <= len(data)
